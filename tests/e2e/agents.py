"""Agents as the control plane sees them: IpNodes that beat, and claims that somebody binds, without a
network. What each has "bound" is only said in the claims' statuses."""

import contextlib
import threading
import time

import objects
from harness import Answer, wait_until

NODES = "/api/v1/nodes"
IP_NODES = objects.PATHS["IpNode"]
CLAIMS = objects.PATHS["IpClaim"]
SLICES = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"
FINALIZER = "ipcontroller.ext/bound"
EXCLUDE = "node.kubernetes.io/exclude-from-external-load-balancers"
APPLY = "application/apply-patch+yaml"


class Agents:
    """Some nodes with an agent each. One thread beats for all of them, another one binds."""

    def __init__(self, cluster, names, interval=0.3, nodes=True):
        self.cluster = cluster
        self.interval = interval
        self.names = list(names)
        self.beating = set()
        self.binding = True
        self._revision = 0
        self._nodes = nodes
        self._ended = threading.Event()
        self._threads = []
        self.failed = []

    def __enter__(self):
        for name in self.names:
            if self._nodes:
                self.add_node(name)
            self.add(name)
        self._threads = [threading.Thread(target=self._run, args=(do,)) for do in (self._beat, self._bind)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        for thread in self._threads:
            thread.join()
        for name in self.names:
            self.request("DELETE", f"{IP_NODES}/{name}")
            self.request("DELETE", f"{NODES}/{name}")

    def request(self, method, path, body=None, **options):
        return Answer(*self.cluster.request(method, path, body, **options))

    # Nodes

    def add_node(self, name, **labels):
        body = {"metadata": {"name": name, "labels": labels}}
        assert self.request("POST", NODES, body).status in (201, 409)

    def add(self, name):
        body = {
            "apiVersion": "ipcontroller.ext/v2",
            "kind": "IpNode",
            "metadata": {"name": name},
            "spec": {"nodeName": name},
        }
        assert self.request("POST", IP_NODES, body).status in (201, 409)
        self.ready(name)
        self.beating.add(name)

    def ready(self, name, ready=True):
        """What an agent applies of itself."""
        condition = {
            "type": "Ready",
            "status": str(ready),
            "reason": "Ready" if ready else "LinkDown",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        body = {
            "apiVersion": "ipcontroller.ext/v2",
            "kind": "IpNode",
            "metadata": {"name": name},
            "status": {"addresses": [], "links": [], "conditions": [condition]},
        }
        path = f"{IP_NODES}/{name}/status?fieldManager=ipwarden-agent&force=true"
        answer = self.request("PATCH", path, body, content_type=APPLY)
        assert answer.status == 200, answer

    def die(self, *names):
        self.beating.difference_update(names)

    def live(self, *names):
        self.beating.update(names)

    def node(self, name, patch):
        answer = self.request("PATCH", f"{NODES}/{name}", patch)
        assert answer.status == 200, answer

    def cordon(self, name, cordoned=True):
        self.node(name, {"spec": {"unschedulable": cordoned or None}})

    def condition(self, name, kind="Alive"):
        """(status, reason) of a condition of the IpNode."""
        found = objects.condition(self.request("GET", f"{IP_NODES}/{name}").body, kind)
        return found.get("status"), found.get("reason")

    # Endpoints

    def endpoints(self, service, *nodes):
        """Where the Service has ready endpoints."""
        metadata = service["metadata"]
        slice_ = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{metadata['name']}-fake",
                "namespace": metadata["namespace"],
                "labels": {"kubernetes.io/service-name": metadata["name"]},
            },
            "addressType": "IPv4",
            "ports": [{"port": 80}],
            "endpoints": [
                {"addresses": [f"10.9.0.{i}"], "nodeName": node, "conditions": {"ready": True}}
                for i, node in enumerate(nodes, 1)
            ],
        }
        path = SLICES.format(metadata["namespace"])
        name = slice_["metadata"]["name"]
        if self.request("GET", f"{path}/{name}").status == 404:
            answer = self.request("POST", path, slice_)
        else:
            answer = self.request("PUT", f"{path}/{name}", slice_)
        assert answer.ok, answer

    # What they do all the time

    def _run(self, do):
        while not self._ended.wait(self.interval / 3 if do == self._bind else self.interval):
            try:
                do()
            except Exception as error:  # noqa: BLE001
                self.failed.append(error)

    def _beat(self):
        self._revision += 1
        for name in list(self.beating):
            status = {
                "revision": str(self._revision),
                "heartbeatTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "heartbeatInterval": f"{int(self.interval * 1000)}ms",
            }
            self.request("PATCH", f"{IP_NODES}/{name}/status", {"status": status})

    def _bind(self):
        if not self.binding:
            return
        for claim in self.request("GET", CLAIMS).body["items"]:
            self._act(claim)

    def _act(self, claim):
        spec, metadata = claim["spec"], claim["metadata"]
        bound = claim.get("status", {}).get("boundNode", "")
        wanted = spec.get("nodeName", "")
        path = f"{CLAIMS}/{metadata['name']}"
        version = {"metadata": {"resourceVersion": metadata["resourceVersion"]}}
        if "deletionTimestamp" in metadata:
            if (bound or wanted) in self.beating and FINALIZER in metadata.get("finalizers", ()):
                rest = [f for f in metadata["finalizers"] if f != FINALIZER]
                version["metadata"]["finalizers"] = rest
                self.request("PATCH", path, version)
        elif bound and bound in self.beating and bound != wanted:
            self.request("PATCH", path + "/status", {**version, "status": {"boundNode": ""}})
        elif wanted in self.beating and bound != wanted and (not bound or bound not in self.beating):
            self.request("PATCH", path + "/status", {**version, "status": {"boundNode": wanted}})


@contextlib.contextmanager
def agents(lab, count=3, prefix=None, **options):
    """Agents of a test, ready and seen alive; their nodes' names begin with that of the test."""
    prefix = prefix or f"{lab.name}-n"
    with Agents(lab.cluster, [f"{prefix}{i}" for i in range(count)], **options) as made:
        for name in made.names:
            wait_until(
                lambda name=name: made.condition(name) == ("True", "HeartbeatSeen"),
                lambda name=name: f"{name} to be alive, not {made.condition(name)}",
            )
        yield made
        assert not made.failed, made.failed
