"""On which node an address lives: chosen at its create, moved when the node may not have it any more,
and left alone otherwise. Agents are played (agents.py); no address is on any link here."""

import collections
import time

import objects
import pytest
from agents import EXCLUDE, FINALIZER, agents
from harness import wait_until

MONITOR = 1.5
SERVE = [f"--monitor={MONITOR}s", f"--node-not-ready={MONITOR}s", "--grace=20s"]
LOCAL = {"externalTrafficPolicy": "Local"}


@pytest.fixture
def placed(lab_of_file):
    lab = lab_of_file
    yield lab
    lab.delete_services()
    wait_until(lambda: not lab.claims(), lambda: f"no {lab.claims()}")


def address_of(service):
    return (objects.external(service) or objects.ingress(service))[0]


def spec_of(lab, address):
    return lab.claim(address)["spec"]


def node_of(lab, address):
    return spec_of(lab, address).get("nodeName")


def moves_to(lab, address, *nodes):
    """Waits until the address shall live on one of the nodes; returns which."""
    return wait_until(
        lambda: node_of(lab, address) in nodes and node_of(lab, address),
        lambda: f"{address} on {nodes}: {lab.claim(address)}",
    )


def bound(lab, address):
    """Waits until the node that shall have it has it; returns which."""
    return wait_until(
        lambda: (c := lab.claim(address))
        and c.get("status", {}).get("boundNode") == c["spec"].get("nodeName")
        and c["spec"].get("nodeName"),
        lambda: f"{address} to be bound: {lab.claim(address)}",
    )


def create(lab, count=1, **options):
    made = [lab.create(lab.service(auto=True, **options)) for _ in range(count)]
    return [address_of(service) for service in made]


def test_without_agents_nothing_of_nodes_is_said(placed):
    placed.pool(size=4)
    (address,) = create(placed)
    claim = placed.claim(address)
    assert not {"nodeName", "standbyNode", "announce", "link"} & set(claim["spec"]), claim
    assert "finalizers" not in claim["metadata"], claim


def test_a_claim_is_born_with_its_node_and_its_standby(placed):
    placed.pool(size=12, link="eth9")
    with agents(placed) as made:
        addresses = create(placed, 9)
        counts = collections.Counter()
        for address in addresses:
            claim = placed.claim(address)
            spec = claim["spec"]
            counts[spec["nodeName"]] += 1
            assert spec["nodeName"] in made.names and spec["standbyNode"] in made.names, spec
            assert spec["nodeName"] != spec["standbyNode"], spec
            assert (spec["announce"], spec["link"]) == ("Layer2", "eth9"), spec
            assert claim["metadata"]["finalizers"] == [FINALIZER], claim
            # Nobody has touched it since but the one who says that it has it.
            bound(placed, address)
            assert placed.claim(address)["metadata"]["generation"] == 1
        assert set(counts.values()) == {3}, counts


def test_a_dead_node_loses_its_addresses_and_takes_none_back(placed):
    placed.pool(size=12)
    with agents(placed) as made:
        addresses = create(placed, 6)
        before = {address: spec_of(placed, address) for address in addresses}
        dead = before[addresses[0]]["nodeName"]
        began = time.monotonic()
        made.die(dead)
        for address in addresses:
            if before[address]["nodeName"] == dead:
                assert moves_to(placed, address, before[address]["standbyNode"])
            else:
                assert node_of(placed, address) == before[address]["nodeName"]
            wait_until(
                lambda address=address: dead not in spec_of(placed, address).values(),
                lambda address=address: f"no {dead} in {spec_of(placed, address)}",
            )
        print(f"moved {time.monotonic() - began:.2f} s after the last heartbeat could be seen")
        wait_until(lambda: made.condition(dead) == ("False", "HeartbeatMissed"), "told that it is dead")
        message = placed.event(placed.claim(addresses[0]), "AddressMoved")
        assert "doesn't beat" in message and dead in message, message
        after = {address: node_of(placed, address) for address in addresses}
        made.live(dead)
        wait_until(lambda: made.condition(dead) == ("True", "HeartbeatSeen"), "told that it is back")
        (address,) = create(placed)
        assert node_of(placed, address) == dead
        assert {address: node_of(placed, address) for address in addresses} == after


