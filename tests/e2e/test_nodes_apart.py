"""Nodes that don't hear each other, or the API, or anything; agents that stand still or are killed.

Whatever happens: one answers in the end, the claim names it, and once nodes hear each other two
answer for no longer than a second. The judge (nodes_judge.py) sees to that in every test here.
"""

import os
import random
import time

import pytest

from harness import FULL, PATIENCE, wait_until
from nodes_client import Asking

ROUNDS = int(os.environ.get("IPWARDEN_ROUNDS", 100 if FULL else 3))
SEED = int(os.environ.get("IPWARDEN_SEED", time.time_ns() % 1_000_000))
COUNT = 4


@pytest.fixture
def agents(nodes):
    nodes.start_agents()
    nodes.warm_up()
    return nodes


@pytest.fixture
def web(agents):
    return agents.services_on(agents.nodes[0], COUNT)


def asking_for(nodes, addresses):
    nodes.judge.watch(*addresses)
    return Asking(nodes.client, [(address, 80) for address in addresses])


def all_answered(asking, addresses, since=None):
    since = time.monotonic() if since is None else since
    for address in addresses:
        asking.wait_answer(address, since)


def test_an_agent_without_the_api_keeps_serving(agents, web):
    node = agents.nodes[0]
    with asking_for(agents, web) as asking:
        all_answered(asking, web)
        began = time.monotonic()
        agents.network.cut_api(node.host)
        # By heartbeats it is dead, and the leader moves its claims: who should have them sees that
        # somebody answers.
        wait_until(
            lambda: all(agents.claim(a)["spec"]["nodeName"] != node.name for a in web),
            lambda: f"the leader to give it up: {[agents.claim(a) for a in web]}",
        )
        all_answered(asking, web)
        assert all(agents.holders(address) == [node] for address in web)
        kept = max(asking.longest_gap(address, began) for address in web)
        agents.network.join_api()
        agents.judge.rest()
        all_answered(asking, web)
    print(f"\ncut off the API: longest silence {1000 * kept:.0f} ms")
    assert kept < 0.2 * PATIENCE / 30


def test_two_nodes_that_are_parted_while_the_client_sees_both(agents, web):
    node = agents.nodes[0]
    other = agents.standby_of(web[0])
    with asking_for(agents, web) as asking:
        all_answered(asking, web)
        with agents.network.parted(node.host, other.host):
            wait_until(
                lambda: agents.bound_node(web[0]) is other, "the standby to have taken over"
            )
            all_answered(asking, web)
            # The API says who it is, so they agree even while they don't hear each other.
            agents.judge.rest()
        all_answered(asking, web)
        agents.judge.rest()


def test_an_agent_that_stands_still(agents, web):
    node = agents.nodes[0]
    with asking_for(agents, web) as asking:
        all_answered(asking, web)
        node.agent.pause()
        wait_until(
            lambda: all(agents.claim(a)["spec"]["nodeName"] != node.name for a in web),
            "the leader to give it up",
        )
        all_answered(asking, web)
        node.agent.resume()
        agents.judge.rest()
        all_answered(asking, web)


def test_an_old_node_whose_link_comes_back(agents, web):
    """The link is cut and joined, and the agent lives: it drops what others have by then."""
    node = agents.nodes[0]
    with asking_for(agents, web) as asking:
        all_answered(asking, web)
        node.host.cut()
        all_answered(asking, web)
        node.host.join()
        agents.judge.rest()
        all_answered(asking, web)
    assert not node.ours()


def test_a_link_that_is_gone_for_a_moment_moves_nothing(agents, web):
    node = agents.nodes[0]
    with asking_for(agents, web) as asking:
        all_answered(asking, web)
        node.host.cut()
        node.host.join()
        all_answered(asking, web)
        agents.judge.rest()
    assert all(agents.holders(address) == [node] for address in web)


def test_everything_is_cut_and_joined(agents, web):
    hosts = [node.host for node in agents.nodes]
    with asking_for(agents, web) as asking:
        all_answered(asking, web)
        agents.network.cut_all(hosts)
        time.sleep(30 if FULL else 3)
        joined = time.monotonic()
        agents.network.join_all(hosts)
        all_answered(asking, web, joined)
        agents.judge.rest()
        print(f"\nall joined: answered after {time.monotonic() - joined:.1f} s")


class Rounds:
    """One disturbance after the other, some of them within others."""

    def __init__(self, nodes, chance):
        self.nodes = nodes
        self.chance = chance

    def one(self):
        kind = self.chance.choice((
            self.cut, self.part, self.cut_api, self.pause, self.restart, self.cordon, self.cut_all,
        ))  # fmt: skip
        node = self.chance.choice(self.nodes.nodes)
        seconds = self.chance.uniform(0.1, 3)
        print(f"{kind.__name__} {node.name} {seconds:.1f} s", flush=True)
        kind(node, seconds)

    def cut(self, node, seconds):
        node.host.cut()
        time.sleep(seconds)
        node.host.join()

    def part(self, node, seconds):
        other = self.chance.choice(self.nodes.others(node))
        with self.nodes.network.parted(node.host, other.host):
            time.sleep(seconds)

    def cut_api(self, node, seconds):
        self.nodes.network.cut_api(node.host)
        time.sleep(seconds)
        self.nodes.network.join_api()

    def pause(self, node, seconds):
        node.agent.pause()
        time.sleep(seconds)
        node.agent.resume()

    def restart(self, node, seconds):
        node.agent.kill()
        time.sleep(seconds)
        node.agent.start(wait=False)

    def cordon(self, node, seconds):
        self.nodes.cordon(node)
        time.sleep(seconds)
        self.nodes.cordon(node, False)

    def cut_all(self, _, seconds):
        hosts = [node.host for node in self.nodes.nodes]
        self.nodes.network.cut_all(hosts)
        time.sleep(seconds)
        self.nodes.network.join_all(hosts)


def test_random_disturbances(agents, web):
    print(f"IPWARDEN_SEED={SEED}")
    rounds = Rounds(agents, random.Random(SEED))
    with asking_for(agents, web) as asking:
        for number in range(ROUNDS):
            all_answered(asking, web)
            print(f"round {number}: ", end="")
            rounds.one()
            # Sometimes the next one comes before this one is over.
            if rounds.chance.random() < 0.5:
                agents.judge.rest(60)
                agents.judge.check()
        all_answered(asking, web)
