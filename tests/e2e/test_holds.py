"""A claim without services is a hold made by an administrator, and only they end it."""

import objects
from harness import wait_until
from other_webhook import denies_beside_us
from policies import DENY

GRACE = 3


def test_a_held_address_is_not_given(lab):
    pool = lab.pool(size=3)
    first, last = pool["spec"]["addresses"][0].split("-")
    lab.create(objects.claim(first))
    wait_until(lambda: lab.get(pool)["status"]["ipv4"]["used"] == 1, "the hold to be counted")
    given = [objects.external(lab.create(lab.service(auto=True)))[0] for _ in range(2)]
    assert first not in given and last in given
    for service in (
        lab.service(externalIPs=[first]),
        lab.service(auto=True, annotations={objects.ADDRESSES: first}),
    ):
        answer = lab.try_create(service)
        assert answer.status == 403 and first in answer.message, answer
    assert "3 of 3" in lab.try_create(lab.service(auto=True)).message
    lab.check_at_rest()
    lab.delete(objects.claim(first))
    freed = wait_until(lambda: (a := lab.try_create(lab.service(auto=True))).ok and a.body, "room")
    assert objects.external(freed) == [first]


def test_a_hold_that_no_replica_has_seen_yet_is_respected(lab):
    pool = lab.pool(size=2)
    first, last = pool["spec"]["addresses"][0].split("-")
    # At once: the claim's name is what counts, not what memory says.
    lab.create(objects.claim(first))
    assert objects.external(lab.create_as_told(lab.service(auto=True))) == [last]
    lab.delete(objects.claim(first))


def test_a_hold_outlives_the_grace_and_restarts(lab):
    lab.fleet.replace(f"--grace={GRACE}s")
    pool = lab.pool(size=4)
    address = pool["spec"]["addresses"][0].split("-")[0]
    hold = lab.create(objects.claim(address))
    with denies_beside_us(lab):
        # Claims without a Service that are as old, and younger, are reaped meanwhile.
        lab.try_create(lab.service(auto=True, labels={DENY: "yes"}))
        wait_until(lambda: not lab.claims(), "the claim to be reaped")
        lab.fleet.stop()
        lab.fleet.start()
        lab.try_create(lab.service(auto=True, labels={DENY: "yes"}))
        wait_until(lambda: not lab.claims(), "the claim to be reaped")
    assert lab.get(hold)["metadata"]["uid"] == hold["metadata"]["uid"]
    lab.delete(hold)


def test_an_address_outside_of_all_pools_can_be_held_too(lab):
    hold = lab.create(objects.claim("192.0.2.77"))
    lab.pool(size=1)
    lab.create(lab.service(auto=True))
    lab.check_at_rest()
    lab.delete(hold)
