"""Addresses that all nodes carry: routers learn of them from real daemons, as deploy/ sets them up."""

import time

import pytest

import bgp_lab

ADDRESSES = ("198.51.100.7", "2001:db8:51::7")
# Three lost packets of BFD are 300 ms; without it the route would stay for the hold time of BGP.
SILENCE_SECONDS = 3

DAEMONS = [("bird", "frr"), ("frr", "bird")]


@pytest.fixture(scope="module", params=DAEMONS, ids="-".join)
def lab(request):
    """Three nodes with one daemon, behind a router with the other."""
    node, router = request.param
    lab = bgp_lab.Lab(3, node, router)
    try:
        yield lab
    finally:
        lab.close()


@pytest.fixture(params=ADDRESSES, ids=["IPv4", "IPv6"])
def address(lab, request):
    """Carried by all nodes before the test, and by none after it."""
    for node in lab.nodes:
        node.carry(request.param)
    lab.routed_to(request.param, lab.nodes)
    yield request.param
    for node in lab.nodes:
        node.namespace.run("ip", "address", "flush", "dev", "lo", "scope", "global")
    lab.routed_to(request.param, [])


def test_a_router_spreads_an_address_over_the_nodes_that_carry_it(lab, address):
    assert lab.answers(address)
    first, *rest = lab.nodes
    first.drop(address)
    lab.routed_to(address, rest)
    assert lab.answers(address)
    first.carry(address)
    lab.routed_to(address, lab.nodes)


def test_a_node_that_falls_silent_gets_no_more_traffic(lab, address):
    dead, *living = lab.nodes
    lab.watched()
    lab.cut(dead)
    try:
        began = time.monotonic()
        lab.routed_to(address, living, SILENCE_SECONDS)
        print(f"{address}: {(time.monotonic() - began) * 1000:.0f} ms")
        assert all(lab.answers(address) for _ in range(8))
    finally:
        lab.switch.run("ip", "link", "set", dead.port, "up")
    # Only for this long does it stay away, then BGP tries again.
    lab.routed_to(address, lab.nodes, 60)
    # The other family's session, too: the next test has that.
    lab.watched()


def test_with_the_last_node_the_route_goes(lab, address):
    for node in lab.nodes:
        node.drop(address)
    lab.routed_to(address, [])
    assert not lab.answers(address)
    for node in lab.nodes:
        node.carry(address)


def test_nodes_tell_of_nothing_but_addresses_of_the_pools(lab, address):
    more = ("198.51.101.7", "203.0.113.77", "2001:db8:52::7")
    for other in more:
        lab.nodes[0].carry(other)
    # Not on lo: an address that a node has in the usual way is its own business.
    lab.nodes[0].namespace.run("ip", "address", "add", "198.51.100.99/32", "dev", "eth0")
    second = "198.51.100.8"
    lab.nodes[0].carry(second)
    lab.routed_to(second, lab.nodes[:1])
    assert not any(lab.next_hops(other) for other in (*more, "198.51.100.99"))
    assert not lab.nodes[1].namespace.routes(f"{second}/32"), "a node learnt a route"
    lab.nodes[0].namespace.run("ip", "address", "del", "198.51.100.99/32", "dev", "eth0")
