"""Ranges that are full, and ranges that go: who waits, who is served next, and what is kept."""

import time

import pytest

import objects
from harness import wait_until


def waiting(lab, *items):
    """Creates the requests one after the other and waits until each says that it's Busy."""
    made = [lab.create(item) for item in items]
    for request in made:
        lab.is_for_reason(request, "Busy")
    return made


def fill(lab, range_, wanted, count):
    return [lab.granted(lab.create(lab.ask(range_, wanted))) for _ in range(count)]


def test_a_full_range_makes_the_next_one_wait_and_say_so(lab):
    chosen = lab.range("10.0.0.0/30", name="tiny")
    fill(lab, chosen, "31", 2)
    (late,) = waiting(lab, lab.ask(chosen, "31"))
    condition = objects.condition(lab.get(late), "Ready")
    assert condition["status"] == "False" and "tiny" in condition["message"], condition
    assert not objects.cidr(lab.get(late))
    assert "tiny" in lab.event(late, "Busy")
    lab.check_at_rest()


def test_who_waits_is_served_when_another_goes(lab):
    chosen = lab.range("10.0.0.0/28")
    held = fill(lab, chosen, "30", 4)
    seconds = []
    for request in held:
        (late,) = waiting(lab, lab.ask(chosen, "30"))
        began = time.monotonic()
        lab.delete(request)
        wait_until(lambda late=late: objects.cidr(lab.get(late)), "a CIDR")
        seconds.append(time.monotonic() - began)
        assert objects.cidr(lab.get(late)) == objects.cidr(request)
    print(f"served after {', '.join(f'{s * 1000:.0f}' for s in seconds)} ms")
    lab.check_at_rest()


def test_the_oldest_is_served_first(lab):
    chosen = lab.range("10.0.0.0/31")
    held = fill(lab, chosen, "32", 2)
    # By age, not by name.
    late = waiting(lab, *(lab.ask(chosen, "32", name=name) for name in "zxyabc"))
    for request in held:
        lab.delete(request)
    while late:
        first, second = lab.granted(late[0]), lab.granted(late[1])
        assert [objects.reason(lab.get(request)) for request in late[2:]] == ["Busy"] * len(
            late[2:]
        )
        late = late[2:]
        lab.delete(first)
        lab.delete(second)
    lab.check_at_rest()


def test_the_oldest_is_first_also_when_another_replica_leads(lab):
    chosen = lab.range("10.0.0.0/32")
    (held,) = fill(lab, chosen, "32", 1)
    (older,) = waiting(lab, lab.ask(chosen, "32", name="zebra"))
    # Ages are stored in whole seconds.
    ant = lab.ask(chosen, "32", name="ant")
    wait_until(
        lambda: (
            lab.try_create(ant, dry_run=True).body["metadata"]["creationTimestamp"]
            > older["metadata"]["creationTimestamp"]
        ),
        "a second to pass",
    )
    (younger,) = waiting(lab, ant)
    lab.fleet.stop()
    lab.fleet.start()
    lab.delete(held)
    lab.granted(older)
    assert objects.reason(lab.get(younger)) == "Busy"
    lab.check_at_rest()


def test_a_younger_one_that_fits_is_not_held_up(lab):
    chosen = lab.range("10.0.0.0/29")
    held = [lab.granted(lab.create(lab.ask(chosen, f"{n}/31"))) for n in range(4)]
    large, exact = waiting(lab, lab.ask(chosen, "30"), lab.ask(chosen, "10.0.0.7"))
    small = waiting(lab, lab.ask(chosen, "32"), lab.ask(chosen, "#1"))
    lab.delete(held[1])
    given = {objects.cidr(lab.granted(request)) for request in small}
    assert given == {"10.0.0.2/32", "10.0.0.3/32"}
    lab.delete(held[3])
    assert objects.cidr(lab.granted(exact)) == "10.0.0.7/32"
    assert objects.reason(lab.get(large)) == "Busy"
    for request in (held[0], *small):
        lab.delete(request)
    assert objects.cidr(lab.granted(large)) == "10.0.0.0/30"
    lab.check_at_rest()


def test_exactly_this_waits_for_exactly_this(lab):
    chosen = lab.range("10.0.0.0/24")
    (inner,) = fill(lab, chosen, "10.0.0.64/26", 1)
    outer, single = waiting(lab, lab.ask(chosen, "10.0.0.0/25"), lab.ask(chosen, "10.0.0.99"))
    for request in (outer, single):
        assert objects.condition(lab.get(request), "Ready")["message"]
    lab.delete(inner)
    # Both want what was freed; the older one has it.
    assert objects.cidr(lab.granted(outer)) == "10.0.0.0/25"
    lab.is_for_reason(single, "Busy")
    lab.delete(outer)
    assert objects.cidr(lab.granted(single)) == "10.0.0.99/32"
    lab.check_at_rest()