def test_nobody_is_dead_while_nobody_is_heard(placed):
    placed.pool(size=4)
    with agents(placed) as made:
        addresses = create(placed, 3)
        before = {address: spec_of(placed, address) for address in addresses}
        made.die(*made.names)
        time.sleep(4 * MONITOR)
        # They are heard one after the other: the first one mustn't make the others look dead.
        for name in made.names:
            made.live(name)
            time.sleep(made.interval)
        assert {address: spec_of(placed, address) for address in addresses} == before
        assert [made.condition(name) for name in made.names] == [("True", "HeartbeatSeen")] * 3


@pytest.mark.parametrize(
    "patch",
    [
        {"spec": {"unschedulable": True}},
        {"metadata": {"labels": {EXCLUDE: ""}}},
        {"status": {"conditions": [{"type": "Ready", "status": "False"}]}},
    ],
    ids=["cordoned", "excluded", "not-ready"],
)
def test_a_node_that_may_not_have_addresses_gives_them_up(placed, patch):
    placed.pool(size=4)
    with agents(placed) as made:
        (address,) = create(placed)
        node = bound(placed, address)
        standby = spec_of(placed, address)["standbyNode"]
        path = f"/api/v1/nodes/{node}" + ("/status" if "status" in patch else "")
        answer = placed.request("PATCH", path, patch)
        assert answer.status == 200, answer
        assert moves_to(placed, address, standby)
        assert bound(placed, address) == standby
        assert spec_of(placed, address)["standbyNode"] not in (node, standby)
        # It is as good as the others again, and gets nothing back.
        assert made.condition(node) == ("True", "HeartbeatSeen")
        answer = placed.request("DELETE", f"/api/v1/nodes/{node}")
        made.add_node(node)
        placed.kubectl("get", "ipnodes", namespace=False)
        assert node_of(placed, address) == standby


def test_an_agent_that_is_not_ready_gives_its_addresses_up(placed):
    placed.pool(size=4)
    with agents(placed) as made:
        (address,) = create(placed)
        node = bound(placed, address)
        made.ready(node, False)
        moves_to(placed, address, *(set(made.names) - {node}))
        # Back and away again: that is too often, so it is out for a while.
        made.ready(node, True)
        made.ready(node, False)
        made.ready(node, True)
        others = create(placed, 3)
        assert node not in {node_of(placed, other) for other in others}


def test_a_pool_chooses_its_nodes_and_changes_its_mind(placed):
    pool = placed.pool(size=4, nodeSelector={"matchLabels": {"edge": placed.name}})
    with agents(placed) as made:
        first, second, third = made.names
        (address,) = create(placed)
        assert node_of(placed, address) is None
        made.node(second, {"metadata": {"labels": {"edge": placed.name}}})
        assert moves_to(placed, address, second)
        assert "standbyNode" not in spec_of(placed, address)
        made.node(third, {"metadata": {"labels": {"edge": placed.name}}})
        wait_until(
            lambda: spec_of(placed, address).get("standbyNode") == third,
            lambda: f"a standby: {spec_of(placed, address)}",
        )
        placed.patch(pool, {"spec": {"nodeSelector": {"matchLabels": {"edge": None}}}})
        placed.patch(
            pool,
            {"spec": {"nodeSelector": {"matchExpressions": [{"key": "edge", "operator": "DoesNotExist"}]}}},
        )
        assert moves_to(placed, address, first)
        placed.patch(pool, {"spec": {"announce": "None"}})
        wait_until(
            lambda: not {"nodeName", "announce", "standbyNode"} & set(spec_of(placed, address))
            and "finalizers" not in placed.claim(address)["metadata"],
            lambda: f"nothing of nodes: {placed.claim(address)}",
        )
        placed.patch(pool, {"spec": {"announce": "AllNodes", "nodeSelector": None}})
        wait_until(
            lambda: spec_of(placed, address).get("nodeNames") == sorted(made.names),
            lambda: f"all nodes: {spec_of(placed, address)}",
        )
        made.cordon(second)
        wait_until(
            lambda: spec_of(placed, address).get("nodeNames") == sorted((first, third)),
            lambda: f"two nodes: {spec_of(placed, address)}",
        )


