"""A cluster moves from MetalLB to ipwarden, and no Service changes its address."""

import ipaddress
import json
from types import SimpleNamespace

import pytest

import harness
import invariants
import moving
import objects
from harness import FULL, parallel, wait_until
from lab import Lab
from replicas import Fleet

SYSTEM = "metallb-system"
GROUP = "/apis/metallb.io/v1beta1"
IN_SYSTEM = f"{GROUP}/namespaces/{SYSTEM}"
SERVICES = 500 if FULL else 60
NETWORK = ipaddress.ip_network("10.77.0.0/22")
RESERVED = ipaddress.ip_network("10.78.0.0/28")


# MetalLB's kinds, as far as their objects say something about addresses.


def strings():
    return {"type": "array", "items": {"type": "string"}}


def selectors():
    return {"type": "array", "items": anything()}


def anything():
    return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


KINDS = {
    "IPAddressPool": {
        "addresses": strings(),
        "autoAssign": {"type": "boolean", "default": True},
        "avoidBuggyIPs": {"type": "boolean", "default": False},
        "serviceAllocation": {
            "type": "object",
            "properties": {
                "priority": {"type": "integer"},
                "namespaces": strings(),
                "namespaceSelectors": selectors(),
                "serviceSelectors": selectors(),
            },
        },
    },
    "L2Advertisement": {
        "ipAddressPools": strings(),
        "ipAddressPoolSelectors": selectors(),
        "nodeSelectors": selectors(),
        "interfaces": strings(),
    },
    "BGPAdvertisement": {
        "ipAddressPools": strings(),
        "ipAddressPoolSelectors": selectors(),
        "nodeSelectors": selectors(),
        "aggregationLength": {"type": "integer"},
        "communities": strings(),
    },
}


def definition(kind, spec):
    plural = f"{kind.lower()}s"
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": spec}}}
    version = {
        "name": "v1beta1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.metallb.io"},
        "spec": {
            "group": "metallb.io",
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [version],
        },
    }


@pytest.fixture
def metallb(binary):
    """A cluster with MetalLB's kinds and ipwarden's, in which neither of them runs."""
    with harness.Cluster.start() as cluster:
        for name in (SYSTEM, harness.NAMESPACE):
            cluster.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        for kind, spec in KINDS.items():
            path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
            status, answer = cluster.request("POST", path, definition(kind, spec))
            assert status == 201, answer
        cluster.kubectl("apply", "-f", harness.TOP / "deploy" / "crds")
        for path in (f"{GROUP}/{kind.lower()}s" for kind in KINDS):
            wait_until(lambda path=path: cluster.request("GET", path)[0] == 200, f"{path} to serve")
        for path in objects.PATHS.values():
            wait_until(lambda path=path: cluster.request("GET", path)[0] == 200, f"{path} to serve")
        lab = Lab(cluster, SimpleNamespace(replicas=[]), "metallb")
        yield SimpleNamespace(cluster=cluster, lab=lab, mover=moving.allow(cluster))


def make(cluster, kind, name, **spec):
    item = {
        "apiVersion": "metallb.io/v1beta1",
        "kind": kind,
        "metadata": {"name": name, "namespace": SYSTEM},
        "spec": spec,
    }
    status, answer = cluster.request("POST", f"{IN_SYSTEM}/{kind.lower()}s", item)
    assert status == 201, answer


def configure(cluster):
    make(cluster, "IPAddressPool", "public", addresses=[str(NETWORK)], avoidBuggyIPs=True)
    make(
        cluster,
        "IPAddressPool",
        "reserved",
        addresses=[str(RESERVED), "fd00:77::1-fd00:77::ff"],
        autoAssign=False,
        serviceAllocation={"priority": 5, "namespaces": ["default"]},
    )
    names = [{"matchLabels": {"kubernetes.io/hostname": name}} for name in ("a", "b")]
    make(
        cluster,
        "L2Advertisement",
        "public",
        ipAddressPools=["public"],
        interfaces=["eth1"],
        nodeSelectors=names,
    )
    make(cluster, "BGPAdvertisement", "reserved", ipAddressPools=["reserved"])


def serve(lab, name, address, pool, annotations=None, **options):
    """A Service as MetalLB's controller leaves it."""
    noted = {"metallb.io/ip-allocated-from-pool": pool, **(annotations or {})}
    service = lab.create(lab.load_balancer(name, annotations=noted, **options))
    status = {"status": {"loadBalancer": {"ingress": [{"ip": str(address), "ipMode": "VIP"}]}}}
    assert lab.try_patch(service, status, subresource="status").ok
    return service


def usable():
    return [a for a in NETWORK if a.packed[3] not in (0, 255)]


