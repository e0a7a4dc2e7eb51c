"""Sub-networks on request: ranges and requests as a user makes them and reads them."""

import ipaddress
import itertools
import statistics
import time

import pytest

import invariants
import objects
from harness import FULL, parallel, wait_until

PIECES = ["10.0.0.0/22", "10.0.8.0/24", "10.0.12.16-10.0.12.47"]
SIX = ["fd00:1::/48"]
# (entries of the range, its default size, what is requested, what a fresh range gives)
FORMS = [
    (PIECES, None, "24", "10.0.8.0/24"),
    (PIECES, None, "/24", "10.0.8.0/24"),
    (PIECES, None, "/25", "10.0.8.0/25"),
    (PIECES, None, "22", "10.0.0.0/22"),
    (PIECES, None, "%8", "10.0.8.0/24"),
    (PIECES, None, "/%10", "10.0.0.0/22"),
    (PIECES, None, "#300", "10.0.0.0/23"),
    (PIECES, None, "#16", "10.0.12.16/28"),
    (PIECES, None, "#1", "10.0.12.16/32"),
    (PIECES, None, "2/24", "10.0.2.0/24"),
    (PIECES, None, "4/24", "10.0.8.0/24"),
    (PIECES, None, "3/%8", "10.0.3.0/24"),
    (PIECES, None, "10.0.1.0/24", "10.0.1.0/24"),
    (PIECES, None, "10.0.12.40/30", "10.0.12.40/30"),
    (PIECES, None, "10.0.1.7", "10.0.1.7/32"),
    (PIECES, None, None, "10.0.12.16/32"),
    (PIECES, None, "", "10.0.12.16/32"),
    (PIECES, 0, None, "10.0.12.16/32"),
    (PIECES, -1, None, "10.0.12.16/32"),
    (PIECES, 26, None, "10.0.8.0/26"),
    (PIECES, 26, "", "10.0.8.0/26"),
    (PIECES, 26, "32", "10.0.12.16/32"),
    (SIX, None, "64", "fd00:1::/64"),
    (SIX, None, "/%64", "fd00:1::/64"),
    (SIX, None, "#18446744073709551616", "fd00:1::/64"),
    (SIX, None, "65535/64", "fd00:1:0:ffff::/64"),
    (SIX, None, "2/%64", "fd00:1:0:2::/64"),
    (SIX, None, "fd00:1:0:7::/64", "fd00:1:0:7::/64"),
    (SIX, None, "FD00:1:0:0:0:0:0:1", "fd00:1::1/128"),
    (SIX, None, None, "fd00:1::/128"),
    (SIX, 56, None, "fd00:1::/56"),
]


def test_every_form_of_a_request_gets_what_it_says(lab):
    made = []
    for entries, default, wanted, expected in FORMS:
        size = {} if default is None else {"defaultPrefixLength": default}
        chosen = lab.range(*entries, wait=False, **size)
        made.append((lab.create(lab.ask(chosen, wanted)), entries, default, wanted, expected))
    wrong = [
        f"{entries} default {default} request {wanted!r}: {given}, not {expected}"
        for request, entries, default, wanted, expected in made
        if (given := objects.cidr(lab.granted(request))) != expected
    ]
    assert not wrong, "\n".join(wrong)
    lab.check_at_rest()


def test_requests_are_granted_one_after_the_other(lab):
    chosen = lab.range("10.0.0.0/16", defaultPrefixLength=28)
    seconds = []
    for _ in range(40):
        request = lab.create(lab.ask(chosen))
        began = time.monotonic()
        path = objects.path_of(request)
        wait_until(lambda path=path: objects.cidr(lab.read(path).body), "a CIDR")
        seconds.append(time.monotonic() - began)
    median = statistics.median(seconds)
    print(f"granted after {median * 1000:.0f} ms at the median, {max(seconds) * 1000:.0f} at most")
    lab.check_at_rest()


def test_2000_requests_are_all_granted(lab):
    count = 2000 if FULL else 400
    chosen = lab.range("10.0.0.0/8", defaultPrefixLength=26)
    began = time.monotonic()
    parallel(16, lambda n: lab.create(lab.ask(chosen, name=f"q-{n}")), range(count))

    def granted():
        return sum(bool(objects.cidr(request)) for request in lab.requests())

    wait_until(lambda: granted() == count, lambda: f"{count} grants, not {granted()}")
    seconds = time.monotonic() - began
    print(f"{count} requests created and granted in {seconds:.1f} s")
    lab.check_at_rest()
    # Given one after the other, and none of the room between them is lost.
    given = sorted(ipaddress.ip_network(objects.cidr(request)) for request in lab.requests())
    blocks = ipaddress.ip_network("10.0.0.0/8").subnets(new_prefix=26)
    assert given == list(itertools.islice(blocks, count))
    for request in lab.requests():
        lab.delete({**request, "kind": "IPAMRequest"})
    wait_until(lambda: not _used(lab, chosen), "all of it to be free again")
    lab.check_at_rest()
    # Events are written by and by; the next test's shall not wait for those of so many.
    lab.fleet.stop()


