"""`ipwarden rebalance` evens out addresses on request, and the leader leaves them there."""

import collections
import json
import subprocess

import objects
from hand_made_nodes import HandMadeNodes
from harness import wait_until
from replicas import BINARY


def rebalance(lab, *arguments, kubeconfig=None, code=0):
    done = subprocess.run(
        [BINARY, "rebalance", f"--kubeconfig={kubeconfig or lab.cluster.kubeconfig}", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nowhere"},
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def places(lab):
    """The node of each address of this test."""
    return {c["spec"]["cidr"]: c["spec"].get("nodeName") for c in lab.claims()}


def even(lab, nodes):
    counts = collections.Counter(places(lab).values())
    return max(counts[name] for name in nodes.names) - min(counts[name] for name in nodes.names)


def crowded(lab, nodes, count):
    """Services that all live on the first node, since the other ones aren't ready."""
    pool = lab.pool(size=count)
    for name in nodes.names[1:]:
        nodes.say(name, Ready="False")

    def only_first():
        service = lab.create(lab.service(auto=True))
        address = objects.external(service)[0]
        if lab.claim(address)["spec"].get("nodeName") == nodes.names[0]:
            return service
        lab.delete(service)
        lab.gone(address)
        return None

    wait_until(only_first, "an address on the first node")
    for _ in range(count - 1):
        lab.create(lab.service(auto=True))
    assert set(places(lab).values()) == {nodes.names[0]}
    for claim in lab.claims():
        nodes.bound(claim["spec"]["cidr"].split("/")[0])
    for name in nodes.names[1:]:
        nodes.say(name, Ready="True")
    return pool


def test_few_moves_one_after_the_other(lab):
    with HandMadeNodes(lab, 3) as nodes:
        pool = crowded(lab, nodes, 7)
        before = places(lab)
        done = rebalance(lab)
        assert "4 moves planned, nothing was changed" in done.stderr
        assert len(done.stdout.splitlines()) == 5
        assert places(lab) == before
        done = rebalance(lab, "--apply", "--pause=0s", "-o", "json",
                         f"--pool={pool['metadata']['name']}")  # fmt: skip
        moves = json.loads(done.stdout)["moves"]
        assert [move["outcome"] for move in moves] == ["Moved"] * 4
        after = places(lab)
        assert {m["address"]: m["to"] for m in moves} == {
            cidr.split("/")[0]: node for cidr, node in after.items() if node != before[cidr]
        }
        assert even(lab, nodes) == 1
        for claim in lab.claims():
            assert claim["spec"]["standbyNode"] not in (None, claim["spec"]["nodeName"])
        # Nothing jumps back, and there is nothing left to do.
        nodes.beat_on()
        assert places(lab) == after
        assert "nothing to move" in rebalance(lab, "--apply").stderr


def test_a_move_that_gets_stuck_is_the_last_one(lab):
    with HandMadeNodes(lab, 2) as nodes:
        crowded(lab, nodes, 4)
        nodes.binds = False
        done = rebalance(lab, "--apply", "--move-timeout=1s", code=1)
        assert "ipwarden explain says why, and nothing else was moved" in done.stderr
        assert sorted(collections.Counter(places(lab).values()).values()) == [1, 3]
        nodes.binds = True
        for claim in lab.claims():
            nodes.bound(claim["spec"]["cidr"].split("/")[0])
        rebalance(lab, "--apply", "--pause=0s")
        assert even(lab, nodes) == 0


def test_a_user_who_may_not_change_claims(lab, editor):
    done = rebalance(lab, kubeconfig=lab.cluster.user_kubeconfig(editor), code=1)
    assert done.stdout == "" and "may not be listed" in done.stderr
    assert "there is no pool" in rebalance(lab, "--pool=missing", code=1).stderr