def populate(lab):
    """Services with addresses: plain ones, and those that use what MetalLB offers."""
    addresses = usable()
    prefix = "metallb.universe.tf"

    def one(index):
        annotations, ports, address = {}, (80,), addresses[2 * index]
        if index % 10 == 1:
            annotations[f"{prefix}/loadBalancerIPs"] = str(address)
        if index % 10 == 2:
            annotations["metallb.io/address-pool"] = "public"
        if index % 10 in (3, 4):
            annotations["metallb.io/allow-shared-ip"] = f"key-{index // 10}"
        if index % 10 == 4:
            address, ports = addresses[2 * (index - 1)], (443, "UDP/53")
        return serve(lab, f"web-{index}", address, "public", annotations, ports=ports)

    made = parallel(8, one, range(SERVICES))
    edge = [
        # The first address of the network, which MetalLB gives like any other.
        serve(lab, "edge", RESERVED[0], "reserved"),
        serve(lab, "last", RESERVED[-1], "reserved"),
        serve(lab, "classy", RESERVED[3], "reserved", loadBalancerClass="metallb.io/metallb"),
    ]
    return [lab.get(service) for service in (*made, *edge)]


def shown(lab, services):
    return {
        service["metadata"]["name"]: objects.ingress(lab.get(service)) for service in services
    }


def test_every_service_keeps_its_address(metallb):
    cluster, lab, mover = metallb.cluster, metallb.lab, metallb.mover
    configure(cluster)
    services = populate(lab)
    before = shown(lab, services)
    addresses = {address for one in before.values() for address in one}

    # The plan: all of it, and nothing done.
    snapshot = lab.snapshot()
    plan = json.loads(moving.run(mover, "metallb", "-o", "json")[0])
    output, errors = moving.run(mover, "metallb")
    assert "nothing was changed: --apply does it" in errors
    assert not invariants.changes(snapshot, lab.snapshot())
    assert {pool["name"]: pool["action"] for pool in plan["pools"]} == {
        "public": "create",
        "reserved": "create",
    }
    assert {claim["address"] for claim in plan["claims"]} == addresses
    assert not plan["conflicts"]
    assert "loadBalancerClass metallb.io/metallb can't be changed" in output
    assert "BGP: every node has the addresses on lo" in output

    # Killed at each of its steps, and run again.
    pools, claims = objects.PATHS["IpClaimPool"], objects.PATHS["IpClaim"]

    def count(path):
        return len(lab.read(path).body["items"])

    def annotated():
        listed = lab.read(f"/api/v1/namespaces/{lab.namespace}/services").body["items"]
        return sum(bool(objects.annotation(s, objects.ADDRESSES)) for s in listed)

    killed = [
        moving.kill_when(mover, lambda: count(pools) > 0, "metallb", "--apply"),
        moving.kill_when(mover, lambda: count(claims) > 0, "metallb", "--apply"),
        moving.kill_when(mover, lambda: annotated() > 0, "metallb", "--apply"),
    ]
    assert any(killed), "none of them was killed while it ran"
    moving.run(mover, "metallb", "--apply")
    assert count(pools) == 2 and count(claims) == len(addresses)
    public = lab.read(f"{pools}/public").body["spec"]
    assert public["link"] == "eth1" and public["announce"] == "Layer2"
    assert public["nodeSelector"]["matchExpressions"][0]["values"] == ["a", "b"]
    for service in services:
        lab.claimed(objects.ingress(service)[0], service)
    pinned = [s for s in services if objects.annotation(lab.get(s), objects.ADDRESSES)]
    assert len(pinned) == 3 * SERVICES // 10

    # MetalLB is gone, and ipwarden comes.
    harness.install(cluster)
    fleet = lab.fleet = Fleet(cluster, 2, extra_args=["--grace=20s"])
    try:
        fleet.start()
        new = parallel(4, lambda _: lab.create(lab.load_balancer()), range(20))
        given = [objects.ingress(lab.with_ingress(service))[0] for service in new]
        assert not set(given) & addresses and len(set(given)) == 20
        assert not [a for a in given if ipaddress.ip_address(a) not in usable()]
        lab.check_at_rest(seconds=120)
        assert shown(lab, services) == before
        # Again: there is nothing left to do, with ipwarden running.
        snapshot = lab.snapshot()
        errors = moving.run(mover, "metallb", "--apply")[1]
        assert "nothing to do" in errors
        assert not invariants.changes(snapshot, lab.snapshot())
        # What a Service says of itself may be edited as before.
        lab.patch(services[1], {"metadata": {"labels": {"a": "b"}}})
        lab.patch(services[3], {"spec": {"ports": [{"name": "p", "port": 8080}]}})
        lab.check_at_rest(seconds=120)
        assert shown(lab, services) == before
        fleet.stop()
    finally:
        fleet.close()


def test_what_conflicts_is_left_alone(metallb):
    cluster, lab, mover = metallb.cluster, metallb.lab, metallb.mover
    make(cluster, "IPAddressPool", "public", addresses=[str(NETWORK)])
    held, free = (serve(lab, f"web-{i}", NETWORK[i], "public") for i in (1, 2))
    lab.create(objects.claim(NETWORK[1]))
    output, errors = moving.run(mover, "metallb", "--apply", code=1)
    assert f"claim {objects.claim_name(NETWORK[1])} holds the address back" in output
    assert "no advertisement is about it" in output
    lab.claimed(str(NETWORK[2]), free)
    assert not lab.claim(str(NETWORK[1]))["spec"].get("services")
    lab.delete(objects.claim(NETWORK[1]))
    moving.run(mover, "metallb", "--apply")
    lab.claimed(str(NETWORK[1]), held)
