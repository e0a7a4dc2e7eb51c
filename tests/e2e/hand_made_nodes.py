"""Nodes without machines and without agents: their IpNodes beat by hand, and what claims say of them
is written by hand, too. For what only reads or writes such objects; traffic needs real ones."""

import datetime

from harness import Load, wait_until

GROUP = "/apis/ipcontroller.ext/v2"
EXCLUDE = "node.kubernetes.io/exclude-from-external-load-balancers"


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def mac(index):
    return f"02:00:00:00:00:{index:02x}"


class HandMadeNodes:
    """with HandMadeNodes(lab, 3) as nodes: ... nodes.names[0]

    binds: claims of the test are bound by the node that they name, as agents would do it.
    """

    def __init__(self, lab, count, binds=True):
        self.lab = lab
        self.names = [f"{lab.name}-{lab.unique('n')}" for _ in range(count)]
        self.binds = binds
        self._made = []
        self._load = Load(1, self._beat, pause=0.2)

    def __enter__(self):
        for name in self.names:
            self.add(name)
        self._load.__enter__()
        return self

    def __exit__(self, *error):
        self._load.__exit__(*error)
        for claim in self.lab.claims():
            self.lab.try_patch({"kind": "IpClaim", **claim}, {"status": {"boundNode": ""}}, "status")
        for name in self._made:
            self.lab.request("DELETE", f"{GROUP}/ipnodes/{name}")
            self.lab.request("DELETE", f"/api/v1/nodes/{name}")

    def add(self, name, **conditions):
        index = len(self._made)
        node = {"metadata": {"name": name, "labels": {"zone": f"z{index}"}}}
        # A Node starts with the taint that a node controller would take away, which isn't judged.
        assert self.lab.request("POST", "/api/v1/nodes", node).status == 201
        item = {
            "apiVersion": "ipcontroller.ext/v2",
            "kind": "IpNode",
            "metadata": {"name": name},
            "spec": {"nodeName": name},
        }
        assert self.lab.request("POST", f"{GROUP}/ipnodes", item).status == 201
        self.say(name, Ready="True", **conditions)
        links = [{"name": "eth0", "mac": mac(index), "up": True}]
        self._patch_status(name, {"links": links})
        self._made.append(name)

    def say(self, name, **conditions):
        """Sets the conditions of an IpNode."""
        listed = [
            {"type": kind, "status": status, "reason": "ByHand", "message": f"{kind} by hand",
             "lastTransitionTime": now()}
            for kind, status in conditions.items()
        ]  # fmt: skip
        self._patch_status(name, {"conditions": listed})

    def change_node(self, name, patch):
        """Patches the Node: cordons, labels."""
        assert self.lab.request("PATCH", f"/api/v1/nodes/{name}", patch).status == 200

    def bound(self, address):
        """Waits until the address is bound by the node that its claim names; returns the claim."""

        def look():
            claim = self.lab.claim(address)
            node = claim["spec"].get("nodeName")
            return claim if node and claim.get("status", {}).get("boundNode") == node else None

        return wait_until(look, lambda: f"a node that has {self.lab.claim(address)}")

    def beat_on(self, count=10):
        """Waits for so many more heartbeats, so that whoever acts on them has had the time."""
        wanted = len(self._load.results) + count
        wait_until(lambda: len(self._load.results) >= wanted, f"{count} heartbeats")

    def _patch_status(self, name, status):
        path = f"{GROUP}/ipnodes/{name}/status"
        answer = self.lab.request("PATCH", path, {"status": status})
        assert answer.status == 200, answer

    def _beat(self, index):
        for name in list(self._made):
            self._patch_status(
                name,
                {
                    "revision": str(index + 1),
                    "heartbeatTime": now(),
                    "heartbeatInterval": "2s",
                },
            )
        for claim in self.lab.claims() if self.binds else ():
            self._bind(claim)

    def _bind(self, claim):
        node = claim["spec"].get("nodeName", "")
        if "deletionTimestamp" in claim["metadata"]:
            node = ""
        if node and node not in self._made or claim.get("status", {}).get("boundNode", "") == node:
            return
        status = {"boundNode": node, "boundSince": now()}
        if node:
            status["mac"] = mac(self._made.index(node))
        # It may have gone meanwhile.
        self.lab.try_patch({"kind": "IpClaim", **claim}, {"status": status}, "status")


def slice_of(service, *nodes):
    """An EndpointSlice of the Service with a ready endpoint on each of the nodes."""
    metadata = service["metadata"]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{metadata['name']}-by-hand",
            "namespace": metadata["namespace"],
            "labels": {"kubernetes.io/service-name": metadata["name"]},
        },
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": [f"10.99.0.{i + 1}"], "nodeName": node, "conditions": {"ready": True}}
            for i, node in enumerate(nodes)
        ],
        "ports": [{"port": 8080, "protocol": "TCP"}],
    }


def put_slice(lab, service, *nodes):
    item = slice_of(service, *nodes)
    path = f"/apis/discovery.k8s.io/v1/namespaces/{item['metadata']['namespace']}/endpointslices"
    lab.request("DELETE", f"{path}/{item['metadata']['name']}")
    answer = lab.request("POST", path, item)
    assert answer.status == 201, answer

