"""The checkers of I7 on made-up lists: what they find, and what they must not."""

import struct

import frames
import kernel_addresses
from invariants_nodes import (
    Change,
    Heard,
    disagreements,
    overlaps,
    touched,
    two_answers,
)

A, B = "203.0.113.100", "203.0.113.101"
MAC_1, MAC_2 = "02:00:00:00:00:01", "02:00:00:00:00:02"
NAMES = {MAC_1: "node-1", MAC_2: "node-2"}


def held(at, node, address=A, marked=True):
    return Change(at, node, address, True, marked)


def lost(at, node, address=A, marked=True):
    return Change(at, node, address, False, marked)


def cut(at, name):
    return at, "", {"cut": {name}}


def joined(at, name):
    return at, "", {"joined": {name}}


def parted(at, *names):
    return at, "", {"parted": frozenset(names)}


def healed(at):
    return at, "", {"healed": True}


def answers(mac, began, ended, address=A, pace=0.1):
    count = round((ended - began) / pace)
    return [Heard(began + i * pace, address, mac) for i in range(count + 1)]


def merged(*lists):
    return sorted(sum(lists, []))


# Kernels


def test_one_after_the_other_is_fine():
    changes = [held(1, "node-1"), lost(2, "node-1"), held(2.01, "node-2")]
    assert overlaps(changes, [], 9) == []


def test_two_kernels_at_once():
    changes = [held(1, "node-1"), held(3, "node-2"), lost(3.2, "node-1")]
    found = overlaps(changes, [], 9)
    assert [(f.address, f.at, round(f.seconds, 3)) for f in found] == [(A, 3, 0.2)]
    assert "node-1 and node-2" in str(found[0])


def test_two_kernels_until_the_end():
    found = overlaps([held(1, "node-1"), held(3, "node-2")], [], 9)
    assert [f.seconds for f in found] == [6]


def test_less_than_can_be_told_is_not_found():
    assert overlaps([held(1, "node-1"), held(3, "node-2"), lost(3.04, "node-1")], [], 9) == []


def test_other_addresses_have_nothing_to_do_with_it():
    assert overlaps([held(1, "node-1"), held(2, "node-2", B)], [], 9) == []
    both = [held(1, "node-1"), held(2, "node-2")]
    assert overlaps(both, [], 9, addresses={B}) == []
    assert len(overlaps(both, [], 9, addresses={A})) == 1


def test_the_same_address_told_twice_is_held_once():
    changes = [held(1, "node-1"), held(1.1, "node-1"), lost(2, "node-1"), held(3, "node-2")]
    assert overlaps(changes, [], 9) == []


def test_who_is_cut_off_hears_nobody():
    changes = [held(1, "node-1"), held(3, "node-2")]
    assert overlaps(changes, [cut(2, "node-1")], 9) == []
    assert overlaps(changes, [cut(2, "node-2")], 9) == []
    assert len(overlaps(changes, [cut(2, "node-3")], 9)) == 1


def test_who_comes_back_has_a_second():
    history = [cut(2, "node-1"), joined(5, "node-1")]
    changes = [held(1, "node-1"), held(3, "node-2")]
    assert overlaps([*changes, lost(5.9, "node-1")], history, 9) == []
    found = overlaps([*changes, lost(6.5, "node-1")], history, 9)
    assert [(f.at, f.seconds) for f in found] == [(6, 0.5)]


def test_before_the_cut_counts_too():
    changes = [held(1, "node-1"), held(1, "node-2")]
    found = overlaps(changes, [cut(2, "node-1")], 9)
    assert [(f.at, f.seconds) for f in found] == [(1, 1)]


def test_parted_are_those_that_were_named():
    changes = [held(1, "node-1"), held(3, "node-2")]
    assert overlaps(changes, [parted(2, "node-1", "node-2")], 9) == []
    assert len(overlaps(changes, [parted(2, "node-1", "node-3")], 9)) == 1
    history = [parted(2, "node-1", "node-2"), healed(4)]
    assert len(overlaps(changes, history, 9)) == 1


# The wire


def test_a_handover_is_fine():
    heard = merged(answers(MAC_1, 1, 3), answers(MAC_2, 3.1, 5))
    assert two_answers(heard, [], NAMES) == []


def test_two_that_answer_side_by_side():
    heard = merged(answers(MAC_1, 1, 5), answers(MAC_2, 2, 6))
    found = two_answers(heard, [], NAMES)
    assert [(f.address, f.at, round(f.seconds, 3)) for f in found] == [(A, 2, 3)]
    assert "node-1" in str(found[0]) and MAC_2 in str(found[0])


def test_side_by_side_for_a_second_is_allowed():
    heard = merged(answers(MAC_1, 1, 3), answers(MAC_2, 2.1, 6))
    assert two_answers(heard, [], NAMES) == []


