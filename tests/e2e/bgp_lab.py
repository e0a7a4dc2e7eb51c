"""Nodes, a router and a client outside, in network namespaces, with real routing daemons.

    client -- router -- switch -- node 0, 1, 2

The daemons are Debian's, with the configurations of deploy/examples/bgp; each runs in its node's
namespace with sockets and files of its own. Nodes carry addresses by hand here: whoever calls
Node.carry may have an agent do it instead.
"""

import contextlib
import functools
import ipaddress
import itertools
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from harness import TOP, wait_until
from cluster_process import in_lasting_thread  # harness knows where it is

EXAMPLES = TOP / "deploy/examples/bgp"
# What the example files say of a node, of which each node has its own.
EXAMPLE_NODE = {4: "192.0.2.11", 6: "2001:db8:2::11"}
ROUTER = {4: "192.0.2.1", 6: "2001:db8:2::1"}
CLIENT = {4: ("203.0.113.2", "203.0.113.1"), 6: ("2001:db8:9::2", "2001:db8:9::1")}
PREFIX = {4: 24, 6: 64}
FRR = Path("/usr/lib/frr")


def _missing():
    """What this machine hasn't got of what is needed, or None."""
    if os.geteuid() != 0:
        return "network namespaces take root"
    wanted = {"ip": "iproute2", "bird": "bird2", "vtysh": "frr", "ping": "iputils-ping"}
    lacking = [package for program, package in wanted.items() if not shutil.which(program)]
    return f"not installed: {', '.join(lacking)} (deploy/deps test)" if lacking else None


class Namespace:
    """A network namespace, which goes with all that runs in it."""

    _numbers = itertools.count()

    def __init__(self, name):
        self.name = f"ipw-bgp-{os.getpid()}-{next(Namespace._numbers)}-{name}"
        self.processes = []
        _run("ip", "netns", "add", self.name)
        self.run("ip", "link", "set", "lo", "up")
        for family in ("ipv4", "ipv6"):
            _sysctl(self, f"net.{family}.conf.all.forwarding=1")

    def run(self, *command, check=True):
        return _run("ip", "netns", "exec", self.name, *command, check=check)

    def start(self, *command, log):
        self.processes.append(_start("ip", "netns", "exec", self.name, *command, log=log))
        return self.processes[-1]

    def routes(self, prefix):
        """The next hops of a route in the kernel's table, as addresses."""
        version = ipaddress.ip_network(prefix).version
        found = self.run("ip", f"-{version}", "-j", "route", "show", prefix).stdout
        hops = [hop for route in json.loads(found or "[]") for hop in route.get("nexthops") or [route]]
        return sorted(hop["gateway"] for hop in hops if "gateway" in hop)

    def kill(self):
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
        self.processes.clear()

    def close(self):
        self.kill()
        _run("ip", "netns", "del", self.name, check=False)


class Node:
    """A node with a routing daemon that has one session a family with the router."""

    def __init__(self, lab, index, daemon):
        self.addresses = {4: f"192.0.2.{11 + index}", 6: f"2001:db8:2::{11 + index}"}
        self.port = f"port{index}"
        self.namespace = Namespace(f"node{index}")
        lab.namespaces.append(self.namespace)
        lab.plug(self.namespace, self.port, self.addresses)
        for version, router in ROUTER.items():
            self.namespace.run("ip", f"-{version}", "route", "add", "default", "via", router)
        # Nobody on the link shall hear of what is on lo but by BGP.
        arp = "net.ipv4.conf.all.arp"
        _sysctl(self.namespace, f"{arp}_ignore=1", f"{arp}_announce=2")
        config = (EXAMPLES / f"{daemon}.conf").read_text()
        for version, address in EXAMPLE_NODE.items():
            config = config.replace(address, self.addresses[version])
        start_daemon(self.namespace, daemon, config, lab.directory / f"node{index}")

    def own_addresses(self):
        found = json.loads(self.namespace.run("ip", "-j", "address", "show", "dev", "eth0").stdout)
        return [entry["local"] for entry in found[0]["addr_info"]]

    def carry(self, address):
        self.namespace.run("ip", "address", "add", _single(address), "dev", "lo")

    def drop(self, address):
        self.namespace.run("ip", "address", "del", _single(address), "dev", "lo")


