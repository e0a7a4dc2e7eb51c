"""Reviews that no API server sent: whoever learned the path sends them straight to the webhook."""

import copy
import json
import time

import pytest

import objects
from harness import wait_until
from webhook import Webhook, review

MOST = 8
FRESH = 5  # seconds that a claim may wait for its Service before it counts


def forge(webhook, item, old=None, operation="CREATE", kind="validating"):
    """The response to a review that claims to be of this object."""
    body = review(item, operation, uid="forged")
    body["request"].update(dryRun=False, oldObject=old)
    status, text = webhook.post(json.dumps(body), f"{webhook.paths[kind]}?timeout=10s")
    assert status == 200, text
    return json.loads(text)["response"]


def stored_as(lab, service):
    """What validating webhooks are shown of the Service as it is stored."""
    shown = copy.deepcopy(lab.get(service))
    shown.update(kind="Service", apiVersion="v1")
    return shown


def edited(service, name=None, namespace=None, uid=None, **spec):
    other = copy.deepcopy(service)
    other["spec"].update(spec)
    other["metadata"].update(
        {k: v for k, v in (("name", name), ("namespace", namespace), ("uid", uid)) if v}
    )
    return other


PORTS = [{"name": "p", "port": 4711, "protocol": "TCP", "targetPort": 1}]
STRANGER = "00000000-1111-2222-3333-444444444444"


@pytest.mark.parametrize("sharing", ["Never", "SameNamespace"])
def test_forged_reviews_take_nothing_from_a_stored_service(lab, sharing):
    """Whatever they say of it: the claim names it with its ports, and nobody else is on those."""
    pool = lab.pool(size=4, sharing=sharing)
    created = lab.create(lab.service("web", auto=True))
    (address,) = objects.external(created)
    before = lab.claimed(address, created)["spec"]["services"]
    shown = stored_as(lab, created)
    webhook = Webhook(lab.cluster)
    spare = pool["spec"]["addresses"][0].split("-")[1]
    pairs = [
        # Without the address, with another one, with other ports, as another type.
        (shown, edited(shown, externalIPs=[])),
        (shown, edited(shown, externalIPs=[spare])),
        (shown, edited(shown, ports=PORTS)),
        (shown, edited(shown, type="ExternalName", externalIPs=[])),
        # From nothing, from another Service of that name, to another of that name.
        (edited(shown, externalIPs=[]), shown),
        (edited(shown, ports=PORTS), shown),
        (edited(shown, uid=STRANGER), shown),
        (shown, edited(shown, uid=STRANGER)),
        (edited(shown, uid=STRANGER), edited(shown, uid=STRANGER, ports=PORTS)),
    ]
    for old, new in pairs:
        forge(webhook, new, old, "UPDATE")
        forge(webhook, new, old, "UPDATE", kind="mutating")
    for forged in (
        shown,
        edited(shown, uid=STRANGER),
        edited(shown, name="other", uid=STRANGER, ports=PORTS),
        edited(shown, name="other", ports=PORTS),
    ):
        forge(webhook, forged, None, "CREATE")
        forge(webhook, forged, forged, "DELETE")
    after = lab.claim(address)["spec"]["services"]
    (entry,) = [entry for entry in after if entry["uid"] == created["metadata"]["uid"]]
    kept = {key: before[0][key] for key in ("namespace", "name", "uid", "given")}
    assert kept.items() <= entry.items(), after
    assert set(entry["ports"]) >= set(before[0]["ports"]), after
    assert lab.get(created)["spec"]["externalIPs"] == [address]
    lab.leaves_unstored = True


def test_forged_creates_leave_no_more_than_the_limit(lab):
    lab.fleet.replace(f"--unstored-most={MOST}")
    pool = lab.pool(size=100)
    lab.leaves_unstored = True
    head, _, last = pool["spec"]["addresses"][0].split("-")[0].rpartition(".")
    webhook = Webhook(lab.cluster)
    template = stored_as(lab, lab.create(lab.service("template")))

    def take(index):
        """Whether a create that the API server never saw was allowed."""
        return forge(
            webhook,
            edited(
                template,
                name=f"forged-{index}",
                uid=f"{STRANGER[:-4]}{index:04}",
                externalIPs=[f"{head}.{int(last) + index}"],
            ),
        )

    assert all(take(index)["allowed"] for index in range(MOST + 1))
    since = time.monotonic()
    wait_until(lambda: time.monotonic() - since > FRESH + 0.5, "the claims to count", 2 * FRESH)
    held = len(lab.claims())
    for index in range(30, 50):
        answer = take(index)
        assert not answer["allowed"] and answer["status"]["code"] == 429, answer
    assert len(lab.claims()) == held == MOST + 1
    other = lab.add_namespace(lab.unique(lab.name))
    assert objects.external(lab.create(lab.service(auto=True, namespace=other)))
