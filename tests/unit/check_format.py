#!/usr/bin/env python3
"""Fails when a C file isn't as clang-format 14 writes it, or when there is no clang-format 14 to ask."""
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("allocator", "certs", "k8s", "netlink", "server", "tests")
# Other versions write some lines otherwise, so only the one counts that everybody uses.
VERSION = "14"


def find_clang_format():
    others = []
    for name in (f"clang-format-{VERSION}", "clang-format"):
        program = shutil.which(name)
        if program is None:
            continue
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
        version = re.search(r"version (\d+)\.", said)
        if version and version[1] == VERSION:
            return program
        others.append(said.strip())
    sys.exit(f"format: there is no clang-format {VERSION}, and other versions write some lines otherwise"
             f" (here: {'; '.join(others) or 'none'}).\n"
             f"    Debian 12 and Ubuntu 24.04: apt-get install clang-format-{VERSION}\n"
             f"    elsewhere: python3 -m pip install clang-format=={VERSION}.0.6, with its bin/ on PATH")


def main():
    program = find_clang_format()
    files = sorted(str(path) for folder in FOLDERS for path in (ROOT / folder).rglob("*.[ch]"))
    outcome = subprocess.run([program, "--dry-run", "-Werror", *files], cwd=ROOT, check=False).returncode
    print(f"format: {len(files)} files were compared with what clang-format {VERSION} writes"
          + (", which is different: clang-format-14 -i FILE mends it" if outcome else ""))
    return 1 if outcome else 0


if __name__ == "__main__":
    sys.exit(main())
