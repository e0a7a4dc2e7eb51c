"""Services that tenants make as odd as an API server takes them; and reviews that make no sense."""

import json
import sys

import pytest

import comings
import faults
import objects
from faults import HttpProxy
from harness import parallel, wait_until
from replicas import Replica
from webhook import Webhook, review

MIB = 1 << 20


@pytest.fixture(autouse=True)
def deep_json():
    """Python reads JSON recursively."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(40_000)
    yield
    sys.setrecursionlimit(limit)


def nested(depth):
    """fieldsV1, that deep."""
    return '{"f:a":' * depth + "{}" + "}" * depth


def field(length):
    """fieldsV1 with one name of so many bytes, each of which an API server sends as six."""
    return '{"f:%s":{}}' % ("<" * length)


def text_of(item, fields="{}"):
    """A Service as JSON, with an entry of metadata.managedFields."""
    entry = (
        '{"manager":"odd","operation":"Update","apiVersion":"v1","time":"2026-01-01T00:00:00Z",'
        f'"fieldsType":"FieldsV1","fieldsV1":{fields}}}'
    )
    metadata = {k: v for k, v in item["metadata"].items() if k != "managedFields"}
    text = json.dumps({**item, "metadata": metadata})
    assert text.count('"metadata": {') == 1
    text = text.replace('"metadata": {', f'"metadata": {{"managedFields": [{entry}], ')
    return text.encode(errors="surrogateescape")


def create(lab, item, fields="{}"):
    answer = lab.request("POST", objects.path_of(item, collection=True), text_of(item, fields))
    assert answer.status == 201, answer
    return answer.body


def lists(replica):
    return replica.count("ipwarden_api_requests_total", verb="list", resource="services")


# What an API server stores and sends. Its own limit for the depth of a document is 10,000.
ODD = {
    "nested 1,100 deep": {"fields": nested(1100)},
    "nested 9,900 deep": {"fields": nested(9900)},
    "a NUL": {"annotations": {"odd": "a\0b"}},
    "a NUL in a wish": {"annotations": {"odd": "\0", objects.POOL: "\0"}, "pool": "\ufffd"},
    "names that are no UTF-8": {"fields": '{"f:\udcfe":{},"f:\udcff":{}}'},
    "half a surrogate pair": {"annotations": {"odd": "\ud800"}},
}


@pytest.mark.parametrize("odd", ODD)
def test_any_service_is_judged_watched_and_freed(lab, odd):
    pool = lab.pool(size=4)
    fields = ODD[odd].get("fields", "{}")
    annotations = dict(ODD[odd].get("annotations", {}))
    if "pool" in ODD[odd]:
        # Read as another character, so that it's no pool's name, and the answer says so.
        item = lab.service(auto=True, annotations=annotations)
        answer = lab.request("POST", objects.path_of(item, collection=True), text_of(item))
        assert answer.ok and not objects.external(answer.body), answer
        assert ODD[odd]["pool"] in lab.event(answer.body, "AddressPending")
        del annotations[objects.POOL]
    replica = lab.fleet.replicas[0]
    before = lists(replica)
    service = create(lab, lab.service(auto=True, annotations=annotations), fields)
    (address,) = objects.external(service)
    lab.claimed(address, service)
    balancer = create(lab, lab.load_balancer(annotations=annotations), fields)
    (other,) = objects.ingress(lab.with_ingress(balancer))
    lab.patch(service, {"metadata": {"labels": {"edited": "yes"}}})
    lab.patch(service, {"spec": {"ports": [{"port": 81, "protocol": "TCP"}]}})
    # Others go on being served, by the watch that was open all the time.
    lab.create(lab.service(auto=True))
    lab.check_at_rest()
    assert lists(replica) == before
    lab.fleet.stop()
    lab.fleet.start()
    lab.create(lab.service(auto=True))
    lab.check_at_rest()
    lab.delete(service)
    lab.delete(balancer)
    lab.gone(address)
    lab.gone(other)
    assert objects.external(lab.create(lab.service(externalIPs=[address]))) == [address]
    lab.check_at_rest()
    assert replica.count("ipwarden_objects_unreadable") == 0
    assert lab.get(pool)


def test_large_services_cost_no_list_and_are_listed(lab):
    lab.pool(size=4)
    replica = lab.fleet.replicas[0]
    service = lab.create(lab.service(auto=True))
    (address,) = objects.external(service)
    before = lists(replica)
    # Edits that have nothing to do with addresses are nobody's to refuse.
    grown = lab.request("PUT", objects.path_of(service), text_of(service, field(1_450_000)))
    assert grown.status == 200, grown
    # More than a page may have.
    parallel(4, lambda _: create(lab, lab.service(), field(1_450_000)), range(8))
    path = objects.path_of(service, collection=True)
    assert len(json.dumps(lab.read(path).body)) * 6 > 64 * MIB
    lab.patch(service, {"metadata": {"labels": {"edited": "yes"}}})
    (other,) = objects.external(lab.create(lab.service(auto=True)))
    assert other != address and lists(replica) == before
    lab.fleet.stop()
    lab.fleet.start()
    (another,) = objects.external(lab.create(lab.service(auto=True)))
    assert another not in (address, other)
    lab.claimed(address, service)
    lab.delete(service)
    lab.gone(address)


def change_spec(name):
    """A fault: the Service of that name has a spec that makes no sense, in lists and watches."""

    def change(item):
        if item.get("metadata", {}).get("name") == name:
            item["spec"] = 7

    return faults.change_objects(change)


SERVICES = r"/services(/|\?|$)"


def test_a_service_that_cannot_be_read_counts_as_stored(proxied_lab):
    lab = proxied_lab
    lab.leaves_unstored = True
    proxy = lab.fleet.proxy
    pool = lab.pool(size=4)
    service = lab.create(lab.service(auto=True))
    (address,) = objects.external(service)
    lab.fleet.stop()
    proxy.add(change_spec(service["metadata"]["name"]), "GET", SERVICES, times=1_000_000)
    lab.fleet.start()
    replica = lab.fleet.replicas[0]
    assert replica.count("ipwarden_objects_unreadable", resource="services") == 1
    # What comes after it is seen, and what never came is reaped in its time.
    other = lab.create(lab.service(auto=True))
    free = pool["spec"]["addresses"][0].split("-")[1]
    item = lab.service("never")
    item["metadata"]["uid"] = "e2e-uid-9"
    item["spec"]["externalIPs"] = [free]
    body = review(item)
    body["request"]["dryRun"] = False
    webhook = Webhook(lab.cluster)
    status, text = webhook.post(json.dumps(body), f"{webhook.paths['validating']}?timeout=10s")
    assert status == 200 and json.loads(text)["response"]["allowed"], text
    wait_until(lambda: lab.claim(free) is None, "the grace to be over", comings.GRACE + 30)
    lab.claimed(address, service)
    # An edit doesn't make it readable.
    lab.patch(service, {"metadata": {"labels": {"edited": "yes"}}})
    lab.delete(other)
    lab.gone(*objects.external(other))
    lab.claimed(address, service)
    assert replica.count("ipwarden_objects_unreadable", resource="services") == 1
    assert replica.log.read_text(errors="replace").count("can't be read: it counts") == 1
    # When it can be read again, all is as ever.
    proxy.clear()
    proxy.cut()
    lab.patch(service, {"metadata": {"labels": {"edited": "again"}}})
    wait_until(
        lambda: replica.count("ipwarden_objects_unreadable", resource="services") == 0,
        "the Service to be read",
    )
    lab.delete(service)
    lab.gone(address)


def test_a_review_that_makes_no_sense_is_refused_under_its_uid(lab):
    webhook = Webhook(lab.cluster)
    text = json.dumps(review(lab.service("web", auto=True), uid="e2e-0815"))
    begun = text[: text.index('"operation"')]
    twice = text.replace('"name": "web"', '"name": "web", "name": "other"')
    for body in (begun, text[:-20], text + "}", begun + "]", begun + "tru}}", twice):
        for kind in ("mutating", "validating"):
            status, answer = webhook.post(body, f"{webhook.paths[kind]}?timeout=10s")
            assert status == 200, answer
            response = json.loads(answer)["response"]
            assert response["uid"] == "e2e-0815" and response["allowed"] is False, answer
            assert response["status"]["code"] == 400 and response["status"]["message"], answer


def test_a_replica_that_sees_nothing_for_long_is_not_ready(lab):
    """Seconds don't matter, unless they are asked about: the default is two minutes."""
    lab.fleet.stop()
    with HttpProxy(lab.cluster) as proxy:
        replica = Replica(
            lab.cluster, lab.fleet.port, index=8, url=proxy.url, extra_args=["--watch-outage=4s"]
        )
        lab.fleet.replicas = [replica]
        try:
            lab.fleet.start()
            refusal = proxy.add(faults.refuse(500), "GET", r"/ipclaims\?", times=1_000_000)
            proxy.cut()

            def works():
                return replica.count("ipwarden_watch_healthy", resource="ipclaims")

            wait_until(lambda: works() == 0, "the watch to be known as broken")
            assert replica.ready()
            wait_until(lambda: not replica.ready(), "the replica not to be ready")
            status, reasons = replica.get("/readyz")
            assert status == 503 and "ipclaims" in reasons and "watches" in reasons, reasons
            assert refusal.met
            proxy.clear()
            replica.wait_ready()
            assert works() == 1
            lab.fleet.stop()
        finally:
            lab.fleet.kill()
            lab.fleet.resize(1)
