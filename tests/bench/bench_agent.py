"""`run agent`: one node with 1 and with 1,000 addresses: how fast its agent is, and what it costs at rest.

Claims that name the node are there, new ones or such that it had bound before a reboot. The agent starts,
and the time is taken until the kernel has every address, until a host outside has heard every one
announced, and until every claim says so. Then nothing happens for a while, and the agent's CPU time and
memory are read. It starts once more, with the addresses still in the kernel. Needs root.
"""

import argparse
import contextlib
import ipaddress
import time
from pathlib import Path

import bench_lab
from bench_lab import WEBHOOKS
from bench_programs import cpu_seconds, scratch, until
from bench_report import say

import harness
import objects
from frames import Capture
from kernel_addresses import KernelWatch
from nodes_lab import CLAIMS, NodesLab
from nodes_net import LINK

NAME = "agent"
VARIANTS = ("new", "reboot")
FIRST = ipaddress.ip_address(bench_lab.FIRST_ADDRESS)
FINALIZER = "ipcontroller.ext/bound"
SECONDS = 180
# What is left of starting, such as repeated announcements, is over by then.
SETTLE = 5


def add_options(parser):
    parser.add_argument("--rounds", type=int, default=3, help="starts for each figure (3)")
    parser.add_argument(
        "--addresses", type=_numbers, default=[1, 1000], help="how many on the node (1,1000)"
    )
    parser.add_argument("--idle", type=int, default=30, help="seconds of doing nothing (30)")


def run(options, programs, report):
    programs.build(go=[], ours=True, tools=[])
    with scratch() as folder, contextlib.ExitStack() as stack:
        say("starting a control plane, a node and a host beside it")
        lab = NodesLab(folder, 1, binary=programs.ipwarden)
        stack.callback(lab.close)
        # Only the agent is looked at; nobody else shall write its claims or use the processor.
        lab.nodes[0].proxy.kill()
        lab.fleet.close()
        for path in WEBHOOKS:
            lab.must("DELETE", f"{path}/{harness.NAME}")
        for count in options.addresses:
            for variant in options.variants:
                rounds = []
                for number in range(options.rounds):
                    idle = options.idle if number == 0 and variant == VARIANTS[0] else 0
                    rounds.append(_measure(lab, variant, count, idle))
                    report.round(variant=variant, addresses=count, **rounds[-1])
                    say(f"{variant} {count}: {_shown(rounds[-1])}")
                _report(report, f"{count}.{variant}", rounds)


def _report(report, prefix, rounds):
    units = {"cpu": "%", "ready": "s", "bound": "s", "announced": "s", "written": "s", "busy": "s"}
    for name in dict.fromkeys(key for measured in rounds for key in measured):
        values = [measured.get(name) for measured in rounds]
        report.add_median(f"{prefix}.{name}", values, units.get(name, "MB"))


def _measure(lab, variant, count, idle):
    node = lab.nodes[0]
    addresses = [str(FIRST + index) for index in range(count)]
    _make_claims(lab, node, variant, addresses)
    try:
        measured = _start(lab, node, addresses)
        if idle:
            measured |= _rest(node.agent.process.pid, idle)
            measured |= _start_again(node, count)
        return measured
    finally:
        if node.agent:
            node.agent.kill()
            for file in node.agent.state.iterdir():
                file.unlink()
        node.host.remove_addresses(addresses)
        _remove_claims(lab)


def _start(lab, node, addresses):
    """Seconds from exec until every address is in the kernel, announced, and written down."""
    with KernelWatch([node]) as kernel, Capture(lab.client) as capture:
        began = time.monotonic()
        node.start_agent(f"--link={LINK}", "--log-level=info", wait=False)
        agent = node.agent
        until(lambda: _has_written(agent, len(addresses)), agent.tail, SECONDS, pause=0.05)
        written = time.monotonic() - began
    bound = _last({c.address: c.at for c in reversed(kernel.changes) if c.held}, addresses)
    heard = _last({h.address: h.at for h in reversed(capture.heard)}, addresses)
    _check_claims(lab, node, len(addresses))
    return {
        "bound": bound - began,
        "announced": heard - began,
        "written": written,
        "busy": cpu_seconds(agent.process.pid),
    }


def _start_again(node, count):
    """The same with the addresses there: until the agent says that it has seen and kept them all."""
    node.agent.kill()
    began = time.monotonic()
    node.agent.start(wait=False)
    until(lambda: node.agent.ready() and _has_written(node.agent, count), node.agent.tail, SECONDS)
    return {"ready": time.monotonic() - began}


def _rest(pid, seconds):
    time.sleep(SETTLE)
    # Of clock ticks, a hundred a second, there are few: the scheduler's nanoseconds are better.
    before, began = _run_time(pid), time.monotonic()
    time.sleep(seconds)
    used = (_run_time(pid) - before) / (time.monotonic() - began)
    return {"cpu": 100 * used, **_memory(pid)}


def _run_time(pid):
    """Seconds that all threads of the process have run."""
    files = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(file.read_text().split()[0]) for file in files) / 1e9


def _memory(pid):
    """MB (10^6 bytes): what is resident, its share of it, and what is in no file or differs from it.

    own is what one more agent takes from a node: anonymous memory, and pages of files that it changed.
    """
    wanted = {"Rss": "rss", "Pss": "pss", "Private_Dirty": "own", "Anonymous": "anonymous"}
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in wanted:
            found[wanted[name]] = int(value.split()[0]) * 1024 / 1e6
    return found


def _has_written(agent, count):
    try:
        metrics = agent.metrics()
    except (OSError, AssertionError):
        return False
    name = "ipwarden_agent_addresses"
    bound = metrics.get((name, frozenset({("state", "bound")})), 0)
    return bound == count and not metrics.get(("ipwarden_agent_writes_pending", frozenset()), 1)


def _check_claims(lab, node, count):
    bound = [c for c in lab.claims() if c.get("status", {}).get("boundNode") == node.name]
    if len(bound) != count:
        raise bench_lab.ClusterError(f"{len(bound)} of {count} claims say that they are bound")


def _make_claims(lab, node, variant, addresses):
    """As they are born (new), and as this node's agent left them when it went down (reboot)."""

    def make(address):
        claim = objects.claim(address, nodeName=node.name)
        claim["metadata"]["finalizers"] = [FINALIZER]
        made = lab.must("POST", CLAIMS, claim)
        if variant == "reboot":
            status = {"status": {"boundNode": node.name}}
            lab.must("PATCH", f"{CLAIMS}/{made['metadata']['name']}/status", status)

    harness.parallel(8, make, addresses)


def _remove_claims(lab):
    def remove(claim):
        path = f"{CLAIMS}/{claim['metadata']['name']}"
        lab.request("PATCH", path, {"metadata": {"finalizers": None}})
        lab.request("DELETE", path)

    harness.parallel(8, remove, lab.claims())


def _last(times, addresses):
    """When the last of them was first seen."""
    missing = [address for address in addresses if address not in times]
    if missing:
        raise bench_lab.ClusterError(f"{len(missing)} addresses weren't seen, {missing[0]} first")
    return max(times[address] for address in addresses)


def _shown(measured):
    return ", ".join(f"{name} {value:.3g}" for name, value in measured.items())


def _numbers(text):
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1 or max(numbers) > 10000:
        raise argparse.ArgumentTypeError("numbers from 1 to 10000, with commas")
    return numbers
