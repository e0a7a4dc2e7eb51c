"""ipwarden is asked about Services with external addresses and about nothing else."""

import objects
from harness import wait_until


class Calls:
    """Counts the calls of the API server between its making and exactly()."""

    def __init__(self, lab):
        self.lab = lab
        self.before = self._count()

    def exactly(self, expected):
        """Fails unless it was that many. A Service made here adds two calls, which must be seen."""
        self.lab.create(self.lab.service(auto=True))
        wait_until(
            lambda: self._count() - self.before >= expected + 2,
            lambda: f"{expected} + 2 calls, not {self._count() - self.before}",
        )
        assert self._count() - self.before == expected + 2

    def _count(self):
        return self.lab.fleet.count("ipwarden_admission_requests_total")


def test_unrelated_services_cause_no_call(lab):
    lab.pool(size=4)
    calls = Calls(lab)
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
    calls.exactly(0)


def test_other_kinds_cause_no_call(lab):
    lab.pool(size=4)
    calls = Calls(lab)
    lab.add_namespace(lab.unique(lab.name))
    path = f"/api/v1/namespaces/{lab.namespace}/configmaps"
    assert lab.request("POST", path, {"metadata": {"name": "a"}, "data": {"a": "b"}}).ok
    path = f"/apis/discovery.k8s.io/v1/namespaces/{lab.namespace}/endpointslices"
    slice_ = {"metadata": {"name": "a"}, "addressType": "IPv4", "endpoints": [], "ports": []}
    assert lab.request("POST", path, slice_).ok
    calls.exactly(0)


def test_edits_that_concern_no_address_cause_no_call(lab):
    lab.pool(size=4)
    services = [lab.create(lab.service(auto=True)), lab.create(lab.load_balancer())]
    lab.with_ingress(services[1])
    for service in services:
        stored = lab.get(service)
        lab.confirmed((objects.external(stored) + objects.ingress(stored))[0], stored)
    lab.check_at_rest()
    calls = Calls(lab)
    for service in services:
        lab.patch(service, {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}})
        lab.patch(service, {"spec": {"selector": {"app": "web"}, "sessionAffinity": "ClientIP"}})
        lab.patch(service, {"spec": {"ports": [{"port": 80, "targetPort": 8080}]}})
    calls.exactly(0)


def test_deleting_causes_no_call(lab):
    lab.pool(size=4)
    created = lab.create(lab.service(auto=True))
    calls = Calls(lab)
    lab.delete(created)
    lab.gone(objects.external(created)[0])
    calls.exactly(0)
