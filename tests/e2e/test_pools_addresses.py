"""What a pool's addresses may be: both families, edits, the ends of networks, older forms."""

import json

import pytest

import objects
from harness import SPACE, wait_until
from test_explain import explain

DUAL = {"ipFamilyPolicy": "RequireDualStack"}


def create_warned(lab, item):
    """The pool, created as people do it, and what they were warned of."""
    lab.try_create(item, dry_run=True)
    done = lab.kubectl("create", "-f", "-", input=json.dumps(item), namespace=False)
    lab.try_create(item)  # which is there; its end is the lab's business from now on
    wait_until(lambda: lab.pool_ready(item), lambda: f"a ready pool, not {lab.get(item)}")
    return done.stderr


def counts(lab, pool, family):
    found = (lab.get(pool).get("status") or {}).get(family) or {}
    return {key: int(found[key]) for key in ("total", "used", "free") if key in found}


def wait_counts(lab, pool, family, total, used):
    expected = {"total": total, "used": used, "free": total - used}
    wait_until(
        lambda: counts(lab, pool, family) == expected,
        lambda: f"{family} {expected}, not {counts(lab, pool, family)}",
    )


def ready_pool(lab, *addresses, **spec):
    item = lab.create(objects.pool(f"{lab.name}-{lab.unique('p')}", *addresses, **spec))
    wait_until(lambda: lab.pool_ready(item), lambda: f"a ready pool, not {lab.get(item)}")
    return item


@pytest.mark.parametrize("mode", ["FirstMatch", "RoundRobin"])
def test_one_pool_gives_both_families(lab, mode):
    four, six = SPACE.ipv4(28), SPACE.ipv6(124)
    pool = ready_pool(lab, four, six, mode=mode)
    created = lab.create(lab.service(auto=True, **DUAL))
    assert objects.external(created) == [str(four[1]), str(six[0])]
    balancer = lab.with_ingress(lab.create(lab.load_balancer(**DUAL)), count=2)
    assert objects.ingress(balancer) == [str(four[2]), str(six[1])]
    assert {c["spec"]["pool"] for c in lab.claims()} == {pool["metadata"]["name"]}
    wait_counts(lab, pool, "ipv4", 14, 2)
    wait_counts(lab, pool, "ipv6", 16, 2)
    if mode == "RoundRobin":
        expected = [f"{four[3]}/32", f"{six[2]}/128"]
        wait_until(
            lambda: lab.get(pool)["status"].get("roundRobin") == expected,
            lambda: f"{expected} in {lab.get(pool)}",
        )
    lab.check_at_rest()


def test_a_pool_that_is_full_in_one_family_gives_the_other(lab):
    four, six = SPACE.ipv4(30), SPACE.ipv6(124)
    pool = ready_pool(lab, four[1], six)
    lab.create(lab.service(auto=True, ipFamilies=["IPv4"]))
    answer = lab.try_create(lab.service(auto=True, **DUAL))
    assert answer.status == 403, answer
    assert f"pool {pool['metadata']['name']}: 1 of 1 IPv4 addresses in use" in answer.message
    created = lab.create(lab.service(auto=True, ipFamilyPolicy="PreferDualStack"))
    assert objects.external(created) == [str(six[0])]
    lab.check_at_rest()
    exhausted = objects.condition(lab.get(pool), "Exhausted")
    assert exhausted["status"] == "True" and exhausted["message"] == "no IPv4 address is free"


def test_entries_come_and_go(lab):
    four, more, six = SPACE.ipv4(29), SPACE.ipv4(29), SPACE.ipv6(124)
    pool = ready_pool(lab, four)
    created = lab.create(lab.service(auto=True))
    lab.claimed(str(four[1]), created)
    waiting = lab.create(lab.load_balancer(ipFamilies=["IPv6"]))
    lab.event(waiting, "AddressPending")
    # More of the same, then the other family: whoever waits for that is served.
    lab.patch(pool, {"spec": {"addresses": [str(four), str(more)]}})
    wait_counts(lab, pool, "ipv4", 12, 1)
    lab.patch(pool, {"spec": {"addresses": [str(four), str(six)]}})
    assert objects.ingress(lab.with_ingress(waiting)) == [str(six[0])]
    lab.check_at_rest()
    for entries, address in (([six], four[1]), ([four, more], six[0])):
        answer = lab.try_patch(pool, {"spec": {"addresses": [str(entry) for entry in entries]}})
        assert answer.status == 422, answer
        (cause,) = answer.body["details"]["causes"]
        assert cause["field"] == "spec.addresses"
        assert f"{address} is in use (claim {objects.claim_name(address)})" in cause["message"]
    lab.delete(waiting)
    lab.gone(six[0])
    lab.patch(pool, {"spec": {"addresses": [str(four)]}})
    wait_until(lambda: counts(lab, pool, "ipv6") == {}, lambda: str(lab.get(pool)))
    lab.check_at_rest()


