"""What a node agent may write with the token of its pod; to other nodes' claims it can do nothing.

The tokens are those that kubelets get: bound to a pod, which is bound to a node. No ipwarden runs
here, so what is refused the API server refuses by itself.
"""

import contextlib
import http.client
import itertools
import json
import ssl
from urllib.parse import urlsplit

import pytest

import agent_tokens
import harness
import objects
from agent_tokens import ACCOUNT, NAMESPACE
from agent_tokens import done as _done
from harness import TOP, WEBHOOKS, Answer, wait_until

POLICIES = ("ipwarden-agent-claims", "ipwarden-agent-nodes")
CLAIMS = objects.PATHS["IpClaim"]
NODES = f"{objects.GROUP}/ipnodes"
BOUND = "ipcontroller.ext/bound"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
TIME = "2026-01-01T00:00:00Z"


class Agent:
    """Somebody with the token of an agent's pod: on a node, or on none."""

    def __init__(self, cluster, name, node=None, pod=True):
        self.node = node
        self.token = agent_tokens.token(cluster, name, node, bound=pod)
        self._cluster = cluster

    def request(self, method, path, body=None, content_type="application/merge-patch+json"):
        url = urlsplit(self._cluster.servers[0])
        context = ssl.create_default_context(cafile=self._cluster.ca_file)
        options = {"timeout": 30, "context": context}
        connection = http.client.HTTPSConnection(url.hostname, url.port, **options)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content_type}
        if method == "POST":
            headers["Content-Type"] = "application/json"
        with contextlib.closing(connection):
            connection.request(method, path, body and json.dumps(body), headers)
            response = connection.getresponse()
            return Answer(response.status, json.loads(response.read()))

    def does(self, method, path, body=None, **options):
        answer = self.request(method, path, body, **options)
        assert answer.ok, f"{self.node}: {method} {path} {body}: {answer}"
        return answer.body

    def fails(self, method, path, body, why, **options):
        """The policies refuse it, for this reason; an administrator could do it."""
        answer = self.request(method, path, body, **options)
        text = f"{self.node}: {method} {path} {body}: {answer}"
        assert answer.status == 422 and why in answer.message, text
        assert any(f"'{policy}'" in answer.message for policy in POLICIES), text
        dry = f"{path}?dryRun=All"
        content_type = options.get("content_type")
        _done(self._cluster.request(method, dry, body, content_type=content_type))

    def may_not(self, method, path, body=None, **options):
        """Its roles don't allow it."""
        answer = self.request(method, path, body, **options)
        assert answer.status == 403 and "cannot" in answer.message, f"{method} {path}: {answer}"


@pytest.fixture(scope="module")
def cluster():
    with harness.Cluster.start() as cluster:
        harness.install(cluster)
        cluster.kubectl("delete", "validatingwebhookconfigurations", harness.NAME)
        cluster.kubectl("apply", "-k", TOP / "deploy/agent")
        yield cluster


class World:
    """Three nodes with agents: `a` has the claims, `b` stands by for them, `c` is a stranger."""

    _numbers = itertools.count(1)

    def __init__(self, cluster):
        self.cluster = cluster
        self.a, self.b, self.c = (Agent(cluster, f"pod-{n}", f"node-{n}") for n in "abc")
        for agent in (self.a, self.b, self.c):
            # The policies come to be in force a moment after they were made.
            dry = ("POST", f"{NODES}?dryRun=All", ip_node("somebody-else"))
            wait_until(lambda a=agent: a.request(*dry).status == 422, "policies in force")
            agent.does("POST", NODES, ip_node(agent.node))

    def claim(self, status=None, finalizers=(BOUND,), **spec):
        """The path of a new claim that `a` has, for which `b` stands by."""
        made = objects.claim(f"198.18.0.{next(World._numbers)}")
        made["metadata"]["finalizers"] = list(finalizers)
        nodes = {"nodeName": self.a.node, "standbyNode": self.b.node, "announce": "Layer2"}
        made["spec"] |= {"pool": "some", **nodes, **spec}
        _done(self.cluster.request("POST", CLAIMS, made))
        path = f"{CLAIMS}/{made['metadata']['name']}"
        if status is None:
            status = {"boundNode": self.a.node, "mac": "02:00:00:00:00:0a"}
        _done(self.cluster.request("PATCH", f"{path}/status", {"status": status}))
        return path

    def read(self, path):
        return _done(self.cluster.request("GET", path))


