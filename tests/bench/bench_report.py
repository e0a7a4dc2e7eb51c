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

    def __init__(self, benchmark, options):
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
        self._table = ""

    def add(self, name, value, unit):
        full_name = f"{self._benchmark}.{name}"
        self._content["results"].append({"name": full_name, "value": value, "unit": unit})
        print(f"{full_name} {_short(value)} {unit}", flush=True)

    def add_median(self, name, values, unit):
        """Adds the median, when there are values; each of them is in the rounds of the file."""
        values = [value for value in values if value is not None]
        if values:
            self.add(name, statistics.median(values), unit)

    def add_ratios(self, name, over, under):
        """Adds the median of the ratios of pairs measured in the same round."""
        self.add_median(name, [a / b for a, b in zip(over, under) if a and b], "x")

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
        path.write_text(json.dumps(self._content, indent=2) + "\n")
        say(f"written to {path}")


def say(text):
    """Progress, for people: results alone go to standard output."""
    print(text, file=sys.stderr, flush=True)


def _short(value):
    """Three to four digits that matter."""
    return f"{value:.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


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
