"""What pools and options say about who gets which address."""

import pytest

import objects
from harness import SPACE, wait_until


def is_of(address, pool):
    return objects.has_address(pool, address)


def test_a_foreign_address_is_refused_by_default(lab):
    lab.pool(size=4)
    answer = lab.try_create(lab.service(externalIPs=["192.0.2.1"]))
    assert answer.status == 403, answer
    assert "192.0.2.1" in answer.message and "pool" in answer.message
    created = lab.create(lab.service())
    assert lab.try_patch(created, {"spec": {"externalIPs": ["192.0.2.1"]}}).status == 403
    lab.check_at_rest()


def test_a_foreign_address_is_left_alone_where_that_is_allowed(lab):
    lab.fleet.replace("--foreign-addresses=allow")
    pool = lab.pool(size=1)
    created = lab.create(lab.service(externalIPs=["192.0.2.1"]))
    assert objects.external(created) == ["192.0.2.1"]
    # Those of pools are still the pools' own.
    owner = lab.create(lab.service(auto=True))
    other = lab.add_namespace(lab.unique(lab.name))
    taken = lab.service(namespace=other, externalIPs=objects.external(owner), ports=(81,))
    assert lab.try_create(taken).status == 403
    both = lab.service(auto=False, externalIPs=["192.0.2.1", objects.external(owner)[0]])
    assert lab.try_create(both).status == 403
    lab.check_at_rest(foreign_allowed=True)
    assert int(lab.get(pool)["status"]["ipv4"]["used"]) == 1


def test_a_pool_serves_only_its_namespaces(lab):
    other = lab.add_namespace(lab.unique(lab.name))
    pool = lab.pool(size=4, namespaces=[other])
    address = pool["spec"]["addresses"][0].split("-")[1]
    for service in (
        lab.service(externalIPs=[address]),
        lab.service(auto=True, annotations={objects.ADDRESSES: address}),
    ):
        answer = lab.try_create(service)
        assert answer.status == 403, (service, answer)
    # Who leaves the choice to ipwarden waits for a pool that serves its namespace.
    for service in (
        lab.service(auto=True),
        lab.service(auto=True, annotations={objects.POOL: pool["metadata"]["name"]}),
    ):
        answer = lab.try_create(service, dry_run=True)
        assert answer.ok and not objects.external(answer.body), (service, answer)
    assert is_of(objects.external(lab.create(lab.service(namespace=other, auto=True)))[0], pool)
    # What was given before an edit stays.
    lab.check_at_rest()
    before = lab.snapshot()
    lab.patch(pool, {"spec": {"namespaces": [lab.namespace]}})
    wait_until(
        lambda: objects.external(lab.try_create(lab.service(auto=True), dry_run=True).body),
        "the edit to be seen",
    )
    created = lab.create(lab.service(auto=True))
    assert is_of(objects.external(created)[0], pool)
    after = lab.snapshot()
    assert [
        s["spec"].get("externalIPs") for s in before.services if "externalIPs" in s["spec"]
    ] == [
        s["spec"]["externalIPs"]
        for s in after.services
        if "externalIPs" in s["spec"] and s["metadata"]["uid"] != created["metadata"]["uid"]
    ]
    lab.check_at_rest()


def test_pools_are_tried_by_priority_and_the_next_when_one_is_full(lab):
    late, early = lab.pool(size=2, priority=5), lab.pool(size=2, priority=-5)
    given = [objects.external(lab.create(lab.service(auto=True)))[0] for _ in range(4)]
    assert [is_of(address, early) for address in given] == [True, True, False, False]
    answer = lab.try_create(lab.service(auto=True))
    assert answer.status == 403
    for pool in (late, early):
        assert f"pool {pool['metadata']['name']}: 2 of 2" in answer.message
    lab.check_at_rest()


def test_a_pool_without_auto_assign_must_be_named(lab):
    pool = lab.pool(size=4, autoAssign=False)
    name = pool["metadata"]["name"]
    assert not objects.external(lab.try_create(lab.service(auto=True), dry_run=True).body)
    named = lab.create(lab.service(auto=True, annotations={objects.POOL: name}))
    assert is_of(objects.external(named)[0], pool)
    balancer = lab.create(lab.load_balancer(annotations={objects.POOL: name}))
    assert is_of(objects.ingress(lab.with_ingress(balancer))[0], pool)
    address = pool["spec"]["addresses"][0].split("-")[1]
    assert objects.external(lab.create(lab.service(externalIPs=[address]))) == [address]
    lab.check_at_rest()


