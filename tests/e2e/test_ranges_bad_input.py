"""Malformed addresses, ranges and specifications: each is refused by its own words, all at once."""

import pytest

import objects

# Entries of spec.ranges that no range takes; each stands in a list whose other entries are sound.
WORDS = [
    "", " ", "-", "/", "#", "%", ",", "*", "any", "default", "localhost", "null", "true", "ten",
    "all of it", "10", "0", "-1", "4294967295", "0x0a000000", "1e3", "10.0.0.0/24,10.0.1.0/24",
    "10.0.0.0/24 10.0.1.0/24", "10.0.0.0;10.0.0.1", "10.0.0.*", "10.0.0.[0-9]", "{10.0.0.0/24}",
    '"10.0.0.0/24"', "http://10.0.0.0/24", "10.0.0.0:80", "<10.0.0.0>", "$(hostname)",
    "../10.0.0.0",
]  # fmt: skip
IPV4 = [
    "10", "10.0", "10.0.0", "10.0.0.", ".10.0.0.0", "10..0.0", "10.0.0.0.0", "10.0.0.0.",
    "10,0,0,0", "256.0.0.0", "10.256.0.0", "10.0.0.256", "10.0.0.999", "10.0.0.-1", "-10.0.0.0",
    "+10.0.0.0", "10.0.0.4294967296", "10.0.0.18446744073709551616", "99999999999999999999.0.0.0",
    "010.0.0.0", "10.00.0.0", "10.0.0.01", "10.0.0.0x1", "0xa.0.0.0", "1e1.0.0.0", "10.0.0.a",
    "10.0.0.0a", "10.0.0.0%eth0", "10.0.0.0%", "10. 0.0.0", "10.0.0 .0", "10.0.0.0\t/24",
    "١٠.٠.٠.٠", "10。0。0。0", "１０.0.0.0", "10.0.0.0\u200b", "\ufeff10.0.0.0", "10.0.0.0\u00a0",
    "10.0.0.０",
]  # fmt: skip
CIDRS = [
    "10.0.0.0/", "10.0.0.0//24", "10.0.0.0/24/", "10.0.0.0/24/24", "/24", "10.0.0.0/33",
    "10.0.0.0/128", "10.0.0.0/256", "10.0.0.0/-1", "10.0.0.0/+24", "10.0.0.0/024", "10.0.0.0/00",
    "10.0.0.0/ 24", "10.0.0.0 /24", "10.0.0.0/24.0", "10.0.0.0/2e1", "10.0.0.0/0x18", "10.0.0.0/a",
    "10.0.0.0/255.255.255.0", "10.0.0.0/4294967320", "10.0.0.0/18446744073709551640",
    "10.0.0.0/99999999999999999999999999", "10.0.0.0/٢٤", "10.0.0.0/²⁴", "10.0.0.1/24",
    "10.0.0.128/24", "10.0.0.1/0", "10.0.0.1/31", "10.0/16", "10/8",
]  # fmt: skip
SPANS = [
    "10.0.0.0-", "-10.0.0.9", "10.0.0.9-10.0.0.0", "10.0.0.1-10.0.0.0", "10.0.0.0--10.0.0.9",
    "10.0.0.0-10.0.0.9-10.0.0.19", "10.0.0.0-9", "10.0.0.0-10.0.0", "10.0.0.0-10.0.0.256",
    "10.0.0.0-10.0.0.0x9", "10.0.0.0-10.0.0.09", "10.0.0.0/24-10.0.1.0/24", "10.0.0.0-10.0.1.0/24",
    "10.0.0.0-fd00::9", "fd00::-10.0.0.9", "10.0.0.0–10.0.0.9", "10.0.0.0—10.0.0.9",
    "10.0.0.0..10.0.0.9", "10.0.0.0 to 10.0.0.9", "10.0.0.0-any", "any-10.0.0.0",
    "255.255.255.255-0.0.0.0", "10.0.0.0-10.0.0.99999999999",
]  # fmt: skip
IPV6 = [
    ":", ":::", "::1::", "fd00:::1", "fd00::1::2", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7::8:9", ":1:2:3:4:5:6:7", "1:2:3:4:5:6:7:", "fd00::g", "fd00::12345", "fd00::-1",
    "fd00::00001", "fd00::1%eth0", "fe80::1%1", "[fd00::1]", "[fd00::1]:80", "fd00::1.2.3",
    "fd00::1.2.3.256", "fd00::1.2.3.4.5", "1.2.3.4::", "::ffff:10.0.0.1", "::ffff:a00:1",
    "::ffff:10.0.0.0/120", "::ffff:10.0.0.0-::ffff:10.0.0.9", "fd00::/129", "fd00::/-1", "fd00::/",
    "fd00::/064", "fd00::/1000000000000", "fd00::1/64", "fd00::/64%eth0", "fd00::9-fd00::1",
    "fd00::-fd00::g", "fd00::1-", "-fd00::1", "fd00：：1", "fd00::1\u200b", "ｆd00::1",
    "10.0.0.0", "10.0.0.0/24", "10.0.0.0-10.0.0.9",
]  # fmt: skip
ENTRIES = {
    "words": ("192.168.0.0/24", WORDS),
    "IPv4 addresses": ("192.168.0.0/24", IPV4),
    "CIDRs": ("192.168.0.0/24", CIDRS),
    "first and last": ("192.168.0.0/24", SPANS),
    "IPv6": ("fd77::/64", IPV6),
    "IPv6 among IPv4": ("192.168.0.0/24", ["fd00::/64", "fd00::1", "fd00::-fd00::9", "::/0"]),
}

