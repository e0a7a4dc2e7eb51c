"""Conversion reviews that no API server sends, and objects that nobody should have written."""

import contextlib
import json

import pytest

import faults
import harness
from harness import wait_until
from versions import Object
from webhook import Webhook

MIB = 1 << 20


@pytest.fixture
def convert(lab):
    webhook = Webhook(lab.cluster)

    def post(body, **options):
        text = body if isinstance(body, str) else json.dumps(body)
        return webhook.post(text, path="/convert?timeout=30s", **options)

    return post


def review(desired, *items, **members):
    request = {"uid": "1-2", "desiredAPIVersion": desired, "objects": list(items), **members}
    return {"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1", "request": request}


def node(name, version="v1", **members):
    item = {"apiVersion": f"ipcontroller.ext/{version}", "kind": "IpNode"}
    return {**item, "metadata": {"name": name}, **members}


@pytest.mark.parametrize(
    "body, status",
    [
        ("", 400),
        ("kind: ConversionReview", 400),
        ({}, 400),
        ({**review("ipcontroller.ext/v2"), "apiVersion": "apiextensions.k8s.io/v1beta1"}, 400),
        ({**review("ipcontroller.ext/v2"), "request": {}}, 400),
    ],
    ids=["nothing", "yaml", "empty", "older review", "no uid"],
)
def test_what_is_no_review_is_refused(convert, body, status):
    code, text = convert(body)
    assert code == status and json.loads(text)["kind"] == "Status", text


def test_a_review_that_fails_says_which_object(convert):
    _, text = convert(review("ipcontroller.ext/v2", node("a"), node("b", version="v7")))
    response = json.loads(text)["response"]
    assert response["uid"] == "1-2" and "convertedObjects" not in response
    assert response["result"]["status"] == "Failed" and "IpNode b" in response["result"]["message"]


def test_ten_thousand_objects_and_objects_of_three_mebibytes(convert):
    code, text = convert(review("ipcontroller.ext/v2", *(node(f"n-{i}") for i in range(10000))))
    converted = json.loads(text)["response"]["convertedObjects"]
    assert code == 200 and [item["metadata"]["name"] for item in converted] == [
        f"n-{i}" for i in range(10000)
    ]
    large = [node("a", more="x" * 3 * MIB), node("b", more="y" * 3 * MIB), node("c", revision="7")]
    code, text = convert(review("ipcontroller.ext/v2", *large))
    response = json.loads(text)["response"]
    assert response["result"] == {"status": "Success"}, text[:500]
    assert response["convertedObjects"][2]["status"] == {"revision": "7"}


def test_reviews_above_the_limit_are_refused(convert):
    # By its headers, so that the client may still be sending.
    with contextlib.suppress(OSError):
        code, text = convert(review("ipcontroller.ext/v2", node("a", more="x" * 33 * MIB)))
        assert code == 413, text[:500]
    assert convert(review("ipcontroller.ext/v2"))[0] == 200


def test_only_this_path_is_open(lab, convert):
    webhook = Webhook(lab.cluster)
    body = json.dumps(review("ipcontroller.ext/v2", node("a")))
    for path in ("/mutate", "/validate", "/convert/", "/x/convert"):
        assert webhook.post(body, path=path)[0] == 404, path
    assert convert(body, method="GET")[0] == 405
    # A call that is judged may still not be that large.
    code, text = webhook.post("x" * 8 * MIB)
    assert code == 200 and json.loads(text)["response"]["status"]["code"] == 413, text[:500]


def test_damaged_conversion_data_is_ignored_and_told(lab):
    ip = str(harness.SPACE.ipv4(32).network_address)
    claim = Object(lab, "IpClaim", f"{ip.replace('.', '-')}-32")
    try:
        damaged = {"ipcontroller.ext/conversion-data": '{"v2":{"spec":'}
        claim.create("v1", {"annotations": damaged}, spec={"cidr": f"{ip}/32"})
        assert claim.read("v2")["spec"] == {"cidr": f"{ip}/32"}
        log = lab.fleet.replicas[0].log
        wait_until(
            lambda: "conversion data of an object can't be read" in log.read_text(),
            "a line in the log",
        )
        # Whoever writes conversion data by hand writes the specification by it, and no status.
        data = {"v2": {"spec": {"standbyNode": "n"}, "status": {"boundNode": "n"}}}
        said = {"ipcontroller.ext/conversion-data": json.dumps(data)}
        claim.patch("v1", {"metadata": {"annotations": said}})
        assert claim.read("v2")["spec"] == {"cidr": f"{ip}/32", "standbyNode": "n"}
        assert "status" not in claim.read("v2")
    finally:
        claim.remove()


def test_what_has_no_room_is_read_and_not_written(lab):
    ip = str(harness.SPACE.ipv4(32).network_address)
    claim = Object(lab, "IpClaim", f"{ip.replace('.', '-')}-32")
    try:
        note = {"note": "x" * (256 * 1024 - len("note"))}
        claim.create("v2", {"annotations": note}, spec={"cidr": f"{ip}/32", "standbyNode": "n"})
        old = claim.read("v1")
        assert old["metadata"]["annotations"] == note
        assert old["metadata"]["labels"] == {"ipcontroller.ext/conversion-data": "too-large"}
        old["spec"]["nodeName"] = "m"
        refused = claim.try_replace("v1", old)
        assert not refused.ok and "edit it in version v2" in refused.message, refused
        claim.patch("v2", {"metadata": {"annotations": None}})
        # An API server tries first with what it knows, which is as old as its watch.
        wait_until(
            lambda: claim.try_patch("v1", {"spec": {"nodeName": "m"}}).ok, "an edit that is taken"
        )
        assert claim.read("v2")["spec"] == {"cidr": f"{ip}/32", "standbyNode": "n", "nodeName": "m"}
    finally:
        claim.remove()


def test_a_replica_that_has_not_listed_anything_converts(proxied_lab):
    """Lists may wait for conversion, so conversion can't wait for them."""
    lab = proxied_lab
    fleet = lab.fleet
    node_ = Object(lab, "IpNode", f"{lab.name}-n")
    fleet.stop()
    fleet.proxy.add(faults.refuse(500), "GET", r"/services\?(?!.*watch=)", 1000000)
    replica = fleet.replicas[0].start(wait=False)
    try:
        wait_until(
            lambda: node_.try_create("v1", revision="7").status in (201, 409),
            "the object to be taken",
        )
        assert node_.read("v2")["status"]["revision"] == "7"
        assert not replica.ready()
    finally:
        node_.remove()
        fleet.proxy.clear()
        fleet.ensure()


def test_either_of_two_replicas_converts(lab_of_two):
    """Also while the other one hangs: the connections of an API server go to both."""
    lab = lab_of_two
    node_ = Object(lab, "IpNode", f"{lab.name}-n")
    try:
        node_.create("v1", revision="1")
        for replica in lab.fleet.replicas:
            replica.kill()
            assert node_.read("v2")["status"]["revision"] == "1"
            node_.patch("v1", {"metadata": {"labels": {"by": replica.identity}}})
            replica.start()
    finally:
        node_.remove()
