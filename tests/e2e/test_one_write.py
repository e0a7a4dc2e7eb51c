"""A Service costs one claim, written once it's sure to be stored; what isn't leaves no trace."""

import ipaddress

import pytest

import objects
from counting import Calls, Writes, settle
from harness import parallel, wait_until
from other_webhook import changes_after_us

# What the API server finds wrong with a Service, if nobody else does: after the mutating webhooks.
MISTAKES = {
    "a port out of range": {"ports": [{"port": 70000}]},
    "a target port that is no name": {"ports": [{"port": 80, "targetPort": "no name"}]},
    "two ports without names": {"ports": [{"port": 80}, {"port": 81}]},
    "the same port twice": {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 80}]},
    "no ports": {"ports": []},
    "a selector that is none": {"selector": {"-app-": "web"}},
    "an unknown affinity": {"sessionAffinity": "Sometimes"},
    "a cluster address out of range": {"clusterIP": "192.0.2.1"},
}


def asking(lab, how, **options):
    """A Service that gets an address in one of the ways that there are."""
    if how == "auto":
        return lab.service(auto=True, **options)
    if how == "by hand":
        return lab.service(externalIPs=[lab.free], **options)
    if how == "by name":
        annotations = {objects.ADDRESSES: lab.free}
        return lab.load_balancer(annotations=annotations, **options)
    return lab.load_balancer(**options)


WAYS = ("auto", "by hand", "by name", "load balancer")


@pytest.fixture
def pooled(lab):
    """The lab with a pool in which lab.free is an address that isn't the next one given."""
    pool = lab.pool(size=14)
    lab.free = pool["spec"]["addresses"][0].split("-")[1]
    return lab


def claims(lab):
    """{name: resource version} of all claims."""
    listed = lab.read(objects.PATHS["IpClaim"]).body["items"]
    return {c["metadata"]["name"]: c["metadata"]["resourceVersion"] for c in listed}


@pytest.fixture
def untouched(pooled):
    """Fails when a claim was written, at once or by what was set off, and later undone or not."""
    before, writes = claims(pooled), Writes(pooled.cluster)
    yield
    assert claims(pooled) == before
    settle(pooled)
    # That of the Service by which it is seen that all has been done.
    assert writes.of("ipclaims") == writes.of("ipclaims", "POST") == 1, writes.all()


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.usefixtures("untouched")
def test_a_service_that_the_api_server_finds_invalid_leaves_nothing(pooled, how, mistake):
    service = asking(pooled, how)
    service["spec"].update(MISTAKES[mistake])
    answer = pooled.try_create(service)
    assert answer.status == 422, answer
    assert pooled.get(service) is None


def test_creates_that_the_api_server_refuses_hold_no_address(pooled):
    for mistake in MISTAKES.values():
        for how in ("auto", "load balancer"):
            for _ in range(4):
                service = asking(pooled, how)
                service["spec"].update(mistake)
                assert pooled.try_create(service).status == 422
    parallel(4, lambda _: pooled.create(pooled.service(auto=True)), range(14))
    pooled.check_at_rest()


@pytest.fixture(params=WAYS)
def stored(request, pooled):
    """A Service that has its address, at rest."""
    service = pooled.create(asking(pooled, request.param))
    if service["spec"]["type"] == "LoadBalancer":
        service = pooled.with_ingress(service)
    settle(pooled)
    pooled.check_at_rest()
    return pooled.get(service)


EDITS = {
    "another port": lambda item, free: item["spec"].update(ports=[{"port": 81}]),
    "one more port": lambda item, free: item["spec"]["ports"].append({"name": "b", "port": 81}),
    "one more address": lambda item, free: item["spec"].update(
        externalIPs=[*objects.external(item), free]
    ),
    "no address any more": lambda item, free: (
        item["spec"].pop("externalIPs", None),
        item["spec"].update(type="ClusterIP"),
        item["spec"].pop("allocateLoadBalancerNodePorts", None),
        item["metadata"].pop("annotations", None),
    ),
}


