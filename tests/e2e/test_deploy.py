"""What deploy/ installs: applied again it changes nothing; its examples work; its roles do."""

import ipaddress
import json
import shutil

import pytest

import objects
from harness import TOP, wait_until

DEPLOY = TOP / "deploy"
EXAMPLES = DEPLOY / "examples"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
IPAM = "/apis/ipam.mandelsoft.org/v1beta1"


def test_applying_it_again_changes_nothing_and_warns_of_nothing(lab):
    # But for the webhooks, where a replica on this machine has put URLs in place of the Service. Those of
    # conversions are in test_conversion_end.py, before there is a replica.
    documents = lab.kubectl("kustomize", DEPLOY, namespace=False).stdout.split("\n---\n")
    assert sum("kind: CustomResourceDefinition" in text for text in documents) == 5
    urls = ("WebhookConfiguration", "kind: CustomResourceDefinition")
    manifests = "\n---\n".join(t for t in documents if not any(word in t for word in urls))

    def versions():
        listed = lab.kubectl("get", "-f", "-", "-o", "json", input=manifests, namespace=False)
        return {
            (item["kind"], item["metadata"]["name"]): item["metadata"]["resourceVersion"]
            for item in json.loads(listed.stdout)["items"]
        }

    before = versions()
    done = lab.kubectl("apply", "-f", "-", input=manifests, namespace=False)
    assert done.stderr == "", done.stderr
    assert versions() == before


def test_the_pods_of_one_rollout_are_spread_and_know_no_variables_of_services(lab):
    path = "/apis/apps/v1/namespaces/ipwarden-system/deployments/ipwarden"
    spec = lab.read(path).body["spec"]
    assert spec["strategy"]["type"] == "RollingUpdate"
    pod = spec["template"]["spec"]
    assert pod["enableServiceLinks"] is False
    wished = pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    by_host = [w["podAffinityTerm"] for w in wished]
    by_zone = pod["topologySpreadConstraints"]
    hosts, zones = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
    assert [term["topologyKey"] for term in by_host + by_zone] == [hosts, zones]
    # Pods of the rollout before, which still terminate, must not count.
    assert all(term["matchLabelKeys"] == ["pod-template-hash"] for term in by_host + by_zone)


