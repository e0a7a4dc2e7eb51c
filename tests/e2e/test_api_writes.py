"""Writes whose answers are errors, late, lost or cut short: all is well in the end."""

import pytest

import faults
import objects
from comings import CLAIM, CLAIMS, CLEAR, GRACE, WRITE, come_and_go
from harness import wait_until


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
    "a release is refused": [(faults.refuse(500), "DELETE", CLAIM, 3)],
    "a release conflicts": [(faults.refuse(409), "DELETE", CLAIM, 3)],
    "the answer to a release is lost": [(faults.carry_out_and_hang_up, "DELETE", CLAIM, 3)],
    "an ingress is refused": [(faults.refuse(500), WRITE, r"/services/[^/]+/status", 3)],
    "an ingress conflicts": [(faults.refuse(409), WRITE, r"/services/[^/]+/status", 3)],
    "a pool's status conflicts": [(faults.refuse(409), WRITE, r"/ipclaimpools/[^/]+/status", 2)],
    "events are refused": [(faults.refuse(500), "POST|PATCH", r"/events", 10)],
}


def be_told_something(lab):
    """A load balancer waits for a pool, of which there is an event; the rest of the test has none."""
    balancer = lab.create(lab.load_balancer())
    wait_until(
        lambda: lab.get(balancer)["status"].get("conditions"),
        lambda: f"a condition in {lab.get(balancer)}",
    )
    lab.delete(balancer)


@pytest.mark.parametrize("broken", WRITES)
def test_writes_that_go_wrong_are_made_good(proxied_lab, broken):
    lab = proxied_lab
    rules = [lab.fleet.proxy.add(*rule) for rule in WRITES[broken]]
    if broken == "events are refused":
        be_told_something(lab)
    come_and_go(lab)
    # Events yield to admission: they may come when all is over.
    wait_until(
        lambda: all(rule.met and rule.met == rule.done for rule in rules),
        lambda: f"all faults to be met: {[(rule.met, rule.done) for rule in rules]}",
    )
    # A claim that was stored late may come to light only now.
    wait_until(lambda: not lab.claims(), lambda: f"no claims, but {lab.claims()}", GRACE + 30)
    lab.check_at_rest()


# What is broken while Services change their ports, or join one that has the address.
EDITS = {
    "is refused with 500": (faults.refuse(500), WRITE, CLAIM, 3),
    "conflicts": (faults.refuse(409), WRITE, CLAIM, 3),
    "is lost": (faults.hang_up, WRITE, CLAIM, 3),
    "is stored and the answer lost": (faults.carry_out_and_hang_up, WRITE, CLAIM, 3),
    "is stored late": (faults.slow(2), WRITE, CLAIM, 3),
}


@pytest.mark.parametrize("broken", EDITS)
def test_edits_of_claims_that_go_wrong_are_made_good(proxied_lab, broken):
    lab = proxied_lab
    address = lab.pool(size=1)["spec"]["addresses"][0].split("-")[0]
    first = lab.create(lab.service("first", externalIPs=[address], ports=(80,)))
    rule = lab.fleet.proxy.add(*EDITS[broken])
    second = lab.service("second", externalIPs=[address], ports=(81,))

    def in_the_end(attempt, *arguments):
        answers = []

        def succeeds():
            answers.append(attempt(*arguments))
            answer = answers[-1]
            assert answer.ok or (answer.status in (409, *CLEAR) and answer.message), answer
            return answer.ok or answer.body.get("reason") == "AlreadyExists"

        wait_until(succeeds, lambda: f"it to succeed: {list(map(str, answers[-3:]))}")

    in_the_end(lab.try_create, second)
    for service, port in ((first, 90), (second, 91), (first, 80)):
        in_the_end(lab.try_patch, service, {"spec": {"ports": [{"name": "p", "port": port}]}})
    wait_until(lambda: rule.met == rule.done == 3, lambda: f"3 faults: {rule.met}, {rule.done}")

    def ports():
        claim = lab.claim(address)
        return {entry["name"]: entry["ports"] for entry in claim["spec"]["services"]}

    expected = {"first": ["TCP/80"], "second": ["TCP/91"]}
    wait_until(lambda: ports() == expected, lambda: f"{expected}, not {ports()}", GRACE + 30)
    lab.check_at_rest()
    assert objects.external(lab.get(second)) == [address]