def test_two_that_take_turns_after_silence():
    heard = merged(answers(MAC_1, 1, 2), answers(MAC_2, 3, 4), answers(MAC_1, 5, 6))
    assert two_answers(heard, [], NAMES) == []


def test_two_that_do_not_hear_each_other():
    heard = merged(answers(MAC_1, 1, 9), answers(MAC_2, 2, 9))
    assert two_answers(heard, [parted(1.5, "node-1", "node-2")], NAMES) == []
    found = two_answers(heard, [parted(1.5, "node-1", "node-2"), healed(7.5)], NAMES)
    assert [(f.at, round(f.seconds, 3)) for f in found] == [(7.5, 1.5)]
    assert two_answers(heard, [parted(1.5, "node-1", "node-2"), healed(8.5)], NAMES) == []


def test_a_stranger_is_heard_by_all():
    heard = merged(answers(MAC_1, 1, 9), answers("02:00:00:00:00:99", 2, 9))
    assert len(two_answers(heard, [], NAMES)) == 1


# Claims


def claim(address=A, node="node-1", bound="node-1", **spec):
    spec = {"cidr": f"{address}/32", **({"nodeName": node} if node else {}), **spec}
    return {"spec": spec, "status": {"boundNode": bound}}


def test_agreement():
    held_now = {"node-1": {A: True}, "node-2": {}}
    assert disagreements([claim()], held_now) == []


def test_disagreements():
    kernels = {"node-1": {A: True}, "node-2": {}}
    cases = [
        (claim(bound="node-2"), kernels),
        (claim(node="node-2", bound="node-2"), kernels),
        (claim(bound=""), kernels),
        (claim(), {"node-1": {}, "node-2": {}}),
        (claim(), {"node-1": {A: True}, "node-2": {A: True}}),
    ]
    for one, have in cases:
        assert len(disagreements([one], have)) == 1, (one, have)


def test_what_no_claim_names():
    kernels = {"node-1": {A: True, B: True}}
    assert [f.address for f in disagreements([claim()], kernels)] == [B]
    by_hand = {"node-1": {A: True, B: False}}
    assert disagreements([claim()], by_hand) == []


def test_claims_without_a_node_are_not_judged():
    kernels = {"node-1": {}}
    assert disagreements([claim(node=None, bound="")], kernels) == []
    assert disagreements([claim(node=None, bound="", announce="AllNodes")], kernels) == []


# Marks


def test_only_marked_addresses_are_removed():
    assert touched([held(1, "node-1"), lost(2, "node-1")]) == []
    changes = [held(1, "node-1", marked=False), lost(2, "node-1", marked=False)]
    assert [f.address for f in touched(changes)] == [A]
    assert touched(changes, {("node-1", A)}) == []
    assert len(touched(changes, {("node-2", A)})) == 1


def test_what_was_there_before_the_look_counts_by_its_own_mark():
    assert len(touched([lost(2, "node-1", marked=False)])) == 1
    assert touched([lost(2, "node-1")]) == []


# What is read from kernels and wires


def attribute(kind, data):
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def message(kind, index=2, family=2, attributes=b""):
    body = struct.pack("=BBBBL", family, 32, 0, 0, index) + attributes
    return struct.pack("=LHHLL", 16 + len(body), kind, 0, 0, 0) + body


def test_reads_what_the_kernel_tells():
    address = attribute(2, bytes([203, 0, 113, 100]))
    data = message(20, attributes=address + attribute(11, b"\x69"))
    data += message(21, attributes=address + attribute(3, b"eth0:ipw\0"))
    data += message(20, attributes=address + attribute(3, b"eth0\0"))
    data += message(20, index=1, attributes=address)
    data += struct.pack("=LHHLL", 16, 3, 0, 0, 0)
    assert list(kernel_addresses.parse(data, "node-1", 5)) == [
        held(5, "node-1"),
        lost(5, "node-1"),
        held(5, "node-1", marked=False),
    ]
    six = message(20, family=10, attributes=attribute(1, bytes(15) + b"\1"))
    assert [c.address for c in kernel_addresses.parse(six, "node-1", 5)] == ["::1"]


def test_reads_who_claims_an_address_on_the_wire():
    mac = bytes.fromhex(MAC_1.replace(":", ""))
    announced = frames.arp(frames.REQUEST, mac, A, bytes(6), A)
    assert list(frames.parse(announced)) == [(A, MAC_1)]
    probe = frames.arp(frames.REQUEST, mac, "0.0.0.0", bytes(6), A)
    assert list(frames.parse(probe)) == []
    six = frames.advertisement(mac, "2001:db8:113::100")
    assert list(frames.parse(six)) == [("2001:db8:113::100", MAC_1)]
    assert list(frames.parse(frames.solicitation(mac, "2001:db8:113::2", "2001:db8:113::100"))) == []
    for length in range(len(six)):
        assert list(frames.parse(six[:length])) == [] or length >= 78
