"""What a tenant who may edit Services tries on, and doesn't get: each attack once worked."""

import time

import pytest

import objects
from harness import wait_until
from policies import refuse_by_quota

KEPT = "example.com/kept"
# Seconds after which a claim without a stored Service counts against its namespace.
COUNTED_AFTER = 5.5


def ends(pool):
    return pool["spec"]["addresses"][0].split("-")


@pytest.fixture
def dying(lab):
    """Makes Services that are under deletion for as long as their author likes."""
    made = []

    def make(**options):
        service = lab.service(**options)
        service["metadata"]["finalizers"] = [KEPT]
        created = lab.create(service)
        made.append(created)
        lab.delete(created)
        stored = lab.get(created)
        assert stored["metadata"]["deletionTimestamp"]
        return stored

    yield make
    for service in made:
        if lab.get(service):
            lab.patch(service, {"metadata": {"finalizers": None}})


# --- Services under deletion ---


def test_a_service_under_deletion_takes_nobodys_address(lab, dying):
    first, last = ends(lab.pool(size=4))
    victim = lab.create(lab.service(auto=True))
    (taken,) = objects.external(victim)
    thief = dying(externalIPs=[last], ports=(443,))
    for address, why in ((taken, "SameNamespace"), ("8.8.8.8", "in no pool")):
        other = lab.add_namespace(lab.unique(lab.name)) if address == taken else lab.namespace
        service = dying(ports=(443,), namespace=other) if address == taken else thief
        answer = lab.try_patch(
            service, {"spec": {"externalIPs": [*objects.external(service), address]}}
        )
        assert answer.status == 403 and why in answer.message, answer
    # What it adds in order is claimed, like anybody's.
    free = lab.create(lab.service(auto=True))
    (address,) = objects.external(free)
    lab.delete(free)
    lab.gone(address)
    patched = lab.patch(thief, {"spec": {"externalIPs": [last, address]}})
    for held in (last, address):
        lab.claimed(held, patched)


def test_a_list_is_judged_to_its_end(lab, dying):
    network = lab.pool(size=100)
    first = ends(network)[0].rsplit(".", 1)[0]
    own = [f"{first}.{i}" for i in range(1, 65)]
    service = lab.create(lab.service(externalIPs=own))
    stranger = {"spec": {"externalIPs": [*own, "8.8.8.8"]}}
    answer = lab.try_patch(service, stranger)
    assert answer.status == 422 and "more than 64" in answer.message, answer
    lab.patch(service, {"metadata": {"finalizers": [KEPT]}})
    lab.delete(service)
    answer = lab.try_patch(service, stranger)
    assert answer.status == 422 and "more than 64" in answer.message, answer
    lab.patch(service, {"metadata": {"finalizers": None}})


def test_a_port_of_a_shared_address_is_judged_in_every_state(lab, dying):
    first, _ = ends(lab.pool(size=4))
    lab.create(lab.service(externalIPs=[first], ports=(80,)))
    running = lab.create(lab.service(externalIPs=[first], ports=(81,)))
    going = dying(externalIPs=[first], ports=(82,))
    asks = {objects.ADDRESSES: first}
    balancer = lab.create(lab.load_balancer(annotations=asks, ports=(83,)))
    lab.with_ingress(balancer)
    for service in (running, going, balancer):
        answer = lab.try_patch(service, {"spec": {"ports": [{"port": 80}]}})
        assert answer.status == 403 and "port TCP/80" in answer.message, answer
    # A balancer that its author lets die goes on being forwarded to.
    lab.patch(balancer, {"metadata": {"finalizers": [KEPT]}})
    lab.delete(balancer)
    answer = lab.try_patch(balancer, {"spec": {"ports": [{"port": 80}]}})
    assert answer.status == 403 and "port TCP/80" in answer.message, answer
    lab.patch(balancer, {"spec": {"ports": [{"port": 84}]}})
    entries = lab.claim(first)["spec"]["services"]
    (noted,) = [e["ports"] for e in entries if e["name"] == balancer["metadata"]["name"]]
    assert "TCP/84" in noted
    lab.patch(balancer, {"metadata": {"finalizers": None}})


def test_an_address_that_is_dropped_and_listed_again_has_one_holder(lab, dying):
    first, _ = ends(lab.pool(size=1))
    service = dying(externalIPs=[first])
    waiting = lab.create(lab.load_balancer())
    lab.event(waiting, "AddressPending")
    for _ in range(10):
        lab.patch(service, {"spec": {"externalIPs": None}})
        answer = lab.try_patch(service, {"spec": {"externalIPs": [first]}})
        served = objects.ingress(lab.get(waiting))
        listed = objects.external(lab.get(service))
        assert not (served and listed), (served, listed)
        if not answer.ok:
            assert answer.status in (403, 429, 503), answer
            break
    lab.check_at_rest()


# --- what the requester says about itself ---


