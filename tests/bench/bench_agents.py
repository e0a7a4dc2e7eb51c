"""`run agents`: a hundred nodes and ten thousand claims: what dies with a node, and what beating costs.

The agents are made up (agents_swarm.py): they beat, watch and write as real ones do, each with the token of
its node, and have no network. `ipwarden serve` gives them their claims. Nodes die one after the other; the
time is taken from the first of its claims that names another node to the last, and that of their standbys.
"""

import http.client
import json
import re
import ssl
import statistics
import threading
import time

from agents_swarm import Swarm
from bench_lab import CLAIMS, POOL, Cluster, Lab
from bench_programs import TOP, BenchError, cpu_seconds, until
from bench_report import say
from bench_ways import claim

NAME = "agents"
VARIANTS = ("ours",)
NAMESPACE = "bench-agents"
AGENT_NAMESPACE, AGENT = "ipwarden-agents", "ipwarden-agent"
CLIENTS = 16
SECONDS = 1800
# The claims' Services are never made; they are left alone for this long.
GRACE = "10h"


def add_options(parser):
    parser.add_argument("--agents", type=int, default=100, help="how many nodes (100)")
    parser.add_argument("--claims", type=int, default=10_000, help="how many claims (10000)")
    parser.add_argument("--rounds", type=int, default=5, help="nodes that die (5)")
    parser.add_argument("--watch", type=int, default=60, help="seconds of counting heartbeats (60)")


def run(options, programs, report):
    programs.build(go=["client"], ours=True, tools=[])
    with Cluster.start() as cluster:
        lab = Lab(cluster, programs)
        cluster.kubectl("apply", "--kustomize", TOP / "deploy/agent")
        names = [f"node-{index:03}" for index in range(options.agents)]
        tokens = {name: _token(lab, name) for name in names}
        arguments = [f"--grace={GRACE}", "--log-level=info"]
        with lab.ipwarden(extra_args=arguments) as replica:
            until(replica.seems_to_lead, "ipwarden to lead")
            until(lambda: _has_pool(lab), "the API server to know where the webhooks are")
            with Swarm(cluster.servers[0], _context(cluster), tokens) as swarm:
                _run(options, lab, replica, swarm, report)


