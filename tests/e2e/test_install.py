"""ipwarden comes into a cluster, and goes from it and leaves nothing, whoever began otherwise."""

import contextlib
import json
import os
import subprocess
from pathlib import Path

import pytest

import cluster_binaries
import harness
import objects
from harness import NAME, NAMESPACE, PATIENCE, TOP, WEBHOOKS, wait_until
from lab import Lab
from replicas import Fleet

AGENTS = "ipwarden-agents"
EVERYTHING = ",".join(
    (
        "namespaces",
        "customresourcedefinitions",
        "clusterroles",
        "clusterrolebindings",
        "flowschemas",
        "prioritylevelconfigurations",
        "mutatingwebhookconfigurations",
        "validatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
    )
)


# Critical pods only where a quota allows them, as the documentation of Kubernetes advises.
LIMITED = """\
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
  - name: ResourceQuota
    configuration:
      apiVersion: apiserver.config.k8s.io/v1
      kind: ResourceQuotaConfiguration
      limitedResources:
        - resource: pods
          matchScopes:
            - scopeName: PriorityClass
              operator: In
              values: [system-cluster-critical, system-node-critical]
"""


@pytest.fixture(scope="module")
def controlled(tmp_path_factory):
    """A cluster whose controllers run: they make pods, and end the deletion of namespaces."""
    configuration = tmp_path_factory.mktemp("apiserver") / "admission.yaml"
    configuration.write_text(LIMITED)
    flags = [f"--admission-control-config-file={configuration}"]
    with harness.Cluster.start(controller_manager=True, extra_apiserver_args=flags) as cluster:
        yield cluster


def install(cluster):
    """Over what a test before left: a replica on this machine puts URLs in the Service's place."""
    kinds = "mutatingwebhookconfiguration,validatingwebhookconfiguration"
    cluster.kubectl("delete", kinds, NAME, "--ignore-not-found")
    harness.install(cluster)


@pytest.fixture
def installed(controlled, binary):
    """ipwarden in that cluster, with two replicas; the test takes it out again."""
    install(controlled)
    controlled.kubectl("apply", "-k", TOP / "deploy/agent")
    fleet = Fleet(controlled, 2)
    try:
        fleet.start()
        yield Lab(controlled, fleet, "uninstall")
    finally:
        fleet.close()


