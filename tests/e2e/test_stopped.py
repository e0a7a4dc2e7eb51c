"""With ipwarden stopped the cluster goes on, except for what would hand out or take addresses."""

import invariants
import objects


def test_unrelated_services_can_be_created_edited_and_deleted(lab):
    lab.fleet.stop()
    created = lab.create(lab.service())
    lab.patch(created, {"spec": {"ports": [{"port": 81}]}})
    lab.delete(created)


def test_a_load_balancer_made_meanwhile_is_served_on_return(lab):
    lab.pool(size=4)
    lab.fleet.stop()
    created = lab.create(lab.load_balancer())
    assert not objects.ingress(created)
    lab.fleet.start()
    lab.with_ingress(created)
    lab.event(created, "AddressAssigned")
    lab.check_at_rest()


def test_what_asks_for_addresses_is_refused_by_the_api_server(lab):
    pool = lab.pool(size=4)
    taken = lab.create(lab.service(auto=True))
    lab.fleet.stop()
    address = pool["spec"]["addresses"][0].split("-")[1]
    for service in (
        lab.service(externalIPs=[address]),
        lab.service(externalIPs=objects.external(taken)),
        lab.service(auto=True),
        lab.load_balancer(externalIPs=[address]),
    ):
        answer = lab.try_create(service)
        assert answer.status == 500, answer
        assert "services.ipwarden.ipcontroller.ext" in answer.message
    ingress = {"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}
    balancer = lab.create(lab.load_balancer())
    answer = lab.try_patch(balancer, ingress, subresource="status")
    assert answer.status == 500 and "status.ipwarden.ipcontroller.ext" in answer.message
    answer = lab.try_create(objects.claim(address))
    assert answer.status == 500 and "objects.ipwarden.ipcontroller.ext" in answer.message


def test_load_balancers_are_created_whatever_they_name(lab):
    pool = lab.pool(size=4)
    address = pool["spec"]["addresses"][0].split("-")[1]
    lab.fleet.stop()
    by_annotation = lab.create(
        lab.load_balancer(annotations={objects.ADDRESSES: address}, ports=(80,))
    )
    by_field = lab.create(lab.load_balancer(loadBalancerIP=address, ports=(443,)))
    lab.fleet.ensure()
    for balancer in (by_annotation, by_field):
        assert objects.ingress(lab.with_ingress(balancer)) == [address]


def test_services_with_addresses_can_be_labelled_scaled_and_deleted(lab):
    lab.pool(size=4)
    services = [lab.create(lab.service(auto=True)), lab.create(lab.load_balancer())]
    lab.with_ingress(services[1])
    lab.check_at_rest()
    before = lab.snapshot()
    lab.fleet.stop()
    for service in services:
        lab.patch(service, {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}})
        lab.patch(service, {"spec": {"selector": {"app": "web"}}})
    after = lab.snapshot()
    assert not invariants.moved(before, after) and not invariants.freed(before, after)
    for service in services:
        lab.delete(service)
    assert len(lab.claims()) == 2
    lab.fleet.start()
    for service in services:
        for address in objects.external(service):
            lab.gone(address)
    lab.check_at_rest()


def test_what_changed_meanwhile_is_put_in_order_on_return(lab):
    lab.pool(size=8)
    gone, plain, again = (lab.create(lab.load_balancer(f"lb-{n}")) for n in range(3))
    for service in (gone, plain, again):
        lab.with_ingress(service)
    old = lab.get(again)
    lab.check_at_rest()
    lab.fleet.stop()
    lab.delete(gone)
    # The status is cleared by the API server itself when the type changes; the webhook fails open.
    lab.patch(plain, {"spec": {"type": "ClusterIP", "allocateLoadBalancerNodePorts": None}})
    lab.delete(again)
    new = lab.create(lab.load_balancer("lb-2"))
    lab.fleet.start()
    stored = lab.with_ingress(new)
    assert stored["metadata"]["uid"] != old["metadata"]["uid"]
    lab.claimed(objects.ingress(stored)[0], stored)
    lab.check_at_rest(grace=0)
    assert len(lab.claims()) == 1
