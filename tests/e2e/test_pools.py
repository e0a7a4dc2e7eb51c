"""Pools and claims that people write: all mistakes in one answer, and no harm to what runs."""

import json

import pytest

import objects
from harness import SPACE, parallel, wait_until


def causes(answer):
    """{field: message} of a refusal's details."""
    found = (answer.body.get("details") or {}).get("causes") or ()
    return {cause.get("field"): cause.get("message", "") for cause in found}


def refused(lab, item):
    answer = lab.try_create(item)
    assert answer.status == 422, answer
    assert answer.body["reason"] == "Invalid"
    return answer


def test_all_mistakes_are_in_one_answer(lab):
    network = SPACE.ipv4(24)
    item = objects.pool(
        lab.unique(lab.name),
        "nonsense",
        "203.0.113.1-203.0.113.999",
        f"{network[9]}-{network[3]}",
        str(network[1]),
        exclude=["also nonsense"],
    )
    answer = refused(lab, item)
    assert set(causes(answer)) == {
        "spec.addresses[0]", "spec.addresses[1]", "spec.addresses[2]", "spec.exclude[0]",
    }  # fmt: skip
    for text in ("nonsense", "203.0.113.999", str(network[9]), "also nonsense"):
        assert text in answer.message
    done = lab.kubectl("create", "-f", "-", input=json.dumps(item), namespace=False, check=False)
    assert done.returncode == 1 and "nonsense" in done.stderr and "spec.exclude[0]" in done.stderr


@pytest.mark.parametrize(
    "cidr",
    ["", "nonsense", "198.18.0.0/33", "198.18.0.300/24", "198.18.0.1/24", "fd00::/129", "::/0/0"],
)
def test_a_malformed_cidr_is_refused(lab, cidr):
    item = objects.pool(lab.unique(lab.name), cidr)
    assert "spec.addresses[0]" in causes(refused(lab, item))
    item["spec"] = {"cidr": cidr}
    assert "spec.cidr" in causes(refused(lab, item))


@pytest.mark.parametrize("field", ["ranges", "exclude"])
def test_a_range_of_the_other_family_is_refused(lab, field):
    spec = {"cidr": str(SPACE.ipv4(24)), field: ["fd00::1-fd00::9"]}
    item = objects.pool(lab.unique(lab.name), **spec)
    assert f"spec.{field}[0]" in causes(refused(lab, item))


@pytest.mark.parametrize("field", ["addresses", "ranges"])
def test_ranges_that_overlap_one_another_are_refused(lab, field):
    network = SPACE.ipv4(24)
    spec = {field: [objects.span(network, 1, 9), objects.span(network, 9, 12)]}
    if field == "ranges":
        spec["cidr"] = str(network)
    item = objects.pool(lab.unique(lab.name), **spec)
    assert f"spec.{field}[1]" in causes(refused(lab, item))


def test_a_pool_that_overlaps_another_is_refused_by_its_name(lab):
    network = SPACE.ipv4(24)
    pool = lab.pool(network=network)
    half, around = list(network.subnets())[1], network.supernet()
    for cidr in (network, half, around):
        answer = lab.try_create(objects.pool(lab.unique(lab.name), cidr))
        assert answer.status in (403, 422), answer
        assert pool["metadata"]["name"] in answer.message
    second = lab.pool(network=SPACE.ipv4(24))
    answer = lab.try_patch(second, {"spec": {"addresses": [str(half)]}})
    assert not answer.ok and pool["metadata"]["name"] in answer.message
    # A pool doesn't overlap itself.
    lab.patch(pool, {"spec": {"priority": 1}})


def test_of_pools_that_overlap_and_come_at_once_one_gives_addresses(lab_of_two):
    lab = lab_of_two
    network = SPACE.ipv4(28)
    items = [objects.pool(lab.unique(lab.name), network) for _ in range(8)]
    answers = parallel(8, lambda n: lab.try_create(items[n], server=n % 2), range(8))
    made = [answer.body for answer in answers if answer.ok]
    assert made

    def states():
        stored = map(lab.get, made)
        return sorted(objects.condition(pool, "Ready").get("status", "") for pool in stored)

    expected = ["False"] * (len(made) - 1) + ["True"]
    wait_until(lambda: states() == expected, lambda: f"{expected}, not {states()}")
    ready = [p for p in map(lab.get, made) if objects.condition(p, "Ready")["status"] == "True"]
    assert ready[0]["metadata"]["creationTimestamp"] == min(
        pool["metadata"]["creationTimestamp"] for pool in made
    )
    created = [lab.create(lab.service(auto=True)) for _ in range(14)]
    assert len({objects.external(service)[0] for service in created}) == 14
    pools = {claim["spec"]["pool"] for claim in lab.claims()}
    assert pools == {ready[0]["metadata"]["name"]}


