"""Manifests as users of the two older systems have them, applied unchanged with kubectl."""

import ipaddress
import json

import pytest

import objects
from harness import SPACE, wait_until

OLD_POOLS = "/apis/ipcontroller.ext/v1/ipclaimpools"
OLD_CLAIMS = "/apis/ipcontroller.ext/v1/ipclaims"
OLD_IPAM = "/apis/ipam.mandelsoft.org/v1alpha1/namespaces"

POOL = """
apiVersion: ipcontroller.ext/v1
kind: IpClaimPool
metadata:
  name: {name}
spec:
  cidr: {cidr}
"""

AUTO_SERVICE = """
apiVersion: v1
kind: Service
metadata:
  name: {name}
  annotations:
    external-ip: auto
spec:
  selector: {{run: nginx}}
  ports: [{{port: 80, protocol: TCP}}]
"""

LISTED_SERVICE = """
apiVersion: v1
kind: Service
metadata:
  name: {name}
spec:
  selector: {{run: nginx}}
  ports: [{{port: {port}, protocol: TCP}}]
  externalIPs: [{address}]
"""

RANGE = """
apiVersion: ipam.mandelsoft.org/v1alpha1
kind: IPAMRange
metadata:
  name: {name}
spec:
  ranges: [{ranges}]
"""

REQUEST = """
apiVersion: ipam.mandelsoft.org/v1alpha1
kind: IPAMRequest
metadata:
  name: {name}
spec:
  ipam: {{name: {range}}}
"""


def apply(lab, text, namespace=True):
    lab.kubectl("apply", "-f", "-", input=text, namespace=namespace)


def old_pool(lab, network, ranges=(), allocated=None):
    """Applies a pool, and waits until every replica knows it."""
    name = f"{lab.name}-{lab.unique('old')}"
    text = POOL.format(name=name, cidr=network)
    if ranges:
        text += "  ranges:\n" + "".join(f"    - - {a}\n      - {b}\n" for a, b in ranges)
    if allocated:
        text += "  allocated:\n" + "".join(f"    {a}: {b}\n" for a, b in allocated.items())
    lab.owns_pool(name)
    apply(lab, text, namespace=False)
    made = objects.pool(name, None)
    wait_until(lambda: lab.pool_ready(made), lambda: f"a ready pool, not {lab.get(made)}")
    return made


def old_claim(lab, address):
    """The claim of an address as a client of the older version reads it, or None."""
    answer = lab.read(f"{OLD_CLAIMS}/{objects.claim_name(address)}")
    return answer.body if answer.ok else None


def given(lab, name):
    return objects.external(lab.get(lab.service(name)))


def old(lab, kind, name, namespace=None):
    """A range or request as a client of the older version reads it."""
    path = f"{OLD_IPAM}/{namespace or lab.namespace}/{kind}/{name}"
    answer = lab.read(path)
    return answer.body if answer.ok else None


def in_state(lab, kind, name, state, namespace=None):
    """Waits until its status.state says that, and returns it."""

    def look():
        stored = old(lab, kind, name, namespace)
        return stored if ((stored or {}).get("status") or {}).get("state") == state else None

    return wait_until(look, lambda: f"state {state} in {old(lab, kind, name, namespace)}")


def asks(lab, name, range_, namespace=True, **spec):
    """Applies a request; spec is written as it is."""
    text = REQUEST.format(name=name, range=range_)
    text += "".join(f"  {key}: {value}\n" for key, value in spec.items())
    apply(lab, text, namespace)


@pytest.fixture
def network():
    return SPACE.ipv4(29)


def test_a_pool_of_pairs_serves_a_service_that_asks(lab, network):
    first, last = network[2], network[3]
    pool = old_pool(lab, network, [(first, last)])
    for name, expected in (("a", [str(first)]), ("b", [str(last)])):
        apply(lab, AUTO_SERVICE.format(name=name))
        assert given(lab, name) == expected
        claim = old_claim(lab, expected[0])
        assert claim["apiVersion"] == "ipcontroller.ext/v1", claim
        assert claim["metadata"]["name"] == expected[0].replace(".", "-") + "-32"
        assert claim["metadata"]["labels"]["ip-pool-name"] == pool["metadata"]["name"], claim
        assert claim["spec"]["cidr"] == f"{expected[0]}/32", claim
    lab.kubectl("delete", "service", "a")
    lab.gone(first)
    apply(lab, AUTO_SERVICE.format(name="c"))
    assert given(lab, "c") == [str(first)]


