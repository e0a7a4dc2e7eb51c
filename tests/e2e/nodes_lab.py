"""Nodes with real traffic: a control plane, nodes that run kube-proxy and a backend, a client.

    lab = NodesLab(directory, nodes=3)
    service = lab.create(lab.service("web", auto=True))
    lab.endpoints(service, lab.nodes[2])
    nodes_client.get(lab.client, address)

Nodes are namespaces (nodes_net.py) with core Node objects made by hand; there is no kubelet. Every
node may run `ipwarden agent`, with a token that is bound to its node as a pod's token is.
"""

import json
import sys
import time

import harness
import nodes_client
import objects
from harness import HERE, TOP, Answer, wait_until
from nodes_net import CLIENT, FIRST_NODE, FOREIGN, LINK, POOL, POOL_6, Network
from replicas import Fleet
from running import BINARY, Running
import cluster_binaries
from cluster_process import Process

AGENT_NAMESPACE = "ipwarden-agents"
AGENT = "ipwarden-agent"
BACKEND_PORT = 8080
METRICS_PORT, HEALTH_PORT = 9444, 8082
NODES = "/api/v1/nodes"
IPNODES = "/apis/ipcontroller.ext/v2/ipnodes"
CLAIMS = "/apis/ipcontroller.ext/v2/ipclaims"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"
NAMESPACE = "lab"
# Seconds in which a standby has got to know the node and its answers.
HEARD = 1.5
# A test's creates are all meant, so what is left of one goes soon.
SERVE = ["--grace=20s"]

KUBE_PROXY = """\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
hostnameOverride: {node}
bindAddress: {address}
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
clientConnection:
  kubeconfig: {kubeconfig}
  qps: 100
  burst: 200
conntrack: {{maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}
nftables: {{minSyncPeriod: {min_sync}}}
"""
# By default kube-proxy may wait a second before it programs the next change, so that with many tests
# in a row it would be what is measured.
MIN_SYNC = "10ms"


class Agent(Running):
    """`ipwarden agent` on a node."""

    def __init__(self, lab, node, extra_args=(), kubeconfig=None):
        directory = lab.cluster.directory / "agents" / node.name
        directory.mkdir(parents=True, exist_ok=True)
        self.state = directory / "state"
        self.state.mkdir(exist_ok=True)
        command = [
            lab.binary,
            "agent",
            f"--node={node.name}",
            f"--kubeconfig={kubeconfig or lab.agent_kubeconfig(node, directory / 'kubeconfig')}",
            f"--state-dir={self.state}",
            f"--metrics-listen=127.0.0.1:{METRICS_PORT}",
            f"--health-listen=127.0.0.1:{HEALTH_PORT}",
            "--log-format=text",
            "--log-level=debug",
            *extra_args,
        ]
        super().__init__(f"agent of {node.name}", directory, command, node.net)

    def _metrics_port(self):
        return METRICS_PORT

    def _readiness(self):
        try:
            return self.get("/readyz", HEALTH_PORT)
        except OSError:
            return None


class Node:
    """One node: its host, kube-proxy, a backend, and its agent if one was asked for."""

    def __init__(self, lab, host):
        self.lab = lab
        self.host = host
        self.name = host.name
        self.net = host.net
        self.address = host.address
        self.address6 = host.address6
        self.mac = host.mac
        self.agent = None
        self.proxy = Process(f"kube-proxy-{self.name}", lab.cluster.directory)
        self.backend = Process(f"backend-{self.name}", lab.cluster.directory)

    def start_proxy(self):
        config = self.lab.cluster.directory / f"{self.proxy.name}.yaml"
        config.write_text(
            KUBE_PROXY.format(
                node=self.name, address=self.address, min_sync=MIN_SYNC,
                kubeconfig=self.lab.cluster.kubeconfig,
            )
        )  # fmt: skip
        program = cluster_binaries.require("kube-proxy")
        # The machine's other networks have conntrack settings, too, which aren't its business.
        self.proxy.start([*self.net.prefix, program, f"--config={config}"], detached=False)

    def start_backend(self):
        script = HERE / "nodes_backend.py"
        command = [*self.net.prefix, sys.executable, script, self.name, BACKEND_PORT]
        self.backend.start(command, detached=False)

    def proxied(self):
        """Whether kube-proxy has programmed its rules."""
        listed = self.net.run("nft", "list", "table", "ip6", "kube-proxy", check=False)
        return "chain" in listed.stdout

    def start_agent(self, *extra_args, wait=True):
        self.agent = Agent(self.lab, self, extra_args)
        self.agent.start(wait)
        return self.agent

    def kill(self):
        """What a power cut does: nothing of it answers any more. The backend goes on, cut off."""
        self.host.cut()
        if self.agent:
            self.agent.kill()

    def ours(self):
        """The addresses of pools that the kernel has on the link, marked ours or not."""
        return {
            address: entry
            for address, entry in self.host.addresses().items()
            if entry["link"] == LINK and address in self.lab.pool_addresses
        }

    def close(self):
        if self.agent:
            self.agent.kill()
        for process in (self.proxy, self.backend):
            process.kill()


