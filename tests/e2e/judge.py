"""An independent judge of who held which address, moment by moment.

It sees every version of every Service, claim and pool that the API server stored, puts them in the
order of their resource versions, which is one for all kinds, and goes through them one by one. It
knows the rules of server/PROTOCOL.md and nothing of how ipwarden decides:

- Two Services list one address only where the pool lets them share, and never on one port. That
  counts for Services under deletion too, whose addresses kube-proxy forwards like any other.
- An address that a Service begins to list is one that a pool offers to its namespace.
- While a Service lists an address of a pool, that address's claim names it, with all of its ports.
- An entry of a claim names one Service: by the uid, the name and the namespace of the same object.
- A dry run leaves no claim.

One thing is let through, as PROTOCOL.md says: what Services of another class show in their status, and
on which ports, isn't judged where it was written while ipwarden could not be asked.

    with Judge(lab) as judge:
        ...
        judge.catch_up()
"""

import bisect
import collections
import itertools
import time
from typing import NamedTuple

import invariants
import objects
from harness import wait_until
from watched import Watched

MARKER = "e2e-marker"
# Services that only dry runs create are called so.
DRY = "dry"
# For so many seconds after an edit of a pool, what was allowed before may still be stored.
PASSING = 20


class Change(NamedTuple):
    """One version of an object."""

    version: int
    seconds: float  # when the watch showed it, of time.monotonic()
    kind: str
    gone: bool
    item: dict


class Stored(NamedTuple):
    """What matters of one version of a Service."""

    name: str
    namespace: str
    uid: str
    listed: frozenset  # in externalIPs
    shown: frozenset  # in the status
    ports: frozenset
    foreign: bool  # another implementation serves it

    @property
    def addresses(self):
        return self.listed | self.shown

    @classmethod
    def of(cls, item):
        metadata, spec = item["metadata"], item["spec"]
        return cls(
            invariants.name_of(item),
            metadata["namespace"],
            metadata["uid"],
            _read_all(objects.external(item)),
            _read_all(objects.ingress(item)),
            ports_of(item),
            spec.get("loadBalancerClass", objects.CLASS) != objects.CLASS,
        )


class Rules(NamedTuple):
    """One version of a pool, and from when to when it was in force."""

    pool: dict
    since: float
    until: float

    @property
    def sharing(self):
        return self.pool["spec"].get("sharing", "SameNamespace")

    def covers(self, address):
        return invariants.covers(self.pool, address)

    def allows(self, service, address):
        namespaces = self.pool["spec"].get("namespaces") or [service.namespace]
        usable = invariants.usable(self.pool)[invariants.FAMILIES[address.version]]
        return service.namespace in namespaces and address in usable


def ports_of(service):
    """The Service's ports as a claim notes them."""
    ports = service["spec"].get("ports") or ()
    return frozenset(f"{port.get('protocol', 'TCP')}/{port['port']}" for port in ports)


