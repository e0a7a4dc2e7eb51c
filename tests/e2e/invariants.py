#!/usr/bin/env python3
"""Checks the objects of a cluster against what must always hold, whatever was killed meanwhile.

    tests/e2e/invariants.py --kubeconfig FILE [--grace 90] [--metrics URL]...

prints one violation a line and exits 1 when there is any. Tests call check() with a Snapshot: all
Services, claims, pools, ranges and requests as of one revision of the cluster, so nothing that it
finds is only the time that passed between two lists. The invariants, by the names that the
violations carry:

I1  no two claims cover one address, and no two Services of a shared one use the same port; no two
    sub-networks of a range overlap, pending ones among them, and all lie within it
I2  every address in a stored Service has a claim that names this Service, and no claim ever leaves
    open whose it is, since when, and on which ports
I3  every Service in a claim is stored and lists the address, or was claimed for within the grace;
    every request has been judged, and has what it was granted
I4  the status of a pool or range and the metrics count what is there
I5  what was tried with dryRun changed nothing (changes)
I6  the same object admitted again keeps its address (moved)
I7  no sub-network is given again while the request that had it is still there
I8  no address of a stored Service and no sub-network of a stored request is freed (freed)

I9, that nothing is given before all is known after a start, shows as a violation of I1. What stands
here is about Services, claims and pools; ranges and requests are in invariants_ranges.py.
"""

import argparse
import collections
import datetime
import ipaddress
import itertools
import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

import invariants_ranges as ranges

SERVICES = "/api/v1/services"
CLAIMS = "/apis/ipcontroller.ext/v2/ipclaims"
POOLS = "/apis/ipcontroller.ext/v2/ipclaimpools"
RANGES = "/apis/ipam.mandelsoft.org/v1beta1/ipamranges"
REQUESTS = "/apis/ipam.mandelsoft.org/v1beta1/ipamrequests"
# What a claim says about a Service from the moment on that it is stored.
WHOLE = ("namespace", "name", "uid", "ports", "given", "since")
MOVING = ("I1", "I2")  # what holds at every revision, also while everything changes
AT_REST = ("I1", "I2", "I3", "I4")
FAMILIES = {4: "ipv4", 6: "ipv6"}
KINDS = ("Service", "claim", "pool", "range", "request")
# What an API server answers that will answer soon: every client asks again.
NOT_NOW = (429, 503)


class Violation(NamedTuple):
    rule: str
    objects: tuple[str, ...]
    text: str

    def __str__(self):
        return f"{self.rule}: {self.text}"


class Snapshot(NamedTuple):
    """What is stored at one revision: lists of objects as the API server gives them."""

    services: list
    claims: list
    pools: list
    ranges: list = ()
    requests: list = ()


def take(get, seconds=60):
    """A Snapshot of one revision. `get` takes a path and returns (status, parsed body).

    seconds: for how long to try again when the API server says that it can't answer just now.
    """
    deadline = time.monotonic() + seconds
    listed = _read(get, SERVICES, deadline)
    # A revision counts for all kinds of a cluster, so the others can be read as of the same one.
    exactly = f"?resourceVersion={listed['metadata']['resourceVersion']}"
    exactly += "&resourceVersionMatch=Exact"
    others = [
        _read(get, path + exactly, deadline)["items"] for path in (CLAIMS, POOLS, RANGES, REQUESTS)
    ]
    return Snapshot(listed["items"], *others)


def _read(get, path, deadline):
    """The list, which an API server that has just started may refuse for a while."""
    while True:
        status, answer = get(path)
        if status == 200:
            return answer
        if status not in NOT_NOW or time.monotonic() > deadline:
            raise RuntimeError(f"listing {path}: {status} {answer}")
        time.sleep(0.1)


def check(snapshot, grace=90.0, now=None, rules=AT_REST, foreign_allowed=False, metrics=()):
    """All violations of the rules in the snapshot, as a list.

    grace: seconds for which a claim may wait for its Service. now: an aware datetime.
    foreign_allowed: addresses that lie in no pool may be in Services without a claim.
    metrics: for each replica, what parse_metrics made of its /metrics, for I4.
    """
    now = now or datetime.datetime.now(datetime.timezone.utc)
    book = _Book(snapshot)
    checks = {
        "I1": (_one_holder(book), ranges.disjoint(snapshot)),
        "I2": (_claimed(book, foreign_allowed), _whole(book)),
        "I3": (_in_use(book, grace, now), ranges.settled(snapshot)),
        "I4": (_counted(book, metrics), ranges.counted(snapshot, metrics)),
    }
    found = itertools.chain.from_iterable(itertools.chain(*(checks[rule] for rule in rules)))
    return [Violation(*violation) for violation in found]


