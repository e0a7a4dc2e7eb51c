"""Tests of the control plane itself: it starts, keeps what it is given, leaves nothing behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cluster import Cluster, ClusterError
from cluster_netns import Netns
from cluster_process import wait_until

HERE = Path(__file__).resolve().parent
SERVICES = "/api/v1/namespaces/default/services"


def service(name, **spec):
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"ports": [{"port": 80}], **spec},
    }


def names(cluster, server=0):
    status, answer = cluster.request("GET", SERVICES, server=server)
    assert status == 200
    return {item["metadata"]["name"] for item in answer["items"]}


def running_in(directory):
    """The numbers of the processes whose command line names the directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if os.fsencode(f"{directory}/") in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                pass
    return found


@pytest.fixture(scope="module")
def pair():
    """One cluster with two API servers; the tests that share it leave it running."""
    with Cluster.start(api_servers=2) as cluster:
        yield cluster


def test_starts_and_is_ready():
    began = time.monotonic()
    with Cluster.start() as cluster:
        print(f"ready after {time.monotonic() - began:.1f} s")
        assert cluster.ready()
        assert cluster.request("GET", "/readyz") == (200, "ok")
        assert cluster.kubectl("get", "namespace", "default", "--output", "name").stdout == (
            "namespace/default\n"
        )


def test_api_servers_see_one_another_s_objects(pair):
    status, made = pair.request("POST", SERVICES, service("shared", type="LoadBalancer"), server=0)
    assert status == 201
    assert made["spec"]["clusterIP"].startswith("10.0.")
    status, seen = pair.request("GET", f"{SERVICES}/shared", server=1)
    assert status == 200 and seen["metadata"]["uid"] == made["metadata"]["uid"]


def test_is_dual_stack_with_ipv4_first(pair):
    status, made = pair.request(
        "POST", SERVICES, service("dual", ipFamilyPolicy="RequireDualStack")
    )
    assert status == 201 and made["spec"]["ipFamilies"] == ["IPv4", "IPv6"]


def test_patches_by_merge_unless_told_otherwise(pair):
    pair.request("POST", SERVICES, service("patched"))
    label = {"metadata": {"labels": {"a": "b"}}}
    status, patched = pair.request("PATCH", f"{SERVICES}/patched", label)
    assert status == 200 and patched["metadata"]["labels"] == {"a": "b"}
    status, patched = pair.request(
        "PATCH",
        f"{SERVICES}/patched",
        [{"op": "remove", "path": "/metadata/labels"}],
        content_type="application/json-patch+json",
    )
    assert status == 200 and "labels" not in patched["metadata"]


def test_users_have_the_rights_of_their_groups(pair):
    alice = pair.user_kubeconfig("alice", groups=["a/b+c", "auditors"])
    whoami = pair.kubectl("auth", "whoami", "--output", "json", kubeconfig=alice).stdout
    assert '"alice"' in whoami and '"a/b+c"' in whoami and '"auditors"' in whoami
    assert pair.request("GET", SERVICES, user="alice")[0] == 403
    assert pair.user_kubeconfig("alice", groups=["a/b+c", "auditors"]) == alice
    with pytest.raises(ValueError, match="another name"):
        pair.user_kubeconfig("alice", groups=["system:masters"])
    with pytest.raises(ValueError, match="user_kubeconfig"):
        pair.request("GET", SERVICES, user="nobody")


def test_kubectl_reports_what_failed(pair):
    with pytest.raises(ClusterError, match="missing.*not found"):
        pair.kubectl("get", "service", "missing")
    assert pair.kubectl("get", "service", "missing", check=False).returncode == 1


def test_an_api_server_can_be_killed_and_paused(pair):
    pair.kill_apiserver(0)
    with pytest.raises(OSError):
        pair.request("GET", "/readyz", server=0)
    assert pair.request("GET", "/readyz", server=1)[0] == 200
    # From a thread that ends: the server must outlive it.
    starter = threading.Thread(target=pair.start_apiserver, args=(0,))
    starter.start()
    starter.join()
    assert pair.request("GET", "/readyz", server=0)[0] == 200
    pair.pause_apiserver(1)
    with pytest.raises(TimeoutError):
        pair.request("GET", "/readyz", server=1, timeout=0.3)
    pair.resume_apiserver(1)
    assert pair.request("GET", "/readyz", server=1)[0] == 200
    assert pair.apiservers[0].alive()


def test_cold_restart_keeps_objects_and_addresses(pair):
    pair.request("POST", SERVICES, service("kept"))
    servers = pair.servers
    pair.restart_cold()
    assert pair.servers == servers
    assert "kept" in names(pair, 0) and "kept" in names(pair, 1)


