"""The checker itself: for made-up objects each invariant is broken once, and seen to be."""

import copy
import datetime
import subprocess

import pytest

import invariants
from invariants import Snapshot, check

NOW = datetime.datetime(2026, 1, 1, 12, 0, 0, tzinfo=datetime.timezone.utc)
LONG_AGO = "2026-01-01T11:00:00Z"
JUST_NOW = "2026-01-01T11:59:30Z"


def service(name, *ips, ingress=(), uid=None, ports=(80,)):
    return {
        "metadata": {
            "namespace": "shop",
            "name": name,
            "uid": uid or f"uid-{name}",
            "resourceVersion": "1",
        },
        "spec": {"externalIPs": list(ips), "ports": [{"port": port} for port in ports]},
        "status": {"loadBalancer": {"ingress": [{"ip": ip, "ipMode": "VIP"} for ip in ingress]}},
    }


def claim(cidr, *entries, name=None, created=LONG_AGO, pool="blue"):
    name = name or cidr.replace(".", "-").replace("/", "-")
    metadata = {"name": name, "uid": f"uid-{name}", "resourceVersion": "1"}
    metadata["creationTimestamp"] = created
    return {"metadata": metadata, "spec": {"cidr": cidr, "pool": pool, "services": list(entries)}}


def entry(name, uid, ports=("TCP/80",), since=LONG_AGO):
    return {
        "namespace": "shop",
        "name": name,
        "uid": uid,
        "ports": list(ports),
        "given": True,
        "since": since,
    }


def pool(used=2, total=6, free=4, **spec):
    return {
        "metadata": {"name": "blue", "uid": "uid-blue", "resourceVersion": "1"},
        "spec": spec or {"addresses": ["203.0.113.0/29"]},
        "status": {"ipv4": {"total": total, "used": used, "free": free}},
    }


@pytest.fixture
def sound():
    """Two Services with an address each, and one claim that an administrator holds by hand."""
    return Snapshot(
        [service("web", "203.0.113.1"), service("mail", ingress=["203.0.113.2"])],
        [
            claim("203.0.113.1/32", entry("web", "uid-web")),
            claim("203.0.113.2/32", entry("mail", "uid-mail")),
        ],
        [pool()],
    )


def found(snapshot, **options):
    return [(violation.rule, violation.text) for violation in check(snapshot, now=NOW, **options)]


def only(snapshot, rule, *words, **options):
    violations = found(snapshot, **options)
    assert [r for r, _ in violations] == [rule], violations
    for word in words:
        assert word in violations[0][1]


def test_sound_objects_have_no_violation(sound):
    assert found(sound) == []


def test_two_claims_of_one_address_are_seen_by_address_not_by_name(sound):
    twin = claim("203.0.113.1/24", entry("web", "uid-web"), name="203-0-113-1-24")
    only(sound._replace(claims=[*sound.claims, twin]), "I1", "203.0.113.1", "203-0-113-1-24")


def test_a_colliding_port_within_a_claim_is_seen(sound):
    sound.services[1] = service("mail", "203.0.113.1", ports=(25,))
    shared = claim("203.0.113.1/32", entry("web", "uid-web"), entry("mail", "uid-mail"))
    only(Snapshot(sound.services, [shared], [pool(1, 6, 5)]), "I1", "TCP/80", "shop/web")


def test_a_colliding_port_between_stored_services_is_seen(sound):
    sound.services[1] = service("mail", "203.0.113.1")
    shared = claim(
        "203.0.113.1/32", entry("web", "uid-web"), entry("mail", "uid-mail", ("TCP/25",))
    )
    only(Snapshot(sound.services, [shared], [pool(1, 6, 5)]), "I1", "TCP/80", "shop/mail")


def test_sharing_on_different_ports_is_sound(sound):
    sound.services[1] = service("mail", "203.0.113.1", ports=(25,))
    shared = claim(
        "203.0.113.1/32", entry("web", "uid-web"), entry("mail", "uid-mail", ("TCP/25",))
    )
    assert found(Snapshot(sound.services, [shared], [pool(1, 6, 5)])) == []


