"""An address that one Service drops and lists again, and others want, is never in two of them."""

import itertools

import pytest

import objects
from harness import FULL, Load, wait_until
from holders import Holders
from watchman import Watchman

# Above what a create takes here; what fails after it was admitted holds the address for so long.
GRACE = 6
ROUNDS = 1000 if FULL else 40
# What a create or an edit may be told when another was first, or is about to be.
LOST = (403, 409, 429)


@pytest.fixture
def address(lab_of_two):
    """The only address of a pool."""
    lab_of_two.fleet.replace(f"--grace={GRACE}s")
    return lab_of_two.pool(size=1, sharing="Any")["spec"]["addresses"][0].split("-")[0]


def in_turn(lab, attempt, item, *arguments):
    """The answer of an attempt on either API server."""
    answer = attempt(item, *arguments, server=next(in_turn.servers) % len(lab.cluster.servers))
    assert answer.ok or (answer.status in LOST and answer.message), answer
    return answer


in_turn.servers = itertools.count()


class Rivals:
    """Creates Services that want the address, each in its own way, and deletes those that got it."""

    def __init__(self, lab, address):
        self.lab = lab
        self.namespace = lab.add_namespace(lab.unique(lab.name))
        self.won = 0
        self._ways = (
            {"auto": True},
            {"externalIPs": [address]},
            {"auto": True, "annotations": {objects.ADDRESSES: address}},
        )

    def __call__(self, index):
        options = self._ways[index % len(self._ways)]
        item = self.lab.service(f"rival-{index}", namespace=self.namespace, **options)
        if in_turn(self.lab, self.lab.try_create, item).ok:
            self.won += 1
            self.lab.delete(item)


def race(lab, address, owner, drop, take):
    """The owner drops the address and lists it again at once, while others want to create with it."""
    rivals = Rivals(lab, address)
    kept = 0
    with Holders(lab) as holders, Watchman(lab) as watchman, Load(3, rivals, pause=0.02) as load:
        for _ in range(ROUNDS):
            wait_until(
                lambda: load.errors or in_turn(lab, lab.try_patch, owner, take).ok,
                "the owner to have the address again",
            )
            assert not load.errors, load.errors
            in_turn(lab, lab.try_patch, owner, drop)
            # At once: the release is still under way, and fails, or is done, and another may have it.
            kept += in_turn(lab, lab.try_patch, owner, take).ok
            in_turn(lab, lab.try_patch, owner, drop)
            won = rivals.won
            wait_until(lambda won=won: load.errors or rivals.won > won, "another to have it")
    holders.check()
    watchman.check()
    print(f"{holders.count} times listed, {kept} of {ROUNDS} kept, {rivals.won} times another's")
    # Races were run, and the owner was first in some.
    assert kept
    lab.delete(owner)
    lab.check_at_rest()
    wait_until(lambda: not lab.claims(), lambda: f"no claims, but {lab.claims()}")


def test_an_address_by_hand_that_is_dropped_and_listed_again(lab_of_two, address):
    owner = lab_of_two.create(lab_of_two.service("owner"))
    drop, take = ({"spec": {"externalIPs": ips}} for ips in (None, [address]))
    race(lab_of_two, address, owner, drop, take)


def test_a_wish_that_is_taken_back_and_made_again(lab_of_two, address):
    owner = lab_of_two.create(lab_of_two.service("owner"))
    drop, take = ({"metadata": {"annotations": {objects.AUTO: v}}} for v in (None, "auto"))
    race(lab_of_two, address, owner, drop, take)


def test_an_owner_that_changes_ports_meanwhile_collides_with_nobody(lab_of_two, address):
    """Two share the address; both move to the other's port again and again, and drop it between."""
    lab = lab_of_two
    services = [
        lab.create(lab.service(f"svc-{n}", externalIPs=[address], ports=(80 + n,)))
        for n in range(2)
    ]

    def move(index):
        service = services[index % 2]
        port = {"name": "p", "port": 80 + (index // 2) % 2}
        addresses = None if index % 7 == 6 else [address]
        patch = {"spec": {"ports": [port], "externalIPs": addresses}}
        return in_turn(lab, lab.try_patch, service, patch).ok

    with Holders(lab) as holders, Watchman(lab) as watchman, Load(4, move) as load:
        wait_until(
            lambda: load.errors or len(load.results) > 4 * ROUNDS, "the rounds to be over", 300
        )
    holders.check()
    watchman.check()
    assert 0 < load.results.count(True) < len(load.results)
    lab.check_at_rest()


def test_a_service_made_again_under_its_name_races_with_its_own_release(lab_of_two, address):
    lab = lab_of_two
    made = 0
    rivals = Rivals(lab, address)
    with Holders(lab) as holders, Watchman(lab) as watchman, Load(2, rivals, pause=0.02) as load:
        for _ in range(ROUNDS):
            item = lab.service("again", externalIPs=[address])
            wait_until(
                lambda item=item: load.errors or in_turn(lab, lab.try_create, item).ok,
                "the Service to have its address again",
            )
            assert not load.errors, load.errors
            made += 1
            lab.delete(item)
    holders.check()
    watchman.check()
    print(f"made {made} times, {rivals.won} times another's")
    assert rivals.won
    lab.check_at_rest()
    wait_until(lambda: not lab.claims(), lambda: f"no claims, but {lab.claims()}")
