"""Objects in both of their versions: what is written in one is there in the other, and in watches."""

import json

import pytest

import harness
import objects
from harness import wait_until
from versions import Object, Watch

@pytest.fixture
def both(lab):
    """both(kind, name) is an object that can be asked for in either version, and goes with the test."""
    made = []

    def make(kind, name):
        made.append(Object(lab, kind, name))
        return made[-1]

    yield make
    for item in made:
        item.remove()


def data_of(item):
    """The conversion data of an object, as JSON; None for none."""
    for name, value in item["metadata"].get("annotations", {}).items():
        if name.endswith("/conversion-data"):
            return json.loads(value)
    return None


def test_a_pool(lab, both):
    network = harness.SPACE.ipv4(28)
    pool = both("IpClaimPool", lab.unique(f"{lab.name}-p"))
    pairs = [[str(network[2]), str(network[4])], [str(network[9]), str(network[9])]]
    claimed = f"{network[3]}".replace(".", "-") + "-28"
    pool.create(
        "v1",
        spec={"cidr": str(network), "ranges": pairs, "allocated": {str(network[3]): claimed}},
    )
    new = pool.read("v2")
    assert new["spec"]["addresses"] == [f"{network[2]}-{network[4]}", str(network[9])]
    assert new["spec"]["allocated"] == {str(network[3]): claimed}
    wait_until(
        lambda: objects.condition(pool.read("v2"), "Ready").get("status") == "True",
        lambda: f"{pool.read('v2')} to be ready",
    )
    # What the older system had allocated isn't given again.
    given = [objects.external(lab.create(lab.service(auto=True)))[0] for _ in range(3)]
    assert sorted(given) == sorted(str(network[i]) for i in (2, 4, 9))
    # More of what only v2 can say, and v1 still says what it said.
    six = harness.SPACE.ipv6(120)
    pool.patch("v2", {"spec": {"addresses": [*new["spec"]["addresses"], str(six)], "priority": 7}})
    old = pool.read("v1")
    assert old["spec"]["cidr"] == str(network) and old["spec"]["ranges"] == pairs
    assert data_of(old)["v2"]["spec"]["priority"] == 7
    # Widened by whoever knows v1 only: the other family stays.
    old["spec"]["ranges"] = [[str(network[2]), str(network[9])]]
    pool.replace("v1", old)
    new = pool.read("v2")
    assert new["spec"]["addresses"] == [f"{network[2]}-{network[9]}", str(six)]
    assert new["spec"]["priority"] == 7
    assert pool.read("v1")["spec"]["cidr"] == str(network)
    # An edit that takes away what is claimed is refused in either version.
    refused = pool.try_patch("v1", {"spec": {"ranges": [[str(network[3]), str(network[3])]]}})
    assert refused.status == 422, refused


def test_a_pool_of_one_network(lab, both):
    network = harness.SPACE.ipv4(29)
    pool = both("IpClaimPool", lab.unique(f"{lab.name}-p"))
    # By one of its addresses, as the older system took it.
    pool.create("v1", spec={"cidr": f"{network[3]}/29"})
    assert pool.read("v2")["spec"]["addresses"] == [str(network)]
    assert pool.read("v1")["spec"]["cidr"] == f"{network[3]}/29"
    wait_until(
        lambda: pool.read("v2").get("status", {}).get("ipv4", {}).get("total") == 6,
        lambda: f"six addresses in {pool.read('v2')}",
    )
    refused = both("IpClaimPool", lab.unique("bad")).try_create("v1", spec={"cidr": "nowhere"})
    assert refused.status == 422 and "nowhere" in refused.message, refused


def address():
    return str(harness.SPACE.ipv4(32).network_address)


# Created in the older version, read in the new, edited in the new, read in the old