# Values of spec.request that are no form of it.
SPECS = [
    " ", "-", "/", "//", "#", "%", "/%", "#/", "%%8", "##300", "any", "null", "max", "24 ", " 24",
    "24a", "a24", "+24", "-1", "-24", "/-24", "%-1", "#-1", "129", "/129", "%129", "1000", "024",
    "/024", "%08", "#0300", "24.0", "2e1", "0x18", "#1e3", "#1.5", "# 300", "#300 ", "#ten",
    "#300/24", "#300#", "n/24", "-1/24", "+1/24", "1/", "1//24", "1/24/2", "1/%", "1/%%8", "1/-24",
    "1/129", "1/%129", "01/24", "1/024", " 1/24", "1/ 24", "1,2/24", "1-2/24",
    "18446744073709551640", "4294967320", "99999999999999999999999999999999999999",
    "10.0.0", "10.0.0.0.0", "10.0.0.256", "010.0.0.0", "10.0.0.0/33", "10.0.0.0/", "10.0.0.1/24",
    "10.0.0.0/024", "10.0.0.0-10.0.0.9", "10.0.0.0%eth0", "10.0.0.0/24 ", "10.0.0.0/24,10.0.1.0/24",
    "::ffff:10.0.0.1", "fd00::/129", "fd00::1/64", "fe80::1%eth0", "[fd00::1]", "fd00:::",
    "fd00::g", "٢٤", "２４", "/２４", "#٣٠٠", "24\u200b", "\ufeff24", "十/24", "²⁴", "24\n", "24\t",
    "2\t4", "\x7f",
]  # fmt: skip


# These are of a right form and ask for more than there can be: of no range they are held for wrong.
HUGE = [
    "340282366920938463463374607431768211456/128", "99999999999999999999999999999999999999999/24",
    "#340282366920938463463374607431768211457", "#99999999999999999999999999999999999999999",
]  # fmt: skip


def test_there_are_enough_of_them():
    assert sum(len(bad) for _, bad in ENTRIES.values()) >= 120
    for _, bad in ENTRIES.values():
        assert len(set(bad)) == len(bad)
    assert len(SPECS) >= 90 and len(set(SPECS)) == len(SPECS)


@pytest.fixture(autouse=True)
def lives_on(lab):
    """After each test the same process must still answer, and nothing is stored."""
    pid = lab.fleet.replicas[0].process.pid
    yield
    assert lab.fleet.replicas[0].process.pid == pid and lab.fleet.replicas[0].running()
    assert lab.try_create(objects.ip_range("sound", lab.namespace, "10.0.0.0/24"), dry_run=True).ok


def quoted(text):
    """How a message repeats a value: as it is, and cut if it is long."""
    return text[:24]


