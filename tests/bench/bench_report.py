"""What a benchmark says: lines of `name value unit` as they are known, and all of it as JSON."""

import json
import os
import platform
import re
import statistics
import sys
import time


class Report:
    """The results of one run. Values are printed when they are added; save() writes the file."""

    def __init__(self, benchmark, options, as_json=False):
        """as_json: save() prints the document that it writes, instead of a line for each result."""
        self._content = {
            "benchmark": benchmark,
            "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "machine": _machine(),
            "options": options,
            "results": [],
            "notes": [],
            "rounds": [],
        }
        self._benchmark = benchmark
        self._as_json = as_json
        self._table = ""

    def add(self, name, value, unit, spread=None):
        """spread: by name what else is known of the value, [from, to] or one figure."""
        full_name = f"{self._benchmark}.{name}"
        result = {"name": full_name, "value": value, "unit": unit, **(spread or {})}
        self._content["results"].append(result)
        if not self._as_json:
            print(f"{full_name} {_short(value)} {unit}{_shown(spread)}", flush=True)

    def add_median(self, name, values, unit):
        """Adds the median, when there are values; each of them is in the rounds of the file."""
        values = [value for value in values if value is not None]
        if values:
            self.add(name, statistics.median(values), unit)

    def add_ratios(self, name, over, under):
        """Adds the median of the ratios of pairs measured in the same round, and how sure it is."""
        ratios = [a / b for a, b in zip(over, under) if a and b]
        if ratios:
            spread = {"range": [min(ratios), max(ratios)], "interval95": interval_of_median(ratios)}
            self.add(name, statistics.median(ratios), "x", spread | {"pairs": len(ratios)})

    def round(self, **measured):
        """Keeps what one round measured, for who wants to see how much they differ."""
        self._content["rounds"].append(measured)

    def note(self, text):
        """Something that who reads the numbers has to know."""
        if text not in self._content["notes"]:
            self._content["notes"].append(text)
            say(f"NOTE: {text}")

    def table(self, text):
        """The results once more, for people: shown, and kept beside the file."""
        self._table = text
        say(f"\n{text}\n")

    def save(self, path):
        self._content["machine"]["load_after"] = os.getloadavg()[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        if self._table:
            path.with_suffix(".txt").write_text(self._table + "\n")
        text = json.dumps(self._content, indent=2)
        path.write_text(text + "\n")
        if self._as_json:
            print(text, flush=True)
        say(f"written to {path}")


def interval_of_median(values):
    """(lower, upper) between which the true median lies with at least 95%; None below six values.

    By ranks: each value is below the true median as a coin falls, whatever their distribution, so
    the k-th lowest is above it with the probability of fewer than k heads.
    """
    count = len(values)
    outside, heads = 0, 0.5**count
    rank = 0
    while outside + heads <= 0.025:
        outside += heads
        heads *= (count - rank) / (rank + 1)
        rank += 1
    if rank == 0:
        return None
    ordered = sorted(values)
    return [ordered[rank - 1], ordered[count - rank]]


def say(text):
    """Progress, for people: results alone go to standard output."""
    print(text, file=sys.stderr, flush=True)


def _short(value):
    """Three to four digits that matter."""
    if abs(value) >= 1000 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.3f}" if 0.1 <= abs(value) < 10 else f"{value:.3g}"


def _shown(spread):
    """`  range 0.99..1.04, interval95 1.01..1.03, pairs 8`"""
    if not spread:
        return ""
    parts = []
    for name, value in spread.items():
        if isinstance(value, list):
            value = "..".join(_short(end) for end in value)
        if value is not None:
            parts.append(f"{name} {value}")
    return "  " + ", ".join(parts)


def _machine():
    with open("/proc/cpuinfo") as file:
        model = re.search(r"^model name\s*:\s*(.*)$", file.read(), re.M)
    return {
        "cpu": model.group(1) if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        # More than a little of it means that others used the machine too.
        "load_before": os.getloadavg()[0],
    }