def ip_node(name, **metadata):
    return {
        "apiVersion": "ipcontroller.ext/v2",
        "kind": "IpNode",
        "metadata": {"name": name, **metadata},
        "spec": {"nodeName": name},
    }


@pytest.fixture(scope="module")
def world(cluster):
    return World(cluster)


def condition(kind, status="True", reason="Any"):
    entry = {"type": kind, "status": status, "reason": reason, "message": ""}
    return {**entry, "lastTransitionTime": TIME}


def taken_by(agent):
    return {"spec": {"nodeName": agent.node, "standbyNode": None}}


# What agents do all day.


def test_an_agent_beats_on_its_own_ip_node(world):
    path = f"{NODES}/{world.a.node}"
    alive = condition("Alive", "False", "HeartbeatMissed")
    _done(world.cluster.request("PATCH", f"{path}/status", {"status": {"conditions": [alive]}}))
    for revision in ("7", "8"):
        beat = {"revision": revision, "heartbeatTime": TIME, "heartbeatInterval": "2s"}
        beat |= {"addresses": ["192.0.2.10"], "conditions": [condition("Ready"), alive]}
        stored = world.a.does("PATCH", f"{path}/status", {"status": beat})
        assert stored["status"]["revision"] == revision
    assert world.a.does("GET", f"{NODES}?limit=1")["items"]
    assert world.a.does("GET", f"{NODES}/{world.b.node}")


def test_an_agent_binds_what_its_node_shall_have_and_lets_it_go(world):
    path = world.claim(status={}, finalizers=())
    world.a.does("PATCH", path, {"metadata": {"finalizers": [BOUND]}})
    bound = {"boundNode": world.a.node, "mac": "02:00:00:00:00:0a", "boundSince": TIME}
    bound["conditions"] = [condition("Bound", reason="Bound"), condition("AddressInUse", "False")]
    world.a.does("PATCH", f"{path}/status", {"status": bound})
    assert world.read(path)["status"]["boundNode"] == world.a.node
    _done(world.cluster.request("DELETE", path))
    released = {"boundNode": "", "conditions": [condition("Bound", "False", "Released")]}
    world.a.does("PATCH", f"{path}/status", {"status": released})
    remove = [
        {"op": "test", "path": "/metadata/finalizers/0", "value": BOUND},
        {"op": "remove", "path": "/metadata/finalizers/0"},
    ]
    world.a.does("PATCH", path, remove, content_type=JSON_PATCH)
    assert world.cluster.request("GET", path)[0] == 404


def test_a_standby_takes_over_and_the_one_from_before_yields(world):
    path = world.claim()
    version = world.read(path)["metadata"]["resourceVersion"]
    taken = {"metadata": {"resourceVersion": version}, **taken_by(world.b)}
    world.b.does("PATCH", path, taken)
    assert world.b.request("PATCH", path, taken).status == 409
    bound = {"boundNode": world.b.node, "mac": "02:00:00:00:00:0b"}
    bound["conditions"] = [condition("Bound", reason="Bound")]
    world.b.does("PATCH", f"{path}/status", {"status": bound})
    stored = world.read(path)
    assert stored["spec"]["nodeName"] == stored["status"]["boundNode"] == world.b.node
    world.a.fails("PATCH", path, {"spec": {"nodeName": world.a.node}}, "nor stands by")


def test_one_whose_claim_was_moved_says_that_it_has_let_go(world):
    path = world.claim()
    moved = {"spec": {"nodeName": world.c.node, "standbyNode": world.b.node}}
    _done(world.cluster.request("PATCH", path, moved))
    world.a.does("PATCH", f"{path}/status", {"status": {"boundNode": ""}})
    world.a.fails("PATCH", f"{path}/status", {"status": {"boundNode": "x"}}, "nor stands by")


