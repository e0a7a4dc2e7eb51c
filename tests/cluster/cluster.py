"""A real Kubernetes control plane on this machine, up in seconds: etcd and kube-apiservers.

    from cluster import Cluster

    with Cluster.start(api_servers=2) as cluster:
        cluster.kubectl("apply", "--filename", "service.yaml")
        status, service = cluster.request("GET", "/api/v1/namespaces/default/services/web")

Everything a cluster is lives in one directory, and its ports are its own, so any number run beside
each other. Build the programs first: `tests/cluster/build`. There are no nodes and, unless asked
for, no controllers: no EndpointSlices, no garbage collection, and a deleted namespace stays.
"""

import fcntl
import http.client
import json
import os
import random
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import cluster_binaries
import cluster_netns
from cluster_certs import Certificates
from cluster_client import Client
from cluster_process import Process, environment, wait_until

ADMIN = "admin"
ADMIN_GROUPS = ["system:masters"]
CONTROLLER_MANAGER = "system:kube-controller-manager"
SERVICE_RANGE = "10.0.0.0/16"
SERVICE_RANGE_6 = "fd00:10::/108"
# Below what the kernel gives to outgoing connections (and to those who bind port 0) and to node
# ports, so that a port is still free when a killed server comes back to it.
PORTS = range(20000, 30000)
# A start takes seconds; this is for a machine that is busy with other things, too.
START_SECONDS = 120
PLAN = "cluster.json"


class ClusterError(Exception):
    """The cluster could not do what was asked; the text says what to do about it."""


class PortTaken(ClusterError):
    """Somebody took a port between its choice and its use."""