class Record:
    """Who holds what, after each change in turn; what broke a rule is in violations."""

    def __init__(self):
        self.changes = 0
        # How often a Service began to list an address, and how often one that another had as well.
        self.gains = self.joins = 0
        self.violations = []
        # The last versions of each Service by name, and of each claim by address, to find out why.
        self.history = collections.defaultdict(lambda: collections.deque(maxlen=12))
        self._services = {}  # Stored by uid
        self._holders = collections.defaultdict(set)  # uids by address
        self._claims = {}  # by address, then by name
        self._pools = collections.defaultdict(list)  # Rules by name, the last one in force
        self._names = {}  # of each uid that a Service ever had
        self._absences = []  # (since, until) when ipwarden could not always be asked
        self._let_through = set()  # (uid, address) that was written then by others

    def take(self, change):
        self.changes += 1
        take = {
            "Service": self._take_service,
            "IpClaim": self._take_claim,
            "IpClaimPool": self._take_pool,
        }
        take[change.kind](change)

    def absent(self, since, until):
        """Between these two moments, of time.monotonic(), ipwarden could not always be asked."""
        self._absences.append((since, until))

    def report(self):
        """The violations, and the last versions of what they are about."""
        lines = list(self.violations[:20])
        for name in sorted({name for text in lines for name in self.history if name in text}):
            lines += [f"  {name}:", *(f"    {text}" for text in self.history[name])]
        return "\n".join(lines)

    def _blame(self, text, change):
        metadata = change.item["metadata"]
        text += f" (version {metadata['resourceVersion']} of {change.kind} {metadata['name']})"
        self.violations.append(text)

    def _take_pool(self, change):
        versions = self._pools[change.item["metadata"]["name"]]
        if versions and not change.gone and versions[-1].pool["spec"] == change.item["spec"]:
            return
        if versions:
            versions[-1] = versions[-1]._replace(until=change.seconds)
        versions[:] = [rules for rules in versions if rules.until > change.seconds - PASSING]
        if not change.gone:
            versions.append(Rules(change.item, change.seconds, float("inf")))

    def _take_service(self, change):
        new = Stored.of(change.item)
        old = self._services.pop(new.uid, new._replace(listed=frozenset(), shown=frozenset()))
        self._names[new.uid] = new.name
        for address in old.addresses:
            self._holders[address].discard(new.uid)
        self._note(new.name, change, None if change.gone else new)
        gone = old.addresses if change.gone else old.addresses - new.addresses
        self._let_through -= {(new.uid, address) for address in gone}
        if change.gone:
            return
        self._services[new.uid] = new
        if new.foreign and any(a <= change.seconds <= b for a, b in self._absences):
            self._let_through |= {(new.uid, address) for address in new.shown - new.listed}
        for address in sorted(new.addresses, key=str):
            if (address in new.listed - old.listed) or (address in new.shown - old.shown):
                self._begins(old, new, address, change)
            if address not in old.addresses or new.ports - old.ports:
                self._shares(new, address, change)
            self._holders[address].add(new.uid)
            self._is_claimed(new, address, change)

    def _take_claim(self, change):
        item = change.item
        name, address = item["metadata"]["name"], invariants.claim_address(item)
        entries = item["spec"].get("services") or ()
        self._note(str(address), change, None if change.gone else list(map(_entry_text, entries)))
        if change.gone:
            self._claims.get(address, {}).pop(name, None)
        else:
            self._claims.setdefault(address, {})[name] = item
            for entry in entries:
                self._is_one(entry, address, change)
        if len(self._claims.get(address, ())) > 1:
            self._blame(f"{address} has the claims {list(self._claims[address])}", change)
        for uid in self._holders[address]:
            self._is_claimed(self._services[uid], address, change)

    # The rules

    def _begins(self, old, new, address, change):
        """The address is in a field now in which it was not."""
        self.gains += 1
        if (new.uid, address) in self._let_through:
            return
        versions = [rules for rules in self._all_rules() if rules.covers(address)]
        if not versions:
            # Whoever serves the Service may show addresses that are no pool's, and only show them.
            if not new.foreign or address in new.listed - old.listed:
                self._blame(f"{new.name} lists {address}, which is in no pool", change)
            return
        lately = [rules for rules in versions if rules.until > change.seconds - PASSING]
        if address not in old.addresses and not any(rules.allows(new, address) for rules in lately):
            self._blame(f"{new.name} lists {address}, which its pool doesn't offer it", change)

    def _shares(self, new, address, change):
        """Those that list the address as well may do so beside this one."""
        rules = [rules for rules in self._all_rules() if rules.covers(address)]
        # A foreign address is the business of those who may show it.
        for uid in self._holders[address] if rules else ():
            other = self._services[uid]
            self.joins += 1
            if {(new.uid, address), (uid, address)} & self._let_through:
                continue
            if new.ports & other.ports:
                ports = ", ".join(sorted(new.ports & other.ports))
                self._blame(f"{new.name} and {other.name} both list {address} on {ports}", change)
            elif rules[-1].sharing == "Never":
                self._blame(f"{new.name} and {other.name} share {address} of Never", change)
            elif rules[-1].sharing == "SameNamespace" and new.namespace != other.namespace:
                self._blame(f"{new.name} and {other.name} share {address} of SameNamespace", change)

    def _is_claimed(self, service, address, change):
        if not any(rules.covers(address) for rules in self._all_rules()):
            return
        entries = [
            entry
            for claim in self._claims.get(address, {}).values()
            for entry in claim["spec"].get("services") or ()
            if (entry.get("uid"), _entry_name(entry)) == (service.uid, service.name)
        ]
        unknown = service.ports - set(entries[0].get("ports") or ()) if entries else ()
        if entries and not unknown:
            self._let_through.discard((service.uid, address))
        elif (service.uid, address) in self._let_through:
            return
        elif not entries:
            self._blame(f"{service.name} lists {address} without a claim", change)
        else:
            ports = ", ".join(sorted(unknown))
            self._blame(f"{service.name} uses {ports} of {address}, unknown to its claim", change)

    def _is_one(self, entry, address, change):
        name, stored = _entry_name(entry), self._names.get(entry.get("uid"))
        if stored not in (None, name):
            self._blame(f"the claim of {address} names {name} by the uid of {stored}", change)
        if name.partition("/")[2].startswith(DRY):
            self._blame(f"{address} was claimed by a dry run for {name}", change)

    def _all_rules(self):
        return itertools.chain.from_iterable(self._pools.values())

    def _note(self, name, change, what):
        metadata = change.item["metadata"]
        if what is None:
            text = "gone"
        elif isinstance(what, Stored):
            annotations = {
                key: value
                for key, value in (metadata.get("annotations") or {}).items()
                if key in (objects.AUTO, objects.POOL, objects.ADDRESSES)
            }
            going = " under deletion" if "deletionTimestamp" in metadata else ""
            kind = change.item["spec"].get("type") + (" of others" if what.foreign else "")
            text = (
                f"{kind}{going} {metadata['uid'][:8]} lists "
                f"{objects.external(change.item)}, shows {objects.ingress(change.item)}, "
                f"ports {sorted(what.ports)} {annotations or ''}"
            )
        else:
            going = "under deletion " if "deletionTimestamp" in metadata else ""
            text = f"{going}{', '.join(what) or 'held by hand'}"
        by = (metadata.get("managedFields") or [{}])[-1].get("manager", "")
        self.history[name].append(f"{metadata['resourceVersion']} {text} [{by}]")


