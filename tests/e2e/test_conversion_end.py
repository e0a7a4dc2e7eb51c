"""What ends with controllers at work: they list all kinds, whatever version their objects are in."""

import pytest

import harness
from harness import wait_until
from lab import Lab
from replicas import Fleet
from versions import cluster_path

LONG = 10 * harness.PATIENCE


@pytest.fixture(scope="module")
def controlled():
    """A cluster whose controllers run."""
    with harness.Cluster.start(controller_manager=True) as cluster:
        harness.install(cluster)
        yield cluster


@pytest.fixture
def spaces(controlled, binary):
    """Two replicas in that cluster."""
    fleet = Fleet(controlled, 2)
    try:
        fleet.start()
        yield Lab(controlled, fleet, "ends")
        fleet.check()
    finally:
        fleet.close()


def fill(lab, space):
    """A namespace with objects of the older versions: a range, a request, and one that this owns."""
    assert lab.request("POST", "/api/v1/namespaces", {"metadata": {"name": space}}).status == 201
    range_ = {"metadata": {"name": "lan"}, "spec": {"ranges": [str(harness.SPACE.ipv4(24))]}}
    owner = put(lab, "IPAMRange", space, range_)
    request = {"spec": {"ipam": {"name": "lan"}, "size": 28}}
    owner = put(lab, "IPAMRequest", space, {"metadata": {"name": "one"}, **request})
    reference = {
        "apiVersion": "ipam.mandelsoft.org/v1alpha1",
        "kind": "IPAMRequest",
        "name": "one",
        "uid": owner["metadata"]["uid"],
    }
    metadata = {"name": "two", "ownerReferences": [reference]}
    put(lab, "IPAMRequest", space, {"metadata": metadata, **request})
    wait_until(
        lambda: all(
            lab.request("GET", f"{path_of(space)}/{name}").body.get("status", {}).get("state")
            == "Ready"
            for name in ("one", "two")
        ),
        "both to have their sub-networks",
    )


def put(lab, kind, space, item):
    item = {"apiVersion": "ipam.mandelsoft.org/v1alpha1", "kind": kind, **item}
    answer = lab.request("POST", cluster_path(kind, "v1alpha1", space), item)
    assert answer.status == 201, answer
    return answer.body


def path_of(space):
    return cluster_path("IPAMRequest", "v1alpha1", space)


def delete_and_see_it_go(lab, path, seconds=LONG):
    lab.request("DELETE", path)
    wait_until(
        lambda: lab.request("GET", path).status == 404,
        lambda: f"{path} to go: {lab.request('GET', path).body}",
        seconds,
    )


def test_kinds_that_are_applied_again_stay_as_they_are(controlled):
    done = controlled.kubectl("apply", "-f", harness.TOP / "deploy" / "crds")
    lines = done.stdout.splitlines()
    assert len(lines) == 5 and all(line.endswith(" unchanged") for line in lines), done.stdout


def test_dependents_and_namespaces_go(spaces):
    lab = spaces
    fill(lab, "ends-a")
    lab.request("DELETE", f"{path_of('ends-a')}/one")
    wait_until(
        lambda: lab.request("GET", f"{path_of('ends-a')}/two").status == 404,
        "the dependent to go with its owner",
        LONG,
    )
    delete_and_see_it_go(lab, "/api/v1/namespaces/ends-a")


def test_a_namespace_goes_with_the_leader_dead(spaces):
    lab = spaces
    fill(lab, "ends-b")
    leader = lab.fleet.leader()
    leader.kill()
    # The other one answers for the older version at once; it takes over the finalizers a while later.
    assert lab.request("GET", f"{path_of('ends-b')}/one").status == 200
    delete_and_see_it_go(lab, "/api/v1/namespaces/ends-b")
