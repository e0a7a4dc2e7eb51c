#!/usr/bin/env python3
"""Fails when a line of deploy/SECURITY.md isn't proved: each row of a table names a file with tests that exists."""
import pathlib
import re
import sys

PAGE = "deploy/SECURITY.md"
NAMED = re.compile(r"`(tests/[\w/]+\.(?:py|c))`")
# Of the page and of a test: what makes a file of tests one.
TEST = re.compile(r"^(?:def|static void) test_\w+\(", re.M)


def rows(text):
    """(line number, line) of the rows of all tables, without heads and rules."""
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        is_head = number < len(lines) and lines[number].startswith("|--")
        if line.startswith("|") and not is_head and not line.startswith("|--"):
            yield number, line


def complaint(root, line):
    named = NAMED.findall(line)
    if not named:
        return "names no test"
    for name in named:
        path = root / name
        if not path.is_file():
            return f"names {name}, which isn't there"
        if not TEST.search(path.read_text()):
            return f"names {name}, which has no tests"
    return None


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    found = list(rows((root / PAGE).read_text()))
    complaints = [(number, complaint(root, line)) for number, line in found]
    wrong = [(number, text) for number, text in complaints if text]
    for number, text in wrong:
        print(f"{PAGE}:{number}: {text}")
    print(f"security: {len(found)} lines, {len(wrong)} findings")
    return 1 if wrong or not found else 0


if __name__ == "__main__":
    sys.exit(main())
