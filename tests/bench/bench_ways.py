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

from bench_lab import CLAIMS, CONSTANT_ADDRESS, POOL, constant_answers
from bench_programs import Program, make_certificate, until

KINDS = ("external", "loadbalancer")
# Webhooks that answer with constants; who creates writes the claims.
CONSTANT = ("floor", "conditions")
# The creators are that many users, so that none of them fills its own queue in the API server.
USERS = 30
# Who writes the floor's statuses meanwhile: enough of them not to fall behind.
FOLLOWERS = 4


class Ways:
    """Sets up one way at a time, and knows the requests that create in it."""

    def __init__(self, lab, folder):
        self.lab = lab
        self.pids = []  # of who answers the webhooks
        self.own_token = lab.own_token()
        self._tokens = lab.user_tokens(USERS)
        self._folder = folder
        self._certificate, self._key = make_certificate(folder)
        self._ways = {
            "none": self._none,
            "floor": lambda namespace: self._constant(namespace, self._plain_webhooks),
            "conditions": lambda namespace: self._constant(namespace, self._webhooks_on_conditions),
            "current": lambda namespace: self._ipwarden(namespace, older=False),
            "ours": lambda namespace: self._ipwarden(namespace, older=True),
        }

    def entered(self, variant, namespace):
        """The way is set up while this lasts; it is tried out in the namespace."""
        return self._ways[variant](namespace)

    def steps(self, variant, kind, namespace):
        """The requests that create one Service; see client/main.go."""
        path = f"/api/v1/namespaces/{namespace}/services"
        steps = [_step("POST", path, service(kind, namespace), self._tokens)]
        if variant in CONSTANT:
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
    def _none(self, namespace):
        self.pids = []
        self.lab.wait_for_webhooks(namespace, lambda addresses: addresses == [])
        yield

    @contextlib.contextmanager
    def _constant(self, namespace, webhooks):
        answers = [f"--answer={answer}" for answer in constant_answers(self._folder)]
        log = self._folder / "bare.log"
        log.unlink(missing_ok=True)
        program = Program(
            [self.lab.programs.bare, "--certificate", self._certificate, "--key", self._key,
             *answers],
            log,
        )  # fmt: skip
        self.pids = [program.pid]
        self.lab.serve_older(False)
        try:
            self.lab.put_webhooks(webhooks(int(program.first_line())))
            self.lab.wait_for_webhooks(
                namespace,
                lambda got: got == [CONSTANT_ADDRESS] and "asked /validate" in log.read_text(),
            )
            yield
            self.lab.remove_webhooks()
        finally:
            program.stop()

    @contextlib.contextmanager
    def _ipwarden(self, namespace, older):
        self.lab.serve_older(older)
        self.lab.add_webhooks()
        with self.lab.ipwarden() as replica:
            self.pids = [replica.process.pid]
            self.lab.wait_for_pool()
            self.lab.wait_for_webhooks(namespace, lambda got: got and got != [CONSTANT_ADDRESS])
            until(replica.leads, "ipwarden to lead")
            yield
        self.lab.remove_webhooks()

    def _plain_webhooks(self, port):
        """One mutating webhook for Services with external IPs, one validating one for all."""

        def webhook(call, **more):
            return {
                "name": f"{call}.bench.example.com",
                "clientConfig": self._client_config(port, call),
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
        return [[webhook("mutate", objectSelector=external)], [webhook("validate")]]

    def _webhooks_on_conditions(self, port):
        """Those of deploy/ that may be called when a Service is created."""
        return [
            [
                {**webhook, "clientConfig": self._client_config(port, call)}
                for webhook in webhooks
                if _concerns_creates(webhook)
            ]
            for call, webhooks in zip(("mutate", "validate"), self.lab.webhooks)
        ]

    def _client_config(self, port, call):
        authority = base64.b64encode(self._certificate.read_bytes()).decode()
        return {"url": f"https://127.0.0.1:{port}/{call}", "caBundle": authority}


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
