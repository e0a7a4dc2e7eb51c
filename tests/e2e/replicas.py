"""Replicas of the program under test: started, killed, paused, and looked at from outside.

A Replica is one process of `ipwarden serve`; a Fleet is several that share a port by SO_REUSEPORT,
as replicas behind a Service would. A report of a sanitizer in a replica's log fails the test it is
found in, and so does an end that nobody asked for.
"""

import functools
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import invariants
from harness import NAME, NAMESPACE, PATIENCE, TOP, service_account_kubeconfig, wait_until
from cluster_process import in_lasting_thread  # harness knows where it is

BINARY = Path(os.environ.get("IPWARDEN_BINARY", TOP / "build/debug/server/ipwarden")).absolute()
SANITIZER = re.compile(r"ERROR: (Address|Leak)Sanitizer|runtime error:|WARNING: ThreadSanitizer")
# A write of its own that its own policies (deploy/manifests/own-rights.yaml) refuse.
DENIED = re.compile(r".*'ipwarden-own-\w+'.* denied request.*")
# A lease that is short enough to see it change hands, and long enough to be held on a busy machine.
LEASE_SECONDS = 4


class Replica:
    """One `ipwarden serve` on this machine."""

    def __init__(
        self,
        cluster,
        port,
        index=0,
        server=0,
        binary=None,
        extra_args=(),
        kubeconfig=None,
        url=None,
    ):
        """port: what to listen on, shared with others. server: which API server to use.

        kubeconfig: of one's own, instead of a token of the ServiceAccount. url: of a proxy in front
        of the API server, for the kubeconfig made here.
        """
        self.cluster = cluster
        self.identity = f"replica-{index}"
        self.directory = cluster.directory / "ipwarden" / f"{self.identity}-{port}"
        self.directory.mkdir(parents=True, exist_ok=True)
        self.log = self.directory / "log"
        self.port = port
        self.ports = {}
        self.process = None
        self.environment = {}  # more of it, for tests that want to stop it somewhere
        self._kubeconfig = kubeconfig or service_account_kubeconfig(
            cluster, self.directory / "kubeconfig", server, url
        )
        self._ports_file = self.directory / "ports.json"
        self._reported = 0
        self.command = [
            binary or BINARY,
            "serve",
            f"--kubeconfig={self._kubeconfig}",
            f"--namespace={NAMESPACE}",
            f"--identity={self.identity}",
            f"--listen=127.0.0.1:{port}",
            "--reuse-port",
            f"--webhook-url=https://127.0.0.1:{port}",
            "--metrics-listen=127.0.0.1:0",
            "--health-listen=127.0.0.1:0",
            f"--ports-file={self._ports_file}",
            f"--lease-duration={LEASE_SECONDS}s",
            "--drain=200ms",
            "--log-format=text",
            *extra_args,
        ]

    def start(self, wait=True):
        assert self.process is None, f"{self.identity} runs already"
        self._ports_file.unlink(missing_ok=True)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("IPWARDEN_")}
        environment["UBSAN_OPTIONS"] = "print_stacktrace=1"
        environment.update(self.environment)
        with open(self.log, "ab") as log:
            start = functools.partial(
                subprocess.Popen,
                ["setpriv", "--pdeathsig", "KILL", "--", *map(str, self.command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
            # The kernel ends it with the thread that forked it, however the test run ends; and tests
            # may run in any thread, as those of xdist sometimes do.
            self.process = in_lasting_thread(start)
        self.ports = {}
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self):
        wait_until(
            lambda: self._died() or self.ready(),
            lambda: f"{self.identity} to be ready; it says {self._readiness()!r}\n{self.tail()}",
        )
        assert not self._died(), f"{self.identity} ended with {self._died()}\n{self.tail()}"

    def running(self):
        return self.process is not None and self.process.poll() is None

    def ready(self):
        answer = self._readiness()
        return answer is not None and answer[0] == 200

    def listens(self):
        """Whether the webhook's port is open, ready or not."""
        return self.port in listening_ports(self.process.pid)

    def leads(self):
        return self.metrics().get(("ipwarden_leader", frozenset())) == 1

    def seems_to_lead(self):
        """leads(), and False where it can't be asked yet."""
        try:
            return self.leads()
        except (OSError, http.client.HTTPException):
            return False

    def metrics(self):
        """What /metrics says, as invariants.parse_metrics gives it."""
        status, text = self.get("/metrics")
        if status == 404 and not self.ports:
            raise ConnectionError("which of its ports is the one for metrics isn't known yet")
        assert status == 200, text
        return invariants.parse_metrics(text)

    def count(self, name, **labels):
        """The sum of a metric over all series that have the labels."""
        wanted = set(labels.items())
        return sum(
            value
            for (name_, have), value in self.metrics().items()
            if name_ == name and wanted <= have
        )

    def get(self, path, port=None, timeout=10):
        """(status, text) of a path on the metrics port, or on another."""
        port = port or self._metrics_port()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def descriptors(self):
        """How many file descriptors the process has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def resident(self):
        """The memory that the process has in use, in bytes."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    def terminate(self):
        """Asks it to end and returns at once; stop() or wait_ended() is what looks at the end."""
        self.process.send_signal(signal.SIGTERM)

    def stop(self):
        """Ends it as a rollout would, and sees that it does so properly; None running is fine."""
        if self.process is None:
            return
        assert self.running(), f"{self.identity} ended by itself\n{self.tail()}"
        self.process.send_signal(signal.SIGCONT)
        self.terminate()
        self.wait_ended()

    def wait_ended(self):
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.identity} outlives SIGTERM\n{self.tail()}") from None
        self.process = None
        self.check_log()
        assert code == 0, f"{self.identity} ended with {code}\n{self.tail()}"

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def is_stopped(self):
        """Whether it stands still, by pause() or of its own accord."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "T"

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def check_log(self):
        """Fails when a sanitizer or a policy has complained since the last call."""
        if not self.log.exists():
            return
        with open(self.log, "rb") as log:
            log.seek(self._reported)
            text = log.read()
            self._reported = log.tell()
        found = SANITIZER.search(text.decode(errors="replace"))
        if found:
            report = text.decode(errors="replace")[found.start() :]
            raise AssertionError(f"{self.identity}: a sanitizer reports\n{report[:6000]}")
        denied = DENIED.search(text.decode(errors="replace"))
        assert not denied, f"{self.identity} may not what it wants to: {denied[0][:2000]}"

    def tail(self, lines=25):
        if not self.log.exists():
            return "    (no log)"
        text = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join(f"    {line[:400]}" for line in text)

    def _died(self):
        if self.process is None:
            return "nothing started"
        code = self.process.poll()
        return None if code is None else f"exit code {code}"

    def _readiness(self):
        try:
            return self.get("/readyz")
        except (OSError, http.client.HTTPException):
            return None

    def _metrics_port(self):
        if self.ports:
            return self.ports["metrics"]
        try:
            self.ports = json.loads(self._ports_file.read_text())
            return self.ports["metrics"]
        except (FileNotFoundError, json.JSONDecodeError):
            # The file comes with the certificate. Health can be asked for before that, and at either
            # of the two ports that are open then.
            others = listening_ports(self.process.pid) - {self.port}
            if not others:
                raise ConnectionError("it does not listen yet") from None
            return others.pop()


class Fleet:
    """Several replicas on one port, each using the API server of its number, round robin."""

    def __init__(self, cluster, replicas=1, extra_args=(), **options):
        self.cluster = cluster
        self.extra_args = list(extra_args)
        # Bound and never listening: it keeps the port while no replica runs, and takes nothing.
        self._reservation = socket.socket()
        self._reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._reservation.bind(("127.0.0.1", 0))
        self.port = self._reservation.getsockname()[1]
        self._options = options
        self.replicas = []
        self.resize(replicas)

    def resize(self, replicas, extra_args=()):
        """Makes that many new replicas, not started, with more arguments than the fleet's own."""
        assert not any(replica.process for replica in self.replicas)
        self.replicas = [
            Replica(
                self.cluster,
                self.port,
                index,
                server=index % len(self.cluster.servers),
                extra_args=[*self.extra_args, *extra_args],
                **self._options,
            )
            for index in range(replicas)
        ]

    def start(self):
        for replica in self.replicas:
            replica.start(wait=False)
        for replica in self.replicas:
            replica.wait_ready()
        return self

    def ensure(self):
        """Starts those that don't run, whatever a test did to them, and waits for readiness."""
        for replica in self.replicas:
            if replica.process is None:
                replica.start(wait=False)
            else:
                replica.resume()
        for replica in self.replicas:
            replica.wait_ready()

    def replace(self, *extra_args, replicas=None):
        """Ends all of them and starts new ones that have more arguments."""
        self.stop()
        self.resize(replicas or len(self.replicas), extra_args)
        return self.start()

    def stop(self):
        """Ends all of them at once, and sees that each does so properly."""
        running = [replica for replica in self.replicas if replica.process is not None]
        for replica in running:
            assert replica.running(), f"{replica.identity} ended by itself\n{replica.tail()}"
            replica.resume()
            replica.terminate()
        for replica in running:
            replica.wait_ended()

    def kill(self):
        for replica in self.replicas:
            replica.kill()

    def close(self):
        """Ends what still runs, in whatever state, and gives the port back."""
        self.kill()
        self._reservation.close()

    def check(self):
        """Fails when a replica that was started ended by itself, or reported anything."""
        for replica in self.replicas:
            replica.check_log()
            assert replica.process is None or replica.running(), (
                f"{replica.identity} ended by itself\n{replica.tail()}"
            )

    def leader(self):
        """The replica that reconciles, once there is one."""
        return wait_until(
            lambda: next((r for r in self.replicas if r.running() and r.seems_to_lead()), None),
            lambda: "a leader\n" + "\n".join(replica.tail(8) for replica in self.replicas),
        )

    def count(self, name, **labels):
        return sum(replica.count(name, **labels) for replica in self.replicas if replica.running())


def listening_ports(pid):
    """The TCP ports of 127.0.0.1 that a process listens on."""
    sockets = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            sockets.add(os.readlink(descriptor))
        except FileNotFoundError:
            pass
    found = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, *_, inode = line.split()[:10]
        if state == "0A" and f"socket:[{inode}]" in sockets:
            found.add(int(local.partition(":")[2], 16))
    return found


def lease_holder(cluster):
    """The identity that the Lease names."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{NAME}"
    status, lease = cluster.request("GET", path)
    return lease["spec"].get("holderIdentity") if status == 200 else None


def timed(function):
    """(seconds, result) of a call."""
    began = time.monotonic()
    result = function()
    return time.monotonic() - began, result
