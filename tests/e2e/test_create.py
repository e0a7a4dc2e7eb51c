"""The main job: a Service has its address when its creation returns."""

import ipaddress
import json
import time

import pytest

import objects
from harness import SPACE, parallel


def test_create_answers_with_the_address_in_it(lab):
    pool = lab.pool(size=10)
    created = lab.create(lab.service(auto=True))
    (address,) = objects.external(created)
    assert objects.has_address(pool, address)
    # Nothing is written into it but the address.
    assert created["metadata"]["annotations"] == {objects.AUTO: "auto"}
    assert "labels" not in created["metadata"] and "finalizers" not in created["metadata"]
    assert lab.get(created)["spec"]["externalIPs"] == [address]


def test_the_claim_behind_a_service_says_whose_it_is(lab):
    pool = lab.pool(size=10)
    created = lab.create(lab.service("web", auto=True, ports=(80, "UDP/53")))
    (address,) = objects.external(created)
    claim = lab.claimed(address, created)
    assert claim["spec"]["cidr"] == f"{address}/32"
    assert claim["spec"]["pool"] == pool["metadata"]["name"]
    assert claim["metadata"]["labels"]["ip-pool-name"] == pool["metadata"]["name"]
    (entry,) = claim["spec"]["services"]
    assert (entry["namespace"], entry["name"]) == (lab.namespace, "web")
    assert entry["uid"] == created["metadata"]["uid"] and entry["given"] is True
    assert sorted(entry["ports"]) == ["TCP/80", "UDP/53"]
    assert "annotations" not in claim["metadata"]
    lab.check_at_rest()


def test_addresses_of_a_range_are_given_from_the_lowest(lab):
    pool = lab.pool(size=3)
    given = [objects.external(lab.create(lab.service(auto=True)))[0] for _ in range(3)]
    first = ipaddress.ip_address(pool["spec"]["addresses"][0].split("-")[0])
    assert given == [str(first), str(first + 1), str(first + 2)]


def test_a_pool_without_ranges_keeps_the_networks_own_and_the_broadcast_address(lab):
    network = SPACE.ipv4(30)
    lab.pool(network=network)
    given = [objects.external(lab.create(lab.service(auto=True)))[0] for _ in range(2)]
    assert given == [str(network[1]), str(network[2])]
    assert lab.try_create(lab.service(auto=True)).status == 403


def test_a_load_balancer_gets_its_address_into_the_ingress(lab):
    lab.pool(size=10)
    began = time.monotonic()
    created = lab.create(lab.load_balancer())
    returned = time.monotonic()
    stored = lab.with_ingress(created)
    shown = time.monotonic()
    print(f"load balancer: created in {(returned - began) * 1e3:.1f} ms, ", end="")
    print(f"ingress {(shown - returned) * 1e3:.1f} ms later")
    (entry,) = stored["status"]["loadBalancer"]["ingress"]
    assert entry["ipMode"] == "VIP"
    assert not objects.external(stored)
    assert "annotations" not in stored["metadata"]
    lab.claimed(entry["ip"], stored)
    lab.check_at_rest()


def test_a_load_balancer_of_our_class_is_served_and_one_of_another_class_is_not(lab):
    lab.pool(size=10)
    other = lab.create(lab.load_balancer(loadBalancerClass="example.com/other"))
    ours = lab.create(lab.load_balancer(loadBalancerClass=objects.CLASS))
    lab.with_ingress(ours)
    assert not objects.ingress(lab.get(other)) and len(lab.claims()) == 1


def test_node_ports_of_a_load_balancer_do_no_harm(lab):
    lab.pool(size=10)
    lab.with_ingress(lab.create(lab.load_balancer(allocateLoadBalancerNodePorts=True)))


def test_a_node_port_service_can_ask_for_an_address_too(lab):
    lab.pool(size=10)
    assert objects.external(lab.create(lab.service(auto=True, type="NodePort")))


def test_an_address_can_be_asked_for_by_name(lab):
    pool = lab.pool(size=10)
    wanted = objects.nth(pool, 7)
    asks = {objects.ADDRESSES: wanted}
    created = lab.create(lab.service(auto=True, annotations=asks))
    assert objects.external(created) == [wanted]
    again = lab.try_create(lab.service(auto=True, annotations=asks))
    assert again.status == 403 and wanted in again.message
    wanted = objects.nth(pool, 8)
    balancer = lab.create(lab.load_balancer(annotations={objects.ADDRESSES: wanted}))
    assert objects.ingress(lab.with_ingress(balancer)) == [wanted]