@pytest.mark.parametrize("kind", ENTRIES)
def test_every_bad_entry_is_named_and_all_are_named_at_once(lab, kind):
    sound, bad = ENTRIES[kind]
    # A sound one first says of which family the list is; others are in between.
    entries = [sound]
    for number, text in enumerate(bad):
        entries += [text] if number % 5 else [text, sound]
    answer = lab.try_create(objects.ip_range("bad", lab.namespace, *entries), dry_run=True)
    assert answer.status == 422 and answer.body["reason"] == "Invalid", answer
    causes = answer.body["details"]["causes"]
    expected = [f"spec.ranges[{n}]" for n, text in enumerate(entries) if text != sound]
    named = [cause["field"] for cause in causes]
    missing = [entries[int(f[12:-1])] for f in expected if f not in named]
    assert not missing, f"nothing is wrong with {missing}"
    # Each once, and the sound ones not at all; in their order.
    assert named == expected
    for cause in causes:
        text = entries[int(cause["field"][12:-1])]
        assert quoted(text) in cause["message"], (text, cause)
        assert len(cause["message"]) > len(quoted(text)) + 10, cause


def test_every_bad_specification_is_refused_and_the_forms_are_named(lab):
    lab.range("10.0.0.0/8", name="four")
    lab.range("fd00::/32", name="six")
    wrong = []
    for spec in SPECS + HUGE:
        for name in ("four", "six", "absent")[: 2 if spec in HUGE else 3]:
            answer = lab.try_create(lab.ask(name, spec, name="bad"), dry_run=True)
            causes = answer.body.get("details", {}).get("causes") or ()
            fields = [cause["field"] for cause in causes]
            if answer.status != 422 or fields != ["spec.request"]:
                wrong.append(f"{spec!r} of {name}: {answer.status} {fields} {answer.message[:200]}")
                continue
            message = causes[0]["message"]
            if quoted(spec) not in message or ("#300" not in message and spec not in HUGE):
                wrong.append(f"{spec!r} of {name}: {message}")
    assert not wrong, "\n".join(wrong)
    assert not lab.requests()


def test_what_is_right_for_one_family_is_wrong_for_the_other(lab):
    lab.range("10.0.0.0/8", name="four")
    lab.range("fd00::/32", name="six")
    for name, bad in (
        ("four", ["33", "/64", "%33", "#4294967297", "0/33", "fd00::/64", "fd00::1"]),
        ("six", ["10.0.0.0/24", "10.0.0.1"]),
    ):
        for spec in bad:
            answer = lab.try_create(lab.ask(name, spec), dry_run=True)
            assert answer.status == 422, (spec, answer)
            assert [c["field"] for c in answer.body["details"]["causes"]] == ["spec.request"]
            assert quoted(spec) in answer.message, answer