class Judge:
    """Watches all that the lab's cluster stores, from the first pool on, and keeps a record."""

    def __init__(self, lab):
        self.lab = lab
        self.record = Record()
        self._waiting = []
        self._rounds = itertools.count(1)
        self._markers = self._make_markers()
        self._streams = [
            _Stream(lab, "Service", invariants.SERVICES),
            _Stream(lab, "IpClaim", invariants.CLAIMS),
            _Stream(lab, "IpClaimPool", invariants.POOLS),
        ]

    def __enter__(self):
        for stream in self._streams:
            stream.__enter__()
        return self

    def __exit__(self, *_):
        for stream in self._streams:
            stream.__exit__()

    def catch_up(self):
        """Judges all that was stored before this was called, and fails on any violation so far."""
        number = str(next(self._rounds))
        versions = []
        for marker in self._markers:
            edited = self.lab.patch(marker, {"metadata": {"annotations": {MARKER: number}}})
            versions.append(int(edited["metadata"]["resourceVersion"]))
        for stream, version in zip(self._streams, versions, strict=True):
            stream.wait_for(version)
            self._waiting += stream.take()
        # What is older than all markers has arrived from all streams.
        self._waiting.sort(key=lambda change: change.version)
        known = bisect.bisect_right(self._waiting, min(versions), key=lambda c: c.version)
        for change in self._waiting[:known]:
            self.record.take(change)
        del self._waiting[:known]
        assert not self.record.violations, self.record.report()

    def _make_markers(self):
        """An object of each kind that nobody else touches: its edits show how far a stream is."""
        lab = self.lab
        pool = lab.pool(size=1, autoAssign=False, namespaces=[lab.namespace])
        claim = lab.create(objects.claim(pool["spec"]["addresses"][0].split("-")[0]))
        return [lab.create(lab.service("marker")), claim, pool]


class _Stream(Watched):
    """All changes of one kind, in a list."""

    def __init__(self, lab, kind, path):
        self._kind = kind
        self._changes = collections.deque()
        self._last = 0
        super().__init__(lab, path)

    def note(self, kind, item):
        version = int(item["metadata"]["resourceVersion"])
        gone = kind == "DELETED"
        self._changes.append(Change(version, time.monotonic(), self._kind, gone, item))
        self._last = max(self._last, version)

    def wait_for(self, version):
        wait_until(
            lambda: self.error or self._last >= version,
            lambda: f"version {version} of {self._kind}, not {self._last}",
        )
        assert not self.error, self.error

    def take(self):
        """All changes that came since the last call."""
        return [self._changes.popleft() for _ in range(len(self._changes))]


def at_rest(snapshot):
    """What must hold when nobody does anything any more, and invariants.py doesn't check.

    A claim notes the ports that its Services have, no more. Who waits, waits since nothing is free.
    """
    stored = {service["metadata"]["uid"]: service for service in snapshot.services}
    busy = {invariants.claim_address(claim) for claim in snapshot.claims}
    found = []
    for claim in snapshot.claims:
        for entry in claim["spec"].get("services") or ():
            service = stored.get(entry["uid"])
            if service and set(entry.get("ports") or ()) != ports_of(service):
                found.append(
                    f"claim {claim['metadata']['name']} notes {entry.get('ports')} of "
                    f"{_entry_name(entry)}, which has {sorted(ports_of(service))}"
                )
    for service in filter(_waits, snapshot.services):
        for pool in snapshot.pools:
            free = invariants.usable(pool)["ipv4"] - busy
            namespaces = pool["spec"].get("namespaces")
            mine = not namespaces or service["metadata"]["namespace"] in namespaces
            if free and mine and pool["spec"].get("autoAssign", True):
                name = invariants.name_of(service)
                found.append(f"{name} waits, and {pool['metadata']['name']} has {free}")
    return found


def _waits(service):
    """Whether it is a LoadBalancer of ours that wants any IPv4 address and has none."""
    metadata, spec = service["metadata"], service["spec"]
    return (
        spec.get("type") == "LoadBalancer"
        and spec.get("loadBalancerClass", objects.CLASS) == objects.CLASS
        and "IPv4" in (spec.get("ipFamilies") or ())
        and not spec.get("loadBalancerIP")
        and "deletionTimestamp" not in metadata
        and objects.annotation(service, objects.POOL) is None
        and objects.annotation(service, objects.ADDRESSES) is None
        and not objects.external(service)
        and not (service.get("status", {}).get("loadBalancer") or {}).get("ingress")
    )


def _read_all(texts):
    return frozenset(filter(None, map(invariants.read_address, texts)))


def _entry_name(entry):
    return f"{entry.get('namespace')}/{entry.get('name')}"


def _entry_text(entry):
    return f"{_entry_name(entry)} {entry.get('uid', '')[:8]} {entry.get('ports')}"