class Lab:
    def __init__(self, nodes, daemon, router_daemon):
        if _missing():
            raise RuntimeError(_missing())
        # FRR's programs give up root, and have to reach their files all the same.
        self.directory = Path(tempfile.mkdtemp(prefix="ipw-bgp-"))
        self.directory.chmod(0o755)
        self.namespaces = []
        self.nodes = []
        self._processes = []
        try:
            self._build(nodes, daemon, router_daemon)
        except BaseException:
            self.close()
            raise

    def _build(self, nodes, daemon, router_daemon):
        self.switch, self.router, self.client = map(self._namespace, ("switch", "router", "client"))
        self.switch.run("ip", "link", "add", "bridge", "type", "bridge")
        self.switch.run("ip", "link", "set", "bridge", "up")
        self.plug(self.router, "uplink", ROUTER)
        _join(self.client, "eth0", self.router, "eth1")
        for version, (own, gateway) in CLIENT.items():
            _address(self.client, "eth0", own, version)
            _address(self.router, "eth1", gateway, version)
            self.client.run("ip", f"-{version}", "route", "add", "default", "via", gateway)
        config = (EXAMPLES / f"router-{router_daemon}.conf").read_text()
        self._router_daemon = router_daemon
        start_daemon(self.router, router_daemon, config, self.directory / "router")
        for index in range(nodes):
            self.nodes.append(Node(self, index, daemon))

    def _namespace(self, name):
        self.namespaces.append(Namespace(name))
        return self.namespaces[-1]

    def plug(self, namespace, port, addresses):
        """Connects eth0 of the namespace with a port of the switch."""
        _join(namespace, "eth0", self.switch, port)
        self.switch.run("ip", "link", "set", port, "master", "bridge")
        for version, address in addresses.items():
            _address(namespace, "eth0", address, version)

    def watched(self):
        """Waits until the router watches all nodes by BFD, which begins once BGP is established."""
        directory = self.directory / "router"
        command = {
            "bird": ("birdc", "-s", directory / "bird.ctl", "show bfd sessions"),
            "frr": _vtysh(directory, "-c", "show bfd peers brief"),
        }[self._router_daemon]

        def sessions():
            lines = self.router.run(*command).stdout.lower().splitlines()
            return [line for line in lines if "up" in line.split()]

        count = 2 * len(self.nodes)
        wait_until(lambda: len(sessions()) == count, lambda: f"{count} sessions, not {sessions()}")

    def start(self, *command, log):
        """A program that runs in no namespace, until the lab is closed."""
        self._processes.append(_start(*command, log=log))

    def cut(self, node):
        """The node falls silent. The router's own link stays up, as behind any switch."""
        self.switch.run("ip", "link", "set", node.port, "down")

    def next_hops(self, address):
        """The nodes over which the router spreads an address, by their ports; a node's hop for IPv6
        may be its link-local address."""
        hops = self.router.routes(_single(address))
        known = {own: node.port for node in self.nodes for own in node.own_addresses()}
        return sorted(known.get(hop, hop) for hop in hops)

    def routed_to(self, address, nodes, seconds=None):
        """Waits until the router spreads the address over just these nodes."""
        wanted = sorted(node.port for node in nodes)
        wait_until(
            lambda: self.next_hops(address) == wanted,
            lambda: f"{wanted} for {address}, not {self.next_hops(address)}\n{self.logs()}",
            seconds,
        )

    def answers(self, address):
        """Whether a host outside is answered at the address."""
        ping = ("ping", "-n", "-q", "-c", "1", "-W", "1", address)
        return self.client.run(*ping, check=False).returncode == 0

    def logs(self):
        files = sorted(self.directory.glob("*/*.log"))
        return "\n".join(f"{file}: {file.read_text(errors='replace')[-1000:]}" for file in files)

    def close(self):
        for process in self._processes:
            process.kill()
            process.wait()
        for namespace in reversed(self.namespaces):
            with contextlib.suppress(OSError):
                namespace.close()
        shutil.rmtree(self.directory, ignore_errors=True)


def start_daemon(namespace, daemon, config, directory):
    directory.mkdir()
    directory.chmod(0o777)
    (_start_bird if daemon == "bird" else _start_frr)(namespace, config, directory)


def _start_bird(namespace, config, directory):
    file = directory / "bird.conf"
    file.write_text(config)
    files = ("-c", file, "-s", directory / "bird.ctl", "-P", directory / "bird.pid")
    log = directory / "bird.log"
    process = namespace.start("bird", "-f", *files, log=log)
    wait_until((directory / "bird.ctl").exists, lambda: f"bird: {log.read_text()}")
    assert process.poll() is None, log.read_text()


def _start_frr(namespace, config, directory):
    file = directory / "frr.conf"
    file.write_text(config)
    options = {"zebra": (), "bgpd": (), "bfdd": ("--bfdctl", directory / "bfdd.sock")}
    for name, more in options.items():
        files = ("-z", directory / "zserv.api", "-i", directory / f"{name}.pid")
        sockets = ("--vty_socket", directory, "-P", "0")
        log = directory / f"{name}.log"
        namespace.start(FRR / name, "-f", "/dev/null", *files, *sockets, *more, log=log)
        vty = directory / f"{name}.vty"
        wait_until(vty.exists, lambda log=log: f"{name}: {log.read_text()}")
    # What /etc/frr/frr.conf is for the service: one file for all of them.
    (directory / "vtysh.conf").touch()
    done = namespace.run(*_vtysh(directory, "-f", file))
    assert "%" not in done.stdout + done.stderr, done


def _start(*command, log):
    """A program in the foreground; the kernel ends it with the test run, however that ends."""
    begin = functools.partial(
        subprocess.Popen,
        ["setpriv", "--pdeathsig", "KILL", "--", *map(str, command)],
        stdin=subprocess.DEVNULL,
        stdout=open(log, "ab"),
        stderr=subprocess.STDOUT,
    )
    return in_lasting_thread(begin)


def _vtysh(directory, *arguments):
    return ("vtysh", "--vty_socket", directory, "--config_dir", directory, *arguments)


def _single(address):
    parsed = ipaddress.ip_address(address)
    return f"{parsed}/{parsed.max_prefixlen}"


def _join(one, link, other, other_link):
    peer = ("peer", "name", other_link, "netns", other.name)
    one.run("ip", "link", "add", link, "type", "veth", *peer)
    one.run("ip", "link", "set", link, "up")
    other.run("ip", "link", "set", other_link, "up")


def _address(namespace, link, address, version):
    more = ("nodad",) if version == 6 else ()
    namespace.run("ip", "address", "add", f"{address}/{PREFIX[version]}", "dev", link, *more)


def _sysctl(namespace, *settings):
    for setting in settings:
        name, _, value = setting.partition("=")
        path = "/proc/sys/" + name.replace(".", "/")
        namespace.run("sh", "-c", f"echo {value} >{path}")


def _run(*command, check=True):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, f"{command}: {done.stdout}{done.stderr}"
    return done
