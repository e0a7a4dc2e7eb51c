"""Creates that fail after they were admitted can't hold more than a few addresses."""

import time

import pytest

import objects
from harness import wait_until
from policies import refuse_by_quota

MOST = 8
# Seconds that a claim may wait for its Service before it counts.
FRESH = 5
GRACE = 14


@pytest.fixture
def junk(lab):
    """A namespace in which every create fails last of all, and a pool with room for more."""
    lab.fleet.replace(f"--unstored-most={MOST}", f"--grace={GRACE}s")
    lab.leaves_unstored = True
    lab.pool(size=40)
    lab.other = lab.add_namespace(lab.unique(lab.name))
    refuse_by_quota(lab)
    return lab


def fail(lab, **options):
    answer = lab.try_create(lab.service(**options))
    assert not answer.ok
    return answer


def leave(lab, count):
    """Leaves that many claims without their Service, and waits until they count."""
    before = len(lab.claims())
    for _ in range(count):
        answer = fail(lab, auto=True)
        assert answer.status == 403 and "exceeded quota" in answer.message, answer
    assert len(lab.claims()) == before + count
    since = time.monotonic()
    wait_until(lambda: time.monotonic() - since > FRESH + 0.5, "the claims to count", FRESH + 5)


def is_junk_refusal(answer):
    return (
        answer.status == 429
        and answer.body["reason"] == "TooManyRequests"
        and answer.body["details"]["retryAfterSeconds"] == 1
        and "never stored" in answer.message
    )


def refusals(lab):
    return lab.fleet.count("ipwarden_junk_refusals_total")


def test_a_namespace_whose_creates_all_fail_is_refused_more_addresses(junk):
    lab = junk
    leave(lab, MOST + 1)
    before = refusals(lab)
    for _ in range(10):
        answer = fail(lab, auto=True)
        assert is_junk_refusal(answer), answer
        assert lab.namespace in answer.message
    assert len(lab.claims()) == MOST + 1
    assert refusals(lab) == before + 10
    # Also what it names by hand; a Service without addresses is none of our business.
    answer = fail(lab, externalIPs=[str(_last_of(lab))])
    assert is_junk_refusal(answer), answer
    assert "exceeded quota" in fail(lab).message
    # Others go on.
    created = lab.create(lab.service(auto=True, namespace=lab.other))
    lab.claimed(objects.external(created)[0], created)
    lab.with_ingress(lab.create(lab.load_balancer(namespace=lab.other)))
    # And so does it itself when the grace is over.
    wait_until(lambda: len(lab.claims()) == 2, lambda: f"two claims, not {lab.claims()}")
    assert "exceeded quota" in fail(lab, auto=True).message


def _last_of(lab):
    (pool,) = [p for p in lab.snapshot().pools if p["metadata"]["name"].startswith(lab.name)]
    return pool["spec"]["addresses"][0].split("-")[1]


def test_as_many_as_are_allowed_hinder_nobody(junk):
    lab = junk
    leave(lab, MOST)
    assert "exceeded quota" in fail(lab, auto=True).message
    assert refusals(lab) == 0


def test_what_a_namespace_has_stored_does_not_count(junk):
    lab = junk
    lab.request("DELETE", f"/api/v1/namespaces/{lab.namespace}/resourcequotas/none")
    probe = lab.service("probe")
    wait_until(lambda: lab.try_create(probe, dry_run=True).ok, "the quota to be lifted")
    kept = [lab.create(lab.service(auto=True)) for _ in range(2 * MOST)]
    since = time.monotonic()
    wait_until(lambda: time.monotonic() - since > FRESH + 0.5, "them to count", FRESH + 5)
    assert lab.fleet.count("ipwarden_claims", state="unstored") == 0
    assert lab.fleet.count("ipwarden_claims", state="held") >= len(kept)
    lab.create(lab.service(auto=True))
    assert refusals(lab) == 0


def test_edits_of_what_is_stored_go_on(junk):
    lab = junk
    lab.request("DELETE", f"/api/v1/namespaces/{lab.namespace}/resourcequotas/none")
    probe = lab.service("probe")
    wait_until(lambda: lab.try_create(probe, dry_run=True).ok, "the quota to be lifted")
    kept = lab.create(lab.service(auto=True))
    refuse_by_quota(lab)
    leave(lab, MOST + 1)
    assert is_junk_refusal(fail(lab, auto=True))
    patched = lab.patch(kept, {"spec": {"ports": [{"name": "p", "port": 81}]}})
    assert objects.external(patched) == objects.external(kept)


def test_claims_are_counted_by_what_becomes_of_them(junk):
    lab = junk

    def counted():
        states = ("held", "unstored", "hold")
        return [lab.fleet.count("ipwarden_claims", state=state) for state in states]

    assert counted() == [0, 0, 0], f"other tests left some: {lab.snapshot().claims}"
    lab.create(lab.service(auto=True, namespace=lab.other))
    lab.create(objects.claim("192.0.2.99"))
    leave(lab, 3)
    wait_until(lambda: counted() == [1, 3, 1], lambda: f"[1, 3, 1], not {counted()}")
    wait_until(lambda: counted() == [1, 0, 1], lambda: f"[1, 0, 1], not {counted()}")
    lab.delete(objects.claim("192.0.2.99"))


def test_without_a_limit_there_is_none(junk):
    lab = junk
    lab.fleet.replace("--unstored-most=0", f"--grace={GRACE}s")
    leave(lab, 2 * MOST)
    assert "exceeded quota" in fail(lab, auto=True).message
    assert refusals(lab) == 0
