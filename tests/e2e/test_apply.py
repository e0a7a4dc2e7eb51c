"""Edits and repeated applies leave a Service the address it has, and its claim alone."""

import json

import pytest

import invariants
import objects
from harness import wait_until

ARGUMENTS = {"client-side": (), "server-side": ("--server-side",)}


@pytest.fixture(params=["auto", "load-balancer"])
def manifest(request, lab):
    lab.pool(size=10)
    if request.param == "auto":
        return lab.service("web", auto=True)
    return lab.load_balancer("web")


def addresses(service):
    return objects.external(service) + objects.ingress(service)


def settled(lab, manifest):
    """The stored Service once nothing is left to be written."""
    stored = lab.get(manifest)
    if manifest["spec"].get("type") == "LoadBalancer":
        stored = lab.with_ingress(manifest)
    lab.claimed(addresses(stored)[0], stored)
    lab.check_at_rest()
    return lab.get(manifest)


@pytest.mark.parametrize("how", ARGUMENTS)
def test_applying_the_same_file_ten_times_changes_nothing(lab, manifest, how):
    lab.apply(manifest, *ARGUMENTS[how])
    stored = settled(lab, manifest)
    before = lab.snapshot()
    for _ in range(10):
        lab.apply(manifest, *ARGUMENTS[how])
    assert addresses(lab.get(manifest)) == addresses(stored)
    after = lab.snapshot()
    # Applied the first time by client-side apply, a Service has the annotation of kubectl already.
    assert not invariants.changes(before, after)
    assert len(lab.claims()) == 1


@pytest.mark.parametrize("how", ARGUMENTS)
def test_applying_a_changed_file_keeps_the_address(lab, manifest, how):
    lab.apply(manifest, *ARGUMENTS[how])
    stored = settled(lab, manifest)
    before = lab.snapshot()
    for port in range(81, 86):
        manifest["spec"]["ports"] = [{"name": "web", "port": port}]
        manifest["metadata"]["labels"] = {"round": str(port)}
        lab.apply(manifest, *ARGUMENTS[how])
        assert addresses(lab.get(manifest)) == addresses(stored)
    assert not invariants.moved(before, lab.snapshot())
    assert not invariants.freed(before, lab.snapshot())
    (claim,) = lab.claims()
    lab.check_at_rest()


def test_the_claim_follows_the_ports(lab, manifest):
    lab.create(manifest)
    stored = settled(lab, manifest)
    lab.patch(manifest, {"spec": {"ports": [{"name": "p", "port": 8080, "protocol": "UDP"}]}})
    wait_until(
        lambda: lab.claim(addresses(stored)[0])["spec"]["services"][0]["ports"] == ["UDP/8080"],
        lambda: f"the new port in {lab.claims()}",
    )


def test_replacing_a_service_by_its_manifest_keeps_the_address(lab, manifest):
    lab.create(manifest)
    stored = settled(lab, manifest)
    before = lab.snapshot()
    for _ in range(3):
        lab.kubectl("replace", "-f", "-", input=json.dumps(manifest))
        assert addresses(lab.get(manifest)) == addresses(stored)
    assert not invariants.freed(before, lab.snapshot())
    lab.check_at_rest()


def test_an_edit_that_drops_the_address_gets_it_back(lab):
    lab.pool(size=10)
    created = lab.create(lab.service(auto=True))
    before = lab.snapshot()
    for patch in ({"spec": {"externalIPs": None}}, {"spec": {"externalIPs": []}}):
        assert objects.external(lab.patch(created, patch)) == objects.external(created)
    edited = lab.get(created)
    del edited["spec"]["externalIPs"]
    assert objects.external(lab.replace(edited)) == objects.external(created)
    assert not invariants.moved(before, lab.snapshot())
    lab.check_at_rest()


def test_an_address_can_be_added_beside_the_one_that_was_given(lab):
    pool = lab.pool(size=10)
    created = lab.create(lab.service(auto=True))
    (given,) = objects.external(created)
    more = pool["spec"]["addresses"][0].split("-")[1]
    patched = lab.patch(created, {"spec": {"externalIPs": [given, more]}})
    assert objects.external(patched) == [given, more]
    lab.claimed(more, patched)
    lab.check_at_rest()


@pytest.mark.parametrize("value", ["203.0.113.1", "nonsense"])
def test_the_annotation_of_earlier_versions_says_nothing(lab, manifest, value):
    old = {"ipcontroller.ext/address": value}
    manifest["metadata"].setdefault("annotations", {}).update(old)
    lab.create(manifest)
    stored = settled(lab, manifest)
    assert objects.annotation(stored, "ipcontroller.ext/address") == value
    before = lab.snapshot()
    lab.patch(stored, {"metadata": {"annotations": {"ipcontroller.ext/address": None}}})
    assert addresses(lab.get(manifest)) == addresses(stored)
    assert not invariants.freed(before, lab.snapshot())
    lab.check_at_rest()


def test_deleting_a_service_does_not_move_the_others(lab):
    lab.pool(size=10)
    created = [lab.create(lab.service(auto=True)) for _ in range(5)]
    before = lab.snapshot()
    for service in created[::2]:
        lab.delete(service)
        lab.gone(objects.external(service)[0])
    new = lab.create(lab.service(auto=True))
    assert objects.external(new) == objects.external(created[0])
    assert not invariants.moved(before, lab.snapshot())
    lab.check_at_rest()