def changes(before, after):
    """I5: what differs between two snapshots, one violation an object."""
    found = []
    for kind, old, new in zip(KINDS, before, after, strict=True):
        old, new = ({name_of(item): item for item in items} for items in (old, new))
        for name in sorted(old.keys() | new.keys()):
            if name not in new:
                found.append(Violation("I5", (name,), f"{kind} {name} is gone"))
            elif name not in old:
                found.append(Violation("I5", (name,), f"{kind} {name} is new"))
            elif (
                old[name]["metadata"]["resourceVersion"] != new[name]["metadata"]["resourceVersion"]
            ):
                found.append(Violation("I5", (name,), f"{kind} {name} was written"))
    return found


def moved(before, after):
    """I6: Services stored in both snapshots whose addresses differ."""
    later = {item["metadata"]["uid"]: item for item in after.services}
    found = []
    for service in before.services:
        again = later.get(service["metadata"]["uid"])
        if again is not None and stored_addresses(service) != stored_addresses(again):
            name = name_of(service)
            old, new = (sorted(map(str, stored_addresses(item))) for item in (service, again))
            found.append(Violation("I6", (name,), f"Service {name} had {old} and has {new}"))
    return found


def freed(before, after):
    """I8: addresses of Services in both snapshots whose claim is gone or another one now.

    And requests in both that have another sub-network, or none any more.
    """
    still = {item["metadata"]["uid"]: stored_addresses(item) for item in after.services}
    new = {item["metadata"]["name"]: item["metadata"]["uid"] for item in after.claims}
    claims = {claim_address(claim): claim for claim in before.claims}
    found = []
    for service in before.services:
        for address in stored_addresses(service) & still.get(service["metadata"]["uid"], set()):
            claim = claims.get(address)
            if claim and new.get(claim["metadata"]["name"]) != claim["metadata"]["uid"]:
                objects = (name_of(service), claim["metadata"]["name"])
                text = f"{address} of Service {objects[0]} was freed: claim {objects[1]} "
                text += "is another one" if objects[1] in new else "is gone"
                found.append(Violation("I8", objects, text))
    return found + [Violation(*violation) for violation in ranges.freed(before, after)]


def name_of(item):
    """namespace/name, or the name of what has no namespace."""
    metadata = item["metadata"]
    return "/".join(filter(None, (metadata.get("namespace"), metadata["name"])))


def claim_address(claim):
    """The address that a claim covers. Older claims carry the prefix length of their network."""
    return ipaddress.ip_interface(claim["spec"]["cidr"]).ip


def stored_addresses(service):
    """The set of addresses in a Service's externalIPs and ingress."""
    found = list(service["spec"].get("externalIPs") or ())
    ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or ()
    found += [entry["ip"] for entry in ingress if entry.get("ip")]
    return set(filter(None, map(read_address, found)))


def read_address(text):
    """The address that kube-proxy takes the text for, or None.

    It reads 203.0.113.007 in decimal, and IPv4 within IPv6 as IPv4.
    """
    head, colon, tail = text.rpartition(":")
    if "." in tail:
        parts = tail.split(".")
        if not all(part.isascii() and part.isdigit() for part in parts):
            return None
        tail = ".".join(str(int(part)) for part in parts)
    try:
        address = ipaddress.ip_address(head + colon + tail)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def names(claim, service):
    """Whether the claim names the Service as (one of) its own: by its uid, and by its name."""
    metadata = service["metadata"]
    wanted = (metadata["namespace"], metadata["name"], metadata["uid"])
    return any(
        (entry.get("namespace"), entry.get("name"), entry.get("uid")) == wanted
        for entry in claim["spec"].get("services") or ()
    )


def usable(pool):
    """What a pool can give, as a set of addresses for each family ("ipv4", "ipv6").

    Only for pools of a size that tests use; None when it is larger.
    """
    spec = pool["spec"]
    given = {"ipv4": set(), "ipv6": set()}
    edges = spec.get("useNetworkAndBroadcast")
    networks = [_span(text) for text in spec.get("ranges") or ()]
    networks = networks or [_hosts(text, edges) for text in filter(None, [spec.get("cidr")])]
    networks += [_hosts(text, edges) for text in spec.get("addresses") or ()]
    if any(last - first > 1 << 20 for _, first, last in networks):
        return None
    for family, first, last in networks:
        given[FAMILIES[family]].update(_addresses(family, first, last))
    for family, first, last in map(_span, spec.get("exclude") or ()):
        addresses = given[FAMILIES[family]]
        addresses.difference_update([a for a in addresses if first <= int(a) <= last])
    return given