def test_what_is_left_out_is_filled_in(lab):
    chosen = lab.create(objects.ip_range("plain", lab.namespace, "10.0.0.0/24"))
    assert chosen["spec"] == {"mode": "FirstMatch", "ranges": ["10.0.0.0/24"]}
    request = lab.create(lab.ask("plain"))
    assert request["spec"] == {"range": {"name": "plain", "namespace": lab.namespace}}
    lab.granted(request)
    other = lab.create(objects.ip_range("other", lab.namespace, "10.0.1.0/24", mode="RoundRobin"))
    assert other["spec"]["mode"] == "RoundRobin"


def test_a_request_may_refer_to_a_range_of_another_namespace(lab):
    elsewhere = lab.add_namespace(f"{lab.name}-x")
    here = lab.range("10.1.0.0/24", name="same")
    there = lab.range("10.2.0.0/24", name="same", namespace=elsewhere)
    requests = {
        "10.1.0.0/32": lab.ask(here),
        "10.2.0.0/32": lab.ask(there),
        "10.2.0.1/32": lab.ask(there, namespace=elsewhere),
        "10.1.0.1/32": lab.ask(here, namespace=elsewhere),
    }
    for cidr, request in requests.items():
        assert objects.cidr(lab.granted(lab.create(request))) == cidr
    assert lab.get(here)["status"]["requests"] == lab.get(there)["status"]["requests"] == 2
    lab.check_at_rest()


def test_a_request_that_comes_before_its_range_is_served_when_that_comes(lab):
    requests = [lab.create(lab.ask("later", "/28")) for _ in range(3)]
    for request in requests:
        stored = lab.is_for_reason(request, "RangeNotFound")
        condition = objects.condition(stored, "Ready")
        assert condition["status"] == "False" and f"{lab.namespace}/later" in condition["message"]
        assert not objects.cidr(stored)
    # A range of that name elsewhere is another one.
    lab.range("10.9.0.0/24", name="later", namespace=lab.add_namespace(f"{lab.name}-x"))
    lab.range("10.0.0.0/24", name="later")
    given = {objects.cidr(lab.granted(request)) for request in requests}
    assert given == {"10.0.0.0/28", "10.0.0.16/28", "10.0.0.32/28"}
    lab.check_at_rest()


def test_one_that_can_never_be_served_is_refused_and_says_why(lab):
    chosen = lab.range("10.0.0.0/24", "10.0.2.0/25")
    for wanted in ("23", "%9", "#257", "2/24", "3/25", "10.1.0.0/24", "10.0.2.128", "fd00::/64"):
        answer = lab.try_create(lab.ask(chosen, wanted))
        assert answer.status == 422, (wanted, answer)
        assert [c["field"] for c in answer.body["details"]["causes"]] == ["spec.request"], answer
        assert wanted in answer.message and f"{lab.namespace}/" in answer.message, answer
    assert not lab.requests()


def test_one_that_its_range_can_never_serve_says_so_when_the_range_comes(lab):
    request = lab.create(lab.ask("small", "24"))
    lab.is_for_reason(request, "RangeNotFound")
    lab.range("10.0.0.0/25", name="small")
    condition = objects.condition(lab.is_for_reason(request, "Invalid"), "Ready")
    assert condition["status"] == "False" and "24" in condition["message"], condition
    assert "24" in lab.event(request, "Invalid")
    lab.check_at_rest()


def test_tables_are_readable(lab):
    chosen = lab.range("10.0.0.0/24", "10.0.2.0/26", name="blue", defaultPrefixLength=28)
    lab.granted(lab.create(lab.ask(chosen, name="default", description="for the printers")))
    lab.granted(lab.create(lab.ask(chosen, "/26", name="quarter")))
    lab.create(lab.ask(chosen, "10.0.0.0/24", name="all"))
    lab.is_for_reason(lab.ask(chosen, name="all"), "Busy")
    lab.check_at_rest()

    def table(kind, *arguments):
        lines = lab.kubectl("get", kind, *arguments).stdout.splitlines()
        return lines[0].split(), [line.split() for line in lines[1:]]

    head, ((name, mode, used, free, total, requests, ready, _),) = table("iprange")
    assert head == "NAME MODE USED FREE TOTAL REQUESTS READY AGE".split()
    assert (name, mode, used, free) == ("blue", "FirstMatch", "80", "240")
    assert (total, requests, ready) == ("320", "3", "True")
    head, rows = table("iprange", "--output", "wide")
    assert head[-3:] == ["RANGES", "DEFAULT", "REASON"]
    assert rows[0][-3:] == ['["10.0.0.0/24","10.0.2.0/26"]', "28", "Serving"]

    head, rows = table("ipreq")
    assert head == "NAME RANGE REQUEST CIDR READY REASON AGE".split()
    assert ["all", "blue", "10.0.0.0/24", "False", "Busy"] == rows[0][:-1]
    assert ["default", "blue", "10.0.2.0/28", "True", "Ready"] == rows[1][:-1]
    assert ["quarter", "blue", "/26", "10.0.0.0/26", "True", "Ready"] == rows[2][:-1]
    assert "for the printers" in lab.kubectl("get", "ipreq", "--output", "wide").stdout
    both = lab.kubectl("get", "ipwarden").stdout
    assert "ipamrange.ipam.mandelsoft.org/blue" in both and "/quarter" in both


