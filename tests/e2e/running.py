"""A process of the program under test: started, looked at from outside, paused, killed.

A report of a sanitizer in its log fails the test it is found in, and so does an end that nobody asked
for. What is special about `ipwarden serve` is in replicas.py, about `ipwarden agent` in nodes_lab.py.
"""

import functools
import http.client
import os
import re
import signal
import subprocess
from pathlib import Path

import invariants
from harness import PATIENCE, TOP, wait_until
from cluster_netns import entered, prefix  # harness knows where they are
from cluster_process import in_lasting_thread

BINARY = Path(os.environ.get("IPWARDEN_BINARY", TOP / "build/debug/server/ipwarden")).absolute()
SANITIZER = re.compile(r"ERROR: (Address|Leak)Sanitizer|runtime error:|WARNING: ThreadSanitizer")
# A write of its own that its own policies (deploy/manifests/own-rights.yaml) refuse.
DENIED = re.compile(r".*'ipwarden-\w[\w-]*'.* denied request.*")


class Running:
    """One process. Who inherits says which command it is, and which of its ports has the metrics."""

    def __init__(self, identity, directory, command, netns=None):
        """directory: where its log goes. netns: where it runs, and is asked on its loopback address."""
        self.identity = identity
        self.directory = directory
        self.directory.mkdir(parents=True, exist_ok=True)
        self.log = directory / "log"
        self.command = command
        self.netns = netns
        self.process = None
        self.environment = {}  # more of it, for tests that want to stop it somewhere
        self._reported = 0

    def start(self, wait=True):
        assert self.process is None, f"{self.identity} runs already"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("IPWARDEN_")}
        environment["UBSAN_OPTIONS"] = "print_stacktrace=1"
        environment.update(self.environment)
        with open(self.log, "ab") as log:
            start = functools.partial(
                subprocess.Popen,
                [
                    *("setpriv", "--pdeathsig", "KILL", "--"),
                    *prefix(self.netns),
                    *map(str, self.command),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
            # The kernel ends it with the thread that forked it, however the test run ends; and tests
            # may run in any thread, as those of xdist sometimes do.
            self.process = in_lasting_thread(start)
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

    def metrics(self):
        """What /metrics says, as invariants.parse_metrics gives it."""
        status, text = self.get("/metrics")
        if status == 404 and not self._knows_ports():
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
            with entered(self.netns):
                connection.connect()
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

    def _knows_ports(self):
        return True

    def _metrics_port(self):
        raise NotImplementedError
