"""`run failover`: how long an outside client goes unanswered when the node of an address dies.

A node is killed, its daemon with SIGKILL and its link by pulling the cable, and a client asks every
address every few milliseconds until all are answered again, by way of another node's kube-proxy. So
for ipwarden and for keepalived (VRRP), on the same nodes, in turns, with equal intervals: probes as
often as adverts, three missing. Needs root, and installs the Debian package keepalived.
"""

import argparse
import contextlib
import json
import shutil
import subprocess
import time

import bench_lab  # noqa: F401  (it knows where tests/e2e is)
from bench_programs import BenchError, scratch, until
from bench_report import say

import objects
from nodes_lab import BACKEND_PORT, IPNODES, NodesLab
from nodes_net import LINK, POOL, SPARE
from cluster_process import Process

NAME = "failover"
VARIANTS = ("keepalived", "ours")
PORT = 80
PACE_MS = 4
# Milliseconds of silence after which an address isn't being answered; a busy machine is late, too.
QUIET_MS = 60
MISSES = 3
SECONDS = 60
KEEPALIVED = """\
global_defs {{
    router_id {name}
    vrrp_version 3
}}
vrrp_instance bench {{
    state BACKUP
    nopreempt
    interface {link}
    virtual_router_id 51
    priority {priority}
    advert_int {seconds}
    virtual_ipaddress {{
{addresses}
    }}
}}
"""


def add_options(parser):
    parser.add_argument("--rounds", type=int, default=30, help="nodes killed for each figure (30)")
    parser.add_argument(
        "--addresses", type=_numbers, default=[1, 100], help="how many on the node (1,100)"
    )
    parser.add_argument(
        "--intervals", type=_numbers, default=[100, 30], help="of probes and adverts, ms (100,30)"
    )
    parser.add_argument(
        "--without-api", action="store_true", help="stop the API server before each node is killed"
    )


def run(options, programs, report):
    if "keepalived" in options.variants:
        _install_keepalived()
    programs.build(go=[], ours=True, tools=["bench_answers"])
    with scratch() as folder, contextlib.ExitStack() as stack:
        say("starting a control plane, three nodes and a client")
        lab = NodesLab(folder, 3, binary=programs.ipwarden)
        stack.callback(lab.close)
        for interval in options.intervals:
            for count in options.addresses:
                _measure(lab, programs, options, report, interval, count)


def _measure(lab, programs, options, report, interval, count):
    lab.reset()
    makers = {"keepalived": _Keepalived, "ours": _Ours}
    gaps = {name: [] for name in options.variants}
    worst = {name: [] for name in options.variants}
    with contextlib.ExitStack() as stack:
        server = Process("answers", lab.cluster.directory)
        server.start(
            [*lab.nodes[-1].net.prefix, programs.answers, "serve", BACKEND_PORT], detached=False
        )
        stack.callback(server.kill)
        contenders = [
            stack.enter_context(makers[name](lab, programs, options, interval, count))
            for name in options.variants
        ]
        for number in range(options.rounds):
            # The other one first, every other time.
            for one in contenders if number % 2 == 0 else reversed(contenders):
                taken = one.kill_a_node()
                gaps[one.name] += taken
                worst[one.name].append(max(taken))
                report.round(variant=one.name, interval=interval, addresses=count, gaps=taken)
                say(f"{interval} ms, {count}: {one.name} {max(taken):.0f} ms")
    for name, values in gaps.items():
        prefix = f"{interval}ms.{count}.{name}"
        for percent in (50, 90, 99):
            report.add(f"{prefix}.p{percent}", _percentile(values, percent), "ms")
        report.add(f"{prefix}.max", max(values), "ms")
        if count > 1:
            report.add_median(f"{prefix}.all", worst[name], "ms")
    if len(gaps) == 2:
        report.add_ratios(
            f"{interval}ms.{count}.ratio.all.ours/keepalived", worst["ours"], worst["keepalived"]
        )
        for percent in (50, 99):
            ours, peer = (_percentile(gaps[name], percent) for name in ("ours", "keepalived"))
            report.add(f"{interval}ms.{count}.ratio.p{percent}.ours/keepalived", ours / peer, "x")