def test_kubectl_explain_reads_like_documentation(lab):
    text = lab.kubectl("explain", "ipreq.spec", namespace=False).stdout
    assert "#300" in text and "host bits" in text
    for kind in ("ipamranges", "ipamrequests"):
        text = lab.kubectl("explain", kind, "--recursive", namespace=False).stdout
        assert "conditions" in text and "spec" in text
        # Every field has a description.
        schema = lab.request("GET", "/openapi/v3/apis/ipam.mandelsoft.org/v1beta1").body
        model = next(
            m
            for m in schema["components"]["schemas"].values()
            if m.get("x-kubernetes-group-version-kind", [{}])[0].get("kind", "").lower() + "s"
            == kind
        )
        assert not list(_undescribed(model["properties"]["spec"], "spec"))
        assert not list(_undescribed(model["properties"]["status"], "status"))


def _undescribed(schema, path):
    if "description" not in schema and not path.endswith("[]"):
        yield path
    for name, part in (schema.get("properties") or {}).items():
        yield from _undescribed(part, f"{path}.{name}")
    if "items" in schema:
        yield from _undescribed(schema["items"], f"{path}[]")


def test_events_tell_what_was_given_and_taken_back(lab):
    chosen = lab.range("10.0.0.0/31")
    request = lab.granted(lab.create(lab.ask(chosen, "31", name="first")))
    assert "10.0.0.0/31" in lab.event(request, "Allocated")
    message = lab.event(chosen, "Allocated")
    assert "10.0.0.0/31" in message and f"{lab.namespace}/first" in message
    late = lab.create(lab.ask(chosen, name="late"))
    assert lab.event(late, "Busy")
    lab.delete(request)
    message = lab.event(chosen, "Released")
    assert "10.0.0.0/31" in message
    assert "10.0.0.0/32" in lab.event(late, "Allocated")


def test_conditions_follow_the_convention(lab):
    chosen = lab.range("10.0.0.0/24")
    request = lab.create(lab.ask(chosen))
    for item, reason in ((chosen, "Serving"), (request, "Ready")):
        stored = lab.is_for_reason(item, reason)
        condition = objects.condition(stored, "Ready")
        assert condition["status"] == "True" and "message" in condition
        assert condition["observedGeneration"] == stored["metadata"]["generation"]
        assert stored["status"]["observedGeneration"] == stored["metadata"]["generation"]
        assert condition["lastTransitionTime"].endswith("Z")
    assert objects.RANGE_FINALIZER in lab.get(chosen)["metadata"]["finalizers"]


def test_what_goes_is_free_again(lab):
    chosen = lab.range("10.0.0.0/29")
    requests = [lab.granted(lab.create(lab.ask(chosen, "31"))) for _ in range(4)]
    lab.check_at_rest()
    assert lab.get(chosen)["status"]["free"] == 0
    for request in requests[1:3]:
        lab.delete(request)
    lab.check_at_rest()
    # The two halves have joined, as far as they are buddies.
    lab.is_for_reason(lab.create(lab.ask(chosen, "30", name="large")), "Busy")
    lab.delete(requests[3])
    assert objects.cidr(lab.granted(lab.ask(chosen, name="large"))) == "10.0.0.4/30"
    lab.check_at_rest()


def test_round_robin_goes_on_and_begins_anew(lab):
    chosen = lab.range("10.0.0.0/29", mode="RoundRobin")
    given = []
    for _ in range(10):
        request = lab.granted(lab.create(lab.ask(chosen)))
        given.append(int(ipaddress.ip_network(objects.cidr(request))[0]) & 7)
        lab.delete(request)
        # Were it not for the pointer, the next one would get it again.
        wait_until(lambda: not _used(lab, chosen), "it to be free again")
    assert given == [0, 1, 2, 3, 4, 5, 6, 7, 0, 1]
    # Each size has a pointer of its own.
    assert objects.cidr(lab.granted(lab.create(lab.ask(chosen, "30")))) == "10.0.0.0/30"
    pointers = lab.get(chosen)["status"]["roundRobin"]
    assert sorted(pointers) == ["10.0.0.2/32", "10.0.0.4/30"]


