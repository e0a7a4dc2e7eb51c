"""Nobody takes an address by hand, neither another's nor one that was never given."""

import ipaddress
import json

import pytest

import objects
from harness import SPACE, wait_until


@pytest.fixture
def victim(lab):
    lab.pool(size=8)
    created = lab.create(lab.service("victim", auto=True))
    lab.claimed(objects.external(created)[0], created)
    return created


def status_with(*addresses):
    return {"status": {"loadBalancer": {"ingress": [{"ip": text} for text in addresses]}}}


def in_kubectl(lab, editor, service, *arguments):
    return lab.cluster.kubectl(
        "patch",
        "service",
        service["metadata"]["name"],
        "--namespace",
        service["metadata"]["namespace"],
        *arguments,
        kubeconfig=lab.cluster.user_kubeconfig(editor),
        check=False,
    )


def test_a_user_who_may_edit_services_gets_addresses_like_anyone(lab, editor, victim):
    created = lab.create(lab.service(auto=True), user=editor)
    assert objects.external(created) != objects.external(victim)
    balancer = lab.create(lab.load_balancer(), user=editor)
    lab.with_ingress(balancer)
    lab.check_at_rest()


def test_spec_external_ips_of_another_namespace_are_refused(lab, editor, victim):
    other = lab.add_namespace(lab.unique(lab.name))
    (address,) = objects.external(victim)
    thief = lab.service("thief", namespace=other, ports=(443,))
    answer = lab.try_create(
        {**thief, "spec": {**thief["spec"], "externalIPs": [address]}}, user=editor
    )
    assert answer.status == 403, answer
    assert address in answer.message and "victim" in answer.message
    lab.create(thief, user=editor)
    patch = json.dumps({"spec": {"externalIPs": [address]}})
    done = in_kubectl(lab, editor, thief, "--patch", patch)
    assert done.returncode == 1
    assert 'admission webhook "service-edits.ipwarden.ipcontroller.ext" denied' in done.stderr
    assert address in done.stderr
    assert not objects.external(lab.get(thief))
    lab.check_at_rest()


def test_spec_external_ips_of_a_neighbour_on_the_same_port_are_refused(lab, editor, victim):
    answer = lab.try_create(lab.service(externalIPs=objects.external(victim)), user=editor)
    assert answer.status == 403 and "victim" in answer.message
    lab.check_at_rest()


@pytest.mark.parametrize("what", ["another's", "a free one"])
def test_status_of_any_class_is_refused_for_what_the_service_does_not_hold(
    lab, editor, victim, what
):
    other = lab.add_namespace(lab.unique(lab.name))
    pool = lab.pool(size=4, autoAssign=False)
    free = pool["spec"]["addresses"][0].split("-")[0]
    address = objects.external(victim)[0] if what == "another's" else free
    for options in ({"loadBalancerClass": "example.com/other"}, {}):
        balancer = lab.create(lab.load_balancer(namespace=other, **options), user=editor)
        status_is_refused(lab, editor, balancer, address)
    lab.check_at_rest()


def test_status_of_another_class_may_have_what_is_in_no_pool(lab, editor):
    # Other load balancers have addresses of their own.
    balancer = lab.create(lab.load_balancer(loadBalancerClass="example.com/other"), user=editor)
    answer = lab.try_patch(balancer, status_with("192.0.2.1"), subresource="status", user=editor)
    assert answer.ok, answer
    assert objects.ingress(lab.get(balancer)) == ["192.0.2.1"] and not lab.claims()


@pytest.mark.parametrize("what", ["an excluded one", "a foreign one"])
def test_status_of_our_class_is_refused_for_what_no_pool_offers(lab, editor, what):
    pool = lab.pool(size=4)
    address = pool["spec"]["addresses"][0].split("-")[1]
    lab.patch(pool, {"spec": {"exclude": [address]}})
    wait_until(lambda: int(lab.get(pool)["status"]["ipv4"]["total"]) == 3, "the edit to be seen")
    balancer = lab.create(lab.load_balancer(), user=editor)
    lab.with_ingress(balancer)
    status_is_refused(lab, editor, balancer, "192.0.2.1" if what == "a foreign one" else address)
    lab.check_at_rest()