def test_an_agent_has_two_of_roots_rights_and_no_more(lab, tmp_path):
    text = lab.kubectl("kustomize", DEPLOY / "agent", namespace=False).stdout
    (daemon,) = (d for d in text.split("\n---\n") if "kind: DaemonSet" in d)
    dry = ("create", "--dry-run=client", "-o", "json", "-f", "-")
    pod = json.loads(lab.kubectl(*dry, input=daemon, namespace=False).stdout)["spec"]["template"]
    spec = pod["spec"]
    (container,) = spec["containers"]
    context = container["securityContext"]
    assert context["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]}
    assert context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"]
    assert "privileged" not in context and "hostPID" not in spec and "hostIPC" not in spec
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert [volume["hostPath"]["path"] for volume in spec["volumes"]] == ["/var/lib/ipwarden"]
    assert spec["enableServiceLinks"] is False and spec["tolerations"] == [{"operator": "Exists"}]
    # What it answers probes on is not for the network, on which it is otherwise.
    assert "--health-listen=127.0.0.1:8082" in container["args"]
    overlay = "resources: [deploy/agent]\ncomponents: [deploy/agent/simple]\n"
    (tmp_path / "kustomization.yaml").write_text(overlay)
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    simple = lab.kubectl("kustomize", tmp_path, namespace=False).stdout
    assert "- --simple\n" in simple and "name: ipwarden-agent-simple" in simple


def test_what_is_optional_is_ready_to_use(lab, tmp_path):
    lab.kubectl("apply", "--dry-run=server", "-k", DEPLOY / "network-policy", namespace=False)
    overlay = "resources: [deploy]\ncomponents: [deploy/client-ca]\n"
    (tmp_path / "kustomization.yaml").write_text(overlay)
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    text = lab.kubectl("kustomize", tmp_path, namespace=False).stdout
    (deployment,) = (d for d in text.split("\n---\n") if "kind: Deployment" in d)
    assert "- --client-ca=/etc/ipwarden/client-ca/ca.crt" in deployment
    dry = ("apply", "--dry-run=server", "-f", "-")
    assert "configured" in lab.kubectl(*dry, input=deployment, namespace=False).stdout


# Which Services the examples make, and the networks of the pools that they name.
PUBLIC = "203.0.113.0/24"
EXAMPLE_SERVICES = {
    ("default", "web"): [PUBLIC],
    ("default", "web-lb"): [PUBLIC],
    ("default", "mail-in"): ["203.0.113.25/32"],
    ("default", "mail-read"): ["203.0.113.25/32"],
    ("default", "web-dual-stack"): ["192.0.2.0/24", "2001:db8:113::/64"],
    ("default", "web-from-sites"): ["10.64.0.0/16"],
    ("team-a", "web"): ["198.51.100.16/28"],
}


def example_addresses(lab):
    """The addresses of each Service that the examples make."""
    found = {}
    for namespace, name in EXAMPLE_SERVICES:
        service = lab.read(f"/api/v1/namespaces/{namespace}/services/{name}").body
        found[namespace, name] = objects.external(service) + objects.ingress(service)
    return found


def are_of(addresses, networks):
    pairs = zip(sorted(addresses, key=lambda a: ":" in a), networks, strict=False)
    return len(addresses) == len(networks) and all(
        ipaddress.ip_address(address) in ipaddress.ip_network(network) for address, network in pairs
    )


def remove_examples(lab):
    """Services first; the namespace stays, since nobody here would end its deletion."""
    text = "\n---\n".join(path.read_text() for path in sorted(EXAMPLES.glob("*.yaml")))
    documents = text.split("\n---\n")
    for kind in ("Service", "IpClaimPool", "IPAMRequest", "IPAMRange"):
        mine = "\n---\n".join(d for d in documents if f"\nkind: {kind}\n" in f"\n{d}")
        arguments = ("--ignore-not-found", "--timeout=60s", "-f", "-")
        lab.kubectl("delete", *arguments, input=mine, namespace=False)


@pytest.mark.parametrize("order", ["as kubectl reads them", "backwards"])
def test_the_examples_work_at_first_go_and_take_no_others_addresses(lab, order):
    files = [EXAMPLES]
    if order == "backwards":
        # But a Service that must have its address at once needs the pool that it names.
        last_first = sorted(EXAMPLES.glob("*.yaml"), reverse=True)
        files = [EXAMPLES / "pool.yaml", *(f for f in last_first if f.name != "pool.yaml")]
    try:
        for file in files:
            lab.kubectl("apply", "-f", file, namespace=False)

        def served():
            found = example_addresses(lab)
            return all(are_of(found[key], networks) for key, networks in EXAMPLE_SERVICES.items())

        wait_until(served, lambda: f"{EXAMPLE_SERVICES}, not {example_addresses(lab)}")
        again = lab.kubectl("apply", "-f", EXAMPLES, namespace=False)
        changed = [line for line in again.stdout.splitlines() if not line.endswith(" unchanged")]
        assert not changed, changed
        lab.check_at_rest()
    finally:
        remove_examples(lab)


def test_the_examples_of_ranges_and_requests_work(lab):
    pool = objects.pool("from-sites", None)
    try:
        for name in ("requests", "range", "pool-from-request"):
            done = lab.kubectl("apply", "-f", EXAMPLES / f"{name}.yaml", namespace=False)
            # The Service of the pool may come before the pool has its addresses.
            assert done.stderr == "" or name == "pool-from-request", done.stderr
        path = f"{IPAM}/namespaces/default/ipamrequests"
        expected = {
            "site-by-addresses": 23,
            "site-by-host-bits": 28,
            "site-by-number": 24,
            "site-by-prefix-length": 28,
            "site-default": 24,
            "site-exactly": 24,
            "external-addresses": 26,
        }

        def given():
            items = lab.read(path).body["items"]
            return {item["metadata"]["name"]: objects.cidr(item) or "/" for item in items}

        def sizes():
            return {name: int(cidr.partition("/")[2] or -1) for name, cidr in given().items()}

        wait_until(lambda: sizes() == expected, lambda: f"{expected}, not {given()}")
        assert given()["site-exactly"] == "10.64.99.0/24"
        assert given()["site-by-number"] == "10.64.200.0/24"
        wait_until(lambda: lab.pool_ready(pool), lambda: f"a ready pool, not {lab.get(pool)}")
        lab.check_at_rest()
    finally:
        remove_examples(lab)


# What a user with the role may do in the namespace that it's bound in, and what they may not.
ROLES = {
    "ipwarden-view": (
        {"get ipamranges", "list ipamranges", "watch ipamrequests", "get ipamrequests"},
        {"create ipamrequests", "create ipamranges", "delete ipamranges", "patch ipamrequests"},
    ),
    "ipwarden-edit": (
        {"create ipamrequests", "update ipamrequests", "patch ipamrequests", "delete ipamrequests"},
        {"create ipamranges", "delete ipamranges", "update ipamrequests/status"},
    ),
    "ipwarden-admin": (
        {"create ipamranges", "patch ipamranges", "delete ipamranges"},
        {"update ipamranges/status", "create ipclaimpools"},
    ),
}


@pytest.mark.parametrize("role", ROLES)
def test_roles_allow_what_they_should_and_no_more(lab, role):
    user = f"{lab.name}-user"
    lab.cluster.user_kubeconfig(user)
    binding = {
        "metadata": {"name": "e2e"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }
    path = f"{RBAC}/namespaces/{lab.namespace}/rolebindings"
    assert lab.request("POST", path, binding).status == 201

    def may(what, namespace):
        verb, _, resource = what.partition(" ")
        resource, _, subresource = resource.partition("/")
        group = "ipcontroller.ext" if resource.startswith("ipclaim") else "ipam.mandelsoft.org"
        attributes = {"verb": verb, "resource": resource, "group": group, "namespace": namespace}
        review = {"spec": {"resourceAttributes": {**attributes, "subresource": subresource}}}
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        answer = lab.request("POST", path, review, user=user)
        assert answer.status == 201, answer
        return answer.body["status"]["allowed"]

    allowed, denied = ROLES[role]
    # Rights reach the authorizer by a watch of its own.
    wait_until(lambda: may(min(allowed), lab.namespace), f"{user} to have rights")
    assert {what for what in allowed | denied if may(what, lab.namespace)} == allowed
    assert not [what for what in allowed if may(what, "default")]


def test_the_roles_are_part_of_those_that_users_have(lab):
    for name, parts in {
        "ipwarden-view": {"view", "edit", "admin"},
        "ipwarden-edit": {"edit", "admin"},
        "ipwarden-admin": {"admin"},
        "ipwarden-pool-admin": set(),
    }.items():
        labels = lab.read(f"{RBAC}/clusterroles/{name}").body["metadata"]["labels"]
        prefix = "rbac.authorization.k8s.io/aggregate-to-"
        found = {key.removeprefix(prefix) for key in labels if key.startswith(prefix)}
        assert found == parts, name
