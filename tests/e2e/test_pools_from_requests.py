"""Pools whose addresses are the sub-network of a request, and pools that give addresses in turn."""

import ipaddress

import pytest

import objects
from harness import wait_until

NETWORK = "198.51.100.0/24"


def pool_of(lab, request, name=None, **spec):
    """A pool made from that request, not yet created."""
    chosen = {"name": request["metadata"]["name"], "namespace": request["metadata"]["namespace"]}
    name = name or f"{lab.name}-{lab.unique('p')}"
    return objects.pool(name, None, fromRequest=chosen, **spec)


def ready(lab, pool):
    wait_until(lambda: lab.pool_ready(pool), lambda: f"a ready pool, not {lab.get(pool)}")
    return lab.get(pool)


def test_services_draw_from_the_sub_network_of_a_request(lab):
    chosen = lab.range(NETWORK)
    request = lab.granted(lab.create(lab.ask(chosen, "198.51.100.64/29")))
    pool = ready(lab, lab.create(pool_of(lab, request)))
    # As of any cidr, the network's own address and the broadcast address are left out.
    assert pool["status"]["ipv4"] == {"total": 6, "used": 0, "free": 6}
    given = [objects.external(lab.create(lab.service(auto=True)))[0] for _ in range(5)]
    balancer = lab.with_ingress(lab.create(lab.load_balancer()))
    given += objects.ingress(balancer)
    assert sorted(given) == [f"198.51.100.{n}" for n in range(65, 71)]
    answer = lab.try_create(lab.service(auto=True))
    assert answer.status == 403 and pool["metadata"]["name"] in answer.message
    lab.check_at_rest()
    # The range counts the sub-network, whatever Services have of it.
    assert lab.get(chosen)["status"]["used"] == 8


def test_what_is_excluded_of_it_is_not_given(lab):
    request = lab.granted(lab.create(lab.ask(lab.range(NETWORK), "198.51.100.0/29")))
    pool = lab.create(pool_of(lab, request, exclude=["198.51.100.1", "198.51.100.4-198.51.100.9"]))
    assert ready(lab, pool)["status"]["ipv4"]["total"] == 2
    given = {objects.external(lab.create(lab.service(auto=True)))[0] for _ in range(2)}
    assert given == {"198.51.100.2", "198.51.100.3"}
    lab.check_at_rest()


def test_an_ipv6_sub_network_serves_all_its_addresses(lab):
    request = lab.granted(lab.create(lab.ask(lab.range("fd00:99::/64"), "fd00:99::100/126")))
    pool = ready(lab, lab.create(pool_of(lab, request)))
    assert pool["status"]["ipv6"] == {"total": 4, "used": 0, "free": 4}
    created = lab.create(lab.service(auto=True, ipFamilies=["IPv6"]))
    assert ipaddress.ip_address(objects.external(created)[0]) in ipaddress.ip_network(
        "fd00:99::100/126"
    )
    lab.check_at_rest()


def test_a_pool_waits_for_its_request_and_that_for_its_range(lab):
    request = lab.ask("later", "/29", name="one")
    pool = lab.create(pool_of(lab, request))
    condition = objects.condition(lab.is_for_reason(pool, "WaitingForRequest"), "Ready")
    assert condition["status"] == "False" and f"{lab.namespace}/one" in condition["message"]
    answer = lab.try_create(lab.service(auto=True), dry_run=True)
    assert answer.ok and not objects.external(answer.body), answer
    balancer = lab.create(lab.load_balancer())
    request = lab.create(request)
    lab.is_for_reason(request, "RangeNotFound")
    assert objects.reason(lab.get(pool)) == "WaitingForRequest"
    lab.range(NETWORK, name="later")
    # Everything follows by itself, and who waited is served.
    address = objects.ingress(lab.with_ingress(balancer))[0]
    cidr = objects.cidr(lab.granted(request))
    assert ipaddress.ip_address(address) in ipaddress.ip_network(cidr)
    ready(lab, pool)
    lab.check_at_rest()


def test_the_request_of_a_pool_can_not_be_deleted(lab):
    request = lab.granted(lab.create(lab.ask(lab.range(NETWORK), "/29", name="one")))
    pool = ready(lab, lab.create(pool_of(lab, request)))
    name = pool["metadata"]["name"]
    wait_until(
        lambda: objects.REQUEST_FINALIZER in lab.get(request)["metadata"].get("finalizers", ()),
        "the finalizer of a pool",
    )
    answer = lab.request("DELETE", objects.path_of(request))
    assert answer.status == 403 and name in answer.message, answer
    done = lab.kubectl("delete", "ipreq", "one", check=False)
    assert done.returncode == 1 and f"pool {name}" in done.stderr, done.stderr
    answer = lab.request("DELETE", objects.path_of(request, collection=True))
    assert answer.status == 403 and name in answer.message, answer
    assert "deletionTimestamp" not in lab.get(request)["metadata"]
    # Another request of the same range can.
    other = lab.granted(lab.create(lab.ask(request["spec"]["range"]["name"])))
    lab.delete(other)
    lab.is_gone(other)
    # Once the pool is gone, this one can too.
    lab.delete(pool)
    lab.is_gone(pool)
    wait_until(
        lambda: not lab.get(request)["metadata"].get("finalizers"), "the finalizer to be removed"
    )
    lab.delete(request)
    lab.is_gone(request)
    lab.check_at_rest()