def begin(cluster, *arguments, program="uninstall"):
    """A program of deploy/ as an administrator of the cluster would run it; kubectl is on PATH."""
    kubectl = Path(cluster_binaries.require("kubectl")).parent
    return subprocess.Popen(
        [TOP / "deploy" / program, "--kubeconfig", cluster.kubeconfig, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={"PATH": f"{kubectl}:{os.environ['PATH']}", "HOME": str(cluster.directory)},
    )


def end(process):
    """What it said, once it has ended well."""
    try:
        said, _ = process.communicate(timeout=4 * PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
    assert process.returncode == 0, said
    return said


def left(cluster):
    """What the cluster has of ipwarden, by name."""
    done = cluster.kubectl("get", EVERYTHING, "-o", "name", "-l", "app.kubernetes.io/name=ipwarden")
    return done.stdout.split()


def use(lab):
    """Everything that carries a finalizer, in use; returns a Service with an address."""
    range_ = lab.range("10.9.0.0/24")
    request = lab.create(lab.ask(range_, "/28"))
    wait_until(lambda: objects.cidr(lab.get(request)), lambda: f"a CIDR for {lab.get(request)}")
    metadata = request["metadata"]
    of = {"name": metadata["name"], "namespace": metadata["namespace"]}
    from_request = lab.create(objects.pool("from-request", None, fromRequest=of))
    pool = lab.pool(size=4)
    service = lab.create(lab.service(auto=True))
    assert objects.external(service)
    # As an agent that has bound the address, and is gone.
    claim = objects.claim(objects.external(service)[0])
    bound = {"metadata": {"finalizers": ["ipcontroller.ext/bound"]}}
    assert lab.request("PATCH", objects.path_of(claim), bound).ok
    for item in (range_, request, from_request, pool):
        wait_until(
            lambda item=item: lab.get(item)["metadata"].get("finalizers"),
            lambda item=item: f"a finalizer on {lab.get(item)}",
        )
    return service


def is_out(lab, service):
    assert not left(lab.cluster)
    for namespace in (NAMESPACE, AGENTS):
        assert lab.request("GET", f"/api/v1/namespaces/{namespace}").status == 404
    kept = lab.get(service)
    assert objects.external(kept) == objects.external(service)
    # Whoever comes later needs nobody.
    assert lab.try_create(lab.service(externalIPs=["203.0.113.9"])).ok


def test_applying_it_again_says_unchanged_once_ipwarden_has_written_its_part(controlled, binary):
    install(controlled)
    fleet = Fleet(controlled)
    # As in a pod: API servers reach it through its Service.
    command = fleet.replicas[0].command
    command[:] = [one for one in command if not str(one).startswith("--webhook-url")]
    secret = f"/api/v1/namespaces/{NAMESPACE}/secrets/ipwarden-certificates"
    written = [
        f"{WEBHOOKS}/mutatingwebhookconfigurations/{NAME}",
        f"{WEBHOOKS}/validatingwebhookconfigurations/{NAME}",
        secret,
    ]

    def read():
        return [controlled.request("GET", path)[1] for path in written]

    def is_written():
        *configurations, stored = read()
        clients = [entry["clientConfig"] for c in configurations for entry in c["webhooks"]]
        complete = all(c.get("caBundle") and c["service"].get("path") for c in clients)
        return complete and stored.get("data")

    try:
        fleet.start()
        wait_until(is_written, lambda: f"{read()} to be complete")
        before = read()
        said = controlled.kubectl("apply", "-k", TOP / "deploy").stdout.splitlines()
        # kubectl patches the selector of every PodDisruptionBudget, which changes nothing.
        changed = [line for line in said if not line.endswith(" unchanged")]
        assert changed == ["poddisruptionbudget.policy/ipwarden configured"], changed
        assert read() == before
        fleet.stop()
    finally:
        fleet.close()


def test_its_pods_are_made_where_critical_ones_are_limited(controlled):
    install(controlled)
    controlled.kubectl("apply", "-k", TOP / "deploy/agent")
    with node(controlled, "one") as name:
        for namespace, count in ((NAMESPACE, 2), (AGENTS, 1)):
            path = f"/api/v1/namespaces/{namespace}/pods"

            def made(path=path, count=count):
                found = controlled.request("GET", path)[1]["items"]
                return len(found) == count and found

            pod = wait_until(made, f"{count} pods in {namespace}")[0]
            # Elsewhere they are refused: otherwise this would show nothing.
            container = {"name": "a", "image": "a"}
            priority = pod["spec"]["priorityClassName"]
            spec = {"priorityClassName": priority, "containers": [container]}
            elsewhere = {"metadata": {"name": "a"}, "spec": spec}
            refusal = controlled.request("POST", "/api/v1/namespaces/default/pods", elsewhere)[1]
            assert "insufficient quota" in refusal["message"], refusal
        assert name in str(pod["spec"]["affinity"]), pod


@contextlib.contextmanager
def node(cluster, name):
    """A node that is there while the test runs, with no kubelet."""
    made = {"metadata": {"name": name, "labels": {"kubernetes.io/os": "linux"}}}
    assert cluster.request("POST", "/api/v1/nodes", made)[0] == 201
    try:
        yield name
    finally:
        cluster.request("DELETE", f"/api/v1/nodes/{name}")


def make_pods_ready(cluster):
    """What kubelets would report."""
    pods = cluster.request("GET", f"/api/v1/namespaces/{NAMESPACE}/pods")[1].get("items", [])
    for pod in pods:
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}/status"
        condition = {"type": "Ready", "status": "True"}
        cluster.request("PATCH", path, {"status": {"phase": "Running", "conditions": [condition]}})


def test_quickstart_is_done_when_the_webhooks_answer_and_no_sooner(controlled, binary):
    fleet = Fleet(controlled)
    began = begin(controlled, "--image", "ipwarden:test", program="quickstart")
    said = []
    try:
        deployment = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{NAME}"

        def is_ready():
            make_pods_ready(controlled)
            stored = controlled.request("GET", deployment)[1]
            status = stored.get("status", {})
            counts = [status.get(f"{of}Replicas") for of in ("updated", "available", "ready")]
            generation = stored.get("metadata", {}).get("generation")
            observed = generation and status.get("observedGeneration") == generation
            counts.append(status.get("replicas"))
            return observed and "ipwarden:test" in json.dumps(stored) and counts == [2] * 4

        def asks():
            said.append(began.stdout.readline())
            return "waiting for the API server to reach it" in said[-1]

        wait_until(is_ready, lambda: f"two replicas: {controlled.request('GET', deployment)}")
        wait_until(asks, lambda: "".join(said))
        # Nothing answers, so the next apply would be refused.
        service = objects.service("web", "default", auto=True)
        path = objects.path_of(service, collection=True)
        refusal = controlled.request("POST", f"{path}?dryRun=All", service)[1]
        assert "failed calling webhook" in refusal["message"], refusal
        assert began.poll() is None
        fleet.start()
        assert "done" in end(began)
        answer = controlled.request("POST", f"{path}?dryRun=All", service)[1]
        assert "failed calling webhook" not in answer.get("message", ""), answer
        fleet.stop()
    finally:
        began.kill()
        fleet.close()


def test_the_policies_are_found_to_be_sound(controlled):
    install(controlled)
    controlled.kubectl("apply", "-k", TOP / "deploy/agent")
    path = f"{WEBHOOKS}/validatingadmissionpolicies"

    def judged():
        items = controlled.request("GET", path)[1]["items"]
        done = [item for item in items if "typeChecking" in item.get("status", {})]
        return len(done) == len(items) and done

    policies = wait_until(judged, "the controller to judge all policies")
    assert len(policies) == 6, [policy["metadata"]["name"] for policy in policies]
    for policy in policies:
        warnings = policy["status"]["typeChecking"].get("expressionWarnings")
        assert not warnings, f"{policy['metadata']['name']}: {warnings}"


def test_it_goes_and_leaves_nothing(installed):
    lab = installed
    service = use(lab)
    before = left(lab.cluster)
    assert "Nothing has been changed" in end(begin(lab.cluster))
    assert left(lab.cluster) == before
    path = f"{objects.PATHS['IpClaimPool']}/from-request"
    finalizers = [objects.REQUEST_FINALIZER, "example.com/theirs"]
    assert lab.request("PATCH", path, {"metadata": {"finalizers": finalizers}}).ok
    # Both replicas run on, as pods do that still drain: one leads and would put finalizers back.
    uninstalls = begin(lab.cluster, "--apply")

    def waits_for_others():
        kept = lab.request("GET", path).body["metadata"]
        return kept.get("deletionTimestamp") and kept["finalizers"] == ["example.com/theirs"]

    wait_until(waits_for_others, lambda: f"only theirs on {lab.request('GET', path)}")
    assert lab.request("PATCH", path, {"metadata": {"finalizers": None}}).ok
    end(uninstalls)
    is_out(lab, service)
    end(begin(lab.cluster, "--apply"))


def test_it_goes_also_when_that_was_begun_in_another_order(installed):
    lab = installed
    service = use(lab)
    lab.fleet.stop()
    lab.cluster.kubectl("delete", "-k", TOP / "deploy", "--wait=false", check=False)
    kinds = [name for name in left(lab.cluster) if name.startswith("customresourcedefinition")]
    assert len(kinds) > 1, "it would have hung, or the test has lost its point"
    end(begin(lab.cluster, "--apply"))
    is_out(lab, service)
