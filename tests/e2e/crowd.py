"""Everybody who writes to the API server in the random test: tenants and a status writer.

Each of them is a thread that does one random thing after the other. What it does depends on the
seed and its own number, and little on the answers; so a seed gives the same requests again, though
not at the same moments. All of them use the same few names and addresses, so that they meet.
"""

import http.client
import itertools
import json
import random
import threading
from typing import NamedTuple

import objects
from judge import DRY

NAMES = 6  # of Services in a namespace
PORTS = ((80,), (81,), (82,), (443,), ("UDP/80",), ("UDP/81",), (80, 81), (443, "UDP/80"))
FINALIZER = "example.com/held"
GROUP = "e2e-generated"
OTHER_CLASS = "example.com/other"
FOREIGN = "192.0.2.1"
NOTHING = None  # in a merge patch: without it


class Deed(NamedTuple):
    """A request that was made, and what came of it."""

    who: str
    what: str
    method: str
    path: str
    body: object
    answer: str


class Crowd:
    """with Crowd(lab, ...) as crowd: ...

    Starts all threads, and ends them. crowd.error is what one of them stumbled over.
    """

    def __init__(self, lab, seed, requests, tenants, addresses, pools):
        """addresses: the texts of those that there are; pools: names."""
        self.lab = lab
        self.requests = requests
        self.addresses = addresses
        self.pools = pools
        self.tenants = tenants
        self.deeds = []
        self.error = None
        self._over = threading.Event()
        self._numbers = itertools.count()
        people = [Tenant(self, seed, n, tenants[n % len(tenants)]) for n in range(3 * len(tenants))]
        people.append(StatusWriter(self, seed, len(people), None))
        self._threads = [threading.Thread(target=self._live, args=(one,)) for one in people]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()

    def busy(self):
        """Waits a moment, and says whether anybody has more to do."""
        return not self._over.wait(0.2) and any(thread.is_alive() for thread in self._threads)

    def about(self, text, most=30):
        """The last requests whose path or body has the text, a line each."""
        found = [d for d in self.deeds if text in d.path or text in json.dumps(d.body)]
        return "\n".join(
            f"  {d.who} {d.what}: {d.method} {d.path} {json.dumps(d.body)[:600]} => {d.answer}"
            for d in found[-most:]
        )

    def count(self, what, ok=None):
        """How many requests of a sort were made: those that went well, or not, or all."""
        return sum(
            deed.what == what and ok in (None, deed.answer.startswith("2")) for deed in self.deeds
        )

    def _live(self, one):
        try:
            while not self._over.is_set() and next(self._numbers) < self.requests:
                one.act()
        except BaseException as error:  # shown by whoever waits for the end
            self.error = error
            self._over.set()


class Actor:
    """One thread's worth of somebody."""

    # Methods, and how often each is taken.
    ACTIONS = {}

    def __init__(self, crowd, seed, number, namespace):
        self.crowd = crowd
        self.namespace = namespace
        self.name = f"{type(self).__name__}-{number}"
        self.random = None
        # Anew for each act, so that how one ends doesn't change the next.
        self._chances = (random.Random(f"{seed}/{number}/{act}") for act in itertools.count())
        self.server = number % len(crowd.lab.cluster.servers)

    def act(self):
        self.random = next(self._chances)
        actions, weights = zip(*self.ACTIONS.items())
        (action,) = self.random.choices(actions, weights)
        getattr(self, action)()

    def ask(self, what, method, path, body=None, dry=False, **options):
        """Makes the request, and answers what came of it, or None where that was lost."""
        if dry:
            path += "?dryRun=All"
        # Whoever has lost one API server asks the other; most stay with theirs.
        if self.random.random() < 0.1:
            self.server = self.random.randrange(len(self.crowd.lab.cluster.servers))
        sent = self._escaped(body) if body is not None and self.random.random() < 0.05 else body
        try:
            answer = self.crowd.lab.request(
                method, path, sent, server=self.server, timeout=20, **options
            )
        except (OSError, http.client.HTTPException) as error:
            answer = None
            self.crowd.deeds.append(Deed(self.name, what, method, path, body, f"lost: {error}"))
        else:
            text = f"{answer.status} {answer.message}"
            self.crowd.deeds.append(Deed(self.name, what, method, path, body, text))
        return answer

    @staticmethod
    def _escaped(body):
        """The same in other bytes: JSON may write every letter as an escape."""
        return json.dumps(body).replace("198.", "\\u0031\\u0039\\u0038\\u002e")

    # What is chosen at random

    def one_of(self, *choices):
        return self.random.choice(choices)

    def chance(self, probability):
        return self.random.random() < probability

    def address(self):
        return self.random.choice(self.crowd.addresses)

    def written(self, address):
        """The address in one of the ways to write it; most are as everybody does."""
        if self.chance(0.85):
            return address
        if ":" in address:
            return self.one_of(address.upper(), address.replace("::", ":0::"))
        first, *others = address.split(".")
        return self.one_of(
            f"::ffff:{address}",
            ".".join([first, *(part.zfill(3) for part in others)]),
            f"::FFFF:{address}",
            f"{address} ",
        )

    def some_addresses(self, most=3):
        chosen = self.random.sample(self.crowd.addresses, self.random.randint(1, most))
        if self.chance(0.02):
            chosen.append(FOREIGN)
        return [self.written(address) for address in chosen]

    def path(self, namespace=None, name=None):
        name = name or f"s{self.random.randrange(NAMES)}"
        return f"/api/v1/namespaces/{namespace or self.namespace}/services/{name}"

    def stored(self, path):
        """The Service as it is stored now, or None."""
        answer = self.ask("read", "GET", path)
        if answer is None or not answer.ok:
            return None
        # Left out, it stays as it is.
        del answer.body["metadata"]["managedFields"]
        return answer.body


