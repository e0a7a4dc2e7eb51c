"""`run server`: how many AdmissionReviews of a Service one core answers, by whom.

All servers run at once on one core, and the generator on another sends to one of them at a time, in
rounds: what else happens on the machine then hits all of them, and the ratios of a round hold when
its figures don't. The review has dryRun set, so nobody writes. bare: libmicrohttpd and a constant
answer; go: a handler on controller-runtime; ours: `ipwarden serve`. The last two watch the Services
of a real API server.
"""

import base64
import contextlib
import json
import os
import socket
import subprocess

from bench_lab import Cluster, Lab, constant_answers
from bench_programs import (
    HERE,
    BenchError,
    Program,
    cpu_seconds,
    make_certificate,
    memory,
    scratch,
    until,
)
from bench_report import say
from bench_scale import populate

NAME = "server"
VARIANTS = ("bare", "go", "ours")
REVIEW = HERE / "admissionreview-service-create.json"
# Unit and meaning of what is reported of each server; cpu is that of the server for one request.
METRICS = {"rate": "1/s", "p50": "ms", "p99": "ms", "cpu": "us", "rss": "MB", "anon": "MB"}
# From this share of a core on, a program counts as having had all of it.
BUSY = 0.95


class Target:
    """A server under test; check is called at the end, while it still runs."""

    def __init__(self, pid, port, path, check=lambda: None):
        self.pid = pid
        self.port = port
        self.path = path
        self.check = check


def add_options(parser):
    parser.add_argument("--rounds", type=int, default=7, help="how often each is measured (7)")
    parser.add_argument("--seconds", type=float, default=3, help="how long each time (3)")
    parser.add_argument("--connections", type=int, default=16, help="kept alive (16)")
    parser.add_argument(
        "--services", type=int, default=0, help="in the cluster, for the memory they cost (0)"
    )


def run(options, programs, report):
    programs.build(
        go=["controller-runtime-handler", "client"] if "go" in options.variants else ["client"],
        ours="ours" in options.variants,
    )
    server_core, load_core = cores(report)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(scratch())
        lab = None
        if options.variants != ["bare"]:
            lab = Lab(stack.enter_context(Cluster.start()), programs)
            lab.remove_webhooks()
            populate(lab, options.services, claims=0)
            lab.add_webhooks()
        starters = {"bare": _start_bare, "go": _start_go, "ours": _start_ours}
        targets = {
            name: starters[name](stack, programs, lab, folder, server_core)
            for name in options.variants
        }
        rounds = []
        for number in range(options.rounds):
            # Another one comes first each time.
            turn = number % len(options.variants)
            order = options.variants[turn:] + options.variants[:turn]
            measured = {
                name: _measure(targets[name], options, programs, folder, load_core, report, name)
                for name in order
            }
            rounds.append(measured)
            report.round(**measured)
            rates = ", ".join(f"{name} {measured[name]['rate']:.0f}/s" for name in order)
            say(f"round {number + 1} of {options.rounds}: {rates}")
        for target in targets.values():
            target.check()
    _summarise(options.variants, rounds, report)


def _summarise(variants, rounds, report):
    def column(name, metric):
        return [measured[name][metric] for measured in rounds]

    for name in variants:
        for metric, unit in METRICS.items():
            report.add_median(f"{name}.{metric}", column(name, metric), unit)
        report.add(f"{name}.rss_max", max(column(name, "rss_max")), "MB")
    for over, under in (("ours", "go"), ("ours", "bare"), ("go", "bare")):
        if over in variants and under in variants:
            for metric in METRICS:
                name = f"ratio.{metric}.{over}/{under}"
                report.add_ratios(name, column(over, metric), column(under, metric))


