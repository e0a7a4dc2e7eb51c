"""The lab itself: traffic flows over addresses that are bound by hand, and the judge sees who has them."""

import pytest

import frames
import nodes_client
from harness import wait_until
from invariants_nodes import overlaps
from nodes_client import Asking


@pytest.fixture
def web(nodes):
    """A Service with one address of each family, answered by the backend of the last node."""
    service = nodes.create(
        nodes.service("web", auto=True, ipFamilyPolicy="RequireDualStack")
    )
    nodes.endpoints(service, nodes.nodes[-1])
    service["addresses"] = nodes.given(service)
    return service


def test_traffic_flows_over_an_address_bound_by_hand(nodes, web):
    nodes.judge.at_rest = False
    holder, other = nodes.nodes[:2]
    with Asking(nodes.client, [(address, 80) for address in web["addresses"]]) as asking:
        for address in web["addresses"]:
            holder.host.add_address(address)
        for address in web["addresses"]:
            answer = asking.wait_answer(address)
            assert answer.node == nodes.nodes[-1].name
        for address in web["addresses"]:
            nodes.judge.watch(address)
            wait_until(
                lambda a=address: nodes.judge.macs(a) == [holder.mac],
                lambda a=address: f"{holder.mac} alone, not {nodes.judge.macs(a)}",
            )
        assert nodes.judge.held()[holder.name] == dict.fromkeys(web["addresses"], False)
        assert nodes.judge.held()[other.name] == {}
    for address in web["addresses"]:
        nodes.judge.by_hand.add((holder.name, address))
        holder.host.remove_address(address)
    assert not nodes.judge.findings()


def test_the_judge_sees_two_holders(nodes, web):
    nodes.judge.at_rest = False
    address = web["addresses"][0]
    one, other = nodes.nodes[:2]
    nodes.judge.watch(address)
    one.host.add_address(address)
    other.host.add_address(address)
    wait_until(lambda: len(nodes.judge.macs(address)) == 2, "two that answer")
    wait_until(lambda: len(nodes.judge.findings()) == 2, lambda: f"{nodes.judge.findings()}")
    assert len(overlaps(nodes.judge.changes, [], 1e9)) == 1
    nodes.judge.allowed_overlap = nodes.judge.allowed_answers = 60
    for node in (one, other):
        nodes.judge.by_hand.add((node.name, address))
        node.host.remove_address(address)


def test_hosts_can_be_cut_off_and_parted(nodes):
    one, other, _ = nodes.nodes

    def hears(host, node):
        address = node.address
        return nodes_client.get(host, address, 8080, timeout=0.3) is not None

    assert hears(nodes.client, one) and hears(other.host, one)
    with nodes.network.parted(one.host, other.host):
        assert hears(nodes.client, one) and not hears(other.host, one)
    assert hears(other.host, one)
    one.host.cut()
    assert not hears(nodes.client, one)
    one.host.join()
    wait_until(lambda: hears(nodes.client, one), "the node again")


def test_frames_that_are_sent_arrive(nodes):
    nodes.judge.at_rest = False
    mac = bytes.fromhex(nodes.client.mac.replace(":", ""))
    foreign = nodes.foreigner()
    with frames.Capture(foreign) as capture, frames.Capture(nodes.client) as client:
        client.send(frames.arp(frames.REQUEST, mac, "203.0.113.219", bytes(6), "203.0.113.219"))
        client.send(frames.advertisement(mac, "2001:db8:113::163"))
        for address in ("203.0.113.219", "2001:db8:113::163"):
            wait_until(
                lambda a=address: capture.macs(a) == [nodes.client.mac],
                lambda a=address: f"{a}: {capture.macs(a)}",
            )