def _used(lab, range_):
    """How many addresses of the range are used, as the replica knows it; the status comes later."""
    metadata = range_["metadata"]
    return lab.fleet.count(
        "ipwarden_range_addresses",
        namespace=metadata["namespace"],
        range=metadata["name"],
        state="used",
    )


def test_overlapping_ranges_are_warned_of(lab):
    lab.range("10.77.0.0/16", name="first")
    second = objects.ip_range("second", lab.namespace, "10.76.0.0/24", "10.77.5.0-10.77.5.9")
    done = lab.apply(second)
    assert "created" in done.stdout
    assert "Warning:" in done.stderr and f"{lab.namespace}/first" in done.stderr, done.stderr
    assert "10.77.5.0" in done.stderr
    # The one gives what the other gives; that is what was warned of.
    wanted = "10.77.5.0/31"
    for name in ("first", "second"):
        assert objects.cidr(lab.granted(lab.create(lab.ask(name, wanted)))) == wanted
    lab.check_at_rest()
    third = objects.ip_range("third", lab.namespace, "10.75.0.0/16")
    assert "Warning" not in lab.apply(third).stderr


def test_a_dry_run_leaves_no_trace(lab):
    chosen = lab.range("10.0.0.0/30")
    lab.granted(lab.create(lab.ask(chosen)))
    lab.check_at_rest()
    before = lab.snapshot()
    assert lab.try_create(objects.ip_range("dry", lab.namespace, "10.0.1.0/24"), dry_run=True).ok
    for wanted in ("31", "10.0.0.2", "32"):
        assert lab.try_create(lab.ask(chosen, wanted), dry_run=True).ok
    lab.check_at_rest()
    found = invariants.changes(before, lab.snapshot())
    assert not found, "\n".join(map(str, found))
    # Had one of them held anything, this would wait.
    lab.granted(lab.create(lab.ask(chosen, "10.0.0.2/31")))


def test_10000_entries_in_one_range(lab):
    network = ipaddress.ip_network("10.0.0.0/8")
    blocks = list(itertools.islice(network.subnets(new_prefix=28), 0, 20000, 2))
    assert len(blocks) == 10000
    # In some order: neighbours changed places.
    chosen = lab.range(*(blocks[n ^ 1] for n in range(len(blocks))))
    assert lab.get(chosen)["status"]["total"] == 160000
    requests = {
        "28": blocks[0],
        "9999/28": blocks[9999],
        str(blocks[5000]): blocks[5000],
        f"{blocks[77][3]}": f"{blocks[77][3]}/32",
    }
    for wanted, expected in requests.items():
        request = lab.granted(lab.create(lab.ask(chosen, wanted)))
        assert objects.cidr(request) == str(expected)
    answer = lab.try_create(lab.ask(chosen, "27"))
    assert answer.status == 422 and "27" in answer.message
    lab.check_at_rest()
    more = objects.ip_range("more", lab.namespace, *blocks, "192.168.0.0/24")
    answer = lab.try_create(more)
    assert answer.status == 422 and "spec.ranges" in answer.message


@pytest.mark.parametrize("everything", ["::/0", "0.0.0.0/0"])
def test_a_range_of_all_addresses_there_are(lab, everything):
    network = ipaddress.ip_network(everything)
    chosen = lab.range(everything, name="all")
    total = lab.get(chosen)["status"]["total"]
    assert int(total) == network.num_addresses
    assert isinstance(total, int if network.version == 4 else str)
    half = objects.cidr(lab.granted(lab.create(lab.ask(chosen, "1", name="half"))))
    assert half == f"{network[0]}/1"
    last = lab.granted(lab.create(lab.ask(chosen, str(network[-1]), name="last")))
    assert objects.cidr(last) == f"{network[-1]}/{network.max_prefixlen}"
    lab.check_at_rest()
    # All of it, when all of it is free.
    whole = lab.create(lab.ask(chosen, "0", name="whole"))
    lab.is_for_reason(whole, "Busy")
    lab.delete(last)
    lab.delete(lab.ask(chosen, name="half"))
    assert objects.cidr(lab.granted(whole)) == everything
    status = lab.get(chosen)["status"]
    assert int(status["used"]) == network.num_addresses and int(status["free"]) == 0
    one = lab.create(lab.ask(chosen, name="one"))
    lab.is_for_reason(one, "Busy")
    lab.check_at_rest()
    # That is known from its text alone, too.
    lab.fleet.stop()
    lab.fleet.start()
    lab.delete(one)
    lab.is_for_reason(lab.create(lab.ask(chosen, name="two")), "Busy")
    lab.check_at_rest()
