"""`run requests`: sub-networks on request on a real API server.

How long a request waits for its CIDR, one at a time and many at once; then cold starts with all of
them in a range.
"""

import json
import time

from bench_lab import Cluster, Lab
from bench_programs import BenchError, cpu_seconds, memory, until
from bench_report import say

NAME = "requests"
VARIANTS = ("ours",)
GROUP = "/apis/ipam.mandelsoft.org/v1beta1"
NAMESPACE = "bench-requests"
API_VERSION = "ipam.mandelsoft.org/v1beta1"
REQUESTS = f"{GROUP}/namespaces/{NAMESPACE}/ipamrequests"
# Objects that one call of the client makes.
BATCH = 10_000
PATIENCE = 1200


def add_options(parser):
    parser.add_argument("--single", type=int, default=200, help="one at a time (200)")
    parser.add_argument("--burst", type=int, default=2000, help="at once (2000)")
    parser.add_argument("--requests", type=int, default=100_000, help="in all (100000)")
    parser.add_argument("--starts", type=int, default=3, help="cold starts with all (3)")


def run(options, programs, report):
    if options.single + options.burst > options.requests:
        raise BenchError("--requests: those one at a time and at once are part of them")
    programs.build(go=["client"], ours=True)
    with Cluster.start() as cluster:
        lab = Lab(cluster, programs)
        lab.add_namespace(NAMESPACE)
        with lab.ipwarden() as replica:
            _add_range(lab)
            _one_at_a_time(lab, options.single, report)
            _at_once(lab, replica, options.single, options.burst, report)
            _fill(lab, replica, options.single + options.burst, options.requests, report)
            known = lab.request("GET", f"{GROUP}/namespaces/{NAMESPACE}/ipamranges/all")
            report.add("granted", int(known["status"]["used"]) // 16, "requests")
        starts = [_start(lab, options, report, number) for number in range(options.starts)]
    for metric, unit in (("ready", "s"), ("granting", "s"), ("cpu", "s"), ("rss", "MB")):
        report.add_median(f"start.{metric}", [start[metric] for start in starts], unit)


def _add_range(lab):
    body = {
        "apiVersion": API_VERSION,
        "kind": "IPAMRange",
        "metadata": {"name": "all"},
        "spec": {"ranges": ["10.0.0.0/8"], "defaultPrefixLength": 28},
    }
    path = f"{GROUP}/namespaces/{NAMESPACE}/ipamranges"
    until(lambda: lab.cluster.request("POST", path, body)[0] in (201, 409), "the range")


def _request(name):
    return {
        "apiVersion": API_VERSION,
        "kind": "IPAMRequest",
        "metadata": {"name": name},
        "spec": {"range": {"name": "all"}, "description": "a sub-network of sixteen addresses"},
    }


def _granted_after(lab, name):
    """Seconds from the create to the CIDR in the status."""
    began = time.monotonic()
    lab.request("POST", REQUESTS, _request(name))
    while "cidr" not in lab.request("GET", f"{REQUESTS}/{name}").get("status", {}):
        if time.monotonic() - began > 60:
            raise BenchError(f"{name} is not served")
    return time.monotonic() - began


def _one_at_a_time(lab, count, report):
    times = sorted(_granted_after(lab, f"r-{index}") for index in range(count))
    if times:
        report.add("single.p50", 1000 * times[len(times) // 2], "ms")
        report.add("single.p99", 1000 * times[len(times) * 99 // 100], "ms")


def _create(lab, first, count, clients):
    steps = [{"method": "POST", "path": REQUESTS, "body": json.dumps(_request("r-@i@"))}]
    result = lab.send(steps, as_admin=True, clients=clients, first=first, count=count)
    if result["failed"]:
        raise BenchError(f"{result['failed']} requests were refused: {result['messages'][:3]}")


def _wait(replica, known):
    until(
        lambda: replica.count("ipwarden_requests", state="ready") == known,
        f"{known} requests to be served",
        PATIENCE,
    )


def _at_once(lab, replica, first, count, report):
    began = time.monotonic()
    _create(lab, first, count, 16)
    created = time.monotonic() - began
    _wait(replica, first + count)
    report.add("burst.created", created, "s")
    report.add("burst.granted", time.monotonic() - began, "s")


def _fill(lab, replica, first, end, report):
    began = time.monotonic()
    for begin in range(first, end, BATCH):
        _create(lab, begin, min(BATCH, end - begin), 16)
        say(f"created {min(begin + BATCH, end)} of {end} requests")
    _wait(replica, end)
    report.add("fill.rate", (end - first) / (time.monotonic() - began), "/s")


def _start(lab, options, report, number):
    began = time.monotonic()
    with lab.ipwarden(wait=False) as replica:
        pid = replica.process.pid
        until(replica.ready, f"ipwarden to be ready\n{replica.tail()}", 120)
        measured = {"ready": time.monotonic() - began, "cpu": cpu_seconds(pid), "rss": memory(pid)}
        known = replica.count("ipwarden_requests", state="ready")
        if known != options.requests + number:
            raise BenchError(f"ipwarden is ready and knows {known} requests that are served")
        _granted_after(lab, f"after-{number}")
        measured["granting"] = time.monotonic() - began
    report.round(**measured)
    said = ", ".join(f"{name} {value:.3g}" for name, value in measured.items())
    say(f"start {number + 1} of {options.starts}: {said}")
    return measured
