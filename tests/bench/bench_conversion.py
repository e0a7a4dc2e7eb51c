"""`run conversion`: ConversionReviews of 1, 1,500 and 10,000 IpClaims, answered by one core.

From v2 to v1, as a list in the older version costs it. Both servers run at once on one core, and the
generator on another sends to one of them at a time, in rounds, one review after the other over each
connection: 16 connections for small reviews, one for the largest. go: controller-runtime's conversion webhook with typed objects; ours: `ipwarden serve`.
"""

import contextlib
import json
import socket

from bench_lab import Cluster, Lab
from bench_programs import BenchError, Program, make_certificate, memory, scratch, until
from bench_report import say
from bench_server import Target, cores, listens, load

NAME = "conversion"
VARIANTS = ("go", "ours")
OBJECTS = (1, 1500, 10000)
METRICS = {"rate": "1/s", "p50": "ms", "p99": "ms", "cpu": "us", "rss": "MB"}
PEER = "controller-runtime-conversion"
DATA = "ipcontroller.ext/conversion-data"


def add_options(parser):
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (5)")
    parser.add_argument(
        "--seconds", type=float, default=3, help="how long each time; 4 times that for 10,000 (3)"
    )
    parser.add_argument(
        "--objects",
        type=lambda text: [int(number) for number in text.split(",")],
        default=list(OBJECTS),
        metavar="N,...",
        help="objects in a review (1,1500,10000)",
    )


def run(options, programs, report):
    programs.build(
        go=["client", *([PEER] if "go" in options.variants else [])],
        ours="ours" in options.variants,
    )
    server_core, load_core = cores(report)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(scratch())
        targets = {}
        if "go" in options.variants:
            targets["go"] = _start_go(stack, programs, folder, server_core)
        if "ours" in options.variants:
            lab = Lab(stack.enter_context(Cluster.start()), programs)
            replica = stack.enter_context(lab.ipwarden(server_core, ["--threads=1"]))
            targets["ours"] = Target(replica.process.pid, replica.port, "/convert")
        for count in options.objects:
            body = folder / f"review-{count}.json"
            body.write_text(review(count))
            _measure_all(options, programs, report, targets, body, count, load_core)


def _measure_all(options, programs, report, targets, body, count, core):
    rounds = []
    for number in range(options.rounds):
        turn = number % len(options.variants)
        order = options.variants[turn:] + options.variants[:turn]
        measured = {
            name: _measure(targets[name], options, programs, report, body, count, core, name)
            for name in order
        }
        rounds.append(measured)
        report.round(objects=count, **measured)
        times = ", ".join(f"{name} {measured[name]['p50']:.2f} ms" for name in order)
        say(f"{count} objects, round {number + 1} of {options.rounds}: {times}")
    for name in options.variants:
        for metric, unit in METRICS.items():
            values = [measured[name][metric] for measured in rounds]
            report.add_median(f"{name}.{count}.{metric}", values, unit)
        most = max(measured[name]["rss_max"] for measured in rounds)
        report.add(f"{name}.{count}.rss_max", most, "MB")
    report.add(f"size.{count}", body.stat().st_size / 1e6, "MB")
    if set(VARIANTS) <= set(options.variants):
        for metric in METRICS:
            report.add_ratios(
                f"ratio.{metric}.{count}.ours/go",
                [measured["ours"][metric] for measured in rounds],
                [measured["go"][metric] for measured in rounds],
            )


def _measure(target, options, programs, report, body, count, core, name):
    samples = body.with_suffix(".samples")
    result, used = load(
        target,
        programs,
        core,
        name,
        body=body,
        connections=connections(count),
        seconds=options.seconds * max(1, count / 2500),
        samples=samples,
        sample_every=1000000,
    )
    _check(samples.read_text(), count, name)
    return {
        "rate": result["rate"],
        "p50": result["p50_us"] / 1000,
        "p99": result["p99_us"] / 1000,
        "cpu": used / result["answered"] * 1e6,
        "rss": memory(target.pid),
        "rss_max": memory(target.pid, "VmHWM"),
    }


def connections(count):
    """Enough of them to keep the server's core busy, and no more than its memory for bodies takes."""
    return max(1, min(16, 3000 // count))


def _check(text, count, name):
    """Every object must be there, in the older version, with what that can't say."""
    response = json.loads(text.splitlines()[0])["response"]
    items = response.get("convertedObjects", ())
    good = response["uid"] == "bench" and response["result"]["status"] == "Success"
    for index, item in enumerate(items):
        good = good and (
            item["apiVersion"] == "ipcontroller.ext/v1"
            and item["metadata"]["name"] == claim(index)["metadata"]["name"]
            and item["spec"]["cidr"] == claim(index)["spec"]["cidr"]
            and item["metadata"]["labels"]["ip-pool-name"] == "blue"
            and "standbyNode" in item["metadata"]["annotations"][DATA]
        )
    if not good or len(items) != count:
        raise BenchError(f"{name} doesn't convert: {text[:500]}")


def review(count):
    request = {
        "uid": "bench",
        "desiredAPIVersion": "ipcontroller.ext/v1",
        "objects": [claim(index) for index in range(count)],
    }
    item = {
        "kind": "ConversionReview",
        "apiVersion": "apiextensions.k8s.io/v1",
        "request": request,
    }
    return json.dumps(item, separators=(",", ":"))


def claim(index):
    """A claim as ipwarden makes it, with what an API server and an agent add."""
    ip = f"10.{index >> 16 & 255}.{index >> 8 & 255}.{index & 255}"
    fields = {"f:spec": {".": {}, "f:cidr": {}, "f:nodeName": {}, "f:pool": {}, "f:services": {}}}
    entry = {
        "manager": "ipwarden",
        "operation": "Update",
        "apiVersion": "ipcontroller.ext/v2",
        "time": "2026-01-01T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    condition = {
        "type": "Bound",
        "status": "True",
        "reason": "Bound",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "observedGeneration": 2,
    }
    service = {
        "namespace": "shop",
        "name": f"web-{index}",
        "uid": f"5b3c1a52-7a6c-4b0e-9d5c-{index:012d}",
        "given": True,
        "since": "2026-01-01T00:00:00.000000Z",
        "ports": ["TCP/80", "TCP/443"],
    }
    return {
        "apiVersion": "ipcontroller.ext/v2",
        "kind": "IpClaim",
        "metadata": {
            "name": f"{ip.replace('.', '-')}-32",
            "uid": f"8f6d1a52-7a6c-4b0e-9d5c-{index:012d}",
            "resourceVersion": str(1000 + index),
            "generation": 2,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"ip-pool-name": "blue"},
            "finalizers": ["ipcontroller.ext/bound"],
            "managedFields": [entry, {**entry, "manager": "ipwarden-agent", "subresource": "status"}],
        },
        "spec": {
            "cidr": f"{ip}/32",
            "pool": "blue",
            "nodeName": "node-1",
            "standbyNode": "node-2",
            "services": [service],
        },
        "status": {
            "boundNode": "node-1",
            "mac": "02:00:00:00:00:01",
            "boundSince": "2026-01-01T00:00:00Z",
            "conditions": [condition],
        },
    }


def _start_go(stack, programs, folder, core):
    certificates = folder / "go"
    certificates.mkdir()
    make_certificate(certificates)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Program(
        [programs.go(PEER), "-port", port, "-certificates", certificates],
        folder / "go.log", core, {"GOMAXPROCS": "1"},
    )  # fmt: skip
    stack.callback(program.stop)
    until(lambda: listens(port), lambda: f"the Go handler to listen:\n{program.log.read_text()}")
    return Target(program.pid, port, "/convert")
