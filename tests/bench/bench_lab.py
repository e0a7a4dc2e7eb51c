"""A control plane with ipwarden's objects in it, and the means to measure on it: tokens,
namespaces, the client that sends plans, the program, and who answers the webhooks at the moment."""

import base64
import contextlib
import json
import socket
import subprocess
import sys

from bench_programs import TOP, BenchError, pinned, until

sys.path.insert(0, str(TOP / "tests/e2e"))

import harness  # noqa: E402
from harness import Cluster, ClusterError  # noqa: E402,F401  (taken from here by the others)
from replicas import Replica  # noqa: E402

POOL = "bench"
POOL_NETWORK = "198.18.0.0/15"
FIRST_ADDRESS = "198.18.0.1"
# What a constant answer gives: not in the pool, so it can be told from ours.
CONSTANT_ADDRESS = "203.0.113.7"
USERS = "bench-users"
WEBHOOKS = (
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
)
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CLAIMS = "/apis/ipcontroller.ext/v2/ipclaims"
POOLS = "/apis/ipcontroller.ext/v2/ipclaimpools"


class Lab:
    """One control plane for a benchmark; deploy/ is installed in it when this returns."""

    def __init__(self, cluster, programs):
        self.cluster = cluster
        self.programs = programs
        self.replica = None
        # In a cluster that was kept they may point to a program that has ended.
        self.remove_webhooks()
        harness.install(cluster)
        self.webhooks = [
            self.request("GET", f"{path}/{harness.NAME}")["webhooks"] for path in WEBHOOKS
        ]

    # Requests

    def request(self, method, path, body=None, expect=(200, 201)):
        status, answer = self.cluster.request(method, path, body)
        if status not in expect:
            raise BenchError(f"{method} {path}: {status} {answer}")
        return answer

    def add_namespace(self, name):
        self.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}}, (201, 409))

    def add_pool(self):
        self.request(
            "POST",
            POOLS,
            {
                "apiVersion": "ipcontroller.ext/v2",
                "kind": "IpClaimPool",
                "metadata": {"name": POOL},
                "spec": {"addresses": [POOL_NETWORK]},
            },
            (201, 409),
        )

    def has_claims(self):
        return bool(self.request("GET", f"{CLAIMS}?limit=1")["items"])

    def token(self, namespace, name):
        """A token of a ServiceAccount, made if need be."""
        accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        self.request("POST", accounts, {"metadata": {"name": name}}, (201, 409))
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 86400},
        }
        return self.request("POST", f"{accounts}/{name}/token", body)["status"]["token"]

    def own_token(self):
        """A token of ipwarden's ServiceAccount, whose claim writes no webhook is asked about."""
        return self.token(harness.NAMESPACE, harness.NAME)

    def user_tokens(self, count):
        """Tokens of ServiceAccounts that may edit Services: users like any other to the API server.

        Not the administrator, whom its flow control lets pass.
        """
        self.add_namespace(USERS)
        tokens = [self.token(USERS, f"user-{index}") for index in range(count)]
        rbac = "/apis/rbac.authorization.k8s.io/v1"
        role = {
            "metadata": {"name": USERS},
            "rules": [{"apiGroups": [""], "resources": ["services"], "verbs": ["*"]}],
        }
        self.request("POST", f"{rbac}/clusterroles", role, (201, 409))
        self.request(
            "POST",
            f"{rbac}/clusterrolebindings",
            {
                "metadata": {"name": USERS},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "ClusterRole",
                    "name": USERS,
                },
                "subjects": [
                    {
                        "apiGroup": "rbac.authorization.k8s.io",
                        "kind": "Group",
                        "name": f"system:serviceaccounts:{USERS}",
                    }
                ],
            },
            (201, 409),
        )
        return tokens

    def send(self, steps, as_admin=False, **plan):
        """Has the client carry out a plan (see client/main.go) and returns its result."""
        plan = {
            "server": self.cluster.servers[0],
            "ca": str(self.cluster.ca_file),
            "address": FIRST_ADDRESS,
            "steps": steps,
            **plan,
        }
        if as_admin:
            plan["certificate"] = str(self.cluster.admin_cert)
            plan["key"] = str(self.cluster.admin_key)
        done = subprocess.run(
            [self.programs.go("client")], input=json.dumps(plan), capture_output=True, text=True,
            check=False,
        )
        if done.returncode != 0:
            raise BenchError(f"the client failed: {done.stderr}")
        return json.loads(done.stdout)

    # Who answers the webhooks

    def remove_webhooks(self):
        for path in WEBHOOKS:
            self.request("DELETE", f"{path}/{harness.NAME}", expect=(200, 404))

    def add_webhooks(self):
        """Those of deploy/, as they are installed; the program fills in where it listens."""
        self.put_webhooks(self.webhooks)

    def put_webhooks(self, webhooks):
        """(mutating ones, validating ones), in the place of those that remove_webhooks removes."""
        metadata = {"name": harness.NAME}
        for path, some in zip(WEBHOOKS, webhooks):
            self.request("POST", path, {"metadata": metadata, "webhooks": some})

    def mutate_path(self):
        """The path of our /mutate, the secret in it included."""
        configuration = self.request("GET", f"{WEBHOOKS[0]}/{harness.NAME}")
        url = configuration["webhooks"][0]["clientConfig"]["url"]
        return "/" + url.split("/", 3)[3]

    def wait_for_webhooks(self, namespace, is_right):
        """Waits until a dry-run create in the namespace ends up with the right external addresses.

        That is when the API server has noticed a change of its webhook configurations.
        """
        probe = {
            "metadata": {
                "name": "probe",
                "labels": {"kind": "external"},
                "annotations": {"external-ip": "auto"},
            },
            "spec": {"ports": [{"port": 80}]},
        }
        path = f"/api/v1/namespaces/{namespace}/services?dryRun=All"
        answer = None

        def look():
            nonlocal answer
            status, answer = self.cluster.request("POST", path, probe)
            return status == 201 and is_right(answer["spec"].get("externalIPs", []))

        until(look, lambda: f"the webhooks to change; the API server answers {answer}")

    # Older versions

    def serve_older(self, served):
        """Whether the API server serves the older versions, too, and so converts what is written."""
        for group, _, name in harness.KINDS:
            path = f"{DEFINITIONS}/{name}.{group}"

            def write(path=path):
                """The program may write its certificate into it at the same moment."""
                definition = self.request("GET", path)
                for version in definition["spec"]["versions"]:
                    version["served"] = served or version["storage"]
                return self.cluster.request("PUT", path, definition)[0] == 200

            until(write, f"{name} to be written")
        until(self._serves_claims, "claims to be served again")

    def _serves_claims(self):
        return self.cluster.request("GET", f"{CLAIMS}?limit=1")[0] == 200

    # The program

    @contextlib.contextmanager
    def ipwarden(self, core=None, extra_args=(), wait=True):
        """`ipwarden serve` while this lasts; self.replica is it."""
        with socket.socket() as reservation:
            # Bound and never listening, so nobody else gets the port and nothing comes here.
            reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            reservation.bind(("127.0.0.1", 0))
            self.replica = Replica(
                self.cluster,
                reservation.getsockname()[1],
                binary=self.programs.ipwarden,
                extra_args=extra_args,
            )
            try:
                with pinned(core):
                    self.replica.start(wait=False)
                if wait:
                    self.replica.wait_ready()
                yield self.replica
                self.replica.stop()
            finally:
                self.replica.kill()
                self.replica = None

    def wait_for_pool(self):
        until(
            lambda: self.replica.count("ipwarden_pool_addresses", pool=POOL, state="total"),
            f"ipwarden to know pool {POOL}",
        )


def constant_answers(folder):
    """Writes what a constant webhook answers: (--answer of mutate, --answer of validate).

    The patch has the shape of ipwarden's: nothing but the address.
    """
    patch = [{"op": "add", "path": "/spec/externalIPs", "value": [CONSTANT_ADDRESS]}]
    encoded = base64.b64encode(json.dumps(patch, separators=(",", ":")).encode()).decode()
    answers = []
    for call, more in (("mutate", {"patchType": "JSONPatch", "patch": encoded}), ("validate", {})):
        review = {
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "response": {"uid": "@UID@", "allowed": True, **more},
        }
        file = folder / f"{call}.json"
        file.write_text(json.dumps(review, separators=(",", ":")))
        answers.append(f"/{call}={file}")
    return answers
