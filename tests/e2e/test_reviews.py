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


def post(webhook, item, uid, dry_run=False, timeout="10s", kind="mutating"):
    """The response part of the answer to a review."""
    body = review(item, uid=uid)
    body["request"]["dryRun"] = dry_run
    path = f"{webhook.paths[kind]}?timeout={timeout}"
    status, text = webhook.post(json.dumps(body), path)
    assert status == 200, text
    response = json.loads(text)["response"]
    assert response["uid"] == uid
    return response


def validated(item, address, uid):
    """The Service as the API server shows it to validating webhooks."""
    item["metadata"]["uid"] = uid
    item["spec"]["externalIPs"] = [address]
    item["spec"].setdefault("type", "ClusterIP")
    return item


def external_in(response):
    """The addresses that the patch of a response puts into spec.externalIPs."""
    assert response["allowed"] and response["patchType"] == "JSONPatch", response
    patch = json.loads(base64.b64decode(response["patch"]))
    (value,) = [step["value"] for step in patch if step["path"].startswith("/spec/externalIPs")]
    return value if isinstance(value, list) else [value]


def test_a_review_that_comes_again_gets_an_address_and_takes_nothing(lab):
    pool = lab.pool(size=4)
    webhook = Webhook(lab.cluster)
    item = lab.service("web", auto=True)
    for uid, dry_run in (("one", False), ("two", False), ("three", True)):
        (address,) = external_in(post(webhook, item, uid, dry_run=dry_run))
        assert objects.has_address(pool, address)
    assert not lab.claims()
    lab.create(item)
    lab.check_at_rest()


def test_a_review_of_its_own_answer_changes_nothing(lab):
    lab.pool(size=4)
    webhook = Webhook(lab.cluster)
    item = lab.service("web", auto=True)
    address = external_in(post(webhook, item, "one"))
    item["spec"]["externalIPs"] = address
    again = post(webhook, item, "two")
    assert again["allowed"]
    assert not again.get("patch") or external_in(again) == address
    assert not lab.claims()


def test_more_reviews_than_addresses_hinder_nobody(lab):
    lab.pool(size=4)
    webhook = Webhook(lab.cluster)
    for index in range(20):
        assert external_in(post(webhook, lab.service(f"junk-{index}", auto=True), "one"))
    for _ in range(4):
        lab.create_as_told(lab.service(auto=True))
    lab.check_at_rest()


def test_a_claim_is_written_once_however_often_the_review_comes(lab):
    pool = lab.pool(size=4)
    lab.leaves_unstored = True
    webhook = Webhook(lab.cluster)
    address = pool["spec"]["addresses"][0].split("-")[1]
    item = validated(lab.service("web"), address, "e2e-uid-1")
    for uid in ("one", "two"):
        assert post(webhook, item, uid, kind="validating")["allowed"]
    (claim,) = lab.claims()
    assert claim["spec"]["services"][0]["uid"] == "e2e-uid-1"
    # The same name with another uid is another Service.
    other = validated(lab.service("web"), address, "e2e-uid-2")
    answer = post(webhook, other, "three", kind="validating")
    assert not answer["allowed"] and answer["status"]["code"] == 403
    assert lab.claims() == [claim]


def test_the_answer_comes_within_the_deadline_that_the_api_server_sets(lab):
    pool = lab.pool(size=4)
    lab.leaves_unstored = True
    webhook = Webhook(lab.cluster)
    first, last = pool["spec"]["addresses"][0].split("-")
    with HttpProxy(lab.cluster) as proxy:
        lab.fleet.stop()
        lab.fleet.replicas = [Replica(lab.cluster, lab.fleet.port, index=9, url=proxy.url)]
        try:
            lab.fleet.start()
            rule = proxy.add(faults.slow(8), "POST", r"/ipclaims(\?|$)")
            began = time.monotonic()
            item = validated(lab.service("web"), last, "e2e-uid-3")
            response = post(webhook, item, "one", timeout="2s", kind="validating")
            assert time.monotonic() - began < 2
            assert not response["allowed"] and response["status"]["message"]
            assert response["status"]["code"] in (429, 503, 504)
            # Meanwhile others are served.
            item = validated(lab.service("other"), first, "e2e-uid-4")
            assert post(webhook, item, "two", timeout="2s", kind="validating")["allowed"]
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
