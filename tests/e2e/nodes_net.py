"""A small network in namespaces: a switch, and hosts that are joined to it, cut off and parted.

The switch is a namespace with a bridge; it has an address itself, for a control plane. Every host
has one link, eth0, with an address of each family. All of it is in 203.0.113.0/24 and
2001:db8:113::/64, the networks for documentation (RFC 5737, RFC 3849), and nothing of it is in the
machine's own network, so that any number of such networks exist side by side.
"""

import ipaddress
import json
import time
from contextlib import contextmanager

from harness import HERE  # noqa: F401  (it knows where cluster_netns is)
from cluster_netns import Netns, connect

NETWORK = ipaddress.ip_network("203.0.113.0/24")
NETWORK_6 = ipaddress.ip_network("2001:db8:113::/64")
LINK = "eth0"
BRIDGE = "br0"
BRIDGE_MAC = "02:00:5e:00:71:01"
# The last octet, or group, of who is there.
SWITCH, CLIENT, ROUTER, FOREIGN, FIRST_NODE = 1, 2, 3, 9, 11
# Of each family, what pools give, and what nobody but a test or a peer gives.
POOL = [str(NETWORK[20 + i]) for i in range(100)]
SPARE = [str(NETWORK[120 + i]) for i in range(100)]
POOL_6 = [str(NETWORK_6[0x100 + i]) for i in range(100)]

FORWARDING = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
# No address of ours may wait for the second that the kernel's detection of duplicates takes.
QUIET = ("net.ipv6.conf.default.accept_ra=0", "net.ipv6.conf.default.accept_dad=0")


class Host:
    """Somebody on the network."""

    def __init__(self, network, name, number, forwards=False):
        self.network = network
        self.name = name
        self.port = f"p-{name}"[:15]
        self.address = str(NETWORK[number])
        self.address6 = str(NETWORK_6[number])
        self.net = Netns(name, network.directory)
        set_kernel(self.net, *QUIET, *(FORWARDING if forwards else ()))
        connect(network.switch, self.port, self.net, LINK)
        network.switch.ip("link", "set", self.port, "master", BRIDGE, "up")
        batch(
            self.net,
            f"address add {self.address}/{NETWORK.prefixlen} dev {LINK}",
            f"address add {self.address6}/{NETWORK_6.prefixlen} dev {LINK} nodad",
            f"link set {LINK} up",
        )
        self.mac = json.loads(self.net.ip("-j", "link", "show", LINK).stdout)[0]["address"]

    def cut(self):
        """Pulls the cable: the host sees that its link has no carrier."""
        self.network.log(f"cut {self.name}", cut={self.name})
        self.network.switch.ip("link", "set", self.port, "down")

    def join(self):
        self.network.switch.ip("link", "set", self.port, "up")
        self.network.log(f"joined {self.name}", joined={self.name})

    def has_carrier(self):
        """Whether the host has noticed that its cable is in: up to a second after it was joined."""
        (link,) = json.loads(self.net.ip("-j", "link", "show", LINK).stdout)
        return {"LOWER_UP", "UP"} <= set(link["flags"]) and link["operstate"] == "UP"

    def addresses(self):
        """Addresses of all links by text, each what `ip -j address` says of it."""
        found = json.loads(self.net.ip("-j", "address").stdout)
        return {
            entry["local"]: {**entry, "link": link["ifname"]}
            for link in found
            for entry in link["addr_info"]
            if "local" in entry
        }

    def add_address(self, address, link=LINK):
        """By hand, as an administrator would."""
        self.net.ip("address", "add", with_length(address), "dev", link, *_nodad(address))

    def remove_address(self, address, link=LINK):
        self.net.ip("address", "delete", with_length(address), "dev", link)

    def remove_addresses(self, addresses, link=LINK):
        """Those of them that it has, by one process."""
        lines = [f"address delete {with_length(address)} dev {link}" for address in addresses]
        self.net.run("ip", "-force", "-batch", "-", input="\n".join(lines) + "\n", check=False)

    def close(self):
        self.net.close()


