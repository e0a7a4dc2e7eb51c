"""Addresses live on nodes: what a Service was given is answered from outside, as the policy says."""

import statistics
import time

import pytest

import nodes_client
import objects
from harness import PATIENCE, TOP, wait_until
from nodes_client import Asking
from nodes_net import LINK

# Milliseconds to the first answer that are promised, on a machine that has nothing else to do.
FIRST_ANSWER = 300
SAMPLES = 5
FAMILIES = ("IPv4", "IPv6")


def slow(milliseconds):
    """A promise about time, further away on machines for which everything is."""
    return milliseconds * PATIENCE / 30


@pytest.fixture
def agents(nodes):
    nodes.start_agents()
    nodes.warm_up()
    return nodes


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["external", "load-balancer"])
def test_from_create_to_the_first_answer(agents, kind, family):
    took = []
    with Asking(agents.client, pace=0.01) as asking:
        for index in range(SAMPLES):
            name = f"first-{index}"
            options = {"ipFamilies": [family]}
            if kind == "external":
                wanted = agents.service(name, auto=True, **options)
            else:
                wanted = agents.load_balancer(name, **options)
            agents.endpoints(wanted, agents.nodes[-1])
            began = time.monotonic()
            service = agents.create(wanted)
            (address,) = agents.given(service)
            asking.ask(address)
            took.append(1000 * (asking.wait_answer(address).at - began))
            asking.forget(address)
    median = statistics.median(took)
    print(f"\nfirst answer, {kind} {family}: median {median:.0f} ms of {[round(t) for t in took]}")
    assert median < slow(FIRST_ANSWER), took


def test_two_services_share_one_address(agents):
    key = {"ipcontroller.ext/sharing-key": "pair"}
    one = agents.create(agents.load_balancer("one", ports=(80,), annotations=key))
    (address,) = agents.given(one)
    wish = {**key, objects.ADDRESSES: address}
    two = agents.create(agents.load_balancer("two", ports=(81,), annotations=wish))
    assert agents.given(two) == [address]
    agents.endpoints(one, agents.nodes[1])
    agents.endpoints(two, agents.nodes[2])
    with Asking(agents.client, [(address, 80)]) as asking, Asking(
        agents.client, [(address, 81)]
    ) as other:
        assert asking.wait_answer(address).node == agents.nodes[1].name
        assert other.wait_answer(address).node == agents.nodes[2].name
        holder = agents.is_bound(address)
        agents.delete(one)
        deleted = time.monotonic()
        # kube-proxy has to notice, and the claim to be written.
        wait_until(
            lambda: len(agents.claim(address)["spec"]["services"]) == 1, "the claim for one alone"
        )
        assert other.wait_answer(address, time.monotonic())
    assert other.longest_gap(address, deleted) < slow(200) / 1000
    assert agents.holders(address) == [holder]


def test_a_service_that_goes_takes_its_address_off_the_node(agents):
    service = agents.create(agents.service("web", auto=True))
    (address,) = agents.given(service)
    agents.is_bound(address)
    claim = agents.claim(address)
    assert "ipcontroller.ext/bound" in claim["metadata"]["finalizers"]
    agents.delete(service)
    wait_until(lambda: agents.claim(address) is None, lambda: f"no {agents.claim(address)}")
    assert agents.holders(address) == []


def test_policy_local_follows_the_endpoint_and_shows_the_client(agents):
    one, two, three = agents.nodes
    wanted = agents.load_balancer("local", externalTrafficPolicy="Local")
    agents.endpoints(wanted, two)
    service = agents.create(wanted)
    (address,) = agents.given(service)
    agents.judge.watch(address)
    agents.is_bound(address, two)
    with Asking(agents.client, [(address, 80)]) as asking:
        answer = asking.wait_answer(address)
        assert (answer.node, answer.client) == (two.name, agents.client.address)
        # Nobody else has an endpoint, so nobody could stand by.
        assert not agents.claim(address)["spec"].get("standbyNode")
        agents.endpoints(service, two, three)
        wait_until(
            lambda: agents.claim(address)["spec"].get("standbyNode") == three.name,
            lambda: f"{three.name} to stand by: {agents.claim(address)}",
        )
        assert agents.bound_node(address) is two
        agents.endpoints(service, one)
        agents.is_bound(address, one)
        answer = asking.wait_answer(address, time.monotonic(), node=one.name)
        assert answer.client == agents.client.address


def test_only_what_agents_added_is_removed(nodes):
    """Addresses set by hand survive: one that is a claim's, too, and one that is nobody's."""
    holder, other = nodes.nodes[:2]
    nobodys = "203.0.113.219"
    nodes.judge.allowed_overlap = nodes.judge.allowed_answers = 3600
    nodes.judge.at_rest = False
    other.host.add_address(nobodys)
    holder.start_agent()
    service = nodes.create(nodes.service("web", auto=True))
    (address,) = nodes.given(service)
    nodes.is_bound(address, holder)
    by_hand = nodes.given(nodes.create(nodes.service("hand", auto=True)))[0]
    nodes.is_bound(by_hand, holder)
    # The same address, now set by a person: the agent's own was removed before.
    holder.agent.kill()
    holder.host.remove_address(by_hand)
    holder.host.add_address(by_hand)
    holder.agent.start()
    other.start_agent()
    assert {address, by_hand} <= set(holder.ours())
    for node in (holder, other):
        node.agent.stop()
        node.start_agent()
    for claimed in (address, by_hand):
        nodes.delete({"kind": "Service", "metadata": nodes.services_of(claimed)[0]["metadata"]})
    wait_until(
        lambda: address not in holder.ours(),
        lambda: f"{address} to leave {holder.name}\n{nodes.tell()}",
    )
    wait_until(lambda: not nodes.claims(), lambda: f"no {nodes.claims()}")
    assert by_hand in holder.ours()
    assert nobodys in other.host.addresses()
    nodes.judge.by_hand |= {(holder.name, by_hand)}
    holder.host.remove_address(by_hand)
    other.host.remove_address(nobodys)


def test_simple_binds_every_external_ip_of_every_service(nodes):
    """No claims are asked: one node carries what Services list, as the older program did."""
    nodes.judge.at_rest = False
    node = nodes.nodes[0]
    nodes.cluster.kubectl("apply", "--filename", TOP / "deploy/agent/simple/rbac.yaml")
    node.start_agent("--simple", f"--link={LINK}")
    wanted = nodes.service("simple", auto=True, ipFamilyPolicy="RequireDualStack")
    nodes.endpoints({**wanted, "spec": {**wanted["spec"], "ipFamilies": FAMILIES}}, nodes.nodes[2])
    service = nodes.create(wanted)
    addresses = nodes.given(service)
    with Asking(nodes.client, [(address, 80) for address in addresses]) as asking:
        for address in addresses:
            assert asking.wait_answer(address)
        assert nodes.holders(addresses[0]) == [node]
        nodes.delete(service)
        wait_until(lambda: not node.ours(), lambda: f"{node.ours()} to go\n{nodes.tell()}")
    # The client still knows the node's MAC, and kube-proxy may be slower than the agent.
    wait_until(
        lambda: nodes_client.get(nodes.client, addresses[0], timeout=0.2) is None, "no answer"
    )
