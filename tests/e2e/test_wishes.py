"""What a Service asks for and says about it: followed where it can be, refused or warned of where not."""

import json

import pytest

import objects
from harness import SPACE, wait_until


def ends(pool):
    return pool["spec"]["addresses"][0].split("-")


def name(pool):
    return pool["metadata"]["name"]


def shows(lab, service, *addresses):
    """Waits until the Service shows these addresses, and the claims that name it are theirs alone."""

    def look():
        stored = lab.get(service)
        return set(objects.ingress(stored)) == set(addresses) and {
            claim["spec"]["cidr"].split("/")[0] for claim in lab.claims_of(service)
        } == set(addresses)

    wait_until(look, lambda: f"{addresses} in {lab.get(service)['status']}, {lab.claims()}")


def warnings(lab, service, *arguments):
    """What kubectl prints as warnings when it applies the Service."""
    done = lab.apply(service, "--dry-run=server", *arguments, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


# --- an address by name ---


@pytest.mark.parametrize("way", ["loadBalancerIP", "annotation"])
def test_a_running_load_balancer_follows_the_name_and_keeps_its_address_without(lab, way):
    def naming(address):
        if way == "loadBalancerIP":
            return {"spec": {"loadBalancerIP": address}}
        return {"metadata": {"annotations": {objects.ADDRESSES: address}}}

    field = "spec.loadBalancerIP" if way == "loadBalancerIP" else objects.ADDRESSES
    first, last = ends(lab.pool(size=6))
    balancer = lab.create(lab.load_balancer())
    other = lab.create(lab.load_balancer())
    shows(lab, balancer, first)
    taken = objects.ingress(lab.with_ingress(other))[0]
    lab.patch(balancer, naming(last))
    shows(lab, balancer, last)
    lab.patch(balancer, naming(None))
    shows(lab, balancer, last)
    # What can't be had is refused, in the words of the user, and changes nothing.
    answer = lab.try_patch(balancer, naming(taken))
    assert answer.status == 403 and other["metadata"]["name"] in answer.message, answer
    assert field in answer.message and "shared" not in answer.message
    answer = lab.try_patch(balancer, naming("192.0.2.77"))
    assert answer.status == 403 and "in no pool" in answer.message, answer
    shows(lab, balancer, last)
    lab.check_at_rest()


def test_a_load_balancer_that_names_an_address_in_use_waits_for_it(lab):
    first, _ = ends(lab.pool(size=4))
    old = lab.create(lab.load_balancer(loadBalancerIP=first))
    shows(lab, old, first)
    new = lab.create(lab.load_balancer(loadBalancerIP=first))
    assert old["metadata"]["name"] in lab.event(new, "AddressPending")
    assert objects.condition(lab.get(new), objects.CONDITION)["reason"] == "NotAvailable"
    assert not objects.ingress(lab.get(new))
    lab.delete(old)
    shows(lab, new, first)


def test_an_address_of_a_family_that_the_service_lacks_is_refused(lab):
    lab.pool(size=4)
    _, six = ends(lab.pool(size=4, network=SPACE.ipv6()))
    single = {"ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}
    for service in (
        lab.load_balancer(loadBalancerIP=six, **single),
        lab.load_balancer(annotations={objects.ADDRESSES: six}),
        lab.service(auto=True, annotations={objects.ADDRESSES: six}, **single),
        lab.service(auto=True, annotations={objects.ADDRESSES: six}),
    ):
        answer = lab.try_create(service)
        assert answer.status == 403 and "spec.ipFamilies" in answer.message, answer
    assert not lab.claims()
    # One that is listed by hand harms nobody, and comes to nothing.
    assert "nothing is forwarded from" in warnings(lab, lab.service(externalIPs=[six], **single))


def test_one_address_a_family_is_given(lab):
    first, last = ends(lab.pool(size=4))
    both = {objects.ADDRESSES: f"{first},{last}"}
    for service in (
        lab.load_balancer(annotations=both),
        lab.service(auto=True, annotations=both),
    ):
        answer = lab.try_create(service)
        assert answer.status == 403 and "both IPv4 addresses" in answer.message, answer
    assert objects.external(lab.create(lab.service(externalIPs=[first, last]))) == [first, last]


def test_dual_stack_back_to_single_gives_the_second_address_back(lab):
    lab.pool(size=4)
    lab.pool(size=4, network=SPACE.ipv6())
    balancer = lab.create(lab.load_balancer())
    (four,) = objects.ingress(lab.with_ingress(balancer))
    lab.patch(balancer, {"spec": {"ipFamilyPolicy": "RequireDualStack"}})
    (_, six) = objects.ingress(lab.with_ingress(balancer, 2))
    lab.patch(balancer, {"spec": {"ipFamilyPolicy": "SingleStack"}})
    shows(lab, balancer, four)
    lab.gone(six)


def test_external_ip_taken_from_a_load_balancer_leaves_only_its_status(lab):
    lab.pool(size=4)
    balancer = lab.create(lab.load_balancer(annotations={objects.AUTO: "auto"}))
    (address,) = objects.external(balancer)
    shows(lab, balancer, address)
    patched = lab.patch(balancer, {"metadata": {"annotations": {objects.AUTO: None}}})
    assert not objects.external(patched)
    shows(lab, balancer, address)
    lab.check_at_rest()


# --- the pool by name ---


def test_another_pool_by_name_moves_the_service_and_says_so(lab):
    blue, red = lab.pool(size=4), lab.pool(size=4)
    moved = {"metadata": {"annotations": {objects.POOL: name(red)}}}
    balancer = lab.create(lab.load_balancer(annotations={objects.POOL: name(blue)}))
    auto = lab.create(lab.service(auto=True, annotations={objects.POOL: name(blue)}))
    shows(lab, balancer, ends(blue)[0])
    (before,) = objects.external(auto)
    done = lab.kubectl(
        "annotate", "service", balancer["metadata"]["name"], f"{objects.POOL}={name(red)}",
        "--overwrite",
    )  # fmt: skip
    assert "gives up" in done.stderr and ends(blue)[0] in done.stderr
    shows(lab, balancer, ends(red)[0])
    (after,) = objects.external(lab.patch(auto, moved))
    assert after.rsplit(".", 1)[0] == ends(red)[0].rsplit(".", 1)[0]
    lab.claimed(after, auto)
    lab.gone(before)
    # A pool that gives nothing moves nobody.
    patched = lab.patch(auto, {"metadata": {"annotations": {objects.POOL: "not-there"}}})
    assert objects.external(patched) == [after]
    lab.check_at_rest()


def test_a_pool_and_an_address_of_another_contradict_each_other(lab):
    blue, red = lab.pool(size=4), lab.pool(size=4)
    both = {objects.POOL: name(red), objects.ADDRESSES: ends(blue)[0]}
    for service in (
        lab.load_balancer(annotations=both),
        lab.service(auto=True, annotations=both),
    ):
        answer = lab.try_create(service)
        assert answer.status == 403, answer
        assert name(red) in answer.message and name(blue) in answer.message
    balancer = lab.create(lab.load_balancer(annotations={objects.ADDRESSES: ends(blue)[0]}))
    shows(lab, balancer, ends(blue)[0])
    answer = lab.try_patch(balancer, {"metadata": {"annotations": {objects.POOL: name(red)}}})
    assert answer.status == 403, answer
    shows(lab, balancer, ends(blue)[0])


# --- wishes that come to nothing ---


@pytest.mark.parametrize(
    "options, said",
    [
        ({"annotations": {objects.AUTO: "true"}}, "the only value is auto"),
        ({"annotations": {objects.AUTO: "Auto"}}, "the only value is auto"),
        ({"auto": True, "clusterIP": "None"}, "headless"),
        ({"auto": True, "type": "ExternalName", "externalName": "a.example"}, "ExternalName"),
        ({"auto": True, "annotations": {objects.POOL: "not-there"}}, "no pool called not-there"),
    ],
)
def test_a_wish_that_comes_to_nothing_is_warned_of(lab, options, said):
    service = lab.service(**options)
    assert said in warnings(lab, service)
    assert not objects.external(lab.create(service))
    assert not lab.claims()


def test_two_names_are_warned_of(lab):
    first, last = ends(lab.pool(size=4))
    service = lab.load_balancer(annotations={objects.ADDRESSES: first}, loadBalancerIP=last)
    assert "spec.loadBalancerIP has no effect" in warnings(lab, service)


def test_in_a_cluster_of_one_family_a_preference_for_two_costs_no_second_address(lab):
    lab.pool(size=4)
    lab.pool(size=4, network=SPACE.ipv6())
    # What the API server stores is what counts: here, as if the cluster had one family.
    service = lab.create(
        lab.service(ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack", auto=True)
    )
    assert len(objects.external(service)) == 1
    lab.check_at_rest()


# --- the order of creation ---


@pytest.mark.parametrize("named", [False, True])
def test_a_wish_before_the_pool_is_served_when_the_pool_comes(lab, named):
    network = SPACE.ipv4(24)
    pool = f"{lab.name}-late"
    # Nobody else's pool serves it.
    annotations = {objects.POOL: pool}
    service = lab.service(auto=True, annotations=annotations)
    assert "no pool called" in warnings(lab, service)
    created = lab.create(service)
    assert not objects.external(created)
    lab.pool(size=4, network=network, name=pool, autoAssign=False)
    wait_until(lambda: objects.external(lab.get(created)), lambda: f"one in {lab.get(created)}")
    (address,) = objects.external(lab.get(created))
    lab.claimed(address, created)
    # It was given: it goes with the wish.
    if named:
        lab.patch(created, {"metadata": {"annotations": {objects.AUTO: None}}})
        lab.gone(address)


def test_a_full_pool_still_refuses(lab):
    pool = lab.pool(size=1, autoAssign=False)
    annotations = {objects.POOL: name(pool)}
    lab.create(lab.service(auto=True, annotations=annotations))
    answer = lab.try_create(lab.service(auto=True, annotations=annotations))
    assert answer.status == 403 and "1 of 1" in answer.message, answer


# --- left over, or listed on purpose ---


@pytest.mark.parametrize("how", ["client", "server", "replace"])
def test_an_address_that_a_manifest_lists_stays_when_the_wish_goes(lab, how):
    lab.pool(size=4)
    service = lab.service(auto=True)
    side = ["--server-side"] if how == "server" else []
    lab.apply(service, *side)
    (address,) = objects.external(lab.get(service))
    pinned = json.loads(json.dumps(service))
    del pinned["metadata"]["annotations"]
    pinned["spec"]["externalIPs"] = [address]
    if how == "replace":
        lab.kubectl("replace", "-f", "-", input=json.dumps(pinned))
    else:
        lab.apply(pinned, *side)
    stored = lab.get(service)
    assert objects.external(stored) == [address]
    (entry,) = lab.claimed(address, stored)["spec"]["services"]
    assert not entry["given"]
    # It stays for as long as it is listed.
    lab.patch(stored, {"metadata": {"labels": {"a": "b"}}})
    lab.check_at_rest()
    assert objects.external(lab.get(service)) == [address]
    lab.patch(stored, {"spec": {"externalIPs": None}})
    lab.gone(address)


def test_what_a_withdrawn_wish_takes_out_is_said(lab):
    lab.pool(size=4)
    created = lab.create(lab.service(auto=True))
    (address,) = objects.external(created)
    done = lab.kubectl("annotate", "service", created["metadata"]["name"], f"{objects.AUTO}-")
    assert f"{address} is taken out and freed" in done.stderr
    lab.gone(address)


def test_a_load_balancer_that_becomes_plain_keeps_the_address_that_it_lists(lab):
    lab.pool(size=4)
    balancer = lab.create(lab.load_balancer())
    (address,) = objects.ingress(lab.with_ingress(balancer))
    lab.patch(
        balancer,
        {
            "spec": {
                "type": "ClusterIP",
                "externalIPs": [address],
                "allocateLoadBalancerNodePorts": None,
            }
        },
    )
    stored = lab.get(balancer)
    assert objects.external(stored) == [address]
    (entry,) = lab.claimed(address, stored)["spec"]["services"]
    assert not entry["given"]
    # Nobody else is given it.
    for _ in range(3):
        lab.create(lab.load_balancer())
    lab.check_at_rest()


def test_an_address_that_was_given_late_can_be_listed_by_server_side_apply(lab):
    lab.pool(size=1, onExhausted="Pending")
    first = lab.create(lab.service(auto=True))
    waiting = lab.service(auto=True)
    lab.apply(waiting, "--server-side")
    assert not objects.external(lab.get(waiting))
    lab.delete(first)
    wait_until(lambda: objects.external(lab.get(waiting)), lambda: f"one in {lab.get(waiting)}")
    (address,) = objects.external(lab.get(waiting))
    waiting["spec"]["externalIPs"] = [address]
    lab.apply(waiting, "--server-side")
    assert objects.external(lab.get(waiting)) == [address]


# --- what others wrote into the status ---


def set_ingress(lab, service, *entries):
    answer = lab.try_patch(
        service, {"status": {"loadBalancer": {"ingress": list(entries)}}}, subresource="status"
    )
    assert answer.status == 200, answer


def test_a_host_name_in_the_status_is_left_alone(lab):
    lab.fleet.stop()
    balancer = lab.create(lab.load_balancer())
    set_ingress(lab, balancer, {"hostname": "lb.example.com"})
    lab.fleet.start()
    lab.pool(size=4)
    wait_until(
        lambda: objects.condition(lab.get(balancer), objects.CONDITION).get("reason")
        == "ForeignStatus",
        lambda: f"a condition in {lab.get(balancer)}",
    )
    assert "host name" in lab.event(balancer, "AddressPending")
    assert lab.get(balancer)["status"]["loadBalancer"]["ingress"] == [
        {"hostname": "lb.example.com"}
    ]
    assert not lab.claims_of(balancer)
    set_ingress(lab, balancer)
    lab.with_ingress(balancer)
    assert objects.condition(lab.get(balancer), objects.CONDITION)["status"] == "True"


def test_host_names_and_modes_beside_an_address_are_carried(lab):
    first, last = ends(lab.pool(size=4))
    balancer = lab.create(lab.load_balancer())
    shows(lab, balancer, first)
    set_ingress(lab, balancer, {"ip": first, "ipMode": "Proxy"}, {"hostname": "lb.example.com"})
    # The other family is added: what is there stays as it is.
    lab.pool(size=4, network=SPACE.ipv6())
    lab.patch(balancer, {"spec": {"ipFamilyPolicy": "RequireDualStack"}})
    stored = lab.with_ingress(balancer, 2)
    entries = stored["status"]["loadBalancer"]["ingress"]
    assert entries[0] == {"ip": first, "ipMode": "Proxy"}
    assert entries[1]["ipMode"] == "VIP" and entries[2] == {"hostname": "lb.example.com"}
