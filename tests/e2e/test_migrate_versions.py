"""Objects that the older systems left become objects of the current versions, and nothing else."""

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

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
IPAM = "ipam.mandelsoft.org"
KINDS = {
    "ipclaimpools": ("ipcontroller.ext", "IpClaimPool", "v1", "v2"),
    "ipclaims": ("ipcontroller.ext", "IpClaim", "v1", "v2"),
    "ipnodes": ("ipcontroller.ext", "IpNode", "v1", "v2"),
    "ipamranges": (IPAM, "IPAMRange", "v1alpha1", "v1beta1"),
    "ipamrequests": (IPAM, "IPAMRequest", "v1alpha1", "v1beta1"),
}
POOLS = 4
SERVICES, HOLDS, NODES, RANGES, REQUESTS = (
    (200, 15000, 100, 700, 4000) if FULL else (20, 200, 10, 10, 60)
)
NETWORK = ipaddress.ip_network("10.64.0.0/14" if FULL else "10.64.0.0/20")


def crd_path(plural):
    return f"{CRDS}/{plural}.{KINDS[plural][0]}"


def collection(plural, version, namespace="default"):
    group = KINDS[plural][0]
    space = f"namespaces/{namespace}/" if group == IPAM else ""
    return f"/apis/{group}/{version}/{space}{plural}"


def as_older_system(cluster):
    """Our CRDs with the older version alone, as a cluster of the older systems has them."""
    for plural, (_, _, older, _) in KINDS.items():
        file = harness.TOP / "deploy" / "crds" / f"{plural}.yaml"
        shown = cluster.kubectl("create", "--dry-run=client", "-o", "json", "-f", file).stdout
        crd = json.loads(shown)
        spec = crd["spec"]
        spec.pop("conversion")
        spec["versions"] = [{**v, "storage": True} for v in spec["versions"] if v["name"] == older]
        status, answer = cluster.request("POST", CRDS, crd)
        assert status == 201, answer
    for plural, (_, _, older, _) in KINDS.items():
        path = collection(plural, older)
        wait_until(lambda path=path: cluster.request("GET", path)[0] == 200, f"{path} to serve")


@pytest.fixture
def old(binary):
    with harness.Cluster.start() as cluster:
        cluster.request("POST", "/api/v1/namespaces", {"metadata": {"name": harness.NAMESPACE}})
        as_older_system(cluster)
        lab = Lab(cluster, SimpleNamespace(replicas=[]), "versions")
        yield SimpleNamespace(cluster=cluster, lab=lab, mover=moving.allow(cluster))


def put_old(lab, plural, name, spec, metadata=None, **members):
    group, kind, older, _ = KINDS[plural]
    item = {
        "apiVersion": f"{group}/{older}",
        "kind": kind,
        "metadata": {"name": name, **(metadata or {})},
        **({"spec": spec} if spec is not None else {}),
        **members,
    }
    answer = lab.request("POST", collection(plural, older), item)
    assert answer.status == 201, answer
    return answer.body


def old_name(address):
    return f"{address}-24".replace(".", "-")


def put_claim(lab, address, pool, service=None):
    """A claim as the older system writes it: an owner reference names the Service."""
    owners = {}
    if service:
        metadata = service["metadata"]
        key = f"{metadata['namespace']}/{metadata['name']}"
        owner = {"apiVersion": "ipcontroller.ext/v1", "kind": "ServiceReference"}
        owners = {"ownerReferences": [{**owner, "name": metadata["name"], "uid": key}]}
    metadata = {"labels": {"ip-pool-name": pool}, **owners}
    return put_old(lab, "ipclaims", old_name(address), {"cidr": f"{address}/24"}, metadata)


