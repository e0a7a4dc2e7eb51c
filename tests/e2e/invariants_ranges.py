"""What must always hold for ranges and the requests that got sub-networks of them.

Part of invariants.py, which says what the rules are called and turns what comes from here, tuples
of (rule, names of objects, text), into violations. All functions take its Snapshot.
"""

import collections
import ipaddress
from typing import NamedTuple

CONFLICT = "Conflict"


class Held(NamedTuple):
    """A sub-network that somebody holds: as numbers, who, and as which object."""

    first: int
    last: int
    version: int
    holder: str
    deleting: bool

    @property
    def size(self):
        return self.last - self.first + 1


class RangeBook:
    """One range, and what is held of it."""

    def __init__(self, item, requests):
        self.item = item
        self.name = key_of(item)
        self.status = item.get("status") or {}
        self.pending = self.status.get("pending") or []
        self.requests = requests
        self.by_uid = {request["metadata"]["uid"]: request for request in requests}
        try:
            self.version, self.spans = spans(item["spec"]["ranges"])
        except (ValueError, KeyError):
            # Stored before it could be judged; the webhook takes none like it.
            self.version, self.spans = None, []

    @property
    def total(self):
        return sum(last - first + 1 for first, last in self.spans)

    def held(self):
        """What the requests have in their status, and what is pending and not there yet."""
        found = [
            _held(cidr_of(request), f"request {key_of(request)}", "deletionTimestamp" in meta)
            for request in self.requests
            if cidr_of(request)
            for meta in [request["metadata"]]
        ]
        for entry in self.pending:
            request = self.by_uid.get(entry["uid"])
            if request is None or not cidr_of(request):
                holder = f"pending request {entry['namespace']}/{entry['name']}"
                found.append(_held(entry["cidr"], holder, False))
        return found

    def contains(self, held):
        return held.version == self.version and any(
            first <= held.first and held.last <= last for first, last in self.spans
        )


def key_of(item):
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"


def range_of(request):
    """The namespace/name of the range that a request refers to."""
    chosen = request["spec"]["range"]
    return f"{chosen.get('namespace') or request['metadata']['namespace']}/{chosen['name']}"


def cidr_of(request):
    """What a request was given, or None; what isn't its own to have doesn't count."""
    status = request.get("status") or {}
    return status.get("cidr") if reason_of(request) != CONFLICT else None


def reason_of(request):
    conditions = (request.get("status") or {}).get("conditions") or ()
    return next((c.get("reason") for c in conditions if c["type"] == "Ready"), None)


def spans(entries):
    """(IP version, [(first, last)...]) of a range's entries: sorted, and none touches another."""
    found, versions = [], set()
    for text in entries:
        first, dash, last = text.partition("-")
        if dash:
            ends = [ipaddress.ip_address(part.strip()) for part in (first, last)]
        else:
            network = ipaddress.ip_network(text.strip())
            ends = [network[0], network[-1]]
        versions |= {end.version for end in ends}
        found.append((int(ends[0]), int(ends[1])))
    if len(versions) != 1 or any(first > last for first, last in found):
        raise ValueError("not a range")
    joined = []
    for first, last in sorted(found):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return versions.pop(), joined


def books(snapshot):
    requests = collections.defaultdict(list)
    for request in snapshot.requests:
        requests[range_of(request)].append(request)
    return [RangeBook(item, requests[key_of(item)]) for item in snapshot.ranges]


def disjoint(snapshot):
    """I1, and I7: what is held lies in the range, and no two overlap, also while one goes."""
    for book in books(snapshot):
        held = sorted(book.held())
        for one in held:
            if book.spans and not book.contains(one):
                text = f"{_text(one)} of {one.holder} lies outside of range {book.name}"
                yield "I1", (book.name, one.holder), text
        yield from _overlaps(book, held)
        for entry in book.pending:
            request = book.by_uid.get(entry["uid"])
            if request is not None and cidr_of(request) not in (None, entry["cidr"]):
                text = f"range {book.name}: {entry['cidr']} is pending for request "
                text += f"{key_of(request)}, which has {cidr_of(request)}"
                yield "I1", (book.name, key_of(request)), text