@pytest.mark.parametrize("index", [0, 1], ids=["externalIPs", "ingress"])
def test_an_address_without_a_claim_is_seen(sound, index):
    del sound.claims[index]
    name = ("shop/web", "shop/mail")[index]
    only(sound._replace(pools=[pool(1, 6, 5)]), "I2", name, "has no claim")


def test_an_address_claimed_for_another_is_seen(sound):
    sound.claims[0]["spec"]["services"][0]["name"] = "other"
    violations = found(sound, rules=("I2",))
    assert len(violations) == 1 and "is claimed for shop/other" in violations[0][1]


def test_a_claim_of_a_service_that_was_made_again_is_not_its_own(sound):
    sound.claims[0]["spec"]["services"][0]["uid"] = "an older one"
    assert [rule for rule, _ in found(sound)] == ["I2", "I3"]


@pytest.mark.parametrize("field", invariants.WHOLE)
def test_a_claim_that_leaves_something_open_is_seen(sound, field):
    # Also where the Service isn't stored yet, and so at every moment.
    sound.claims.append(claim("203.0.113.3/32", entry("new", "uid-new", since=JUST_NOW)))
    snapshot = sound._replace(pools=[pool(3, 6, 3)])
    assert found(snapshot) == []
    del sound.claims[-1]["spec"]["services"][0][field]
    assert "I2" in invariants.MOVING
    only(snapshot, "I2", "203-0-113-3-32", field, rules=("I2",))


def test_ports_and_given_may_be_empty_and_false(sound):
    sound.claims[0]["spec"]["services"][0].update(given=False, ports=[])
    assert found(sound) == []


def test_foreign_addresses_need_a_claim_unless_allowed(sound):
    sound.services.append(service("far", "198.51.100.9"))
    only(sound, "I2", "198.51.100.9")
    assert found(sound, foreign_allowed=True) == []
    sound.services[-1] = service("near", "203.0.113.3")
    only(sound, "I2", "203.0.113.3", foreign_allowed=True)


def test_a_claim_without_its_service_is_seen_after_the_grace(sound):
    del sound.services[0]
    only(sound, "I3", "203-0-113-1-32", "shop/web")
    sound.claims[0]["spec"]["services"][0]["since"] = JUST_NOW
    assert found(sound) == []
    only(sound, "I3", "30 s old", grace=20)


def test_a_claim_of_a_service_that_does_not_list_the_address_is_seen(sound):
    sound.services[0] = service("web")
    only(sound, "I3", "203-0-113-1-32", "shop/web")


def test_each_service_of_a_claim_has_an_age_of_its_own(sound):
    late = entry("late", "uid-late", ("TCP/81",), since=JUST_NOW)
    sound.claims[0]["spec"]["services"].append(late)
    assert found(sound) == []
    late["since"] = LONG_AGO
    only(sound, "I3", "shop/late")
    late["since"], sound.claims[0]["spec"]["services"][0]["since"] = JUST_NOW, LONG_AGO
    del sound.services[0]
    only(sound, "I3", "shop/web")


def test_a_claim_of_several_needs_each_of_them(sound):
    sound.claims[0]["spec"]["services"].append(entry("gone", "uid-gone", ("TCP/81",)))
    only(sound, "I3", "shop/gone")


def test_a_claim_that_is_held_by_hand_is_never_too_old(sound):
    sound.claims.append(claim("203.0.113.3/32"))
    assert found(sound._replace(pools=[pool(3, 6, 3)])) == []


@pytest.mark.parametrize(
    "wrong", [pool(1, 6, 5), pool(2, 8, 6), pool(2, 6, 3), pool(2, 5, 3, cidr="203.0.113.0/29")]
)
def test_wrong_counts_in_a_pool_are_seen(sound, wrong):
    only(sound._replace(pools=[wrong]), "I4", "blue")


def test_ranges_and_excludes_count(sound):
    spec = {"ranges": ["203.0.113.0-203.0.113.3", "203.0.113.9"], "exclude": ["203.0.113.3"]}
    assert found(sound._replace(pools=[pool(2, 4, 2, **spec)])) == []
    only(sound._replace(pools=[pool(2, 5, 3, **spec)]), "I4", "blue")