def status_is_refused(lab, editor, balancer, address):
    patch = json.dumps(status_with(address))
    done = in_kubectl(lab, editor, balancer, "--subresource=status", "--patch", patch)
    assert done.returncode == 1, done.stdout
    assert 'status.ipwarden.ipcontroller.ext" denied' in done.stderr
    assert address in done.stderr
    assert address not in objects.ingress(lab.get(balancer))


def test_status_with_its_own_address_may_be_written(lab, editor, victim):
    balancer = lab.create(lab.load_balancer())
    own = objects.ingress(lab.with_ingress(balancer))
    assert lab.try_patch(balancer, status_with(*own), subresource="status", user=editor).ok
    answer = lab.try_patch(
        balancer, status_with(*own, *objects.external(victim)), subresource="status", user=editor
    )
    assert answer.status == 403, answer
    lab.check_at_rest()


def test_a_status_that_was_emptied_by_hand_is_filled_again(lab, editor):
    lab.pool(size=1)
    balancer = lab.create(lab.load_balancer())
    own = objects.ingress(lab.with_ingress(balancer))
    assert lab.try_patch(balancer, status_with(), subresource="status", user=editor).ok
    assert objects.ingress(lab.with_ingress(balancer)) == own
    lab.check_at_rest()


@pytest.mark.parametrize("make", ["service", "load_balancer"])
def test_the_annotation_of_another_services_address_gives_nothing(lab, editor, victim, make):
    other = lab.add_namespace(lab.unique(lab.name))
    (address,) = objects.external(victim)
    forged = {"ipcontroller.ext/address": address}
    service = getattr(lab, make)(namespace=other, annotations=forged, ports=(443,))
    if make == "service":
        service["metadata"]["annotations"][objects.AUTO] = "auto"
    created = lab.create(service, user=editor)
    stored = lab.with_ingress(created) if make == "load_balancer" else created
    assert address not in objects.external(stored) + objects.ingress(stored)
    lab.claimed(address, victim)
    lab.check_at_rest()


def test_a_name_that_was_taken_over_gives_no_address(lab, editor, victim):
    (address,) = objects.external(victim)
    lab.create(lab.service("thief"), user=editor)
    patch = {
        "metadata": {"annotations": {objects.ADDRESSES: address, objects.AUTO: "auto"}},
        "spec": {"externalIPs": [address]},
    }
    answer = lab.try_patch(lab.service("thief"), patch, user=editor)
    assert answer.status == 403, answer
    lab.check_at_rest()


def test_a_service_that_is_going_takes_nothing_either(lab, editor, victim):
    # A finalizer keeps it for ever, and kube-proxy goes on with it.
    thief = lab.service("thief")
    thief["metadata"]["finalizers"] = ["example.com/waits"]
    lab.create(thief, user=editor)
    assert lab.request("DELETE", objects.path_of(thief), user=editor).ok
    patch = {"spec": {"externalIPs": objects.external(victim)}}
    answer = lab.try_patch(thief, patch, user=editor)
    assert answer.status == 403 and "victim" in answer.message, answer
    lab.check(rules=("I1", "I2"))
    lab.patch(thief, {"metadata": {"finalizers": None}})
    lab.check_at_rest()


def test_an_address_is_the_same_however_it_is_written(lab, editor):
    pool = lab.pool(size=4, network=SPACE.ipv6(120))
    first, last = pool["spec"]["addresses"][0].split("-")
    owner = lab.create(lab.service("owner", externalIPs=[first]))
    other = lab.add_namespace(lab.unique(lab.name))
    for text in (first.upper(), ipaddress.ip_address(first).exploded):
        thief = lab.service(namespace=other, externalIPs=[text], ports=(443,))
        answer = lab.try_create(thief, user=editor)
        assert answer.status in (403, 422), answer
        # Its owner may write it as it likes, if the API server does.
        answer = lab.try_patch(owner, {"spec": {"externalIPs": [text, last]}}, user=editor)
        assert answer.ok or answer.status == 422, answer
    assert len(lab.claims()) == (2 if objects.external(lab.get(owner)) != [first] else 1)
    lab.check_at_rest()
