"""Checks what must hold at every moment, over and over, while a test does its work."""

import threading

import invariants
from replicas import timed


class Watchman:
    """with Watchman(lab) as watchman: ...
    watchman.check()
    """

    def __init__(self, lab):
        self.lab = lab
        self.found = []
        self.rounds = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def check(self):
        assert not self.found, "\n".join(map(str, self.found))

    def _watch(self):
        # Lists of thousands are work, for the API servers too: it pauses for longer than it looks.
        pause = 1
        while not self._over.wait(pause) and not self.found:
            seconds, snapshot = timed(self.lab.snapshot)
            self.found = invariants.check(snapshot, rules=invariants.MOVING)
            self.rounds += 1
            pause = max(1, 4 * seconds)