@pytest.mark.parametrize(
    "spec, total",
    [
        ({"addresses": ["203.0.113.0/29"]}, 6),
        ({"addresses": ["203.0.113.0/29"], "useNetworkAndBroadcast": True}, 8),
        ({"addresses": ["203.0.113.0-203.0.113.3", "203.0.113.8/31", "203.0.113.16/32"]}, 7),
        ({"cidr": "203.0.113.0/29"}, 6),
    ],
)
def test_what_an_entry_gives_counts(sound, spec, total):
    assert found(sound._replace(pools=[pool(2, total, total - 2, **spec)])) == []
    only(sound._replace(pools=[pool(2, total + 1, total - 1, **spec)]), "I4", "blue")


def test_what_the_older_version_gave_counts_as_used(sound):
    noted = {"203.0.113.1": "a", "203.0.113.5": "b", "203.0.113.200": "c", "web": "d"}
    spec = {"addresses": ["203.0.113.0/29"], "allocated": noted}
    assert found(sound._replace(pools=[pool(3, 6, 3, **spec)])) == []
    only(sound._replace(pools=[pool(2, 6, 4, **spec)]), "I4", "blue")


def test_a_claim_that_says_another_pool_is_seen(sound):
    sound.claims[0]["spec"]["pool"] = "green"
    only(sound, "I4", "203-0-113-1-32", "green")


def test_metrics_must_agree(sound):
    lines = ["# TYPE ipwarden_pool_addresses gauge"]
    for state, count in (("total", 6), ("used", 2), ("free", 4)):
        lines.append(
            f'ipwarden_pool_addresses{{pool="blue",family="ipv4",state="{state}"}} {count}'
        )
    good = invariants.parse_metrics("\n".join(lines))
    assert found(sound, metrics=[good]) == []
    lines[-1] = lines[-1].replace(" 4", " 5")
    bad = invariants.parse_metrics("\n".join(lines))
    only(sound, "I4", "replica 1", "free [5.0]", metrics=[good, bad])


def test_labels_may_hold_anything():
    parsed = invariants.parse_metrics('m{a="x,y=\\"z\\" {}",b="\\\\"} 1.5\nplain 2')
    assert parsed == {
        ("m", frozenset({("a", 'x,y="z" {}'), ("b", "\\")})): 1.5,
        ("plain", frozenset()): 2,
    }


def test_a_trace_of_a_dry_run_is_seen(sound):
    assert invariants.changes(sound, copy.deepcopy(sound)) == []
    after = copy.deepcopy(sound)
    after.claims.append(claim("203.0.113.3/32", entry("dry", "uid-dry")))
    after.pools[0]["metadata"]["resourceVersion"] = "2"
    del after.services[0]
    texts = [str(violation) for violation in invariants.changes(sound, after)]
    assert texts == [
        "I5: Service shop/web is gone",
        "I5: claim 203-0-113-3-32 is new",
        "I5: pool blue was written",
    ]


def ip_range(*entries, used=24, free=232, requests=2, pending=()):
    return {
        "metadata": {"namespace": "net", "name": "wide", "uid": "uid-wide", "resourceVersion": "1"},
        "spec": {"ranges": list(entries or ["10.0.0.0/24"])},
        "status": {
            "total": used + free,
            "used": used,
            "free": free,
            "requests": requests,
            "pending": [
                {"namespace": "net", "name": name, "uid": f"uid-{name}", "cidr": cidr}
                for name, cidr in pending
            ],
        },
    }


def request(name, cidr=None, reason="Ready", of="wide", deleting=False):
    metadata = {"namespace": "net", "name": name, "uid": f"uid-{name}", "resourceVersion": "1"}
    if deleting:
        metadata["deletionTimestamp"] = LONG_AGO
    ready = {"type": "Ready", "status": str(reason == "Ready"), "reason": reason}
    return {
        "metadata": metadata,
        "spec": {"range": {"name": of}},
        "status": {"conditions": [ready], **({"cidr": cidr} if cidr else {})},
    }


@pytest.fixture
def divided():
    """A range of 256 addresses, of which two requests have 24."""
    requests = [request("one", "10.0.0.0/28"), request("two", "10.0.0.16/29")]
    return Snapshot([], [], [], [ip_range()], requests)


