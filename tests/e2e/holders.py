"""Which Services list which address, seen one change after the other as the API server stores them."""

import invariants
from watched import Watched


class Holders(Watched):
    """A watch on all Services: never is an address in two of them on the same port.

    with Holders(lab) as holders: ...
    holders.check()
    """

    def __init__(self, lab, server=0):
        self.violations = []
        # How often a Service began to list an address.
        self.count = 0
        self._live = {}  # (name, addresses, ports) by uid
        super().__init__(lab, invariants.SERVICES, server)

    def check(self):
        assert not self.error, self.error
        assert not self.violations, "\n".join(self.violations)

    def note(self, kind, item):
        uid, name = item["metadata"]["uid"], invariants.name_of(item)
        _, before, _ = self._live.pop(uid, (name, set(), set()))
        if kind == "DELETED":
            return
        addresses = invariants.stored_addresses(item)
        ports = {(p.get("protocol", "TCP"), p["port"]) for p in item["spec"].get("ports") or ()}
        self.count += len(addresses - before)
        for other, taken, used in self._live.values():
            if addresses & taken and ports & used:
                shared = ", ".join(map(str, addresses & taken))
                self.violations.append(f"{name} and {other} both list {shared}")
        self._live[uid] = (name, addresses, ports)
