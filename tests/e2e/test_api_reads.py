"""Lists and watches that fail, break off or make no sense: all is well in the end."""

import pytest

import faults
import objects
from comings import come_and_go
from harness import wait_until

WATCH = r"/{}\?.*watch=(1|true)"
LIST = r"/{}\?(?!.*watch=)"

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


@pytest.mark.parametrize("broken", READS)
def test_reads_that_go_wrong_are_made_good(proxied_lab, broken):
    lab = proxied_lab
    pool = lab.pool(size=2)
    kept = lab.create(lab.service(auto=True))
    # Enough that a list or watch can break off in the middle.
    taken = [
        lab.create(lab.service(externalIPs=objects.external(kept), ports=(p,))) for p in (1, 2)
    ]
    proxy = lab.fleet.proxy
    lab.fleet.stop()
    rules = [proxy.add(*rule) for rule in READS[broken]]
    lab.fleet.start()
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
