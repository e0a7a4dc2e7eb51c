"""`ipwarden explain` says of an address what is stored, and why it can't be reached."""

import json
import subprocess

import harness
import objects
import pytest
from hand_made_nodes import EXCLUDE, HandMadeNodes, mac, now, put_slice
from harness import SPACE, wait_until
from replicas import BINARY


def explain(lab, *arguments, kubeconfig=None, code=0):
    """Runs `ipwarden explain` as a user of the cluster would."""
    done = subprocess.run(
        [BINARY, "explain", f"--kubeconfig={kubeconfig or lab.cluster.kubeconfig}", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nowhere"},
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def facts(lab, address):
    return json.loads(explain(lab, str(address), "-o", "json").stdout)


def reasons(lab, address):
    """The answer, and the reasons of what was found."""
    found = facts(lab, address)
    return found["reachable"], [finding["reason"] for finding in found["findings"]]


def says(lab, address, reachable, *wanted):
    """Waits until these are the reasons: what others write may be on its way."""
    wait_until(
        lambda: reasons(lab, address) == (reachable, list(wanted)),
        lambda: f"{reachable} {wanted}, not {json.dumps(facts(lab, address), indent=1)}",
    )


def served(lab, **options):
    """A Service that has an address, and the address."""
    service = lab.create(lab.service(auto=True, **options))
    return service, objects.external(service)[0]


@pytest.fixture
def nodes(lab):
    with HandMadeNodes(lab, 3) as nodes:
        yield nodes


def test_a_healthy_address(lab, nodes):
    pool = lab.pool(size=4)
    service, address = served(lab)
    put_slice(lab, service, nodes.names[0])
    claim = nodes.bound(address)
    says(lab, address, "yes")
    found = facts(lab, address)
    node = claim["spec"]["nodeName"]
    assert found["pool"]["name"] == pool["metadata"]["name"]
    assert found["claim"]["name"] == claim["metadata"]["name"]
    assert (found["node"], found["boundNode"]) == (node, node)
    assert found["standby"] in nodes.names and found["standby"] != node
    assert found["mac"] == mac(nodes.names.index(node))
    assert found["boundSince"] == claim["status"]["boundSince"]
    [entry] = found["services"]
    assert (entry["name"], entry["ports"], entry["given"], entry["stored"], entry["ready"]) == (
        service["metadata"]["name"], ["TCP/80"], True, True, True,
    )  # fmt: skip
    assert entry["endpointNodes"] == [nodes.names[0]]
    assert [node["name"] for node in found["nodes"]] == sorted(nodes.names)
    lines = explain(lab, address).stdout.splitlines()
    assert lines[0].split() == ["Address:", address]
    assert lines[-1].split() == ["Reachable:", "yes"]
    assert any(line.split()[:2] == ["Node:", node] for line in lines)


def test_addresses_that_nobody_has(lab):
    network = SPACE.ipv4(24)
    pool = lab.pool(network=network, exclude=[str(network[9])])
    name = pool["metadata"]["name"]
    says(lab, network[1], "no", "NoClaim")
    for address, why in (
        (network[9], f"it is excluded, pool {name}"),
        (network[0], f"it is the first or the last address of a network of the pool, pool {name}"),
        (network[255], f"it is the first or the last address of a network of the pool, pool {name}"),
        (SPACE.ipv4(24)[1], "it is outside all pools"),
        ("224.0.0.1", "no Service can have such an address: 224.0.0.0/4 (multicast)"),
        (SPACE.ipv6()[1], "it is outside all pools"),
    ):
        assert reasons(lab, address) == ("no", ["NoClaim", "NoPool"])
        assert f"no pool gives it: {why}" in explain(lab, str(address)).stdout
    held = lab.create(objects.claim(network[5]))
    assert reasons(lab, network[5]) == ("no", ["NoService"])
    lab.delete(held)


def test_without_agents_it_is_for_others_to_say(lab):
    lab.pool(size=1)
    service, address = served(lab)
    says(lab, address, "no", "NoEndpoints", "NoAgents")
    put_slice(lab, service, "some-node")
    says(lab, address, "unknown", "NoAgents")


def test_a_pool_that_isnt_announced(lab, nodes):
    lab.pool(size=1, announce="None")
    service, address = served(lab)
    put_slice(lab, service, nodes.names[0])
    says(lab, address, "unknown", "AnnounceNone")


def test_why_no_node_has_it(lab, nodes):
    one, two, three = nodes.names
    lab.pool(size=1, nodeSelector={"matchExpressions": [
        {"key": "zone", "operator": "In", "values": ["z0", "z1"]}]})  # fmt: skip
    nodes.say(one, Ready="False")
    nodes.change_node(one, {"spec": {"unschedulable": True}})
    nodes.change_node(two, {"metadata": {"labels": {EXCLUDE: ""}}})
    # That ipwarden has seen it, a Service tells that gets no node.
    def placed():
        service, address = served(lab)
        if "nodeName" not in lab.claim(address)["spec"]:
            return service, address
        lab.delete(service)
        lab.gone(address)
        return None

    service, address = wait_until(placed, "an address that no node may have")
    put_slice(lab, service, one)
    says(lab, address, "no", "NoNode")
    found = {node["name"]: node["reasons"] for node in facts(lab, address)["nodes"]}
    assert found[one] == ["its agent isn't ready: Ready by hand", "cordoned"]
    assert found[two] == [f"labelled {EXCLUDE}"]
    assert found[three] == [
        "the pool's nodeSelector (zone in (z0,z1)) doesn't match it"
    ]
    text = explain(lab, address).stdout
    assert f"      {three}: the pool's nodeSelector" in text
    nodes.change_node(two, {"metadata": {"labels": {EXCLUDE: None}}})
    assert nodes.bound(address)["spec"]["nodeName"] == two
    says(lab, address, "yes", "NoStandby")


def test_an_address_that_another_host_uses(lab):
    with HandMadeNodes(lab, 2, binds=False) as nodes:
        lab.pool(size=1)
        service, address = served(lab)
        put_slice(lab, service, nodes.names[0])
        says(lab, address, "no", "NotBound")
        claim = lab.claim(address)

        def in_use(message):
            condition = {"type": "AddressInUse", "status": "True", "reason": "AddressInUse",
                         "message": message, "lastTransitionTime": now()}  # fmt: skip
            answer = lab.try_patch(claim, {"status": {"conditions": [condition]}}, "status")
            assert answer.status == 200, answer

        in_use("02:99:00:00:00:01 answers")
        says(lab, address, "no", "AddressInUse")
        text = explain(lab, address).stdout
        assert "a host that is none of the nodes answers for the address: 02:99:00:00:00:01" in text
        in_use(f"{mac(0)} and {mac(1)} answer")
        assert "ipvs.strictARP: true" in explain(lab, address).stdout


def test_local_services_and_those_that_are_gone(lab, nodes):
    lab.pool(size=1)
    service = lab.load_balancer(externalTrafficPolicy="Local")
    put_slice(lab, service, nodes.names[1])
    service = lab.create(service)
    [address] = objects.ingress(lab.with_ingress(service))
    wait_until(
        lambda: nodes.bound(address)["spec"]["nodeName"] == nodes.names[1], "the node of its endpoint"
    )
    says(lab, address, "yes", "NoStandby")
    put_slice(lab, service)
    says(lab, address, "no", "NoEndpoints", "NoStandby")
    put_slice(lab, service, *nodes.names[:2])
    says(lab, address, "yes")
    finalizer = {"metadata": {"finalizers": ["e2e.example/stays"]}}
    lab.patch(service, finalizer)
    lab.delete(service)
    says(lab, address, "no", "ServiceDeleted")
    lab.patch(service, {"metadata": {"finalizers": None}})
    lab.gone(address)
    says(lab, address, "no", "NoClaim")


def test_users_with_few_rights(lab, editor):
    done = explain(
        lab, "192.0.2.1", kubeconfig=lab.cluster.user_kubeconfig(editor), code=1
    )
    assert done.stdout == ""
    assert "may not be read; this account needs get and list on ipclaims" in done.stderr


def test_bad_input(lab):
    for word, message in (
        ("192.0.2.0/24", '"192.0.2.0/24" is a network'),
        ("web", '"web"'),
        ("192-0-2-1-32", "its address is 192.0.2.1"),
    ):
        done = explain(lab, word, code=2)
        assert message in done.stderr and done.stdout == ""


def test_it_needs_no_ipwarden_that_runs(lab):
    lab.pool(size=1)
    _, address = served(lab)
    lab.fleet.stop()
    assert facts(lab, address)["claim"]["name"] == objects.claim_name(address)


def test_the_events_of_its_past(lab):
    pool = lab.pool(size=1)
    first, address = served(lab)
    waiting = lab.create(lab.load_balancer())
    lab.event(waiting, "AddressPending")
    lab.delete(first)
    lab.with_ingress(waiting)
    lab.event(waiting, "AddressAssigned")
    found = facts(lab, address)["events"]
    # Of the same second, perhaps: events have no finer time.
    told = sorted((event["kind"], event["reason"]) for event in found)
    assert told == [("Service", "AddressAssigned"), ("Service", "AddressPending")], pool
    harness.wait_until(lambda: "AddressAssigned" in explain(lab, address).stdout, "the event")
