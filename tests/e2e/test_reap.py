"""What a create that failed after admission leaves behind is reaped after the grace, not sooner."""

import ipaddress
import time

import objects
from harness import wait_until
from policies import DENY, denied_by_label, refuse_by_quota

GRACE = 3


def denied(lab, name=None):
    answer = lab.try_create(lab.service(name, auto=True, labels={DENY: "yes"}))
    assert "denied by label" in answer.message, answer
    return answer


def test_the_claim_of_a_create_that_a_policy_denied_is_reaped(lab):
    lab.fleet.replace(f"--grace={GRACE}s")
    lab.pool(size=1)
    with denied_by_label(lab):
        began = time.monotonic()
        denied(lab)
        (claim,) = lab.claims()
        assert not claim["spec"]["services"][0].get("uid")
        wait_until(lambda: not lab.claims(), "the claim to be reaped")
        # Timestamps have whole seconds.
        assert time.monotonic() - began > GRACE - 1
    lab.create(lab.service(auto=True))
    lab.check_at_rest()


def test_the_claim_of_a_create_over_quota_is_reaped(lab):
    lab.fleet.replace(f"--grace={GRACE}s")
    lab.pool(size=1)
    refuse_by_quota(lab)
    answer = lab.try_create(lab.service(auto=True))
    assert answer.status == 403 and "exceeded quota" in answer.message
    assert len(lab.claims()) == 1
    wait_until(lambda: not lab.claims(), "the claim to be reaped")
    lab.check_at_rest()


def test_the_claim_of_an_update_that_was_denied_is_reaped(lab):
    lab.fleet.replace(f"--grace={GRACE}s")
    lab.pool(size=1)
    with denied_by_label(lab):
        created = lab.create(lab.service())
        patch = {"metadata": {"annotations": {objects.AUTO: "auto"}, "labels": {DENY: "yes"}}}
        assert not lab.try_patch(created, patch).ok
        assert len(lab.claims()) == 1
        wait_until(lambda: not lab.claims(), "the claim to be reaped")
    assert not objects.external(lab.get(created))


def test_trying_again_uses_what_the_failed_create_had_reserved(lab):
    lab.pool(size=2)
    with denied_by_label(lab):
        for _ in range(10):
            denied(lab, "web")
        (claim,) = lab.claims()
    created = lab.create(lab.service("web", auto=True))
    assert objects.external(created) == [str(ipaddress.ip_interface(claim["spec"]["cidr"]).ip)]
    assert len(lab.claims()) == 1
    lab.check_at_rest()


def test_reservations_for_generated_names_are_reaped_too(lab):
    lab.fleet.replace(f"--grace={GRACE}s")
    lab.pool(size=8)
    with denied_by_label(lab):
        kept = lab.create(lab.service("web-", auto=True))
        for _ in range(3):
            denied(lab, "web-")
        assert len(lab.claims()) > 1
        wait_until(lambda: len(lab.claims()) == 1, lambda: f"one claim, not {lab.claims()}")
    lab.confirmed(objects.external(kept)[0], kept)
    lab.check_at_rest()


def test_creating_a_service_that_exists_does_it_no_harm(lab):
    lab.fleet.replace(f"--grace={GRACE}s")
    lab.pool(size=4)
    created = lab.create(lab.service("web", auto=True))
    lab.confirmed(objects.external(created)[0], created)
    for _ in range(3):
        assert lab.try_create(lab.service("web", auto=True)).status == 409
    _outlive_a_reservation(lab, created)


def test_creating_a_service_that_exists_with_other_wishes_does_it_no_harm(lab):
    lab.fleet.replace(f"--grace={GRACE}s")
    pool = lab.pool(size=4)
    first, last = pool["spec"]["ranges"][0].split("-")
    created = lab.create(lab.service("web", externalIPs=[first], ports=(80,)))
    lab.confirmed(first, created)
    assert lab.try_create(lab.service("web", externalIPs=[last])).status == 409
    assert lab.try_create(lab.service("web", externalIPs=[first], ports=(81,))).status == 409
    assert lab.try_create(lab.service("web", auto=True, type="NodePort")).status == 409
    _outlive_a_reservation(lab, created)


def _outlive_a_reservation(lab, service):
    """Sees that the Service keeps its claim while a younger one, of a denied create, is reaped."""
    before = lab.snapshot()
    address = objects.external(service)[0]
    with denied_by_label(lab):
        denied(lab, "canary")

        def reaped():
            return [c["spec"]["cidr"] for c in lab.claims()] == [f"{address}/32"]

        wait_until(reaped, lambda: f"the claim of {address} alone, not {lab.claims()}")
    assert objects.external(lab.get(service)) == [address]
    claim = lab.confirmed(address, service)
    kept = {c["metadata"]["name"]: c["metadata"]["uid"] for c in before.claims}
    assert claim["metadata"]["uid"] == kept[claim["metadata"]["name"]]
    lab.check_at_rest()