def noted(pool):
    """What the pool notes as given by the older version: spec.allocated."""
    return set(filter(None, map(read_address, pool["spec"].get("allocated") or ())))


def covers(pool, address):
    """Whether the address lies in what the pool's specification says, given or not."""
    spec = pool["spec"]
    entries = [*(spec.get("addresses") or ()), *(spec.get("ranges") or ()), spec.get("cidr")]
    spans = map(_span, filter(None, entries))
    return any(
        family == address.version and first <= int(address) <= last for family, first, last in spans
    )


def parse_metrics(text):
    """{(name, frozenset of (label, value)): number} of Prometheus' text format."""
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            name, _, labels = series.partition("{")
            pairs = frozenset(
                (key, json.loads(value))
                for key, _, value in (
                    part.partition("=") for part in _split_labels(labels.removesuffix("}"))
                )
            )
            found[name, pairs] = float(value)
    return found


class _Book:
    """A snapshot, indexed by address."""

    def __init__(self, snapshot):
        self.pools = [ranges.pool_network(pool) for pool in snapshot.pools]
        self.claims = snapshot.claims
        self.services = snapshot.services
        self.claims_of = collections.defaultdict(list)
        for claim in snapshot.claims:
            self.claims_of[claim_address(claim)].append(claim)
        self.holders_of = collections.defaultdict(list)
        for service in snapshot.services:
            for address in stored_addresses(service):
                self.holders_of[address].append(service)
        self.service_named = {name_of(service): service for service in snapshot.services}


def _one_holder(book):
    for address, claims in book.claims_of.items():
        if len(claims) > 1:
            objects = tuple(claim["metadata"]["name"] for claim in claims)
            yield Violation("I1", objects, f"{address} is in {len(claims)} claims: {objects}")
        for claim in claims:
            entries = claim["spec"].get("services") or ()
            by_entry = {_entry_name(entry): entry.get("ports") or () for entry in entries}
            yield from _collisions(address, by_entry, f"claim {claim['metadata']['name']}")
    for address, services in book.holders_of.items():
        by_service = {
            name_of(service): [
                f"{port.get('protocol', 'TCP')}/{port['port']}"
                for port in service["spec"].get("ports") or ()
            ]
            for service in services
        }
        yield from _collisions(address, by_service, "the stored Services")


def _collisions(address, ports_of, where):
    user = {}
    for name, ports in ports_of.items():
        for port in ports:
            other = user.setdefault(port, name)
            if other != name:
                text = f"{address}: {other} and {name} both use {port}, by {where}"
                yield Violation("I1", (other, name), text)


def _claimed(book, foreign_allowed):
    for address, services in book.holders_of.items():
        claims = book.claims_of.get(address, ())
        if not claims and foreign_allowed and not any(covers(p, address) for p in book.pools):
            continue
        for service in services:
            if not any(names(claim, service) for claim in claims):
                other = [_owners(claim) for claim in claims]
                text = f"Service {name_of(service)} lists {address}, which "
                text += f"is claimed for {', '.join(other)}" if other else "has no claim"
                yield Violation("I2", (name_of(service),), text)


def _whole(book):
    for claim in book.claims:
        name = claim["metadata"]["name"]
        for entry in claim["spec"].get("services") or ():
            missing = [field for field in WHOLE if entry.get(field) in (None, "")]
            if missing:
                text = f"claim {name} does not say of {_entry_name(entry)}: {', '.join(missing)}"
                yield Violation("I2", (name,), text)


def _in_use(book, grace, now):
    for claim in book.claims:
        address, name = claim_address(claim), claim["metadata"]["name"]
        for entry in claim["spec"].get("services") or ():
            age = (now - _since(claim, entry)).total_seconds()
            if age < grace:
                continue
            service = book.service_named.get(_entry_name(entry))
            if (
                not service
                or not names({"spec": {"services": [entry]}}, service)
                or address not in stored_addresses(service)
            ):
                text = f"claim {name} is {age:.0f} s old, and no stored Service "
                text += f"{_entry_name(entry)} (uid {entry.get('uid')}) lists {address}"
                yield Violation("I3", (name,), text)


