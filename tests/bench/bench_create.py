"""`run create`: what it costs to create Services that get their address meanwhile, end to end.

On one real API server, in rounds in which each way has its turn: floor: the least that any program
has to do that gives addresses at admission and keeps them as claims, done with constants; ours:
`ipwarden serve`; current: the same where no older version is served. If asked for, also conditions:
the floor under the conditions of our webhooks; and none: no webhook. Two kinds of Services, external
(spec.externalIPs) and loadbalancer. Besides the creates it is measured when the last write that
follows them is done. In the end a crowd of clients creates all at once.
"""

import argparse
import contextlib
import time

from bench_lab import CLAIMS, Cluster, Lab
from bench_programs import cpu_seconds, scratch
from bench_report import say
from bench_ways import CONSTANT, FOLLOWERS, KINDS, Ways, has_address

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
}
CLEANERS = 8
# Created by each way before its turn counts: connections, compiled conditions, caches.
WARM_UP = 50
# Settled is what had no write for that many seconds; after a warm-up fewer do.
QUIET = 1
QUIET_WARM_UP = 0.3
LONGEST = 300


def add_options(parser):
    parser.add_argument(
        "--clients", type=_numbers, default=[1, 8], help="how many create at once (1,8)"
    )
    parser.add_argument("--kinds", type=_kinds, default=list(KINDS), help="external,loadbalancer")
    parser.add_argument("--count", type=int, default=400, help="Services each time (400)")
    parser.add_argument("--rounds", type=int, default=12, help="how often each (12)")
    parser.add_argument(
        "--minutes", type=float, default=5.5, help="in which the rounds have to end (5.5)"
    )
    parser.add_argument(
        "--crowd", type=int, default=600, help="clients in the end, 0 for none (600)"
    )
    parser.add_argument("--crowd-seconds", type=int, default=10, help="how long they create (10)")


def run(options, programs, report):
    programs.build(go=["client"], ours="ours" in options.variants)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(scratch())
        lab = Lab(stack.enter_context(Cluster.start()), programs)
        lab.remove_webhooks()
        lab.add_pool()
        bench = _Bench(lab, Ways(lab, folder), report)
        _compare(bench, options, report)
        if options.crowd:
            for variant in options.variants:
                _gather_crowd(bench, options, report, variant)


def _compare(bench, options, report):
    cells = [(kind, clients) for kind in options.kinds for clients in options.clients]
    plans = [{"kind": kind, "clients": clients, "count": options.count} for kind, clients in cells]
    rounds = []
    began = time.monotonic()
    for number in range(options.rounds):
        one_more = (time.monotonic() - began) * (number + 1) / max(number, 1)
        if rounds and one_more > 60 * options.minutes:
            report.note(f"{number} rounds of {options.rounds}: there was no time for more")
            break
        # ABBA: a machine that becomes slower all the time, or faster, favours none of them.
        order = options.variants if number % 2 == 0 else options.variants[::-1]
        measured = {}
        for variant in order:
            measured[variant] = dict(zip(cells, bench.create(variant, plans)))
        rounds.append(measured)
        say(f"round {number + 1} of {options.rounds}")
        for cell in cells:
            one = {variant: measured[variant][cell] for variant in order}
            report.round(kind=cell[0], clients=cell[1], **one)
            took = [f"{name} {of['total']:.2f}+{of['settled']:.2f} s" for name, of in one.items()]
            say(f"    {_name(cell)}: {', '.join(took)}")
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


def _gather_crowd(bench, options, report, variant):
    say(f"{options.crowd} clients for {options.crowd_seconds} s, {variant}")
    plan = {"kind": "external", "clients": options.crowd, "seconds": options.crowd_seconds}
    (measured,) = bench.create(variant, [plan])
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
    """Creates Services in one way at a time, and cleans up after each."""

    def __init__(self, lab, ways, report):
        self.lab = lab
        self.ways = ways
        self.report = report
        self._turns = 0

    def create(self, variant, plans):
        """Carries out the plans, each in a namespace of its own, and returns what they took.

        A plan has a kind and what client/main.go knows: clients, and count or seconds.
        """
        self._turns += 1
        namespaces = [f"bench-{self._turns}-{index}" for index in range(2 * len(plans))]
        for namespace in namespaces:
            self.lab.add_namespace(namespace)
        created = []
        first = 0

        def send(namespace, plan, quiet):
            nonlocal first
            result = self._send(variant, namespace, {**plan, "first": first}, quiet)
            count = result["done"] + result["failed"]
            created.append({"namespace": namespace, "first": first, "count": count})
            first += count
            return result

        with self.ways.entered(variant, namespaces[0]):
            measured = []
            for plan, warm, namespace in zip(plans, namespaces, namespaces[len(plans) :]):
                send(warm, {**plan, "count": WARM_UP}, QUIET_WARM_UP)
                before = self._used()
                result = send(namespace, plan, QUIET)
                result["cpu"] = self._used() - before
                measured.append(self._judge(variant, namespace, plan, result))
        for one in created:
            self._delete(**one)
        self.lab.request("DELETE", CLAIMS)
        return measured

    def _used(self):
        """CPU seconds of etcd, the API server and who answers its webhooks."""
        pids = [process.pid for process in self.lab.cluster.processes]
        return sum(map(cpu_seconds, [*pids, *self.ways.pids]))

    def _send(self, variant, namespace, plan, quiet):
        kind = plan.pop("kind")
        services = f"/api/v1/namespaces/{namespace}/services"
        return self.lab.send(
            self.ways.steps(variant, kind, namespace),
            followers=FOLLOWERS,
            settling={
                "paths": [services, CLAIMS],
                "token": self.ways.own_token,
                "quiet": quiet,
                "longest": LONGEST,
            },
            **plan,
        )

    def _judge(self, variant, namespace, plan, result):
        """What is reported; what went wrong is noted."""
        where = f"{plan['kind']}, {plan['clients']} clients, {variant}"
        if result["failed"]:
            said = "; ".join(f"{one['count']} x {one['text']}" for one in result["messages"][:5])
            self.report.note(f"{where}: {result['failed']} failed: {said}")
        stored = self.lab.request("GET", f"/api/v1/namespaces/{namespace}/services")["items"]
        without = sum(not has_address(plan["kind"], service) for service in stored)
        if without and variant != "none":
            self.report.note(f"{where}: {without} of {len(stored)} have no address")
        create = result["steps"][1 if variant in CONSTANT else 0]
        return {
            "total": result["seconds"],
            "settled": result["settled"],
            "whole": result["seconds"] + result["settled"],
            "rate": result["done"] / result["seconds"],
            "cpu": 1000 * result["cpu"] / max(result["done"], 1),
            "p50": create["p50_ms"],
            "p99": create["p99_ms"],
            "max": create["max_ms"],
            **{key: result[key] for key in ("done", "failed", "throttled", "messages", "writes")},
        }

    def _delete(self, namespace, first, count):
        path = f"/api/v1/namespaces/{namespace}/services/web-@i@"
        steps = [{"method": "DELETE", "path": path}]
        self.lab.send(steps, as_admin=True, clients=CLEANERS, first=first, count=count)


def _numbers(text):
    return [int(number) for number in text.split(",")]


def _kinds(text):
    chosen = text.split(",")
    if not set(chosen) <= set(KINDS):
        raise argparse.ArgumentTypeError(f"choose from {', '.join(KINDS)}")
    return chosen
