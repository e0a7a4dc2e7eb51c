"""`run scale`: how long ipwarden takes to become ready in a large cluster, and in how much memory.

Headless Services, the first of them with an external address each and the claim to it, are created
while ipwarden doesn't run; then it starts cold, several times. list: a client that reads the same
lists and throws them away.
"""

import contextlib
import http.client
import json
import re
import time
from pathlib import Path

from bench_lab import CLAIMS, Cluster, Lab
from bench_programs import BenchError, cpu_seconds, memory, until
from bench_report import say
from bench_ways import claim

NAME = "scale"
VARIANTS = ("list", "ours")
CLIENTS = 32
NAMESPACES = 10
# Objects that one call of the client makes.
BATCH = 5000
# In the folder of a cluster that is kept: what was put into it.
POPULATION = "population.json"
POPULATION_PATIENCE = 300


def add_options(parser):
    parser.add_argument("--services", type=int, default=100_000, help="how many (100000)")
    parser.add_argument(
        "--claims", type=int, default=50_000, help="those that have an address (50000)"
    )
    parser.add_argument("--starts", type=int, default=3, help="how often it starts (3)")
    parser.add_argument(
        "--settle", type=float, default=10, help="seconds to wait before the second look (10)"
    )
    parser.add_argument(
        "--keep", metavar="DIR", help="keep the cluster there, for the next run to be faster"
    )


def run(options, programs, report):
    if not 0 <= options.claims <= options.services:
        raise BenchError("--claims: there are no more claims than Services")
    programs.build(go=["client"], ours="ours" in options.variants)
    with _cluster(options.keep) as cluster:
        lab = Lab(cluster, programs)
        lab.remove_webhooks()
        lab.add_pool()
        _populate_once(lab, options, report)
        starts = [_start(lab, options, report, number) for number in range(options.starts)]
    report.add("services", options.services, "objects")
    report.add("claims", options.claims, "objects")

    def column(metric):
        return [start.get(metric) for start in starts]

    report.add_median("list.total", column("list"), "s")
    report.add_median("list.size", column("list_size"), "MB")
    for metric, unit in (
        ("ready", "s"), ("cpu", "s"), ("rss", "MB"), ("rss_settled", "MB"), ("rss_max", "MB")
    ):  # fmt: skip
        report.add_median(f"ours.{metric}", column(metric), unit)
    report.add_ratios("ratio.ready.ours/list", column("ready"), column("list"))


def _start(lab, options, report, number):
    """One cold start, and the same lists read by a client that only throws them away."""
    measured = _read_lists(lab) if "list" in options.variants else {}
    if "ours" in options.variants:
        lab.add_webhooks()
        measured |= _start_ours(lab, options)
        lab.remove_webhooks()
    report.round(**measured)
    said = ", ".join(f"{name} {value:.3g}" for name, value in measured.items())
    say(f"start {number + 1} of {options.starts}: {said}")
    return measured


def _start_ours(lab, options):
    began = time.monotonic()
    with lab.ipwarden(wait=False) as replica:
        pid = replica.process.pid
        until(
            lambda: replica.ready() or not replica.running(),
            lambda: f"ipwarden to be ready\n{replica.tail()}",
            POPULATION_PATIENCE,
        )
        if not replica.running():
            raise BenchError(f"ipwarden ended\n{replica.tail()}")
        measured = {
            "ready": time.monotonic() - began,
            "cpu": cpu_seconds(pid),
            "rss": memory(pid),
        }
        known = replica.count("ipwarden_claims")
        if known != options.claims:
            raise BenchError(f"ipwarden is ready and knows {known} claims of {options.claims}")
        # Not to wait for anything: what it needs once it has gone on working is a figure, too.
        time.sleep(options.settle)
        return measured | {"rss_settled": memory(pid), "rss_max": memory(pid, "VmHWM")}