def test_a_request_that_is_going_holds_what_it_has(lab):
    chosen = lab.range("10.0.0.0/32")
    (held,) = fill(lab, chosen, "32", 1)
    lab.patch(held, {"metadata": {"finalizers": ["example.com/still-needed"]}})
    (late,) = waiting(lab, lab.ask(chosen, "32"))
    lab.delete(held)
    assert lab.get(held)["metadata"]["deletionTimestamp"]
    # What comes after it is judged by then.
    waiting(lab, lab.ask(chosen, "32"))
    assert objects.reason(lab.get(late)) == "Busy"
    lab.check_at_rest()
    lab.patch(held, {"metadata": {"finalizers": None}})
    assert objects.cidr(lab.granted(late)) == "10.0.0.0/32"
    lab.check_at_rest()


def test_a_range_in_use_that_is_deleted_shows_deleting_and_goes_with_its_last_request(lab):
    chosen = lab.range("10.0.0.0/30", name="going")
    held = fill(lab, chosen, "31", 2)
    (late,) = waiting(lab, lab.ask(chosen, "31"))
    lab.delete(chosen)
    stored = lab.is_for_reason(chosen, "Deleting")
    assert stored["metadata"]["deletionTimestamp"]
    assert objects.condition(stored, "Ready")["status"] == "False"
    assert [row.split()[6] for row in _rows(lab, "iprange")] == ["False"]
    # Nothing more is given, to those who wait as little as to those who come.
    lab.is_for_reason(late, "Deleting")
    new = lab.create(lab.ask(chosen, "32"))
    lab.is_for_reason(new, "Deleting")
    lab.delete(held[0])
    wait_until(lambda: lab.get(chosen)["status"]["requests"] == 3, "it to count three requests")
    for request in (late, new):
        assert objects.reason(lab.get(request)) == "Deleting" and not objects.cidr(lab.get(request))
    # And nothing is taken away.
    assert objects.cidr(lab.get(held[1])) == objects.cidr(held[1])
    lab.check_at_rest()
    lab.delete(late)
    lab.delete(new)
    wait_until(lambda: lab.get(chosen)["status"]["requests"] == 1, "it to count one request")
    lab.delete(held[1])
    lab.is_gone(chosen)


def _rows(lab, kind):
    return lab.kubectl("get", kind, "--no-headers").stdout.splitlines()


def test_a_range_without_requests_goes_at_once(lab):
    chosen = lab.range("10.0.0.0/30")
    (held,) = fill(lab, chosen, "31", 1)
    lab.delete(held)
    lab.is_gone(held)
    lab.delete(chosen)
    lab.is_gone(chosen)


def test_a_range_that_is_made_again_begins_anew(lab):
    chosen = lab.range("10.0.0.0/30", name="again")
    (held,) = fill(lab, chosen, "31", 1)
    (late,) = waiting(lab, lab.ask(chosen, "30"))
    lab.delete(chosen)
    lab.is_for_reason(late, "Deleting")
    lab.delete(held)
    lab.delete(late)
    lab.is_gone(chosen)
    again = lab.range("10.1.0.0/30", name="again")
    assert objects.cidr(lab.granted(lab.create(lab.ask(again, "30")))) == "10.1.0.0/30"
    lab.check_at_rest()


@pytest.mark.parametrize("while_it_runs", [True, False], ids=["running", "stopped"])
def test_a_range_whose_finalizer_is_removed_by_hand_may_come_back(lab, while_it_runs):
    chosen = lab.range("10.0.0.0/30", name="forced")
    (held,) = fill(lab, chosen, "31", 1)
    if not while_it_runs:
        lab.fleet.stop()
    lab.delete(chosen)

    def gone():
        # ipwarden may put the finalizer back as long as it can.
        if lab.get(chosen):
            lab.request("PATCH", objects.path_of(chosen), {"metadata": {"finalizers": None}})
        return lab.get(chosen) is None

    wait_until(gone, lambda: f"no {lab.get(chosen)}")
    if not while_it_runs:
        lab.fleet.start()
    # Whoever has a sub-network keeps it, and the next range of that name gives it to no one else.
    assert objects.cidr(lab.get(held)) == "10.0.0.0/31"
    again = lab.range("10.0.0.0/30", name="forced")
    assert objects.cidr(lab.granted(lab.create(lab.ask(again, "31")))) == "10.0.0.2/31"
    waiting(lab, lab.ask(again, "31"))
    lab.granted(held)
    lab.check_at_rest()
