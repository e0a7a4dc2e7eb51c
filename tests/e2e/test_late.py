"""A replica that sees the cluster late says no to nothing that is so no more."""

import contextlib
import json
import time

import pytest

import faults
import objects
from comings import GRACE
from faults import HttpProxy
from harness import FULL, PATIENCE, SPACE, wait_until
from replicas import Replica

WATCH = r"[?&]watch=(1|true)"
ALL = 1 << 30
# Seconds within which the leader has done what it has seen.
SOON = PATIENCE / 30
CREATES = 150 if FULL else 40


@contextlib.contextmanager
def late_by(lab, seconds, grace=GRACE):
    """The fleet is one replica whose watches are late by that much."""
    with HttpProxy(lab.cluster) as proxy:
        proxy.add(faults.late(seconds), "GET", WATCH, times=ALL)
        lab.fleet.stop()
        arguments = [f"--grace={grace}s"]
        lab.fleet.replicas = [
            Replica(lab.cluster, lab.fleet.port, index=9, url=proxy.url, extra_args=arguments)
        ]
        try:
            lab.fleet.start()
            lab.fleet.leader()
            yield
            proxy.clear()
            lab.fleet.stop()
        finally:
            lab.fleet.kill()
            lab.fleet.resize(1)


@pytest.fixture(params=[0.05, 2], ids=["50 ms", "2 s"])
def late(lab, request):
    with late_by(lab, request.param):
        lab.delay = request.param
        yield lab


def small_pool(lab, **spec):
    """A pool of one address, made this moment, and that address."""
    pool = lab.pool(size=1, network=SPACE.ipv4(30), wait=False, **spec)
    return pool, pool["spec"]["addresses"][0].split("-")[0]


def within(seconds, predicate, describe):
    began = time.monotonic()
    wait_until(predicate, describe)
    took = time.monotonic() - began
    assert took < seconds, f"{took:.2f} s, more than {seconds}"


def test_who_waits_is_served_within_a_second_of_seeing_the_pool(late):
    lab = late
    waiting = [lab.create(lab.load_balancer()) for _ in range(3)]
    for service in waiting:
        lab.event(service, "AddressPending")
    lab.pool(size=3, wait=False)
    within(
        lab.delay + SOON,
        lambda: all(objects.ingress(lab.get(service)) for service in waiting),
        lambda: f"addresses in {[lab.get(service) for service in waiting]}",
    )
    lab.check_at_rest()


def test_who_waits_is_served_within_a_second_of_seeing_room(late):
    lab = late
    lab.pool(size=1)
    having = lab.create(lab.load_balancer())
    lab.with_ingress(having)
    waiting = lab.create(lab.load_balancer())
    lab.event(waiting, "AddressPending")
    lab.delete(having)
    # The Service is seen to be gone, and then its claim.
    within(
        2 * lab.delay + SOON,
        lambda: objects.ingress(lab.get(waiting)),
        lambda: f"an address in {lab.get(waiting)}",
    )
    lab.check_at_rest()


def asking(lab, pool, how):
    annotations = {objects.POOL: pool["metadata"]["name"]} if "named" in how else {}
    if "balancer" in how:
        return lab.load_balancer(annotations=annotations)
    return lab.service(auto=True, annotations=annotations)


@pytest.mark.parametrize("how", ["auto, named", "auto, any", "balancer, named", "balancer, any"])
def test_a_pool_that_was_made_a_moment_ago_is_found(late, how):
    lab = late
    left = []
    for _ in range(CREATES):
        pool, address = small_pool(lab)
        answer = lab.try_create(asking(lab, pool, how))
        assert answer.ok, answer
        if "auto" in how and objects.external(answer.body) != [address]:
            left.append(answer.body["metadata"]["name"])
        elif lab.claim(address) is None:
            left.append(answer.body["metadata"]["name"])
        else:
            lab.claimed(address, answer.body)
    assert not left, f"{len(left)} of {CREATES} are left waiting, {left[:5]}"


WAYS = {
    "auto": lambda lab, address: lab.service(auto=True),
    "by hand": lambda lab, address: lab.service(externalIPs=[address]),
    "by name": lambda lab, address: lab.service(
        auto=True, annotations={objects.ADDRESSES: address}
    ),
}


