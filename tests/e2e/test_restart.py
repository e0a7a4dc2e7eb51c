"""Replicas, API servers and etcd go and come back, alone and all at once."""

import functools
import http.client

import invariants
import objects
from harness import Load, parallel, wait_until
from replicas import LEASE_SECONDS, lease_holder

LOST = (OSError, http.client.HTTPException)


def populated(lab, count=20):
    """Makes Services of both kinds and returns what is stored about them, at rest."""
    lab.pool(size=4 * count)
    parallel(8, lambda n: lab.create(lab.service(f"kept-{n}", auto=True)), range(count))
    parallel(8, lambda n: lab.create(lab.load_balancer(f"kept-lb-{n}")), range(count // 2))
    for index in range(count // 2):
        lab.with_ingress(lab.load_balancer(f"kept-lb-{index}"))
    lab.check_at_rest()
    return lab.snapshot()


def nothing_moved(lab, before):
    lab.check_at_rest()
    after = lab.snapshot()
    found = invariants.moved(before, after) + invariants.freed(before, after)
    assert not found, "\n".join(map(str, found))
    assert len(after.claims) >= len(before.claims)


def create_soon(lab):
    """Creates a Service as soon as that works."""
    answers = []

    def attempt():
        answers.append(lab.try_create(lab.service(auto=True)))
        return answers[-1].ok

    wait_until(attempt, lambda: f"creates to work again: {[str(a)[:300] for a in answers[-3:]]}")


def test_a_restart_of_all_replicas_at_once_recovers_by_itself(lab_of_two):
    lab = lab_of_two
    before = populated(lab)
    lab.fleet.kill()
    lab.fleet.start()
    created = lab.create(lab.service(auto=True))
    nothing_moved(lab, before)
    used = {a for s in before.services for a in map(str, invariants.stored_addresses(s))}
    assert not used & set(objects.external(created))


def test_a_rollout_under_load_fails_no_create(lab_of_two):
    lab = lab_of_two
    lab.fleet.replace("--drain=1s")
    lab.pool(size=2000)
    answers = []

    def create(index):
        service = lab.service(f"svc-{index}", auto=True)
        answers.append(lab.try_create_as_told(service, server=index % 2))

    with Load(4, create, pause=0.05):
        for replica in lab.fleet.replicas * 2:
            before = len(answers)
            wait_until(lambda before=before: len(answers) > before + 20, "creates to go on")
            replica.stop()
            replica.start()
    refused = [str(answer) for answer in answers if not answer.ok]
    print(f"{len(answers)} creates during four restarts, {len(refused)} failed")
    # Replicas of one host share a port in the kernel, which hands a connection to one that is about
    # to close it; behind a Service there's the drain period. Few may meet that moment.
    assert len(refused) <= len(answers) // 50, refused[:3]
    lab.leaves_unstored = bool(refused)
    lab.check_at_rest(grace=120)


def test_a_cold_restart_of_everything_keeps_every_address(lab_of_two):
    lab = lab_of_two
    before = populated(lab)
    lab.fleet.kill()
    lab.cluster.restart_cold()
    lab.fleet.start()
    created = [lab.create(lab.service(auto=True)) for _ in range(3)]
    nothing_moved(lab, before)
    used = {a for s in before.services for a in map(str, invariants.stored_addresses(s))}
    assert not used & {objects.external(service)[0] for service in created}


def test_replicas_wait_for_a_control_plane_that_comes_later(lab_of_two):
    lab = lab_of_two
    before = populated(lab, 4)
    lab.fleet.kill()
    for index in range(2):
        lab.cluster.kill_apiserver(index)
    try:
        for replica in lab.fleet.replicas:
            replica.start(wait=False)
        for replica in lab.fleet.replicas:
            wait_until(lambda r=replica: _answers(r), "it to answer on its metrics port")
            status, reasons = replica.get("/readyz")
            assert status == 503 and reasons.strip()
    finally:
        for index in range(2):
            lab.cluster.start_apiserver(index)
    lab.fleet.ensure()
    lab.create(lab.service(auto=True))
    nothing_moved(lab, before)


def _answers(replica):
    try:
        return replica.get("/healthz")[0] == 200
    except LOST:
        return False


def test_an_api_server_that_goes_and_comes_back_is_found_again(lab_of_two):
    lab = lab_of_two
    before = populated(lab)
    lab.leaves_unstored = True
    for index in range(2):
        lab.cluster.kill_apiserver(index)
        try:
            # The other one goes on. Its webhook calls meet either replica; the one without an API
            # server of its own tries for as long as the call may take.
            services = [lab.service(f"during-{index}-{n}", auto=True) for n in range(10)]
            other = functools.partial(lab.try_create, server=1 - index)
            parallel(len(services), other, services)
        finally:
            lab.cluster.start_apiserver(index)
    for replica in lab.fleet.replicas:
        replica.wait_ready()
    create_soon(lab)
    found = invariants.check(lab.snapshot(), rules=invariants.MOVING)
    assert not found, found
    lab.check_at_rest(grace=120)
    after = lab.snapshot()
    assert not invariants.moved(before, after) + invariants.freed(before, after)


def test_api_servers_that_hang_for_a_while_do_no_harm(lab_of_two):
    lab = lab_of_two
    before = populated(lab)
    lab.leaves_unstored = True
    for index in range(2):
        lab.cluster.pause_apiserver(index)
    try:
        # Long enough for the lease to be lost meanwhile.
        wait_until(
            lambda: not any(replica.leads() for replica in lab.fleet.replicas),
            "the leader to step down",
            LEASE_SECONDS * 4,
        )
    finally:
        for index in range(2):
            lab.cluster.resume_apiserver(index)
    create_soon(lab)
    lab.with_ingress(lab.create(lab.load_balancer()))
    lab.check_at_rest(grace=120)
    after = lab.snapshot()
    assert not invariants.moved(before, after) + invariants.freed(before, after)


def test_another_replica_leads_when_the_leader_stops_answering(lab_of_two):
    lab = lab_of_two
    before = populated(lab)
    lab.leaves_unstored = True
    first = lab.fleet.leader()
    (second,) = [replica for replica in lab.fleet.replicas if replica is not first]
    first.pause()
    try:
        wait_until(second.leads, "the other replica to lead", LEASE_SECONDS * 6)
        assert lease_holder(lab.cluster) == second.identity
        # The reconciler's work is done again: what goes is freed, who waits is served.
        path = f"/api/v1/namespaces/{lab.namespace}/services"
        services = lab.request("GET", path).body["items"]
        gone = services[0]
        lab.delete({**gone, "kind": "Service"})
        for address in invariants.stored_addresses(gone):
            lab.gone(address)
    finally:
        first.resume()
    wait_until(lambda: not first.leads(), "the first to see that it leads no more")
    assert second.leads()
    first.wait_ready()
    lab.with_ingress(lab.create(lab.load_balancer()))
    lab.check_at_rest(grace=120)
    after = lab.snapshot()
    assert not invariants.moved(before, after) + invariants.freed(before, after)


def test_the_lease_is_given_up_by_a_leader_that_ends(lab_of_two):
    lab = lab_of_two
    first = lab.fleet.leader()
    (second,) = [replica for replica in lab.fleet.replicas if replica is not first]
    first.stop()
    wait_until(second.leads, "the other replica to lead")
    first.start()
    assert second.leads() and not first.leads()
