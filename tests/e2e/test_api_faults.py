"""API server answers that are errors, late, lost or cut short: all is well in the end."""

import contextlib

import pytest

import faults
import objects
from faults import HttpProxy, TcpProxy
from harness import Load, parallel, wait_until
from replicas import Replica

# Above what one create takes, faults included, and short enough to wait for.
GRACE = 6
SERVICES, BALANCERS = 10, 4
# What a create may be refused with while something is broken. 403: what an earlier attempt reserved
# can leave too few addresses, until the grace is over.
CLEAR = (403, 500, 503, 504)

CLAIMS = r"/ipclaims(\?|$)"
CLAIM = r"/ipclaims/[^/]+(\?|$)"
WRITE = "PUT|PATCH"
WATCH = r"/{}\?.*watch=(1|true)"
LIST = r"/{}\?(?!.*watch=)"

# What is broken while Services come and go.
WRITES = {
    "a claim is refused with 500": [(faults.refuse(500), "POST", CLAIMS, 3)],
    "a claim is refused with 503": [(faults.refuse(503), "POST", CLAIMS, 3)],
    "a claim must wait for a second": [(faults.refuse(429, Retry_After="1"), "POST", CLAIMS, 3)],
    "a claim is refused as a conflict": [(faults.refuse(409, "AlreadyExists"), "POST", CLAIMS, 3)],
    "a claim is lost on the way": [(faults.hang_up, "POST", CLAIMS, 3)],
    "a claim is stored and the answer lost": [(faults.carry_out_and_hang_up, "POST", CLAIMS, 3)],
    "a claim is stored and the answer 500": [(faults.carry_out_and_answer(500), "POST", CLAIMS, 3)],
    "a claim is stored and the answer cut": [(faults.break_off(40), "POST", CLAIMS, 3)],
    "a claim is answered with nonsense": [(faults.nonsense, "POST", CLAIMS, 2)],
    "a claim is stored late": [(faults.slow(2), "POST", CLAIMS, 4)],
    "a claim is stored when all have given up": [(faults.slow(12), "POST", CLAIMS, 1)],
    "a confirmation conflicts": [(faults.refuse(409), WRITE, CLAIM, 5)],
    "a confirmation is lost": [(faults.carry_out_and_hang_up, WRITE, CLAIM, 5)],
    "a release is refused": [(faults.refuse(500), "DELETE", CLAIM, 3)],
    "a release conflicts": [(faults.refuse(409), "DELETE", CLAIM, 3)],
    "the answer to a release is lost": [(faults.carry_out_and_hang_up, "DELETE", CLAIM, 3)],
    "an ingress is refused": [(faults.refuse(500), WRITE, r"/services/[^/]+/status", 3)],
    "an ingress conflicts": [(faults.refuse(409), WRITE, r"/services/[^/]+/status", 3)],
    "a pool's status conflicts": [(faults.refuse(409), WRITE, r"/ipclaimpools/[^/]+/status", 2)],
    "events are refused": [(faults.refuse(500), "POST|PATCH", r"/events", 10)],
}

# What is broken when ipwarden starts, or has to begin anew.
READS = {
    "lists fail": [(faults.refuse(500), "GET", LIST.format("[a-z]+"), 6)],
    "lists must wait": [(faults.refuse(429, Retry_After="1"), "GET", LIST.format("[a-z]+"), 3)],
    "lists break off": [
        (faults.break_off(300), "GET", LIST.format(kind), 1)
        for kind in ("services", "ipclaims", "ipclaimpools")
    ],
    "lists are nonsense": [(faults.nonsense, "GET", LIST.format("ipclaims"), 2)],
    "watches fail": [(faults.refuse(500), "GET", WATCH.format("[a-z]+"), 6)],
    "watches are refused as too old": [(faults.refuse(410), "GET", WATCH.format("[a-z]+"), 3)],
    "watches end as too old": [(faults.expire_watch, "GET", WATCH.format("[a-z]+"), 3)],
    "watches break off in an event": [(faults.break_off(700), "GET", WATCH.format("[a-z]+"), 6)],
    "watches are nonsense": [(faults.nonsense, "GET", WATCH.format("[a-z]+"), 3)],
}


@contextlib.contextmanager
def behind(lab, proxy):
    """The fleet is one replica that reaches the API server through the proxy."""
    lab.fleet.stop()
    lab.fleet.replicas = [
        Replica(
            lab.cluster,
            lab.fleet.port,
            index=9,
            url=proxy.url,
            extra_args=[f"--grace={GRACE}s"],
        )
    ]
    try:
        yield lab.fleet.replicas[0]
        lab.fleet.stop()
    finally:
        lab.fleet.kill()
        lab.fleet.resize(1)