def edited(pooled, stored, edit):
    item = pooled.get(stored)
    EDITS[edit](item, str(ipaddress.ip_address(pooled.free) - 1))
    return item


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_of_a_stale_object_changes_no_claim(pooled, stored, edit, untouched):
    item = edited(pooled, stored, edit)
    newer = pooled.patch(stored, {"metadata": {"labels": {"a": "b"}}})
    # An API server judges an update by what its cache has, and does it again when that was old.
    version = newer["metadata"]["resourceVersion"]
    cached = objects.path_of(stored) + "?resourceVersion=0"
    wait_until(
        lambda: pooled.read(cached).body["metadata"]["resourceVersion"] == version,
        "the cache to know the newer one",
    )
    answer = pooled.request("PUT", objects.path_of(item), item)
    assert answer.status == 409 and "object has been modified" in answer.message, answer


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_that_the_api_server_finds_invalid_changes_no_claim(
    pooled, stored, edit, untouched
):
    item = edited(pooled, stored, edit)
    item["spec"]["selector"] = {"-app-": "web"}
    answer = pooled.request("PUT", objects.path_of(item), item)
    assert answer.status == 422 and "spec.selector" in answer.message, answer


@pytest.mark.parametrize("edit", EDITS)
def test_a_dry_run_of_an_edit_changes_no_claim(pooled, stored, edit, untouched):
    item = edited(pooled, stored, edit)
    answer = pooled.request("PUT", objects.path_of(item) + "?dryRun=All", item)
    assert answer.ok, answer


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.usefixtures("untouched")
def test_a_dry_run_of_a_create_writes_no_claim(pooled, how):
    pooled.create(asking(pooled, how), dry_run=True)


@pytest.mark.parametrize("edit", ["another port", "one more port"])
def test_ports_of_an_edit_that_was_stored_are_on_the_claim(pooled, stored, edit):
    patched = pooled.replace(edited(pooled, stored, edit))
    (address,) = objects.external(patched) + objects.ingress(patched)
    ports = [f"TCP/{port['port']}" for port in patched["spec"]["ports"]]
    wait_until(
        lambda: pooled.claim(address)["spec"]["services"][0]["ports"] == ports,
        lambda: f"{ports} in {pooled.claim(address)}",
    )
    pooled.check_at_rest()


@pytest.mark.parametrize("how", WAYS)
def test_a_call_that_comes_again_writes_nothing_again(pooled, how):
    label = [{"op": "add", "path": "/metadata/labels", "value": {"later": "yes"}}]
    with changes_after_us(pooled, lambda item: None if _labelled(item) else label) as others:
        writes, calls = Writes(pooled.cluster), Calls(pooled.fleet)
        created = pooled.create(asking(pooled, how))
        assert _labelled(created) and others
        # Both calls, and the first one again, since another webhook changed the object after it.
        mutated = how in ("auto", "by hand")
        assert calls.count() == (3 if mutated else 1)
        assert writes.of("ipclaims") == writes.of("ipclaims", "POST") == 1, writes.all()


def _labelled(item):
    return "later" in (item["metadata"].get("labels") or {})


def test_each_service_costs_one_claim_and_a_load_balancer_its_status(pooled):
    lab = pooled
    settle(lab)
    lab.check_at_rest()
    writes = Writes(lab.cluster)
    created = parallel(2, lambda n: lab.create(asking(lab, WAYS[n % 4 and 3])), range(8))
    created.append(lab.create(asking(lab, "by hand")))
    balancers = [s for s in created if s["spec"]["type"] == "LoadBalancer"]
    # Claims are there when the last create has returned; what is left is what the status shows.
    assert writes.of("ipclaims") == writes.of("ipclaims", "POST") == len(created), writes.all()
    for service in balancers:
        lab.with_ingress(service)
    lab.check_at_rest()
    balancers.append(settle(lab))
    created.append(balancers[-1])
    expected = {
        ("ipclaims", "", "POST"): len(created),
        ("services", "", "POST"): len(created),
        ("services", "status", "PATCH"): len(balancers),
    }
    found = {
        (resource, subresource, verb): count
        for (resource, subresource, verb), count in writes.all().items()
        # The lease is renewed and the pool counts, whatever happens; the rest is the API server's.
        if resource not in ("leases", "ipaddresses", "subjectaccessreviews", "tokenreviews")
        and (resource, subresource) != ("ipclaimpools", "status")
    }
    assert found == expected
    assert 1 <= writes.of("ipclaimpools", subresource="status") <= 10
