"""`run create`: what it costs to create Services that get their address meanwhile, end to end.

Three ways, one after the other in each round, on one real API server: none: no webhook; floor: what
any allocation at admission costs, namely the webhook calls, answered with constants, and a claim
written per Service; ours: `ipwarden serve`. In the end a crowd of clients creates all at once.
"""

import contextlib
import json
import time

from bench_lab import CLAIMS, CONSTANT_ADDRESS, POOL, Cluster, Lab, constant_answers
from bench_programs import BenchError, Program, make_certificate, scratch, until
from bench_report import say

NAME = "create"
VARIANTS = ("none", "floor", "ours")
# The creators are that many users, so that none of them fills its own queue in the API server.
USERS = 30
CLEANERS = 8
# Seconds in which all claims of a round have to be confirmed, or to be gone.
PATIENCE = 300


def add_options(parser):
    parser.add_argument(
        "--clients", type=_numbers, default=[1, 8], help="how many create at once (1,8)"
    )
    parser.add_argument("--count", type=int, default=1000, help="Services each time (1000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each (3)")
    parser.add_argument(
        "--crowd", type=int, default=600, help="clients in the end, 0 for none (600)"
    )
    parser.add_argument("--crowd-seconds", type=int, default=20, help="how long they create (20)")


def run(options, programs, report):
    programs.build(go=["client"], ours="ours" in options.variants)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(scratch())
        lab = Lab(stack.enter_context(Cluster.start()), programs)
        lab.remove_webhooks()
        lab.add_pool()
        bench = _Bench(lab, folder, report)
        for clients in options.clients:
            _compare(bench, options, report, clients)
        if options.crowd:
            for variant in options.variants:
                _gather_crowd(bench, options, report, variant)


def _compare(bench, options, report, clients):
    rounds = []
    for number in range(options.rounds):
        turn = number % len(options.variants)
        order = options.variants[turn:] + options.variants[:turn]
        measured = {
            name: bench.create(name, clients=clients, count=options.count) for name in order
        }
        rounds.append(measured)
        report.round(clients=clients, **measured)
        took = ", ".join(f"{name} {one['seconds']:.2f} s" for name, one in measured.items())
        say(f"{clients} clients, round {number + 1} of {options.rounds}: {took}")
        for name, one in measured.items():
            if one["failed"]:
                report.note(f"{clients} clients, {name}: {one['failed']} failed: {_said(one)}")

    def column(name, metric):
        return [measured[name].get(metric) for measured in rounds]

    prefix = f"c{clients}"
    for name in options.variants:
        report.add_median(f"{prefix}.{name}.total", column(name, "seconds"), "s")
        report.add_median(f"{prefix}.{name}.rate", column(name, "rate"), "1/s")
        report.add_median(f"{prefix}.{name}.p50", column(name, "p50"), "ms")
        report.add_median(f"{prefix}.{name}.p99", column(name, "p99"), "ms")
        report.add(f"{prefix}.{name}.failed", sum(column(name, "failed")), "Services")
        report.add_median(f"{prefix}.{name}.settled", column(name, "settled"), "s")
    for over, under in (("ours", "floor"), ("ours", "none"), ("floor", "none")):
        if over in options.variants and under in options.variants:
            name = f"{prefix}.ratio.total.{over}/{under}"
            report.add_ratios(name, column(over, "seconds"), column(under, "seconds"))


def _gather_crowd(bench, options, report, variant):
    say(f"{options.crowd} clients for {options.crowd_seconds} s, {variant}")
    measured = bench.create(variant, clients=options.crowd, seconds=options.crowd_seconds)
    report.round(clients=options.crowd, **{variant: measured})
    prefix = f"c{options.crowd}.{variant}"
    report.add(f"{prefix}.created", measured["done"], "Services")
    report.add(f"{prefix}.failed", measured["failed"], "Services")
    report.add(f"{prefix}.throttled", measured["throttled"], "answers")
    report.add(f"{prefix}.rate", measured["rate"], "1/s")
    for metric in ("p50", "p99", "max"):
        report.add(f"{prefix}.{metric}", measured[metric], "ms")
    if measured["failed"]:
        report.note(f"{options.crowd} clients, {variant}: {_said(measured)}")


def _said(measured):
    return "; ".join(f"{one['count']} x {one['text']}" for one in measured["messages"][:5])


