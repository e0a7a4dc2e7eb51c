"""Whatever tenants and controllers write, and whatever dies: no address is ever in two hands.

Two replicas, two API servers, 8 addresses. One replica sees everything late, and now and then one
of them or an API server is killed or stands still. By default it is a short run; the long one is

    IPWARDEN_RANDOM_REQUESTS=50000 tests/run e2e -k test_random

Each run prints its seed, with which IPWARDEN_SEED=<number> makes the same requests again.
"""

import collections
import os
import random
import time

import pytest

import faults
import harness
import invariants
import objects
from crowd import Crowd
from faults import HttpProxy
from harness import PATIENCE, SPACE, wait_until
from judge import Judge, at_rest
from lab import Lab
from policies import refuse_by_quota
from replicas import Fleet, Replica

REQUESTS = int(os.environ.get("IPWARDEN_RANDOM_REQUESTS", "1000"))
SEED = int(os.environ.get("IPWARDEN_SEED", time.time_ns() % 1_000_000))
# Well above what a request takes here, API servers that stand still included, so that nothing under
# way is taken for left over. What is left over holds one of the few addresses for so long.
GRACE = 7
WATCH = r"[?&]watch=(1|true)"
ALL = 1 << 30
TENANTS = 3
# Sorts of requests, and how each must have ended now and then, or it isn't tested.
SEEN = {
    "create": (True, False),
    "edit": (True, False),
    "delete": (True, False),
    "let go": (True,),
    "write status": (True, False),
    "dry create": (True,),
    "create too much": (False,),
    "edit too much": (False,),
}


@pytest.fixture(params=["strict", "lenient"])
def texts(request):
    """Which texts of addresses the API servers accept: 203.0.113.007 is one of the lenient ones."""
    return request.param


@pytest.fixture
def lab(binary, texts, request):
    """In a cluster of its own, of which parts are killed; a proxy stands before one replica's."""
    gate = f"--feature-gates=StrictIPCIDRValidation={str(texts == 'strict').lower()}"
    with (
        harness.Cluster.start(api_servers=2, extra_apiserver_args=[gate]) as cluster,
        HttpProxy(cluster, server=1) as proxy,
    ):
        harness.install(cluster)
        fleet = Fleet(cluster, 2, extra_args=[f"--grace={GRACE}s"])
        options = {"index": 1, "server": 1, "url": proxy.url, "extra_args": fleet.extra_args}
        fleet.replicas[1] = Replica(cluster, fleet.port, **options)
        fleet.proxy = proxy
        try:
            fleet.start()
            yield Lab(cluster, fleet, f"random-{texts}")
            fleet.stop()
        finally:
            fleet.close()


def test_no_address_is_ever_in_two_hands(lab, texts):
    print(f"IPWARDEN_SEED={SEED} IPWARDEN_RANDOM_REQUESTS={REQUESTS} -k {texts}")
    chance = random.Random(f"{SEED}/{texts}")
    lab.fleet.proxy.add(faults.late(chance.choice((0.1, 0.5, 2))), "GET", WATCH, times=ALL)
    tenants = [lab.add_namespace(lab.unique(lab.name)) for _ in range(TENANTS)]
    for tenant in tenants:
        refuse_by_quota(
            lab,
            "services.nodeports",
            lab.service("probe", namespace=tenant, type="NodePort"),
            namespace=tenant,
        )
    # From the first pool on: what is stored before could be anything.
    began = time.monotonic()
    with Judge(lab) as judge:
        pools = make_pools(lab, tenants)
        addresses = [str(address) for pool in pools for address in addresses_of(pool)]
        names = [pool["metadata"]["name"] for pool in pools]
        assert len(addresses) == 8
        crowd = Crowd(lab, SEED, REQUESTS, tenants, addresses, names)
        try:
            with crowd:
                trouble = Trouble(lab, chance, pools, tenants, judge.record.absent)
                while crowd.busy():
                    trouble.stir()
                    judge.catch_up()
                assert not crowd.error, crowd.error
            crowded = time.monotonic() - began
            trouble.end()
            others_let_go(lab)
            comes_to_rest(lab)
            all_goes(lab, tenants)
            judge.catch_up()
        except AssertionError as error:
            raise AssertionError(f"{error}\n{told(crowd, error, tenants)}") from error
    rested = time.monotonic() - began - crowded
    print(f"{crowded:.0f} s of requests, {rested:.0f} s to come to rest")
    report(crowd, judge.record, trouble)


