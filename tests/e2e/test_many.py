"""Many clients, two replicas, two API servers: no address twice, none lost, whatever is killed."""

import itertools
import queue
import threading
import time

import pytest

import invariants
import objects
from harness import FULL, Load, parallel, wait_until
from watchman import Watchman

CREATORS = 32
# What may wait for its Service: creates that were under way when a replica was killed.
GRACE = 15


def create_all(lab, count, attempt):
    """attempt(lab, name, server) by 32 clients for `count` Services, half on each server."""
    with Watchman(lab) as watchman:
        began = time.monotonic()
        created = parallel(CREATORS, lambda n: attempt(lab, f"svc-{n}", n % 2), range(count))
        seconds = time.monotonic() - began
    print(f"{count} Services in {seconds:.1f} s, {count / seconds:.0f}/s, {watchman.rounds} checks")
    watchman.check()
    return created


def create_as_told(lab, name, server):
    return lab.create_as_told(lab.service(name, auto=True), server=server)


def distinct(services):
    given = list(itertools.chain.from_iterable(map(objects.external, services)))
    assert len(set(given)) == len(given) == len(services)
    return set(given)


def test_2000_services_of_32_creators_get_2000_addresses_of_2048(lab_of_two):
    lab = lab_of_two
    lab.pool(size=2048)
    created = create_all(lab, 2000, create_as_told)
    distinct(created)
    # Two replicas choose apart from each other, so hardly ever has a client to ask again.
    assert len(lab.repeated) <= 2, f"{len(lab.repeated)} repeated: {lab.repeated[0]}"
    for service in created[::100]:
        lab.claimed(objects.external(service)[0], service)
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
    """Creates the Service; it fails only where the API server doesn't reach a replica."""
    service = lab.service(name, auto=True)

    def attempt():
        answer = lab.try_create_as_told(service, server=server)
        if not answer.ok:
            assert answer.status == 500 and "failed calling webhook" in answer.message, answer
            lab.unreached.append(answer)
        return answer if answer.ok else None

    return wait_until(attempt, f"Service {name} to be created", 120).body


def test_a_replica_killed_each_second_costs_no_address(lab_of_two):
    lab = lab_of_two
    lab.fleet.replace(f"--grace={GRACE}s")
    lab.unreached = []
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
    print(
        f"{killer.kills} kills, {len(lab.unreached)} creates failed, {len(lab.repeated)} repeated"
    )
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
    # Nothing waits for the grace: also of a Service that came and went before its claim was seen.
    lab.fleet.replace("--grace=300s")
    lab.pool(size=64)
    refused = []

    def come_and_go(index):
        service = lab.service(f"svc-{index}", auto=True)
        answer = lab.try_create_as_told(service, server=index % 2)
        if answer.ok:
            lab.delete(service)
        else:
            # Sixteen at a time fit into 64, but what was deleted may be freed a little later.
            assert answer.status == 403, answer
            refused.append(answer)

    with Watchman(lab) as watchman, Load(16, come_and_go) as load:
        wait_until(lambda: len(load.results) >= 1000, "a thousand rounds", 240)
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