class _Contender:
    """Who moves addresses from a dead node. The first node has them, and dies."""

    def __init__(self, lab, programs, options, interval, count):
        self.lab = lab
        self.without_api = options.without_api
        self.interval = interval
        self.count = count
        self.victim, *self.others = lab.nodes
        self._programs = programs
        self._client = None

    def __enter__(self):
        self.addresses = self.make_services()
        self._client = _Client(self.lab, self._programs, self.addresses)
        return self

    def __exit__(self, *_):
        self.stop()
        if self._client:
            self._client.close()

    def kill_a_node(self):
        """Has the addresses on the victim, kills it; how long each address was silent, in ms."""
        self.settle()
        until(self._client.all_answered, lambda: f"answers: {self._client.look()}", SECONDS)
        if self.without_api:
            # After the last time a kube-proxy may take half a minute to find the API server again.
            until(self._proxied, "the rules of every kube-proxy", SECONDS)
            self.lab.cluster.kill_apiserver(0)
        # What the client knows of who has them is as old as in a network that was quiet for a while.
        time.sleep(1.5)
        self._client.begin()
        agent = self.victim.agent
        if agent:
            agent.kill()
        self.victim.host.cut()
        self.kill_daemon()
        time.sleep(0.15)
        until(self._client.all_answered, lambda: f"answers: {self._client.look()}", SECONDS)
        time.sleep(0.3)
        taken = [gap for gap, _ in self._client.look()]
        if self.without_api:
            self.lab.cluster.start_apiserver(0)
        self.restore()
        # With the other's turn, too. A link that goes and comes under a living agent, again and
        # again, would count as one that flaps, as would an agent that starts before the link is
        # back: its node would carry nothing for a minute.
        self.victim.host.join()
        until(self.victim.host.has_carrier, f"the link of {self.victim.name} to be up", SECONDS)
        if agent:
            agent.start()
        return taken

    def _proxied(self):
        """Whether each node would pass on what comes for the addresses."""
        rules = [
            node.net.run("nft", "list", "table", "ip", "kube-proxy").stdout for node in self.lab.nodes
        ]
        return all(f"{address} . " in known for known in rules for address in self.addresses)

    def add_services(self, prefix, make):
        made = [
            self.lab.create(make(f"{prefix}-{index}", index, ports=[f"UDP/{PORT}"]))
            for index in range(self.count)
        ]
        for service in made:
            self.lab.endpoints(service, self.lab.nodes[-1])
        return made


class _Keepalived(_Contender):
    """One VRRP instance with all addresses; the other two nodes are backups."""

    name = "keepalived"

    def make_services(self):
        addresses = SPARE[: self.count]
        # Claimed, so that they are like any other, and left alone by the agents.
        spare = f"{SPARE[0]}-{SPARE[-1]}"
        pool = objects.pool("peer", spare, announce="None", autoAssign=False)
        self.lab.wait_pool(self.lab.create(pool))
        self.add_services(
            "peer",
            lambda name, index, **options: self.lab.service(
                name, externalIPs=[addresses[index]], **options
            ),
        )
        self._daemons = {}
        self._folder = self.lab.cluster.directory / "keepalived"
        self._folder.mkdir(exist_ok=True)
        for rank, node in enumerate(self.lab.nodes):
            listed = "\n".join(f"        {a}/32 dev {LINK}" for a in addresses)
            (self._folder / f"{node.name}.conf").write_text(
                KEEPALIVED.format(
                    name=node.name, link=LINK, priority=200 - 10 * rank, addresses=listed,
                    seconds=self.interval / 1000,
                )
            )  # fmt: skip
            self._daemons[node.name] = Process(f"keepalived-{node.name}", self.lab.cluster.directory)
        return addresses

    def settle(self):
        """The victim first, so that it's the master; where it failed they all start anew."""
        self._start(self.victim)
        until(lambda: len(self._held(self.victim)) == self.count, self._tell, SECONDS)
        for node in self.others:
            self._start(node)
        # A backup that has just started is one when it has heard the master.
        time.sleep(MISSES * self.interval / 1000 + 1)

    def kill_daemon(self):
        self._end(self.victim)

    def restore(self):
        for node in self.others:
            self._end(node)
        for node in self.lab.nodes:
            node.host.remove_addresses(self.addresses)

    def stop(self):
        for node in self.lab.nodes:
            self._end(node)
        self.victim.host.join()

    def _start(self, node):
        files = [self._folder / f"{node.name}{end}" for end in (".conf", ".pid", "-vrrp.pid")]
        for file in files[1:]:
            file.unlink(missing_ok=True)
        command = ["keepalived", "--dont-fork", "--log-console", "--vrrp"]
        command += [f"--use-file={files[0]}", f"--pid={files[1]}", f"--vrrp_pid={files[2]}"]
        self._daemons[node.name].start([*node.net.prefix, *command], detached=False)

    def _end(self, node):
        """SIGKILL to the parent; its child, which does VRRP, asks the kernel to die with it."""
        daemon = self._daemons[node.name]
        child = _read_pid(self._folder / f"{node.name}-vrrp.pid")
        daemon.kill()
        if child:
            until(lambda: not _runs(child, "keepalived"), f"keepalived of {node.name} to end")

    def _held(self, node):
        return [a for a in node.host.addresses() if a in set(self.addresses)]

    def _tell(self):
        daemon = self._daemons[self.victim.name]
        return f"keepalived to have its addresses: {self._held(self.victim)}\n{daemon.log_tail()}"


