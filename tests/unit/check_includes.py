#!/usr/bin/env python3
"""Fails when an #include points upward or sideways: the layers of the README, as a table."""
import pathlib
import re
import sys

# folder -> folders it may include from (itself is always allowed)
ALLOWED = {
    "server/base": set(),
    "allocator": {"server/base"},
    "k8s": {"server/base"},
    "netlink": {"server/base"},
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
    "server": {"server/base", "server/http", "server/objects", "server/state", "server/decide",
               "server/admission", "server/conversion", "server/reconcile", "allocator", "k8s",
               "netlink", "certs"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def violations(root):
    for folder, allowed in ALLOWED.items():
        for path in sorted((root / folder).glob("*.[ch]")):
            for include in INCLUDE.findall(path.read_text()):
                target = str(pathlib.PurePosixPath(include).parent)
                if target != folder and target not in allowed:
                    yield f"{path.relative_to(root)}: may not include \"{include}\" (only {sorted(allowed | {folder})})"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    found = list(violations(root))
    for line in found:
        print(line)
    unknown = [str(path) for path in root.glob("server/*/") if path.is_dir()
               and str(path.relative_to(root)) not in ALLOWED]
    for folder in unknown:
        print(f"{folder}: a folder without a row in {pathlib.Path(__file__).name}")
    return 1 if found or unknown else 0


if __name__ == "__main__":
    sys.exit(main())
