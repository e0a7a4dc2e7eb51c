"""Replicas of the program under test: started, killed, paused, and looked at from outside.

A Replica is one process of `ipwarden serve`; a Fleet is several that share a port by SO_REUSEPORT,
as replicas behind a Service would. A report of a sanitizer in a replica's log fails the test it is
found in, and so does an end that nobody asked for (running.py).
"""

import http.client
import json
import os
import socket
import time
from pathlib import Path

from harness import NAME, NAMESPACE, service_account_kubeconfig, wait_until
from running import BINARY, Running
from cluster_netns import entered  # harness knows where it is

# A lease that is short enough to see it change hands, and long enough to be held on a busy machine.
LEASE_SECONDS = 4


class Replica(Running):
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
        identity = f"replica-{index}"
        directory = cluster.directory / "ipwarden" / f"{identity}-{port}"
        directory.mkdir(parents=True, exist_ok=True)
        self.cluster = cluster
        self.port = port
        self.ports = {}
        self._ports_file = directory / "ports.json"
        self._kubeconfig = kubeconfig or service_account_kubeconfig(
            cluster, directory / "kubeconfig", server, url
        )
        command = [
            binary or BINARY,
            "serve",
            f"--kubeconfig={self._kubeconfig}",
            f"--namespace={NAMESPACE}",
            f"--identity={identity}",
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
        super().__init__(identity, directory, command, cluster.netns)

    def start(self, wait=True):
        self._ports_file.unlink(missing_ok=True)
        self.ports = {}
        return super().start(wait)

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

    def _knows_ports(self):
        return bool(self.ports)

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
        with entered(cluster.netns):
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