def test_addresses_set_by_the_user_are_claimed_for_the_service(lab):
    pool = lab.pool(size=10)
    wanted = [objects.nth(pool, number) for number in (4, 6)]
    created = lab.create(lab.service(externalIPs=wanted))
    assert objects.external(created) == wanted
    for address in wanted:
        claim = lab.claimed(address, created)
        assert claim["spec"]["services"][0]["given"] is False
    lab.check_at_rest()


@pytest.mark.parametrize("value", ["not-an-address", "10.0.0.1/24", "", "1.2.3.4;1.2.3.5"])
def test_a_malformed_request_for_an_address_is_refused_and_says_so(lab, value):
    lab.pool(size=10)
    answer = lab.try_create(lab.service(auto=True, annotations={objects.ADDRESSES: value}))
    if value == "":
        assert answer.ok or answer.status in (403, 422), answer
    else:
        assert answer.status == 422, answer
        assert objects.ADDRESSES in answer.message
    lab.check_at_rest(rules=("I1", "I2", "I3"))


def test_describe_shows_the_event_of_one_that_had_waited(lab):
    created = lab.create(lab.load_balancer("web"))
    lab.event(created, "AddressPending")
    pool = lab.pool(size=10)
    (address,) = objects.ingress(lab.with_ingress(created))
    assert lab.event(created, "AddressAssigned") == (
        f"{address} from pool {pool['metadata']['name']}"
    )
    shown = lab.kubectl("describe", "service", "web").stdout
    (line,) = [line for line in shown.splitlines() if "AddressAssigned" in line]
    assert line.split()[0] == "Normal" and address in line


def test_claims_and_pools_are_readable_in_tables(lab):
    pool = lab.pool(size=10)
    created = lab.create(lab.service("web", auto=True))
    (address,) = objects.external(created)
    lab.claimed(address, created)
    lab.check_at_rest()
    table = lab.kubectl("get", "ipclaims", namespace=False).stdout.splitlines()
    columns = ["NAME", "ADDRESS", "POOL", "NAMESPACE", "SERVICE", "NODE", "BOUND", "AGE"]
    assert table[0].split() == columns
    (row,) = [line.split() for line in table if line.startswith(objects.claim_name(address))]
    assert row[1:5] == [f"{address}/32", pool["metadata"]["name"], lab.namespace, "web"]
    table = lab.kubectl("get", "icp", namespace=False).stdout.splitlines()
    assert table[0].split() == ["NAME", "ADDRESSES", "USED", "FREE", "TOTAL", "READY", "AGE"]
    (row,) = [line.split() for line in table if line.startswith(pool["metadata"]["name"])]
    assert row[1:6] == [json.dumps(pool["spec"]["addresses"]), "1", "9", "10", "True"]
    both = lab.kubectl("get", "ipclaims,ipclaimpools", namespace=False).stdout
    assert address in both and pool["metadata"]["name"] in both
    assert address in lab.kubectl("get", "services").stdout


@pytest.mark.parametrize(
    "resource",
    [
        "ipclaimpools.ipcontroller.ext",
        "ipclaims.ipcontroller.ext",
        "ipamranges.ipam.mandelsoft.org",
        "ipamrequests.ipam.mandelsoft.org",
    ],
)
def test_every_field_is_explained_in_both_versions(lab, resource):
    schema = lab.kubectl("get", "crd", resource, "-o", "json", namespace=False)
    plural, _, group = resource.partition(".")
    versions = json.loads(schema.stdout)["spec"]["versions"]
    assert len(versions) == 2
    for version in versions:
        asked = (f"{plural}.spec", f"--api-version={group}/{version['name']}")
        text = lab.kubectl("explain", *asked, namespace=False).stdout
        spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
        for field, about in spec["properties"].items():
            assert len(about["description"]) > 20, field
            first_words = " ".join(about["description"].split()[:3])
            assert field in text and first_words in " ".join(text.split()), (asked, field)


def test_two_hundred_services_get_two_hundred_addresses(lab):
    lab.pool(size=200)
    items = [lab.service(auto=True) for _ in range(200)]
    created = parallel(8, lab.create, items)
    given = {address for service in created for address in objects.external(service)}
    assert len(given) == 200
    lab.check(rules=("I1", "I2"))
    for service in created:
        lab.claimed(objects.external(service)[0], service)
    lab.check_at_rest()
