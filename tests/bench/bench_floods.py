"""`run floods`: what Services that get an address cost while somebody floods ipwarden's ports.

On one real API server and one replica. Creates are begun at a steady rate, whether or not those before
are done, and each is timed from the moment when it was due. For each flood the same is measured
twice, before it and in it. All floods come from the API server's own address and open again what was
closed; the machine carries both, so what the attackers themselves use up counts against us.
"""

import argparse
import concurrent.futures
import contextlib
import threading
import time

from bench_lab import CONSTANT_ADDRESS, Cluster, Lab
from bench_programs import memory, until
from bench_report import say
from floods import Flood

NAME = "floods"
VARIANTS = ("ours",)
# What comes, to which port, by how many connections, and with which path.
FLOODS = {
    "wrong-path": ("body", "listen", 153, "/wrong"),
    "unfinished": ("body", "listen", 153, "right"),
    "silent": ("silent", "listen", 9000, "/"),
    "handshakes": ("hello", "listen", 3000, "/"),
    "headers": ("headers", "listen", 1000, "right"),
    "metrics": ("silent", "metrics", 4200, "/"),
    "probes": ("silent", "health", 4200, "/"),
}
WARM_UP = 100
WORKERS = 64
PROBE_PAUSE = 0.5


def add_options(parser):
    parser.add_argument("--creates", type=int, default=500, help="Services each time (500)")
    parser.add_argument("--rate", type=float, default=20, help="begun in a second (20)")
    parser.add_argument(
        "--floods", type=_floods, default=list(FLOODS), help=f"of {','.join(FLOODS)} (all)"
    )
    parser.add_argument("--rounds", type=int, default=1, help="how often each (1)")


def run(options, programs, report):
    programs.build(go=[], ours=True, tools=())
    with contextlib.ExitStack() as stack:
        lab = Lab(stack.enter_context(Cluster.start()), programs)
        lab.remove_webhooks()
        lab.add_pool()
        lab.add_webhooks()
        lab.add_namespace(NAME)
        replica = stack.enter_context(lab.ipwarden())
        lab.wait_for_pool()
        lab.wait_for_webhooks(NAME, lambda got: got and got != [CONSTANT_ADDRESS])
        until(replica.leads, "ipwarden to lead")
        bench = _Bench(lab, options, report)
        bench.create("warm", WARM_UP)
        for name in options.floods:
            _measure(bench, name, options, report)


def _measure(bench, name, options, report):
    quiet, flooded = [], []
    for number in range(options.rounds):
        run_name = f"{name}-{number}"
        quiet.append(bench.create(f"{run_name}-quiet", options.creates))
        with bench.flood(name):
            flooded.append(bench.create(f"{run_name}-flood", options.creates))
        report.round(flood=name, quiet=quiet[-1], flooded=flooded[-1])
        say(f"{name}: quiet {quiet[-1]}, flooded {flooded[-1]}")

    def column(rounds, metric):
        return [one[metric] for one in rounds]

    report.add(f"{name}.failed", sum(column(flooded, "failed")), "Services")
    for metric in ("p50", "p99"):
        report.add_median(f"{name}.quiet.{metric}", column(quiet, metric), "ms")
        report.add_median(f"{name}.{metric}", column(flooded, metric), "ms")
        report.add_ratios(
            f"{name}.ratio.{metric}.flood/quiet", column(flooded, metric), column(quiet, metric)
        )
    report.add(f"{name}.probe_most", max(column(flooded, "probe")), "ms")
    report.add(f"{name}.rss_most", max(column(flooded, "rss")), "MB")


class _Bench:
    def __init__(self, lab, options, report):
        self.lab = lab
        self.report = report
        self._rate = options.rate
        self._workers = concurrent.futures.ThreadPoolExecutor(WORKERS)

    def flood(self, name):
        kind, port, count, path = FLOODS[name]
        if path == "right":
            path = self.lab.mutate_path()
        return Flood(kind, self.lab.replica.ports[port], count, path)

    def create(self, name, count):
        """Creates that many at the rate and says what they took; deletes them again."""
        began = time.monotonic() + 0.1
        path = f"/api/v1/namespaces/{NAME}/services"
        failed = []

        def one(index):
            due = began + index / self._rate
            time.sleep(max(0, due - time.monotonic()))
            body = {
                "metadata": {"name": f"{name}-{index}", "annotations": {"external-ip": "auto"}},
                "spec": {"selector": {"app": name}, "ports": [{"port": 80}]},
            }
            try:
                status, answer = self.lab.cluster.request("POST", path, body)
            except OSError as error:
                status, answer = 0, str(error)
            took = 1000 * (time.monotonic() - due)
            if status != 201 or not answer["spec"].get("externalIPs"):
                failed.append(str(answer)[:300])
            return took

        with _Watch(self.lab.replica) as watch:
            took = sorted(self._workers.map(one, range(count)))
        for text in failed[:3]:
            self.report.note(f"{name}: {text}")
        self.lab.request("DELETE", path)
        return {
            "failed": len(failed),
            "p50": took[len(took) // 2],
            "p99": took[len(took) * 99 // 100],
            "max": took[-1],
            "probe": watch.probe,
            "rss": watch.rss,
        }


class _Watch:
    """The slowest probe in ms, and the most memory in MB, while this lasts."""

    def __init__(self, replica):
        self.probe = 0
        self.rss = 0
        self._replica = replica
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _run(self):
        while not self._over.is_set():
            began = time.monotonic()
            with contextlib.suppress(OSError):
                self._replica.get("/healthz", self._replica.ports["health"])
            self.probe = max(self.probe, 1000 * (time.monotonic() - began))
            self.rss = max(self.rss, memory(self._replica.process.pid))
            self._over.wait(PROBE_PAUSE)


def _floods(text):
    chosen = text.split(",")
    if not set(chosen) <= set(FLOODS):
        raise argparse.ArgumentTypeError(f"choose from {', '.join(FLOODS)}")
    return chosen