# (spec, fields that are wrong with it)
SHAPES = [
    ({}, {"spec.ranges"}),
    ({"ranges": []}, {"spec.ranges"}),
    ({"ranges": None}, {"spec.ranges"}),
    ({"ranges": "10.0.0.0/24"}, {"spec.ranges"}),
    ({"ranges": {"a": "10.0.0.0/24"}}, {"spec.ranges"}),
    ({"ranges": [["10.0.0.0", "10.0.0.9"]]}, {"spec.ranges[0]"}),
    ({"ranges": ["10.0.0.0/24", 10]}, {"spec.ranges[1]"}),
    ({"ranges": ["10.0.0.0/24", None]}, {"spec.ranges[1]"}),
    ({"ranges": ["10.0.0.0/24", {}]}, {"spec.ranges[1]"}),
    ({"ranges": ["10.0.0.0/24", "9" * 200]}, {"spec.ranges[1]"}),
    ({"ranges": ["10.0.0.0/24", "9" * 128]}, {"spec.ranges[1]"}),
    ({"ranges": ["10.0.0.0/24"], "mode": "firstmatch"}, {"spec.mode"}),
    ({"ranges": ["10.0.0.0/24"], "mode": "Random"}, {"spec.mode"}),
    ({"ranges": ["10.0.0.0/24"], "mode": 1}, {"spec.mode"}),
    ({"ranges": ["10.0.0.0/24"], "mode": ["FirstMatch"]}, {"spec.mode"}),
    ({"ranges": ["10.0.0.0/24"], "defaultPrefixLength": 33}, {"spec.defaultPrefixLength"}),
    ({"ranges": ["fd00::/64"], "defaultPrefixLength": 129}, {"spec.defaultPrefixLength"}),
    ({"ranges": ["10.0.0.0/24"], "defaultPrefixLength": "24"}, {"spec.defaultPrefixLength"}),
    ({"ranges": ["10.0.0.0/24"], "defaultPrefixLength": 24.5}, {"spec.defaultPrefixLength"}),
    ({"ranges": ["10.0.0.0/24"], "defaultPrefixLength": 1 << 40}, {"spec.defaultPrefixLength"}),
    ({"ranges": ["10.0.0.0/24"], "defaultPrefixLength": 1 << 70}, {"spec.defaultPrefixLength"}),
    (
        {"ranges": ["10.0.0.0/33", "10.0.0.0/24", "x"], "defaultPrefixLength": 99},
        {"spec.ranges[0]", "spec.ranges[2]", "spec.defaultPrefixLength"},
    ),
]
REQUEST_SHAPES = [
    ({}, {"spec.range"}),
    ({"range": {}}, {"spec.range.name"}),
    ({"range": {"name": ""}}, {"spec.range.name"}),
    ({"range": {"name": 5}}, {"spec.range.name"}),
    ({"range": "blue"}, {"spec.range"}),
    ({"range": {"name": "blue", "namespace": 7}}, {"spec.range.namespace"}),
    ({"range": {"name": "x" * 300}}, {"spec.range.name"}),
    ({"range": {"name": "blue"}, "request": 24}, {"spec.request"}),
    ({"range": {"name": "blue"}, "request": ["24"]}, {"spec.request"}),
    ({"range": {"name": "blue"}, "request": "2" * 129}, {"spec.request"}),
    ({"range": {"name": "blue"}, "description": 5}, {"spec.description"}),
    ({"range": {"name": "blue"}, "description": "x" * 5000}, {"spec.description"}),
    ({"range": {"name": ""}, "request": "x/24"}, {"spec.range.name", "spec.request"}),
]


@pytest.mark.parametrize("kind", ["IPAMRange", "IPAMRequest"])
def test_other_shapes_are_refused_by_their_fields(lab, kind):
    wrong = []
    for spec, fields in SHAPES if kind == "IPAMRange" else REQUEST_SHAPES:
        item = {"apiVersion": objects.IPAM, "kind": kind, "spec": spec}
        item["metadata"] = {"namespace": lab.namespace, "name": "bad"}
        answer = lab.try_create(item, dry_run=True)
        causes = (answer.body.get("details") or {}).get("causes") or ()
        named = {cause["field"] for cause in causes if cause["field"] != "<nil>"}
        # Each field once, or what it lies in, or what lies in it; and nothing else.
        if answer.status not in (400, 422) or not _match(named, fields):
            wrong.append(
                f"{str(spec)[:80]}: {answer.status} {sorted(named)} {answer.message[:300]}"
            )
    assert not wrong, "\n".join(wrong)


def _match(named, fields):
    return len(named) >= len(fields) and all(
        any(
            name == field or field.startswith(f"{name}.") or name.startswith(field)
            for field in fields
        )
        for name in named
    )


def test_sound_but_unusual_entries_are_taken(lab):
    for entries in (
        ["0.0.0.0"],
        ["255.255.255.255/32"],
        ["10.0.0.0/24", "10.0.0.0/24", "10.0.0.0-10.0.0.255", "10.0.0.7"],
        ["10.0.0.0 - 10.0.0.9"],
        ["10.0.0.9-10.0.0.9"],
        ["0.0.0.0-255.255.255.255"],
        ["::"],
        ["::/0"],
        ["::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
        ["FD00::A", "fd00:0:0:0:0:0:0:b", "fd00:0000:0000:0000:0000:0000:0000:000c"],
        ["64:ff9b::10.0.0.1"],
        ["fd00::1:0:0:1/128"],
    ):
        answer = lab.try_create(objects.ip_range("odd", lab.namespace, *entries), dry_run=True)
        assert answer.ok, (entries, answer)
