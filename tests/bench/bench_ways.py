"""The ways to create Services that `run create` compares, and what has to be there for each.

none: no webhook, and Services without an address. floor: the least that any program has to do that
gives addresses at admission and keeps each as a claim: for a Service with external IPs a mutating
and a validating call, answered with constants, and one write of a claim; for a load balancer one
validating call, one claim, and one write of its status. conditions: the floor, called under the
conditions that deploy/ has for Services, so that their price shows. ours: `ipwarden serve`, as deploy/
has it. current: the same where no older versions are served, as in all ways but ours: each of them
costs one conversion for each write, for its own watch cache in the API server.
"""

import base64
import contextlib
import json

from bench_lab import CLAIMS, CONSTANT_ADDRESS, POOL, Cluster, Lab, constant_answers
from bench_programs import Program, make_certificate, until

KINDS = ("external", "loadbalancer")
# Webhooks that answer with constants; who creates writes the claims.
CONSTANT = ("floor", "conditions")
# The creators are that many users, so that none of them fills its own queue in the API server.
USERS = 30
# Who writes the floor's statuses meanwhile: enough of them not to fall behind.
FOLLOWERS = 4
# Where it is tried whether the API server knows of the webhooks.
TRIED_IN = "bench-tried"


class Way:
    """One way in a control plane of its own, so that ways can take turns within a second."""

    def __init__(self, variant, lab, folder):
        self.variant = variant
        self.lab = lab
        self.answers = None  # the pid of who answers the webhooks, if anybody does
        self.own_token = lab.own_token()
        self._tokens = lab.user_tokens(USERS)
        self._folder = folder

    @classmethod
    @contextlib.contextmanager
    def entered(cls, variant, programs, folder):
        """The way is set up, and has been tried, while this lasts."""
        folder = folder / variant
        folder.mkdir()
        with Cluster.start() as cluster:
            lab = Lab(cluster, programs)
            lab.remove_webhooks()
            lab.add_pool()
            lab.serve_older(variant == "ours")
            lab.add_namespace(TRIED_IN)
            way = cls(variant, lab, folder)
            with getattr(way, f"_{variant}")():
                yield way

    def pids(self):
        """The processes whose CPU time counts, by what they are."""
        # As tests/cluster starts them; etcd comes first.
        etcd, *servers = (process.pid for process in self.lab.cluster.processes)
        return {"etcd": [etcd], "api": servers, "answers": [self.answers] if self.answers else []}

    def steps(self, kind, namespace):
        """The requests that create one Service; see client/main.go."""
        path = f"/api/v1/namespaces/{namespace}/services"
        steps = [_step("POST", path, service(kind, namespace), self._tokens)]
        if self.variant in CONSTANT:
            # Written as ipwarden, so that they go where ours go in the API server's queues.
            own = [self.own_token]
            steps.insert(0, _step("POST", CLAIMS, claim(namespace, "web-@i@", ["TCP/80"]), own))
            if kind == "loadbalancer":
                ingress = [{"ip": "@address@", "ipMode": "VIP"}]
                status = {"status": {"loadBalancer": {"ingress": ingress}}}
                last = _step("PATCH", f"{path}/web-@i@/status", status, own)
                steps.append({**last, "later": True})
        return steps

    @contextlib.contextmanager
    def _none(self):
        self.lab.wait_for_webhooks(TRIED_IN, lambda addresses: addresses == [])
        yield

    def _floor(self):
        return self._constant(_plain_webhooks)

    def _conditions(self):
        return self._constant(self._webhooks_on_conditions)

    def _current(self):
        return self._ipwarden()

    def _ours(self):
        return self._ipwarden()

    @contextlib.contextmanager
    def _constant(self, webhooks):
        """webhooks: makes them from the client configurations for /mutate and /validate."""
        certificate, key = make_certificate(self._folder)
        answers = [f"--answer={answer}" for answer in constant_answers(self._folder)]
        log = self._folder / "bare.log"
        program = Program(
            [self.lab.programs.bare, "--certificate", certificate, "--key", key, *answers], log
        )
        self.answers = program.pid
        try:
            port = int(program.first_line())
            authority = base64.b64encode(certificate.read_bytes()).decode()
            clients = [
                {"url": f"https://127.0.0.1:{port}/{call}", "caBundle": authority}
                for call in ("mutate", "validate")
            ]
            self.lab.put_webhooks(webhooks(*clients))
            self.lab.wait_for_webhooks(
                TRIED_IN,
                lambda got: got == [CONSTANT_ADDRESS] and "asked /validate" in log.read_text(),
            )
            yield
        finally:
            program.stop()

    @contextlib.contextmanager
    def _ipwarden(self):
        self.lab.add_webhooks()
        with self.lab.ipwarden() as replica:
            self.answers = replica.process.pid
            self.lab.wait_for_pool()
            self.lab.wait_for_webhooks(TRIED_IN, lambda got: got and got != [CONSTANT_ADDRESS])
            until(replica.leads, "ipwarden to lead")
            yield

    def _webhooks_on_conditions(self, *clients):
        """Those of deploy/ that may be called when a Service is created."""
        return [
            [
                {**webhook, "clientConfig": client}
                for webhook in webhooks
                if _concerns_creates(webhook)
            ]
            for client, webhooks in zip(clients, self.lab.webhooks)
        ]


def _plain_webhooks(*clients):
    """One mutating webhook for Services with external IPs, one validating one for all."""

    def webhook(client, **more):
        return {
            "name": "services.bench.example.com",
            "clientConfig": client,
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Fail",
            "rules": [
                {
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "resources": ["services"],
                    "operations": ["CREATE"],
                }
            ],
            **more,
        }

    external = {"matchLabels": {"kind": "external"}}
    mutate, validate = clients
    return [[webhook(mutate, objectSelector=external)], [webhook(validate)]]


def _concerns_creates(webhook):
    return any(
        "services" in rule["resources"] and "CREATE" in rule["operations"]
        for rule in webhook["rules"]
    )


def service(kind, namespace):
    """The template of a Service that wants an address."""
    body = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "web-@i@",
            "namespace": namespace,
            "labels": {"app": "web-@i@", "kind": kind},
        },
        "spec": {
            "selector": {"app": "web-@i@"},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
        },
    }
    if kind == "external":
        body["metadata"]["annotations"] = {"external-ip": "auto"}
    else:
        body["spec"].update(type="LoadBalancer", allocateLoadBalancerNodePorts=False)
    return body


def has_address(kind, stored):
    if kind == "external":
        return bool(stored["spec"].get("externalIPs"))
    return bool(stored["status"]["loadBalancer"].get("ingress"))


def claim(namespace, name, ports, uid=None):
    """The template of a claim as ipwarden writes it; see client/main.go."""
    owner = {"namespace": namespace, "name": name, "ports": ports}
    return {
        "apiVersion": "ipcontroller.ext/v2",
        "kind": "IpClaim",
        "metadata": {"name": "@dashed@-32", "labels": {"ip-pool-name": POOL}},
        "spec": {
            "cidr": "@address@/32",
            "pool": POOL,
            "services": [{**owner, "given": True, **({"uid": uid} if uid else {})}],
        },
    }


def _step(method, path, body, tokens):
    return {"method": method, "path": path, "body": json.dumps(body), "tokens": tokens}