class Network:
    """The switch, its hosts, and when whom could hear whom."""

    def __init__(self, directory):
        self.directory = directory
        self.switch = Netns("switch", directory)
        self.hosts = {}
        self.history = []  # (time.monotonic(), text, what changed), for the checkers and for people
        self._parted = set()
        set_kernel(self.switch, *QUIET)
        batch(
            self.switch,
            # With a MAC of its own: else it has the lowest of its ports', which come and go, and
            # nobody would find the control plane for seconds.
            f"link add {BRIDGE} address {BRIDGE_MAC} type bridge forward_delay 0 mcast_snooping 0",
            f"address add {NETWORK[SWITCH]}/{NETWORK.prefixlen} dev {BRIDGE}",
            f"address add {NETWORK_6[SWITCH]}/{NETWORK_6.prefixlen} dev {BRIDGE} nodad",
            f"link set {BRIDGE} up",
        )
        self.address = str(NETWORK[SWITCH])

    def add(self, name, number, forwards=False):
        host = Host(self, name, number, forwards)
        self.hosts[name] = host
        return host

    def remove(self, host):
        # With both ends of the link, at once, even if something still runs in there.
        self.switch.ip("link", "delete", host.port, check=False)
        host.close()
        del self.hosts[host.name]

    def part(self, *hosts):
        """None of these hears another of them; all others and they hear each other as before."""
        assert not self._parted, "parted already"
        self._parted = set(hosts)
        self.log(
            f"parted {', '.join(host.name for host in hosts)}",
            parted=frozenset(host.name for host in hosts),
        )
        for host in hosts:
            self.switch.run("bridge", "link", "set", "dev", host.port, "isolated", "on")

    def heal(self):
        for host in self._parted:
            self.switch.run("bridge", "link", "set", "dev", host.port, "isolated", "off")
        self.log("healed", healed=True)
        self._parted = set()

    @contextmanager
    def parted(self, *hosts):
        self.part(*hosts)
        try:
            yield
        finally:
            self.heal()

    def cut_api(self, *hosts):
        """The hosts don't reach the control plane; connections that exist fall silent."""
        # Both ways: what the server sends by itself, watches, would get through otherwise.
        rules = "".join(
            f"add rule inet lab input ip saddr {host.address} drop\n"
            f"add rule inet lab output ip daddr {host.address} drop\n"
            f"add rule inet lab input ip6 saddr {host.address6} meta l4proto tcp drop\n"
            f"add rule inet lab output ip6 daddr {host.address6} meta l4proto tcp drop\n"
            for host in hosts
        )
        table = "".join(
            f"add chain inet lab {hook} {{ type filter hook {hook} priority 0; }}\n"
            for hook in ("input", "output")
        )
        self.log(f"cut from the API: {', '.join(host.name for host in hosts)}")
        self.switch.run("nft", "-f", "-", input=f"add table inet lab\n{table}{rules}")

    def join_api(self):
        self.switch.run("nft", "delete", "table", "inet", "lab", check=False)
        self.log("joined to the API")

    def cut_all(self, hosts):
        """Nobody of these hears anybody."""
        for host in hosts:
            host.cut()

    def join_all(self, hosts):
        for host in hosts:
            host.join()

    def log(self, text, **change):
        self.history.append((time.monotonic(), text, change))

    def close(self):
        for host in list(self.hosts.values()):
            self.remove(host)
        self.switch.close()


def batch(net, *lines):
    """Several commands of ip, by one process."""
    net.run("ip", "-batch", "-", input="\n".join(lines) + "\n")


def set_kernel(net, *settings):
    """Settings as sysctl(8) takes them, of the namespace alone."""
    script = "\n".join(
        f"echo {value} > /proc/sys/{key.replace('.', '/')}"
        for key, _, value in (setting.partition("=") for setting in settings)
    )
    net.run("sh", "-ec", script)


def with_length(address):
    """203.0.113.100 as 203.0.113.100/32."""
    return f"{address}/{ipaddress.ip_address(address).max_prefixlen}"


def _nodad(address):
    return ["nodad"] if ":" in address else []
