"""ipwarden is asked about Services with external addresses and about nothing else."""

import objects
from counting import Calls
from harness import wait_until


def test_unrelated_services_cause_no_call(lab):
    lab.pool(size=4)
    calls = Calls(lab.fleet)
    kinds = [
        {},
        {"type": "NodePort"},
        {"clusterIP": "None"},
        {"type": "ExternalName", "externalName": "example.com"},
        {"ipFamilyPolicy": "PreferDualStack"},
    ]
    for spec in kinds:
        created = lab.create(lab.service(**spec))
        lab.patch(created, {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}})
        lab.patch(created, {"spec": {"selector": {"app": "web"}}})
        lab.delete(created)
    other = lab.create(lab.load_balancer(loadBalancerClass="example.com/other"))
    lab.patch(other, {"metadata": {"labels": {"a": "b"}}})
    assert calls.count() == 0


def test_other_kinds_cause_no_call(lab):
    lab.pool(size=4)
    calls = Calls(lab.fleet)
    lab.add_namespace(lab.unique(lab.name))
    path = f"/api/v1/namespaces/{lab.namespace}/configmaps"
    assert lab.request("POST", path, {"metadata": {"name": "a"}, "data": {"a": "b"}}).ok
    path = f"/apis/discovery.k8s.io/v1/namespaces/{lab.namespace}/endpointslices"
    slice_ = {"metadata": {"name": "a"}, "addressType": "IPv4", "endpoints": [], "ports": []}
    assert lab.request("POST", path, slice_).ok
    assert calls.count() == 0


def test_edits_that_concern_no_address_cause_no_call(lab):
    lab.pool(size=4)
    services = [lab.create(lab.service(auto=True)), lab.create(lab.load_balancer())]
    lab.with_ingress(services[1])
    lab.check_at_rest()
    calls = Calls(lab.fleet)
    for service in services:
        lab.patch(service, {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}})
        lab.patch(service, {"spec": {"selector": {"app": "web"}, "sessionAffinity": "ClientIP"}})
        lab.patch(service, {"spec": {"ports": [{"port": 80, "targetPort": 8080}]}})
    assert calls.count() == 0


def test_deleting_causes_no_call(lab):
    lab.pool(size=4)
    created = lab.create(lab.service(auto=True))
    calls = Calls(lab.fleet)
    lab.delete(created)
    lab.gone(objects.external(created)[0])
    assert calls.count() == 0


def test_an_address_that_is_assigned_late_causes_no_call(lab):
    waiting = lab.create(lab.load_balancer())
    lab.event(waiting, "AddressPending")
    calls = Calls(lab.fleet)
    lab.pool(size=1)
    stored = lab.with_ingress(waiting)
    lab.claimed(objects.ingress(stored)[0], stored)
    lab.event(waiting, "AddressAssigned")
    assert calls.count() == 0


def test_external_ips_that_are_assigned_late_cause_no_call(lab):
    lab.pool(size=1, onExhausted="Pending")
    first = lab.create(lab.service(auto=True))
    second = lab.create(lab.service(auto=True))
    calls = Calls(lab.fleet)
    lab.delete(first)
    wait_until(lambda: objects.external(lab.get(second)), lambda: f"one in {lab.get(second)}")
    assert calls.count() == 0
    lab.check_at_rest()


def test_a_status_that_is_written_again_causes_no_call(lab):
    lab.pool(size=2)
    balancer = lab.create(lab.load_balancer())
    own = objects.ingress(lab.with_ingress(balancer))
    calls = Calls(lab.fleet)
    empty = {"status": {"loadBalancer": {"ingress": []}}}
    assert lab.try_patch(balancer, empty, subresource="status").ok
    assert objects.ingress(lab.with_ingress(balancer)) == own
    assert calls.count() == 0


def test_what_was_given_at_the_create_needs_no_event(lab):
    lab.pool(size=2)
    services = [lab.create(lab.service(auto=True)), lab.create(lab.load_balancer())]
    lab.with_ingress(services[1])
    # One that waits is told so, and events are written one after the other.
    lab.event(lab.create(lab.load_balancer()), "AddressPending")
    assert not any(lab.events(service) for service in services)