def _run(options, lab, replica, swarm, report):
    alive = lambda: sum(_is_alive(node) for node in _items(lab, "ipnodes"))  # noqa: E731
    until(lambda: alive() == options.agents, lambda: f"{alive()} nodes are alive", SECONDS, 1)
    say(f"{options.agents} agents; making {options.claims} claims")
    _place(options, lab, replica, swarm, report)
    _count_heartbeats(options, lab, replica, swarm, report)
    rounds = []
    for number in range(options.rounds):
        name = sorted(swarm.agents)[number * len(swarm.agents) // options.rounds]
        rounds.append(_kill(lab, replica, swarm, name))
        report.round(**rounds[-1])
        say(", ".join(f"{key} {value:.3g}" for key, value in rounds[-1].items()))
    units = {"claims": "objects", "standbys": "objects"}
    for key in rounds[0]:
        report.add_median(f"failover.{key}", [r[key] for r in rounds], units.get(key, "s"))
    report.add("failover.moved.max", max(r["moved"] for r in rounds), "s")
    strange = sum(len(agent.strange) for agent in swarm.agents.values())
    report.add("watches.events", sum(a.told for a in swarm.agents.values()), "events")
    report.add("watches.most", max(a.told for a in swarm.agents.values()), "events")
    report.add("watches.strange", strange, "events")


def _place(options, lab, replica, swarm, report):
    """Has the leader give every claim a node and a standby, and each agent say that it has its own."""
    used, began = cpu_seconds(replica.process.pid), time.monotonic()
    step = {"method": "POST", "path": CLAIMS, "tokens": [lab.own_token()]}
    step["body"] = json.dumps(claim(NAMESPACE, "web-@i@", ["TCP/80"]))
    result = lab.send([step], clients=CLIENTS, count=options.claims)
    if result["failed"]:
        raise BenchError(f"{result['failed']} claims were refused: {result['messages'][:3]}")
    until(lambda: _unplaced(lab) == 0, lambda: f"{_unplaced(lab)} claims to be bound", SECONDS, 5)
    report.add("place.total", time.monotonic() - began, "s")
    report.add("place.cpu", cpu_seconds(replica.process.pid) - used, "s")
    held = [0] * len(swarm.agents)
    names = {name: index for index, name in enumerate(sorted(swarm.agents))}
    for item in _items(lab, "ipclaims"):
        held[names[item["spec"]["nodeName"]]] += 1
    report.add("place.fewest", min(held), "claims")
    report.add("place.most", max(held), "claims")


def _unplaced(lab):
    return sum(
        not claim_["spec"].get("standbyNode")
        or claim_.get("status", {}).get("boundNode") != claim_["spec"].get("nodeName")
        for claim_ in _items(lab, "ipclaims")
    )


def _count_heartbeats(options, lab, replica, swarm, report):
    # All of them have counted the nodes by then.
    until(
        lambda: len({agent.interval for agent in swarm.agents.values()}) == 1, "equal intervals", 60
    )
    before, used = _heartbeats(lab), cpu_seconds(replica.process.pid)
    failed = sum(agent.failed for agent in swarm.agents.values())
    began = time.monotonic()
    counts = []
    for _ in range(options.watch):
        time.sleep(1)
        counts.append(_heartbeats(lab))
    seconds = time.monotonic() - began
    report.add("heartbeat.interval", next(iter(swarm.agents.values())).interval, "s")
    report.add("heartbeat.writes", (counts[-1] - before) / seconds, "1/s")
    each = [later - earlier for earlier, later in zip([before, *counts], counts)]
    report.add("heartbeat.writes.median_second", statistics.median(each), "1/s")
    missed = sum(agent.failed for agent in swarm.agents.values()) - failed
    report.add("heartbeat.failed", missed, "writes")
    report.add("heartbeat.cpu", 100 * (cpu_seconds(replica.process.pid) - used) / seconds, "%")


def _heartbeats(lab):
    """PATCH requests for the status of IpNodes that the API server has answered."""
    text = lab.cluster.request("GET", "/metrics")[1]
    wanted = re.compile(
        r'^apiserver_request_total\{(?=[^}]*resource="ipnodes")(?=[^}]*subresource="status")'
        r'(?=[^}]*verb="(?:PATCH|APPLY)")[^}]*\} (\S+)$', re.M,
    )  # fmt: skip
    return sum(float(value) for value in wanted.findall(text))


def _kill(lab, replica, swarm, name):
    """Kills one; how long the leader takes once it has seen that."""
    mine = {c["metadata"]["name"]: c["spec"] for c in _items(lab, "ipclaims")}
    claims = {key for key, spec in mine.items() if spec["nodeName"] == name}
    standbys = {key for key, spec in mine.items() if spec.get("standbyNode") == name}
    with _Following(lab) as following:
        used = cpu_seconds(replica.process.pid)
        died = swarm.agents[name].beaten_at
        swarm.kill(name)

        def over():
            return all(following.moved.get(key, (name,))[0] != name for key in claims) and all(
                following.moved.get(key, ("", name))[1] not in (name, "")
                for key in claims | standbys
            )

        until(over, lambda: f"the claims of {name}\n{replica.tail()}", 120, 0.02)
        used = cpu_seconds(replica.process.pid) - used
        nodes = [following.first[key] for key in claims]
        changed = [following.last[key] for key in claims | standbys]
        elsewhere = [key for key in following.moved if key not in claims | standbys]
        if elsewhere:
            raise BenchError(f"{len(elsewhere)} claims moved that had nothing to do with {name}")
    swarm.revive(name)
    until(lambda: _is_alive(lab.request("GET", f"{_path('ipnodes')}/{name}")), f"{name} again")
    return {
        "claims": len(claims),
        "standbys": len(standbys),
        "noticed": min(nodes) - died,
        "moved": max(nodes) - min(nodes),
        "all": max(changed) - min(nodes),
        "cpu": used,
    }


class _Following:
    """What happens to the nodes of claims, as an administrator's watch tells."""

    def __init__(self, lab):
        self.moved = {}  # claim: (node, standby) after its last change
        self.first = {}  # when its node became another
        self.last = {}  # when node or standby did
        self._lab = lab
        self._known = {}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._over = False

    def __enter__(self):
        listed = self._lab.request("GET", CLAIMS)
        self._known = {c["metadata"]["name"]: _places(c) for c in listed["items"]}
        self._version = listed["metadata"]["resourceVersion"]
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over = True

    def _run(self):
        host, port = self._lab.cluster.servers[0].removeprefix("https://").rsplit(":", 1)
        connection = http.client.HTTPSConnection(
            host, int(port), context=self._lab.cluster.ssl_context()
        )
        query = f"watch=1&resourceVersion={self._version}"
        connection.request("GET", f"{CLAIMS}?{query}")
        response = connection.getresponse()
        while not self._over:
            line = response.readline()
            if not line:
                return
            item = json.loads(line)["object"]
            name, places, now = item["metadata"]["name"], _places(item), time.monotonic()
            before = self._known.get(name)
            if before != places:
                self._known[name] = self.moved[name] = places
                self.last[name] = now
                if before is None or before[0] != places[0]:
                    self.first.setdefault(name, now)


def _places(item):
    return item["spec"].get("nodeName", ""), item["spec"].get("standbyNode", "")


def _is_alive(node):
    conditions = node.get("status", {}).get("conditions", ())
    return any(c["type"] == "Alive" and c["status"] == "True" for c in conditions)


def _path(plural):
    return f"/apis/ipcontroller.ext/v2/{plural}"


def _items(lab, plural):
    return lab.request("GET", _path(plural))["items"]


def _has_pool(lab):
    try:
        lab.add_pool()
    except BenchError:
        return False
    return True


def _context(cluster):
    """Without the administrator's certificate, which would win over tokens."""
    return ssl.create_default_context(cafile=cluster.ca_file)


def _token(lab, name):
    """Of the agent on a node of this name, which is made."""
    made = lab.request("POST", "/api/v1/nodes", {"metadata": {"name": name}})
    # An admission plugin taints what is new; nobody here looks at taints, but a Node is not ready.
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
    lab.request("PATCH", f"/api/v1/nodes/{name}/status", {"status": {"conditions": [ready]}})
    bound = {"kind": "Node", "apiVersion": "v1", "name": name, "uid": made["metadata"]["uid"]}
    path = f"/api/v1/namespaces/{AGENT_NAMESPACE}/serviceaccounts/{AGENT}/token"
    spec = {"expirationSeconds": 86400, "boundObjectRef": bound}
    return lab.request("POST", path, {"spec": spec})["status"]["token"]
