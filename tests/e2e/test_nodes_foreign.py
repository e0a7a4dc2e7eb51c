"""Strangers in the network: one that has an address of ours, and one that says so about all of them."""

import time

import pytest

import frames
import nodes_client
import objects
from harness import PATIENCE, wait_until
from nodes_client import Asking
from nodes_net import POOL

STORM_SECONDS = 3
STORM_FRAMES = 2000  # a second


@pytest.fixture
def agents(nodes):
    nodes.start_agents()
    nodes.warm_up()
    return nodes


def test_an_address_that_a_stranger_uses_is_left_to_it(agents):
    taken = POOL[3]
    foreign = agents.foreigner(taken)
    agents.judge.watch(taken)
    wanted = agents.service("web", annotations={objects.ADDRESSES: taken}, auto=True)
    agents.endpoints(wanted, agents.nodes[-1])
    with Asking(agents.client, [(taken, 80)]) as asking:
        assert asking.wait_answer(taken).node == "foreign"
        began = time.monotonic()
        service = agents.create(wanted)
        assert agents.given(service) == [taken]

        def conflict():
            return objects.condition(agents.claim(taken), "AddressInUse")

        wait_until(
            lambda: foreign.mac in conflict().get("message", ""),
            lambda: f"{foreign.mac} in {agents.claim(taken)}\n{agents.tell()}",
        )
        assert conflict()["status"] == "True"
        time.sleep(1)
        assert agents.holders(taken) == []
        undisturbed = asking.longest_gap(taken, began)
        assert {answer.node for answer in asking.of(taken)} == {"foreign"}
        assert agents.judge.macs(taken) == [foreign.mac]
        gone = time.monotonic()
        foreign.backend.kill()
        foreign.remove_address(taken)
        asking.wait_answer(taken, gone, node=agents.nodes[-1].name)
        print(f"\nbound {time.monotonic() - gone:.1f} s after the stranger had gone")
        agents.is_bound(taken)
        wait_until(lambda: conflict().get("status") != "True", lambda: f"{agents.claim(taken)}")
    assert undisturbed < 0.2 * PATIENCE / 30


def test_storms_of_conflicts_move_nothing(agents):
    """Somebody says over and over that he has all of our addresses."""
    node = agents.nodes[0]
    web = agents.services_on(node, 4)
    foreign = agents.foreigner()
    mac = bytes.fromhex(foreign.mac.replace(":", ""))
    with Asking(agents.client, [(address, 80) for address in web]) as asking:
        for address in web:
            asking.wait_answer(address)
        spent = cpu_seconds(node)
        with frames.Capture(foreign) as sender:
            began = time.monotonic()
            sent = 0
            while (now := time.monotonic()) < began + STORM_SECONDS:
                while sent < (now - began) * STORM_FRAMES:
                    address = web[sent % len(web)]
                    # To the node alone: the client would believe it, and that isn't what is tried.
                    to = bytes.fromhex(node.mac.replace(":", ""))
                    kind = frames.REPLY if sent % 2 else frames.REQUEST
                    sender.send(frames.arp(kind, mac, address, bytes(6), address, to))
                    sender.send(to + mac + bytes(sent % 90))
                    sent += 1
                time.sleep(0.005)
        spent = cpu_seconds(node) - spent
        for address in web:
            asking.wait_answer(address, time.monotonic())
        announced = node.agent.count("ipwarden_agent_conflicts_total")
    print(f"\n{sent} frames: {spent:.2f} s of processor time, {announced:.0f} conflicts counted")
    assert all(agents.holders(address) == [node] for address in web)
    assert announced > 0
    assert spent < STORM_SECONDS / 2


def test_a_stranger_that_takes_a_bound_address_moves_nothing(agents):
    node = agents.nodes[0]
    (address,) = agents.services_on(node, 1)
    foreign = agents.foreigner(address)
    # Both answer, and nobody can end that but a person.
    agents.judge.allowed_answers = 3600
    mac = bytes.fromhex(foreign.mac.replace(":", ""))
    with frames.Capture(foreign) as sender:
        for _ in range(10):
            sender.send(frames.arp(frames.REQUEST, mac, address, bytes(6), address))
            time.sleep(0.1)
    assert agents.holders(address) == [node]
    foreign.backend.kill()
    agents.network.remove(foreign)
    wait_until(
        lambda: nodes_client.get(agents.client, address, timeout=0.3), "an answer by us again"
    )


def cpu_seconds(node):
    with open(f"/proc/{node.agent.process.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