class Cluster:
    """One control plane. Made by Cluster.start; Cluster.open is for one of the command line."""

    def __init__(self, directory, plan, netns=None):
        self.directory = directory
        self.netns = netns
        self._plan = plan
        self._certificates = Certificates(directory / "certificates")
        self._clients = {}
        self._users = {ADMIN: ADMIN_GROUPS}
        self._lock = threading.Lock()
        self.etcd = Process("etcd", directory)
        self.apiservers = [
            Process(f"kube-apiserver-{index}", directory) for index in range(plan["api_servers"])
        ]
        self.controller_manager = (
            Process("kube-controller-manager", directory) if plan["controller_manager"] else None
        )
        self.address = plan["address"]
        self.ca_file = self._certificates.ca
        self.kubeconfigs = [directory / f"kubeconfig-{i}" for i in range(plan["api_servers"])]
        self.kubeconfig = self.kubeconfigs[0]

    @classmethod
    def start(
        cls,
        directory=None,
        api_servers=1,
        controller_manager=False,
        dual_stack=True,
        extra_apiserver_args=(),
        extra_controller_manager_args=(),
        address="127.0.0.1",
        netns=None,
        detached=False,
    ):
        """Starts a control plane and returns once all of it is ready.

        directory: where it keeps everything, and what stop() removes; must be new or empty. A
            temporary one by default.
        dual_stack: Services may have IPv6 cluster addresses too; IPv4 is the primary family.
        extra_*_args: come last, so they win over what is set here.
        address: what the API servers listen on and are reached at: one of this network namespace.
        netns: the cluster_netns.Netns that all of runs in and is talked to in.
        detached: the programs outlive this interpreter; otherwise they end with it, even if killed.
        """
        if api_servers < 1:
            raise ValueError("a cluster needs an API server: api_servers must be 1 or more")
        programs = ["etcd", "kube-apiserver", "kubectl"]
        if controller_manager:
            programs.append("kube-controller-manager")
        for program in programs:
            cluster_binaries.require(program)
        with cluster_netns.entered(netns):
            ports = _free_ports(address, api_servers)
        cluster = cls(
            _new_directory(directory),
            {
                "api_servers": api_servers,
                "controller_manager": controller_manager,
                "dual_stack": dual_stack,
                "extra_apiserver_args": list(extra_apiserver_args),
                "extra_controller_manager_args": list(extra_controller_manager_args),
                "address": address,
                "detached": detached,
                "ports": ports,
            },
            netns,
        )
        try:
            cluster._create()
        except BaseException:
            cluster.stop()
            raise
        return cluster

    @classmethod
    def open(cls, directory):
        """The cluster in the directory, whether or not it runs."""
        directory = Path(directory).resolve()
        try:
            plan = json.loads((directory / PLAN).read_text())
        except FileNotFoundError:
            raise ClusterError(
                f"there is no cluster in {directory}: start one with `tests/cluster/cluster up`"
            ) from None
        cluster = cls(directory, plan)
        for process in cluster.processes:
            process.attach()
        return cluster

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def processes(self):
        """All of the cluster's programs, in the order in which they start."""
        last = [self.controller_manager] if self.controller_manager else []
        return [self.etcd, *self.apiservers, *last]

    @property
    def _prefix(self):
        return cluster_netns.prefix(self.netns)

    @property
    def servers(self):
        """The URL of each API server."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return [f"https://{host}:{port}" for port in self._plan["ports"]["apiservers"]]

    @property
    def admin_cert(self):
        return self._certificates.user(ADMIN)[0]

    @property
    def admin_key(self):
        return self._certificates.user(ADMIN)[1]

    def kubectl(self, *arguments, input=None, check=True, kubeconfig=None):
        """Runs kubectl, as the administrator on server 0 or by the kubeconfig given.

        input is text for its standard input. Returns subprocess.CompletedProcess with text in
        stdout and stderr; raises ClusterError with both when it fails, unless check is False.
        """
        done = subprocess.run(
            [*self._prefix, cluster_binaries.require("kubectl"), *map(str, arguments)],
            input="" if input is None else input,
            capture_output=True,
            text=True,
            check=False,
            # The next cluster may get this one's port, so what kubectl remembers of a server must
            # go with the cluster; a developer's own settings have no say here.
            env=environment()
            | {
                "KUBECONFIG": str(kubeconfig or self.kubeconfig),
                "KUBECACHEDIR": str(self.directory / "kubectl-cache"),
                "KUBERC": "off",
            },
        )
        if check and done.returncode != 0:
            raise ClusterError(
                f"kubectl {' '.join(map(str, arguments))}: exit {done.returncode}\n"
                f"{done.stdout}{done.stderr}"
            )
        return done

    def request(
        self, method, path, body=None, content_type=None, server=0, user=None, timeout=30
    ):
        """Sends one request to an API server and returns (status, parsed JSON or text).

        body: bytes or text as it is, anything else as JSON. content_type: JSON by default, a merge
        patch for PATCH. user: one that user_kubeconfig was called for; by default the admin.
        A request is sent once only: an OSError or http.client.HTTPException leaves open whether
        the server carried it out.
        """
        return self._client(server, user).request(method, path, body, content_type, timeout)

    def ssl_context(self, user=None):
        """What a connection of one's own (a watch, say) needs to reach the servers as a user."""
        return self._client(0, user).context

    def user_kubeconfig(self, name, groups=(), server=0):
        """The path of a kubeconfig for a user with a client certificate, made on first use.

        The user has no rights until RBAC grants some (groups ["system:masters"] has all).
        """
        groups = list(groups)
        with self._lock:
            if self._users.setdefault(name, groups) != groups:
                raise ValueError(
                    f"user {name} has the groups {self._users[name]} already: use another name"
                )
            path = self._certificates.user(name, groups)[0].with_suffix(f".kubeconfig-{server}")
            return self._certificates.kubeconfig(path, self.servers[server], name, groups)

    def kill_apiserver(self, index):
        """Ends the API server at once; it's gone when this returns."""
        self.apiservers[index].kill()

    def start_apiserver(self, index, wait=True):
        """Starts a killed API server again, at the address it had."""
        self.apiservers[index].start(self._apiserver_command(index), self._plan["detached"])
        if wait:
            self._wait_for_apiserver(index, time.monotonic() + START_SECONDS)

    def pause_apiserver(self, index):
        """Makes the API server silent: connections stay open, and nothing is answered."""
        self.apiservers[index].pause()

    def resume_apiserver(self, index):
        self.apiservers[index].resume()

    def restart_cold(self):
        """Kills every program at once and starts all again on the same data and addresses."""
        self._kill()
        self._run()

    def ready(self):
        """Whether every program runs and every API server says that it's ready."""
        return all(process.alive() for process in self.processes) and all(
            self._apiserver_answers(index) for index in range(len(self.apiservers))
        )

    def stop(self):
        """Kills every program and removes the directory. Does no harm when called twice."""
        self._kill()
        self._close_clients()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _create(self):
        # First of all: a directory without it isn't taken for a cluster's, and is never removed.
        self._save_plan()
        self._certificates.create([self.address, "127.0.0.1", "::1", "10.0.0.1", "fd00:10::1"])
        for attempt in range(5):
            for url, kubeconfig in zip(self.servers, self.kubeconfigs):
                self._certificates.kubeconfig(kubeconfig, url, ADMIN, ADMIN_GROUPS)
            try:
                return self._run()
            except PortTaken:
                if attempt == 4:
                    raise
                self._kill()
                self._close_clients()
                with cluster_netns.entered(self.netns):
                    self._plan["ports"] = _free_ports(self.address, len(self.apiservers))
                self._save_plan()
                shutil.rmtree(self.directory / "etcd", ignore_errors=True)
                shutil.rmtree(self.directory / "logs", ignore_errors=True)

    def _save_plan(self):
        (self.directory / PLAN).write_text(json.dumps(self._plan, indent=2))

    def _close_clients(self):
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()

    def _run(self):
        """Starts every program and waits until all are ready."""
        deadline = time.monotonic() + START_SECONDS
        detached = self._plan["detached"]
        self.etcd.start(self._etcd_command(), detached)
        # An API server that finds no etcd would wait a second before it tries again.
        self._wait(self.etcd, self._etcd_answers, deadline)
        for index in range(len(self.apiservers)):
            self.start_apiserver(index, wait=False)
        for index in range(len(self.apiservers)):
            self._wait_for_apiserver(index, deadline)
        if self.controller_manager:
            self.controller_manager.start(self._controller_manager_command(), detached)
            self._wait(self.controller_manager, self._controllers_work, deadline)

    def _kill(self):
        # From the last to the first: none of them gets to notice, and to log, that another is gone.
        for process in reversed(self.processes):
            process.kill()

    def _etcd_command(self):
        client, peer = self._plan["ports"]["etcd"]
        certificate, key = self._certificates.pair("server")
        return [
            *self._prefix,
            cluster_binaries.require("etcd"),
            f"--data-dir={self.directory}/etcd",
            f"--listen-client-urls=https://127.0.0.1:{client}",
            f"--advertise-client-urls=https://127.0.0.1:{client}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=default=http://127.0.0.1:{peer}",
            # Not for secrecy: it keeps clusters apart even if one finds another's etcd on its port.
            f"--cert-file={certificate}",
            f"--key-file={key}",
            f"--trusted-ca-file={self.ca_file}",
            "--client-cert-auth",
            # Safe from anything but the machine's own crash, and many times as fast.
            "--unsafe-no-fsync",
            f"--quota-backend-bytes={8 << 30}",
            "--log-level=warn",
        ]

    def _apiserver_command(self, index):
        ports = self._plan["ports"]
        certificate, key = self._certificates.pair("server")
        ranges = SERVICE_RANGE + (f",{SERVICE_RANGE_6}" if self._plan["dual_stack"] else "")
        return [
            *self._prefix,
            cluster_binaries.require("kube-apiserver"),
            f"--etcd-servers=https://127.0.0.1:{ports['etcd'][0]}",
            f"--etcd-cafile={self.ca_file}",
            f"--etcd-certfile={certificate}",
            f"--etcd-keyfile={key}",
            f"--bind-address={self.address}",
            # Otherwise it asks for a default route, and a network namespace may have none.
            f"--advertise-address={self.address}",
            f"--secure-port={ports['apiservers'][index]}",
            f"--cert-dir={self.directory}/certificates",
            f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}",
            f"--client-ca-file={self.ca_file}",
            f"--service-account-key-file={self._certificates.service_account_public_key}",
            f"--service-account-signing-key-file={self._certificates.service_account_key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-cluster-ip-range={ranges}",
            "--authorization-mode=Node,RBAC",
            # The Service "kubernetes" would point to a loopback address, which it refuses.
            "--endpoint-reconciler-type=none",
            "--profiling=false",
            *self._plan["extra_apiserver_args"],
        ]

    def _controller_manager_command(self):
        kubeconfig = self.user_kubeconfig(CONTROLLER_MANAGER)
        return [
            *self._prefix,
            cluster_binaries.require("kube-controller-manager"),
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._plan['ports']['controller_manager']}",
            f"--cert-dir={self.directory}/certificates/controller-manager",
            # There's only one, and it must not wait for the lease of the one that was killed.
            "--leader-elect=false",
            "--use-service-account-credentials",
            f"--service-account-private-key-file={self._certificates.service_account_key}",
            f"--root-ca-file={self.ca_file}",
            "--profiling=false",
            *self._plan["extra_controller_manager_args"],
        ]

    def _client(self, server, user):
        user = user or ADMIN
        with self._lock:
            if user not in self._users:
                raise ValueError(f"there is no user {user}: call user_kubeconfig({user!r}) first")
            if (server, user) not in self._clients:
                port = self._plan["ports"]["apiservers"][server]
                pair = self._certificates.user(user, self._users[user])
                self._clients[server, user] = Client(
                    self.address, port, self.ca_file, *pair, netns=self.netns
                )
            return self._clients[server, user]

    def _wait_for_apiserver(self, index, deadline):
        self._wait(self.apiservers[index], lambda: self._apiserver_answers(index), deadline)

    def _wait(self, process, ready, deadline):
        wait_until(lambda: not process.alive() or ready(), deadline)
        if process.alive() and ready():
            return
        tail = process.log_tail()
        if not process.alive() and "address already in use" in tail:
            raise PortTaken(
                f"{process.name} found its port taken: start a new cluster. Its log ends:\n{tail}"
            )
        what = "is not ready in time" if process.alive() else "died"
        raise ClusterError(
            f"{process.name} {what}. Look for the reason in the end of its log, and check the "
            f"extra arguments, memory and disk:\n{tail}"
        )

    def _etcd_answers(self):
        port = self._plan["ports"]["etcd"][0]
        pair = self._certificates.pair("server")
        client = Client("127.0.0.1", port, self.ca_file, *pair, netns=self.netns)
        try:
            return client.request("GET", "/readyz", timeout=2)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def _apiserver_answers(self, index):
        # /readyz alone says nothing of the namespaces, which a controller inside the server makes.
        return self._finds("/readyz", index) and self._finds("/api/v1/namespaces/default", index)

    def _controllers_work(self):
        return self._finds("/api/v1/namespaces/default/serviceaccounts/default")

    def _finds(self, path, server=0):
        try:
            return self.request("GET", path, server=server, timeout=2)[0] == 200
        except (OSError, http.client.HTTPException):
            return False


