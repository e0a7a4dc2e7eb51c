#!/usr/bin/env python3
"""Fails when the program that is installed depends on the directory that it was built in.

Builds it in two directories whose names differ in length, and compares the bytes; not again, though, when
neither the sources nor the compiler have changed since it passed.
"""
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from passed_before import PassedBefore, digest

PROGRAM = "build/release/server/ipwarden"
SOURCES = ("allocator", "certs", "k8s", "netlink", "server")


def build(root, directory):
    ignored = shutil.ignore_patterns("build", ".git", "corpus", "__pycache__")
    shutil.copytree(root, directory, ignore=ignored)
    for command in ("cmake --preset release", "cmake --build --preset release --target ipwarden"):
        subprocess.run(command.split(), cwd=directory, check=True, stdout=subprocess.DEVNULL,
                       # What was compiled in the other directory would be taken for this one's.
                       env={**os.environ, "CCACHE_DISABLE": "1"})
    return (directory / PROGRAM).read_bytes()


def fingerprint(root):
    """A name for all that the outcome depends on."""
    files = [root / "CMakeLists.txt", root / "CMakePresets.json"]
    for folder in SOURCES:
        files += sorted(file for file in (root / folder).rglob("*") if file.is_file())
    named = [part for file in files for part in (str(file.relative_to(root)), file.read_bytes())]
    compiler = subprocess.run([os.environ.get("CC", "cc"), "--version"], capture_output=True, check=True)
    flags = [os.environ.get(name, "") for name in ("CFLAGS", "LDFLAGS")]
    return digest([pathlib.Path(__file__).read_bytes(), compiler.stdout, *flags, *named])


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    good, sources = PassedBefore("same_program"), fingerprint(root)
    if good.knows(sources):
        print("same program: 0 findings (all is as it was when there were none)")
        return 0
    with tempfile.TemporaryDirectory(prefix="ipwarden-") as name:
        directories = [pathlib.Path(name) / "one", pathlib.Path(name) / "another" / "and-longer"]
        programs = [build(root, directory) for directory in directories]
        told = [str(d) for d, p in zip(directories, programs) if str(d).encode() in p]
    same = programs[0] == programs[1]
    for directory in told:
        print(f"the program names the directory that it was built in, {directory}")
    if not same:
        digests = [hashlib.sha256(program).hexdigest()[:12] for program in programs]
        print(f"built in two directories, two programs: {digests}")
    print(f"same program: {len(told) + (not same)} findings")
    if same and not told:
        good.note(sources)
    return 1 if told or not same else 0


if __name__ == "__main__":
    sys.exit(main())
