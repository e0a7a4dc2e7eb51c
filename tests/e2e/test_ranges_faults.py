"""Grants while the API server's answers are errors, late, lost or cut short: each is made once."""

import pytest

import faults
import objects
from grants import Grants
from harness import parallel, wait_until

RANGE = r"/ipamranges/[^/]+/status(\?|$)"
REQUEST = r"/ipamrequests/[^/]+/status(\?|$)"
OBJECT = r"/ipamranges/[^/]+(\?|$)"
WRITE = "PUT|PATCH"
WATCH = r"/{}\?.*watch=(1|true)"
LIST = r"/{}\?(?!.*watch=)"

# What is written ahead into the range, and then told to the requests.
WRITES = {
    "a write-ahead is refused with 500": [(faults.refuse(500), WRITE, RANGE, 4)],
    "a write-ahead is refused with 503": [(faults.refuse(503), WRITE, RANGE, 4)],
    "a write-ahead must wait for a second": [
        (faults.refuse(429, Retry_After="1"), WRITE, RANGE, 2)
    ],
    "a write-ahead conflicts": [(faults.refuse(409), WRITE, RANGE, 4)],
    "a write-ahead is lost on the way": [(faults.hang_up, WRITE, RANGE, 4)],
    "a write-ahead is stored and the answer lost": [
        (faults.carry_out_and_hang_up, WRITE, RANGE, 4)
    ],
    "a write-ahead is stored and the answer 500": [
        (faults.carry_out_and_answer(500), WRITE, RANGE, 4)
    ],
    "a write-ahead is stored and the answer 409": [
        (faults.carry_out_and_answer(409), WRITE, RANGE, 4)
    ],
    "a write-ahead is stored and the answer cut": [(faults.break_off(60), WRITE, RANGE, 4)],
    "a write-ahead is answered with nonsense": [(faults.nonsense, WRITE, RANGE, 2)],
    "a write-ahead is stored late": [(faults.slow(1), WRITE, RANGE, 2)],
    "the finalizer is refused": [(faults.refuse(500), WRITE, OBJECT, 2)],
    "a grant is refused with 500": [(faults.refuse(500), WRITE, REQUEST, 6)],
    "a grant conflicts": [(faults.refuse(409), WRITE, REQUEST, 6)],
    "a grant is lost on the way": [(faults.hang_up, WRITE, REQUEST, 6)],
    "a grant is stored and the answer lost": [(faults.carry_out_and_hang_up, WRITE, REQUEST, 6)],
    "a grant is stored and the answer 500": [(faults.carry_out_and_answer(500), WRITE, REQUEST, 6)],
    "a grant is answered with nonsense": [(faults.nonsense, WRITE, REQUEST, 3)],
    "a grant is stored late": [(faults.slow(1), WRITE, REQUEST, 3)],
    "both are lost": [
        (faults.carry_out_and_hang_up, WRITE, RANGE, 2),
        (faults.hang_up, WRITE, REQUEST, 3),
    ],
}

# What is read at a start, and on from there.
READS = {
    f"{what} of {kind}": [(fault, "GET", path.format(kind), times)]
    for kind in ("ipamranges", "ipamrequests")
    for what, fault, path, times in (
        ("lists break off", faults.break_off(300), LIST, 1),
        ("lists are nonsense", faults.nonsense, LIST, 2),
        ("watches end as too old", faults.expire_watch, WATCH, 2),
        ("watches break off in an event", faults.break_off(700), WATCH, 2),
    )
}


def divide(lab, name):
    """Fills a range of sixteen addresses, with some that wait and are served when others go."""
    chosen = lab.range("10.0.0.0/28", name=name, wait=False)
    made = parallel(4, lambda n: lab.create(lab.ask(chosen, "31", name=f"{name}-{n}")), range(12))
    with_one = []

    def full():
        with_one[:] = [r for r in map(lab.get, made) if objects.cidr(r)]
        return len(with_one) == 8

    wait_until(full, lambda: f"8 grants, not {len(with_one)}: {lab.get(chosen)}")
    for request in with_one[::2]:
        lab.delete(request)
    for request in made:
        if lab.get(request):
            lab.granted(request)
    return chosen


def everything_goes(lab, chosen):
    for request in lab.requests():
        lab.delete({**request, "kind": "IPAMRequest"})
    wait_until(lambda: not lab.requests(), "no requests")
    lab.delete(chosen)
    lab.is_gone(chosen)


@pytest.mark.parametrize("broken", WRITES)
def test_writes_that_go_wrong_are_made_good(proxied_lab, broken):
    lab = proxied_lab
    with Grants(lab) as grants:
        rules = [lab.fleet.proxy.add(*rule) for rule in WRITES[broken]]
        chosen = divide(lab, "divided")
        again = divide(lab, "again") if not all(rule.met for rule in rules) else None
        wait_until(
            lambda: all(rule.met and rule.met == rule.done for rule in rules),
            lambda: f"all faults to be met: {[(rule.met, rule.done) for rule in rules]}",
        )
        lab.check_at_rest()
        grants.check()
        for range_ in filter(None, (chosen, again)):
            everything_goes(lab, range_)
        grants.check()


@pytest.mark.parametrize("broken", READS)
def test_reads_that_go_wrong_are_made_good(proxied_lab, broken):
    lab = proxied_lab
    proxy = lab.fleet.proxy
    with Grants(lab) as grants:
        chosen = lab.range("10.0.0.0/29", name="kept")
        kept = [lab.granted(lab.create(lab.ask(chosen, "31"))) for _ in range(4)]
        late = lab.create(lab.ask(chosen, "31"))
        lab.is_for_reason(late, "Busy")
        lab.fleet.stop()
        rules = [proxy.add(*rule) for rule in READS[broken]]
        lab.fleet.start()
        # Once more, now that it knows what there is.
        proxy.cut()
        wait_until(
            lambda: all(rule.met for rule in rules),
            lambda: f"all faults to be met: {[rule.met for rule in rules]}",
        )
        lab.delete(kept[2])
        assert objects.cidr(lab.granted(late)) == objects.cidr(kept[2])
        lab.check_at_rest()
        proxy.clear()
        divide(lab, "divided")
        lab.check_at_rest()
        grants.check()
