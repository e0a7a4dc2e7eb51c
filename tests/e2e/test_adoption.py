"""What was there before ipwarden was installed keeps its addresses and gets claims."""

from types import SimpleNamespace

import pytest

import harness
import invariants
import objects
from harness import parallel, wait_until
from lab import Lab
from replicas import Fleet


@pytest.fixture
def fresh(binary):
    """A cluster in which nothing is installed, and a fleet that isn't started."""
    with harness.Cluster.start() as cluster:
        cluster.request("POST", "/api/v1/namespaces", {"metadata": {"name": harness.NAMESPACE}})
        yield SimpleNamespace(cluster=cluster)


def install_with_pool(cluster, pool):
    """Installs ipwarden; the pool is there before anything looks at it."""
    cluster.kubectl("apply", "-f", harness.TOP / "deploy" / "crds")
    wait_until(
        lambda: cluster.request("POST", objects.PATHS["IpClaimPool"], pool)[0] in (201, 409),
        "the pool to be taken",
    )
    harness.install(cluster)


def test_services_from_before_the_installation_keep_their_addresses(fresh):
    network = harness.SPACE.ipv4(27)
    cluster = fresh.cluster
    lab = Lab(cluster, None, "adoption")
    # Scattered, so that the first free addresses aren't the end of the used ones.
    old = [str(network[index]) for index in (1, 2, 5, 9, 30)]
    services = [lab.create(lab.service(externalIPs=[address])) for address in old]
    balancer = lab.create(lab.load_balancer())
    shown = str(network[3])
    ingress = {"status": {"loadBalancer": {"ingress": [{"ip": shown}]}}}
    assert lab.try_patch(balancer, ingress, subresource="status").ok
    outside = lab.create(lab.service(externalIPs=["192.0.2.1"]))
    twins = [lab.create(lab.service(externalIPs=[str(network[7])])) for _ in range(2)]
    install_with_pool(cluster, objects.pool("blue", network))
    fleet = lab.fleet = Fleet(cluster)
    try:
        fleet.start()
        # From the first moment on nothing that runs is given again.
        new = parallel(8, lambda _: lab.create(lab.service(auto=True)), range(20))
        given = [objects.external(service)[0] for service in new]
        assert len(set(given)) == 20
        assert not set(given) & {*old, shown, str(network[7])}
        for service, address in zip(services, old, strict=True):
            assert lab.claimed_soon(address, service)["spec"]["pool"] == "blue"
            assert objects.external(lab.get(service)) == [address]
        lab.claimed_soon(shown, balancer)
        assert objects.ingress(lab.get(balancer)) == [shown]
        assert objects.external(lab.get(outside)) == ["192.0.2.1"]
        # Two of them had the same address on the same port: both keep running, and one is told.
        for twin in twins:
            assert objects.external(lab.get(twin)) == [str(network[7])]
        wait_until(
            lambda: "AddressConflict" in [r for twin in twins for r, _ in lab.events(twin)],
            lambda: f"a warning, not {[lab.events(twin) for twin in twins]}",
        )
        found = invariants.check(lab.snapshot(), grace=0, rules=("I1", "I2", "I3"))
        clashes = {v.objects[0] for v in found if v.rule == "I2"}
        twin_names = {f"{lab.namespace}/{twin['metadata']['name']}" for twin in twins}
        # Also the one outside all pools is claimed: nobody else gets that address any more.
        assert clashes - twin_names == set()
        assert not [v for v in found if v.rule == "I3"]
        # An old one can be edited as before, and gives its address back when it goes.
        lab.patch(services[0], {"metadata": {"labels": {"a": "b"}}})
        lab.patch(services[0], {"spec": {"ports": [{"name": "p", "port": 81}]}})
        assert objects.external(lab.get(services[0])) == [old[0]]
        lab.delete(services[0])
        lab.gone(old[0])
        # Whoever of the two remains is in nobody's way any more.
        lab.delete(twins[0])
        lab.claimed_soon(str(network[7]), twins[1])
        fleet.stop()
    finally:
        fleet.close()


def test_adoption_of_many_is_done_soon_and_gives_nothing_twice(fresh):
    network = harness.SPACE.ipv4(22)
    cluster = fresh.cluster
    lab = Lab(cluster, None, "adoption")
    old = [str(network[index]) for index in range(1, 1000, 2)]
    parallel(
        8, lambda a: lab.create(lab.service(f"old-{a.replace('.', '-')}", externalIPs=[a])), old
    )
    install_with_pool(cluster, objects.pool("blue", network))
    fleet = lab.fleet = Fleet(cluster, 2)
    try:
        fleet.start()
        new = parallel(8, lambda _: lab.create(lab.service(auto=True)), range(100))
        given = [objects.external(service)[0] for service in new]
        assert not set(given) & set(old) and len(set(given)) == 100
        lab.check_at_rest(seconds=120)
        assert len(lab.claims()) == 600
        fleet.stop()
    finally:
        fleet.close()
