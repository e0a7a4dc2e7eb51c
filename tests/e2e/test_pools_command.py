"""`ipwarden pools` shows what users can see in the statuses, with no ipwarden running, too."""

import json
import subprocess

import harness
import objects
from harness import SPACE, wait_until
from replicas import BINARY


def pools(lab, *arguments, kubeconfig=None, code=0):
    """Runs `ipwarden pools` as a user of the cluster would."""
    done = subprocess.run(
        [BINARY, "pools", f"--kubeconfig={kubeconfig or lab.cluster.kubeconfig}", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nowhere"},
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def shown(lab, item):
    """What `-o json` says of the pool or range, or None."""
    kind = "ranges" if item["kind"] == "IPAMRange" else "pools"
    namespace = item["metadata"].get("namespace")
    for one in json.loads(pools(lab, "-o", "json").stdout)[kind]:
        if one["name"] == item["metadata"]["name"] and one.get("namespace") == namespace:
            return one
    return None


def line_of(lab, item, *arguments):
    name = item["metadata"]["name"]
    lines = pools(lab, *arguments).stdout.splitlines()
    return next((line for line in lines if name in line.split()), None)


def test_pools_and_ranges_with_what_they_have_left(lab):
    pool = lab.pool(size=10)
    taken = [lab.create(lab.service(auto=True)) for _ in range(4)]
    network = SPACE.ipv4(24)
    range_ = lab.range(str(network))
    first = lab.create(lab.ask(range_, "26"))
    lab.granted(first)
    whole = lab.create(lab.ask(range_, "24"))
    lab.is_for_reason(whole, "Busy")
    wait_until(lambda: shown(lab, pool)["used"] == 4, lambda: f"4 used in {shown(lab, pool)}")
    found = shown(lab, pool)
    assert (found["total"], found["free"], found["ready"]) == (10, 6, True)
    found = shown(lab, range_)
    assert (found["total"], found["used"], found["free"]) == (256, 64, 192)
    assert found["largestFreePrefixLength"] == 25
    assert (found["requests"], found["waiting"]) == (2, 1)
    assert found["addresses"] == [str(network)]
    status = lab.get(range_)["status"]
    assert [status[name] for name in ("total", "used", "free")] == [256, 64, 192]
    cells = line_of(lab, range_).split()
    assert cells[:9] == ["Range", lab.namespace, range_["metadata"]["name"], "yes", "IPv4", "256",
                         "64", "192", "/25"]  # fmt: skip
    assert cells[9:] == ["[#####...............]", "25%"]
    assert line_of(lab, pool, "--no-headers").split()[:6] == [
        "Pool", pool["metadata"]["name"], "yes", "IPv4", "10", "4",
    ]  # fmt: skip
    for service in taken:
        lab.delete(service)
    wait_until(lambda: shown(lab, pool)["used"] == 0, lambda: f"none used in {shown(lab, pool)}")


def test_a_pool_of_both_families_has_a_line_for_each(lab):
    six = SPACE.ipv6(64)
    pool = lab.create(objects.pool(f"{lab.name}-p", SPACE.ipv4(29), six))
    wait_until(lambda: lab.pool_ready(pool), "a ready pool")
    name = pool["metadata"]["name"]
    lines = [line.split() for line in pools(lab).stdout.splitlines() if name in line.split()]
    whole = f"{2**64}"
    found = [line[3:7] for line in lines]
    assert found == [["IPv4", "6", "0", "6"], ["IPv6", whole, "0", whole]]
    every = json.loads(pools(lab, "-o", "json").stdout)["pools"]
    listed = [one for one in every if one["name"] == name]
    assert [(one["family"], one["free"]) for one in listed] == [("IPv4", 6), ("IPv6", whole)]
    assert listed[1]["addresses"] == [str(six)]


def test_it_needs_no_ipwarden_that_runs(lab):
    pool = lab.pool(size=3)
    lab.fleet.stop()
    assert shown(lab, pool)["free"] == 3


def test_why_a_pool_is_not_ready(lab):
    request = lab.ask("missing", "29")
    metadata = {"name": f"{lab.name}-{lab.unique('p')}"}
    source = {name: request["metadata"][name] for name in ("name", "namespace")}
    pool = lab.create(
        {
            "apiVersion": "ipcontroller.ext/v2",
            "kind": "IpClaimPool",
            "metadata": metadata,
            "spec": {"fromRequest": source},
        }
    )
    assert shown(lab, pool)["reason"] == "WaitingForRequest"
    line = line_of(lab, pool, "-o", "wide")
    assert "no: WaitingForRequest" in line and request["metadata"]["name"] in line


def test_a_user_without_rights_is_told_which(lab, editor):
    done = pools(lab, kubeconfig=lab.cluster.user_kubeconfig(editor), code=1)
    assert done.stdout == ""
    assert "may not be listed" in done.stderr and "get, list and watch" in done.stderr


def test_a_user_who_may_look_sees_all(lab):
    groups = {"": ["services"], "ipcontroller.ext": ["*"], "ipam.mandelsoft.org": ["*"]}
    rules = [
        {"apiGroups": [group], "resources": resources, "verbs": ["get", "list", "watch"]}
        for group, resources in groups.items()
    ]
    kubeconfig = lab.cluster.user_kubeconfig("onlooker")
    harness.grant(lab.cluster, "onlooker", rules)
    # Rights reach the authorizer by a watch of its own.
    path = "/apis/ipam.mandelsoft.org/v1beta1/ipamrequests"
    wait_until(
        lambda: lab.cluster.request("GET", path, user="onlooker")[0] == 200,
        "the onlooker to have rights",
    )
    pool = lab.pool(size=3)
    done = pools(lab, kubeconfig=kubeconfig)
    assert pool["metadata"]["name"] in done.stdout
