"""`run allocator`: what one operation of the allocator costs with 10^3 to 10^6 live blocks.

fill: single addresses, one after the other, the last eighth timed; fragmented, round_robin: one
more where every other address is free, at random; free, specific: giving back and taking exactly
this one there; sizes_...: the same with blocks of 1 to 256 addresses; sparse_...: with addresses of
which no two share 64 neighbours. Each in IPv4 and IPv6, on one core; a time includes reading the
clock. ours: the allocator's library; go-ipam: that Go module, in memory; scan: from the first
address to the first that isn't in use, as MetalLB does.
"""

import json
import math
import os
import statistics
import subprocess

from bench_programs import BenchError
from bench_report import say

NAME = "allocator"
VARIANTS = ("go-ipam", "scan", "ours")
FAMILIES = ("ipv4", "ipv6")
WORKLOADS = ("fill", "fragmented", "round_robin", "free", "specific", "sizes", "sizes_free",
             "sizes_specific", "sparse_free", "sparse_specific")  # fmt: skip
# How the live blocks lie, by a workload that finds them so.
STATES = {"fill": "dense", "free": "scattered", "sizes_free": "sizes", "sparse_free": "sparse"}
QUANTILES = ("p50", "p99", "p999")
# Samples that a quantile needs to mean anything.
NEEDED = {"p50": 1, "p99": 100, "p999": 1000}
# What is promised at a million live: nanoseconds; and of the median, from each size to the next.
TARGETS = {"p50": 1000, "p99": 5000}
TARGET_GROWTH = 1.5
# 2 bits an address and 64 bytes a block or leaf; in bytes for each live block.
TARGET_MEMORY = {"dense": 0.25, "scattered": 0.25 + 64 / 32, "sizes": 64.25, "sparse": 64.25}


def add_options(parser):
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (3)")
    parser.add_argument(
        "--sizes",
        type=lambda text: [int(float(size)) for size in text.split(",")],
        default=[10**3, 10**4, 10**5, 10**6],
        metavar="N,...",
        help="live blocks, ascending (1e3,1e4,1e5,1e6)",
    )
    parser.add_argument(
        "--operations", type=int, default=100000, help="timed in each workload, at most (100000)"
    )
    parser.add_argument(
        "--budget", type=float, default=1, help="seconds for each workload, at most (1)"
    )
    parser.add_argument(
        "--most-go-ipam", type=lambda text: int(float(text)), default=10**5, metavar="N",
        help="size up to which go-ipam is measured (1e5; at 1e6 a round takes minutes)",
    )  # fmt: skip


def run(options, programs, report):
    go = ["go-ipam"] if "go-ipam" in options.variants else []
    programs.build(go=go, ours=False, tools=["bench_allocator"])
    core = max(os.sched_getaffinity(0))
    rounds = []
    for number in range(options.rounds):
        turn = number % len(options.variants)
        order = options.variants[turn:] + options.variants[:turn]
        measured = {name: {} for name in order}
        for size in options.sizes:
            for name in order:
                if name == "go-ipam" and size > options.most_go_ipam:
                    report.note(
                        f"go-ipam isn't measured at {_power(size)}: making the states and two or "
                        f"three operations on each take minutes (--most-go-ipam {_power(size)})"
                    )
                    continue
                say(f"round {number + 1} of {options.rounds}: {name}, {_power(size)} live")
                measured[name][_power(size)] = _measure(name, size, options, programs, core, report)
        rounds.append(measured)
        report.round(**measured)
    _summarise(options, rounds, report)


def _measure(name, size, options, programs, core, report):
    arguments = {"live": size, "operations": options.operations, "budget": options.budget}
    if name == "go-ipam":
        command = [programs.go("go-ipam")]
    else:
        command = [programs.allocator, f"--subject={name}"]
    done = subprocess.run(
        ["taskset", "--cpu-list", str(core), *map(str, command),
         *(f"--{option}={value}" for option, value in arguments.items())],
        capture_output=True, text=True, check=False, env=os.environ | {"GOMAXPROCS": "1"},
    )  # fmt: skip
    if done.returncode != 0:
        raise BenchError(f"{name} at {size} failed: {done.stderr}")
    found = json.loads(done.stdout)
    results = found["results"]
    if "timer" in found:
        report.note(f"reading the clock takes {found['timer']} ns of every time")
    if min(result["operations"] for result in results) < NEEDED["p99"]:
        report.note(
            f"{name} at {_power(size)}: fewer than {NEEDED['p99']} operations of some workloads "
            f"fit into {options.budget:g} s, so there is no p99 of these"
        )
    return {f"{result['family']}.{result['workload']}": result for result in results}


