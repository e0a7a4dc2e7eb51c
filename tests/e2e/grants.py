"""What was granted to whom, seen one change after the other as the API server stores them."""

import collections
import ipaddress

import invariants
from harness import wait_until
from watched import Watched


class Grants(Watched):
    """A watch on all IPAMRequests: every CIDR that each of them ever had, and never an overlap.

    with Grants(lab) as grants: ...
    grants.check()
    """

    def __init__(self, lab, server=0):
        self.violations = []
        # The CIDRs that stood in each request's status, by its uid, in the order they came in.
        self.given = collections.defaultdict(list)
        self._names = {}
        self._live = {}  # (range, network) by uid
        self._count = 0
        super().__init__(lab, invariants.REQUESTS, server)

    @property
    def count(self):
        """How many grants were seen."""
        return self._count

    def wait_for(self, requests):
        """Waits until the watch has shown a grant for each of the requests, as they are stored."""
        uids = {request["metadata"]["uid"] for request in requests}
        wait_until(
            lambda: self.error or all(self.given.get(uid) for uid in uids),
            lambda: (
                f"{len(uids)} grants; none for "
                f"{[self._names.get(uid, uid) for uid in uids if not self.given.get(uid)][:10]}"
            ),
        )
        assert not self.error, self.error

    def check(self):
        assert not self.error, self.error
        assert not self.violations, "\n".join(self.violations)
        twice = {self._names[uid]: cidrs for uid, cidrs in self.given.items() if len(cidrs) > 1}
        assert not twice, f"granted more than once: {twice}"

    def note(self, kind, item):
        uid = item["metadata"]["uid"]
        self._names[uid] = name = invariants.name_of(item)
        cidr = (item.get("status") or {}).get("cidr")
        held = self._live.pop(uid, None)
        if kind == "DELETED":
            return
        if held and not cidr:
            self.violations.append(f"{name} had {held[1]} and has nothing")
        if not cidr:
            return
        network = ipaddress.ip_network(cidr)
        if cidr not in self.given[uid]:
            self.given[uid].append(cidr)
            self._count += 1
            chosen = invariants.ranges.range_of(item)
            for other, (range_, taken) in self._live.items():
                if range_ == chosen and taken.overlaps(network):
                    self.violations.append(
                        f"{name}: {cidr} overlaps {taken} of {self._names[other]}"
                    )
        self._live[uid] = (invariants.ranges.range_of(item), network)
