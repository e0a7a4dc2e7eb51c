"""Two leaders at once, and leaders that are killed: nothing is given twice, and nothing is lost."""

import itertools
import os
import random
import threading
import time

import faults
import invariants
import objects
from faults import HttpProxy
from grants import Grants
from harness import FULL, NAME, NAMESPACE, PATIENCE, parallel, wait_until
from replicas import Replica

LEASE = "--lease-duration=3s"
ROUNDS = int(os.environ.get("IPWARDEN_ROUNDS", "50" if FULL else "5"))
KILLS, GRANTS = (100, 5000) if FULL else (8, 400)


def others(fleet, replica):
    return [other for other in fleet.replicas if other is not replica]


def create_in_the_end(lab, item, server=0):
    """Creates it, again after each clear failure: a webhook's replica may just have been killed."""

    def attempt():
        answer = lab.try_create(item, server=server)
        if answer.status == 409:
            return lab.read(objects.path_of(item))
        assert answer.ok or (answer.status in (500, 503, 504) and answer.message), answer
        return answer if answer.ok else None

    return wait_until(attempt, f"{item['metadata']['name']} to be created").body


def test_a_leader_that_wakes_up_late_grants_nothing_twice(lab_of_two, tmp_path):
    """It stands still between its write-ahead and the statuses, and another leads meanwhile."""
    lab = lab_of_two
    fleet = lab.fleet
    fleet.stop()
    fleet.resize(2, [LEASE])
    for replica in fleet.replicas:
        directory = tmp_path / replica.identity
        directory.mkdir()
        replica.environment["IPWARDEN_STOP_AT"] = str(directory)
    fleet.start()
    with Grants(lab) as grants:
        for number in range(ROUNDS):
            stopped_between_writes(lab, grants, tmp_path, number)
    print(f"{ROUNDS} rounds, {grants.count} grants")