def _populate_once(lab, options, report):
    """Creates what isn't there, and reports how long it took."""
    wanted = {"services": options.services, "claims": options.claims}
    file = lab.cluster.directory / POPULATION
    if file.exists():
        found = json.loads(file.read_text())
        if found != wanted:
            raise BenchError(f"the cluster in {file.parent} has {found}: use another folder")
        return
    began = time.monotonic()
    populate(lab, options.services, options.claims)
    report.add("population", time.monotonic() - began, "s")
    file.write_text(json.dumps(wanted))


def populate(lab, services, claims):
    """Creates headless Services, the first with addresses and claims. No webhooks may be there."""
    for index in range(NAMESPACES if services else 0):
        lab.add_namespace(_namespace(index))
    for first, count, has_claim in _batches(services, claims):
        steps = _steps(_namespace(first // BATCH % NAMESPACES), has_claim)
        result = lab.send(steps, as_admin=True, clients=CLIENTS, first=first, count=count)
        if result["failed"]:
            raise BenchError(f"{result['failed']} objects were refused: {result['messages'][:3]}")
        rate = count / result["seconds"]
        say(f"created {first + count} of {services} Services, {rate:.0f}/s")


def _batches(services, claims):
    """(first, count, whether they have claims) of what is created at once."""
    for begin, end, has_claim in ((0, claims, True), (claims, services, False)):
        for first in range(begin, end, BATCH):
            yield first, min(BATCH, end - first), has_claim


def _steps(namespace, has_claim):
    """Requests that make one Service and its claim as ipwarden leaves them; see client/main.go."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "web-@i@",
            "namespace": namespace,
            "labels": {"app": "web-@i@", "tier": "frontend"},
        },
        "spec": {
            "clusterIP": "None",
            "selector": {"app": "web-@i@"},
            "ports": [
                {"name": "http", "port": 80, "targetPort": 8080},
                {"name": "https", "port": 443, "targetPort": 8443},
            ],
        },
    }
    steps = [{"method": "POST", "path": f"/api/v1/namespaces/{namespace}/services"}]
    if has_claim:
        service["metadata"]["annotations"] = {"external-ip": "auto"}
        service["spec"]["externalIPs"] = ["@address@"]
        body = claim(namespace, "web-@i@", ["TCP/80", "TCP/443"], uid="@uid@")
        steps.append({"method": "POST", "path": CLAIMS, "body": json.dumps(body)})
    steps[0]["body"] = json.dumps(service)
    return steps


def _namespace(index):
    return f"scale-{index}"


def _read_lists(lab):
    """Reads Services and claims in pages of 500, as informers do, and looks at nothing in them."""
    host, port = lab.cluster.servers[0].removeprefix("https://").rsplit(":", 1)
    connection = http.client.HTTPSConnection(host, int(port), context=lab.cluster.ssl_context())
    began, size = time.monotonic(), 0
    with contextlib.closing(connection):
        for path in ("/api/v1/services", CLAIMS):
            more = ""
            while more is not None:
                url = f"{path}?limit=500{more}"
                connection.request("GET", url, headers={"Accept": "application/json"})
                page = connection.getresponse().read()
                size += len(page)
                token = re.search(rb'"continue":"([^"]+)"', page[:1000])
                more = f"&continue={token.group(1).decode()}" if token else None
    return {"list": time.monotonic() - began, "list_size": size / 1e6}


@contextlib.contextmanager
def _cluster(keep):
    """A cluster for this run; or the one in a folder, which stays there when the run is over."""
    if not keep:
        with Cluster.start() as cluster:
            yield cluster
        return
    folder = Path(keep).resolve()
    if (folder / POPULATION).exists():
        cluster = Cluster.open(folder)
        cluster.restart_cold()
    else:
        cluster = Cluster.start(directory=folder)
    try:
        yield cluster
    finally:
        if (folder / POPULATION).exists():
            for process in reversed(cluster.processes):
                process.kill()
        else:
            cluster.stop()
