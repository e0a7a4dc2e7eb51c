"""Network namespaces without names: held by a process that ends with the test run, so that none is
left behind, whatever ended the run, and any number of them exist beside each other.

    net = Netns("node-1", directory)
    net.run("ip", "link", "set", "lo", "up")
    with net.entered():
        connection = socket.create_connection(("203.0.113.1", 80))

A socket belongs for good to the namespace it was made in, so a test talks to several at once. By
hand: `nsenter --net=PATH`, the path being what str() of a Netns gives.
"""

import contextlib
import ctypes
import os
import subprocess
import threading
import time
from pathlib import Path

from cluster_process import Process, environment, wait_until

CLONE_NEWNET = 0x40000000
SECONDS = 10

_libc = ctypes.CDLL(None, use_errno=True)


class NetnsError(Exception):
    """A namespace could not be made or a command in it failed; the text says which."""


class Netns:
    """A network namespace of this name (for messages only), its loopback link up."""

    def __init__(self, name, directory):
        self.name = name
        self._holder = Process(f"netns-{name}", Path(directory))
        own = os.stat("/proc/self/ns/net").st_ino
        self._holder.start(["unshare", "--net", "--", "sleep", "infinity"], detached=False)
        self.path = f"/proc/{self._holder.pid}/ns/net"
        if not wait_until(lambda: self._made(own), time.monotonic() + SECONDS, pause=0.001):
            raise NetnsError(
                f"no network namespace {name}: it needs root (CAP_SYS_ADMIN), and unshare from the "
                f"package util-linux:\n{self._holder.log_tail()}"
            )
        self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        self.run("ip", "link", "set", "lo", "up")

    def __str__(self):
        return self.path

    @property
    def pid(self):
        """Of the process that holds it: what `ip link set LINK netns PID` takes."""
        return self._holder.pid

    @property
    def prefix(self):
        """What a command is prefixed with to run in here; it stays one process."""
        return ["nsenter", f"--net={self.path}", "--"]

    @contextlib.contextmanager
    def entered(self):
        """This thread is in the namespace meanwhile, and the sockets it makes stay there."""
        home = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)
        try:
            _enter(self._descriptor)
            try:
                yield
            finally:
                _enter(home)
        finally:
            os.close(home)

    def run(self, *command, check=True, input=None, timeout=60):
        """Runs a command in here; returns subprocess.CompletedProcess with text."""
        done = subprocess.run(
            [*self.prefix, *map(str, command)],
            input=input if input is not None else "", capture_output=True, text=True, check=False,
            env=environment(), timeout=timeout,
        )  # fmt: skip
        if check and done.returncode != 0:
            raise NetnsError(
                f"in {self.name}: {' '.join(map(str, command))}: exit {done.returncode}\n"
                f"{done.stdout}{done.stderr}"
            )
        return done

    def ip(self, *arguments, check=True):
        return self.run("ip", *arguments, check=check)

    def close(self):
        """Gives the namespace up: it goes, with its links, once nothing runs in it any more."""
        self._holder.kill()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _made(self, own):
        if not self._holder.alive():
            return True
        with contextlib.suppress(OSError):
            name = Path(f"/proc/{self._holder.pid}/comm").read_text().strip()
            return name == "sleep" and os.stat(self.path).st_ino != own
        return False


def connect(netns, left, right_netns, right):
    """Joins two namespaces by a pair of links of these names; both are down at first."""
    netns.ip("link", "add", left, "type", "veth", "peer", "name", right, "netns", right_netns.pid)


def entered(netns):
    """netns.entered(), and nothing where there is none."""
    return netns.entered() if netns else contextlib.nullcontext()


def prefix(netns):
    return netns.prefix if netns else []


def _enter(descriptor):
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