def test_anothers_uid_in_a_patch_gives_nobody_anything(lab):
    lab.pool(size=4, sharing="Never")
    owner = lab.create(lab.service(auto=True))
    (address,) = objects.external(owner)
    thief = lab.create(lab.service(ports=(443,)))
    before = lab.claimed(address, owner)
    patch = {
        "metadata": {"uid": owner["metadata"]["uid"]},
        "spec": {"externalIPs": [address]},
    }
    answer = lab.try_patch(thief, patch)
    assert not answer.ok, answer
    assert lab.claim(address)["spec"] == before["spec"]
    answer = lab.try_patch(thief, {"spec": {"externalIPs": [address]}})
    assert answer.status == 403, answer
    assert lab.claim(address)["spec"] == before["spec"]
    # Nor in a create under a name of one's own.
    item = lab.service(externalIPs=[address], ports=(443,))
    item["metadata"]["uid"] = owner["metadata"]["uid"]
    assert not lab.try_create(item).ok
    assert lab.claim(address)["spec"] == before["spec"]


# --- edits while ipwarden is down ---


def test_with_ipwarden_down_no_edit_takes_a_port_of_a_shared_address(lab):
    first, _ = ends(lab.pool(size=4))
    asks = {objects.ADDRESSES: first}
    one, two = (
        lab.create(lab.load_balancer(annotations=asks, ports=(port,))) for port in (80, 443)
    )
    for balancer in (one, two):
        lab.with_ingress(balancer)
    lab.fleet.stop()
    answer = lab.try_patch(two, {"spec": {"ports": [{"port": 80}]}})
    assert answer.status == 500 and "held.ipwarden.ipcontroller.ext" in answer.message, answer
    # What concerns no address goes on, and a new balancer is none's loss.
    lab.patch(two, {"metadata": {"labels": {"a": "b"}}, "spec": {"selector": {"app": "x"}}})
    created = lab.create(lab.load_balancer())
    lab.fleet.start()
    lab.with_ingress(created)
    lab.check_at_rest()


def test_with_ipwarden_down_other_classes_are_not_held_up(lab):
    lab.pool(size=4)
    other = {"loadBalancerClass": "example.com/other", "loadBalancerIP": "192.0.2.1"}
    lab.fleet.stop()
    created = lab.create(lab.load_balancer(**other))
    status = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
    answer = lab.try_patch(created, status, subresource="status")
    assert answer.ok, answer
    lab.patch(created, {"spec": {"ports": [{"port": 81}]}})
    lab.fleet.start()


# --- creates that fail ---


def test_addresses_are_counted_not_requests(lab):
    lab.fleet.replace("--unstored-most=8", "--grace=14s")
    lab.leaves_unstored = True
    first = ends(lab.pool(size=40))[0].rsplit(".", 1)[0]
    lab.add_namespace(lab.unique(lab.name))
    refuse_by_quota(lab)
    many = [f"{first}.{i}" for i in range(1, 8)]
    answer = lab.try_create(lab.service(externalIPs=many))
    assert answer.status == 403 and "exceeded quota" in answer.message, answer
    more = [f"{first}.{i}" for i in range(10, 17)]
    since = time.monotonic()
    wait_until(lambda: time.monotonic() - since > COUNTED_AFTER, "the claims to count", 20)
    answer = lab.try_create(lab.service(externalIPs=more))
    assert answer.status == 429 and "never stored" in answer.message, answer
    # One more would not be too many.
    answer = lab.try_create(lab.service(externalIPs=more[:1]))
    assert answer.status == 403 and "exceeded quota" in answer.message, answer


def test_a_service_has_so_many_ports_and_no_more(lab):
    lab.pool(size=4)
    ports = tuple(range(1000, 2001))
    answer = lab.try_create(lab.service(auto=True, ports=ports))
    assert answer.status == 403 and "spec.ports" in answer.message, answer
    assert lab.create(lab.service(ports=ports))
    created = lab.create(lab.service(auto=True, ports=ports[:-1]))
    lab.claimed(objects.external(created)[0], created)
    lab.check_at_rest()


# --- smaller ---


def test_a_balancer_that_was_served_late_and_goes_at_once_frees_its_address_at_once(lab):
    first, _ = ends(lab.pool(size=1))
    before = lab.create(lab.load_balancer())
    lab.with_ingress(before)
    late = lab.create(lab.load_balancer())
    lab.event(late, "AddressPending")
    lab.delete(before)
    wait_until(
        lambda: (claim := lab.claim(first))
        and claim["spec"]["services"][0]["uid"] == late["metadata"]["uid"],
        lambda: f"the claim of {late['metadata']['name']}, not {lab.claim(first)}",
    )
    lab.delete(late)
    # Far below the grace.
    wait_until(lambda: lab.claim(first) is None, lambda: f"no {lab.claim(first)}", 10)


def test_what_status_writers_strip_changes_nothing(lab):
    lab.pool(size=1)
    first = lab.create(lab.load_balancer())
    lab.with_ingress(first)
    waiting = lab.create(lab.load_balancer())
    lab.event(waiting, "AddressPending")
    for service in (first, waiting):
        answer = lab.try_patch(
            service,
            {"metadata": {"annotations": None}, "status": {"conditions": None}},
            subresource="status",
        )
        assert answer.ok, answer
    lab.check_at_rest()
    assert objects.ingress(lab.get(first)) and not objects.ingress(lab.get(waiting))
    wait_until(
        lambda: objects.condition(lab.get(waiting), objects.CONDITION),
        lambda: f"the condition in {lab.get(waiting)}",
    )