def test_a_claim(lab, both):
    ip = address()
    claim = both("IpClaim", f"{ip.replace('.', '-')}-24")
    claim.create(
        "v1",
        metadata={
            "labels": {"ip-pool-name": "lan", "ipnode": "node-1"},
            "ownerReferences": [owner("shop/web")],
        },
        spec={"cidr": f"{ip}/24", "nodeName": "node-1", "link": "eth0"},
    )
    new = claim.read("v2")
    assert new["spec"] == {
        "cidr": f"{ip}/24",
        "nodeName": "node-1",
        "link": "eth0",
        "pool": "lan",
        "services": [{"namespace": "shop", "name": "web"}],
    }
    assert data_of(new) is None
    claim.patch("v2", {"spec": {"nodeName": "node-2", "standbyNode": "node-3"}})
    old = claim.read("v1")
    assert old["spec"] == {"cidr": f"{ip}/24", "nodeName": "node-2", "link": "eth0"}
    assert old["metadata"]["labels"]["ipnode"] == "node-2"
    assert data_of(old)["v2"]["spec"] == {"standbyNode": "node-3"}
    # And written back in the old, as whoever knows no more would do it.
    old["spec"]["nodeName"] = old["metadata"]["labels"]["ipnode"] = "node-4"
    claim.replace("v1", old)
    assert claim.read("v2")["spec"]["nodeName"] == "node-4"
    assert claim.read("v2")["spec"]["standbyNode"] == "node-3"


def owner(key):
    return {
        "apiVersion": "ipcontroller.ext/v1",
        "kind": "ServiceReference",
        "name": key.replace("/", "-"),
        "uid": key,
    }


def test_a_claim_of_the_older_system_keeps_its_address(lab, both):
    """Its name has the mask of the link, and references name its Services."""
    network = harness.SPACE.ipv4(28)
    first = str(network[1])
    lab.pool(network=network)
    service = lab.create(lab.service(externalIPs=[first]))
    lab.request("DELETE", objects.path_of(lab.claim(first) | {"kind": "IpClaim"}))
    claim = both("IpClaim", f"{first.replace('.', '-')}-24")
    key = f"{service['metadata']['namespace']}/{service['metadata']['name']}"
    claim.create(
        "v1", metadata={"ownerReferences": [owner(key)]}, spec={"cidr": f"{first}/24"}
    )
    # It is known as that of the Service, and no other claim is made for it.
    wait_until(
        lambda: claim.read("v2")["spec"]["services"][0].get("uid") == service["metadata"]["uid"],
        lambda: f"the uid to be noted in {claim.read('v2')}",
    )
    assert [c["metadata"]["name"] for c in lab.claims_of(service)] == [claim.name]
    refused = lab.try_create(lab.service(externalIPs=[first]))
    assert not refused.ok and claim.name in str(refused.body), refused


def test_a_node_of_an_older_agent_is_alive(lab, both):
    node = both("IpNode", f"{lab.name}-n")
    lab.request("POST", "/api/v1/nodes", {"metadata": {"name": node.name}})
    try:
        node.create("v1", revision="1")
        new = node.read("v2")
        assert new["spec"] == {"nodeName": node.name}
        assert new["status"]["revision"] == "1"
        # What the agent of the current version would say beside, and what the leader makes of it.
        ready = {"type": "Ready", "status": "True", "reason": "Ready", "message": ""}
        node.patch("v2", {"status": {"conditions": [ready]}}, "status")
        for revision in range(2, 6):
            beat = node.read("v1")
            # As a typed client has it that knows of no status.
            beat.pop("status")
            beat["revision"] = str(revision)
            node.replace("v1", beat)
        status = node.read("v2")["status"]
        assert status["revision"] == "5"
        assert {c["type"]: c["status"] for c in status["conditions"]}["Ready"] == "True"

        def beats_and_lives():
            beat = node.read("v1")
            beat["revision"] = str(int(beat["revision"]) + 1)
            node.try_replace("v1", beat)
            return objects.condition(node.read("v2"), "Alive").get("status") == "True"

        wait_until(beats_and_lives, lambda: f"{node.read('v2')} to be alive")
    finally:
        lab.request("DELETE", f"/api/v1/nodes/{node.name}")