def test_a_request_deleted_while_nobody_answers_stays_until_its_pool_is_gone(lab):
    chosen = lab.range(NETWORK)
    request = lab.granted(lab.create(lab.ask(chosen, "/29")))
    pool = ready(lab, lab.create(pool_of(lab, request)))
    created = lab.create(lab.service(auto=True))
    wait_until(
        lambda: objects.REQUEST_FINALIZER in lab.get(request)["metadata"].get("finalizers", ()),
        "the finalizer of a pool",
    )
    lab.fleet.stop()
    lab.delete(request)
    assert lab.get(request)["metadata"]["deletionTimestamp"]
    lab.fleet.start()
    # The pool goes on as if nothing had happened.
    second = lab.create(lab.service(auto=True))
    for service in (created, second):
        address = ipaddress.ip_address(objects.external(service)[0])
        assert address in ipaddress.ip_network(objects.cidr(request))
    late = lab.create(lab.ask(chosen, objects.cidr(request)))
    lab.is_for_reason(late, "Busy")
    lab.check_at_rest()
    lab.delete_services()
    lab.delete(pool)
    lab.is_gone(pool)
    lab.is_gone(request)
    assert objects.cidr(lab.granted(late)) == objects.cidr(request)
    lab.check_at_rest()


@pytest.mark.parametrize(
    "spec, field",
    [
        ({}, "spec.addresses"),
        ({"addresses": ["10.0.0.0/24"], "fromRequest": {"name": "a", "namespace": "b"}}, "spec."),
        ({"addresses": ["10.0.0.0/24"], "cidr": "10.0.0.0/24"}, "spec.cidr"),
        ({"cidr": "10.0.0.0/24", "fromRequest": {"name": "a", "namespace": "b"}}, "spec."),
        ({"ranges": ["10.0.0.1"], "fromRequest": {"name": "a", "namespace": "b"}}, "spec."),
        ({"fromRequest": {"name": "a"}}, "spec.fromRequest.namespace"),
        ({"fromRequest": {"namespace": "a"}}, "spec.fromRequest.name"),
        ({"fromRequest": {"name": "", "namespace": "b"}}, "spec.fromRequest.name"),
        ({"addresses": ["10.0.0.0/24"], "mode": "Random"}, "spec.mode"),
    ],
)
def test_a_pool_has_either_addresses_or_a_request(lab, spec, field):
    item = {**objects.pool("either", None), "spec": spec}
    answer = lab.try_create(item, dry_run=True)
    assert answer.status == 422, answer
    fields = [cause["field"] for cause in answer.body["details"]["causes"]]
    assert fields and all(name.startswith(field) for name in fields), answer


def test_two_pools_from_one_request_overlap(lab):
    request = lab.granted(lab.create(lab.ask(lab.range(NETWORK), "/29")))
    ready(lab, lab.create(pool_of(lab, request)))
    answer = lab.try_create(pool_of(lab, request))
    if answer.ok:
        stored = lab.is_for_reason(answer.body, objects.reason(lab.get(answer.body)) or "Conflict")
        assert objects.condition(stored, "Conflict")["status"] == "True", stored
    else:
        assert answer.status == 422 and "overlap" in answer.message, answer


def in_turn(lab, count):
    """The addresses of Services that come and go one after the other."""
    given = []
    for _ in range(count):
        service = lab.create(lab.service(auto=True))
        given.append(objects.external(service)[0])
        lab.claimed(given[-1], service)
        lab.delete(service)
        lab.gone(given[-1])
    return given


@pytest.mark.parametrize("made_from", ["addresses", "request"])
def test_a_round_robin_pool_gives_addresses_in_turn(lab, made_from):
    if made_from == "addresses":
        pool = objects.pool(f"{lab.name}-p", NETWORK.replace("/24", "/29"), mode="RoundRobin")
    else:
        request = lab.granted(lab.create(lab.ask(lab.range(NETWORK), "198.51.100.0/29")))
        pool = pool_of(lab, request, mode="RoundRobin")
    ready(lab, lab.create(pool))
    given = in_turn(lab, 8)
    assert given == [f"198.51.100.{n}" for n in (1, 2, 3, 4, 5, 6, 1, 2)]
    lab.check_at_rest()


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_round_robin_pool_goes_on_after_a_restart(lab, how):
    pool = ready(
        lab, lab.create(objects.pool(f"{lab.name}-p", "198.51.100.0/28", mode="RoundRobin"))
    )
    expected = 1
    for _ in range(3):
        given = in_turn(lab, 2)
        assert given == [f"198.51.100.{expected}", f"198.51.100.{expected + 1}"]
        expected += 2
        # Status is written by and by.
        wait_until(
            lambda e=expected: lab.get(pool)["status"].get("roundRobin") == [f"198.51.100.{e}/32"],
            lambda: f"the pointer to be stored, not {lab.get(pool)['status'].get('roundRobin')}",
        )
        getattr(lab.fleet, how)()
        lab.fleet.start()
    lab.check_at_rest()
