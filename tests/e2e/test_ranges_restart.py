"""What replicas know of ranges when they start again: all of it, from what is stored."""

import ipaddress

import pytest

import faults
import invariants
import objects
from faults import HttpProxy
from grants import Grants
from harness import parallel, wait_until
from replicas import Replica


def restart(lab, how):
    """Ends all replicas, by a rollout or a crash, and starts them again."""
    getattr(lab.fleet, how)()
    lab.fleet.start()


def come_and_go(lab, range_, wanted, count):
    """The sub-networks of requests that come and go one after the other."""
    given = []
    for _ in range(count):
        request = lab.granted(lab.create(lab.ask(range_, wanted)))
        given.append(objects.cidr(request))
        lab.delete(request)
    return given


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_round_robin_goes_on_after_a_restart(lab, how):
    chosen = lab.range("10.0.0.0/24", "10.0.2.0/24", mode="RoundRobin")
    networks = [*ipaddress.ip_network("10.0.0.0/24").subnets(new_prefix=30)]
    networks += [*ipaddress.ip_network("10.0.2.0/24").subnets(new_prefix=30)]
    for number, half in enumerate(("10.0.0.0/25", "10.0.0.128/25", "10.0.2.0/25")):
        given = come_and_go(lab, chosen, "30", 3)
        assert given == [str(network) for network in networks[3 * number : 3 * number + 3]]
        # Sizes don't share their pointers.
        assert come_and_go(lab, chosen, "25", 1) == [half]
        restart(lab, how)
    # At the end it begins anew.
    assert come_and_go(lab, chosen, "25", 2) == ["10.0.2.128/25", "10.0.0.0/25"]
    lab.check_at_rest()


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_nothing_is_lost_or_moved_by_a_restart(lab, how):
    ranges = [
        lab.range("10.0.0.0/16", defaultPrefixLength=28),
        lab.range("fd00:7::/48", mode="RoundRobin", defaultPrefixLength=64),
        lab.range("10.9.0.0/30"),
    ]
    requests = [lab.create(lab.ask(r)) for r in ranges[:2] for _ in range(10)]
    requests += [lab.create(lab.ask(ranges[2], "31")) for _ in range(2)]
    late = [lab.create(lab.ask(ranges[2], wanted)) for wanted in ("30", "30")]
    lost = lab.create(lab.ask("nowhere"))
    for request in requests:
        lab.granted(request)
    for request in late:
        lab.is_for_reason(request, "Busy")
    lab.is_for_reason(lost, "RangeNotFound")
    lab.check_at_rest()
    before = lab.snapshot()
    restart(lab, how)
    lab.check_at_rest()
    found = invariants.freed(before, lab.snapshot())
    assert not found, "\n".join(map(str, found))
    for request in late:
        assert objects.reason(lab.get(request)) == "Busy"
    # Memory is what it was: nothing that is held is given again, and what is freed is.
    for request in requests[-2:]:
        lab.delete(request)
    assert objects.cidr(lab.granted(late[0])) == "10.9.0.0/30"
    lab.delete(late[0])
    lab.granted(late[1])
    lab.range("10.10.0.0/24", name="nowhere")
    lab.granted(lost)
    lab.check_at_rest()


def test_what_changed_while_nobody_looked_is_put_in_order(lab):
    chosen = lab.range("10.0.0.0/30")
    held = [lab.granted(lab.create(lab.ask(chosen, "31"))) for _ in range(2)]
    late = lab.create(lab.ask(chosen, "31"))
    lab.is_for_reason(late, "Busy")
    going = lab.range("10.1.0.0/30")
    kept = lab.granted(lab.create(lab.ask(going)))
    unused = lab.range("10.2.0.0/30")
    lab.check_at_rest()
    lab.fleet.stop()
    for item in (held[0], going, unused, kept):
        lab.delete(item)
    assert objects.cidr(lab.get(held[1])) and not objects.cidr(lab.get(late))
    lab.fleet.start()
    assert objects.cidr(lab.granted(late)) == objects.cidr(held[0])
    lab.is_gone(going)
    lab.is_gone(unused)
    lab.check_at_rest()


def test_killed_in_the_middle_of_many_grants(lab):
    chosen = lab.range("10.0.0.0/8", defaultPrefixLength=24)
    # They wait for their range, so that all of them are granted at once when it comes.
    requests = parallel(8, lambda n: lab.create(lab.ask("burst", name=f"q-{n}")), range(200))
    with Grants(lab) as grants:
        lab.range("10.0.0.0/8", name="burst", defaultPrefixLength=24, wait=False)
        wait_until(lambda: grants.count > 20, "grants to begin")
        restart(lab, "kill")
        grants.wait_for(requests)
        lab.check_at_rest()
        grants.check()
    assert lab.get(chosen)["status"]["used"] == 0


@pytest.mark.parametrize("kind", ["ipamrequests", "ipamranges"])
def test_nothing_is_given_before_everything_has_been_listed(lab, kind):
    """While requests that were served aren't known, or their range isn't, what is free isn't."""
    chosen = lab.range("10.0.0.0/29")
    held = [lab.granted(lab.create(lab.ask(chosen, "31"))) for _ in range(4)]
    late = lab.create(lab.ask(chosen, "31"))
    lab.is_for_reason(late, "Busy")
    lab.check_at_rest()
    with HttpProxy(lab.cluster) as proxy:
        rule = proxy.add(faults.slow(2), "GET", rf"/{kind}\?(?!.*watch=)")
        lab.fleet.stop()
        lab.fleet.replicas = [Replica(lab.cluster, lab.fleet.port, index=8, url=proxy.url)]
        try:
            (replica,) = lab.fleet.replicas
            replica.start(wait=False)
            wait_until(lambda: rule.met, f"it to list {kind}")
            with Grants(lab) as grants:
                assert not replica.ready()
                wait_until(lambda: rule.done, "the list")
                replica.wait_ready()
                lab.check_at_rest()
                assert objects.reason(lab.get(late)) == "Busy"
                lab.delete(held[2])
                assert objects.cidr(lab.granted(late)) == objects.cidr(held[2])
                grants.check()
            lab.check_at_rest()
            lab.fleet.stop()
        finally:
            lab.fleet.kill()
            lab.fleet.resize(1)