def load(target, programs, core, name, **options):
    """Sends to the target from that core, with these options of bench_load; what that printed, and the
    CPU seconds that the target took."""
    before = cpu_seconds(target.pid)
    given = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
    done = subprocess.run(
        ["taskset", "--cpu-list", str(core), programs.load, f"--port={target.port}",
         f"--path={target.path}", *given],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise BenchError(f"the load on {name} failed ({done.returncode}): {done.stderr}")
    return json.loads(done.stdout), cpu_seconds(target.pid) - before


def _measure(target, options, programs, folder, core, report, name):
    samples = folder / "samples"
    result, used = load(
        target,
        programs,
        core,
        name,
        body=REVIEW,
        connections=options.connections,
        seconds=options.seconds,
        samples=samples,
    )
    _check_samples(samples.read_text(), name)
    share = used / result["answered"] * result["rate"]
    if result["cpu"] > BUSY > share:
        report.note(
            f"{name}: the load generator was the slower one in some rounds (it took "
            f"{result['cpu']:.0%} of its core, the server {share:.0%}); compare cpu, not rate"
        )
    elif max(result["cpu"], share) < BUSY:
        report.note(f"{name}: no core was busy in some rounds: others use this machine too")
    return {
        "rate": result["rate"],
        "p50": result["p50_us"] / 1000,
        "p99": result["p99_us"] / 1000,
        "cpu": used / result["answered"] * 1e6,
        "rss": memory(target.pid),
        "anon": memory(target.pid, "RssAnon"),
        "rss_max": memory(target.pid, "VmHWM"),
        "server_share": share,
        "load_share": result["cpu"],
    }


def _check_samples(text, name):
    """Every kept answer must be one to our request that allows it and gives an address."""
    uid = json.loads(REVIEW.read_text())["request"]["uid"]
    decoder, position, count = json.JSONDecoder(), 0, 0
    while position < len(text.rstrip()):
        review, position = decoder.raw_decode(text, position)
        position += len(text[position:]) - len(text[position:].lstrip())
        response = review["response"]
        patch = json.loads(base64.b64decode(response.get("patch", "bnVsbA==")))
        given = [op["value"] for op in patch or () if op["path"] == "/spec/externalIPs"]
        if response["uid"] != uid or response["allowed"] is not True or not given or not given[0]:
            raise BenchError(f"{name} does not give an address: {review}, patch {patch}")
        count += 1
    if count == 0:
        raise BenchError(f"{name}: no answer was kept to look at")


def _start_bare(stack, programs, lab, folder, core):
    del lab
    certificate, key = make_certificate(folder)
    mutate = constant_answers(folder)[0]
    # A constant indeed: the uid is that of the one review.
    file = folder / "mutate.json"
    uid = json.loads(REVIEW.read_text())["request"]["uid"]
    file.write_text(file.read_text().replace("@UID@", uid))
    program = Program(
        [programs.bare, "--certificate", certificate, "--key", key, "--answer", mutate],
        folder / "bare.log", core,
    )  # fmt: skip
    stack.callback(program.stop)
    return Target(program.pid, int(program.first_line()), "/mutate")


def _start_go(stack, programs, lab, folder, core):
    certificates = folder / "go"
    certificates.mkdir()
    make_certificate(certificates)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Program(
        [programs.go("controller-runtime-handler"), "-port", port, "-certificates", certificates,
         "-kubeconfig", lab.cluster.kubeconfig],
        folder / "go.log", core, {"GOMAXPROCS": "1"},
    )  # fmt: skip
    stack.callback(program.stop)
    until(lambda: listens(port), lambda: f"the Go handler to listen:\n{program.log.read_text()}")
    return Target(program.pid, port, "/mutate")


def _start_ours(stack, programs, lab, folder, core):
    del programs, folder
    replica = stack.enter_context(lab.ipwarden(core, ["--threads=1"]))
    lab.add_pool()
    lab.wait_for_pool()

    def check():
        if lab.has_claims():
            raise BenchError("dry-run requests have left claims")

    return Target(replica.process.pid, replica.port, lab.mutate_path(), check)


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def cores(report):
    """One core for the servers, another for the generator."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        report.note("one core for servers and load generator: rates are far below what they can do")
    return cores[0], cores[-1]