def test_a_pool_without_pairs_gives_neither_its_first_nor_its_last_address(lab, network):
    old_pool(lab, network)
    hosts = [str(address) for address in network.hosts()]
    for number in range(len(hosts)):
        apply(lab, AUTO_SERVICE.format(name=f"s{number}"))
    assert sorted(given(lab, f"s{n}")[0] for n in range(len(hosts))) == sorted(hosts)


def test_a_load_balancer_shows_its_address(lab, network):
    old_pool(lab, network)
    text = LISTED_SERVICE.format(name="lb", port=80, address="")
    apply(lab, text.replace("  externalIPs: []\n", "  type: LoadBalancer\n"))
    stored = lab.with_ingress(lab.service("lb"))
    assert ipaddress.ip_address(objects.ingress(stored)[0]) in network
    assert old_claim(lab, objects.ingress(stored)[0])


def test_services_share_an_address_that_they_list(lab, network):
    old_pool(lab, network)
    address = str(network[4])
    for port in (80, 443):
        apply(lab, LISTED_SERVICE.format(name=f"on-{port}", port=port, address=address))
        assert given(lab, f"on-{port}") == [address]
    claim = lab.claim(address)
    assert [s["name"] for s in claim["spec"]["services"]] == ["on-80", "on-443"], claim
    lab.kubectl("delete", "service", "on-80")
    wait_until(
        lambda: [s["name"] for s in lab.claim(address)["spec"]["services"]] == ["on-443"],
        lambda: f"one Service in {lab.claim(address)}",
    )
    lab.kubectl("delete", "service", "on-443")
    lab.gone(address)


def test_a_pair_added_in_the_older_version_serves(lab, network):
    pool = old_pool(lab, network, [(network[2], network[2])])
    apply(lab, AUTO_SERVICE.format(name="a"))
    pairs = [[str(network[2])] * 2, [str(network[5])] * 2]
    patch = json.dumps({"spec": {"ranges": pairs}})
    resource = f"ipclaimpools.v1.ipcontroller.ext/{pool['metadata']['name']}"
    lab.kubectl("patch", resource, "--type=merge", "-p", patch, namespace=False)

    def served():
        answer = lab.try_create(lab.service("b", auto=True))
        return answer.ok and objects.external(answer.body)

    assert wait_until(served, "an address of the new pair") == [str(network[5])]
    stored = lab.read(f"{OLD_POOLS}/{pool['metadata']['name']}").body
    assert stored["spec"]["ranges"] == pairs, stored
    assert stored["spec"]["cidr"] == str(network), stored


def test_what_the_older_system_noted_as_allocated_is_not_given(lab, network):
    first, second = network[1], network[2]
    pool = old_pool(lab, network, allocated={first: f"{str(first).replace('.', '-')}-29"})
    apply(lab, AUTO_SERVICE.format(name="a"))
    assert given(lab, "a") == [str(second)]
    stored = lab.read(f"{OLD_POOLS}/{pool['metadata']['name']}").body
    assert list(stored["spec"]["allocated"]) == [str(first)], stored


def test_a_claim_of_the_older_system_is_its_services(lab, network):
    """Its name has the pool's mask, and its owner references name the Services."""
    old_pool(lab, network)
    address = network[1]
    name = f"{str(address).replace('.', '-')}-29"
    reference = {
        "apiVersion": "v1",
        "kind": "ServiceReference",
        "name": "kept",
        "uid": f"{lab.namespace}/kept",
    }
    claim = {
        "apiVersion": "ipcontroller.ext/v1",
        "kind": "IpClaim",
        "metadata": {"name": name, "ownerReferences": [reference]},
        "spec": {"cidr": f"{address}/29"},
    }
    apply(lab, json.dumps(claim), namespace=False)
    apply(lab, LISTED_SERVICE.format(name="kept", port=80, address=address))
    assert given(lab, "kept") == [str(address)]
    assert lab.claim(address) is None, "a second claim of one address"
    apply(lab, AUTO_SERVICE.format(name="other"))
    assert given(lab, "other") == [str(network[2])]
    # What the older version has no words for has been added: since when, given or not, the ports.
    lab.check_at_rest()
    lab.kubectl("delete", "service", "kept")
    wait_until(
        lambda: not lab.request("GET", f"{OLD_CLAIMS}/{name}").ok,
        lambda: f"the older claim to go: {lab.request('GET', f'{OLD_CLAIMS}/{name}')}",
    )


# Ranges and requests