class Tenant(Actor):
    """Who may edit Services in one namespace, and does what comes to mind."""

    ACTIONS = {
        "create": 22,
        "edit": 34,
        "rework": 10,
        "delete": 12,
        "let_go": 10,
        "make_again": 3,
        "impersonate": 2,
        "edit_what_is_old": 2,
        "delete_generated": 1,
    }

    def create(self, path=None):
        name = (path or self.path()).rpartition("/")[2]
        item = objects.service(
            name, self.namespace, ports=self.random.choice(PORTS), **self._wishes()
        )
        dry, what = False, "create"
        if self.chance(0.3):
            item["metadata"]["finalizers"] = [FINALIZER]
        if self.chance(0.07):
            dry, what = True, "dry create"
            item["metadata"]["name"] = f"{DRY}-{name}"
        elif self.chance(0.03):
            # The quota refuses it, when all webhooks have agreed.
            item["spec"]["type"], what = "NodePort", "create too much"
            item["spec"].pop("allocateLoadBalancerNodePorts", None)
            item["spec"].pop("loadBalancerClass", None)
        elif self.chance(0.03):
            item["spec"]["ports"][0]["targetPort"], what = "not a port's name", "create nonsense"
        elif self.chance(0.05):
            del item["metadata"]["name"]
            item["metadata"] |= {"generateName": "g-", "labels": {GROUP: "yes"}}
        collection = self.path().rpartition("/")[0]
        self.ask(what, "POST", collection, item, dry)

    def _wishes(self):
        """Why it is created: the options of objects.service."""
        balancer = {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False}
        named = {objects.ADDRESSES: self.address()}
        pool = {objects.POOL: self.random.choice(self.crowd.pools)}
        family = {"ipFamilyPolicy": self.one_of("PreferDualStack", "RequireDualStack")}
        ways = [
            (5, {"auto": True}),
            (16, {"externalIPs": self.some_addresses(2)}),
            (14, {"auto": True, "annotations": named}),
            (5, {"auto": True, "annotations": pool}),
            (4, {"auto": True, **family}),
            (3, {"auto": True, "externalIPs": self.some_addresses()}),
            (8, balancer),
            (10, {**balancer, "annotations": named}),
            (4, {**balancer, "loadBalancerIP": self.written(self.address())}),
            (3, {**balancer, **family}),
            (3, {**balancer, "externalIPs": self.some_addresses()}),
            (3, {**balancer, "loadBalancerClass": OTHER_CLASS}),
            (2, {**balancer, "auto": True}),
            (14, {}),
        ]
        weights, options = zip(*ways)
        return self.random.choices(options, weights)[0]

    def edit(self):
        """A merge patch of one to three things, of whatever is there."""
        patch, what = {}, "edit"
        for change in self.random.choices(*zip(*self._edits()), k=self.one_of(1, 1, 1, 2, 2, 3)):
            merge(patch, change)
        dry = self.chance(0.05)
        if self.chance(0.03):
            merge(patch, {"spec": {"type": "NodePort"}})
            what = "edit too much"
        answer = self.ask("dry edit" if dry else what, "PATCH", path := self.path(), patch, dry)
        if answer is not None and answer.status == 404:
            self.create(path)

    def _edits(self):
        """(what may be changed, how often)."""
        listed = self.one_of(NOTHING, [], self.some_addresses(1), self.some_addresses(2))
        ports = objects.service("any", "any", ports=self.random.choice(PORTS))["spec"]["ports"]
        named = self.one_of(NOTHING, self.address(), self.address(), "nonsense")
        family = self.one_of("SingleStack", "PreferDualStack", "RequireDualStack")
        no_class = {"loadBalancerClass": NOTHING, "allocateLoadBalancerNodePorts": NOTHING}
        balancer = {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False}
        note = self.one_of("any", "a\u0000b", "</\u2028>", NOTHING)
        pool = self.one_of(NOTHING, "absent", *self.crowd.pools)
        return [
            ({"spec": {"externalIPs": listed}}, 14),
            ({"spec": {"ports": ports}}, 10),
            (_annotate(objects.AUTO, self.one_of("auto", "auto", NOTHING, "true")), 10),
            (_annotate(objects.ADDRESSES, named), 8),
            (_annotate(objects.POOL, pool), 4),
            (_annotate("note", note), 2),
            ({"spec": balancer}, 6),
            ({"spec": {**balancer, "loadBalancerClass": OTHER_CLASS}}, 1),
            ({"spec": {"type": "ClusterIP", **no_class}}, 6),
            ({"spec": {"loadBalancerIP": self.one_of(NOTHING, self.written(self.address()))}}, 3),
            ({"spec": {"ipFamilyPolicy": family}}, 3),
            ({"metadata": {"finalizers": [FINALIZER]}}, 2),
            ({"metadata": {"labels": {"app": self.one_of("a", "b")}}}, 2),
        ]

    def rework(self):
        """An edit by somebody who looked first, as controllers and careful people do."""
        item = self.stored(path := self.path())
        if item is None:
            return
        listed, shown = objects.external(item), objects.ingress(item)
        annotations = item["metadata"].setdefault("annotations", {})
        way = self.one_of("add", "reorder", "pin", "list", "name", "drop one")
        if way == "add":
            item["spec"]["externalIPs"] = [*listed, self.written(self.address())]
        elif way == "reorder":
            item["spec"]["externalIPs"] = listed[::-1]
        elif way == "drop one":
            item["spec"]["externalIPs"] = listed[1:]
        elif way == "pin" and listed:
            annotations.pop(objects.AUTO, None)
        elif way == "list" and shown:
            merge(item, {"spec": {"type": "ClusterIP", "externalIPs": shown}})
            item["spec"].pop("loadBalancerClass", None)
            item["spec"].pop("allocateLoadBalancerNodePorts", None)
            item["status"] = {}
        elif way == "name" and listed + shown:
            annotations[objects.ADDRESSES] = (listed + shown)[0]
        if self.chance(0.5):
            del item["metadata"]["resourceVersion"]
        self.ask(f"rework: {way}", "PUT", path, item)

    def delete(self):
        options = {"preconditions": {"uid": "of-another"}} if self.chance(0.1) else None
        self.ask("delete", "DELETE", self.path(), options)

    def let_go(self):
        """What was kept by a finalizer goes."""
        self.ask("let go", "PATCH", self.path(), {"metadata": {"finalizers": NOTHING}})

    def make_again(self):
        path = self.path()
        self.ask("delete", "DELETE", path)
        self.create(path)

    def impersonate(self):
        """An edit of one's own Service that carries the uid of another's."""
        other = self.stored(self.path(self.random.choice(self.crowd.tenants)))
        if other is not None:
            patch = {"metadata": {"uid": other["metadata"]["uid"]}}
            merge(patch, {"spec": {"externalIPs": objects.external(other) or [self.address()]}})
            self.ask("impersonate", "PATCH", self.path(), patch)

    def edit_what_is_old(self):
        patch = {"metadata": {"resourceVersion": "1"}, "spec": {"externalIPs": [self.address()]}}
        self.ask("edit what is old", "PATCH", self.path(), patch)

    def delete_generated(self):
        self.ask(
            "delete generated", "DELETE", f"{self.path().rpartition('/')[0]}?labelSelector={GROUP}"
        )