def populate(lab):
    """What the older systems leave: returns their Services."""
    blocks = list(NETWORK.subnets(new_prefix=NETWORK.prefixlen + 2))
    taken = [[str(a) for a in list(_some(block))] for block in blocks]
    services = parallel(
        8, lambda i: lab.create(lab.service(externalIPs=[taken[i % POOLS][i // POOLS]])),
        range(SERVICES),
    )  # fmt: skip
    # Those of the last quarter have no claim: only their pool notes them, or nobody does.
    claimed = services[: 3 * SERVICES // 4]
    parallel(
        8, lambda s: put_claim(lab, objects.external(s)[0], _pool_of(blocks, s), s), claimed
    )
    holds = [taken[i % POOLS][SERVICES + i // POOLS] for i in range(HOLDS)]
    parallel(8, lambda i: put_claim(lab, holds[i], f"pool-{i % POOLS}"), range(HOLDS))
    for index, block in enumerate(blocks):
        allocated = {objects.external(s)[0]: old_name(objects.external(s)[0]) for s in services
                     if _pool_of(blocks, s) == f"pool-{index}"}  # fmt: skip
        # One that nothing explains.
        stray = str(block[-2])
        allocated[stray] = old_name(stray)
        spec = {"cidr": str(block), "allocated": allocated}
        put_old(lab, "ipclaimpools", f"pool-{index}", spec)
    for i in range(NODES):
        put_old(lab, "ipnodes", f"node-{i}", None, revision=str(i))
    for i in range(RANGES):
        spec = {"ranges": [f"10.{128 + i // 200}.{i % 200}.0/24"], "chunkSize": 28}
        put_old(lab, "ipamranges", f"range-{i}", {**spec, "mode": "RoundRobin"})

    def ask(i):
        spec = {"ipam": {"name": f"range-{i % RANGES}"}, "size": 29, "description": f"no {i}"}
        put_old(lab, "ipamrequests", f"request-{i}", spec)

    parallel(8, ask, range(REQUESTS))
    return services, [str(block[-2]) for block in blocks]


def _some(block):
    for index in range(1, SERVICES + HOLDS // POOLS + 2):
        yield block[index]


def _pool_of(blocks, service):
    address = ipaddress.ip_address(objects.external(service)[0])
    return next(f"pool-{i}" for i, block in enumerate(blocks) if address in block)


def stored_versions(lab):
    return {plural: lab.read(crd_path(plural)).body["status"]["storedVersions"] for plural in KINDS}


def listed(lab, plural, version=None):
    return lab.read(collection(plural, version or KINDS[plural][3])).body["items"]


def drop_older(lab, plural):
    """The answer to taking the older version out of the CRD, and conversions with it."""
    older = KINDS[plural][2]
    crd = lab.read(crd_path(plural)).body
    crd["spec"]["versions"] = [v for v in crd["spec"]["versions"] if v["name"] != older]
    crd["spec"]["conversion"] = {"strategy": "None"}
    return lab.request("PUT", crd_path(plural), crd)


def settles(lab):
    """The invariants hold, but that an older claim doesn't say since when it is somebody's."""
    found = []

    def look():
        all_ = invariants.check(lab.snapshot(), grace=0, rules=("I1", "I2", "I3"))
        found[:] = [violation for violation in all_ if not violation.text.endswith(": since")]
        return not found

    wait_until(look, lambda: "\n".join(map(str, found)), 180)


def test_objects_of_older_versions_are_moved(old):
    cluster, lab, mover = old.cluster, old.lab, old.mover
    services, strays = populate(lab)
    before = {s["metadata"]["name"]: objects.external(s) for s in services}
    counts = {plural: len(listed(lab, plural, KINDS[plural][2])) for plural in KINDS}
    assert counts["ipclaims"] == 3 * SERVICES // 4 + HOLDS

    # Ours on top. Only ipwarden can read what is stored, so it has to run first.
    cluster.kubectl("apply", "--kustomize", harness.TOP / "deploy")
    fleet = lab.fleet = Fleet(cluster, 2, extra_args=["--grace=20s"])
    try:
        fleet.start()
        for plural in KINDS:
            wait_until(
                lambda plural=plural: lab.request("GET", collection(plural, KINDS[plural][3])).ok,
                f"{plural} to be served in the current version",
            )
        _, _, older, current = KINDS["ipclaims"]
        assert stored_versions(lab)["ipclaims"] == [older, current]
        refused = drop_older(lab, "ipclaims")
        assert refused.status == 422 and "storedVersions" in refused.message, refused

        output, errors = moving.run(mover, "versions", "--check")
        assert "nothing was changed: --apply does it" in errors, errors
        plan = json.loads(moving.run(mover, "versions", "-o", "json")[0])
        kinds = {kind["crd"].split(".")[0]: kind for kind in plan["kinds"]}
        assert {kind["action"] for kind in kinds.values()} == {"rewrite"}, output
        assert kinds["ipclaims"]["objects"] >= counts["ipclaims"]
        assert not plan["conflicts"], output

        # Killed after the first kind, in the second.
        def begun():
            return stored_versions(lab)["ipclaimpools"] == ["v2"]

        killed = moving.kill_when(mover, begun, "versions", "--apply")
        assert killed and stored_versions(lab)["ipamrequests"] == ["v1alpha1", "v1beta1"]
        _, errors = moving.run(mover, "versions", "--apply")
        assert "ipclaims.ipcontroller.ext: stored as v2 alone" in errors
        assert stored_versions(lab) == {plural: [kind[3]] for plural, kind in KINDS.items()}
        _, errors = moving.run(mover, "versions", "--apply")
        assert "nothing to do" in errors

        # Nothing was freed, everything is claimed, and what nobody explains is held.
        for service in services:
            address = before[service["metadata"]["name"]][0]
            assert objects.external(lab.get(service)) == [address]
        claims = {c["spec"]["cidr"].split("/")[0]: c for c in listed(lab, "ipclaims")}
        for stray in strays:
            assert not claims[stray]["spec"].get("services")
        assert {address for one in before.values() for address in one} <= claims.keys()
        assert len(claims) == SERVICES + HOLDS + len(strays)
        for pool in listed(lab, "ipclaimpools"):
            assert not pool["spec"].get("allocated"), pool
        settles(lab)
        for plural in ("ipclaimpools", "ipamranges", "ipamrequests"):
            assert len(listed(lab, plural)) == counts[plural]
        texts = {item["spec"]["description"] for item in listed(lab, "ipamrequests")}
        assert texts == {f"no {i}" for i in range(REQUESTS)}
        fleet.stop()
    finally:
        fleet.close()

    # The older versions go, and with nobody there to convert, all is read as it is stored.
    for plural in KINDS:
        assert drop_older(lab, plural).ok
    for plural, (_, _, older, _) in KINDS.items():
        path = collection(plural, older)
        wait_until(lambda path=path: lab.request("GET", path).status == 404, f"no {path}")
    assert all(pool["spec"]["addresses"] for pool in listed(lab, "ipclaimpools"))
    assert all(range_["spec"]["defaultPrefixLength"] == 28 for range_ in listed(lab, "ipamranges"))
    assert all(item["spec"]["range"]["name"] for item in listed(lab, "ipamrequests"))
    assert len(listed(lab, "ipclaims")) == SERVICES + HOLDS + len(strays)