def test_on_all_nodes_each_puts_itself_in_and_takes_itself_out(world):
    nodes = [world.a.node, world.b.node]
    spec = {"announce": "AllNodes", "nodeName": None, "standbyNode": None, "nodeNames": nodes}
    path = world.claim(status={}, **spec)
    status = f"{path}/status"
    world.a.does("PATCH", status, {"status": {"boundNodes": [world.a.node]}})
    world.b.does("PATCH", status, {"status": {"boundNodes": nodes}})
    why = "only its own node into boundNodes"
    world.a.fails("PATCH", status, {"status": {"boundNodes": [world.a.node]}}, why)
    world.a.fails("PATCH", status, {"status": {"boundNodes": [*nodes, world.c.node]}}, why)
    theirs = {"status": {"boundNodes": [*nodes, world.c.node]}}
    world.c.fails("PATCH", status, theirs, "neither has this claim")
    world.a.does("PATCH", status, {"status": {"boundNodes": [world.b.node]}})
    _done(world.cluster.request("DELETE", path))
    none = {"metadata": {"finalizers": None}}
    world.a.fails("PATCH", path, none, "no other node has bound")
    world.b.does("PATCH", path, none)
    assert world.cluster.request("GET", path)[0] == 404


# What the token of a node is worth for claims that aren't its node's.

STRANGER = {
    "says that it has the address": ("/status", {"status": {"boundNode": "node-c"}}),
    "says that nobody has it": ("/status", {"status": {"boundNode": ""}}),
    "says where it is announced": ("/status", {"status": {"mac": "02:00:00:00:00:0c"}}),
    "writes a condition": ("/status", {"status": {"conditions": [condition("Bound")]}}),
    "takes the claim": ("", {"spec": {"nodeName": "node-c", "standbyNode": None}}),
    "takes it from its standby": ("", {"spec": {"nodeName": "node-c"}}),
    "becomes its standby": ("", {"spec": {"standbyNode": "node-c"}}),
    "moves it to a third node": ("", {"spec": {"nodeName": "node-b"}}),
    "takes its services": ("", {"spec": {"services": [{"namespace": "mine"}]}}),
    "lets nothing delete it": ("", {"metadata": {"finalizers": [BOUND, "example.com/for-ever"]}}),
    "frees it": ("", {"metadata": {"finalizers": None}}),
    "labels it": ("", {"metadata": {"labels": {"a": "b"}}}),
}


@pytest.mark.parametrize("attempt", STRANGER)
def test_with_a_strangers_token_nothing_can_be_done_to_a_claim(world, attempt):
    subresource, patch = STRANGER[attempt]
    path = world.claim()
    before = world.read(path)
    world.c.fails("PATCH", f"{path}{subresource}", patch, "node-c neither has this claim nor")
    assert world.read(path) == before


def test_nor_is_the_claim_freed_while_it_is_under_deletion(world):
    path = world.claim()
    _done(world.cluster.request("DELETE", path))
    freed = {"metadata": {"finalizers": None}}
    world.c.fails("PATCH", path, freed, "neither has this claim nor")
    world.b.fails("PATCH", path, freed, "that no other node has bound")
    world.a.does("PATCH", path, freed)


STANDBY = {
    "moves it to a third node": ("", {"spec": {"nodeName": "node-c"}}, "only from another node"),
    "chooses the next standby": (
        "",
        {"spec": {"nodeName": "node-b", "standbyNode": "node-c"}},
        "leaves standbyNode empty",
    ),
    "takes it and stays its standby": ("", {"spec": {"nodeName": "node-b"}}, "only from another"),
    "names another standby": ("", {"spec": {"standbyNode": "node-c"}}, "only from another node"),
    "stops standing by": ("", {"spec": {"standbyNode": None}}, "only from another node"),
    "leaves it to nobody": ("", {"spec": {"nodeName": None}}, "only from another node"),
    "takes it with its services": (
        "",
        {"spec": {"nodeName": "node-b", "standbyNode": None, "services": []}},
        "nothing but nodeName and standbyNode",
    ),
    "frees it": ("", {"metadata": {"finalizers": None}}, "only from a claim under deletion"),
    "says that nobody has it": ("/status", {"status": {"boundNode": ""}}, "set boundNode to its"),
    "says that a third has it": ("/status", {"status": {"boundNode": "node-c"}}, "set boundNode"),
    "says that it isn't bound": (
        "/status",
        {"status": {"conditions": [condition("Bound", "False")]}},
        "that stands by may not write",
    ),
}


@pytest.mark.parametrize("attempt", STANDBY)
def test_a_standby_can_only_take_over(world, attempt):
    subresource, patch, why = STANDBY[attempt]
    path = world.claim()
    world.b.fails("PATCH", f"{path}{subresource}", patch, why)


def test_before_it_takes_over_a_standby_adds_no_finalizer(world):
    path = world.claim(finalizers=())
    add = {"metadata": {"finalizers": [BOUND]}}
    world.b.fails("PATCH", path, add, "of a node that shall have the claim")
    world.b.does("PATCH", path, {**add, **taken_by(world.b)})


