"""What a check has found good before, in the cache that outlives checkouts: an empty file for each thing,
named after a digest of all that the outcome depends on."""
import hashlib
import pathlib
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/cluster"))
from cluster_binaries import cache  # noqa: E402

# What nobody has asked for since is forgotten.
KEPT = 60 * 24 * 3600  # seconds


class PassedBefore:
    def __init__(self, check):
        self.folder = cache() / "passed" / check
        self.folder.mkdir(parents=True, exist_ok=True)
        for file in self.folder.iterdir():
            if file.stat().st_mtime < time.time() - KEPT:
                file.unlink(missing_ok=True)

    def knows(self, name):
        file = self.folder / name
        if not file.exists():
            return False
        file.touch()
        return True

    def note(self, name):
        (self.folder / name).touch()


def digest(parts):
    """A name for the parts, each bytes or a string."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        whole.update(b"%d " % len(data) + data)
    return whole.hexdigest()
