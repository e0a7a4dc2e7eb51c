"""The nodes that deploy/quickstart shows traffic with: a client is answered, also when one dies."""

import re
import subprocess
from pathlib import Path

import pytest

import harness
import objects
from harness import PATIENCE, TOP, wait_until
from replicas import BINARY, Fleet

PROGRAM = TOP / "deploy/quickstart-nodes"
EXAMPLES = TOP / "deploy/examples"


class Nodes:
    """The program as quickstart calls it, on a control plane of the test."""

    def __init__(self, cluster, directory):
        self.directory = directory
        self._options = ("--directory", directory, "--cluster", cluster.directory)
        self._options += ("--program", BINARY)

    def call(self, action, *arguments, check=True):
        command = list(map(str, (PROGRAM, action, *self._options, *arguments)))
        options = {"capture_output": True, "text": True, "timeout": 4 * PATIENCE}
        done = subprocess.run(command, check=False, **options)
        said = done.stdout + done.stderr
        assert not check or done.returncode == 0, f"{action}: {said}\n{self.logs()}"
        return said

    def logs(self):
        files = sorted(self.directory.glob("logs/*.log"))
        return "\n".join(f"{file.name}: {file.read_text()[-2000:]}" for file in files)


@pytest.fixture
def cluster(binary):
    with harness.Cluster.start() as cluster:
        harness.install(cluster)
        cluster.kubectl("apply", "-k", TOP / "deploy/agent")
        yield cluster


@pytest.fixture
def nodes(cluster, tmp_path):
    fleet = Fleet(cluster)
    nodes = Nodes(cluster, tmp_path / "nodes")
    before = namespaces()
    try:
        fleet.start()
        yield nodes
        fleet.stop()
    finally:
        nodes.call("down")
        fleet.close()
    assert namespaces() == before and not nodes.directory.exists()
    nodes.call("down")


def namespaces():
    return sorted(path.name for path in Path("/run/netns").glob("ipwarden-*"))


def address_of_web(cluster):
    """The Service of the example, which the quickstart makes too."""

    def apply():
        files = ("-f", EXAMPLES / "pool.yaml", "-f", EXAMPLES / "service.yaml")
        return cluster.kubectl("apply", *files, check=False).returncode == 0

    wait_until(apply, "the examples to be taken")
    return objects.external(cluster.request("GET", "/api/v1/namespaces/default/services/web")[1])[0]


def test_a_client_is_answered_and_again_when_the_node_dies(cluster, nodes):
    nodes.call("up")
    address = address_of_web(cluster)
    said = nodes.call("fetch", "--address", address)
    first = re.fullmatch(r"hello from the backend, by way of (node-[12])\n", said)
    assert first, said
    # Nothing to do the second time.
    pids = {file.name: file.read_text() for file in nodes.directory.glob("pids/*")}
    nodes.call("up")
    assert pids == {file.name: file.read_text() for file in nodes.directory.glob("pids/*")}
    said = nodes.call("kill", "--address", address)
    other = "node-2" if first[1] == "node-1" else "node-1"
    assert f"{address} is on {first[1]}" in said and said.endswith(f"by way of {other}\n"), said
    claim = objects.path_of(objects.claim(address))

    def has_moved():
        stored = cluster.request("GET", claim)[1]
        return stored["spec"]["nodeName"] == stored["status"].get("boundNode") == other

    wait_until(has_moved, lambda: f"{other} in {cluster.request('GET', claim)}")
    assert f"{other} is the last one" in nodes.call("kill", "--address", address, check=False)
    # The dead one comes back, and takes nothing back.
    nodes.call("up")
    assert has_moved(), f"{cluster.request('GET', claim)}\n{nodes.logs()}"
    said = nodes.call("fetch", "--address", address)
    state = f"{cluster.request('GET', claim)}\n{nodes.logs()}"
    assert said.endswith(f"by way of {other}\n"), f"{said}{state}"
