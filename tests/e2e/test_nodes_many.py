"""Many addresses on one node: all of them come, stay through a restart of the agent, and go again."""

import ipaddress
import time

import harness
import objects
from frames import Capture
from harness import FULL, wait_until
from kernel_addresses import KernelWatch
from nodes_lab import CLAIMS
from nodes_net import LINK

# The network for benchmarks (RFC 2544): none of the node's links has it, so --link says where it goes.
FIRST = ipaddress.ip_address("198.18.0.1")
COUNT = 1000 if FULL else 100
FINALIZER = "ipcontroller.ext/bound"


def test_many_addresses_on_one_node(nodes):
    node = nodes.nodes[0]
    addresses = [str(FIRST + index) for index in range(COUNT)]
    harness.parallel(4, lambda address: _create(nodes, node, address), addresses)
    with KernelWatch([node]) as kernel, Capture(nodes.client) as capture:
        began = time.monotonic()
        agent = node.start_agent(f"--link={LINK}", "--log-level=info")
        _wait(nodes, lambda: set(addresses) <= set(node.host.addresses()), "all of them bound")
        _wait(nodes, lambda: _say_bound(nodes, node) == COUNT, "claims that say so")
    bound = {c.address: c.at for c in reversed(kernel.changes) if c.held and c.marked}
    heard = {h.address: h.at for h in reversed(capture.heard) if h.mac == node.mac}
    assert set(addresses) <= set(bound) & set(heard)
    for what, times in (("bound", bound), ("announced", heard)):
        print(f"\n{COUNT} addresses {what} in {max(times[a] for a in addresses) - began:.2f} s")
    print(f"resident: {agent.resident() / 1e6:.1f} MB")

    with KernelWatch([node]) as kernel:
        agent.stop()
        agent.start()
        _wait(
            nodes,
            lambda: agent.count("ipwarden_agent_addresses", state="bound") == COUNT,
            "the addresses to be adopted",
        )
        kept = {c.address for c in kernel.changes if c.held}
        assert set(addresses) <= kept
        assert not [c for c in kernel.changes if not c.held]

    harness.parallel(4, lambda address: nodes.delete(objects.claim(address)), addresses)
    _wait(nodes, lambda: not set(addresses) & set(node.host.addresses()), "none of them bound")
    _wait(nodes, lambda: not nodes.claims(), "no claims")


def _create(nodes, node, address):
    claim = objects.claim(address, nodeName=node.name)
    claim["metadata"]["finalizers"] = [FINALIZER]
    nodes.create(claim)


def _say_bound(nodes, node):
    path = f"{CLAIMS}?fieldSelector=spec.nodeName%3D{node.name}"
    claims = nodes.must("GET", path)["items"]
    return sum(claim.get("status", {}).get("boundNode") == node.name for claim in claims)


def _wait(nodes, condition, what):
    # A busy API server takes 20 ms for each claim.
    wait_until(condition, lambda: f"{what}\n{nodes.tell()}", harness.PATIENCE + COUNT / 10)
