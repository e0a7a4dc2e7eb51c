"""What was granted to whom, seen one change after the other as the API server stores them."""

import collections
import http.client
import ipaddress
import json
import threading
import urllib.parse

import invariants
from harness import wait_until


class Grants:
    """A watch on all IPAMRequests: every CIDR that each of them ever had, and never an overlap.

    with Grants(lab) as grants: ...
    grants.check()
    """

    def __init__(self, lab, server=0):
        self.lab = lab
        self.violations = []
        self.error = None
        # The CIDRs that stood in each request's status, by its uid, in the order they came in.
        self.given = collections.defaultdict(list)
        self._names = {}
        self._live = {}  # (range, network) by uid
        self._count = 0
        self._over = False
        url = urllib.parse.urlsplit(lab.cluster.servers[server])
        context = lab.cluster.ssl_context()
        self._connection = http.client.HTTPSConnection(url.hostname, url.port, context=context)
        listed = lab.read(invariants.REQUESTS)
        for item in listed.body["items"]:
            self._note("ADDED", item)
        self._version = listed.body["metadata"]["resourceVersion"]
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        path = f"{invariants.REQUESTS}?watch=1&resourceVersion={self._version}&timeoutSeconds=3600"
        self._connection.request("GET", path)
        self._response = self._connection.getresponse()
        assert self._response.status == 200, self._response.read()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over = True
        # Ends the read that waits for the next change.
        self._connection.sock.shutdown(2)
        self._thread.join()
        self._connection.close()

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

    def _watch(self):
        try:
            while line := self._response.readline():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise RuntimeError(f"the watch ended: {event['object']}")
                self._note(event["type"], event["object"])
            raise RuntimeError("the watch ended")
        except Exception as error:  # pylint: disable=broad-except  # shown by check()
            if not self._over:
                self.error = error

    def _note(self, kind, item):
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