def hand_lease_to(lab, replica):
    """As if its time were over, but for the clock of the replica that had it: it still believes."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{NAME}"
    answer = lab.request("PATCH", path, {"spec": {"holderIdentity": replica.identity}})
    assert answer.ok, answer


def stopped_between_writes(lab, grants, directory, number):
    # Twenty want something of sixteen addresses, by more than one batch: the sizes are mixed.
    name = f"round-{number}"
    mode = ("FirstMatch", "RoundRobin")[number % 2]
    for n, wanted in zip(range(20), itertools.cycle(["32", "31", "32"]), strict=False):
        create_in_the_end(lab, lab.ask(name, wanted, name=f"{name}-{n}"))
    first = lab.fleet.leader()
    (second,) = others(lab.fleet, first)
    hook = directory / first.identity / "write-ahead"
    hook.touch()
    chosen = create_in_the_end(lab, objects.ip_range(name, lab.namespace, "10.0.0.0/28", mode=mode))
    try:
        wait_until(first.is_stopped, f"{first.identity} to stop after its write-ahead")
        assert not hook.exists()
        # What it has written ahead stands in the range, and in no request.
        status = lab.get(chosen)["status"]
        epoch = status["epoch"]
        pending = {entry["uid"]: entry["cidr"] for entry in status["pending"]}
        told = [request for request in lab.requests() if objects.cidr(request)]
        assert pending and not told, (status, told)
        # The oldest goes: whoever counted anew, and not by what is pending, would give the others
        # something else now.
        oldest = lab.get(lab.ask(name, name=f"{name}-0"))
        lab.delete(oldest)
        del pending[oldest["metadata"]["uid"]]
        if number % 2:
            hand_lease_to(lab, second)
        wait_until(second.leads, "the other replica to lead")

        def granted():
            return [request for request in lab.requests() if objects.cidr(request)]

        def is_full():
            return sum(_size(request) for request in granted()) == 16

        wait_until(is_full, lambda: f"all to be given, not {list(map(objects.cidr, granted()))}")
        assert lab.get(chosen)["status"]["epoch"] > epoch
        # What was pending has been honoured.
        kept = {request["metadata"]["uid"]: objects.cidr(request) for request in granted()}
        assert kept.items() >= pending.items(), (pending, kept)
        # Some go, and others get what these had, all behind the back of the first.
        for request in granted()[:4]:
            lab.delete(request)
        wait_until(is_full, lambda: f"all to be given, not {list(map(objects.cidr, granted()))}")
        before = lab.snapshot()
    finally:
        first.resume()
    wait_until(lambda: not first.leads(), "the first to see that it leads no more")
    first.wait_ready()
    assert second.leads()
    lab.check_at_rest()
    found = invariants.freed(before, lab.snapshot())
    assert not found, "\n".join(map(str, found))
    grants.check()
    # The rest is served as these go, and the range goes with the last.
    while left := lab.requests():
        for request in left:
            if objects.cidr(request):
                lab.delete(request)
        wait_until(
            lambda: not lab.requests() or any(map(objects.cidr, lab.requests())),
            lambda: f"somebody to be served of {lab.requests()}",
        )
    grants.check()
    lab.delete(chosen)
    lab.is_gone(chosen)


def test_a_write_ahead_that_arrives_late_is_refused(lab_of_two):
    """It was under way when another began to lead and granted; stored now, it would undo that."""
    lab, arrives, answers = lab_of_two, threading.Event(), []

    def late(exchange):
        arrives.wait(PATIENCE)
        with exchange.forward() as response:
            answers.append(response.status)
            exchange.relay(response)

    lab.fleet.stop()
    with HttpProxy(lab.cluster) as proxy, Grants(lab) as grants:
        first = Replica(lab.cluster, lab.fleet.port, 8, url=proxy.url, extra_args=[LEASE])
        second = Replica(lab.cluster, lab.fleet.port, 9, server=1, extra_args=[LEASE])
        lab.fleet.replicas = [first, second]
        try:
            first.start()
            wait_until(first.leads, "the first to lead")
            second.start()
            requests = [
                create_in_the_end(lab, lab.ask("late", wanted, name=f"q-{n}"))
                for n, wanted in zip(range(20), itertools.cycle(["32", "31", "32"]), strict=False)
            ]
            # The first write claims the range; the one after that has the grants in it.
            claim = proxy.add(faults.Exchange.pass_on, "PATCH|PUT", r"/ipamranges/late/status")
            rule = proxy.add(late, "PATCH|PUT", r"/ipamranges/late/status")
            chosen = create_in_the_end(lab, objects.ip_range("late", lab.namespace, "10.0.0.0/28"))
            wait_until(lambda: claim.done and rule.met, "the first to write its grants ahead")
            assert not lab.get(chosen)["status"].get("pending")
            # The others would get something else now.
            lab.delete(requests[0])
            hand_lease_to(lab, second)
            wait_until(second.leads, "the second to lead")

            def given():
                return sum(_size(request) for request in lab.requests() if objects.cidr(request))

            wait_until(lambda: given() == 16, lambda: f"all to be given, not {given()}")
            before, epoch = lab.snapshot(), lab.get(chosen)["status"]["epoch"]
            assert epoch > 1
            arrives.set()
            wait_until(lambda: rule.done, "the answer to what was written late")
            assert answers == [409]
            wait_until(lambda: not first.leads(), "the first to see that it leads no more")
            lab.check_at_rest()
            # While both believed, the range may have changed hands more than once.
            assert lab.get(chosen)["status"]["epoch"] >= epoch
            found = invariants.freed(before, lab.snapshot())
            assert not found, "\n".join(map(str, found))
            grants.check()
            lab.fleet.stop()
        finally:
            lab.fleet.kill()
            lab.fleet.resize(2)


def _size(request):
    return 1 << (32 - int(objects.cidr(request).partition("/")[2]))


def test_a_leader_killed_at_random_loses_nothing_and_gives_nothing_twice(lab_of_two):
    lab = lab_of_two
    seed = int(os.environ.get("IPWARDEN_SEED", time.time_ns() % 1_000_000))
    print(f"IPWARDEN_SEED={seed}")
    dice = random.Random(seed)
    lab.fleet.replace(LEASE)
    chosen = [
        lab.range("10.0.0.0/8", name="first"),
        lab.range("10.0.0.0/8", name="robin", mode="RoundRobin"),
        lab.range("fd00:1::/48", name="six", defaultPrefixLength=64),
    ]
    burst = GRANTS // KILLS
    kept = []
    with Grants(lab) as grants:
        for number in range(KILLS):
            # They wait for nothing but the leader, which is killed while it is at it.
            wanted = [_wish(lab, f"q-{number}-{n}", dice, number) for n in range(burst)]
            leader = lab.fleet.leader()
            count = grants.count
            made = parallel(8, lambda item: create_in_the_end(lab, item, dice.randrange(2)), wanted)
            kept += made
            moment = time.monotonic() + dice.random() * 0.1
            at_least = count + dice.randrange(burst)
            wait_until(
                lambda c=at_least, t=moment: grants.count >= c and time.monotonic() > t,
                lambda: f"grants to go on after {grants.count}",
            )
            leader.check_log()
            leader.kill()
            if dice.random() < 0.25:
                # Otherwise the same one leads again, by its name, before its lease is over.
                lab.fleet.leader()
            leader.start(wait=False)
            grants_go_on(lab, grants, dice, kept)
        lab.fleet.ensure()
        grants.wait_for(kept)
        lab.check_at_rest()
        grants.check()
    print(f"{KILLS} kills, {grants.count} grants")
    assert all(lab.get(range_)["status"]["epoch"] > KILLS // 4 for range_ in chosen)


def _wish(lab, name, dice, number):
    range_ = dice.choice(["first", "robin", "six"])
    sizes = (None, "64", "60", "#3") if range_ == "six" else ("24", "28", "%5", "#100", None)
    return lab.ask(range_, dice.choice(sizes), name=name, description=f"kill {number}")


def grants_go_on(lab, grants, dice, kept):
    """Some that have been served go, so that there is something to give again."""
    served = [request for request in kept if grants.given.get(request["metadata"]["uid"])]
    for request in dice.sample(served, min(5, len(served))):
        lab.delete(request)
        kept.remove(request)
