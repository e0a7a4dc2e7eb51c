"""An address comes back when its Service goes or stops wanting it, and not before."""

import statistics

import objects
from harness import wait_until
from replicas import timed

ROUNDS = 200


def test_deleting_a_service_frees_its_address_for_the_next_create(lab):
    lab.pool(size=1)
    service = lab.create(lab.service(auto=True))
    seconds, addresses = [], set(objects.external(service))
    for _ in range(ROUNDS):
        lab.delete(service)
        took, answer = timed(lambda: _create_once_free(lab))
        seconds.append(took)
        service = answer.body
        addresses.update(objects.external(service))
    cuts = statistics.quantiles(seconds, n=100)
    print(f"deleted → created again: p50 {cuts[49] * 1e3:.1f} ms, p99 {cuts[98] * 1e3:.1f} ms")
    assert len(addresses) == 1
    assert cuts[98] < 5
    lab.check_at_rest()


def _create_once_free(lab):
    """Creates a Service, again and again while it is refused for want of an address."""
    service = lab.service(auto=True)

    def attempt():
        answer = lab.try_create(service)
        assert answer.ok or (answer.status == 403 and "1 of 1" in answer.message), answer
        return answer if answer.ok else None

    return wait_until(attempt, "the only address to be free")


def test_removing_the_annotation_takes_the_address_out_and_frees_it(lab):
    lab.pool(size=1)
    created = lab.create(lab.service(auto=True))
    (address,) = objects.external(created)
    patched = lab.patch(created, {"metadata": {"annotations": {objects.AUTO: None}}})
    assert not objects.external(patched)
    lab.gone(address)
    assert objects.external(_create_once_free(lab).body) == [address]


def test_a_load_balancer_that_becomes_a_cluster_ip_frees_its_address(lab):
    lab.pool(size=1)
    created = lab.create(lab.load_balancer())
    (address,) = objects.ingress(lab.with_ingress(created))
    patch = {"spec": {"type": "ClusterIP", "allocateLoadBalancerNodePorts": None}}
    lab.patch(created, patch)
    lab.gone(address)
    lab.with_ingress(created, count=0)
    lab.check_at_rest()


def test_a_cluster_ip_that_becomes_a_load_balancer_gets_an_address(lab):
    lab.pool(size=1)
    created = lab.create(lab.service())
    lab.patch(created, {"spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False}})
    lab.with_ingress(created)
    lab.check_at_rest()


def test_a_service_that_starts_wanting_an_address_has_it_in_the_answer(lab):
    lab.pool(size=1)
    created = lab.create(lab.service())
    patched = lab.patch(created, {"metadata": {"annotations": {objects.AUTO: "auto"}}})
    assert len(objects.external(patched)) == 1
    lab.check_at_rest()


def test_addresses_that_the_user_set_are_freed_when_the_user_drops_them(lab):
    pool = lab.pool(size=2)
    first, last = pool["spec"]["addresses"][0].split("-")
    created = lab.create(lab.service(externalIPs=[first, last]))
    lab.claimed(first, created)
    patched = lab.patch(created, {"spec": {"externalIPs": [last]}})
    assert objects.external(patched) == [last]
    lab.gone(first)
    assert lab.claimed(last, created)
    lab.patch(created, {"spec": {"externalIPs": None}})
    lab.gone(last)


def test_a_service_that_changes_to_another_address_gives_the_first_one_back(lab):
    pool = lab.pool(size=2)
    first, last = pool["spec"]["addresses"][0].split("-")
    created = lab.create(lab.service(externalIPs=[first]))
    patched = lab.patch(created, {"spec": {"externalIPs": [last]}})
    assert objects.external(patched) == [last]
    lab.gone(first)
    lab.claimed(last, created)
    lab.check_at_rest()


def test_the_release_is_told_in_an_event(lab):
    pool = lab.pool(size=1)
    created = lab.create(lab.service(auto=True))
    (address,) = objects.external(created)
    lab.patch(created, {"metadata": {"annotations": {objects.AUTO: None}}})
    assert address in lab.event(created, "AddressReleased")
    lab.gone(address)
    wait_until(
        lambda: lab.get(pool)["status"]["ipv4"]["free"] == 1, lambda: f"a free pool {lab.get(pool)}"
    )


def test_a_claim_deleted_by_hand_is_made_again_for_the_service_that_runs(lab):
    lab.pool(size=2)
    created = lab.create(lab.service(auto=True))
    (address,) = objects.external(created)
    old = lab.claimed(address, created)
    lab.delete(old)
    claim = lab.claimed_soon(address, created)
    assert claim["metadata"]["uid"] != old["metadata"]["uid"]
    assert objects.external(lab.get(created)) == [address]
    lab.check_at_rest()