def test_a_range_and_its_requests(lab, both):
    network = harness.SPACE.ipv4(24)
    lan = both("IPAMRange", "lan")
    lan.create("v1alpha1", spec={"ranges": [str(network)], "chunkSize": 28})
    new = lan.read("v1beta1")
    # The mode is filled in by the webhook, which is asked about either version.
    assert new["spec"] == {
        "ranges": [str(network)],
        "defaultPrefixLength": 28,
        "mode": "FirstMatch",
    }
    wait_until(
        lambda: lan.read("v1alpha1").get("status", {}).get("state") == "Ready",
        lambda: f"Ready in {lan.read('v1alpha1')}",
    )
    by_size = both("IPAMRequest", "by-size")
    by_size.create("v1alpha1", spec={"ipam": {"name": "lan"}, "size": 26, "description": "mine"})
    by_default = both("IPAMRequest", "by-default")
    by_default.create("v1alpha1", spec={"ipam": {"name": "lan", "namespace": lab.namespace}})
    by_cidr = both("IPAMRequest", "by-cidr")
    wanted = str(list(network.subnets(new_prefix=28))[-1])
    by_cidr.create("v1alpha1", spec={"ipam": {"name": "lan"}, "size": 24, "request": wanted})
    for request, length in ((by_size, 26), (by_default, 28), (by_cidr, 28)):
        wait_until(
            lambda request=request: request.read("v1alpha1").get("status", {}).get("state")
            == "Ready",
            lambda request=request: f"Ready in {request.read('v1alpha1')}",
        )
        assert request.read("v1alpha1")["status"]["cidr"].endswith(f"/{length}")
        assert request.read("v1beta1")["status"]["cidr"] == request.read("v1alpha1")["status"]["cidr"]
    assert by_cidr.read("v1beta1")["status"]["cidr"] == wanted
    assert by_size.read("v1beta1")["spec"] == {
        "range": {"name": "lan", "namespace": lab.namespace},
        "request": "26",
        "description": "mine",
    }
    assert by_cidr.read("v1alpha1")["spec"]["size"] == 24
    # Too much, and nonsense.
    busy = both("IPAMRequest", "busy")
    busy.create("v1alpha1", spec={"ipam": {"name": "lan"}, "request": wanted})
    wait_until(
        lambda: busy.read("v1alpha1").get("status", {}).get("state") == "Busy",
        lambda: f"Busy in {busy.read('v1alpha1')}",
    )
    # Immutable, as in the current version, and the refusal is understood by users of either.
    refused = by_size.try_patch("v1alpha1", {"spec": {"size": 25}})
    assert refused.status == 422 and "in v1alpha1 this is spec.size" in refused.message, refused
    refused = both("IPAMRange", "bad").try_create("v1alpha1", spec={"ranges": ["nowhere"]})
    assert refused.status == 422 and "nowhere" in refused.message, refused
    # Edited in the new, read in the old.
    by_size.patch("v1beta1", {"metadata": {"labels": {"a": "b"}}})
    assert by_size.read("v1alpha1")["metadata"]["labels"] == {"a": "b"}
    more = both("IPAMRequest", "more")
    more.create("v1beta1", spec={"range": {"name": "lan"}, "request": "#20"})
    assert more.read("v1alpha1")["spec"]["request"] == "#20"


def test_a_status_that_is_written_in_the_older_version(lab, both):
    lan = both("IPAMRange", "lan")
    lan.create("v1beta1", spec={"ranges": [str(harness.SPACE.ipv4(24))]})
    wait_until(
        lambda: objects.reason(lan.read("v1beta1")) == "Serving", lambda: f"{lan.read('v1beta1')}"
    )
    before = lan.read("v1beta1")["status"]
    lab.fleet.stop()
    # Without ipwarden nothing is converted, and the current version goes on.
    assert lan.read("v1beta1")["status"] == before
    lab.fleet.start()
    old = lan.read("v1alpha1")
    old["status"].update(state="Busy", message="says the older controller")
    lan.replace("v1alpha1", old, "status")
    # ipwarden knows better, and writes it; nothing else was lost.
    wait_until(
        lambda: lan.read("v1alpha1")["status"]["state"] == "Ready",
        lambda: f"{lan.read('v1alpha1')}",
    )
    after = lan.read("v1beta1")["status"]
    for name in ("total", "used", "free", "requests"):
        assert after.get(name) == before.get(name)
    # Whoever replaces the object without knowing of its status loses nothing of it.
    old = lan.read("v1alpha1")
    del old["status"]
    old["metadata"].pop("annotations", None)
    lan.replace("v1alpha1", old)
    assert lan.read("v1beta1")["status"] == after


