"""Many clients, two replicas, two API servers: no address twice, none lost, whatever is killed."""

import itertools
import queue
import threading
import time

import pytest

import invariants
import objects
from harness import FULL, Load, parallel, wait_until
from replicas import timed

CREATORS = 32
# What may wait for its Service: creates that were under way when a replica was killed.
GRACE = 15


class Watchman:
    """Checks what must hold at every moment, over and over, while a test does its work."""

    def __init__(self, lab):
        self.lab = lab
        self.found = []
        self.rounds = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _watch(self):
        # Lists of thousands are work, for the API servers too: it pauses for longer than it looks.
        pause = 1
        while not self._over.wait(pause) and not self.found:
            seconds, snapshot = timed(self.lab.snapshot)
            self.found = invariants.check(snapshot, rules=invariants.MOVING)
            self.rounds += 1
            pause = max(1, 4 * seconds)

    def check(self):
        assert not self.found, "\n".join(map(str, self.found))


def create_all(lab, count, attempt):
    """attempt(lab, name, server) by 32 clients for `count` Services, half on each server."""
    with Watchman(lab) as watchman:
        began = time.monotonic()
        created = parallel(CREATORS, lambda n: attempt(lab, f"svc-{n}", n % 2), range(count))
        seconds = time.monotonic() - began
    print(f"{count} Services in {seconds:.1f} s, {count / seconds:.0f}/s, {watchman.rounds} checks")
    watchman.check()
    return created


def create_once(lab, name, server):
    return lab.create(lab.service(name, auto=True), server=server)


def distinct(services):
    given = list(itertools.chain.from_iterable(map(objects.external, services)))
    assert len(set(given)) == len(given) == len(services)
    return set(given)


def test_2000_services_of_32_creators_get_2000_addresses_of_2048(lab_of_two):
    lab = lab_of_two
    lab.pool(size=2048)
    created = create_all(lab, 2000, create_once)
    distinct(created)
    before = lab.snapshot()
    lab.check_at_rest(seconds=120)
    after = lab.snapshot()
    assert not invariants.moved(before, after) and not invariants.freed(before, after)
    # All of them go, and all addresses come back.
    lab.delete_services()
    wait_until(lambda: not lab.claims(), lambda: f"{len(lab.claims())} claims to go", 120)
    lab.check_at_rest()


class Killer:
    """Kills one replica after the other with SIGKILL, a second apart, and starts it again.

    Replicas belong to the thread that starts them, so this one is the caller's, and the load runs
    in others.
    """

    def __init__(self, fleet):
        self.fleet = fleet
        self.kills = 0

    def run_until(self, is_over):
        for replica in itertools.cycle(self.fleet.replicas):
            next_kill = time.monotonic() + 1
            wait_until(lambda at=next_kill: is_over() or time.monotonic() > at, "a second to pass")
            if is_over():
                break
            replica.check_log()
            assert replica.running(), f"{replica.identity} ended by itself\n{replica.tail()}"
            replica.kill()
            replica.start(wait=False)
            self.kills += 1


def create_in_the_end(lab, name, server):
    """Creates the Service, again after a clear failure; there is room, so none may be refused."""
    service = lab.service(name, auto=True)

    def attempt():
        answer = lab.try_create(service, server=server)
        if answer.status == 409:
            return lab.request("GET", objects.path_of(service))
        if not answer.ok:
            assert answer.status in (500, 503, 504) and answer.message, answer
        return answer if answer.ok else None

    return wait_until(attempt, f"Service {name} to be created", 120).body


def test_a_replica_killed_each_second_costs_no_address(lab_of_two):
    lab = lab_of_two
    lab.fleet.replace(f"--grace={GRACE}s")
    count = 2000 if FULL else 500
    lab.pool(size=2048)
    killer, done = Killer(lab.fleet), queue.SimpleQueue()

    def work():
        try:
            done.put(create_all(lab, count, create_in_the_end))
        except BaseException as error:  # raised again in the thread of the test
            done.put(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        killer.run_until(lambda: not thread.is_alive())
    finally:
        thread.join()
    result = done.get()
    if isinstance(result, BaseException):
        raise result
    assert killer.kills > 2
    distinct(result)
    lab.fleet.ensure()
    lab.check_at_rest(grace=GRACE + 5, seconds=120)
    # And once the grace has passed, nothing is left that no Service has.
    wait_until(
        lambda: not invariants.check(lab.snapshot(), grace=0, rules=("I3",)),
        lambda: "\n".join(map(str, invariants.check(lab.snapshot(), grace=0, rules=("I3",)))),
        GRACE + 60,
    )
    assert len(lab.claims()) == count


def test_creates_and_deletes_side_by_side_leave_the_books_right(lab_of_two):
    lab = lab_of_two
    # A Service that came and went before the leader saw either leaves a claim that waits for it.
    lab.fleet.replace("--grace=10s")
    lab.pool(size=64)
    refused = []

    def come_and_go(index):
        service = lab.service(f"svc-{index}", auto=True)
        answer = lab.try_create(service, server=index % 2)
        if answer.ok:
            lab.delete(service)
        else:
            # Sixteen at a time fit into 64, but what was deleted may be freed a little later.
            assert answer.status == 403, answer
            refused.append(answer)

    with Watchman(lab) as watchman, Load(16, come_and_go) as load:
        wait_until(lambda: len(load.results) >= 1000, "a thousand rounds", 120)
    watchman.check()
    print(f"{len(load.results)} rounds, {len(refused)} refused")
    wait_until(lambda: not lab.claims(), lambda: f"no claims, but {len(lab.claims())}")
    lab.check_at_rest()


@pytest.mark.parametrize("count", [200])
def test_load_balancers_of_many_creators_are_all_served(lab_of_two, count):
    lab = lab_of_two
    lab.pool(size=count)
    items = [lab.load_balancer(f"lb-{n}") for n in range(count)]
    parallel(CREATORS, lambda n: lab.create(items[n], server=n % 2), range(count))

    def served():
        services = lab.request("GET", f"/api/v1/namespaces/{lab.namespace}/services").body["items"]
        return {ip for service in services for ip in objects.ingress(service)}

    wait_until(lambda: len(served()) == count, lambda: f"{count} addresses, not {len(served())}")
    lab.check_at_rest()