class _Figures:
    """The medians over rounds of what was measured, by variant, workload and size."""

    def __init__(self, options, rounds):
        self.sizes = [_power(size) for size in options.sizes]
        self._rounds = rounds

    def column(self, variant, workload, size, metric):
        """One value a round; None where there is none to trust."""
        found = [measured.get(variant, {}).get(size, {}).get(workload) for measured in self._rounds]
        return [
            result[metric] if result and result["operations"] >= NEEDED.get(metric, 0) else None
            for result in found
        ]

    def value(self, *place):
        values = [value for value in self.column(*place) if value is not None]
        return statistics.median(values) if values else None

    def growth(self, variant, workload, metric):
        """The median growth per decade from each size to the next, by their names."""
        grown = {}
        for smaller, bigger in zip(self.sizes, self.sizes[1:]):
            pairs = zip(
                self.column(variant, workload, bigger, metric),
                self.column(variant, workload, smaller, metric),
            )
            decades = math.log10(float(bigger) / float(smaller))
            ratios = [(big / small) ** (1 / decades) for big, small in pairs if big and small]
            if ratios:
                grown[f"{bigger}/{smaller}"] = statistics.median(ratios)
        return grown


def _summarise(options, rounds, report):
    figures = _Figures(options, rounds)
    workloads = [f"{family}.{workload}" for family in FAMILIES for workload in WORKLOADS]
    for variant in options.variants:
        for workload in workloads:
            _report_times(figures, variant, workload, report)
            _report_memory(figures, variant, workload, options, report)
    if "ours" not in options.variants:
        return
    peers = [name for name in options.variants if name != "ours"]
    for peer in peers:
        for workload in workloads:
            for size in figures.sizes:
                for metric in ("p50", "p99"):
                    report.add_ratios(
                        f"ratio.{metric}.{workload}.{size}.{peer}/ours",
                        figures.column(peer, workload, size, metric),
                        figures.column("ours", workload, size, metric),
                    )
    _report_targets(figures, workloads, report)
    tables = [
        _table_times(figures, workloads),
        _table_peers(figures, workloads, peers),
        _table_memory(figures, ["ours", *peers]),
        _table_targets(figures, workloads),
    ]
    report.table("\n\n".join(table for table in tables if table))


def _report_times(figures, variant, workload, report):
    for size in figures.sizes:
        for metric in QUANTILES:
            report.add_median(
                f"{variant}.{workload}.{size}.{metric}",
                figures.column(variant, workload, size, metric),
                "ns",
            )
    for metric in ("p50", "p99"):
        for step, value in figures.growth(variant, workload, metric).items():
            report.add(f"growth.{variant}.{workload}.{step}.{metric}", value, "x")


def _report_memory(figures, variant, workload, options, report):
    family, _, name = workload.partition(".")
    if name not in STATES:
        return
    for size, live in zip(figures.sizes, options.sizes):
        memory = figures.value(variant, workload, size, "memory")
        if memory is not None:
            report.add(f"memory.{variant}.{family}.{STATES[name]}.{size}", memory / live, "B/live")


def _worst(figures, workloads, metric):
    """The slowest workload of ours with the most live, and its figure."""
    found = {name: figures.value("ours", name, figures.sizes[-1], metric) for name in workloads}
    return max(((value, name) for name, value in found.items() if value), default=(None, None))


def _worst_growth(figures, workloads, of_singles):
    """The steepest growth of ours: of single addresses side by side, or of what lies far apart."""
    found = [
        (value, f"{name} {step}")
        for name in workloads
        if ("sizes" in name or "sparse" in name) != of_singles
        for step, value in figures.growth("ours", name, "p50").items()
    ]
    return max(found, default=(None, None))


