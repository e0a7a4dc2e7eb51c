"""Sees to I7 while a test does what it does: all kernels, the wire before the client, the claims."""

import time

import invariants_nodes
from frames import Capture
from harness import wait_until
from invariants_nodes import BLUR, HEALING
from kernel_addresses import KernelWatch


class NodesJudge:
    """with NodesJudge(lab) as judge: ...; it fails at the end with what it has found.

    A test that does on purpose what leaves two holders for a while says so beforehand: in
    allowed_overlap and allowed_answers, in seconds; and by_hand is what it removes itself, as (node's
    name, address).
    """

    def __init__(self, lab):
        self.allowed_overlap = BLUR
        self.allowed_answers = HEALING
        self.at_rest = True
        self.by_hand = set()
        self._lab = lab
        self._kernels = KernelWatch(lab.nodes)
        self._capture = Capture(lab.client)

    def __enter__(self):
        self._kernels.__enter__()
        self._capture.__enter__()
        self._first = len(self._lab.network.history)
        return self

    def __exit__(self, kind, *_):
        # What goes with the lab's own cleaning is none of the test's.
        self._capture.__exit__(None, None, None)
        self._kernels.__exit__(None, None, None)
        if kind is None:
            self.check()

    def watch(self, *addresses):
        """Asks for these, so that everybody who has one shows."""
        self._capture.ask(*addresses)

    @property
    def changes(self):
        return list(self._kernels.changes)

    def macs(self, address, since=0.0):
        return self._capture.macs(address, since)

    def held(self):
        """{node: {address: marked}} of pools' addresses in the kernels, by the last changes."""
        found = {node.name: {} for node in self._lab.nodes}
        for change in self.changes:
            if change.address in self._lab.pool_addresses:
                if change.held:
                    found[change.node][change.address] = change.marked
                else:
                    found[change.node].pop(change.address, None)
        return found

    def nothing_changed(self, addresses, since):
        """Fails when a kernel got or lost one of these since then."""
        found = [c for c in self.changes if c.address in addresses and c.at >= since]
        assert not found, "\n".join(map(str, found)) + "\n" + self._lab.tell()

    def findings(self):
        """What was found until now, except for claims, which need rest."""
        history = self._lab.network.history[self._first :]
        names = {host.mac: host.name for host in self._lab.network.hosts.values()}
        addresses = self._lab.pool_addresses
        changes = [change for change in self.changes if change.address in addresses]
        heard = [h for h in list(self._capture.heard) if h.address in addresses]
        now = time.monotonic()
        return [
            *invariants_nodes.overlaps(changes, history, now, self.allowed_overlap),
            *invariants_nodes.two_answers(heard, history, names, self.allowed_answers),
            *invariants_nodes.touched(changes, self.by_hand),
        ]

    def check(self):
        found = self.findings()
        assert not found, "\n".join(map(str, found)) + "\n" + self._lab.tell()

    def rest(self, seconds=None):
        """Waits until claims and kernels agree."""
        if not self.at_rest or not self._lab.cluster.apiservers[0].alive():
            return
        found = []

        def look():
            found[:] = invariants_nodes.disagreements(self._lab.claims(), self.held())
            return not found

        wait_until(
            look,
            lambda: "claims and kernels to agree\n"
            + "\n".join(map(str, found))
            + f"\n{self._lab.tell()}",
            seconds,
        )