def make_pools(lab, tenants):
    """8 addresses, under all rules of sharing. The third pool's namespaces change meanwhile."""
    return [
        lab.pool(size=2, sharing="Never", mode="RoundRobin"),
        lab.pool(size=2, sharing="SameNamespace", namespaces=tenants[:2]),
        lab.pool(size=2, sharing="Any", autoAssign=False, namespaces=tenants),
        lab.pool(size=2, network=SPACE.ipv6(120), sharing="SameNamespace"),
    ]


def addresses_of(pool):
    usable = invariants.usable(pool)
    return sorted(usable["ipv4"] | usable["ipv6"])


class Trouble:
    """What happens to the program, the API servers and the pools while the crowd is at it."""

    # How often each is taken, and for how many seconds it lasts at most. Of the API servers only
    # that one suffers which the judge doesn't watch. Its start takes the machine's whole attention.
    KINDS = {
        "kill": (6, 2),
        "pause": (4, 2),
        "stop": (2, 0),
        "kill_both": (1, 1),
        "pause_api_server": (3, 1.5),
        "kill_api_server": (1, 1),
        "cut": (3, 0),
        "edit_pool": (4, 6),
        "hold": (4, 3),
    }

    # With these, the API servers can't always ask.
    ABSENT = ("kill", "kill_both", "stop", "pause")
    # For so many seconds a replica that has started may not be ready yet, or be asked by a
    # connection that is none any more.
    RETURNING = 10

    def __init__(self, lab, chance, pools, tenants, absent):
        """absent: is told from when to when ipwarden couldn't always be asked."""
        self.lab = lab
        self.chance = chance
        self.tenants = tenants
        self.pools = pools
        self.absent = absent
        self.kinds = []
        self._mend = None
        self._next = time.monotonic() + 1

    def stir(self):
        """Does what is due: begins some trouble, or ends it."""
        if time.monotonic() < self._next:
            return
        if self._mend is not None:
            mend, self._mend = self._mend, None
            mend()
            self._next = time.monotonic() + self.chance.uniform(0.5, 3)
            return
        weights = [often for often, _ in self.KINDS.values()]
        (kind,) = self.chance.choices(list(self.KINDS), weights)
        self.kinds.append(kind)
        began = time.monotonic()
        self._mend = getattr(self, f"_{kind}")()
        self._next = time.monotonic() + self.chance.uniform(0, self.KINDS[kind][1])
        if kind in self.ABSENT:
            self.absent(began, self._next + self.RETURNING)

    def end(self):
        """All is well again."""
        if self._mend is not None:
            self._mend()
        cluster = self.lab.cluster
        wait_until(lambda: self._revive() and cluster.ready(), "the API servers", 4 * PATIENCE)
        for replica in self.lab.fleet.replicas:
            replica.wait_ready()
        self.lab.fleet.check()
        counts = collections.Counter(self.kinds).most_common()
        print(", ".join(f"{count} x {kind}" for kind, count in counts))

    # Each begins something, and answers with what ends it.

    def _kill(self):
        replica = self.chance.choice(self.lab.fleet.replicas)
        replica.check_log()
        replica.kill()
        return lambda: replica.start(wait=False)

    def _kill_both(self):
        self.lab.fleet.kill()
        return self.lab.fleet.start

    def _stop(self):
        """As a rollout does it."""
        replica = self.chance.choice(self.lab.fleet.replicas)
        replica.stop()
        return lambda: replica.start(wait=False)

    def _pause(self):
        replica = self.chance.choice(self.lab.fleet.replicas)
        replica.pause()
        return replica.resume

    def _pause_api_server(self):
        self._revive()
        self.lab.cluster.pause_apiserver(1)
        return lambda: self.lab.cluster.resume_apiserver(1)

    def _kill_api_server(self):
        self.lab.cluster.kill_apiserver(1)
        return self._revive

    def _revive(self):
        """Starts the API server unless it runs.

        A start may fail while all this goes on: it gives up when others allocate node ports again
        and again before it has looked at all of them.
        """
        if not self.lab.cluster.apiservers[1].alive():
            self.lab.cluster.start_apiserver(1, wait=False)
        return True

    def _cut(self):
        self.lab.fleet.proxy.cut()
        return lambda: None

    def _edit_pool(self):
        """The third pool is for fewer; who has an address of it keeps that."""
        pool = self.pools[2]
        fewer = self.chance.sample(self.tenants, 2)
        self._try_patch(pool, {"spec": {"namespaces": fewer}})
        return lambda: self._try_patch(pool, {"spec": {"namespaces": self.tenants}})

    def _hold(self):
        """An administrator holds an address back, if it's free at the moment."""
        claim = objects.claim(self.chance.choice(addresses_of(self.chance.choice(self.pools))))
        if not self.lab.try_create(claim).ok:
            return lambda: None
        return lambda: self.lab.delete(claim)

    def _try_patch(self, item, patch):
        """While no replica is ready this fails, and that is all right."""
        answer = self.lab.try_patch(item, patch)
        assert answer.ok or answer.status >= 500, answer


