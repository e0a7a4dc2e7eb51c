"""What a create or an edit that failed after admission leaves is reaped after the grace, not sooner."""

import contextlib
import time

import pytest

import objects
from harness import wait_until
from other_webhook import denies_beside_us
from policies import DENY, denied_by_label, refuse_by_quota

GRACE = 3


@contextlib.contextmanager
def quota(lab):
    refuse_by_quota(lab)
    yield
    lab.request("DELETE", f"/api/v1/namespaces/{lab.namespace}/resourcequotas/none")
    wait_until(lambda: lab.try_create(lab.service(), dry_run=True).ok, "the quota to be lifted")


LATE = {"another webhook": denies_beside_us, "quota": quota}


def denied(lab, name=None, **options):
    answer = lab.try_create(lab.service(name, labels={DENY: "yes"}, **{"auto": True, **options}))
    assert not answer.ok and ("exceeded quota" in answer.message or "denied" in answer.message)
    return answer


def entries(lab):
    """What all claims say about their Services, in the order of the claims' names."""
    return [entry for claim in lab.claims() for entry in claim["spec"]["services"]]


@pytest.mark.parametrize("late", LATE)
def test_the_claim_of_a_create_that_came_to_nothing_is_reaped(lab, late):
    lab.fleet.replace(f"--grace={GRACE}s")
    lab.pool(size=1)
    with LATE[late](lab):
        began = time.monotonic()
        denied(lab, "web")
        (entry,) = entries(lab)
        assert entry["name"] == "web" and entry["uid"] and entry["given"] is True
        wait_until(lambda: not lab.claims(), "the claim to be reaped")
        assert time.monotonic() - began > GRACE
    lab.create(lab.service(auto=True))
    lab.check_at_rest()


def test_a_create_that_a_policy_denies_leaves_nothing(lab):
    lab.pool(size=1)
    with denied_by_label(lab):
        for options in ({}, {"auto": False, "type": "LoadBalancer"}):
            denied(lab, **options)
            assert not lab.claims()
        lab.create(lab.service(auto=True))
    lab.check_at_rest()


@pytest.mark.parametrize("had", [0, 1])
def test_the_claim_of_an_update_that_was_denied_is_reaped(lab, had):
    lab.fleet.replace(f"--grace={GRACE}s")
    pool = lab.pool(size=2)
    addresses = pool["spec"]["addresses"][0].split("-")
    with denies_beside_us(lab):
        created = lab.create(lab.service(externalIPs=addresses[:had]))
        patch = {"metadata": {"labels": {DENY: "yes"}}, "spec": {"externalIPs": addresses}}
        assert not lab.try_patch(created, patch).ok
        assert len(lab.claims()) == 2
        wait_until(lambda: len(lab.claims()) == had, lambda: f"{had}, not {lab.claims()}")
    assert objects.external(lab.get(created)) == addresses[:had]
    for address in addresses[:had]:
        lab.claimed(address, created)
    lab.check_at_rest()


def test_the_claim_of_a_balancer_over_quota_is_reaped(lab):
    lab.fleet.replace(f"--grace={GRACE}s")
    lab.pool(size=1)
    balancer = lab.load_balancer(loadBalancerClass="example.com/other")
    refuse_by_quota(lab, "services.loadbalancers", balancer)
    created = lab.create(lab.service())
    answer = lab.try_patch(created, {"spec": {"type": "LoadBalancer"}})
    assert "exceeded quota" in answer.message
    assert entries(lab)[0]["uid"] == created["metadata"]["uid"]
    wait_until(lambda: not lab.claims(), "the claim to be reaped")
    lab.check_at_rest()


def test_an_update_that_was_denied_frees_nothing(lab):
    lab.fleet.replace(f"--grace={GRACE}s")
    lab.pool(size=2)
    with denies_beside_us(lab):
        created = lab.create(lab.service(auto=True))
        (address,) = objects.external(created)
        claim = lab.claimed(address, created)
        for patch in (
            {"metadata": {"labels": {DENY: "yes"}, "annotations": {objects.AUTO: None}}},
            {"metadata": {"labels": {DENY: "yes"}}, "spec": {"ports": [{"port": 81}]}},
        ):
            assert not lab.try_patch(created, patch).ok
        # What is younger is reaped meanwhile.
        denied(lab, "canary")
        wait_until(lambda: len(lab.claims()) == 1, "the claim of the canary to be reaped")
    kept = lab.claimed(address, created)
    assert kept["metadata"]["uid"] == claim["metadata"]["uid"]
    assert objects.external(lab.get(created)) == [address]
    lab.check_at_rest()