HOLDER = {
    "hands it to its standby": ("", {"spec": {"nodeName": "node-b"}}, "only from another node"),
    "hands it to a third": ("", {"spec": {"nodeName": "node-c"}}, "only from another node"),
    "chooses its standby": ("", {"spec": {"standbyNode": "node-c"}}, "only from another node"),
    "changes its services": ("", {"spec": {"services": [{"namespace": "mine"}]}}, "nothing but"),
    "changes its pool": ("", {"spec": {"pool": "other"}}, "nothing but nodeName"),
    "drops its pool": ("", {"spec": {"pool": None}}, "nothing but nodeName"),
    "changes its link": ("", {"spec": {"link": "eth7"}}, "nothing but nodeName"),
    "announces it elsewhere": ("", {"spec": {"announce": "AllNodes"}}, "nothing but nodeName"),
    "has all nodes carry it": ("", {"spec": {"nodeNames": ["node-c"]}}, "nothing but nodeName"),
    "labels it": ("", {"metadata": {"labels": {"a": "b"}}}, "finalizer"),
    "annotates it": ("", {"metadata": {"annotations": {"a": "b"}}}, "finalizer"),
    "gives it an owner that is gone": (
        "",
        {
            "metadata": {
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Node", "name": "gone", "uid": "gone"}
                ]
            }
        },
        "finalizer",
    ),
    "adds a finalizer of others": (
        "",
        {"metadata": {"finalizers": [BOUND, "example.com/for-ever"]}},
        "finalizer",
    ),
    "frees what nobody deletes": ("", {"metadata": {"finalizers": None}}, "under deletion"),
    "says that another has it": ("/status", {"status": {"boundNode": "node-b"}}, "set boundNode"),
    "says that others carry it": ("/status", {"status": {"boundNodes": ["node-c"]}}, "boundNodes"),
    "writes a condition of others": (
        "/status",
        {"status": {"conditions": [condition("Placed")]}},
        "nothing but boundNode",
    ),
}


@pytest.mark.parametrize("attempt", HOLDER)
def test_a_holder_can_only_say_what_it_has(world, attempt):
    subresource, patch, why = HOLDER[attempt]
    path = world.claim()
    world.a.fails("PATCH", f"{path}{subresource}", patch, why)


def test_the_address_of_a_claim_is_nobodys_to_change(world):
    path = world.claim()
    answer = world.a.request("PATCH", path, {"spec": {"cidr": "198.18.9.9/32"}})
    assert answer.status == 422, answer


def test_of_ip_nodes_only_its_own_is_an_agents(world):
    other, own = f"{NODES}/{world.a.node}", f"{NODES}/{world.c.node}"
    why = "node-c may write no other IpNode"
    status = f"{other}/status"
    world.c.fails("PATCH", status, {"status": {"revision": "99"}}, why)
    world.c.fails("PATCH", status, {"status": {"addresses": ["192.0.2.99"]}}, why)
    world.c.fails("PATCH", status, {"status": {"conditions": [condition("Ready")]}}, why)
    world.c.fails("PATCH", other, {"metadata": {"labels": {"a": "b"}}}, why)
    world.c.fails("POST", NODES, ip_node("node-d"), why)
    nobody = f"{NODES}/node-d"
    world.c.fails("PATCH", nobody + "?fieldManager=c", ip_node("node-d"), why, content_type=APPLY)
    why = "neither finalizers"
    world.c.fails("PATCH", own, {"metadata": {"finalizers": ["example.com/f"]}}, why)
    world.c.fails("PATCH", own, {"metadata": {"labels": {"a": "b"}}}, why)


def test_whether_a_node_is_alive_is_not_its_agents_to_say(world):
    status = f"{NODES}/{world.c.node}/status"
    alive, dead = condition("Alive"), condition("Alive", "False", "HeartbeatMissed")
    why = "leader to say"
    world.c.fails("PATCH", status, {"status": {"conditions": [alive]}}, why)
    _done(world.cluster.request("PATCH", status, {"status": {"conditions": [dead]}}))
    world.c.fails("PATCH", status, {"status": {"conditions": [alive]}}, why)
    world.c.fails("PATCH", status, {"status": {"conditions": None}}, why)


