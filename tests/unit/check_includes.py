#!/usr/bin/env python3
"""Fails when the folders or the files of one don't build on each other in one direction.

- An #include may only point down: the layers of the README, as a table.
- Two modules of a folder don't include each other. A module is a .c file with its .h and its _private.h.
- What a .c file gives to others is declared in a header of its name, or of the name that its own begins
  with: block_tree.h, block_tree_private.h for block_tree_nodes.c.

TOLERATED has what is known to break the last two. It only ever gets shorter: rows that aren't needed are told.
"""
import pathlib
import re
import sys

# folder -> folders, or single headers, that it may include (itself is always allowed)
ALLOWED = {
    "server/base": set(),
    "allocator": {"server/base"},
    "k8s": {"server/base"},
    # One type for an address in the whole program, but none of the allocator's decisions.
    "netlink": {"server/base", "allocator/address.h", "allocator/cidr.h"},
    "certs": {"server/base"},
    "server/http": {"server/base"},
    "server/objects": {"server/base", "allocator"},
    "server/state": {"server/base", "server/objects", "allocator", "k8s"},
    "server/decide": {"server/base", "server/objects", "server/state", "allocator", "k8s"},
    "server/admission": {"server/base", "server/http", "server/objects", "server/state",
                         "server/decide", "allocator", "k8s"},
    "server/conversion": {"server/base", "server/http", "server/objects", "allocator"},
    "server/reconcile": {"server/base", "server/objects", "server/state", "server/decide",
                         "allocator", "k8s"},
    "server/agent": {"server/base", "server/http", "server/objects", "allocator", "k8s", "netlink"},
    "server/migrate": {"server/base", "server/objects", "allocator", "k8s"},
    "server": {"server/base", "server/http", "server/objects", "server/state", "server/decide",
               "server/admission", "server/conversion", "server/reconcile", "server/agent",
               "server/migrate", "allocator", "k8s", "netlink", "certs"},
}
# Modules that include each other, and modules whose functions are declared in another's header.
TOLERATED = {
    "circle": {
        ("allocator/address", "allocator/uint128"),
        ("k8s/event_document", "k8s/events"),
        ("server/admission/kinds", "server/admission/review"),
        ("server/http/http_request", "server/http/listener"),
    },
    "declared": {
        ("k8s/handle", "k8s/client"),
        ("k8s/kubeconfig", "k8s/config"),
        ("k8s/transfer", "k8s/client"),
        ("server/admission/claim_validate", "server/admission/kinds"),
        ("server/admission/ipam_mutate", "server/admission/kinds"),
        ("server/admission/ipam_validate", "server/admission/kinds"),
        ("server/admission/pool_validate", "server/admission/kinds"),
        ("server/admission/service_mutate", "server/admission/kinds"),
        ("server/admission/service_validate", "server/admission/kinds"),
        ("server/admission/status_validate", "server/admission/kinds"),
        ("server/http/http_answer", "server/http/http_request"),
        ("server/http/http_answer", "server/http/listener"),
    },
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)
# As clang-format writes them: a definition begins at the margin and its brace has a line of its own.
DEFINITION = re.compile(r"^(?!static\b|typedef\b)[a-z][\w \t\n*]*?\b(\w+)\([^;{}]*\)\n\{", re.M)


def violations(root):
    for folder, allowed in ALLOWED.items():
        for path in sorted((root / folder).glob("*.[ch]")):
            for include in INCLUDE.findall(path.read_text()):
                target = str(pathlib.PurePosixPath(include).parent)
                if target != folder and target not in allowed and include not in allowed:
                    yield f"{path.relative_to(root)}: may not include \"{include}\" (only {sorted(allowed | {folder})})"


def module_of(path):
    return path.stem.removesuffix("_private")


def circles(root):
    """Pairs of modules of one folder that include each other."""
    arrows = set()
    for folder in ALLOWED:
        for path in sorted((root / folder).glob("*.[ch]")):
            for include in INCLUDE.findall(path.read_text()):
                target = pathlib.PurePosixPath(include)
                if str(target.parent) == folder:
                    arrows.add((f"{folder}/{module_of(path)}", f"{folder}/{module_of(target)}"))
    return {(one, other) for one, other in arrows if one < other and (other, one) in arrows}


def declared_elsewhere(root):
    """Pairs of a module and the one whose header declares functions of its, or "no header"."""
    pairs = set()
    for folder in ALLOWED:
        headers = {path: path.read_text() for path in sorted((root / folder).glob("*.h"))}
        for path in sorted((root / folder).glob("*.c")):
            if path.name == "main.c":
                continue
            for function in DEFINITION.findall(path.read_text()):
                declaration = re.compile(rf"\b{function}\(")
                owners = [module_of(header) for header, text in headers.items() if declaration.search(text)]
                if not any(f"{path.stem}_".startswith(f"{owner}_") for owner in owners):
                    pairs.add((f"{folder}/{path.stem}", f"{folder}/{owners[0]}" if owners else "no header"))
    return pairs


def compare(kind, text, found):
    """Prints the pairs; returns how many aren't tolerated."""
    for pair in sorted(found & TOLERATED[kind]):
        print(f"tolerated: {text.format(*pair)}")
    for pair in sorted(found - TOLERATED[kind]):
        print(text.format(*pair))
    for pair in sorted(TOLERATED[kind] - found):
        print(f"{pair} needn't be tolerated any more: take the row out of {pathlib.Path(__file__).name}")
    return len(found - TOLERATED[kind])


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    found = list(violations(root))
    for line in found:
        print(line)
    unknown = [str(path) for path in root.glob("server/*/") if path.is_dir()
               and str(path.relative_to(root)) not in ALLOWED]
    for folder in unknown:
        print(f"{folder}: a folder without a row in {pathlib.Path(__file__).name}")
    wrong = len(found) + len(unknown)
    wrong += compare("circle", "{0} and {1} include each other", circles(root))
    wrong += compare("declared", "{0}.c: has functions that are declared in {1}, not in a header of its name",
                     declared_elsewhere(root))
    print(f"includes: {wrong} findings")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