def test_trying_again_takes_another_address_and_the_first_one_is_reaped(lab):
    lab.fleet.replace(f"--grace={GRACE}s")
    lab.pool(size=2)
    with denies_beside_us(lab):
        denied(lab, "web")
        created = lab.create(lab.service("web", auto=True))
        # Each has a uid of its own, so one can't be taken for the other.
        assert len({entry["uid"] for entry in entries(lab)}) == 2
        wait_until(lambda: len(lab.claims()) == 1, lambda: f"one claim, not {lab.claims()}")
    lab.claimed(objects.external(created)[0], created)
    lab.check_at_rest()


def test_claims_for_generated_names_are_reaped_too(lab):
    lab.fleet.replace(f"--grace={GRACE}s")
    lab.pool(size=8)
    with denies_beside_us(lab):
        kept = lab.create(lab.service("web-", auto=True))
        for _ in range(3):
            denied(lab, "web-")
        found = entries(lab)
        assert len(found) == 4 and len({entry["uid"] for entry in found}) == 4
        assert all(entry["name"].startswith("web-") and len(entry["name"]) > 4 for entry in found)
        wait_until(lambda: len(lab.claims()) == 1, lambda: f"one claim, not {lab.claims()}")
    lab.claimed(objects.external(kept)[0], kept)
    lab.check_at_rest()


def test_of_a_shared_address_only_the_one_that_came_to_nothing_is_reaped(lab):
    lab.fleet.replace(f"--grace={GRACE}s")
    pool = lab.pool(size=1)
    address = pool["spec"]["addresses"][0].split("-")[0]
    with denies_beside_us(lab):
        kept = lab.create(lab.service(externalIPs=[address], ports=(80,)))
        denied(lab, auto=False, externalIPs=[address], ports=(81,))
        claim = lab.claimed(address, kept)
        assert len(entries(lab)) == 2
        wait_until(lambda: len(entries(lab)) == 1, lambda: f"one, not {lab.claims()}")
        assert lab.claimed(address, kept)["metadata"]["uid"] == claim["metadata"]["uid"]
        # Its port is free again.
        lab.create(lab.service(externalIPs=[address], ports=(81,)))
    lab.check_at_rest()


def again(lab, address):
    """Other Services of the same name, which want all there is to want."""
    return {
        "the same": lab.service("web", auto=True),
        "another address": lab.service("web", externalIPs=[address]),
        "another port": lab.service("web", auto=True, ports=(81,)),
        "a node port": lab.service("web", auto=True, type="NodePort"),
        "a load balancer": lab.load_balancer("web"),
        "both": lab.load_balancer("web", auto=True),
        "by name": lab.load_balancer("web", annotations={objects.ADDRESSES: address}),
    }


@pytest.mark.parametrize("first", ["auto", "by hand", "plain", "going"])
def test_creating_a_service_that_exists_is_refused_as_such_and_leaves_nothing(lab, first):
    pool = lab.pool(size=4)
    low, last = pool["spec"]["addresses"][0].split("-")
    options = {"by hand": {"externalIPs": [low]}, "plain": {}}.get(first, {"auto": True})
    service = lab.service("web", **options)
    if first == "going":
        service["metadata"]["finalizers"] = ["example.com/waits"]
    created = lab.create(service)
    if first == "going":
        lab.delete(created)
    before = lab.snapshot()
    for what, item in again(lab, last).items():
        for dry_run in (False, True):
            answer = lab.try_create(item, dry_run=dry_run)
            assert answer.status == 409, (what, answer)
            assert answer.body["reason"] == "AlreadyExists"
            assert 'services "web" already exists' in answer.message
            assert lab.snapshot().claims == before.claims, what
    assert lab.get(created)["metadata"]["uid"] == created["metadata"]["uid"]
    if first == "going":
        lab.patch(created, {"metadata": {"finalizers": None}})
        lab.is_gone(created)
    lab.check_at_rest()


def test_creating_a_service_that_exists_does_it_no_harm(lab):
    lab.fleet.replace(f"--grace={GRACE}s")
    lab.pool(size=4)
    created = lab.create(lab.service("web", auto=True))
    (address,) = objects.external(created)
    claim = lab.claimed(address, created)
    for _ in range(3):
        assert lab.try_create(lab.service("web", auto=True)).status == 409
    # It outlives what is younger and reaped.
    with denies_beside_us(lab):
        denied(lab, "canary")
        wait_until(lambda: len(lab.claims()) == 1, lambda: f"one claim, not {lab.claims()}")
    assert objects.external(lab.get(created)) == [address]
    assert lab.claimed(address, created)["metadata"]["uid"] == claim["metadata"]["uid"]
    lab.check_at_rest()