def test_two_clusters_don_t_meet(pair):
    with Cluster.start() as other:
        assert other.directory != pair.directory
        assert not set(other.servers) & set(pair.servers)
        other.request("POST", SERVICES, service("only-here"))
        assert "only-here" in names(other) and "only-here" not in names(pair)


def test_controllers_run_when_asked_for():
    with Cluster.start(controller_manager=True) as cluster:
        assert cluster.request("POST", "/api/v1/namespaces", {"metadata": {"name": "x"}})[0] == 201
        cluster.request("DELETE", "/api/v1/namespaces/x")

        def gone():
            return cluster.request("GET", "/api/v1/namespaces/x")[0] == 404

        assert wait_until(gone, time.monotonic() + 60)


def test_stop_leaves_nothing_behind():
    cluster = Cluster.start()
    assert len(running_in(cluster.directory)) == 2
    cluster.pause_apiserver(0)
    cluster.stop()
    assert running_in(cluster.directory) == [] and not cluster.directory.exists()
    cluster.stop()


def test_a_failed_start_says_why_and_leaves_nothing_behind(tmp_path):
    directory = tmp_path / "failing"
    with pytest.raises(ClusterError, match="(?s)kube-apiserver-0 died.*no-such-flag"):
        Cluster.start(directory, extra_apiserver_args=["--no-such-flag"])
    assert running_in(directory) == [] and not directory.exists()
    (directory / "precious").mkdir(parents=True)
    with pytest.raises(ClusterError, match="not empty"):
        Cluster.start(directory)
    assert (directory / "precious").exists()


def test_programs_end_with_a_test_run_that_is_killed(tmp_path):
    directory = tmp_path / "orphaned"
    script = "import sys, time; from cluster import Cluster; c = Cluster.start(sys.argv[1]);"
    script += "print('ready', flush=True); time.sleep(600)"
    runner = subprocess.Popen(
        [sys.executable, "-c", script, directory], cwd=HERE, stdout=subprocess.PIPE
    )
    assert runner.stdout.readline() == b"ready\n"
    programs = [pid for pid in running_in(directory) if pid != runner.pid]
    assert len(programs) == 2
    runner.send_signal(signal.SIGKILL)
    runner.wait()
    runner.stdout.close()
    assert wait_until(lambda: running_in(directory) == [], time.monotonic() + 10)


def test_command_line(tmp_path):
    directory = tmp_path / "by-hand"

    def command(name, *more, code=0):
        done = subprocess.run(
            [HERE / "cluster", name, "--directory", directory, *more],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stdout

    try:
        kubeconfig = command("up", "--single-stack").strip()
        assert kubeconfig == command("kubeconfig").strip() == str(directory / "kubeconfig-0")
        assert command("status").endswith("\nready\n")
        shell = command("env") + "kubectl create namespace kept"
        subprocess.run(["sh", "-e", "-c", shell], check=True, capture_output=True)
        assert len(running_in(directory)) == 2
        os.kill(int((directory / "pids" / "etcd").read_text()), signal.SIGKILL)
        assert "not ready" in command("status", code=1)
        assert command("up").strip() == kubeconfig
        assert "kept" in Cluster.open(directory).kubectl("get", "namespace").stdout
    finally:
        command("down")
    assert running_in(directory) == [] and not directory.exists()
    command("down")
    # Only what is a cluster's is ever removed.
    (directory / "precious").mkdir(parents=True)
    command("down", code=1)
    assert (directory / "precious").exists()


def test_runs_in_a_network_namespace_of_its_own(tmp_path):
    net = Netns("control-plane", tmp_path)
    try:
        net.ip("address", "add", "203.0.113.1/24", "dev", "lo")
        with Cluster.start(address="203.0.113.1", netns=net) as cluster:
            assert cluster.request("GET", "/readyz") == (200, "ok")
            assert cluster.kubectl("get", "namespace", "default", "--output", "name").stdout
            inode = os.stat(net.path).st_ino
            for process in cluster.processes:
                assert os.stat(f"/proc/{process.pid}/ns/net").st_ino == inode
    finally:
        net.close()


def test_leaves_no_network_namespace_behind(tmp_path):
    script = f"""
import os, signal, sys
sys.path.insert(0, {str(HERE)!r})
from cluster_netns import Netns
from pathlib import Path
print(Netns("lost", Path({str(tmp_path)!r})).pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    pid = int(done.stdout)
    assert wait_until(lambda: not Path(f"/proc/{pid}/ns/net").exists(), time.monotonic() + 10)