def _counted(book, metrics):
    for pool in book.pools:
        name, given = pool["metadata"]["name"], usable(pool)
        for claim in book.claims:
            address = claim_address(claim)
            if covers(pool, address) and claim["spec"].get("pool") not in (None, "", name):
                text = f"claim {claim['metadata']['name']} lies in pool {name} and says "
                yield Violation("I4", (name,), f"{text}{claim['spec']['pool']}")
        # One without addresses counts the claims in its name, all of them used.
        named = {claim_address(c) for c in book.claims if c["spec"].get("pool") == name}
        for family, addresses in (given or {}).items():
            if not any(given.values()):
                addresses = {address for address in named if FAMILIES[address.version] == family}
            used = len(addresses & ({*book.claims_of} | noted(pool)))
            expected = {"total": len(addresses), "used": used, "free": len(addresses) - used}
            stated = pool.get("status", {}).get(family)
            if stated is None and not addresses:
                continue
            stated = {key: int((stated or {}).get(key, 0)) for key in expected}
            if stated != expected:
                text = f"pool {name}: status.{family} is {stated} but {expected} is there"
                yield Violation("I4", (name,), text)
            for index, values in enumerate(metrics):
                yield from _measured(name, family, expected, index, values)


def _measured(pool, family, expected, index, values):
    for state, count in expected.items():
        found = [
            value
            for (metric, labels), value in values.items()
            if metric == "ipwarden_pool_addresses"
            and {("pool", pool), ("state", state)} <= labels
            and dict(labels).get("family", "").lower() == family
        ]
        if found != [count] and not (count == 0 and not found):
            text = f"pool {pool}: replica {index} measures {family} {state} {found}, not {count}"
            yield Violation("I4", (pool,), text)


def _since(claim, entry):
    """When the address was claimed for the Service of the entry."""
    return datetime.datetime.fromisoformat(
        entry.get("since") or claim["metadata"]["creationTimestamp"]
    )


def _entry_name(entry):
    return f"{entry.get('namespace')}/{entry.get('name')}"


def _owners(claim):
    entries = claim["spec"].get("services") or ()
    texts = [f"{_entry_name(entry)} (uid {entry.get('uid')})" for entry in entries]
    return " and ".join(texts) or "nobody, by hand"


def _span(text):
    """(family, first, last) of a CIDR, a first-last range or one address."""
    first, dash, last = text.partition("-")
    if dash:
        first, last = (ipaddress.ip_address(part.strip()) for part in (first, last))
        return first.version, int(first), int(last)
    network = ipaddress.ip_network(text.strip(), strict=False)
    return network.version, int(network[0]), int(network[-1])


def _hosts(text, edges=False):
    """The same for what a pool gives: IPv4's network and broadcast addresses are left out."""
    family, first, last = _span(text)
    trimmed = "/" in text and not edges and family == 4 and last - first > 1
    return (4, first + 1, last - 1) if trimmed else (family, first, last)


def _addresses(family, first, last):
    make = ipaddress.IPv4Address if family == 4 else ipaddress.IPv6Address
    return map(make, range(first, last + 1))


def _split_labels(text):
    """The name="value" parts of a series, where a value may hold commas and escaped quotes."""
    part, quoted, escaped = "", False, False
    for letter in text:
        if letter == "," and not quoted:
            yield part
            part = ""
            continue
        if letter == '"' and not escaped:
            quoted = not quoted
        escaped = letter == "\\" and not escaped
        part += letter
    if part:
        yield part


def _kubectl():
    """kubectl as the cluster's builder left it, or else the one on PATH."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "cluster"))
    import cluster_binaries

    built = cluster_binaries.path("kubectl")
    return str(built) if built.exists() else "kubectl"


def main():
    parser = argparse.ArgumentParser(description="Checks ipwarden's invariants in a cluster.")
    parser.add_argument("--kubeconfig", default=os.environ.get("KUBECONFIG"))
    parser.add_argument("--grace", type=float, default=90, help="seconds (default: %(default)s)")
    parser.add_argument(
        "--metrics", action="append", default=[], help="URL of a replica's /metrics"
    )
    parser.add_argument(
        "--foreign-allowed", action="store_true", help="as --foreign-addresses=allow"
    )
    options = parser.parse_args()
    command = [_kubectl(), *(["--kubeconfig", options.kubeconfig] if options.kubeconfig else [])]

    def get(path):
        done = subprocess.run(
            [*command, "get", "--raw", path], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            sys.exit(f"invariants.py: {done.stderr.strip()}")
        return 200, json.loads(done.stdout)

    metrics = []
    for url in options.metrics:
        with urllib.request.urlopen(url, timeout=10) as answer:
            metrics.append(parse_metrics(answer.read().decode()))
    snapshot = take(get)
    found = check(snapshot, options.grace, foreign_allowed=options.foreign_allowed, metrics=metrics)
    print(*found, sep="\n", end="\n" if found else "")
    counts = zip(
        map(len, snapshot), ("Services", "claims", "pools", "ranges", "requests"), strict=True
    )
    counts = ", ".join(f"{count} {kind}" for count, kind in counts)
    print(f"{counts}: {len(found)} violations", file=sys.stderr)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
