"""A pool that has nothing left says so with counts; who waits is served when there is room."""

import json

import pytest

import objects
from harness import parallel, wait_until


def test_of_200_creators_exactly_100_get_the_100_addresses(lab_of_two):
    lab = lab_of_two
    pool = lab.pool(size=100)
    items = [lab.service(f"svc-{n}", auto=True) for n in range(200)]
    answers = parallel(200, lambda n: lab.try_create_as_told(items[n], server=n % 2), range(200))
    created = [answer.body for answer in answers if answer.ok]
    assert len({address for s in created for address in objects.external(s)}) == 100
    assert len(created) == 100
    for answer in answers:
        if not answer.ok:
            assert answer.status == 403, answer
            text = f"pool {pool['metadata']['name']}: 100 of 100 IPv4 addresses in use"
            assert "no free address" in answer.message and text in answer.message
    assert len(lab.claims()) == 100
    lab.check_at_rest()


def test_load_balancers_wait_and_are_served_as_others_go(lab):
    pool = lab.pool(size=10)
    services = [lab.create(lab.load_balancer()) for _ in range(15)]

    def served():
        return [service for service in services if objects.ingress(lab.get(service))]

    wait_until(lambda: len(served()) == 10, lambda: f"10 served, not {len(served())}")
    having = served()
    waiting = [service for service in services if service not in having]
    for service in waiting:
        message = lab.event(service, "AddressPending")
        assert "10 of 10" in message and pool["metadata"]["name"] in message
        condition = wait_until(
            lambda service=service: objects.condition(lab.get(service), objects.CONDITION),
            lambda service=service: f"a condition in {lab.get(service)}",
        )
        assert (condition["status"], condition["reason"]) == ("False", "NoFreeAddress")
        assert "10 of 10" in condition["message"]
    wait_until(
        lambda: objects.condition(lab.get(pool), "Exhausted").get("status") == "True",
        lambda: f"an exhausted {lab.get(pool)}",
    )
    lab.event(pool, "PoolExhausted")
    for service in having[:5]:
        lab.delete(service)
    for service in waiting:
        stored = lab.with_ingress(service)
        wait_until(
            lambda s=stored: objects.condition(lab.get(s), objects.CONDITION)["status"] == "True",
            lambda s=stored: f"a true condition in {lab.get(s)}",
        )
    lab.check_at_rest()
    assert objects.condition(lab.get(pool), "Exhausted").get("status") == "True"
    for service in having[5:]:
        lab.delete(service)
    wait_until(
        lambda: objects.condition(lab.get(pool), "Exhausted").get("status") != "True",
        lambda: f"room in {lab.get(pool)}",
    )


def test_a_pool_can_let_services_with_the_annotation_wait(lab):
    lab.pool(size=1, onExhausted="Pending")
    first = lab.create(lab.service(auto=True))
    second = lab.create(lab.service(auto=True))
    assert not objects.external(second)
    lab.event(second, "AddressPending")
    lab.delete(first)
    wait_until(
        lambda: objects.external(lab.get(second)) == objects.external(first),
        lambda: f"the address in {lab.get(second)}",
    )
    lab.check_at_rest()


def test_a_pool_can_refuse_load_balancers(lab):
    pool = lab.pool(size=1, onExhausted="Reject")
    # By name, so that the entry that fails closed is asked and the pool's word counts.
    asks = {objects.POOL: pool["metadata"]["name"]}
    lab.with_ingress(lab.create(lab.load_balancer(annotations=asks)))
    answer = lab.try_create(lab.load_balancer(annotations=asks))
    assert answer.status == 403 and "1 of 1" in answer.message


def test_before_there_is_a_pool_everybody_waits_for_it(lab):
    done = lab.kubectl("create", "-f", "-", "-o", "json", input=json.dumps(lab.service(auto=True)))
    assert "Warning:" in done.stderr and "pool" in done.stderr
    asking, balancer = json.loads(done.stdout), lab.create(lab.load_balancer())
    assert not objects.external(asking) and not lab.claims()
    for service in (asking, balancer):
        wait_until(
            lambda s=service: (
                objects.condition(lab.get(s), objects.CONDITION).get("reason") == "NoPool"
            ),
            lambda s=service: f"a condition in {lab.get(s)}",
        )
    lab.pool(size=2, wait=False)
    lab.with_ingress(balancer)
    wait_until(lambda: objects.external(lab.get(asking)), lambda: f"one in {lab.get(asking)}")
    (address,) = objects.external(lab.get(asking))
    assert lab.claimed(address, asking)["spec"]["services"][0]["given"] is True
    lab.check_at_rest()


@pytest.mark.parametrize("how", ["another pool", "growing", "less excluded", "a hold is deleted"])
def test_who_waits_is_served_when_room_appears(lab, how):
    pool = lab.pool(size=2 if how == "less excluded" else 1)
    address = pool["spec"]["addresses"][0].split("-")[0]
    if how == "less excluded":
        lab.patch(pool, {"spec": {"exclude": [address]}})
        wait_until(lambda: _total(lab.get(pool)) == 1, lambda: f"one left in {lab.get(pool)}")
        lab.create(lab.service(auto=True))
    elif how == "a hold is deleted":
        lab.create(objects.claim(address))
    else:
        lab.create(lab.service(auto=True))
    waiting = lab.create(lab.load_balancer())
    lab.event(waiting, "AddressPending")
    assert not objects.ingress(lab.get(waiting))
    if how == "another pool":
        lab.pool(size=1)
    elif how == "growing":
        lab.patch(pool, {"spec": {"addresses": [address, objects.nth(pool, 2)]}})
    elif how == "less excluded":
        lab.patch(pool, {"spec": {"exclude": None}})
    else:
        lab.delete(objects.claim(address))
    lab.with_ingress(waiting)
    lab.check_at_rest()


def _total(pool):
    return int(pool["status"]["ipv4"]["total"])


def test_a_deleted_pool_keeps_what_it_gave_and_gives_nothing_new(lab):
    pool = lab.pool(size=4)
    created = lab.create(lab.service(auto=True))
    (address,) = objects.external(created)
    lab.claimed(address, created)
    lab.delete(pool)
    stored = lab.get(pool)
    assert stored and stored["metadata"]["deletionTimestamp"]
    wait_until(
        lambda: not objects.external(lab.try_create(lab.service(auto=True), dry_run=True).body),
        "nothing new from the pool",
    )
    assert objects.external(lab.get(created)) == [address]
    lab.patch(created, {"spec": {"ports": [{"port": 81}]}})
    assert objects.external(lab.get(created)) == [address]
    lab.delete(created)
    lab.gone(address)
    wait_until(lambda: lab.get(pool) is None, lambda: f"no {lab.get(pool)}")
