"""What one test has to hand: a namespace of its own, names, objects that go away with it."""

import contextlib
import datetime
import itertools
import json
import re
import time

import invariants
import objects
from harness import PATIENCE, SPACE, Answer, wait_until
from invariants import NOT_NOW

# In the order in which they can go.
IPAM_KINDS = ("IPAMRequest", "IPAMRange")


class Lab:
    """One test's corner of a cluster. Names are unique, so nothing meets what another test made."""

    _numbers = itertools.count(1)

    def __init__(self, cluster, fleet, name):
        self.cluster = cluster
        self.fleet = fleet
        self.name = f"{name[:40].strip('-')}-{next(Lab._numbers)}"
        self.namespace = self.name
        self.namespaces = []
        self.add_namespace(self.namespace)
        self._pools = []
        self._has_ranges = False
        self._names = itertools.count(1)
        # A test in which creates fail after they were admitted says so: what is left of those waits
        # for the grace.
        self.leaves_unstored = False
        # What had to be repeated, since the API server said so.
        self.repeated = []

    # Requests

    def request(self, method, path, body=None, **options):
        return Answer(*self.cluster.request(method, path, body, **options))

    def read(self, path, **options):
        """The answer to a GET, asked again for as long as the API server can't answer just now."""
        return wait_until(
            lambda: (a := self.request("GET", path, **options)).status not in NOT_NOW and a,
            f"an answer to GET {path}",
        )

    def try_create(self, item, dry_run=False, **options):
        path = objects.path_of(item, collection=True) + ("?dryRun=All" if dry_run else "")
        if item["kind"] == "IpClaimPool" and not dry_run:
            self.owns_pool(item["metadata"]["name"])
        if item["kind"] in IPAM_KINDS and not dry_run:
            self._has_ranges = True
        return self.request("POST", path, item, **options)

    def try_create_as_told(self, item, **options):
        """try_create as client-go does it: repeated when the answer says after how many seconds."""
        for _ in range(10):
            answer = self.try_create(item, **options)
            details = answer.body.get("details") if isinstance(answer.body, dict) else None
            seconds = (details or {}).get("retryAfterSeconds")
            if answer.status not in NOT_NOW or not seconds:
                break
            self.repeated.append(answer)
            time.sleep(seconds)
        return answer

    def create_as_told(self, item, **options):
        answer = self.try_create_as_told(item, **options)
        assert answer.status == 201, f"{item['kind']} {item['metadata']} was refused: {answer}"
        return answer.body

    def create(self, item, **options):
        answer = self.try_create(item, **options)
        assert answer.status == 201, f"{item['kind']} {item['metadata']} was refused: {answer}"
        return answer.body

    def get(self, item):
        """The object as it is stored now, or None."""
        answer = self.read(objects.path_of(item))
        assert answer.status in (200, 404), answer
        return answer.body if answer.ok else None

    def try_patch(self, item, patch, subresource="", **options):
        path = objects.path_of(item) + (f"/{subresource}" if subresource else "")
        return self.request("PATCH", path, patch, **options)

    def patch(self, item, patch, **options):
        answer = self.try_patch(item, patch, **options)
        assert answer.status == 200, f"a patch of {item['metadata']['name']} was refused: {answer}"
        return answer.body

    def replace(self, item):
        answer = self.request("PUT", objects.path_of(item), item)
        assert answer.status == 200, f"{item['metadata']['name']} was refused: {answer}"
        return answer.body

    def delete(self, item):
        answer = self.request("DELETE", objects.path_of(item))
        assert answer.ok, answer

    def kubectl(self, *arguments, namespace=True, **options):
        chosen = ("--namespace", self.namespace) if namespace else ()
        return self.cluster.kubectl(*arguments, *chosen, **options)

    def apply(self, item, *arguments, **options):
        """kubectl apply of one object."""
        return self.kubectl("apply", *arguments, "-f", "-", input=json.dumps(item), **options)

    # Making things

    def add_namespace(self, name):
        answer = self.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        assert answer.status == 201, answer
        self.namespaces.append(name)
        return name

    def unique(self, word):
        return f"{word}-{next(self._names)}"

    def service(self, name=None, **options):
        """A Service of this test, not yet created; see objects.service."""
        namespace = options.pop("namespace", self.namespace)
        return objects.service(name or self.unique("svc"), namespace, **options)

    def load_balancer(self, name=None, **options):
        namespace = options.pop("namespace", self.namespace)
        return objects.load_balancer(name or self.unique("lb"), namespace, **options)

    def owns_pool(self, name):
        """A pool of that name, however it is made, goes with this test."""
        self._pools.append(name)

    def pool(self, size=None, network=None, name=None, wait=True, **spec):
        """Creates a pool of `size` addresses (the first of a network), or of the whole network."""
        if network is None:
            network = SPACE.ipv4(24 if not size or size < 256 else 24 - (size // 256).bit_length())
        if size:
            first = 0 if size >= network.num_addresses else 1
            network = objects.span(network, first, first + size - 1)
        made = self.create(objects.pool(name or f"{self.name}-{self.unique('p')}", network, **spec))
        if wait:
            wait_until(lambda: self.pool_ready(made), lambda: f"a ready pool, not {self.get(made)}")
        return made

    def range(self, *ranges, name=None, wait=True, **spec):
        """Creates a range of these entries, and waits until it serves."""
        namespace = spec.pop("namespace", self.namespace)
        made = self.create(objects.ip_range(name or self.unique("r"), namespace, *ranges, **spec))
        if wait:
            self.is_for_reason(made, "Serving")
        return made

    def ask(self, range_, request=None, name=None, **spec):
        """An IPAMRequest for that range (or one of that name in its namespace), not yet created."""
        namespace = spec.pop("namespace", self.namespace)
        if not isinstance(range_, str):
            metadata = range_["metadata"]
            range_ = metadata["name"]
            if metadata["namespace"] != namespace:
                spec["range_namespace"] = metadata["namespace"]
        name = name or self.unique("q")
        return objects.ip_request(name, namespace, range_, request, **spec)

    def pool_ready(self, pool):
        """Whether the reconciler has judged the pool, and every replica knows it."""
        name = pool["metadata"]["name"]
        return objects.condition(self.get(pool), "Ready").get("status") == "True" and all(
            replica.count("ipwarden_pool_addresses", pool=name, state="total")
            for replica in self.fleet.replicas
            if replica.running()
        )

    # Looking

    def claim(self, address):
        """The claim of an address, or None."""
        return self.get(objects.claim(address))

    def claims(self):
        """All claims of this test's Services."""
        found = self.read(objects.PATHS["IpClaim"]).body["items"]
        return [
            claim
            for claim in found
            if any(s["namespace"] in self.namespaces for s in claim["spec"].get("services") or ())
        ]

    def claims_of(self, service):
        """The claims that name this Service."""
        uid = service["metadata"]["uid"]
        return [c for c in self.claims() if uid in _uids(c["spec"].get("services"))]

    def claimed(self, address, service):
        """The claim of an address, which names the Service now, and says all there is to say."""
        claim = self.claim(address)
        entry = _entry_of(claim, service)
        assert entry, f"no claim of {address} for {service['metadata']}, but {claim}"
        metadata, ports = service["metadata"], service["spec"]["ports"]
        assert (entry["namespace"], entry["name"]) == (metadata["namespace"], metadata["name"])
        assert entry["ports"] == [f"{port['protocol']}/{port['port']}" for port in ports], entry
        assert isinstance(entry["given"], bool), entry
        since = datetime.datetime.fromisoformat(entry["since"])
        age = datetime.datetime.now(datetime.timezone.utc) - since
        assert re.search(r"\.\d{6}Z$", entry["since"]) and 0 <= age.total_seconds() < 3600, entry
        return claim

    def claimed_soon(self, address, service):
        """claimed(), where the leader does it: once it has, for a Service that was stored before."""
        wait_until(
            lambda: _entry_of(self.claim(address), service),
            lambda: f"{address} to be claimed for {service['metadata']}; {self.claim(address)}",
        )
        return self.claimed(address, service)

    def gone(self, address):
        """Waits until the address has no claim."""
        wait_until(lambda: self.claim(address) is None, lambda: f"no {self.claim(address)}")

    def with_ingress(self, service, count=1):
        """Waits until the Service has that many ingress addresses, and returns it as stored."""

        def look():
            stored = self.get(service)
            return stored if len(objects.ingress(stored)) == count else None

        return wait_until(look, lambda: f"{count} ingress addresses in {self.get(service)}")

    def granted(self, request, seconds=None):
        """Waits until the IPAMRequest has its CIDR and says that it's Ready; returns that."""

        def look():
            stored = self.get(request)
            return stored if objects.cidr(stored) and objects.reason(stored) == "Ready" else None

        return wait_until(look, lambda: f"a CIDR in {self.get(request)}", seconds)

    def is_for_reason(self, item, reason):
        """Waits until the condition Ready has the reason, and returns the object as stored."""

        def look():
            stored = self.get(item)
            return stored if objects.reason(stored) == reason else None

        return wait_until(look, lambda: f"the reason {reason} in {self.get(item)}")

    def requests(self, namespace=None):
        """All IPAMRequests of the namespace."""
        path = objects.path_of(self.ask("any", namespace=namespace or self.namespace), True)
        return self.read(path).body["items"]

    def is_gone(self, item):
        """Waits until the object is stored no more."""
        wait_until(lambda: self.get(item) is None, lambda: f"no {self.get(item)}")

    def events(self, item):
        """(reason, message) of the events on an object of any kind."""
        selector = f"?fieldSelector=involvedObject.uid={item['metadata']['uid']}"
        listed = self.read("/api/v1/events" + selector).body["items"]
        return [(event["reason"], event["message"]) for event in listed]

    def event(self, item, reason):
        """Waits for an event with the reason on the object, and returns its message."""

        def look():
            return next((m for r, m in self.events(item) if r == reason), None)

        return wait_until(look, lambda: f"event {reason}, among {self.events(item)}")

    def snapshot(self):
        return invariants.take(lambda path: self.cluster.request("GET", path))

    def check(self, **options):
        """Fails on any violation now; for rules that hold at every moment."""
        found = invariants.check(self.snapshot(), **options)
        assert not found, "\n".join(map(str, found))

    def check_at_rest(self, metrics=True, seconds=None, **options):
        """Fails unless all invariants hold, once what is still on its way has arrived."""
        options = {"grace": 0, "foreign_allowed": False, **options}
        found = []

        def look():
            measured = [r.metrics() for r in self.fleet.replicas if r.running()] if metrics else ()
            found[:] = invariants.check(self.snapshot(), metrics=measured, **options)
            return not found

        wait_until(look, lambda: "invariants to hold\n" + "\n".join(map(str, found)), seconds)

    # The end

    def close(self):
        """Deletes what the test made, and sees that all addresses come back by themselves."""
        broken = self._mend()
        unstored = self._unstored() if self.leaves_unstored else set()
        for namespace in self.namespaces:
            self.delete_services(namespace)
        late = self._left_over(unstored)
        # Whatever is wrong, the next test starts clean.
        with contextlib.suppress(AssertionError):
            self._remove_all(late)
        self._remove_ranges()
        names = [(c["metadata"]["name"], c["spec"].get("services")) for c in late]
        names = [(name, entries) for name, entries in names if not _uids(entries) <= unstored]
        assert not names, f"claims outlive their Services: {names}"
        if broken:
            raise broken

    def _mend(self):
        """Has all replicas run, to clean up; returns what was wrong with them."""
        try:
            self.fleet.check()
            self.fleet.ensure()
            return None
        except AssertionError as error:
            self.fleet.kill()
            self.fleet.resize(len(self.fleet.replicas))
            self.fleet.start()
            return error

    def delete_services(self, namespace=None):
        path = f"/api/v1/namespaces/{namespace or self.namespace}/services"

        def attempt():
            answer = self.request("DELETE", path, timeout=10 * PATIENCE)
            # The API server gives up after a minute, however many are left.
            assert answer.ok or answer.status == 504, answer
            return answer.ok

        wait_until(attempt, f"the Services of {path} to go", 10 * PATIENCE)

    def _unstored(self):
        """The uids that claims name and no stored Service has: of creates that came to nothing."""
        found = self.snapshot()
        stored = {service["metadata"]["uid"] for service in found.services}
        return {u for c in found.claims for u in _uids(c["spec"].get("services"))} - stored

    def _left_over(self, unstored):
        """The claims that are left in the end, those of uids that wait for the grace among them."""

        def late():
            return [c for c in self.claims() if not _uids(c["spec"]["services"]) <= unstored]

        with contextlib.suppress(AssertionError):
            wait_until(lambda: not late(), "")
        return self.claims()

    def _remove_all(self, claims):
        for claim in claims:
            self.request("DELETE", objects.path_of({"kind": "IpClaim", **claim}))
        for name in self._pools:
            self.request("DELETE", f"{objects.PATHS['IpClaimPool']}/{name}")
        for name in self._pools:
            path = f"{objects.PATHS['IpClaimPool']}/{name}"
            wait_until(lambda path=path: self.request("GET", path).status == 404, f"no pool {name}")

    def _remove_ranges(self):
        """Deletes requests and ranges, which then must go by themselves."""
        if not self._has_ranges:
            return
        left = []
        for kind in IPAM_KINDS:
            for namespace in self.namespaces:
                one = {"kind": kind, "metadata": {"namespace": namespace}}
                path = objects.path_of(one, collection=True)
                answer = self.request("DELETE", path, timeout=10 * PATIENCE)
                with contextlib.suppress(AssertionError):
                    wait_until(lambda path=path: not self.read(f"{path}?limit=1").body["items"], "")
                left += [(kind, item, answer) for item in self.read(path).body["items"]]
        for kind, item, _ in left:
            nothing = {"metadata": {"finalizers": None}}
            self.request("PATCH", objects.path_of({**item, "kind": kind}), nothing)
        assert not left, f"ranges and requests that do not go: {left}"


def _entry_of(claim, service):
    """What a claim says about the Service, or None."""
    uid = service["metadata"]["uid"]
    entries = claim["spec"].get("services") or () if claim else ()
    return next((entry for entry in entries if entry.get("uid") == uid), None)


def _uids(entries):
    return {entry.get("uid") for entry in entries or ()}