@contextmanager
def locked(directory):
    """Keeps two command lines from starting or ending the same cluster at once.

    The directory is made if need be, and is not left behind empty.
    """
    while True:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # The one who held the lock may have removed the directory; then it's another one's name.
        if directory.exists() and os.path.samestat(os.fstat(descriptor), directory.stat()):
            break
        os.close(descriptor)
    try:
        yield
    finally:
        try:
            directory.rmdir()
        except OSError:
            pass
        os.close(descriptor)


def _new_directory(directory):
    if directory is None:
        return Path(tempfile.mkdtemp(prefix="ipwarden-cluster-")).resolve()
    directory = Path(directory).resolve()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise ClusterError(
            f"{directory} is not empty: name a new directory, or remove the cluster in it with "
            f"`tests/cluster/cluster down --directory {directory}`"
        )
    return directory


def _free_ports(address, api_servers):
    taken = set()
    return {
        "etcd": [_free_port("127.0.0.1", taken), _free_port("127.0.0.1", taken)],
        "apiservers": [_free_port(address, taken) for _ in range(api_servers)],
        "controller_manager": _free_port("127.0.0.1", taken),
    }


def _free_port(address, taken):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for port in random.sample(PORTS, 200):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((address, port))
            except OSError as error:
                refused = error
                continue
        if port not in taken:
            taken.add(port)
            return port
    raise ClusterError(
        f"no port of {PORTS[0]}-{PORTS[-1]} can be bound on {address} ({refused}): check that the "
        "address belongs to this machine or network namespace"
    )