def test_local_traffic_goes_where_the_endpoints_are(placed):
    placed.pool(size=4)
    with agents(placed) as made:
        first, second, third = made.names
        service = placed.create(placed.load_balancer(**LOCAL))
        made.endpoints(service, second)
        address = address_of(placed.with_ingress(service))
        assert moves_to(placed, address, second)
        assert "standbyNode" not in spec_of(placed, address)
        made.endpoints(service, second, third)
        wait_until(
            lambda: spec_of(placed, address).get("standbyNode") == third,
            lambda: f"a standby: {spec_of(placed, address)}",
        )
        made.endpoints(service, first, third)
        assert moves_to(placed, address, third)
        made.endpoints(service, first)
        assert moves_to(placed, address, first)
        # None at all: there is no better place, so it stays.
        made.endpoints(service)
        placed.patch(service, {"metadata": {"labels": {"a": "b"}}})
        time.sleep(made.interval * 3)
        assert node_of(placed, address) == first
        placed.patch(service, {"spec": {"externalTrafficPolicy": "Cluster"}})
        wait_until(
            lambda: spec_of(placed, address).get("standbyNode"),
            lambda: f"a standby: {spec_of(placed, address)}",
        )
        assert node_of(placed, address) == first


def test_an_address_of_two_local_services_lives_where_both_have_endpoints(placed):
    placed.pool(size=4)
    with agents(placed) as made:
        first, second, third = made.names
        one = placed.create(placed.load_balancer(**LOCAL))
        made.endpoints(one, first, second)
        address = address_of(placed.with_ingress(one))
        moves_to(placed, address, first, second)
        two = placed.load_balancer(ports=[81], annotations={objects.ADDRESSES: address}, **LOCAL)
        two = placed.create(two)
        made.endpoints(two, second, third)
        assert moves_to(placed, address, second)


def test_what_an_administrator_says_stays(placed):
    placed.pool(size=4)
    with agents(placed) as made:
        (address,) = create(placed)
        before = spec_of(placed, address)
        (third,) = set(made.names) - {before["nodeName"], before["standbyNode"]}
        claim = placed.claim(address)
        placed.patch(claim, {"spec": {"nodeName": third, "link": "eth7"}})
        assert bound(placed, address) == third
        time.sleep(made.interval * 3)
        spec = spec_of(placed, address)
        assert (spec["nodeName"], spec["link"]) == (third, "eth7")
        assert spec["standbyNode"] in set(made.names) - {third}


def test_what_ran_before_there_were_agents_gets_its_node(placed):
    placed.pool(size=8)
    addresses = create(placed, 6)
    with agents(placed) as made:
        for address in addresses:
            assert bound(placed, address) in made.names
            assert placed.claim(address)["metadata"]["finalizers"] == [FINALIZER]


def test_a_claim_goes_when_its_node_has_let_go(placed):
    placed.pool(size=1)
    with agents(placed) as made:
        service = placed.create(placed.service(auto=True))
        address = address_of(service)
        bound(placed, address)
        made.binding = False
        placed.delete(service)
        wait_until(
            lambda: "deletionTimestamp" in placed.claim(address)["metadata"], "a claim under deletion"
        )
        answer = placed.try_create(placed.service(externalIPs=[address]))
        assert not answer.ok and "being released" in answer.message, answer
        assert placed.claim(address)
        made.binding = True
        placed.gone(address)
        assert create(placed) == [address]


def test_a_claim_of_a_dead_node_goes_without_it(placed):
    placed.pool(size=2)
    with agents(placed, count=2) as made:
        service = placed.create(placed.service(auto=True))
        address = address_of(service)
        node = bound(placed, address)
        made.binding = False
        made.die(node)
        wait_until(lambda: made.condition(node)[0] == "False", "a dead node")
        placed.delete(service)
        placed.gone(address)


def test_agents_that_are_gone_keep_nothing(placed):
    placed.pool(size=2)
    with agents(placed):
        (address,) = create(placed)
        bound(placed, address)
    placed.delete_services()
    placed.gone(address)
