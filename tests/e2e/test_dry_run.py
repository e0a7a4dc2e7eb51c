"""A dry run shows the address that the real run would give, and changes nothing."""

import json

import pytest

import invariants
import objects
from counting import settle
from harness import wait_until


@pytest.fixture
def quiet(lab):
    """A pool with one Service in it, and nothing left to be written about them."""
    lab.pool(size=4)
    created = lab.create(lab.service("web", auto=True))
    lab.claimed(objects.external(created)[0], created)
    lab.check_at_rest()
    return created


@pytest.fixture
def unchanged(lab, quiet):
    """Fails when anything differs from before the test."""
    before = lab.snapshot()
    yield
    # What a dry run had set off would be done before this.
    marker = settle(lab)
    found = [
        violation
        for violation in invariants.changes(before, lab.snapshot())
        if violation.objects[0] not in (invariants.name_of(marker), _claim_of(marker))
        and "pool" not in violation.text  # the marker counts
    ]
    assert not found, "\n".join(map(str, found))


def _claim_of(service):
    return objects.claim_name(objects.ingress(service)[0])


def _last_of(lab):
    (pool,) = [p for p in lab.snapshot().pools if p["metadata"]["name"].startswith(lab.name)]
    return pool["spec"]["addresses"][0].split("-")[1]


@pytest.mark.usefixtures("unchanged")
def test_create_shows_the_address_that_the_real_create_then_gets(lab):
    manifest = lab.service("dry", auto=True)
    shown = lab.kubectl(
        "create", "--dry-run=server", "-o", "json", "-f", "-", input=json.dumps(manifest)
    )
    preview = objects.external(json.loads(shown.stdout))
    assert len(preview) == 1 and lab.claim(preview[0]) is None and lab.get(manifest) is None
    assert objects.external(lab.create(manifest)) == preview
    lab.delete(manifest)
    lab.gone(preview[0])


@pytest.mark.usefixtures("unchanged")
def test_a_hundred_dry_runs_take_nothing(lab):
    for _ in range(100):
        assert len(objects.external(lab.create(lab.service(auto=True), dry_run=True))) == 1


@pytest.mark.usefixtures("unchanged")
def test_a_load_balancer_takes_nothing(lab):
    for asks in ({}, {objects.ADDRESSES: str(_last_of(lab))}):
        shown = lab.create(lab.load_balancer(annotations=asks), dry_run=True)
        assert not objects.external(shown) and not objects.ingress(shown)
    lab.create(lab.service(externalIPs=[_last_of(lab)]), dry_run=True)


@pytest.mark.usefixtures("unchanged")
def test_apply_shows_the_address(lab):
    for arguments in ((), ("--server-side",)):
        shown = lab.apply(
            lab.service("new", auto=True), "--dry-run=server", "-o", "json", *arguments
        )
        assert len(objects.external(json.loads(shown.stdout))) == 1


@pytest.mark.usefixtures("unchanged")
def test_a_dry_run_of_an_edit_frees_nothing(lab, quiet):
    path = objects.path_of(quiet) + "?dryRun=All"
    for patch in (
        {"metadata": {"annotations": {objects.AUTO: None}}},
        {"spec": {"externalIPs": None}},
        {"spec": {"ports": [{"port": 81}]}},
    ):
        assert lab.request("PATCH", path, patch).ok
    assert lab.request("DELETE", path).ok


def test_a_dry_run_of_what_is_refused_is_refused_alike(lab):
    lab.pool(size=1)
    created = lab.create(lab.service(auto=True))
    lab.claimed(objects.external(created)[0], created)
    # Both by a replica that knows the address as claimed, not as under way.
    lab.check_at_rest()
    dry, real = (
        lab.try_create(lab.service("web", auto=True), dry_run=dry) for dry in (True, False)
    )
    assert dry == real and real.status == 403


def test_dry_runs_of_pools_and_claims_are_judged_and_change_nothing(lab):
    pool = lab.pool(size=2)
    lab.check_at_rest()
    before = lab.snapshot()
    assert not lab.try_create(
        objects.pool(f"{lab.name}-overlap", *pool["spec"]["addresses"]), dry_run=True
    ).ok
    address = pool["spec"]["addresses"][0].split("-")[0]
    assert lab.try_create(objects.claim(address), dry_run=True).ok
    wait_until(lambda: not invariants.changes(before, lab.snapshot()), "nothing to have changed")