def test_a_range_that_is_divided_has_no_violation(divided):
    assert found(divided) == []
    # What is pending and not written counts as given; what is written and still pending does once.
    pending = [("one", "10.0.0.0/28"), ("three", "10.0.0.24/29")]
    wide = ip_range(used=32, free=224, requests=3, pending=pending)
    later = [*divided.requests, request("three", reason="Busy")]
    assert [rule for rule, _ in found(divided._replace(ranges=[wide], requests=later))] == ["I3"]
    later[-1] = request("three", "10.0.0.24/29")
    assert found(divided._replace(ranges=[wide], requests=later)) == []


@pytest.mark.parametrize(
    "cidr, words",
    [
        ("10.0.0.8/29", ("10.0.0.0/28 of request net/one", "10.0.0.8/29")),
        ("10.0.0.0/28", ("net/one", "net/two")),
        ("10.0.0.0/27", ("net/one", "net/two")),
        ("10.0.1.0/28", ("lies outside", "net/two")),
        ("fd00::/64", ("lies outside", "net/two")),
    ],
)
def test_sub_networks_that_overlap_or_lie_outside_are_seen(divided, cidr, words):
    divided.requests[1] = request("two", cidr)
    only(divided, "I1", *words, rules=("I1",))


def test_one_within_another_is_seen_with_a_third_between(divided):
    inner = [request("two", "10.0.0.0/30"), request("three", "10.0.0.12/30")]
    requests = [request("one", "10.0.0.0/28"), *inner]
    violations = found(divided._replace(requests=requests), rules=("I1",))
    assert [rule for rule, _ in violations] == ["I1", "I1"]
    assert all("net/one" in text for _, text in violations)


def test_what_is_pending_overlaps_too(divided):
    wide = ip_range(pending=[("three", "10.0.0.8/29")])
    only(divided._replace(ranges=[wide]), "I1", "pending request net/three", rules=("I1",))
    wide = ip_range(pending=[("two", "10.0.0.24/29")])
    only(divided._replace(ranges=[wide]), "I1", "pending", "10.0.0.16/29", rules=("I1",))


def test_a_sub_network_of_a_request_that_is_going_is_not_free(divided):
    divided.requests[0] = request("one", "10.0.0.0/28", deleting=True)
    assert found(divided) == []
    divided.requests[1] = request("two", "10.0.0.8/29")
    only(divided, "I7", "net/one", rules=("I1",))


def test_two_ranges_may_overlap_each_other(divided):
    other = ip_range("10.0.0.0/24", used=8, free=248, requests=1)
    other["metadata"]["name"] = "other"
    requests = [*divided.requests, request("three", "10.0.0.0/29", of="other")]
    assert found(divided._replace(ranges=[*divided.ranges, other], requests=requests)) == []


def test_a_request_that_does_not_say_how_it_is_is_seen(divided):
    divided.requests[1]["status"] = {"cidr": "10.0.0.16/29"}
    only(divided, "I3", "net/two", "no condition")
    divided.requests[1] = request("two", "10.0.0.16/29", reason="Busy")
    only(divided, "I3", "net/two", "is Busy and has 10.0.0.16/29")
    divided.requests[1] = request("two", reason="RangeNotFound")
    only(divided, "I3", "net/two", "net/wide", rules=("I3",))


def test_a_cidr_in_conflict_is_not_held(divided):
    divided.requests.append(request("three", "10.0.0.8/29", reason="Conflict"))
    assert found(divided._replace(ranges=[ip_range(requests=3)])) == []


@pytest.mark.parametrize(
    "wrong",
    [
        ip_range(used=25, free=231),
        ip_range(used=24, free=231),
        ip_range(requests=3),
        ip_range("10.0.0.0-10.0.0.254"),
        ip_range("10.0.0.0/24", "10.0.1.0"),
    ],
)
def test_wrong_counts_in_a_range_are_seen(divided, wrong):
    only(divided._replace(ranges=[wrong]), "I4", "net/wide")


def test_entries_that_overlap_count_once(divided):
    entries = ["10.0.0.128-10.0.0.255", "10.0.0.0/25", "10.0.0.0 - 10.0.0.99", "10.0.0.7"]
    assert found(divided._replace(ranges=[ip_range(*entries)])) == []