class NodesLab:
    """A cluster of nodes that carry traffic, with ipwarden installed and one replica running."""

    def __init__(self, directory, nodes=3, replicas=1, serve=SERVE, binary=None):
        self.binary = binary or BINARY
        self.pool_addresses = {*POOL, *POOL_6}
        self.network = Network(directory)
        self.cluster = self.fleet = None
        self.nodes = []
        try:
            self._start(nodes, replicas, serve)
        except BaseException:
            self.close()
            raise

    def _start(self, nodes, replicas, serve):
        self.cluster = harness.Cluster.start(
            address=self.network.address, netns=self.network.switch
        )
        harness.install(self.cluster)
        if (TOP / "deploy/agent").exists():
            self.cluster.kubectl("apply", "--kustomize", TOP / "deploy/agent")
        self.client = self.network.add("client", CLIENT)
        self.nodes = [
            Node(self, self.network.add(f"node-{i + 1}", FIRST_NODE + i, forwards=True))
            for i in range(nodes)
        ]
        for node in self.nodes:
            self.add_node_object(node)
            node.start_proxy()
            node.start_backend()
        self.request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        self.fleet = Fleet(self.cluster, replicas, extra_args=serve, binary=self.binary).start()
        for node in self.nodes:
            wait_until(node.proxied, lambda node=node: f"rules\n{node.proxy.log_tail()}")

    # The API

    def request(self, method, path, body=None, **options):
        return Answer(*self.cluster.request(method, path, body, **options))

    def _answer(self, method, path, body=None, **options):
        """Asks again for as long as the API server builds the storage of a kind anew."""
        return wait_until(
            lambda: (a := self.request(method, path, body, **options)).status != 429 and a,
            f"an answer to {method} {path}",
        )

    def must(self, method, path, body=None, **options):
        answer = self._answer(method, path, body, **options)
        assert answer.ok, f"{method} {path}: {answer}"
        return answer.body

    def create(self, item):
        return self.must("POST", objects.path_of(item, collection=True), item)

    def get(self, item):
        answer = self._answer("GET", objects.path_of(item))
        assert answer.status in (200, 404), answer
        return answer.body if answer.ok else None

    def delete(self, item):
        return self.must("DELETE", objects.path_of(item))

    def claim(self, address):
        return self.get(objects.claim(address))

    def claims(self):
        return self.must("GET", CLAIMS)["items"]

    def service(self, name, **options):
        return objects.service(name, NAMESPACE, **options)

    def load_balancer(self, name, **options):
        return objects.load_balancer(name, NAMESPACE, **options)

    def pools(self, count=16, first=0, **spec):
        """A pool of that many addresses for each family, once ipwarden knows them."""
        made = [self.pool(4, count, first, **spec), self.pool(6, count, first, **spec)]
        for pool in made:
            self.wait_pool(pool)
        return made

    def wait_pool(self, pool):
        wait_until(lambda: self._pool_known(pool), lambda: f"a ready pool, not {self.get(pool)}")

    def pool(self, family, count=16, first=0, name=None, **spec):
        addresses = {4: POOL, 6: POOL_6}[family]
        entry = f"{addresses[first]}-{addresses[first + count - 1]}"
        return self.create(objects.pool(name or f"lab-{family}", entry, **spec))

    def endpoints(self, service, *nodes, ready=True):
        """EndpointSlices of the Service, with the backends of these nodes; those before are gone."""
        name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
        ports = [
            {"name": p["name"], "port": BACKEND_PORT, "protocol": p.get("protocol", "TCP")}
            for p in service["spec"]["ports"]
        ]
        for family, attribute in (("IPv4", "address"), ("IPv6", "address6")):
            if family not in service["spec"].get("ipFamilies", ["IPv4"]):
                continue
            item = {
                "metadata": {
                    "name": f"{name}-{family.lower()}",
                    "labels": {"kubernetes.io/service-name": name},
                },
                "addressType": family,
                "ports": ports,
                "endpoints": [
                    {
                        "addresses": [getattr(node, attribute)],
                        "nodeName": node.name,
                        "conditions": {"ready": ready, "serving": ready, "terminating": False},
                    }
                    for node in nodes
                ],
            }
            path = SLICES.format(namespace)
            answer = self.request("POST", path, item)
            if answer.status == 409:
                self.must("PUT", f"{path}/{item['metadata']['name']}", item)
            else:
                assert answer.ok, answer

    def add_node_object(self, node):
        made = self.must(
            "POST",
            NODES,
            {
                "metadata": {
                    "name": node.name,
                    "labels": {"kubernetes.io/hostname": node.name},
                }
            },
        )
        addresses = [
            {"type": "InternalIP", "address": node.address},
            {"type": "InternalIP", "address": node.address6},
            {"type": "Hostname", "address": node.name},
        ]
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
        status = {"status": {"addresses": addresses, "conditions": [ready]}}
        # An admission plugin taints what is new until a controller has seen it; there is none here.
        self.must("PATCH", f"{NODES}/{node.name}", {"spec": {"taints": None}})
        self.must("PATCH", f"{NODES}/{node.name}/status", status)
        node.uid = made["metadata"]["uid"]

    def cordon(self, node, cordoned=True):
        self.must("PATCH", f"{NODES}/{node.name}", {"spec": {"unschedulable": cordoned or None}})

    def label(self, node, name, value):
        self.must("PATCH", f"{NODES}/{node.name}", {"metadata": {"labels": {name: value}}})

    def agent_kubeconfig(self, node, path):
        """A kubeconfig with a token of the agents' ServiceAccount, bound to the node."""
        bound = {"kind": "Node", "apiVersion": "v1", "name": node.name, "uid": node.uid}
        answer = self.request(
            "POST",
            f"/api/v1/namespaces/{AGENT_NAMESPACE}/serviceaccounts/{AGENT}/token",
            {"spec": {"expirationSeconds": 86400, "boundObjectRef": bound}},
        )
        assert answer.ok, f"no token for an agent: {answer}"
        return harness.write_kubeconfig(
            path, self.cluster.servers[0], self.cluster.ca_file, AGENT,
            answer.body["status"]["token"],
        )  # fmt: skip

    # Addresses

    def given(self, service):
        """The addresses that a Service has, once it has one of each of its families."""
        wanted = len(service["spec"].get("ipFamilies") or [1])

        def look():
            stored = self.get(service)
            have = objects.external(stored) or objects.ingress(stored)
            return have if len(have) >= wanted else None

        return wait_until(look, lambda: f"addresses of {self.get(service)}")

    def bound_node(self, address):
        """The node that the claim says has the address."""
        claim = self.claim(address)
        name = ((claim or {}).get("status") or {}).get("boundNode")
        return next((node for node in self.nodes if node.name == name), None)

    def is_bound(self, address, node=None, seconds=None):
        """Waits until some node, or that node, has the address, in its kernel as in the claim."""

        def look():
            at = self.bound_node(address)
            if at is None or node is not None and at is not node:
                return None
            return at if address in at.ours() else None

        return wait_until(
            look,
            lambda: f"{address} to be bound{f' by {node.name}' if node else ''}; its claim is "
            f"{json.dumps(self.claim(address))}\n{self.tell()}",
            seconds,
        )

    def standby_of(self, address):
        """The node that stands by, once there is one."""

        def look():
            name = (self.claim(address) or {}).get("spec", {}).get("standbyNode")
            return next((node for node in self.nodes if node.name == name), None)

        return wait_until(look, lambda: f"a standby of {address}: {self.claim(address)}")

    def holders(self, address):
        """The nodes whose kernels have the address on their link."""
        return [node for node in self.nodes if address in node.ours()]

    def others(self, *nodes):
        return [node for node in self.nodes if node not in nodes]

    def services_of(self, address):
        """The stored Services that the claim of an address names."""
        entries = self.claim(address)["spec"]["services"]
        return [
            self.get({"kind": "Service", "metadata": {k: entry[k] for k in ("namespace", "name")}})
            for entry in entries
        ]

    def services_on(self, node, count, backend=None, **options):
        """The addresses of so many new Services, all of them on the node, each with a standby.

        backend: the node that answers, by default the last.
        """
        for other in self.others(node):
            self.cordon(other)
        addresses = []
        for index in range(count):
            wanted = self.service(f"web-{index}", auto=True, **options)
            self.endpoints(wanted, backend or self.nodes[-1])
            addresses += self.given(self.create(wanted))
        for address in addresses:
            self.is_bound(address, node)
        for other in self.others(node):
            self.cordon(other, False)
        self.spread_standbys(addresses)
        return addresses

    def spread_standbys(self, addresses):
        """Has standbys chosen among all nodes; who was the only one then stays it by itself."""
        for address in addresses:
            self.standby_of(address)
            path = f"{CLAIMS}/{objects.claim_name(address)}"
            self.must("PATCH", path, {"spec": {"standbyNode": None}})
        for address in addresses:
            self.standby_of(address)
        # Nobody is taken over from who has never been heard.
        time.sleep(HEARD)

    # All of it

    def warm_up(self):
        """Returns when the leader knows all agents, so that claims are born with nodes."""
        wanted = self.service("warm-up", auto=True)
        addresses = self.given(self.create(wanted))
        for address in addresses:
            self.is_bound(address)
            self.standby_of(address)
        self.delete(wanted)
        for address in addresses:
            wait_until(
                lambda a=address: self.claim(a) is None, lambda a=address: f"no {self.claim(a)}"
            )

    def start_agents(self, *extra_args):
        for node in self.nodes:
            node.start_agent(*extra_args, wait=False)
        for node in self.nodes:
            node.agent.wait_ready()

    def check(self):
        """Fails when a program ended by itself, or a sanitizer or a policy complained."""
        self.fleet.check()
        for node in self.nodes:
            if node.agent:
                node.agent.check_log()
                assert node.agent.process is None or node.agent.running(), (
                    f"{node.agent.identity} ended by itself\n{node.agent.tail()}"
                )

    def reset(self):
        """Back to nodes without agents, claims and Services, whatever a test has done."""
        self.network.join_api()
        self.network.heal()
        if not self.cluster.apiservers[0].alive():
            self.cluster.start_apiserver(0)
        for replica in self.fleet.replicas:
            if replica.process:
                replica.resume()
        self.fleet.ensure()
        self.must("DELETE", f"/api/v1/namespaces/{NAMESPACE}/services")
        self.must("DELETE", SLICES.format(NAMESPACE))
        for node in self.nodes:
            if node.agent:
                node.agent.kill()
                for file in node.agent.state.iterdir():
                    file.unlink()
                node.agent = None
            node.host.join()
            node.host.remove_addresses(node.ours())
            if not node.proxy.alive():
                node.start_proxy()
            self.cordon(node, False)
            self.label(node, "node.kubernetes.io/exclude-from-external-load-balancers", None)
        for host in [host for host in self.network.hosts.values() if host.name == "foreign"]:
            host.backend.kill()
            self.network.remove(host)
        if self.request("GET", IPNODES).ok:
            self.must("DELETE", IPNODES)
        self._remove_claims()
        self.client.net.ip("neighbour", "flush", "all")

    def _remove_claims(self):
        """No agent runs, so what an agent would have to allow is done here."""
        pools = objects.PATHS["IpClaimPool"]
        for pool in self.must("GET", pools)["items"]:
            self.request("DELETE", f"{pools}/{pool['metadata']['name']}")

        def gone():
            for claim in self.claims():
                path = f"{CLAIMS}/{claim['metadata']['name']}"
                self.request("DELETE", path)
                self.request("PATCH", path, {"metadata": {"finalizers": None}})
            return not self.claims() and not self.must("GET", pools)["items"]

        wait_until(gone, lambda: f"no claims and pools, but {self.claims()}")

    def foreigner(self, *addresses):
        """A host that uses these addresses, and answers HTTP on port 80."""
        host = self.network.add("foreign", FOREIGN)
        for address in addresses:
            host.add_address(address)
        host.backend = Process("backend-foreign", self.cluster.directory)
        script = HERE / "nodes_backend.py"
        host.backend.start([*host.net.prefix, sys.executable, script, "foreign", "80"], False)
        wait_until(lambda: nodes_client.get(self.client, host.address), "the foreign host")
        return host

    def tell(self):
        """What to know of the lab when a test has failed."""
        lines = []
        for node in self.nodes:
            lines.append(f"{node.name}: {node.mac} has {sorted(node.ours())}")
            if node.agent:
                lines.append(node.agent.tail(30))
        now = time.monotonic()
        lines += [f"{at - now:+.2f} s {text}" for at, text, _ in self.network.history[-12:]]
        return "\n".join(lines)

    def close(self):
        for node in self.nodes:
            node.close()
        if self.fleet:
            self.fleet.close()
        if self.cluster:
            self.cluster.stop()
        for host in self.network.hosts.values():
            if hasattr(host, "backend"):
                host.backend.kill()
        self.network.close()

    def _pool_known(self, pool):
        name = pool["metadata"]["name"]
        return objects.condition(self.get(pool), "Ready").get("status") == "True" and all(
            replica.count("ipwarden_pool_addresses", pool=name, state="total")
            for replica in self.fleet.replicas
        )
