"""Reviews as API servers send them: twice, too early, and when there is little time."""

import base64
import json
import time

import faults
import objects
from faults import HttpProxy
from harness import wait_until
from replicas import Replica
from webhook import Webhook, review


def post(webhook, item, uid, dry_run=False, timeout="10s"):
    """The response part of the answer to a mutating review."""
    body = review(item, uid=uid)
    body["request"]["dryRun"] = dry_run
    path = f"{webhook.paths['mutating']}?timeout={timeout}"
    status, text = webhook.post(json.dumps(body), path)
    assert status == 200, text
    response = json.loads(text)["response"]
    assert response["uid"] == uid
    return response


def external_in(response):
    """The addresses that the patch of a response puts into spec.externalIPs."""
    assert response["allowed"] and response["patchType"] == "JSONPatch", response
    patch = json.loads(base64.b64decode(response["patch"]))
    (value,) = [step["value"] for step in patch if step["path"].startswith("/spec/externalIPs")]
    return value if isinstance(value, list) else [value]


def test_a_review_that_comes_again_gets_the_same_address(lab):
    lab.pool(size=4)
    lab.leaves_reservations = True
    webhook = Webhook(lab.cluster)
    item = lab.service("web", auto=True)
    first = external_in(post(webhook, item, "one"))
    assert external_in(post(webhook, item, "two")) == first
    assert external_in(post(webhook, item, "three", dry_run=True)) == first
    assert len(lab.claims()) == 1
    assert objects.external(lab.create(item)) == first


def test_a_review_of_its_own_answer_changes_nothing(lab):
    lab.pool(size=4)
    lab.leaves_reservations = True
    webhook = Webhook(lab.cluster)
    item = lab.service("web", auto=True)
    address = external_in(post(webhook, item, "one"))
    item["spec"]["externalIPs"] = address
    item["metadata"]["annotations"][objects.ADDRESS] = address[0]
    again = post(webhook, item, "two")
    assert again["allowed"]
    assert not again.get("patch") or external_in(again) == address
    assert len(lab.claims()) == 1


def test_the_answer_comes_within_the_deadline_that_the_api_server_sets(lab):
    lab.pool(size=4)
    lab.leaves_reservations = True
    webhook = Webhook(lab.cluster)
    with HttpProxy(lab.cluster) as proxy:
        lab.fleet.stop()
        lab.fleet.replicas = [Replica(lab.cluster, lab.fleet.port, index=9, url=proxy.url)]
        try:
            lab.fleet.start()
            rule = proxy.add(faults.slow(8), "POST", r"/ipclaims(\?|$)")
            began = time.monotonic()
            response = post(webhook, lab.service("web", auto=True), "one", timeout="2s")
            assert time.monotonic() - began < 2
            assert not response["allowed"] and response["status"]["message"]
            assert response["status"]["code"] in (503, 504)
            # Meanwhile others are served.
            other = post(webhook, lab.service("other", auto=True), "two", timeout="2s")
            assert external_in(other)
            wait_until(lambda: rule.done, "the claim to be stored late")
            lab.fleet.stop()
        finally:
            lab.fleet.kill()
            lab.fleet.resize(1)


def test_nothing_is_given_before_everything_has_been_listed(lab):
    lab.pool(size=4)
    created = [lab.create(lab.service(auto=True)) for _ in range(2)]
    taken = {address for service in created for address in objects.external(service)}
    with HttpProxy(lab.cluster) as proxy:
        lab.fleet.stop()
        replica = Replica(lab.cluster, lab.fleet.port, index=9, url=proxy.url)
        lab.fleet.replicas = [replica]
        try:
            for kind in ("services", "ipclaims"):
                proxy.add(faults.slow(4), "GET", rf"/{kind}\?(?!.*watch=)")
            replica.start(wait=False)
            # It listens as soon as it has a certificate, and says what it waits for.
            wait_until(lambda: replica.listens(), "the webhook to listen")
            status, reasons = replica.get("/readyz")
            assert status == 503 and "list" in reasons
            answer = lab.try_create(lab.service("early", auto=True))
            assert answer.status in (500, 503) and "starting" in answer.message, answer
            assert lab.create(lab.service("unrelated"))
            replica.wait_ready()
            given = {objects.external(lab.create(lab.service(auto=True)))[0] for _ in range(2)}
            assert len(given) == 2 and not given & taken
            lab.check_at_rest()
            lab.fleet.stop()
        finally:
            lab.fleet.kill()
            lab.fleet.resize(1)
