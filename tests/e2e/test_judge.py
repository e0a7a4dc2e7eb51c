"""The judge itself: for made-up changes each rule is broken once, and seen to be."""

import itertools

import pytest

from invariants import Snapshot, read_address
from judge import Change, Record, at_rest

ONE, TWO = "203.0.113.1", "203.0.113.2"


class Story:
    """Changes one after the other, as a watch would show them."""

    def __init__(self):
        self.record = Record()
        self._versions = itertools.count(1)
        self.seconds = 0
        self.tell("IpClaimPool", pool())

    def tell(self, kind, item, gone=False):
        self.seconds += 1
        version = next(self._versions)
        item["metadata"]["resourceVersion"] = str(version)
        self.record.take(Change(version, self.seconds, kind, gone, item))

    def claim(self, *entries, address=ONE, name=None, gone=False):
        name = name or address.replace(".", "-")
        spec = {"cidr": f"{address}/32", "services": list(entries)}
        self.tell("IpClaim", {"metadata": {"name": name}, "spec": spec}, gone)

    def hold(self, item, address=ONE):
        """A Service that has the address alone."""
        self.claim(entry(item), address=address)
        self.tell("Service", item)

    def violations(self):
        return self.record.violations


def pool(sharing="Any", namespaces=("shop", "bank"), **spec):
    spec = {"addresses": ["203.0.113.0/29"], "exclude": ["203.0.113.4-203.0.113.7"], **spec}
    spec |= {"sharing": sharing, "namespaces": list(namespaces)}
    return {"metadata": {"name": "blue"}, "spec": spec}


def service(name="web", *listed, namespace="shop", ports=(80,), shown=(), uid=None, **spec):
    return {
        "metadata": {"namespace": namespace, "name": name, "uid": uid or f"uid-{namespace}-{name}"},
        "spec": {
            "type": "LoadBalancer",
            "externalIPs": list(listed),
            "ports": [{"port": port} for port in ports],
            **spec,
        },
        "status": {"loadBalancer": {"ingress": [{"ip": text} for text in shown]}},
    }


def entry(item, **other):
    metadata = item["metadata"]
    ports = [f"TCP/{port['port']}" for port in item["spec"]["ports"]]
    named = {key: metadata[key] for key in ("namespace", "name", "uid")}
    return {**named, "ports": ports, **other}


@pytest.fixture
def story():
    return Story()


def only(story, *words):
    (violation,) = story.violations()
    assert all(word in violation for word in words), violation


def test_two_that_share_by_the_rules_break_none(story):
    web, mail = service("web", ONE), service("mail", ONE, namespace="bank", ports=(25,))
    story.hold(web)
    story.claim(entry(web), entry(mail))
    story.tell("Service", mail)
    story.tell("Service", web, gone=True)
    story.claim(entry(mail))
    assert not story.violations() and (story.record.gains, story.record.joins) == (2, 1)


def test_one_port_of_two_services_is_seen(story):
    web, mail = service("web", ONE), service("mail", ONE, ports=(25,))
    story.hold(web)
    story.claim(entry(web), entry(mail))
    story.tell("Service", mail)
    story.claim(entry(web), entry(mail, ports=["TCP/25", "TCP/80"]))
    story.tell("Service", service("mail", ONE, ports=(80,)))
    only(story, "shop/mail", "shop/web", ONE, "TCP/80")


@pytest.mark.parametrize("sharing, namespace", [("Never", "shop"), ("SameNamespace", "bank")])
def test_sharing_against_the_pools_rule_is_seen(story, sharing, namespace):
    story.tell("IpClaimPool", pool(sharing))
    web, mail = service("web", ONE), service("mail", ONE, namespace=namespace, ports=(25,))
    story.hold(web)
    story.claim(entry(web), entry(mail))
    story.tell("Service", mail)
    only(story, sharing, ONE)


