"""What whoever has the token of ipwarden's own account can do with it, and what not."""

import base64
import contextlib

import pytest

import objects
from harness import NAME, NAMESPACE, WEBHOOKS

# As the API server knows it, however it proves who it is.
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:{NAME}"
KINDS = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")
JSON_PATCH = "application/json-patch+json"


@pytest.fixture
def account(lab):
    lab.cluster.user_kubeconfig(ACCOUNT)
    return ACCOUNT


def try_patch(lab, path, patch, user=None):
    """A patch that is judged like any other and never stored; a list is a JSON patch."""
    content_type = JSON_PATCH if isinstance(patch, list) else None
    return lab.request("PATCH", f"{path}?dryRun=All", patch, content_type=content_type, user=user)


def refused(lab, path, patch, message, user=ACCOUNT):
    """The account may not, and it's the account alone: an administrator may."""
    answer = try_patch(lab, path, patch)
    assert answer.ok, f"nobody may {patch}: {answer}"
    answer = try_patch(lab, path, patch, user)
    assert answer.status == 422 and message in answer.message, f"{patch}: {answer}"


def passes(lab, path, patch, user=ACCOUNT):
    answer = try_patch(lab, path, patch, user)
    assert answer.ok, f"{patch}: {answer}"


def test_of_its_kinds_it_may_change_what_conversions_trust(lab, account):
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/ipclaims.ipcontroller.ext"
    client = lab.read(path).body["spec"]["conversion"]["webhook"]["clientConfig"]
    more = base64.b64encode(2 * base64.b64decode(client["caBundle"])).decode()

    def conversion(**members):
        return {"spec": {"conversion": {"webhook": {"clientConfig": members}}}}

    passes(lab, path, conversion(caBundle=more))
    passes(lab, path, conversion(url="https://127.0.0.1:7/convert"))
    refused(lab, path, conversion(url="https://198.51.100.7/convert"), "not whom it calls")
    nothing = {"spec": {"conversion": {"strategy": "None", "webhook": None}}}
    refused(lab, path, nothing, "nothing but the clientConfig")
    names = {"spec": {"names": {"categories": ["all"]}}}
    refused(lab, path, names, "nothing but the clientConfig")
    labels = {"metadata": {"labels": {"a": "b"}}}
    refused(lab, path, labels, "metadata of a kind")


@pytest.mark.parametrize("kind", KINDS)
def test_of_its_webhooks_it_may_change_what_to_trust_and_which_path(lab, account, kind):
    path = f"{WEBHOOKS}/{kind}/{NAME}"
    first = lab.read(path).body["webhooks"][0]
    client = "/webhooks/0/clientConfig"
    bundle = base64.b64decode(first["clientConfig"]["caBundle"])
    more = base64.b64encode(bundle + bundle).decode()
    passes(lab, path, [{"op": "replace", "path": f"{client}/caBundle", "value": more}])
    url = first["clientConfig"]["url"]
    passes(lab, path, [{"op": "replace", "path": f"{client}/url", "value": f"{url}/other"}])


