"""The invariant of addresses on nodes, I7, checked on what kernels and the network have shown.

I7  no address is in the kernels of two nodes that hear each other (overlaps), or is answered for by
    two of them for longer than a second (two_answers); at rest the claim names the node that has it
    (disagreements); and only addresses that an agent has marked are ever removed (touched)

What is judged here is lists of what was seen, so that each rule has a test without a network. They
come from kernel_addresses.KernelWatch, frames.Capture and the history of a nodes_net.Network.
"""

import collections
import itertools
from typing import NamedTuple

# Two nodes act on one clock, but what they did is read one after the other by a thread that waits
# for a processor.
BLUR = 0.05
# Seconds for which two may answer for one address once they can hear each other again.
HEALING = 1.0
# Seconds without an answer after which a MAC has stopped answering: some of what the capture asks may
# be lost, or late, on a busy machine.
SILENT = 0.5
LAYER2 = "Layer2"


class Change(NamedTuple):
    """A kernel got an address, or lost it (held)."""

    at: float
    node: str
    address: str
    held: bool
    marked: bool


class Heard(NamedTuple):
    """Somebody answered for an address, or announced it, in the client's network."""

    at: float
    address: str
    mac: str


class Finding(NamedTuple):
    """A violation of I7: of which address, since when, for how long, in words."""

    address: str
    at: float
    seconds: float
    text: str

    def __str__(self):
        return f"I7: {self.text}"


class Hearing:
    """When which two hosts could hear each other, by the history of a Network."""

    def __init__(self, history, healing=HEALING):
        """history: (time, text, change) with cut, joined, parted or healed in the change.

        healing: seconds for which two that can hear each other again count as if they couldn't.
        """
        self._healing = healing
        self._apart = []  # (hosts or None for a single one's cut, from, to)
        cut, parted = {}, None
        for at, _, change in history:
            for name in change.get("cut", ()):
                cut.setdefault(name, at)
            for name in change.get("joined", ()):
                if name in cut:
                    self._apart.append(({name}, cut.pop(name), at + healing))
            if "parted" in change:
                parted = (change["parted"], at)
            if change.get("healed") and parted:
                self._apart.append((*parted, at + healing))
                parted = None
        self._apart += [({name}, at, float("inf")) for name, at in cut.items()]
        if parted:
            self._apart.append((*parted, float("inf")))

    def apart(self, one, other):
        """The times, as (from, to), in which these two didn't hear each other, merged."""
        spans = sorted(
            (began, ended)
            for hosts, began, ended in self._apart
            if {one, other} <= hosts or len(hosts) == 1 and hosts & {one, other}
        )
        merged = []
        for began, ended in spans:
            if merged and began <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], ended)
            else:
                merged.append([began, ended])
        return merged

    def together(self, one, other, began, ended):
        """The longest part of a time, as (from, to), in which the two heard each other."""
        best = (began, began)
        for off, on in [*self.apart(one, other), (float("inf"), float("inf"))]:
            until = min(off, ended)
            if until - began > best[1] - best[0]:
                best = (began, until)
            began = max(began, on)
            if began >= ended:
                break
        return best


def holdings(changes, until):
    """{address: {node: [(from, to), ...]}} of what the kernels had; until: when the look ended."""
    found = collections.defaultdict(lambda: collections.defaultdict(list))
    since = {}
    for change in changes:
        key = (change.address, change.node)
        if change.held:
            since.setdefault(key, change.at)
        elif key in since:
            found[change.address][change.node].append((since.pop(key), change.at))
    for (address, node), began in since.items():
        found[address][node].append((began, until))
    return found


def overlaps(changes, history, until, allowed=BLUR, addresses=None):
    """Addresses that two nodes which hear each other had at once, for longer than allowed.

    addresses: those to look at, all if None.
    """
    hearing = Hearing(history)
    found = []
    for address, by_node in holdings(changes, until).items():
        if addresses is not None and address not in addresses:
            continue
        for (one, first), (other, second) in itertools.combinations(sorted(by_node.items()), 2):
            for a, b in itertools.product(first, second):
                both = (max(a[0], b[0]), min(a[1], b[1]))
                if both[1] > both[0]:
                    began, ended = hearing.together(one, other, *both)
                    if ended - began > allowed:
                        text = f"{address} was on {one} and {other} at once for "
                        text += f"{ended - began:.3f} s, which hear each other"
                        found.append(Finding(address, began, ended - began, text))
    return found


def two_answers(heard, history, names, allowed=HEALING):
    """Addresses for which two MACs answered side by side for longer than allowed.

    heard: in the order of time. names: {mac: host}, to know who could hear whom; a MAC that isn't
    in it is a stranger's, who hears everybody. A MAC answers from its first to its last answer, as
    long as no more than SILENT is between two.
    """
    hearing = Hearing(history, healing=0)
    spans = collections.defaultdict(lambda: collections.defaultdict(list))
    for at, address, mac in heard:
        times = spans[address][mac]
        if times and at - times[-1][1] <= SILENT:
            times[-1][1] = at
        else:
            times.append([at, at])
    found = []
    for address, by_mac in spans.items():
        for (one, first), (other, second) in itertools.combinations(sorted(by_mac.items()), 2):
            for a, b in itertools.product(first, second):
                began, ended = max(a[0], b[0]), min(a[1], b[1])
                if ended <= began:
                    continue
                hosts = (names.get(one, one), names.get(other, other))
                began, ended = hearing.together(*hosts, began, ended)
                if ended - began > allowed:
                    text = f"{address} was answered by {hosts[0]} ({one}) and {hosts[1]} ({other}) "
                    text += f"side by side for {ended - began:.3f} s, which hear each other"
                    found.append(Finding(address, began, ended - began, text))
    return found


def disagreements(claims, held, now=0.0):
    """At rest: claims and kernels that don't say the same.

    held: {node: {address: marked}} of what the kernels of the nodes have of the pools.
    """
    found = []
    claimed = set()
    for claim in claims:
        spec, status = claim["spec"], claim.get("status") or {}
        address = spec["cidr"].rpartition("/")[0]
        claimed.add(address)
        if spec.get("announce", LAYER2 if spec.get("nodeName") else None) != LAYER2:
            continue
        have = sorted(node for node, addresses in held.items() if address in addresses)
        wanted, bound = spec.get("nodeName", ""), status.get("boundNode", "")
        if wanted != bound or have != [bound]:
            text = f"{address} is meant for {wanted or 'nobody'}, said to be bound by "
            text += f"{bound or 'nobody'}, and in the kernels of {', '.join(have) or 'nobody'}"
            found.append(Finding(address, now, 0, text))
    for node, addresses in sorted(held.items()):
        for address, marked in sorted(addresses.items()):
            if marked and address not in claimed:
                text = f"{address} is on {node}, marked as ours, and has no claim"
                found.append(Finding(address, now, 0, text))
    return found


def touched(changes, by_hand=()):
    """Addresses without a mark that somebody else than the test has removed.

    by_hand: (node, address) of those that the test removed itself.
    """
    marks = {}
    found = []
    for change in changes:
        key = (change.node, change.address)
        if change.held:
            marks[key] = change.marked
        elif not marks.pop(key, change.marked) and key not in by_hand:
            text = f"{change.address} was taken from {change.node}, without a mark of ours on it"
            found.append(Finding(change.address, change.at, 0, text))
    return found