def _overlaps(book, held):
    longest = None
    for one in held:
        if longest and one.version == longest.version and one.first <= longest.last:
            rule = "I7" if one.deleting or longest.deleting else "I1"
            text = f"range {book.name}: {_text(longest)} of {longest.holder} overlaps "
            yield rule, (longest.holder, one.holder), f"{text}{_text(one)} of {one.holder}"
        if longest is None or one.version != longest.version or one.last > longest.last:
            longest = one


def settled(snapshot):
    """I3: whoever was granted something has it, and every request has been judged."""
    names = {key_of(item) for item in snapshot.ranges}
    for book in books(snapshot):
        for entry in book.pending:
            request = book.by_uid.get(entry["uid"])
            if request is not None and not cidr_of(request):
                text = f"request {key_of(request)} was granted {entry['cidr']} and does not have it"
                yield "I3", (book.name, key_of(request)), text
    for request in snapshot.requests:
        name, reason = key_of(request), reason_of(request)
        if reason is None:
            yield "I3", (name,), f"request {name} has no condition Ready"
        elif (reason == "Ready") != bool(cidr_of(request)):
            text = f"request {name} is {reason} and has {cidr_of(request) or 'no CIDR'}"
            yield "I3", (name,), text
        if reason == "RangeNotFound" and range_of(request) in names:
            yield "I3", (name,), f"request {name} does not find range {range_of(request)}"


def counted(snapshot, metrics):
    """I4: a range's status, and the metrics of each replica, count what is there."""
    for book in books(snapshot):
        if not book.spans:
            continue
        used = sum(one.size for one in book.held())
        expected = {"total": book.total, "used": used, "free": book.total - used}
        expected["requests"] = len(book.requests)
        stated = {key: int(book.status.get(key, -1)) for key in expected}
        if stated != expected:
            text = f"range {book.name}: status is {stated} but {expected} is there"
            yield "I4", (book.name,), text
        namespace, name = book.name.split("/")
        for index, values in enumerate(metrics):
            for state in ("used", "free"):
                labels = {"namespace": namespace, "range": name, "state": state}
                series = ("ipwarden_range_addresses", frozenset(labels.items()))
                if values.get(series) != float(expected[state]):
                    text = f"range {book.name}: replica {index} measures {state} "
                    yield "I4", (book.name,), f"{text}{values.get(series)}, not {expected[state]}"
    ready = sum(bool(cidr_of(request)) for request in snapshot.requests)
    expected = {"ready": ready, "waiting": len(snapshot.requests) - ready}
    for index, values in enumerate(metrics):
        for state, count in expected.items():
            series = ("ipwarden_requests", frozenset({("state", state)}))
            if values.get(series, 0) != count:
                text = f"replica {index} measures {values.get(series)} {state} requests, "
                yield "I4", (), f"{text}not {count}"


def freed(before, after):
    """I8: requests in both snapshots whose sub-network is gone or another one now."""
    still = {request["metadata"]["uid"]: request for request in after.requests}
    for request in before.requests:
        again = still.get(request["metadata"]["uid"])
        if cidr_of(request) and again is not None and cidr_of(again) != cidr_of(request):
            text = f"request {key_of(request)} had {cidr_of(request)} and has {cidr_of(again)}"
            yield "I8", (key_of(request),), text


def pool_network(pool):
    """The pool as if its sub-network stood in spec.cidr, where it is made from a request.

    Which that is, its status has noted once; another request of that name never becomes the pool.
    """
    chosen = pool["spec"].get("fromRequest")
    if not chosen:
        return pool
    noted = (pool.get("status") or {}).get("request") or {}
    is_noted = all(noted.get(part) == chosen[part] for part in ("namespace", "name"))
    cidr = noted["cidr"] if is_noted else None
    return {**pool, "spec": {**pool["spec"], "cidr": cidr}}


def _held(cidr, holder, deleting):
    network = ipaddress.ip_network(cidr, strict=False)
    return Held(int(network[0]), int(network[-1]), network.version, holder, deleting)


def _text(held):
    make = ipaddress.IPv4Address if held.version == 4 else ipaddress.IPv6Address
    (network,) = ipaddress.summarize_address_range(make(held.first), make(held.last))
    return str(network)
