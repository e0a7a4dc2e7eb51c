"""One address a family: all of what a Service requires, or nothing at all."""

import ipaddress

import pytest

import objects
from harness import SPACE, parallel, wait_until


def versions(addresses):
    return [ipaddress.ip_address(text).version for text in addresses]


def pools(lab, ipv4=None, ipv6=None):
    """Pools of that many addresses; none for None."""
    if ipv4:
        lab.pool(size=ipv4)
    if ipv6:
        lab.pool(size=ipv6, network=SPACE.ipv6(112))


@pytest.mark.parametrize("policy", ["RequireDualStack", "PreferDualStack"])
def test_a_dual_stack_service_gets_an_address_of_each_family(lab, policy):
    pools(lab, ipv4=4, ipv6=4)
    created = lab.create(lab.service(auto=True, ipFamilyPolicy=policy))
    assert versions(objects.external(created)) == [4, 6]
    for address in objects.external(created):
        lab.claimed(address, created)
    lab.check_at_rest()
    lab.delete(created)
    for address in objects.external(created):
        lab.gone(address)


def test_the_order_of_families_is_the_services_own(lab):
    pools(lab, ipv4=4, ipv6=4)
    families = {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"]}
    created = lab.create(lab.service(auto=True, **families))
    assert versions(objects.external(created)) == [6, 4]


def test_a_dual_stack_load_balancer_gets_both_into_the_ingress(lab):
    pools(lab, ipv4=4, ipv6=4)
    created = lab.create(lab.load_balancer(ipFamilyPolicy="RequireDualStack"))
    stored = lab.with_ingress(created, count=2)
    assert versions(objects.ingress(stored)) == [4, 6]
    lab.check_at_rest()


def test_a_single_stack_service_takes_the_family_it_names_or_the_clusters_own(lab):
    pools(lab, ipv4=4, ipv6=4)
    assert versions(objects.external(lab.create(lab.service(auto=True)))) == [4]
    created = lab.create(lab.service(auto=True, ipFamilies=["IPv6"]))
    (address,) = objects.external(created)
    assert versions([address]) == [6]
    # The name has all eight groups in full.
    assert lab.claimed(address, created)["metadata"]["name"].count("-") == 8
    lab.check_at_rest()


def test_a_required_address_that_is_missing_refuses_the_whole_and_leaves_nothing(lab):
    pools(lab, ipv4=2, ipv6=1)
    lab.create(lab.service(auto=True, ipFamilies=["IPv6"]))
    lab.check_at_rest()
    before = {claim["metadata"]["uid"] for claim in lab.claims()}
    answer = lab.try_create(lab.service(auto=True, ipFamilyPolicy="RequireDualStack"))
    assert answer.status == 403, answer
    assert "IPv6" in answer.message
    assert {claim["metadata"]["uid"] for claim in lab.claims()} == before


@pytest.mark.parametrize("there, missing", [("ipv4", "ipv6"), ("ipv6", "ipv4")])
def test_without_a_pool_of_a_required_family_the_whole_waits_for_it(lab, there, missing):
    pools(lab, **{there: 2})
    created = lab.create(lab.service(auto=True, ipFamilyPolicy="RequireDualStack"))
    assert "no pool gives" in lab.event(created, "AddressPending")
    assert not objects.external(lab.get(created)) and not lab.claims()
    pools(lab, **{missing: 2})
    wait_until(
        lambda: len(objects.external(lab.get(created))) == 2, lambda: f"two in {lab.get(created)}"
    )
    lab.check_at_rest()


def test_of_many_dual_stack_creates_as_many_succeed_as_the_smaller_pool_has(lab_of_two):
    lab = lab_of_two
    pools(lab, ipv4=20, ipv6=8)
    items = [lab.service(auto=True, ipFamilyPolicy="RequireDualStack") for _ in range(24)]
    answers = parallel(24, lambda n: lab.try_create_as_told(items[n], server=n % 2), range(24))
    created = [answer.body for answer in answers if answer.ok]
    assert len(created) == 8
    assert all(answer.status == 403 for answer in answers if not answer.ok)
    # Whoever was refused had taken its IPv4 address back before the answer.
    assert len(lab.claims()) == 16
    lab.check_at_rest()


@pytest.mark.parametrize("family", [4, 6])
def test_prefer_dual_stack_takes_what_there_is(lab, family):
    pools(lab, **{f"ipv{family}": 2})
    created = lab.create(lab.service(auto=True, ipFamilyPolicy="PreferDualStack"))
    assert versions(objects.external(created)) == [family]
    lab.check_at_rest()


def test_prefer_dual_stack_takes_the_family_that_has_room(lab):
    pools(lab, ipv4=2, ipv6=1)
    lab.create(lab.service(auto=True, ipFamilies=["IPv6"]))
    created = lab.create(lab.service(auto=True, ipFamilyPolicy="PreferDualStack"))
    assert versions(objects.external(created)) == [4]


def test_a_required_load_balancer_waits_whole(lab):
    pools(lab, ipv4=2)
    created = lab.create(lab.load_balancer(ipFamilyPolicy="RequireDualStack"))
    lab.event(created, "AddressPending")
    assert not objects.ingress(lab.get(created)) and not lab.claims()
    pools(lab, ipv6=2)
    stored = lab.with_ingress(created, count=2)
    assert versions(objects.ingress(stored)) == [4, 6]
    lab.check_at_rest()


def test_a_service_that_becomes_dual_stack_keeps_its_first_address(lab):
    pools(lab, ipv4=2, ipv6=2)
    created = lab.create(lab.service(auto=True))
    patched = lab.patch(created, {"spec": {"ipFamilyPolicy": "RequireDualStack"}})
    assert objects.external(patched)[:1] == objects.external(created)
    assert versions(objects.external(patched)) == [4, 6]
    lab.check_at_rest()


def test_one_address_a_family_can_be_asked_for_by_name(lab):
    ipv4, ipv6 = SPACE.ipv4(28), SPACE.ipv6(120)
    lab.pool(network=ipv4)
    lab.pool(network=ipv6)
    wanted = [str(ipv4[5]), str(ipv6[9])]
    asks = {objects.ADDRESSES: ", ".join(wanted)}
    created = lab.create(
        lab.service(auto=True, annotations=asks, ipFamilyPolicy="RequireDualStack")
    )
    assert objects.external(created) == wanted
    # The same address, however it is written, has one claim.
    written = ipv6[9].exploded.upper()
    answer = lab.try_create(lab.service(auto=True, annotations={objects.ADDRESSES: written}))
    assert answer.status == 403, answer


def test_an_ipv6_pool_of_any_size_costs_nothing(lab):
    network = ipaddress.ip_network("fd00:ffff::/32")
    pool = lab.pool(network=network)
    created = lab.create(lab.service(auto=True, ipFamilies=["IPv6"]))
    (address,) = objects.external(created)
    assert ipaddress.ip_address(address) in network
    status = lab.get(pool)["status"]["ipv6"]
    assert int(status["total"]) in (2**96, 2**96 - 1)