def test_a_service_gets_its_address_from_the_pool_it_names(lab):
    lab.pool(size=4)
    wanted = lab.pool(size=1, priority=100)
    name = wanted["metadata"]["name"]
    created = lab.create(lab.service(auto=True, annotations={objects.POOL: name}))
    assert is_of(objects.external(created)[0], wanted)
    # No other pool stands in for it.
    answer = lab.try_create(lab.service(auto=True, annotations={objects.POOL: name}))
    assert answer.status == 403 and f"pool {name}: 1 of 1" in answer.message
    waiting = lab.create(lab.service(auto=True, annotations={objects.POOL: "no-such-pool"}))
    assert "no-such-pool" in lab.event(waiting, "AddressPending")
    assert not objects.external(lab.get(waiting))


def test_excluded_addresses_are_never_given(lab):
    network = SPACE.ipv4(29)
    excluded = [str(network[1]), f"{network[4]}-{network[5]}"]
    pool = lab.pool(network=network, exclude=excluded)
    given = [objects.external(lab.create(lab.service(auto=True)))[0] for _ in range(3)]
    assert given == [str(network[index]) for index in (2, 3, 6)]
    assert "3 of 3" in lab.try_create(lab.service(auto=True)).message
    for asks in (
        {"externalIPs": [str(network[4])]},
        {"annotations": {objects.ADDRESSES: str(network[4])}},
    ):
        answer = lab.try_create(lab.service(auto="annotations" in asks, **asks))
        assert answer.status == 403, answer
        assert str(network[4]) in answer.message and "exclude" in answer.message
    assert lab.get(pool)["spec"]["exclude"] == excluded
    lab.check_at_rest()


def test_nothing_that_runs_moves_when_a_pool_is_edited(lab):
    first = lab.pool(size=4)
    created = [lab.create(lab.service(auto=True)), lab.create(lab.load_balancer())]
    lab.with_ingress(created[1])
    before = [(objects.external(s), objects.ingress(s)) for s in map(lab.get, created)]
    lab.pool(size=4, priority=-10)
    for patch in (
        {"priority": 50},
        {"autoAssign": False},
        {"namespaces": ["kube-system"]},
        {"sharing": "Never"},
        {"onExhausted": "Reject"},
    ):
        lab.patch(first, {"spec": patch})
        generation = lab.get(first)["metadata"]["generation"]
        wait_until(
            lambda g=generation: lab.get(first)["status"]["observedGeneration"] == g,
            lambda: f"the edit to be seen in {lab.get(first)}",
        )
        lab.patch(created[0], {"spec": {"externalIPs": None}})
        lab.patch(created[1], {"spec": {"ports": [{"name": "p", "port": 8080}]}})
        assert [(objects.external(s), objects.ingress(s)) for s in map(lab.get, created)] == before
    lab.check_at_rest()


def test_load_balancers_can_be_left_to_those_that_name_the_class(lab):
    lab.fleet.replace("--loadbalancer=class")
    lab.pool(size=4)
    without = lab.create(lab.load_balancer())
    lab.with_ingress(lab.create(lab.load_balancer(loadBalancerClass=objects.CLASS)))
    assert not objects.ingress(lab.get(without))
    lab.check_at_rest()


def test_load_balancers_can_be_left_alone_altogether(lab):
    lab.fleet.replace("--loadbalancer=off")
    lab.pool(size=4)
    services = [
        lab.create(lab.load_balancer()),
        lab.create(lab.load_balancer(loadBalancerClass=objects.CLASS)),
    ]
    lab.create(lab.service(auto=True))
    # The pool's counts are written after what waits in the queue before.
    lab.check_at_rest()
    assert not any(objects.ingress(lab.get(service)) for service in services)
    assert len(lab.claims()) == 1


def test_load_balancers_can_have_their_address_in_external_ips_too(lab):
    lab.fleet.replace("--externalips-for-loadbalancer")
    lab.pool(size=4)
    created = lab.create(lab.load_balancer())
    wait_until(
        lambda: (s := lab.get(created)) and objects.external(s) == objects.ingress(s) != [],
        lambda: f"the same in both lists of {lab.get(created)}",
    )
    stored = lab.get(created)
    lab.patch(stored, {"spec": {"ports": [{"name": "p", "port": 81}]}})
    lab.check_at_rest()
    lab.delete(created)
    lab.gone(objects.ingress(stored)[0])


@pytest.mark.parametrize("field", ["pool", "addresses"])
def test_a_wish_that_changes_later_is_followed_or_refused(lab, field):
    first, second = lab.pool(size=2), lab.pool(size=2)
    name = first["metadata"]["name"]
    created = lab.create(lab.service(auto=True, annotations={objects.POOL: name}))
    if field == "pool":
        wish = {objects.POOL: second["metadata"]["name"]}
    else:
        wish = {objects.POOL: None, objects.ADDRESSES: second["spec"]["addresses"][0].split("-")[0]}
    answer = lab.try_patch(created, {"metadata": {"annotations": wish}})
    addresses = objects.external(lab.get(created))
    assert len(addresses) == 1
    if field == "addresses" and answer.ok:
        assert addresses == [wish[objects.ADDRESSES]]
        lab.gone(objects.external(created)[0])
    lab.check_at_rest()