def test_a_service_under_deletion_holds_its_address(story):
    web = service("web", ONE)
    story.hold(web)
    web["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z"
    story.tell("Service", web)
    story.claim(gone=True)
    only(story, "shop/web", "without a claim")


@pytest.mark.parametrize("text", ["203.0.113.001", "::ffff:203.0.113.1", "::FFFF:cb00:7101"])
def test_an_address_is_the_same_however_it_is_written(story, text):
    web, mail = service("web", ONE), service("mail", text)
    story.hold(web)
    story.claim(entry(web), entry(mail, ports=["TCP/80"]))
    story.tell("Service", mail)
    only(story, "shop/mail", "shop/web", ONE)


def test_texts_are_read_as_kube_proxy_does():
    assert str(read_address("::ffff:010.0.0.08")) == "10.0.0.8"
    assert str(read_address("2001:DB8:0::1")) == "2001:db8::1"
    for text in ("", "1.2.3", "1.2.3.256", "1.2.3.x", " 1.2.3.4", "1.2.3.4/32", "fe80::1%eth0x/"):
        assert read_address(text) is None, text


def test_what_no_pool_offers_is_seen(story):
    for address, item in (
        ("203.0.113.4", service("web", "203.0.113.4")),
        (ONE, service("web", ONE, namespace="street")),
    ):
        story.claim(entry(item), address=address)
        story.tell("Service", item)
    assert ["doesn't offer" in text for text in story.violations()] == [True, True]


def test_what_a_pool_offered_a_moment_ago_is_none(story):
    story.tell("IpClaimPool", pool(namespaces=["bank"]))
    story.hold(service("web", ONE))
    assert not story.violations()
    story.seconds += 60
    story.hold(service("mail", TWO), TWO)
    only(story, "shop/mail", TWO)
    # Who has it keeps it.
    story.tell("Service", service("web", shown=[ONE]))
    only(story, "shop/mail")


def test_foreign_addresses_are_for_others_to_show(story):
    others = {"loadBalancerClass": "example.com/other"}
    story.tell("Service", service("web", shown=["192.0.2.1"], **others))
    assert not story.violations()
    story.tell("Service", service("mail", shown=["192.0.2.1"]))
    story.tell("Service", service("web", "192.0.2.1", shown=["192.0.2.1"], **others))
    assert ["in no pool" in text for text in story.violations()[-2:]] == [True, True]


def test_what_others_show_is_let_through_while_nobody_can_be_asked(story):
    others = {"loadBalancerClass": "example.com/other"}
    story.hold(service("web", ONE))
    story.record.absent(story.seconds, story.seconds + 1)
    thief = service("thief", namespace="street", shown=[ONE], **others)
    story.tell("Service", thief)
    story.tell("Service", service("web", ONE))
    assert not story.violations()
    # Until it is taken away; then it's judged as ever.
    story.tell("Service", service("thief", namespace="street", **others))
    story.seconds += 60
    story.tell("Service", thief)
    assert len(story.violations()) == 3 and "street/thief" in story.violations()[0]


def test_nothing_else_is_let_through_then(story):
    story.record.absent(0, 100)
    story.tell("Service", service("web", shown=[ONE]))
    story.tell("Service", service("mail", TWO, loadBalancerClass="example.com/other"))
    assert ["without a claim" in text for text in story.violations()] == [True, True]


@pytest.mark.parametrize(
    "wrong", [{"uid": "older"}, {"name": "other"}, {"namespace": "bank"}, {"ports": ["TCP/25"]}]
)
def test_a_claim_that_says_something_else_is_seen(story, wrong):
    web = service("web", ONE)
    story.claim(entry(web, **wrong))
    story.tell("Service", web)
    only(story, "shop/web", ONE)


def test_an_entry_with_the_uid_of_another_is_seen(story):
    story.tell("Service", service("web"))
    story.claim(entry(service("thief"), uid="uid-shop-web"))
    only(story, "shop/thief", "shop/web")


def test_a_second_claim_of_an_address_is_seen(story):
    story.hold(service("web", ONE))
    story.claim(name="203-0-113-1-24")
    only(story, "203-0-113-1-24")


def test_a_claim_by_a_dry_run_is_seen(story):
    story.claim(entry(service("dry-web")))
    only(story, "dry run")


def test_a_violation_comes_with_what_led_to_it(story):
    story.tell("Service", service("web", ONE))
    assert "shop/web:\n" in story.record.report() and "without a claim" in story.record.report()


def resting(*services, entries=()):
    claims = [{"metadata": {"name": "a"}, "spec": {"cidr": f"{ONE}/32", "services": list(entries)}}]
    return at_rest(Snapshot(services, claims if entries else [], [pool()]))


def test_at_rest_a_claim_notes_the_ports_that_there_are():
    web = service("web", ONE, ipFamilies=["IPv4"])
    assert not resting(web, entries=[entry(web)])
    (found,) = resting(web, entries=[entry(web, ports=["TCP/80", "TCP/81"])])
    assert "TCP/81" in found and "shop/web" in found


def test_at_rest_nobody_waits_while_there_is_room():
    waits = service("web", ipFamilies=["IPv4"])
    (found,) = resting(waits)
    assert "shop/web waits" in found
    assert not resting(service("web", ipFamilies=["IPv4"], namespace="street"))
    assert not resting(service("web", ipFamilies=["IPv4"], loadBalancerClass="example.com/other"))