def test_an_address_in_use_cannot_be_taken_out_of_its_pool(lab):
    network = SPACE.ipv4(28)
    pool = lab.pool(size=8, network=network)
    created = [lab.create(lab.service(auto=True)) for _ in range(3)]
    last = objects.external(created[-1])[0]
    lab.claimed(last, created[-1])
    for patch in (
        {"addresses": [objects.span(network, 1, 2)]},
        {"addresses": [objects.span(network, 1, 2), objects.span(network, 4, 8)]},
        {"exclude": [last]},
        {"addresses": [str(SPACE.ipv4(28)), "fd00::/64"]},
        {"addresses": None, "cidr": str(network), "ranges": [objects.span(network, 4, 8)]},
    ):
        answer = lab.try_patch(pool, {"spec": patch})
        assert answer.status == 422, (patch, answer)
        claims = [objects.claim_name(objects.external(service)[0]) for service in created]
        assert any(claim in answer.message for claim in claims)
    # What nobody has may go, and more may come.
    lab.patch(pool, {"spec": {"addresses": [objects.span(network, 1, 3)]}})
    lab.patch(pool, {"spec": {"addresses": [str(network)], "exclude": [str(network[7])]}})
    lab.check_at_rest()
    assert int(lab.get(pool)["status"]["ipv4"]["total"]) == 13


def test_the_cidr_of_a_claim_never_changes(lab):
    pool = lab.pool(size=2)
    created = lab.create(lab.service(auto=True))
    (address,) = objects.external(created)
    claim = lab.claimed(address, created)
    other = pool["spec"]["addresses"][0].split("-")[1]
    answer = lab.try_patch(claim, {"spec": {"cidr": f"{other}/32"}})
    assert answer.status == 422 and "immutable" in answer.message
    lab.check_at_rest()


@pytest.mark.parametrize("cidr", ["nonsense", "", "198.18.0.1", "198.18.0.1/33", "198.18.0.0/24"])
def test_a_claim_by_hand_of_something_that_is_no_address_is_refused(lab, cidr):
    item = objects.claim("198.18.0.1")
    item["spec"]["cidr"] = cidr
    answer = lab.try_create(item)
    if answer.ok:
        lab.delete(item)
    assert answer.status == 422, answer


def test_fields_that_do_not_exist_are_pointed_out(lab):
    item = objects.pool(lab.unique(lab.name), SPACE.ipv4(28), colour="blue")
    done = lab.kubectl("create", "-f", "-", input=json.dumps(item), namespace=False, check=False)
    assert done.returncode == 1 and "spec.colour" in done.stderr


def test_the_status_counts_what_is_there(lab):
    network = SPACE.ipv4(28)
    pool = lab.pool(network=network, exclude=[str(network[3])])
    held = str(network[9])
    lab.create(objects.claim(held))
    services = [lab.create(lab.service(auto=True)) for _ in range(3)]

    def counts():
        status = lab.get(pool)["status"]["ipv4"]
        return {key: int(status[key]) for key in ("total", "used", "free")}

    wait_until(lambda: counts() == {"total": 13, "used": 4, "free": 9}, lambda: str(counts()))
    lab.delete(services[0])
    wait_until(lambda: counts() == {"total": 13, "used": 3, "free": 10}, lambda: str(counts()))
    assert lab.get(pool)["status"]["observedGeneration"] == 1
    lab.check_at_rest()
    lab.delete(objects.claim(held))


def test_a_pool_of_ipv6_counts_in_its_own_family(lab):
    pool = lab.pool(size=10, network=SPACE.ipv6(112))
    lab.create(lab.service(auto=True, ipFamilies=["IPv6"]))
    lab.check_at_rest()
    assert int(lab.get(pool)["status"]["ipv6"]["used"]) == 1
    assert "ipv4" not in lab.get(pool)["status"]
