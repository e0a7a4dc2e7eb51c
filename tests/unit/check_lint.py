#!/usr/bin/env python3
"""Runs clang-tidy (.clang-tidy says with which checks) on the program's own code, in parallel.

usage: check_lint.py BUILD

BUILD is a folder that cmake configured: its compile_commands.json says what is compiled, and how. A file
that was clean is looked at again only when it, something that it includes, its compiler flags or the checks
have changed, in whichever checkout.
"""
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

from passed_before import ROOT, PassedBefore, digest

FOLDERS = ("allocator", "certs", "k8s", "netlink", "server")
# Any from the first that knows all the checks; Debian 12 has 14, Debian 13 has 19.
OLDEST = 14


def find_clang_tidy():
    """The program and its major version, or the end of the run with a way to get it."""
    for name in ("clang-tidy-14", "clang-tidy"):
        program = shutil.which(name)
        if program is None:
            continue
        version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
        major = re.search(r"version (\d+)\.", version)
        if major and int(major[1]) >= OLDEST:
            return program, major[1]
    sys.exit(f"lint: there is no clang-tidy {OLDEST} or newer: deploy/deps test installs it")


def commands(build):
    """The compile command of each of the program's own files."""
    entries = json.loads((build / "compile_commands.json").read_text())
    found = {}
    for entry in entries:
        path = pathlib.Path(entry["directory"], entry["file"]).resolve()
        if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in FOLDERS:
            found[path] = entry
    return found


def fingerprint(entry, build, seed):
    """A name for all that the outcome depends on. What the compiler sees, with its comments: NOLINT is one."""

    def anywhere(data):
        return data.replace(str(build).encode(), b"BUILD").replace(str(ROOT).encode(), b"ROOT")

    command = shlex.split(entry["command"])
    if "-o" in command:
        at = command.index("-o")
        del command[at:at + 2]
    command.remove("-c")
    seen = subprocess.run([*command, "-E", "-C"], cwd=entry["directory"], capture_output=True, check=False)
    if seen.returncode != 0:
        return None
    return digest([seed, anywhere(entry["command"].encode()), anywhere(seen.stdout)])


def check(program, build, path, entry, seed, clean):
    """What clang-tidy has to say about the file, which is nothing when it is clean."""
    name = fingerprint(entry, build, seed)
    if name and clean.knows(name):
        return None
    ran = subprocess.run([program, "-p", str(build), "--quiet", str(path)], capture_output=True, text=True,
                         check=False)
    if ran.returncode != 0:
        return ran.stdout + ran.stderr
    if name:
        clean.note(name)
    return ""


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    build = pathlib.Path(sys.argv[1]).resolve()
    program, version = find_clang_tidy()
    found = commands(build)
    if not found:
        sys.exit(f"lint: {build}/compile_commands.json names none of {', '.join(FOLDERS)}")
    clean = PassedBefore("lint")
    seed = version.encode() + (ROOT / ".clang-tidy").read_bytes()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = list(pool.map(lambda item: check(program, build, *item, seed, clean), found.items()))
    for outcome in outcomes:
        if outcome:
            print(outcome)
    unclean = sum(1 for outcome in outcomes if outcome)
    known = sum(1 for outcome in outcomes if outcome is None)
    print(f"lint: clang-tidy {version}: {unclean} of {len(found)} files have findings"
          f" ({known} are as they were when they had none)")
    return 1 if unclean else 0


if __name__ == "__main__":
    sys.exit(main())