@pytest.mark.parametrize("kind", KINDS)
def test_it_may_not_change_what_webhooks_are_asked(lab, account, kind):
    path = f"{WEBHOOKS}/{kind}/{NAME}"
    first = lab.read(path).body["webhooks"][0]
    fields = "nothing but clientConfig"
    everything = [{"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}]
    everything[0]["operations"] = ["*"]
    more = {**first, "name": "more.ipwarden.ipcontroller.ext", "rules": everything}
    refused(lab, path, [{"op": "add", "path": "/webhooks/-", "value": more}], fields)
    refused(lab, path, [{"op": "add", "path": "/webhooks/0", "value": more}], fields)
    refused(lab, path, [{"op": "remove", "path": "/webhooks/0"}], fields)
    refused(lab, path, [{"op": "remove", "path": "/webhooks/0/matchConditions"}], fields)
    for field, value in {
        "rules": everything,
        "failurePolicy": "Ignore" if first["failurePolicy"] == "Fail" else "Fail",
        "name": "other.ipwarden.ipcontroller.ext",
        "timeoutSeconds": 30,
        "objectSelector": {"matchLabels": {"a": "b"}},
    }.items():
        change = [{"op": "add", "path": f"/webhooks/0/{field}", "value": value}]
        refused(lab, path, change, fields)
    refused(lab, path, {"metadata": {"labels": {"a": "b"}}}, "metadata")


@pytest.mark.parametrize("kind", KINDS)
def test_it_may_not_send_the_calls_elsewhere(lab, account, kind):
    path = f"{WEBHOOKS}/{kind}/{NAME}"
    client = "/webhooks/0/clientConfig"
    other = "https://192.0.2.1/"
    change = [{"op": "replace", "path": f"{client}/url", "value": other}]
    refused(lab, path, change, "whom it calls")
    service = {"service": {"namespace": "default", "name": "other"}}
    change = [{"op": "replace", "path": client, "value": service}]
    refused(lab, path, change, "whom it calls")


@contextlib.contextmanager
def configuration(lab, kind):
    """A webhook configuration of somebody else, which is never called."""
    path = f"{WEBHOOKS}/{kind}/{lab.name}"
    answer = lab.request("POST", f"{WEBHOOKS}/{kind}", {"metadata": {"name": lab.name}})
    assert answer.status == 201, answer
    try:
        yield path
    finally:
        lab.request("DELETE", path)


@pytest.mark.parametrize("kind", KINDS)
def test_configurations_of_others_are_not_its(lab, account, kind):
    with configuration(lab, kind) as path:
        patch = {"webhooks": []}
        assert try_patch(lab, path, patch).ok
        assert try_patch(lab, path, patch, account).status == 403
        assert lab.request("DELETE", path, user=account).status == 403
    made = lab.request("POST", f"{WEBHOOKS}/{kind}", {"metadata": {"name": "x"}}, user=account)
    assert made.status == 403


SERVICES = {
    "plain": {},
    "external": {"externalIPs": ["203.0.113.9"]},
    "local": {"externalIPs": ["203.0.113.9"], "externalTrafficPolicy": "Local"},
    "load balancer": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False},
}


def stored(lab, **spec):
    """The path of a new Service with a selector and a label."""
    addresses = spec.get("externalIPs")
    rest = {} if addresses else spec
    made = lab.create(lab.service(selector={"app": "web"}, labels={"a": "b"}, **rest))
    path = objects.path_of(made)
    if addresses:
        # Nobody asks ipwarden about what its account writes, so no pool is needed.
        answer = lab.request("PATCH", path, {"spec": {"externalIPs": addresses}}, user=ACCOUNT)
        assert answer.ok, answer
        rest = {field: value for field, value in spec.items() if field != "externalIPs"}
        assert lab.request("PATCH", path, {"spec": rest}).ok
    return path


@pytest.mark.parametrize("which", SERVICES)
def test_of_a_service_it_may_change_the_addresses(lab, account, which):
    path = stored(lab, **SERVICES[which])
    passes(lab, path, {"spec": {"externalIPs": ["203.0.113.7"]}})
    passes(lab, path, {"spec": {"externalIPs": None}})
    ingress = [{"ip": "203.0.113.7"}]
    condition = {
        "type": objects.CONDITION,
        "status": "False",
        "reason": "Pending",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    status = {"loadBalancer": {"ingress": ingress}} if which == "load balancer" else {}
    passes(lab, f"{path}/status", {"status": {**status, "conditions": [condition]}})


def test_of_a_service_it_may_change_nothing_else(lab, account):
    path = stored(lab, **SERVICES["load balancer"])
    for spec in (
        {"selector": {"app": "mine"}},
        {"selector": None},
        {"ports": [{"name": "p80", "port": 81}]},
        {"ports": [{"name": "p80", "port": 80, "targetPort": 8080}]},
        {"type": "ClusterIP", "allocateLoadBalancerNodePorts": None},
        {"loadBalancerSourceRanges": ["0.0.0.0/0"]},
        {"externalTrafficPolicy": "Local"},
        {"internalTrafficPolicy": "Local"},
        {"sessionAffinity": "ClientIP"},
        {"publishNotReadyAddresses": True},
        {"trafficDistribution": "PreferClose"},
        {"externalIPs": [], "selector": {"app": "mine"}},
    ):
        refused(lab, path, {"spec": spec}, "nothing but externalIPs")
    for metadata in (
        {"labels": {"a": "c"}},
        {"labels": None},
        {"annotations": {"a": "b"}},
        {"finalizers": ["example.com/for-ever"]},
    ):
        refused(lab, path, {"metadata": metadata}, "metadata")
        refused(lab, f"{path}/status", {"metadata": metadata}, "metadata")


def test_pools_ranges_and_requests_it_may_only_keep_and_report_on(lab, account):
    pool = lab.pool(size=4)
    range_ = lab.range("10.9.0.0/24")
    request = lab.create(lab.ask(range_, "/28"))
    own = {"IpClaimPool": "ipcontroller.ext/pool", "IPAMRange": objects.RANGE_FINALIZER}
    specs = {
        "IpClaimPool": {"priority": 7},
        "IPAMRange": {"defaultPrefixLength": 28},
        "IPAMRequest": {"description": "mine"},
    }
    for item in (pool, range_, request):
        kind = item["kind"]
        path = objects.path_of(item)
        theirs = "example.com/theirs"
        finalizers = [theirs, own.get(kind, objects.REQUEST_FINALIZER)]
        with finalizer(lab, path, theirs):
            passes(lab, path, {"metadata": {"finalizers": finalizers}})
            passes(lab, f"{path}/status", {"status": {"conditions": []}})
            for patch in (
                {"metadata": {"finalizers": None}},
                {"metadata": {"finalizers": [*finalizers, "example.com/for-ever"]}},
                {"metadata": {"annotations": {"a": "b"}}},
            ):
                refused(lab, path, patch, "its own finalizers only")
            answer = try_patch(lab, path, {"spec": specs[kind]}, account)
            assert answer.status == 422 and "may not say what" in answer.message, answer


@contextlib.contextmanager
def finalizer(lab, path, name):
    """The object has a finalizer of somebody else for a while."""
    answer = lab.request("PATCH", path, {"metadata": {"finalizers": [name]}})
    assert answer.ok, answer
    try:
        yield
    finally:
        lab.request("PATCH", path, {"metadata": {"finalizers": None}})


# What it can do without, so that its token is no use for it.
DENIED = """
create services; delete services; update services; delete ipclaimpools; create ipclaimpools
update ipclaims/status; create ipamranges; create ipamrequests; delete ipamrequests
create secrets; list secrets; delete secrets; get configmaps; list pods; create pods
delete mutatingwebhookconfigurations; create validatingwebhookconfigurations
update validatingadmissionpolicies; delete validatingadmissionpolicybindings
create customresourcedefinitions; patch customresourcedefinitions
patch clusterroles; create clusterrolebindings; create rolebindings; impersonate users
create serviceaccounts/token; get nodes; patch nodes; patch namespaces
"""
GROUPS = {
    "ipc": "ipcontroller.ext",
    "ipam": "ipam.mandelsoft.org",
    "mut": "admissionregistration.k8s.io",
    "val": "admissionregistration.k8s.io",
    "cus": "apiextensions.k8s.io",
    "clu": "rbac.authorization.k8s.io",
    "rol": "rbac.authorization.k8s.io",
}


def may(lab, what, namespace, name="", user=ACCOUNT):
    verb, _, resource = what.partition(" ")
    resource, _, subresource = resource.partition("/")
    group = next((g for start, g in GROUPS.items() if resource.startswith(start)), "")
    attributes = {"verb": verb, "resource": resource, "subresource": subresource, "group": group}
    attributes |= {"namespace": namespace, "name": name}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    answer = lab.request("POST", path, {"spec": {"resourceAttributes": attributes}}, user=user)
    assert answer.status == 201, answer
    return answer.body["status"]["allowed"]


def test_its_roles_hold_what_it_needs_and_no_more(lab, account):
    assert may(lab, "get secrets", NAMESPACE, "ipwarden-certificates")
    assert not may(lab, "get secrets", NAMESPACE, "others")
    assert may(lab, "patch services", "default")
    denied = [what.strip() for what in DENIED.strip().replace("\n", ";").split(";")]
    wrong = [what for what in denied for n in ("", NAMESPACE, "default") if may(lab, what, n)]
    assert not wrong, wrong


def test_the_policies_bind_whoever_proves_to_be_the_account(lab):
    # By a token as the program has it, not by the name in a certificate.
    made = lab.create(lab.service(selector={"app": "web"}))
    arguments = ("service", made["metadata"]["name"], "--type=merge", "--dry-run=server", "-p")
    config = lab.fleet.replicas[0].command[2].partition("=")[2]
    done = lab.kubectl(
        "patch", *arguments, '{"spec":{"selector":null}}', kubeconfig=config, check=False
    )
    assert "nothing but externalIPs" in done.stderr, done
    addresses = '{"spec":{"externalIPs":["203.0.113.7"]}}'
    assert "patched" in lab.kubectl("patch", *arguments, addresses, kubeconfig=config).stdout
