"""Nodes that die, come back, and are emptied: who answers afterwards, and for how long nobody did."""

import time

import pytest

from harness import FULL, PATIENCE, wait_until
from nodes_client import Asking, Stream

# Milliseconds without an answer that are promised on a machine with nothing else to do.
FAILOVER = 1000
PLANNED = 200
# Seconds in which all that was restarted is to be back.
BACK = 10
EXCLUDE = "node.kubernetes.io/exclude-from-external-load-balancers"
COUNT = 6
# Longer than it takes to count as dead by heartbeats, and time to do harm afterwards.
AWAY = 60 if FULL else 6
AFTER = 3


def slow(milliseconds):
    return milliseconds * PATIENCE / 30


@pytest.fixture
def agents(nodes):
    nodes.start_agents()
    nodes.warm_up()
    return nodes


@pytest.fixture
def web(agents):
    """Services with an address each, all on the first node, answered by the last one's backend."""
    return agents.services_on(agents.nodes[0], COUNT)


def asking_for(nodes, addresses):
    nodes.judge.watch(*addresses)
    return Asking(nodes.client, [(address, 80) for address in addresses])


def report(name, asking, addresses, since):
    gaps = sorted(1000 * asking.longest_gap(address, since) for address in addresses)
    print(f"\n{name}: longest silence {[round(gap) for gap in gaps]} ms")
    return gaps[-1]


def test_standbys_answer_for_a_node_that_was_killed(agents, web):
    victim = agents.nodes[0]
    standbys = {address: agents.standby_of(address) for address in web}
    with asking_for(agents, web) as asking:
        for address in web:
            asking.wait_answer(address)
        killed = time.monotonic()
        victim.kill()
        dead = time.monotonic()
        for address in web:
            asking.wait_answer(address, dead)
        # Whoever stood by took over: nobody had to decide anything.
        for address in web:
            agents.is_bound(address, standbys[address])
        silent = report("node killed", asking, web, killed)
        assert set(standbys.values()) == set(agents.others(victim)), "not spread over the others"
        # The first thing that the agent of the returning node does is to give up what it had.
        began = time.monotonic()
        victim.start_agent(wait=False)
        wait_until(lambda: not victim.ours(), lambda: f"{victim.ours()} to go\n{agents.tell()}")
        victim.host.join()
        victim.agent.wait_ready()
        time.sleep(1)
        disturbed = report("node back", asking, web, began)
    assert silent < slow(FAILOVER)
    assert disturbed < slow(PLANNED)
    for address in web:
        assert agents.bound_node(address) is standbys[address], "the returning node took it back"


def test_standbys_need_no_api_server(agents, web):
    victim = agents.nodes[0]
    standbys = {address: agents.standby_of(address) for address in web}
    with asking_for(agents, web) as asking:
        for address in web:
            asking.wait_answer(address)
        agents.cluster.kill_apiserver(0)
        killed = time.monotonic()
        victim.kill()
        dead = time.monotonic()
        for address in web:
            asking.wait_answer(address, dead)
        silent = report("node killed, no API server", asking, web, killed)
        for address in web:
            assert address in standbys[address].ours()
        agents.cluster.start_apiserver(0)
        for address in web:
            agents.is_bound(address, standbys[address])
    assert silent < slow(FAILOVER)
    victim.host.remove_addresses(web)


@pytest.mark.parametrize("how", ["cordon", "exclude"])
def test_planned_moves_are_hardly_noticed(agents, web, how):
    node = agents.nodes[0]
    with asking_for(agents, web) as asking, Stream(agents.client, web[0]) as stream:
        for address in web:
            asking.wait_answer(address)
        wait_until(lambda: stream.answered > 5, "a stream of requests")
        retries = stream.retries
        moved = time.monotonic()
        if how == "cordon":
            agents.cordon(node)
        else:
            agents.label(node, EXCLUDE, "")
        for address in web:
            wait_until(
                lambda a=address: (agents.bound_node(a) or node) is not node,
                lambda a=address: f"{a} to move\n{agents.tell()}",
            )
            asking.wait_answer(address, time.monotonic())
        silent = report(how, asking, web, moved)
        assert stream.retries - retries <= 1, stream.retries
    assert silent < slow(PLANNED)
    assert not node.ours()


def test_a_drained_agent_hands_over(agents, web):
    """keep-on-exit off: what a node has is given up, and told, before the agent ends."""
    node = agents.nodes[0]
    node.agent.stop()
    assert set(web) <= set(node.ours()), "an agent that ends keeps what it has by default"
    node.start_agent("--keep-on-exit=false")
    agents.cordon(node, False)
    for address in web:
        agents.is_bound(address, node)
    with asking_for(agents, web) as asking:
        for address in web:
            asking.wait_answer(address)
        node.agent.stop()
        assert not node.ours(), "it ended with addresses"
        stopped = time.monotonic()
        for address in web:
            asking.wait_answer(address, stopped)
    for address in web:
        wait_until(lambda a=address: agents.bound_node(a) not in (None, node), "another node")


def test_an_agent_that_restarts_disturbs_nobody(agents, web):
    node = agents.nodes[0]
    with asking_for(agents, web) as asking:
        for address in web:
            asking.wait_answer(address)
        began = time.monotonic()
        node.agent.kill()
        time.sleep(0.5)
        node.agent.start()
        node.agent.stop()
        node.agent.start()
        time.sleep(AFTER)
        report("agent restarted", asking, web, began)
    agents.judge.nothing_changed(web, began)
    for address in web:
        assert agents.bound_node(address) is node


def test_nothing_moves_while_the_api_server_is_away(agents, web):
    node = agents.nodes[0]
    with asking_for(agents, web) as asking:
        for address in web:
            asking.wait_answer(address)
        began = time.monotonic()
        agents.cluster.kill_apiserver(0)
        time.sleep(AWAY)
        agents.cluster.start_apiserver(0)
        time.sleep(AFTER)
        silent = report("API server away", asking, web, began)
    # An API server that starts takes what the machine has, the client's share of it, too.
    assert silent < slow(FAILOVER)
    agents.judge.nothing_changed(web, began)
    for address in web:
        assert agents.bound_node(address) is node


def test_everything_restarted_at_once_is_back_as_it_was(agents, web):
    before = {address: agents.holders(address) for address in web}
    agents.fleet.kill()
    for node in agents.nodes:
        node.agent.kill()
        node.host.remove_addresses(node.ours())  # they have all rebooted
    began = time.monotonic()
    for node in agents.nodes:
        node.agent.start(wait=False)
    agents.cluster.restart_cold()
    up = time.monotonic()
    agents.fleet.start()
    with asking_for(agents, web) as asking:
        for address in web:
            asking.wait_answer(address)
        took = time.monotonic() - began
    print(f"\nall restarted: control plane {up - began:.1f} s, all answered {took:.1f} s")
    # The rest is how long the control plane's own programs take.
    assert took - (up - began) < BACK / 2 * PATIENCE / 30
    for address in web:
        assert agents.holders(address) == before[address]
