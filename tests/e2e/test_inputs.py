"""ipwarden is asked when one of the fields changes that decide about addresses, and else never.

Which these are is a list in the program, server/objects/service_inputs.h, by which it also decodes;
all others are whatever else the API server's own schema has.
"""

import copy
import json
import re

import pytest

import objects
from counting import Calls, settle
from harness import TOP

HEADER = TOP / "server" / "objects" / "service_inputs.h"
ANNOTATIONS = "metadata.annotations"


def inputs():
    """{(parent, member)} of the program's own list."""
    text = HEADER.read_text()
    (body,) = re.findall(r"#define SERVICE_INPUTS\(X\)(.*?)\n\n", text, re.DOTALL)
    return set(re.findall(r'X\(\w+,\s*"([^"]+)",\s*"([^"]+)"\)', body))


def balancer(**spec):
    return {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False, **spec}


PORT = {"name": "p80", "port": 80, "protocol": "TCP"}
DUAL = {"ipFamilyPolicy": "RequireDualStack"}

# For each input, edits that change it: merge patches of one part of the object. Where the API server
# lets no Service of a kind have it, the edit changes what it must as well.
CHANGES = {
    (ANNOTATIONS, objects.AUTO): [{objects.AUTO: "auto"}, {objects.AUTO: None}],
    (ANNOTATIONS, objects.POOL): [{objects.POOL: "another"}],
    (ANNOTATIONS, objects.ADDRESSES): [{objects.ADDRESSES: "192.0.2.1"}],
    ("spec", "externalIPs"): [{"externalIPs": ["192.0.2.1"]}, {"externalIPs": None}],
    ("spec", "type"): [{"type": "NodePort"}, balancer()],
    ("spec", "loadBalancerClass"): [balancer(loadBalancerClass=objects.CLASS)],
    ("spec", "loadBalancerIP"): [{"loadBalancerIP": "192.0.2.1"}],
    ("spec", "ipFamilies"): [{"ipFamilies": ["IPv4", "IPv6"], **DUAL}],
    ("spec", "ipFamilyPolicy"): [DUAL, {"ipFamilyPolicy": "PreferDualStack"}],
    ("spec", "ports"): [
        {"ports": [{**PORT, "port": 81}]},
        {"ports": [{**PORT, "protocol": "UDP"}]},
        {"ports": [PORT, {"name": "more", "port": 81}]},
    ],
}

KINDS = {
    "auto": lambda lab: lab.service(auto=True),
    "by hand": lambda lab: lab.service(externalIPs=[lab.free]),
    "load balancer": lambda lab: lab.load_balancer(),
    "plain": lambda lab: lab.service(),
    "of another class": lambda lab: lab.load_balancer(loadBalancerClass="example.com/other"),
}
# Those that have no address of ours and want none, and the inputs that alone don't make them want one:
# they say how an address is chosen, and none is.
UNCONCERNED = ("plain", "of another class")
ONLY_HOW = {
    (ANNOTATIONS, objects.POOL),
    (ANNOTATIONS, objects.ADDRESSES),
    ("spec", "loadBalancerIP"),
    ("spec", "ipFamilies"),
    ("spec", "ipFamilyPolicy"),
    ("spec", "ports"),
}

# Other values for what is no input, by the name of the field in the API server's schema.
SPEC = {
    "allocateLoadBalancerNodePorts": [True],
    "clusterIP": ["10.0.77.77", "None"],
    "clusterIPs": [["10.0.77.77"]],
    "externalName": ["example.com"],
    "externalTrafficPolicy": ["Local"],
    "healthCheckNodePort": [31999],
    "internalTrafficPolicy": ["Local"],
    "loadBalancerSourceRanges": [["10.0.0.0/8"]],
    "publishNotReadyAddresses": [True],
    "selector": [{"app": "web"}],
    "sessionAffinity": ["ClientIP"],
    "sessionAffinityConfig": [{"clientIP": {"timeoutSeconds": 77}}],
    "trafficDistribution": ["PreferClose"],
}
PORTS = {
    "name": ["another"],
    "targetPort": [8080, "http"],
    "nodePort": [31998],
    "appProtocol": ["http"],
}
METADATA = {
    "annotations": [
        {"a": "b", "external-ip.example.com/a": "auto", "ipcontroller.ext/address": "192.0.2.1"},
        {"service.beta.kubernetes.io/a": "b", "ipcontroller.ext/sharing-key": "a"},
    ],
    "labels": [{"external-ip": "auto", "ipcontroller.ext/pool": "another"}],
    "finalizers": [["example.com/a"]],
    "ownerReferences": [
        [{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "0000-0001"}],
    ],
    # Whoever writes under another name is another manager.
    "managedFields": [[{}]],
}
# The API server's own: no edit changes them, or all do.
ITS_OWN = {
    "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generateName",
    "generation", "name", "namespace", "resourceVersion", "selfLink", "uid",
}  # fmt: skip


