"""`run create`: what it costs to create Services that get their address meanwhile, end to end.

Each way has a control plane of its own, and they take turns, some Services each: so what one took
is compared with what another took within the same second or two. floor: the least that any program
has to do that gives addresses at admission and keeps them as claims, done with constants; ours:
`ipwarden serve`; current: the same where no older version is served. If asked for, also conditions:
the floor under the conditions of our webhooks; and none: no webhook. Two kinds of Services, external
(spec.externalIPs) and loadbalancer. Besides the creates it is measured when the last write that
follows them is done. In the end a crowd of clients creates all at once.
"""

import argparse
import contextlib
import time

from bench_lab import CLAIMS
from bench_programs import cpu_seconds, scratch, until
from bench_report import say
from bench_ways import CONSTANT, FOLLOWERS, KINDS, Way, has_address

NAME = "create"
VARIANTS = ("floor", "conditions", "current", "ours", "none")
DEFAULT_VARIANTS = ("floor", "current", "ours")
RATIOS = (
    ("current", "floor"),
    ("ours", "current"),
    ("ours", "floor"),
    ("ours", "conditions"),
    ("conditions", "floor"),
    ("ours", "none"),
    ("floor", "none"),
)
# What is reported of each way, and its unit.
METRICS = {
    "total": "s",
    "settled": "s",
    "whole": "s",
    "rate": "1/s",
    "p50": "ms",
    "p99": "ms",
    "cpu": "ms",
    "cpu.etcd": "ms",
    "cpu.api": "ms",
    "cpu.answers": "ms",
}
# Created by each way before its turns count: connections, compiled conditions, caches.
WARM_UP = 100
# Settled is what had no write for that many seconds.
QUIET = 0.1
LONGEST = 300


def add_options(parser):
    parser.add_argument(
        "--clients", type=_numbers, default=[1, 8], help="how many create at once (1,8)"
    )
    parser.add_argument("--kinds", type=_kinds, default=list(KINDS), help="external,loadbalancer")
    parser.add_argument("--count", type=int, default=100, help="Services each turn (100)")
    parser.add_argument("--rounds", type=int, default=60, help="turns of each (60)")
    parser.add_argument(
        "--minutes", type=float, default=6.5, help="in which the rounds have to end (6.5)"
    )
    parser.add_argument(
        "--crowd", type=int, default=600, help="clients in the end, 0 for none (600)"
    )
    parser.add_argument("--crowd-seconds", type=int, default=10, help="how long they create (10)")


def run(options, programs, report):
    programs.build(go=["client"], ours=bool({"current", "ours"} & set(options.variants)))
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(scratch())
        benches = {}
        for variant in options.variants:
            say(f"setting up {variant}")
            way = stack.enter_context(Way.entered(variant, programs, folder))
            benches[variant] = _Bench(way, report)
        _compare(benches, options, report)
        if options.crowd:
            for bench in benches.values():
                _gather_crowd(bench, options, report)
        for bench in benches.values():
            bench.clean()


def _compare(benches, options, report):
    cells = [(kind, clients) for kind in options.kinds for clients in options.clients]
    for bench in benches.values():
        for kind, clients in cells:
            bench.create(kind, clients=clients, count=WARM_UP)
        bench.clean()
    rounds = []
    began = time.monotonic()
    for number in range(options.rounds):
        one_more = (time.monotonic() - began) * (number + 1) / max(number, 1)
        if rounds and one_more > 60 * options.minutes:
            report.note(f"{number} rounds of {options.rounds}: there was no time for more")
            break
        # ABBA: a machine that becomes slower all the time, or faster, favours none of them.
        order = options.variants if number % 2 == 0 else options.variants[::-1]
        say(f"round {number + 1} of {options.rounds}")
        measured = {variant: {} for variant in order}
        for kind, clients in cells:
            one = {}
            for variant in order:
                one[variant] = benches[variant].create(kind, clients=clients, count=options.count)
                measured[variant][(kind, clients)] = one[variant]
            report.round(kind=kind, clients=clients, **one)
            took = [f"{name} {of['total']:.2f}+{of['settled']:.2f} s" for name, of in one.items()]
            say(f"    {_name((kind, clients))}: {', '.join(took)}")
        rounds.append(measured)
        for variant in order:
            benches[variant].clean()
    for cell in cells:
        _summarise(cell, options.variants, rounds, report)