@pytest.mark.parametrize("how", WAYS)
def test_an_address_whose_hold_was_deleted_a_moment_ago_is_had(late, how):
    lab = late
    pool, address = small_pool(lab)
    name = pool["metadata"]["name"]
    for _ in range(3):
        lab.create(objects.claim(address))
        wait_until(
            lambda: lab.fleet.count("ipwarden_pool_addresses", pool=name, state="used") == 1,
            "the hold to be seen",
        )
        lab.delete(objects.claim(address))
        created = lab.create(WAYS[how](lab, address))
        assert objects.external(created) == [address]
        lab.claimed(address, created)
        lab.delete(created)
        lab.gone(address)


@pytest.mark.parametrize("how", WAYS)
def test_an_address_whose_service_went_a_moment_ago_is_had(late, how):
    lab = late
    _, address = small_pool(lab)
    created = lab.create(WAYS[how](lab, address))
    for _ in range(3):
        lab.delete(created)
        lab.gone(address)
        created = lab.create(WAYS[how](lab, address))
        assert objects.external(created) == [address]
        lab.claimed(address, created)
    lab.check_at_rest()


def test_an_address_that_was_taken_a_moment_ago_is_given_to_nobody_else(late):
    lab = late
    network = SPACE.ipv4(28)
    lab.pool(network=network, size=14, wait=False)
    holds = [str(network[index]) for index in range(1, 14)]
    for address in holds:
        lab.create(objects.claim(address))
    # Each refusal tells of one that is taken; there are ten repeats, as clients do them.
    created = lab.create_as_told(lab.service(externalIPs=[str(network[14])]))
    assert objects.external(created) == [str(network[14])]
    for address in holds:
        answer = lab.try_create(lab.service(externalIPs=[address]))
        assert answer.status == 403 and address in answer.message, answer
    assert lab.try_create(lab.service(auto=True)).status in (403, 429)
    for address in holds:
        lab.delete(objects.claim(address))
    lab.check_at_rest()


def test_kubectl_notices_nothing_of_an_address_that_was_taken_a_moment_ago(late):
    lab = late
    network = SPACE.ipv4(29)
    lab.pool(network=network, wait=False)
    holds = [str(network[index]) for index in (1, 2)]
    for address in holds:
        lab.create(objects.claim(address))
    manifest = json.dumps(lab.service("web", auto=True))
    done = lab.kubectl("create", "-f", "-", "-o", "json", input=manifest)
    # But for what the API server says of the field to everybody.
    assert [line for line in done.stderr.splitlines() if "is deprecated" not in line] == []
    assert objects.external(json.loads(done.stdout)) == [str(network[3])]
    for address in holds:
        lab.delete(objects.claim(address))
    lab.check_at_rest()


def test_a_status_is_not_believed_by_what_was_so_a_moment_ago(late):
    lab = late
    _, address = small_pool(lab, sharing="Never")
    thief = lab.create(
        lab.load_balancer(loadBalancerClass="example.com/other", externalIPs=[address])
    )
    lab.patch(thief, {"spec": {"externalIPs": None}})
    lab.gone(address)
    owner = lab.create_as_told(lab.service(externalIPs=[address]))
    ingress = {"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}
    answer = lab.try_patch(thief, ingress, subresource="status")
    assert answer.status == 403 and address in answer.message, answer
    answer = lab.try_patch(thief, {"spec": {"externalIPs": [address]}})
    assert answer.status == 403 and owner["metadata"]["name"] in answer.message, answer
    lab.claimed(address, owner)
    lab.check_at_rest()


def test_what_is_stored_is_not_reaped_by_one_that_has_not_seen_it_yet(lab):
    lab.pool(size=8)
    with late_by(lab, 5, grace=1):
        services = [lab.create(lab.service(auto=True)) for _ in range(4)]
        before = {claim["metadata"]["uid"] for claim in lab.claims()}
        assert len(before) == 4
        # That of a load balancer may go as long as nothing shows its address; then it gets another.
        balancers = [lab.create(lab.load_balancer()) for _ in range(2)]
        until = time.monotonic() + 9

        def is_reaped():
            assert before <= {claim["metadata"]["uid"] for claim in lab.claims()}
            return time.monotonic() > until

        wait_until(is_reaped, "the grace, and some more, to be over")
        for service in services:
            lab.claimed(objects.external(service)[0], service)
        for balancer in balancers:
            lab.with_ingress(balancer)
        lab.check_at_rest()