@pytest.fixture
def pooled(lab):
    pool = lab.pool(size=6)
    lab.free = pool["spec"]["addresses"][0].split("-")[1]
    return lab


def stored(lab, kind):
    """A Service of the kind, at rest."""
    service = lab.create(KINDS[kind](lab))
    if kind == "load balancer":
        lab.with_ingress(service)
    settle(lab)
    lab.check_at_rest()
    return lab.get(service)


def calls_of(lab, service, patch):
    """(how often ipwarden was asked, the answer) for a dry run of an edit."""
    calls = Calls(lab.fleet)
    path = objects.path_of(service) + "?dryRun=All&fieldManager=e2e"
    answer = lab.request("PATCH", path, patch)
    return calls.count(), answer


def patch_of(parent, change):
    for part in reversed(parent.split(".")):
        change = {part: change}
    return change


def is_changed(service, parent, change):
    part = service
    for name in parent.split("."):
        part = part.get(name) or {}
    return any(part.get(name) != value for name, value in change.items())


def test_each_input_of_the_programs_list_is_tried_here():
    assert inputs() == set(CHANGES)


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_of_an_input_reaches_ipwarden(pooled, kind):
    service = stored(pooled, kind)
    unheard, needless = [], []
    for (parent, member), changes in CHANGES.items():
        # The API server lets no load balancer change its class.
        if member == "loadBalancerClass" and service["spec"]["type"] == "LoadBalancer":
            continue
        for change in changes:
            if not is_changed(service, parent, change):
                continue
            count, answer = calls_of(pooled, service, patch_of(parent, change))
            wanted = kind not in UNCONCERNED or (parent, member) not in ONLY_HOW
            # What ceases to be a load balancer is freed once that is stored: nobody need be asked.
            if change == {"type": "NodePort"} and kind not in ("auto", "by hand"):
                wanted = False
            if wanted and not count:
                unheard.append((change, str(answer)[:200]))
            elif count and not wanted:
                needless.append((change, str(answer)[:200]))
    assert not unheard and not needless, f"not heard of: {unheard}\nneedlessly: {needless}"


def others(lab):
    """(what, patch) for every field of a Service that is no input."""
    status, schema = lab.cluster.request("GET", "/openapi/v3/api/v1")
    assert status == 200
    schemas = schema["components"]["schemas"]
    core = "io.k8s.api.core.v1."
    spec = set(schemas[f"{core}ServiceSpec"]["properties"])
    spec -= {member for parent, member in inputs() if parent == "spec"}
    assert spec == set(SPEC), "a field that is tried nowhere, or that there isn't"
    ports = set(schemas[f"{core}ServicePort"]["properties"]) - {"port", "protocol"}
    assert ports == set(PORTS)
    metadata = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    assert set(schemas[metadata]["properties"]) - ITS_OWN == set(METADATA)
    for table, wrap in (
        (SPEC, lambda name, value: {"spec": {name: value}}),
        (PORTS, lambda name, value: {"spec": {"ports": [{**PORT, name: value}]}}),
        (METADATA, lambda name, value: {"metadata": {name: value}}),
    ):
        for name, values in table.items():
            for value in values:
                yield name, wrap(name, value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_of_any_other_field_reaches_ipwarden_never(pooled, kind):
    service = stored(pooled, kind)
    heard, stored_so = [], 0
    for name, patch in others(pooled):
        count, answer = calls_of(pooled, service, patch)
        assert answer.status in (200, 422), (name, answer)
        stored_so += answer.ok
        if count:
            heard.append((name, json.dumps(patch), str(answer)[:200]))
    assert not heard, "\n".join(map(str, heard))
    # Not all of them make sense for each kind; most do.
    assert stored_so >= 15, stored_so


@pytest.mark.parametrize("kind", KINDS)
def test_conditions_and_host_names_in_the_status_reach_ipwarden_never(pooled, kind):
    service = stored(pooled, kind)
    condition = {
        "type": "example.com/A",
        "status": "True",
        "reason": "A",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    entries = copy.deepcopy(service["status"]["loadBalancer"].get("ingress") or [])
    for status in (
        {"conditions": [condition]},
        {"loadBalancer": {"ingress": [*entries, {"hostname": "example.com"}]}},
        {"loadBalancer": {"ingress": []}},
    ):
        calls = Calls(pooled.fleet)
        path = objects.path_of(service) + "/status?dryRun=All"
        answer = pooled.request("PATCH", path, {"status": status})
        assert answer.ok or answer.status == 422, answer
        assert calls.count() == 0, (status, answer)


@pytest.mark.parametrize("kind", KINDS)
def test_deleting_reaches_ipwarden_never(pooled, kind):
    service = stored(pooled, kind)
    calls = Calls(pooled.fleet)
    pooled.delete(service)
    pooled.is_gone(service)
    assert calls.count() == 0