def _summarise(cell, variants, rounds, report):
    def column(variant, metric):
        return [measured[variant][cell][metric] for measured in rounds]

    for variant in variants:
        name = f"{_name(cell)}.{variant}"
        for metric, unit in METRICS.items():
            report.add_median(f"{name}.{metric}", column(variant, metric), unit)
        report.add(f"{name}.failed", sum(column(variant, "failed")), "Services")
    for over, under in RATIOS:
        if over in variants and under in variants:
            for metric in ("total", "whole", "cpu"):
                name = f"{_name(cell)}.ratio.{metric}.{over}/{under}"
                report.add_ratios(name, column(over, metric), column(under, metric))


def _gather_crowd(bench, options, report):
    variant = bench.way.variant
    say(f"{options.crowd} clients for {options.crowd_seconds} s, {variant}")
    measured = bench.create("external", clients=options.crowd, seconds=options.crowd_seconds)
    report.round(clients=options.crowd, **{variant: measured})
    name = f"c{options.crowd}.{variant}"
    report.add(f"{name}.created", measured["done"], "Services")
    report.add(f"{name}.failed", measured["failed"], "Services")
    report.add(f"{name}.throttled", measured["throttled"], "answers")
    report.add(f"{name}.rate", measured["rate"], "1/s")
    for metric in ("p50", "p99", "max"):
        report.add(f"{name}.{metric}", measured[metric], "ms")


def _name(cell):
    kind, clients = cell
    return f"{kind}.c{clients}"


class _Bench:
    """Creates Services in one way."""

    def __init__(self, way, report):
        self.way = way
        self.report = report
        self._next = 0
        for kind in KINDS:
            way.lab.add_namespace(_namespace(kind))

    def create(self, kind, **plan):
        """Creates Services of a kind, and returns what that took.

        plan: what client/main.go knows, clients, and count or seconds.
        """
        namespace = _namespace(kind)
        before = self._used()
        result = self.way.lab.send(
            self.way.steps(kind, namespace),
            followers=FOLLOWERS,
            first=self._next,
            settling={
                "paths": [f"/api/v1/namespaces/{namespace}/services", CLAIMS],
                "token": self.way.own_token,
                "quiet": QUIET,
                "longest": LONGEST,
            },
            **plan,
        )
        after = self._used()
        self._next += result["done"] + result["failed"]
        if result["failed"]:
            where = f"{kind}, {plan['clients']} clients, {self.way.variant}"
            said = "; ".join(f"{one['count']} x {one['text']}" for one in result["messages"][:5])
            self.report.note(f"{where}: {result['failed']} failed: {said}")
        create = result["steps"][1 if self.way.variant in CONSTANT else 0]
        done = max(result["done"], 1)
        cpu = {f"cpu.{name}": 1000 * (after[name] - before[name]) / done for name in after}
        return {
            "total": result["seconds"],
            "settled": result["settled"],
            "whole": result["seconds"] + result["settled"],
            "rate": result["done"] / result["seconds"],
            "cpu": sum(cpu.values()),
            **cpu,
            "p50": create["p50_ms"],
            "p99": create["p99_ms"],
            "max": create["max_ms"],
            **{key: result[key] for key in ("done", "failed", "throttled", "messages", "writes")},
        }

    def clean(self):
        """Deletes what there is, after a look at it, and waits until the claims are gone, too.

        An API server counts all cluster IPs whenever it gives one, so each create would cost more
        than the one before it, and that would hide what the ways differ in.
        """
        lab = self.way.lab
        for kind in KINDS:
            path = f"/api/v1/namespaces/{_namespace(kind)}/services"
            stored = lab.request("GET", path)["items"]
            without = sum(not has_address(kind, service) for service in stored)
            if without and self.way.variant != "none":
                said = f"{kind}, {self.way.variant}: {without} of {len(stored)} have no address"
                self.report.note(said)
            if stored:
                lab.request("DELETE", path)
        if self.way.variant in CONSTANT:
            lab.request("DELETE", CLAIMS)
        until(lambda: not lab.has_claims(), "the claims to go", seconds=LONGEST, pause=0.1)

    def _used(self):
        """CPU seconds so far, by what used them."""
        return {name: sum(map(cpu_seconds, pids)) for name, pids in self.way.pids().items()}


def _namespace(kind):
    return f"bench-{kind}"


def _numbers(text):
    return [int(number) for number in text.split(",")]


def _kinds(text):
    chosen = text.split(",")
    if not set(chosen) <= set(KINDS):
        raise argparse.ArgumentTypeError(f"choose from {', '.join(KINDS)}")
    return chosen