def test_metrics_of_ranges_must_agree(divided):
    text = """
ipwarden_range_addresses{namespace="net",range="wide",state="used"} 24
ipwarden_range_addresses{namespace="net",range="wide",state="free"} 232
ipwarden_requests{state="ready"} 2
ipwarden_requests{state="waiting"} 0
"""
    good = invariants.parse_metrics(text)
    assert found(divided, metrics=[good]) == []
    bad = invariants.parse_metrics(text.replace(" 232", " 231"))
    only(divided, "I4", "replica 1", "free 231.0", metrics=[good, bad])
    bad = invariants.parse_metrics(text.replace('waiting"} 0', 'waiting"} 1'))
    only(divided, "I4", "replica 0", "waiting", metrics=[bad])


def test_a_sub_network_that_changes_is_seen(divided):
    after = copy.deepcopy(divided)
    assert invariants.freed(divided, after) == []
    after.requests[0]["status"]["cidr"] = "10.0.0.32/28"
    del after.requests[1]["status"]["cidr"]
    texts = [str(violation) for violation in invariants.freed(divided, after)]
    assert texts == [
        "I8: request net/one had 10.0.0.0/28 and has 10.0.0.32/28",
        "I8: request net/two had 10.0.0.16/29 and has None",
    ]
    del after.requests[:]
    assert invariants.freed(divided, after) == []


def test_a_pool_from_a_request_has_the_addresses_of_its_sub_network(sound, divided):
    made = pool(2, 6, 4, fromRequest={"namespace": "net", "name": "one"})
    noted = {"namespace": "net", "name": "one", "uid": "uid-one", "cidr": "203.0.113.0/29"}
    made["status"]["request"] = noted
    sound = sound._replace(pools=[made], ranges=divided.ranges, requests=divided.requests)
    sound.requests[0]["status"]["cidr"] = "203.0.113.0/29"
    sound.ranges[0] = ip_range("203.0.113.0/29", "10.0.0.16/29", used=16, free=0)
    assert found(sound) == []
    sound.requests[0] = request("one", reason="Busy")
    sound.ranges[0] = ip_range("203.0.113.0/29", "10.0.0.16/29", used=8, free=8)
    assert found(sound) == []
    # While none is noted, a pool counts the claims in its name.
    del made["status"]["request"]
    only(sound, "I4", "pool blue", "'total': 2")


def test_the_command_checks_a_cluster_and_tells_by_its_exit_code(lab):
    def run(*arguments):
        return subprocess.run(
            [invariants.__file__, "--kubeconfig", lab.cluster.kubeconfig, *arguments],
            capture_output=True,
            text=True,
            check=False,
        )

    lab.pool(size=2)
    lab.create(lab.service(auto=True))
    lab.check_at_rest()
    port = lab.fleet.replicas[0].ports["metrics"]
    done = run("--grace", "0", "--metrics", f"http://127.0.0.1:{port}/metrics")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ": 0 violations" in done.stderr
    lab.fleet.stop()
    lab.delete_services()
    done = run("--grace", "0")
    assert done.returncode == 1 and done.stdout.startswith("I3: claim ")


def test_an_address_that_moves_is_seen(sound):
    after = copy.deepcopy(sound)
    assert invariants.moved(sound, after) == []
    after.services[0]["spec"]["externalIPs"] = ["203.0.113.5"]
    texts = [violation.text for violation in invariants.moved(sound, after)]
    assert texts == ["Service shop/web had ['203.0.113.1'] and has ['203.0.113.5']"]


def test_an_address_that_is_freed_is_seen(sound):
    after = copy.deepcopy(sound)
    assert invariants.freed(sound, after) == []
    after.claims[0]["metadata"]["uid"] = "another"
    del after.claims[1]
    texts = [violation.text for violation in invariants.freed(sound, after)]
    assert texts == [
        "203.0.113.1 of Service shop/web was freed: claim 203-0-113-1-32 is another one",
        "203.0.113.2 of Service shop/mail was freed: claim 203-0-113-2-32 is gone",
    ]
    # What a Service doesn't list any more may go.
    after.services[0]["spec"]["externalIPs"] = []
    after.services[1]["status"] = {}
    assert invariants.freed(sound, after) == []
