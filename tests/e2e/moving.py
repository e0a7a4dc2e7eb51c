"""`ipwarden migrate` as an administrator calls it, with the rights of deploy/migrate and no others."""

import subprocess

import harness
from harness import TOP, wait_until
from replicas import BINARY

USER = "mover"


def allow(cluster):
    """Binds the role of deploy/migrate to a user of its own, and returns a kubeconfig of theirs."""
    kubeconfig = cluster.user_kubeconfig(USER)
    cluster.kubectl("apply", "-f", TOP / "deploy" / "migrate")
    binding = {
        "metadata": {"name": "ipwarden-migrate"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "ipwarden-migrate",
        },
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}],
    }
    path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    assert cluster.request("POST", path, binding)[0] in (201, 409)
    # Rights reach the authorizer by a watch of its own.
    wait_until(
        lambda: cluster.request("GET", "/api/v1/services?limit=1", user=USER)[0] == 200,
        "the mover to have rights",
    )
    return kubeconfig


def begin(kubeconfig, *arguments):
    """The command, running."""
    return subprocess.Popen(
        [BINARY, "migrate", *arguments, f"--kubeconfig={kubeconfig}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nowhere"},
    )


def run(kubeconfig, *arguments, code=0):
    """The command, ended with that code: what it printed on both streams."""
    process = begin(kubeconfig, *arguments)
    try:
        output, errors = process.communicate(timeout=20 * harness.PATIENCE)
    finally:
        process.kill()
    assert process.returncode == code, output + errors
    assert "Sanitizer" not in errors, errors
    return output, errors


def kill_when(kubeconfig, predicate, *arguments):
    """Kills the command (SIGKILL) as soon as the predicate holds; whether it still ran then."""
    process = begin(kubeconfig, *arguments)
    wait_until(lambda: predicate() or process.poll() is not None, "the command to do something")
    ran = process.poll() is None
    process.kill()
    process.communicate()
    return ran
