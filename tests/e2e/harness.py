"""What every test stands on: waiting, requests to the API servers, installation, work in parallel.

Replicas of the program are in replicas.py, made-up objects in objects.py, what a single test has to
hand in lab.py, and proxies that break connections in faults.py.
"""

import concurrent.futures
import itertools
import json
import ipaddress
import os
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "cluster"))

from cluster import Cluster, ClusterError  # noqa: E402,F401  (tests take them from here)

NAMESPACE = "ipwarden-system"
NAME = "ipwarden"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1"
# Seconds after which what should happen soon counts as not happening; sanitizers and a busy machine
# make everything slow, so a multiple of it can be asked for.
PATIENCE = 30 * float(os.environ.get("IPWARDEN_PATIENCE", "1"))
# The sizes that the project promises, in tests where fewer show the same in a tenth of the time.
FULL = os.environ.get("IPWARDEN_FULL") == "1"


class Answer(NamedTuple):
    """What the API server answered: its HTTP status and the object, or the Status, in the body."""

    status: int
    body: dict

    @property
    def ok(self):
        return 200 <= self.status < 300

    @property
    def message(self):
        return self.body.get("message", "") if isinstance(self.body, dict) else str(self.body)

    def __str__(self):
        return f"{self.status} {self.message or json.dumps(self.body)[:500]}"


def wait_until(predicate, describe, seconds=None):
    """Polls until the predicate answers something true, and returns that.

    describe: what was waited for, for the error; a function is called when it's needed.

    It pauses longer than it looks, which is work for the API server, too: so much that many of these at
    once would keep one another from what they wait for.
    """
    deadline = time.monotonic() + (PATIENCE if seconds is None else seconds)
    pause = 0.005
    while True:
        began = time.monotonic()
        last_try = began > deadline
        answer = predicate()
        if answer:
            return answer
        if last_try:
            raise AssertionError(
                f"waited in vain: {describe() if callable(describe) else describe}"
            )
        time.sleep(max(pause, 2 * (time.monotonic() - began)))
        pause = min(pause * 1.5, 0.2)


def parallel(workers, function, items):
    """function(item) for all items by that many threads: results in order, or the first error."""
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        return list(pool.map(function, items))


class Load:
    """Calls function(index) over and over in several threads until stopped: a load to test under.

    with Load(4, create) as load: ...
    load.results

    pause: seconds for which each thread rests between calls, where a steady load is enough.
    """

    def __init__(self, workers, function, pause=0):
        self.results = []
        self.errors = []
        self._function = function
        self._pause = pause
        self._indexes = itertools.count()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(workers)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()
        if self.errors and kind is None:
            raise self.errors[0]

    def _run(self):
        while not self._over.is_set() and not self.errors:
            try:
                self.results.append(self._function(next(self._indexes)))
            except BaseException as error:  # raised again where the load was started
                self.errors.append(error)
            self._over.wait(self._pause)


class Space:
    """Hands out networks that are given once, of ranges that lead nowhere (RFC 2544, RFC 4193)."""

    def __init__(self):
        self._next = {
            4: int(ipaddress.ip_address("198.18.0.0")),
            6: int(ipaddress.ip_address("fd00:e2e::")),
        }
        self._lock = threading.Lock()

    def ipv4(self, prefix=24):
        return self._take(4, prefix, ipaddress.IPv4Network)

    def ipv6(self, prefix=112):
        return self._take(6, prefix, ipaddress.IPv6Network)

    def _take(self, family, prefix, make):
        size = 1 << ((32 if family == 4 else 128) - prefix)
        with self._lock:
            first = -(-self._next[family] // size) * size
            self._next[family] = first + size
        assert family == 6 or first + size <= int(ipaddress.ip_address("198.20.0.0")), "used up"
        return make((first, prefix))


SPACE = Space()


KINDS = (
    ("ipcontroller.ext", "v2", "ipclaims"),
    ("ipcontroller.ext", "v2", "ipclaimpools"),
    ("ipcontroller.ext", "v2", "ipnodes"),
    ("ipam.mandelsoft.org", "v1beta1", "ipamranges"),
    ("ipam.mandelsoft.org", "v1beta1", "ipamrequests"),
)


def take_urls_back(cluster):
    """Of the conversions: a replica on this machine puts URLs in the Service's place, and apply would
    leave each with both."""
    nothing = {"spec": {"conversion": {"strategy": "None", "webhook": None}}}
    for group, _, name in KINDS:
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}.{group}"
        status, kind = cluster.request("GET", path)
        if status == 200 and kind["spec"]["conversion"]["strategy"] == "Webhook":
            assert cluster.request("PATCH", path, nothing)[0] == 200


def install(cluster):
    """Applies deploy/ and waits until the API servers know what it brought."""
    take_urls_back(cluster)
    cluster.kubectl("apply", "--kustomize", TOP / "deploy")
    for group, version, name in KINDS:
        cluster.kubectl(
            "wait", f"crd/{name}.{group}", "--for=condition=Established", "--timeout=30s"
        )
        for server in range(len(cluster.servers)):
            path = f"/apis/{group}/{version}/{name}"
            wait_until(
                lambda path=path, server=server: (
                    cluster.request("GET", path, server=server)[0] == 200
                ),
                f"API server {server} to serve {name}",
            )


def service_account_kubeconfig(cluster, path, server=0, url=None):
    """Writes a kubeconfig with a token of ipwarden's own ServiceAccount, so that its RBAC counts.

    url: what to reach the API server at instead of its own address (a proxy).
    """
    account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{NAME}"
    status, token = cluster.request(
        "POST",
        f"{account}/token",
        {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 86400},
        },
    )
    assert status == 201, f"no token for the ServiceAccount {NAME}: {status} {token}"
    server = url or cluster.servers[server]
    return write_kubeconfig(path, server, cluster.ca_file, NAME, token["status"]["token"])


def write_kubeconfig(path, server, ca_file, user, token):
    """Writes a kubeconfig with a bearer token, and returns its path."""
    # JSON is YAML too.
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "test",
                "cluster": {"server": server, "certificate-authority": str(ca_file)},
            }
        ],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
        "current-context": "test",
    }
    path.write_text(json.dumps(config, indent=2))
    path.chmod(0o600)
    return path


def grant(cluster, user, rules):
    """Gives a user of cluster.user_kubeconfig the RBAC rules, in the whole cluster."""
    name = f"e2e:{user}"
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    for path, body in (
        (f"{rbac}/clusterroles", {"rules": rules}),
        (
            f"{rbac}/clusterrolebindings",
            {
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "ClusterRole",
                    "name": name,
                },
                "subjects": [
                    {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
                ],
            },
        ),
    ):
        status, answer = cluster.request("POST", path, {"metadata": {"name": name}, **body})
        assert status in (201, 409), answer


def service_editor(cluster, name="editor"):
    """A user who may do anything to Services and their status, nothing to what is ipwarden's."""
    cluster.user_kubeconfig(name)
    grant(
        cluster,
        name,
        [{"apiGroups": [""], "resources": ["services", "services/status"], "verbs": ["*"]}],
    )
    for path in ("/apis/ipcontroller.ext/v2/ipclaims", "/apis/ipcontroller.ext/v2/ipclaimpools"):
        assert cluster.request("GET", path, user=name)[0] == 403
    # Rights reach the authorizer by a watch of its own.
    wait_until(
        lambda: cluster.request("GET", "/api/v1/services", user=name)[0] == 200,
        f"user {name} to have rights",
    )
    return name