def test_a_range_goes_round_in_chunks(lab):
    network = "10.64.0.0/22"
    apply(lab, RANGE.format(name="r", ranges=network) + "  mode: RoundRobin\n  chunkSize: 24\n")
    in_state(lab, "ipamranges", "r", "Ready")
    cidrs = []
    for number in range(3):
        asks(lab, f"q{number}", "r")
        cidrs.append(in_state(lab, "ipamrequests", f"q{number}", "Ready")["status"]["cidr"])
        if number == 1:
            lab.kubectl("delete", "ipamrequests.v1alpha1.ipam.mandelsoft.org", "q0")
    # What was freed rests for as long as there is other room.
    assert cidrs == ["10.64.0.0/24", "10.64.1.0/24", "10.64.2.0/24"]
    stored = old(lab, "ipamranges", "r")
    assert stored["spec"]["chunkSize"] == 24 and stored["spec"]["mode"] == "RoundRobin", stored
    assert stored["status"]["roundRobin"] == ["10.64.3.0/24"], stored


@pytest.mark.parametrize(
    ("spec", "cidr"),
    [
        ({"size": 28}, "10.65.0.0/28"),
        ({"size": 0}, "10.65.0.0/32"),
        ({"size": -1}, "10.65.0.0/32"),
        ({}, "10.65.0.0/32"),
        ({"request": "10.65.0.64/26"}, "10.65.0.64/26"),
        ({"request": "10.65.0.7"}, "10.65.0.7/32"),
    ],
)
def test_a_request_gets_what_it_asks_for(lab, spec, cidr):
    apply(lab, RANGE.format(name="r", ranges="10.65.0.0/24"))
    asks(lab, "q", "r", **spec)
    stored = in_state(lab, "ipamrequests", "q", "Ready")
    assert stored["status"]["cidr"] == cidr
    assert {key: stored["spec"][key] for key in spec} == spec, stored
    assert stored["spec"]["ipam"]["name"] == "r"


def test_a_request_of_another_namespace_is_served(lab):
    other = lab.add_namespace(lab.unique(lab.name))
    apply(lab, RANGE.format(name="r", ranges="10.66.0.0/24"))
    text = REQUEST.format(name="q", range="r").replace(
        "name: r}", f"name: r, namespace: {lab.namespace}}}"
    )
    lab.cluster.kubectl("apply", "-f", "-", "--namespace", other, input=text)
    stored = in_state(lab, "ipamrequests", "q", "Ready", namespace=other)
    assert stored["spec"]["ipam"] == {"name": "r", "namespace": lab.namespace}


def test_states_are_those_of_the_older_system(lab):
    # Once the range is there, such a request is refused.
    asks(lab, "q3", "r", size=40)
    apply(lab, RANGE.format(name="r", ranges="10.67.0.0/31"))
    asks(lab, "q1", "r", size=31)
    in_state(lab, "ipamrequests", "q1", "Ready")
    asks(lab, "q2", "r", size=32)
    busy = in_state(lab, "ipamrequests", "q2", "Busy")
    assert busy["status"]["message"] and not busy["status"].get("cidr"), busy
    assert in_state(lab, "ipamrequests", "q3", "Invalid")["status"]["message"]
    lab.kubectl("delete", "ipamrequests.v1alpha1.ipam.mandelsoft.org", "q1")
    in_state(lab, "ipamrequests", "q2", "Ready")
    lab.kubectl("delete", "ipamranges.v1alpha1.ipam.mandelsoft.org", "r", "--wait=false")
    assert in_state(lab, "ipamranges", "r", "Deleting")["metadata"]["deletionTimestamp"]
    lab.kubectl("delete", "ipamrequests.v1alpha1.ipam.mandelsoft.org", "q2", "q3")
    wait_until(lambda: not old(lab, "ipamranges", "r"), "the range to go")


def columns(lab, resource):
    """The header and the rows that kubectl prints for it."""
    lines = lab.kubectl("get", resource).stdout.splitlines()
    return [line.split() for line in lines]


def test_kubectl_prints_the_older_columns(lab):
    apply(lab, RANGE.format(name="r", ranges="10.68.0.0/24"))
    asks(lab, "q", "r", size=28)
    in_state(lab, "ipamrequests", "q", "Ready")
    assert columns(lab, "ipamranges.v1alpha1.ipam.mandelsoft.org") == [
        ["NAME", "MODE", "STATE"],
        ["r", "FirstMatch", "Ready"],
    ]
    assert columns(lab, "ipamrequests.v1alpha1.ipam.mandelsoft.org") == [
        ["NAME", "IPAM", "SIZE", "STATE", "CIDR"],
        ["q", "r", "28", "Ready", "10.68.0.0/28"],
    ]
