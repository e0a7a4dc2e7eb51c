"""Whether an address was given or listed by hand: the claim says so, and an edit heeds it."""

import objects
from harness import wait_until


def given(lab, service):
    """{address: whether it was given} by the claims of a Service."""
    found = {}
    for address in objects.external(lab.get(service)):
        claim = lab.claimed(address, lab.get(service))
        (entry,) = claim["spec"]["services"]
        found[address] = entry["given"]
    return found


def ends(pool):
    return pool["spec"]["addresses"][0].split("-")


def test_what_was_given_is_taken_out_by_a_replica_that_did_not_give_it(lab):
    lab.pool(size=4)
    created = lab.create(lab.service(auto=True))
    (address,) = objects.external(created)
    assert given(lab, created) == {address: True}
    lab.fleet.stop()
    lab.fleet.start()
    assert objects.external(lab.patch(created, {"spec": {"externalIPs": None}})) == [address]
    patched = lab.patch(created, {"metadata": {"annotations": {objects.AUTO: None}}})
    assert not objects.external(patched)
    lab.gone(address)
    lab.check_at_rest()


def test_what_was_listed_by_hand_stays_when_the_wish_goes(lab):
    _, last = ends(lab.pool(size=4))
    created = lab.create(lab.service(externalIPs=[last]))
    patched = lab.patch(created, {"metadata": {"annotations": {objects.AUTO: "auto"}}})
    assert last in objects.external(patched)
    lab.fleet.stop()
    lab.fleet.start()
    patched = lab.patch(created, {"metadata": {"annotations": {objects.AUTO: None}}})
    assert objects.external(patched) == [last]
    assert given(lab, created) == {last: False}
    lab.check_at_rest()


def test_what_an_edit_lists_stays_whatever_else_it_takes_away(lab):
    _, last = ends(lab.pool(size=4))
    created = lab.create(lab.service(auto=True))
    (address,) = objects.external(created)
    edit = {"metadata": {"annotations": {objects.AUTO: None}}, "spec": {"externalIPs": [last]}}
    assert objects.external(lab.patch(created, edit)) == [last]
    assert given(lab, created) == {last: False}
    lab.gone(address)
    lab.check_at_rest()


def test_an_address_listed_beside_the_given_one_is_by_hand(lab):
    _, last = ends(lab.pool(size=4))
    created = lab.create(lab.service(auto=True))
    (address,) = objects.external(created)
    patched = lab.patch(created, {"spec": {"externalIPs": [last]}})
    # What was given is put back; the other one is the user's.
    assert sorted(objects.external(patched)) == sorted([address, last])
    assert given(lab, created) == {address: True, last: False}
    patched = lab.patch(created, {"spec": {"externalIPs": [address]}})
    assert objects.external(patched) == [address]
    lab.gone(last)
    lab.check_at_rest()


def test_what_is_assigned_late_was_given(lab):
    lab.pool(size=1, onExhausted="Pending")
    first = lab.create(lab.service(auto=True))
    second = lab.create(lab.service(auto=True))
    assert not objects.external(second)
    lab.delete(first)
    wait_until(lambda: objects.external(lab.get(second)), lambda: f"one in {lab.get(second)}")
    assert list(given(lab, second).values()) == [True]
    patched = lab.patch(second, {"metadata": {"annotations": {objects.AUTO: None}}})
    assert not objects.external(patched)


def test_an_edit_that_adds_an_address_again_is_younger_than_its_claim_was(lab):
    first, _ = ends(lab.pool(size=2))
    created = lab.create(lab.service(externalIPs=[first]))
    (before,) = lab.claimed(first, created)["spec"]["services"]
    lab.patch(created, {"spec": {"externalIPs": None}})
    answer = lab.try_patch(created, {"spec": {"externalIPs": [first]}})
    assert answer.ok, answer
    (after,) = lab.claimed(first, created)["spec"]["services"]
    assert after["since"] > before["since"]
    lab.check_at_rest()
