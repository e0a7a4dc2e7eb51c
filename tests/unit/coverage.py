#!/usr/bin/env python3
"""Prints how many lines of each folder the tests ran, from what gcov says of a build for coverage.

usage: coverage.py BUILD
"""
import collections
import gzip
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("allocator", "certs", "k8s", "netlink", "server")


def lines_run(build):
    """For each of the program's own files: line number -> whether any test ran it. Headers count, too."""
    counts = sorted(str(path) for path in build.rglob("*.gcda"))
    run = collections.defaultdict(dict)
    with tempfile.TemporaryDirectory() as reports:
        subprocess.run(["gcov", "--json-format", "--hash-filenames", *counts], cwd=reports, check=True,
                       stdout=subprocess.DEVNULL)
        for report in pathlib.Path(reports).glob("*.gcov.json.gz"):
            document = json.loads(gzip.decompress(report.read_bytes()))
            for file in document["files"]:
                path = pathlib.Path(document["current_working_directory"], file["file"]).resolve()
                if not path.is_relative_to(ROOT) or path.relative_to(ROOT).parts[0] not in FOLDERS:
                    continue
                lines = run[path.relative_to(ROOT)]
                for line in file["lines"]:
                    number = line["line_number"]
                    lines[number] = lines.get(number, False) or line["count"] > 0
    return run


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    totals = collections.defaultdict(lambda: [0, 0])
    for path, lines in lines_run(pathlib.Path(sys.argv[1]).resolve()).items():
        for name in (str(path.parent), "all of it"):
            totals[name][0] += sum(lines.values())
            totals[name][1] += len(lines)
    if not totals:
        sys.exit("coverage: no test of a build for coverage has run: tests/run coverage does all of it")
    for name in sorted(totals, key=lambda name: (name == "all of it", name)):
        covered, lines = totals[name]
        print(f"{name:<20} {100 * covered / lines:5.1f} %  {covered:6} of {lines:6} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main())
