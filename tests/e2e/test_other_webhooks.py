"""Other people's webhooks change a Service after ipwarden: what is stored is judged all the same."""

import ipaddress

import pytest

import objects
from counting import Writes
from harness import PATIENCE, SPACE, wait_until
from other_webhook import changes_after_us


def add(path, value):
    return {"op": "add", "path": path, "value": value}


def annotate(item, name, value):
    """Steps that add an annotation that isn't there yet."""
    have = item["metadata"].get("annotations")
    if have is None:
        return [add("/metadata/annotations", {name: value})]
    return [] if name in have else [add(f"/metadata/annotations/{name.replace('/', '~1')}", value)]


def is_of(address, pool):
    return objects.has_address(pool, address)


def test_a_pool_that_is_named_by_another_webhook_gives_the_address(lab):
    lab.pool(size=4)
    wanted = lab.pool(size=4, priority=100)
    name = wanted["metadata"]["name"]
    writes = Writes(lab.cluster)
    with changes_after_us(lab, lambda item: annotate(item, objects.POOL, name)):
        created = lab.create(lab.service(auto=True))
    (address,) = objects.external(created)
    assert is_of(address, wanted)
    lab.claimed(address, created)
    assert writes.of("ipclaims") == writes.of("ipclaims", "POST") == 1
    lab.check_at_rest()


def test_a_pool_that_another_webhook_changes_gives_the_address(lab):
    first, wanted = lab.pool(size=4), lab.pool(size=4)
    names = [pool["metadata"]["name"] for pool in (first, wanted)]

    def patch(item):
        path = "/metadata/annotations/" + objects.POOL.replace("/", "~1")
        return [{"op": "replace", "path": path, "value": names[1]}]

    with changes_after_us(lab, patch):
        asks = {objects.POOL: names[0]}
        created = lab.create(lab.service(auto=True, annotations=asks))
    (address,) = objects.external(created)
    assert is_of(address, wanted) and len(lab.claims()) == 1
    lab.claimed(address, created)
    lab.check_at_rest()


def test_a_wish_that_another_webhook_makes_is_granted_within_a_second(lab):
    lab.pool(size=4)
    with changes_after_us(lab, lambda item: annotate(item, objects.AUTO, "auto")):
        created = lab.create(lab.service())
        # Nobody reinvokes a webhook that wasn't called; so the leader does it.
        wait_until(
            lambda: objects.external(lab.get(created)),
            lambda: f"an address in {lab.get(created)}",
            PATIENCE / 30,
        )
    (address,) = objects.external(lab.get(created))
    entry = lab.claimed(address, created)["spec"]["services"][0]
    assert entry["given"] is True
    lab.event(created, "AddressAssigned")
    lab.check_at_rest()


def test_a_second_family_that_another_webhook_asks_for_is_there(lab):
    lab.pool(size=4)
    lab.pool(size=4, network=SPACE.ipv6(112))

    def patch(item):
        if item["spec"].get("ipFamilyPolicy") == "RequireDualStack":
            return []
        return [add("/spec/ipFamilyPolicy", "RequireDualStack")]

    with changes_after_us(lab, patch):
        created = lab.create(lab.service(auto=True))
    assert [ipaddress.ip_address(a).version for a in objects.external(created)] == [4, 6]
    for address in objects.external(created):
        lab.claimed(address, created)
    lab.check_at_rest()


@pytest.mark.parametrize("asks", [True, False], ids=["auto", "plain"])
def test_addresses_that_another_webhook_lists_are_claimed_or_refused(lab, asks):
    pool = lab.pool(size=4)
    first, last = pool["spec"]["addresses"][0].split("-")
    other = lab.add_namespace(lab.unique(lab.name))
    taken = lab.create(lab.service(externalIPs=[first], namespace=other))
    for address, status in ((first, 403), (last, 201), ("192.0.2.1", 403)):
        with changes_after_us(lab, lambda item, a=address: [add("/spec/externalIPs", [a])]):
            answer = lab.try_create(lab.service(auto=asks))
        # One that wants an address may get its own in place of what the other webhook lists.
        assert answer.status == status or (answer.ok and asks), answer
        if answer.ok:
            assert (last in objects.external(answer.body)) == (address == last)
            for listed in objects.external(answer.body):
                lab.claimed(listed, answer.body)
        else:
            assert address in answer.message
    assert objects.external(lab.get(taken)) == [first]
    # One for each of those that are stored, and one for the address given with the other's.
    assert {c["spec"]["services"][0]["uid"] for c in lab.claims()} == {
        service["metadata"]["uid"] for service in lab.snapshot().services
        if objects.external(service) and service["metadata"]["namespace"] in lab.namespaces
    }  # fmt: skip
    lab.check_at_rest()


def test_an_address_that_another_webhook_takes_away_is_put_back(lab):
    lab.pool(size=4)

    def patch(item):
        return [{"op": "remove", "path": "/spec/externalIPs"}] if objects.external(item) else []

    with changes_after_us(lab, patch) as others:
        answer = lab.try_create(lab.service(auto=True))
    assert others
    # It's asked again after us only if we change something once more; either end is sound.
    assert answer.ok, answer
    wait_until(
        lambda: len(objects.external(lab.get(answer.body))) == 1,
        lambda: f"an address in {lab.get(answer.body)}",
    )
    lab.check_at_rest()
