"""Fixtures: an installed cluster for the whole run, one with two API servers, a lab per test."""

import contextlib
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import comings  # noqa: E402
import harness  # noqa: E402
from faults import HttpProxy  # noqa: E402
from lab import Lab  # noqa: E402
from nodes_judge import NodesJudge  # noqa: E402
from nodes_lab import NodesLab  # noqa: E402
from replicas import BINARY, Fleet  # noqa: E402

# Tests delete what they made by the namespace, and an API server does that one by one by default.
API_SERVER = ["--delete-collection-workers=8"]
# A create that fails after it was admitted leaves a claim, which goes after the grace. Above the
# deadline of a webhook's call, so that nothing under way is taken for left over.
SERVE = ["--grace=20s"]
# Workers take whole files, in this order. What takes longest comes first, so that none is left alone
# with it in the end.
LONGEST = (
    "test_late.py",
    "test_nodes_traffic.py",
    "test_nodes_failover.py",
    "test_nodes_apart.py",
    "test_random.py",
    "test_one_write.py",
    "test_restart.py",
    "test_api_writes.py",
    "test_many.py",
    "test_junk.py",
    "test_ranges_fencing.py",
    "test_cluster.py",
)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: _rank(item.path.name))


FAILED = pytest.StashKey()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Adds what to know of the nodes to the report of a test that failed on them."""
    report = (yield).get_result()
    if call.when == "call":
        item.stash[FAILED] = report.failed
        if report.failed and "nodes" in item.funcargs:
            report.sections.append(("nodes", item.funcargs["nodes"].tell()))


def _rank(file):
    return LONGEST.index(file) if file in LONGEST else len(LONGEST)


@pytest.fixture(scope="session")
def binary():
    if not BINARY.exists():
        pytest.fail(
            f"{BINARY} is missing: build it with "
            "`cmake --preset debug && cmake --build --preset debug`"
        )
    return BINARY


@pytest.fixture(scope="session")
def cluster():
    """One API server, with ipwarden's objects installed."""
    with harness.Cluster.start(extra_apiserver_args=API_SERVER) as cluster:
        harness.install(cluster)
        yield cluster


@pytest.fixture(scope="session")
def session_fleet(cluster, binary):
    fleet = Fleet(cluster, extra_args=SERVE)
    yield from _run(fleet)


@pytest.fixture
def fleet(session_fleet):
    """One replica, running. A test may stop, kill and exchange replicas as it likes."""
    yield from _lend(session_fleet, 1)


@pytest.fixture
def lab(cluster, fleet, request):
    yield from _open(cluster, fleet, request)


@pytest.fixture(scope="session")
def cluster_of_two():
    """Two API servers on one etcd, with ipwarden's objects installed."""
    with harness.Cluster.start(api_servers=2, extra_apiserver_args=API_SERVER) as cluster:
        harness.install(cluster)
        yield cluster


@pytest.fixture(scope="session")
def session_fleet_of_two(cluster_of_two, binary):
    yield from _run(Fleet(cluster_of_two, 2, extra_args=SERVE))


@pytest.fixture
def fleet_of_two(session_fleet_of_two):
    """Two replicas, each with an API server of its own."""
    yield from _lend(session_fleet_of_two, 2)


@pytest.fixture
def lab_of_two(cluster_of_two, fleet_of_two, request):
    yield from _open(cluster_of_two, fleet_of_two, request)


@pytest.fixture(scope="module")
def proxied_fleet(cluster, session_fleet):
    """One replica for all tests of a file; it reaches the API server through fleet.proxy."""
    session_fleet.stop()
    with HttpProxy(cluster) as proxy:
        fleet = Fleet(cluster, extra_args=[f"--grace={comings.GRACE}s"], url=proxy.url)
        fleet.proxy = proxy
        yield from _run(fleet)


@pytest.fixture(scope="module")
def fleet_of_file(cluster, session_fleet, request):
    """One replica for all tests of a file, with the file's own arguments, SERVE."""
    session_fleet.stop()
    yield from _run(Fleet(cluster, extra_args=request.module.SERVE))


@pytest.fixture
def lab_of_file(cluster, fleet_of_file, request):
    with contextlib.contextmanager(_lend)(fleet_of_file, 1):
        yield from _open(cluster, fleet_of_file, request)


@pytest.fixture
def proxied_lab(cluster, proxied_fleet, request):
    with contextlib.contextmanager(_lend)(proxied_fleet, 1):
        lab = _new_lab(cluster, proxied_fleet, request)
        yield lab
        proxied_fleet.proxy.clear()
        lab.close()


@pytest.fixture(scope="session")
def editor(cluster):
    """A user who may edit Services and nothing of ipwarden's."""
    return harness.service_editor(cluster)


@pytest.fixture(scope="module")
def lab_of_nodes(binary, tmp_path_factory):
    """Three nodes that carry traffic, without agents, and a client outside. They cost a processor's tenth
    even when nothing happens, so they don't outlive their file.
    """
    lab = NodesLab(tmp_path_factory.mktemp("nodes"))
    yield lab
    lab.close()


@pytest.fixture
def nodes(lab_of_nodes, request):
    """The nodes for one test, with a judge that sees to I7 all the while (nodes.judge)."""
    lab_of_nodes.reset()
    lab_of_nodes.pools()
    with NodesJudge(lab_of_nodes) as judge:
        lab_of_nodes.judge = judge
        yield lab_of_nodes
        lab_of_nodes.check()
        if not request.node.stash.get(FAILED, True):
            judge.rest()


def _run(fleet):
    try:
        yield fleet
        fleet.stop()
    finally:
        fleet.close()


def _lend(fleet, replicas):
    """A running fleet for one test, which then is as it was."""
    if any(replica.process and not replica.running() for replica in fleet.replicas):
        fleet.kill()  # what ended it has failed the test before
    fleet.ensure()
    borrowed = list(fleet.replicas)
    try:
        yield fleet
        fleet.check()
        if fleet.replicas != borrowed:
            fleet.stop()
    except BaseException:
        fleet.kill()
        raise
    finally:
        if fleet.replicas != borrowed:
            fleet.kill()
            fleet.resize(replicas)


def _open(cluster, fleet, request):
    lab = _new_lab(cluster, fleet, request)
    yield lab
    lab.close()


def _new_lab(cluster, fleet, request):
    name = request.node.name.removeprefix("test_")
    return Lab(cluster, fleet, re.sub(r"[^a-z0-9]+", "-", name))