def _report_targets(figures, workloads, report):
    for metric in TARGETS:
        worst = _worst(figures, workloads, metric)[0]
        report.add(f"worst.{metric}.{figures.sizes[-1]}", worst, "ns")
    for of_singles, name in ((True, "singles"), (False, "far_apart")):
        growth = _worst_growth(figures, workloads, of_singles)[0]
        if growth:
            report.add(f"worst.growth.{name}.p50", growth, "x")


# ---- tables for people ----


def _table_times(figures, workloads):
    head = [f"{size} live" for size in figures.sizes]
    rows = [["ours: ns, p50 / p99 / p99.9", *head, "growth of p50 per decade"]]
    for workload in workloads:
        cells = [
            " / ".join(
                _number(figures.value("ours", workload, size, metric)) for metric in QUANTILES
            )
            for size in figures.sizes
        ]
        grown = figures.growth("ours", workload, "p50").values()
        rows.append([workload, *cells, " ".join(f"{value:.2f}" for value in grown)])
    return _aligned(rows)


def _table_peers(figures, workloads, peers):
    heads = [f"{peer} {size}" for peer in peers for size in figures.sizes]
    rows = [["peers: p50 (times ours)", *heads]]
    for workload in workloads:
        cells = []
        for peer in peers:
            for size in figures.sizes:
                value = figures.value(peer, workload, size, "p50")
                ours = figures.value("ours", workload, size, "p50")
                known = value and ours
                cells.append(f"{_duration(value)} ({_ratio(value / ours)})" if known else "-")
        if any(cell != "-" for cell in cells):
            rows.append([workload, *cells])
    return _aligned(rows) if len(rows) > 1 else ""


def _table_memory(figures, variants):
    rows = [["memory: bytes a live block", *figures.sizes, "at most, of ours"]]
    for variant in variants:
        for family in FAMILIES:
            for workload, state in STATES.items():
                cells = [
                    _bytes(figures.value(variant, f"{family}.{workload}", size, "memory"), size)
                    for size in figures.sizes
                ]
                if any(cell != "-" for cell in cells):
                    most = f"{TARGET_MEMORY[state]:.3g}" if variant == "ours" else ""
                    rows.append([f"{variant} {family} {state}", *cells, most])
    return _aligned(rows)


def _table_targets(figures, workloads):
    last = figures.sizes[-1]
    rows = [["promised", "at most", "worst", "by", ""]]
    for metric, most in TARGETS.items():
        value, name = _worst(figures, workloads, metric)
        rows.append(
            [f"{metric} at {last}", f"{most} ns", f"{value:.0f} ns", name, _met(value, most)]
        )
    for of_singles, what in ((True, "singles"), (False, "sizes, sparse")):
        value, name = _worst_growth(figures, workloads, of_singles)
        if value:
            rows.append([f"growth of p50, {what}", f"{TARGET_GROWTH}x", f"{value:.2f}x", name,
                         _met(value, TARGET_GROWTH)])  # fmt: skip
    for workload, state in STATES.items():
        used = max(
            figures.value("ours", f"{family}.{workload}", last, "memory") for family in FAMILIES
        ) / float(last)
        most = TARGET_MEMORY[state]
        rows.append([f"memory, {state}", f"{most:.3g} B", f"{used:.3g} B", "", _met(used, most)])
    return _aligned(rows)


def _met(value, most):
    return "met" if value <= most else "MISSED"


def _number(value):
    return "-" if value is None else f"{value:.0f}"


def _ratio(value):
    return f"{value:,.0f}x" if value >= 100 else f"{value:.2g}x"


def _bytes(memory, size):
    return "-" if memory is None else f"{memory / float(size):.3g}"


def _duration(nanoseconds):
    for unit, scale in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if nanoseconds >= scale:
            return f"{nanoseconds / scale:.3g} {unit}"
    return f"{nanoseconds:.0f} ns"


def _power(size):
    """1e6 for a million, the number itself where it is no power of ten."""
    text = f"{size:.0e}".replace("e+0", "e")
    return text if int(float(text)) == size and text.startswith("1e") else str(size)


def _aligned(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        first, *others = zip(row, widths)
        cells = [f"{first[0]:<{first[1]}}", *(f"{cell:>{width}}" for cell, width in others)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