class _Bench:
    """Creates Services in one way at a time, and cleans up after each."""

    def __init__(self, lab, folder, report):
        self.lab = lab
        self.folder = folder
        self.report = report
        self.tokens = lab.user_tokens(USERS)
        self.own_token = lab.own_token()
        self._runs = 0
        self._variants = {"none": self._none, "floor": self._floor, "ours": self._ours}

    def create(self, variant, **plan):
        """Creates in a namespace of its own and returns what it took; plan: clients, count, ..."""
        self._runs += 1
        namespace = f"bench-{self._runs}"
        self.lab.add_namespace(namespace)
        with self._variants[variant](namespace):
            steps = self._steps(variant, namespace)
            result = self.lab.send(steps, **plan)
            settled = self._settle(result["done"]) if variant == "ours" else None
            self._delete(variant, namespace, result)
        create = result["steps"][-1]
        return {
            "seconds": result["seconds"],
            "rate": result["done"] / result["seconds"],
            "p50": create["p50_ms"],
            "p99": create["p99_ms"],
            "max": create["max_ms"],
            "settled": settled,
            **{key: result[key] for key in ("done", "failed", "throttled", "messages")},
        }

    @contextlib.contextmanager
    def _none(self, namespace):
        self.lab.wait_for_webhooks(namespace, lambda addresses: addresses == [])
        yield

    @contextlib.contextmanager
    def _floor(self, namespace):
        certificate, key = make_certificate(self.folder)
        answers = [f"--answer={answer}" for answer in constant_answers(self.folder)]
        program = Program(
            [self.lab.programs.bare, "--certificate", certificate, "--key", key, *answers],
            self.folder / "bare.log",
        )
        try:
            self.lab.add_constant_webhooks(int(program.first_line()), certificate)
            self.lab.wait_for_webhooks(namespace, lambda got: got == [CONSTANT_ADDRESS])
            yield
            self.lab.remove_webhooks()
        finally:
            program.stop()

    @contextlib.contextmanager
    def _ours(self, namespace):
        self.lab.add_webhooks()
        with self.lab.ipwarden():
            self.lab.wait_for_pool()
            self.lab.wait_for_webhooks(namespace, lambda got: got and got != [CONSTANT_ADDRESS])
            until(self.lab.replica.leads, "ipwarden to lead")
            yield
        self.lab.remove_webhooks()

    def _steps(self, variant, namespace):
        path = f"/api/v1/namespaces/{namespace}/services"
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": "web-@i@",
                "namespace": namespace,
                "labels": {"app": "web-@i@"},
                "annotations": {"external-ip": "auto"},
            },
            "spec": {
                "selector": {"app": "web-@i@"},
                "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
            },
        }
        steps = [_post(path, service, self.tokens)]
        if variant == "floor":
            # Written as ipwarden, so that it costs no webhook call, and goes where ours goes.
            body = claim(namespace, "web-@i@", ["TCP/80"])
            steps.insert(0, _post(CLAIMS, body, [self.own_token]))
        return steps

    def _settle(self, count):
        """Seconds after the last create until ipwarden has confirmed every claim; None if never."""
        began = time.monotonic()
        try:
            until(
                lambda: self.lab.replica.count("ipwarden_claims", state="confirmed") >= count,
                f"{count} claims to be confirmed",
                PATIENCE,
                pause=0.1,
            )
        except BenchError as error:
            self.report.note(str(error))
            return None
        return time.monotonic() - began

    def _delete(self, variant, namespace, result):
        tried = result["done"] + result["failed"]
        steps = [{"method": "DELETE", "path": f"/api/v1/namespaces/{namespace}/services/web-@i@"}]
        if variant == "floor":
            steps.insert(0, {"method": "DELETE", "path": f"{CLAIMS}/@dashed@-32"})
        self.lab.send(steps, as_admin=True, clients=CLEANERS, count=tried)
        if variant != "floor" or result["failed"] == 0:
            until(lambda: not self.lab.has_claims(), "the claims to go", PATIENCE, pause=0.2)


def claim(namespace, name, ports, uid=None):
    """The template of a claim as ipwarden writes it; see client/main.go."""
    service = {"namespace": namespace, "name": name, "ports": ports}
    return {
        "apiVersion": "ipcontroller.ext/v2",
        "kind": "IpClaim",
        "metadata": {"name": "@dashed@-32", "labels": {"ip-pool-name": POOL}},
        "spec": {
            "cidr": "@address@/32",
            "pool": POOL,
            "services": [{**service, **({"uid": uid} if uid else {})}],
        },
    }


def _post(path, body, tokens):
    return {"method": "POST", "path": path, "body": json.dumps(body), "tokens": tokens}


def _numbers(text):
    return [int(number) for number in text.split(",")]