def create_in_the_end(lab, service):
    """Creates the Service, again after each clear refusal."""

    def attempt():
        answer = lab.try_create(service)
        assert answer.ok or (answer.status in CLEAR and answer.message), answer
        return answer.body if answer.ok else None

    return wait_until(attempt, f"{service['metadata']['name']} to be created")


def come_and_go(lab):
    """Uses each address of a pool twice over, so that none may stay behind."""
    lab.pool(size=SERVICES + BALANCERS, wait=False)
    for _ in range(2):
        services = parallel(
            4,
            lambda _: create_in_the_end(lab, lab.service(auto=True)),
            range(SERVICES),
        )
        balancers = [lab.create(lab.load_balancer()) for _ in range(BALANCERS)]
        given = {address for service in services for address in objects.external(service)}
        given |= {objects.ingress(lab.with_ingress(balancer))[0] for balancer in balancers}
        assert len(given) == SERVICES + BALANCERS
        lab.check(rules=("I1", "I2"))
        for service in (*services, *balancers):
            lab.delete(service)
    wait_until(lambda: not lab.claims(), lambda: f"no claims, but {lab.claims()}", GRACE + 30)


@pytest.mark.parametrize("broken", WRITES)
def test_writes_that_go_wrong_are_made_good(lab, broken):
    with HttpProxy(lab.cluster) as proxy, behind(lab, proxy) as replica:
        replica.start()
        rules = [proxy.add(*rule) for rule in WRITES[broken]]
        come_and_go(lab)
        # Events and confirmations yield to admission: they may come when all is over.
        wait_until(
            lambda: all(rule.met and rule.met == rule.done for rule in rules),
            lambda: f"all faults to be met: {[(rule.met, rule.done) for rule in rules]}",
        )
        # A claim that was stored late may come to light only now.
        wait_until(lambda: not lab.claims(), lambda: f"no claims, but {lab.claims()}", GRACE + 30)
        lab.check_at_rest()


@pytest.mark.parametrize("broken", READS)
def test_reads_that_go_wrong_are_made_good(lab, broken):
    pool = lab.pool(size=2)
    kept = lab.create(lab.service(auto=True))
    # Enough that a list or watch can break off in the middle.
    taken = [
        lab.create(lab.service(externalIPs=objects.external(kept), ports=(p,))) for p in (1, 2)
    ]
    with HttpProxy(lab.cluster) as proxy, behind(lab, proxy) as replica:
        rules = [proxy.add(*rule) for rule in READS[broken]]
        replica.start()
        lab.check(rules=("I1", "I2"))
        # Once more, now that it knows what there is.
        proxy.cut()
        wait_until(
            lambda: all(rule.met for rule in rules),
            lambda: f"all faults to be met: {[rule.met for rule in rules]}",
        )
        lab.check(rules=("I1", "I2"))
        proxy.clear()
        lab.delete(pool)
        for service in (kept, *taken):
            lab.delete(service)
        wait_until(lambda: lab.get(pool) is None, lambda: f"no {lab.get(pool)}")
        come_and_go(lab)
        lab.check_at_rest()


def test_connections_that_are_cut_again_and_again_do_no_harm(lab):
    port = int(lab.cluster.servers[0].rpartition(":")[2])
    with TcpProxy(port) as proxy, behind(lab, proxy) as replica:
        replica.start()
        lab.pool(size=500)

        def create(index):
            return create_in_the_end(lab, lab.service(f"svc-{index}", auto=True))

        with Load(4, create) as load:
            for _ in range(5):
                before = len(load.results)
                wait_until(
                    lambda before=before: load.errors or len(load.results) >= before + 8,
                    "creates to go on",
                )
                proxy.cut()
        given = [objects.external(service)[0] for service in load.results]
        assert len(set(given)) == len(given)
        lab.check_at_rest(seconds=GRACE + 60)


def test_a_slow_connection_is_slow_and_no_more(lab):
    port = int(lab.cluster.servers[0].rpartition(":")[2])
    with TcpProxy(port) as proxy, behind(lab, proxy) as replica:
        proxy.delay = 0.1
        replica.start()
        come_and_go(lab)
        lab.check_at_rest()


def test_a_connection_that_goes_silent_refuses_clearly_and_comes_back(lab):
    port = int(lab.cluster.servers[0].rpartition(":")[2])
    with TcpProxy(port) as proxy, behind(lab, proxy) as replica:
        replica.start()
        lab.pool(size=20)
        service = lab.service(auto=True)
        proxy.swallow()
        answer = lab.try_create(service)
        assert answer.status in CLEAR and answer.message, answer
        proxy.cut()
        proxy.pass_on()
        created = create_in_the_end(lab, service)
        lab.confirmed(objects.external(created)[0], created)
        come_and_go_more(lab)
        lab.check_at_rest(seconds=GRACE + 60)


def come_and_go_more(lab):
    """Fills what the pool has left, which the reserved address of no answer must be part of."""
    for _ in range(19):
        create_in_the_end(lab, lab.service(auto=True))