def others_let_go(lab):
    """What Services of another class show goes: it may be what was written while nobody was asked."""
    for item in lab.snapshot().services:
        if item["spec"].get("loadBalancerClass", objects.CLASS) != objects.CLASS:
            nothing = {"status": {"loadBalancer": {"ingress": []}}}
            lab.patch({**item, "kind": "Service"}, nothing, subresource="status")


def comes_to_rest(lab):
    """All that was left over goes, all that waits is served, and the counts are right."""
    seconds = GRACE + 2 * PATIENCE
    lab.check_at_rest(seconds=seconds)
    found = []

    def look():
        found[:] = at_rest(lab.snapshot())
        return not found

    wait_until(look, lambda: "nothing left to do\n" + "\n".join(found), seconds)
    lab.check_at_rest(seconds=seconds)


def all_goes(lab, tenants):
    """Every Service goes, those too that a finalizer keeps, and every address comes back."""
    for tenant in tenants:
        for item in lab.read(f"/api/v1/namespaces/{tenant}/services").body["items"]:
            lab.patch({**item, "kind": "Service"}, {"metadata": {"finalizers": None}})
        lab.delete_services(tenant)
    wait_until(lambda: not lab.claims(), lambda: f"no claims, but {lab.claims()}")
    lab.check_at_rest()


def told(crowd, error, tenants):
    """Who asked for what of the Services that the error names."""
    lines = [f"IPWARDEN_SEED={SEED} IPWARDEN_RANDOM_REQUESTS={REQUESTS}"]
    for tenant in tenants:
        for number in range(10):
            if f"{tenant}/s{number}" in str(error).partition("\n  ")[0]:
                lines.append(f"requests of {tenant}/s{number}:")
                lines.append(crowd.about(f"{tenant}/services/s{number}"))
    return "\n".join(lines)


def report(crowd, record, trouble):
    kinds = sorted({deed.what for deed in crowd.deeds})
    for what in kinds:
        print(f"{what}: {crowd.count(what)}, {crowd.count(what, ok=True)} of them went well")
    print(f"{record.changes} versions; {record.gains} times listed, {record.joins} beside another")
    for what, outcomes in SEEN.items():
        for ok in outcomes:
            assert crowd.count(what, ok=ok), f"no {what} {'went well' if ok else 'was refused'}"
    # Enough was given for the judge to have had something to judge.
    assert record.gains > min(REQUESTS / 40, 500) and record.joins and trouble.kinds