def test_an_ip_node_is_born_as_that_of_its_node_and_with_no_owner_or_finalizer(world):
    agent = Agent(world.cluster, "pod-e", "node-e")
    why = "neither finalizers"
    agent.fails("POST", NODES, ip_node(agent.node, finalizers=["example.com/for-ever"]), why)
    owner = {"apiVersion": "v1", "kind": "Node", "name": "gone", "uid": "gone"}
    agent.fails("POST", NODES, ip_node(agent.node, ownerReferences=[owner]), why)
    other = {**ip_node(agent.node), "spec": {"nodeName": world.a.node}}
    agent.fails("POST", NODES, other, "nodeName of an IpNode is its name")
    agent.does("POST", NODES, ip_node(agent.node))


@pytest.mark.parametrize("pod", [True, False], ids=["of a pod without a node", "of no pod"])
def test_a_token_without_a_node_is_worth_nothing(world, pod):
    agent = Agent(world.cluster, f"pod-nowhere-{pod}".lower(), pod=pod)
    path = world.claim()
    why = "names no node"
    agent.fails("PATCH", f"{path}/status", {"status": {"boundNode": "node-a"}}, why)
    agent.fails("PATCH", path, {"spec": {"nodeName": "node-b", "standbyNode": None}}, why)
    agent.fails("POST", NODES, ip_node("node-f"), why)
    # Nor where the claim names no node either.
    path = world.claim(status={}, finalizers=(), nodeName=None, standbyNode=None, announce=None)
    agent.fails("PATCH", path, {"metadata": {"finalizers": [BOUND]}}, why)


def test_its_roles_hold_what_it_needs_and_no_more(world):
    path = world.claim()
    agent = world.a
    agent.may_not("DELETE", path)
    agent.may_not("DELETE", CLAIMS)
    agent.may_not("POST", CLAIMS, objects.claim("198.18.9.9"))
    agent.may_not("PUT", path, world.read(path))
    agent.may_not("DELETE", f"{NODES}/{agent.node}")
    agent.may_not("PATCH", f"/api/v1/nodes/{agent.node}", {"metadata": {"labels": {"a": "b"}}})
    pool = objects.pool("mine", "198.51.100.0/24")
    agent.may_not("POST", objects.PATHS["IpClaimPool"], pool)
    service = objects.service("mine", "default")
    agent.may_not("POST", objects.path_of(service, collection=True), service)
    for path in ("services", "secrets", "pods", "configmaps", "nodes"):
        agent.may_not("GET", f"/api/v1/{path}")
    account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{ACCOUNT}/token"
    agent.may_not("POST", account, {"spec": {}})


def test_nor_can_it_make_or_delete_anything_when_its_roles_hold_more(world):
    # The policies don't depend on what else somebody binds to the account.
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole"}
    binding = {"metadata": {"name": "e2e:more"}, "subjects": [subject]}
    binding["roleRef"] = {**role, "name": "cluster-admin"}
    path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    _done(world.cluster.request("POST", path, binding))
    claim = world.claim()
    try:
        # Rights reach the authorizer by a watch of its own.
        wait_until(lambda: world.a.request("GET", "/api/v1/secrets").ok, "more rights")
        why = "neither makes nor deletes claims"
        world.a.fails("DELETE", claim, None, why)
        world.a.fails("POST", CLAIMS, objects.claim("198.18.9.9"), why)
        world.a.fails("DELETE", f"{NODES}/{world.a.node}", None, "deletes no IpNode")
        world.c.fails("DELETE", f"{NODES}/{world.a.node}", None, "deletes no IpNode")
    finally:
        _done(world.cluster.request("DELETE", f"{path}/e2e:more"))


def test_takeovers_need_no_ipwarden(world):
    # Not a replica of it runs, so what the API server asks ipwarden about is refused.
    path = world.claim()
    file = TOP / "deploy/manifests/webhooks.yaml"
    world.cluster.kubectl("apply", "-f", file)
    try:

        def is_asked():
            answer = Answer(*world.cluster.request("PATCH", path, {"spec": {"link": "eth1"}}))
            return answer.status == 500 and "failed calling webhook" in answer.message

        wait_until(is_asked, "the API server to ask ipwarden about claims")
        world.b.does("PATCH", path, taken_by(world.b))
        world.b.does("PATCH", f"{path}/status", {"status": {"boundNode": world.b.node}})
    finally:
        kind = f"{WEBHOOKS}/validatingwebhookconfigurations"
        world.cluster.request("DELETE", f"{kind}/{harness.NAME}")