class StatusWriter(Actor):
    """A controller of others that may write every Service's status, and writes anything there."""

    ACTIONS = {"write": 6, "add": 3, "flip": 2}

    def path(self, namespace=None, name=None):
        return super().path(namespace or self.random.choice(self.crowd.tenants), name)

    def write(self):
        """All of the ingress, whatever was there."""
        entries = [{"ip": text} for text in self.some_addresses()[: self.one_of(0, 1, 2)]]
        entries += [{"hostname": "lb.example.com"}] * self.chance(0.2)
        for entry in entries:
            if "ip" in entry and self.chance(0.3):
                entry["ipMode"] = self.one_of("VIP", "Proxy")
        patch = {"status": {"loadBalancer": {"ingress": entries}}}
        self.ask("write status", "PATCH", f"{self.path()}/status", patch, self.chance(0.1))

    def add(self):
        """One more beside what is there, or the same without the first."""
        item = self.stored(path := self.path())
        if item is None:
            return
        entries = (item["status"].get("loadBalancer") or {}).get("ingress") or []
        more = {"ip": self.written(self.address())}
        entries = self.one_of([*entries, more], [*entries, more], entries[1:])
        item["status"]["loadBalancer"] = {"ingress": entries}
        if self.chance(0.5):
            del item["metadata"]["resourceVersion"]
        self.ask("add to status", "PUT", f"{path}/status", item)

    def flip(self):
        """Annotations can be written by way of the status, which no webhook is asked about."""
        name = self.one_of(objects.AUTO, objects.ADDRESSES)
        patch = _annotate(name, self.one_of("auto", NOTHING))
        merge(patch, {"status": {"conditions": NOTHING}})
        self.ask("flip", "PATCH", f"{self.path()}/status", patch)


def merge(into, patch):
    """Adds a merge patch to another, or to an object."""
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


def _annotate(name, value):
    return {"metadata": {"annotations": {name: value}}}
