"""Objects that can be asked for in more than one version, and watches of them."""

import http.client
import json
import threading
import urllib.parse

from harness import wait_until

GROUPS = {
    "IpClaimPool": ("ipcontroller.ext", "ipclaimpools"),
    "IpClaim": ("ipcontroller.ext", "ipclaims"),
    "IpNode": ("ipcontroller.ext", "ipnodes"),
    "IPAMRange": ("ipam.mandelsoft.org", "ipamranges"),
    "IPAMRequest": ("ipam.mandelsoft.org", "ipamrequests"),
}


def cluster_path(kind, version, namespace=None):
    """The path of a kind's collection in that version."""
    group, resource = GROUPS[kind]
    space = f"namespaces/{namespace}/" if group.startswith("ipam") and namespace else ""
    return f"/apis/{group}/{version}/{space}{resource}"


class Object:
    """One object, in any of its versions."""

    def __init__(self, lab, kind, name):
        self.lab = lab
        self.kind = kind
        self.name = name

    def path(self, version):
        return cluster_path(self.kind, version, self.lab.namespace)

    def try_create(self, version, metadata=None, **members):
        group, _ = GROUPS[self.kind]
        item = {
            "apiVersion": f"{group}/{version}",
            "kind": self.kind,
            "metadata": {"name": self.name, **(metadata or {})},
            **members,
        }
        return self.lab.request("POST", self.path(version), item)

    def create(self, version, metadata=None, **members):
        answer = self.try_create(version, metadata, **members)
        assert answer.status == 201, answer
        return answer.body

    def read(self, version):
        answer = self.lab.read(f"{self.path(version)}/{self.name}")
        assert answer.status == 200, answer
        return answer.body

    def try_patch(self, version, patch, subresource=""):
        path = f"{self.path(version)}/{self.name}" + (f"/{subresource}" if subresource else "")
        return self.lab.request("PATCH", path, patch)

    def patch(self, version, patch, subresource=""):
        answer = self.try_patch(version, patch, subresource)
        assert answer.status == 200, answer
        return answer.body

    def try_replace(self, version, item, subresource=""):
        path = f"{self.path(version)}/{self.name}" + (f"/{subresource}" if subresource else "")
        return self.lab.request("PUT", path, item)

    def replace(self, version, item, subresource=""):
        """Replaces it, whatever was written meanwhile."""

        def attempt():
            answer = self.try_replace(version, item, subresource)
            if answer.status == 409:
                item["metadata"]["resourceVersion"] = self.read(version)["metadata"][
                    "resourceVersion"
                ]
                return None
            assert answer.status == 200, answer
            return answer.body

        return wait_until(attempt, "the object to be replaced")

    def remove(self):
        for version in ("v2", "v1beta1"):
            self.lab.request("DELETE", f"{self.path(version)}/{self.name}")


class Watch:
    """with Watch(lab, path, name) as watch: ... watch.events has (type, object) of that name."""

    def __init__(self, lab, path, name):
        self.events = []
        self._name = name
        server = urllib.parse.urlsplit(lab.cluster.servers[0])
        self._connection = http.client.HTTPSConnection(
            server.hostname, server.port, context=lab.cluster.ssl_context(), timeout=60
        )
        query = urllib.parse.urlencode({"watch": "true", "fieldSelector": f"metadata.name={name}"})
        self._connection.request("GET", f"{path}?{query}")
        self._response = self._connection.getresponse()
        assert self._response.status == 200, self._response.read()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._connection.sock.shutdown(2)
        self._thread.join()
        self._connection.close()

    def types(self):
        return [kind for kind, _ in self.events]

    def has(self, kind):
        return kind in self.types()

    def errors(self):
        return [item for kind, item in self.events if kind == "ERROR"]

    def _run(self):
        try:
            for line in self._response:
                event = json.loads(line)
                self.events.append((event["type"], event["object"]))
        except (OSError, ValueError, http.client.HTTPException):
            pass