def test_an_overlap_names_the_entry(lab):
    four, six = SPACE.ipv4(28), SPACE.ipv6(124)
    pool = ready_pool(lab, four, six)
    others = [SPACE.ipv4(28), SPACE.ipv6(124)]
    for entry in (four[1], six[9]):
        answer = lab.try_create(objects.pool(lab.unique(lab.name), *others, entry))
        assert answer.status == 422, answer
        (cause,) = answer.body["details"]["causes"]
        assert cause["field"] == "spec.addresses[2]"
        assert f"{entry} is offered by pool {pool['metadata']['name']}" in cause["message"]
    # Of a network that gives neither end, another pool may have them.
    ready_pool(lab, four[0], four[15])
    lab.check_at_rest()


def test_the_ends_of_a_network_serve_where_they_are_wanted(lab):
    four = SPACE.ipv4(30)
    pool = ready_pool(lab, four)
    assert "it is the first or the last address" in explain(lab, str(four[3])).stdout
    answer = lab.try_create(lab.service(externalIPs=[str(four[3])]))
    assert answer.status == 403, answer
    lab.patch(pool, {"spec": {"useNetworkAndBroadcast": True}})
    wait_counts(lab, pool, "ipv4", 4, 0)
    created = [lab.create(lab.service(auto=True)) for _ in range(4)]
    assert sorted(objects.external(s)[0] for s in created) == sorted(map(str, four))
    lab.check_at_rest()
    answer = lab.try_patch(pool, {"spec": {"useNetworkAndBroadcast": False}})
    assert answer.status == 422, answer
    fields = {cause["field"] for cause in answer.body["details"]["causes"]}
    assert fields == {"spec.useNetworkAndBroadcast"}
    lab.delete_services()
    for address in four:
        lab.gone(address)
    lab.patch(pool, {"spec": {"useNetworkAndBroadcast": False}})
    wait_counts(lab, pool, "ipv4", 2, 0)
    # Ranges are taken to the letter.
    lab.patch(pool, {"spec": {"addresses": [objects.span(four, 0, 3)]}})
    wait_counts(lab, pool, "ipv4", 4, 0)
    lab.check_at_rest()


def test_what_the_older_version_gave_is_never_chosen(lab_of_two):
    lab = lab_of_two
    four = SPACE.ipv4(29)
    noted = {str(four[1]): f"{str(four[1]).replace('.', '-')}-29", str(four[3]): "", "web": "x"}
    item = objects.pool(f"{lab.name}-p", four, allocated=noted)
    warning = create_warned(lab, item)
    assert 'Warning: spec.allocated: "web" is no address and is ignored' in warning, warning
    wait_counts(lab, item, "ipv4", 6, 2)
    assert "stands in spec.allocated" in explain(lab, str(four[1])).stdout
    created = [lab.create(lab.service(auto=True)) for _ in range(2)]
    balancers = [lab.with_ingress(lab.create(lab.load_balancer())) for _ in range(2)]
    given = [objects.external(s)[0] for s in created] + [objects.ingress(s)[0] for s in balancers]
    assert sorted(given) == [str(four[n]) for n in (2, 4, 5, 6)]
    answer = lab.try_create(lab.service(auto=True))
    assert answer.status == 403 and "6 of 6 IPv4 addresses in use" in answer.message, answer
    waiting = lab.create(lab.load_balancer())
    lab.event(waiting, "AddressPending")
    # Who names one gets it, whichever way, and what is given back stays noted.
    listed = lab.create(lab.service(externalIPs=[str(four[1])]))
    lab.claimed(str(four[1]), listed)
    asks = {objects.ADDRESSES: str(four[3])}
    named = lab.create(lab.service(auto=True, annotations=asks))
    assert objects.external(named) == [str(four[3])]
    lab.check_at_rest()
    lab.delete(listed)
    lab.gone(four[1])
    wait_counts(lab, item, "ipv4", 6, 6)
    assert not objects.ingress(lab.get(waiting))
    # An entry that is taken out makes room for whoever waits.
    lab.patch(item, {"spec": {"allocated": {str(four[1]): None}}})
    assert objects.ingress(lab.with_ingress(waiting)) == [str(four[1])]
    lab.check_at_rest()


def test_the_older_form_is_warned_of_and_works(lab):
    network = SPACE.ipv4(28)
    entries = [str(network[1]), objects.span(network, 4, 5)]
    item = objects.pool(f"{lab.name}-p", cidr=str(network), ranges=entries)
    warning = create_warned(lab, item)
    assert "Warning: spec.cidr and spec.ranges are deprecated" in warning, warning
    assert f"write spec.addresses: {json.dumps(entries)}" in warning.replace('","', '", "'), warning
    created = [lab.create(lab.service(auto=True)) for _ in range(3)]
    assert [objects.external(s)[0] for s in created] == [str(network[n]) for n in (1, 4, 5)]
    wait_counts(lab, item, "ipv4", 3, 3)
    # Without ranges the whole network, less its ends; then the new form, in one step.
    lab.patch(item, {"spec": {"ranges": None}})
    wait_counts(lab, item, "ipv4", 14, 3)
    answer = lab.try_patch(item, {"spec": {"addresses": [str(network)]}})
    assert answer.status == 422 and "not together with spec.addresses" in answer.message, answer
    lab.patch(item, {"spec": {"addresses": [str(network)], "cidr": None}})
    wait_counts(lab, item, "ipv4", 14, 3)
    assert lab.pool_ready(item)
    lab.check_at_rest()
