"""Addresses of Services on all nodes: agents bind them to lo, routers learn of them by BGP."""

import pytest

import agent_tokens
import bgp_lab
import harness
import objects
from agent_tokens import done
from harness import TOP, wait_until
from replicas import BINARY, Fleet
from test_bgp import DAEMONS

EXAMPLES = TOP / "deploy/examples/bgp"
NODES = "/api/v1/nodes"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
POOL = "anycast"
FAMILIES = ("IPv4", "IPv6")


@pytest.fixture(scope="module")
def cluster(binary):
    with harness.Cluster.start() as cluster:
        harness.install(cluster)
        cluster.kubectl("apply", "-k", TOP / "deploy/agent")
        fleet = Fleet(cluster)
        try:
            fleet.start()
            pools = ("apply", "-f", EXAMPLES / "pool.yaml")
            wait_until(
                lambda: cluster.kubectl(*pools, check=False).returncode == 0, "pools to be taken"
            )
            yield cluster
            fleet.stop()
        finally:
            fleet.close()


@pytest.fixture(scope="module", params=DAEMONS, ids="-".join)
def lab(request, cluster):
    """Three nodes that run an agent each; those of one lab are no nodes for the next."""
    node, router = request.param
    lab = bgp_lab.Lab(3, node, router)
    try:
        _start_agents(lab, cluster, node)
        yield lab
    finally:
        lab.close()
        for name in lab.names:
            cluster.request("DELETE", f"{NODES}/{name}")


def _start_agents(lab, cluster, prefix):
    lab.names = [f"{prefix}-{index}" for index in range(len(lab.nodes))]
    relay = lab.directory / "relay"
    relay.mkdir()
    command = [TOP / "deploy/quickstart-nodes", "relay", "--directory", relay]
    command += ["--port", cluster.servers[0].rpartition(":")[2]]
    for node in lab.nodes:
        command += ["--namespace", node.namespace.name]
    lab.start(*command, log=relay / "relay.log")
    wait_until((relay / "relay.ready").exists, lambda: (relay / "relay.log").read_text())
    for name, node in zip(lab.names, lab.nodes, strict=True):
        secret = agent_tokens.token(cluster, f"agent-on-{name}", name)
        labels = {"metadata": {"labels": {"example.com/bgp": "true"}}}
        done(cluster.request("PATCH", f"{NODES}/{name}", labels))
        directory = lab.directory / name
        directory.mkdir()
        config = agent_tokens.kubeconfig(cluster, directory / "kubeconfig", secret)
        options = (f"--node={name}", f"--kubeconfig={config}", f"--state-dir={directory}")
        log = directory / "agent.log"
        node.agent = node.namespace.start(BINARY, "agent", *options, log=log)

    def beating():
        items = done(cluster.request("GET", f"{objects.GROUP}/ipnodes"))["items"]
        ready = {i["metadata"]["name"] for i in items if objects.condition(i, "Ready")}
        return ready >= set(lab.names)

    wait_until(beating, lambda: f"agents that beat\n{lab.logs()}")


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture
def service(cluster, family):
    """Makes a Service with an address of the example's pool, and takes it away in the end."""
    made = []

    def make(**spec):
        options = {"ipFamilyPolicy": "SingleStack", "ipFamilies": [family], **spec}
        pool = {objects.POOL: POOL}
        item = objects.load_balancer("web", "default", annotations=pool, **options)
        done(cluster.request("POST", objects.path_of(item, collection=True), item))
        made.append(item)
        stored = wait_until(
            lambda: (s := done(cluster.request("GET", objects.path_of(item)))) and objects.ingress(s),
            "an address",
        )
        return stored[0]

    yield make
    for item in made:
        cluster.request("DELETE", objects.path_of(item))


def test_routers_spread_a_services_address_over_all_nodes(cluster, lab, service):
    address = service()
    lab.routed_to(address, lab.nodes)
    assert lab.answers(address)
    claim = objects.path_of(objects.claim(address))

    def all_say_so():
        stored = done(cluster.request("GET", claim))
        return sorted(stored["status"].get("boundNodes") or ()) == lab.names

    wait_until(all_say_so, lambda: f"{lab.names} in {cluster.request('GET', claim)}")
    path = "/api/v1/namespaces/default/services/web"
    done(cluster.request("DELETE", path))
    lab.routed_to(address, [])
    wait_until(lambda: cluster.request("GET", claim)[0] == 404, "the claim to go")


def test_with_policy_local_only_nodes_with_endpoints_carry_it(cluster, lab, service, family):
    labels = {"kubernetes.io/service-name": "web"}
    backend = {"IPv4": "192.0.2.200", "IPv6": "2001:db8:2::200"}[family]

    def on(*names):
        ready = {"addresses": [backend], "conditions": {"ready": True}}
        endpoints = [{**ready, "nodeName": name} for name in names]
        return {
            "metadata": {"name": "web-e2e", "labels": labels},
            "addressType": family,
            "endpoints": endpoints,
            "ports": [{"name": "p80", "port": 80, "protocol": "TCP"}],
        }

    done(cluster.request("POST", SLICES, on(*lab.names[:1])))
    try:
        address = service(externalTrafficPolicy="Local")
        lab.routed_to(address, lab.nodes[:1])
        moved = {"endpoints": on(*lab.names[1:])["endpoints"]}
        done(cluster.request("PATCH", f"{SLICES}/web-e2e", moved))
        lab.routed_to(address, lab.nodes[1:])
    finally:
        cluster.request("DELETE", f"{SLICES}/web-e2e")


def test_a_node_that_dies_gets_no_more_traffic(lab, service, family):
    address = service()
    lab.routed_to(address, lab.nodes)
    lab.watched()
    # Another one for each family: a node that comes and goes twice within a minute is kept out for one.
    living = list(lab.nodes)
    dead = living.pop(FAMILIES.index(family))
    lab.cut(dead)
    try:
        lab.routed_to(address, living, 3)
        assert all(lab.answers(address) for _ in range(8))
    finally:
        lab.switch.run("ip", "link", "set", dead.port, "up")
    lab.routed_to(address, lab.nodes, 60)
    # The other family's session, too: the next test has that.
    lab.watched()