class _Ours(_Contender):
    """ipwarden agents on all nodes, which go on; the victim's is killed, and starts again."""

    name = "ours"

    def make_services(self):
        pool = self.lab.pool(4, count=self.count)
        self.lab.wait_pool(pool)
        for node in self.lab.nodes:
            self._start(node, wait=False)
        for node in self.lab.nodes:
            node.agent.wait_ready()
        self._move_to_victim()
        made = self.add_services(
            "ours", lambda name, _, **options: self.lab.service(name, auto=True, **options)
        )
        for service in made:
            self.lab.given(service)
        self._uncordon()
        return POOL[: self.count]

    def settle(self):
        self._move_to_victim()
        self._wait(lambda: len(self.victim.ours()) == self.count, "the addresses on the victim")
        self._uncordon()
        self._wait(self._settled, "claims that name the victim, and standbys")

    def kill_daemon(self):
        """It was killed with its node, as in the other's turns."""

    def restore(self):
        # What a reboot does: the kernel has nothing of before.
        self.victim.host.remove_addresses(self.addresses)

    def stop(self):
        for node in self.lab.nodes:
            if node.agent:
                node.agent.kill()
        self.victim.host.join()

    def _start(self, node, wait=True):
        node.start_agent(f"--probe={self.interval}ms", f"--probe-misses={MISSES}", wait=wait)

    def _move_to_victim(self):
        self.lab.cordon(self.victim, False)
        for node in self.others:
            self.lab.cordon(node)

    def _uncordon(self):
        for node in self.others:
            self.lab.cordon(node, False)

    def _settled(self):
        claims = [c for c in self.lab.claims() if c["spec"].get("nodeName") == self.victim.name]
        return (
            len(claims) == self.count
            and all(c["spec"].get("standbyNode") for c in claims)
            and all(
                c.get("status", {}).get("boundNode") == self.victim.name for c in claims
            )
        )

    def _wait(self, condition, what):
        until(condition, lambda: f"{what}\n{self._tell()}", SECONDS, pause=0.1)

    def _tell(self):
        """The claims that aren't the victim's, whole, and what the lab has to say."""
        lines = [
            json.dumps({"name": c["metadata"]["name"], "spec": c["spec"], "status": c.get("status")})
            for c in self.lab.claims()
            if {c["spec"].get("nodeName"), c.get("status", {}).get("boundNode")} != {self.victim.name}
        ]
        for node in self.lab.cluster.request("GET", IPNODES)[1]["items"]:
            lines.append(json.dumps([node["metadata"]["name"], node.get("status", {}).get("conditions")]))
        return "\n".join([*lines, self.lab.tell()])


class _Client:
    """bench_answers in the client's namespace."""

    def __init__(self, lab, programs, addresses):
        self._process = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", "--"),
                *lab.client.net.prefix,
                *(programs.answers, "ask", str(PORT), str(PACE_MS), *addresses),
            ],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def begin(self):
        assert self._command("begin") == "ok"

    def look(self):
        """[(longest silence, time since the last answer), ...] in ms, in the addresses' order."""
        pairs = [pair.split(":") for pair in self._command("look").split()]
        return [(int(gap) / 1000, int(age) / 1000) for gap, age in pairs]

    def all_answered(self):
        return all(age < QUIET_MS for _, age in self.look())

    def close(self):
        self._process.kill()
        self._process.communicate()

    def _command(self, text):
        self._process.stdin.write(f"{text}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


def _percentile(values, percent):
    """The smallest value that so many percent of all don't exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def _install_keepalived():
    if shutil.which("keepalived"):
        return
    say("installing keepalived")
    done = subprocess.run(
        ["apt-get", "install", "--yes", "--no-install-recommends", "keepalived"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise BenchError(
            f"keepalived could not be installed: {done.stderr.strip()}\n"
            "install it, or leave it out with --variants ours"
        )


def _read_pid(file):
    try:
        return int(file.read_text())
    except (FileNotFoundError, ValueError):
        return None


def _runs(pid, name):
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip() == name
    except (FileNotFoundError, ProcessLookupError):
        return False


def _numbers(text):
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1 or max(numbers) > 100:
        raise argparse.ArgumentTypeError("numbers from 1 to 100, with commas")
    return numbers