# Watches


def test_watches_of_both_versions_see_what_is_written_in_either(lab, both):
    ip = address()
    claim = both("IpClaim", f"{ip.replace('.', '-')}-32")
    with Watch(lab, claim.path("v1"), claim.name) as old, Watch(
        lab, claim.path("v2"), claim.name
    ) as new:
        claim.create("v1", spec={"cidr": f"{ip}/32"})
        claim.patch("v2", {"spec": {"nodeName": "node-1"}})
        claim.patch("v1", {"spec": {"link": "eth1"}})
        claim.remove()
        for watch, version in ((old, "v1"), (new, "v2")):
            wait_until(lambda watch=watch: watch.has("DELETED"), lambda watch=watch: watch.events)
            assert watch.types()[0] == "ADDED" and watch.types()[-1] == "DELETED"
            last = watch.events[-1][1]
            assert last["apiVersion"] == f"ipcontroller.ext/{version}"
            assert last["spec"] == {"cidr": f"{ip}/32", "nodeName": "node-1", "link": "eth1"}
            assert not watch.errors()


# kubectl


def columns(lab, *arguments):
    lines = lab.kubectl("get", *arguments).stdout.splitlines()
    return lines[0].split()


def test_kubectl_shows_the_columns_of_either_version(lab, both):
    lan = both("IPAMRange", "lan")
    lan.create("v1alpha1", spec={"ranges": [str(harness.SPACE.ipv4(24))]})
    request = both("IPAMRequest", "some")
    request.create("v1alpha1", spec={"ipam": {"name": "lan"}, "size": 26})
    assert columns(lab, "ipamranges.v1alpha1.ipam.mandelsoft.org") == ["NAME", "MODE", "STATE"]
    assert columns(lab, "ipamrequests.v1alpha1.ipam.mandelsoft.org") == [
        *("NAME", "IPAM", "SIZE", "STATE", "CIDR"),
    ]
    assert columns(lab, "ipreq")[:4] == ["NAME", "RANGE", "REQUEST", "CIDR"]
    wait_until(
        lambda: "Ready"
        in lab.kubectl("get", "ipamrequests.v1alpha1.ipam.mandelsoft.org", "some").stdout.split(),
        "the state to be shown",
    )


def test_lists_in_either_version_are_whole_under_load(lab, both):
    lan = both("IPAMRange", "lan")
    lan.create("v1alpha1", spec={"ranges": [str(harness.SPACE.ipv4(20))]})
    versions = ("v1alpha1", "v1beta1")

    def create(index):
        request = both("IPAMRequest", f"q-{index}")
        version = versions[index % 2]
        old = {"ipam": {"name": "lan"}, "size": 30}
        new = {"range": {"name": "lan"}, "request": "30"}
        request.create(version, spec=new if index % 2 else old)
        return request.name

    done = []
    with harness.Load(3, create) as load:
        for index in range(20):
            before = set(load.results)
            version = versions[index % 2]
            answer = lab.read(f"/apis/ipam.mandelsoft.org/{version}/ipamrequests")
            mine = [
                item
                for item in answer.body["items"]
                if item["metadata"]["namespace"] == lab.namespace
            ]
            assert before <= {item["metadata"]["name"] for item in mine}
            spec = [item["spec"] for item in mine]
            assert all(s.get("size") == 30 or s.get("request") == "30" for s in spec), spec
            lines = lab.kubectl("get", f"ipamrequests.{version}.ipam.mandelsoft.org").stdout
            done.append(len(lines.splitlines()))
    assert done[-1] > 20
