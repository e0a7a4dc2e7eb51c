"""Tokens of node agents, as kubelets get them: bound to a pod, which is bound to a node."""

import json

ACCOUNT = "ipwarden-agent"
NAMESPACE = "ipwarden-agents"


def token(cluster, pod, node=None, bound=True):
    """A token of deploy/agent's account, for a new pod of that name: on a new node, or on none.

    bound=False: for no pod at all.
    """
    body = {"spec": {"expirationSeconds": 3600}}
    if bound:
        uid = _pod(cluster, pod, node)["uid"]
        reference = {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}
        body["spec"]["boundObjectRef"] = reference
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{ACCOUNT}/token"
    return done(cluster.request("POST", path, body))["status"]["token"]


def kubeconfig(cluster, path, secret):
    """Writes a kubeconfig with the token."""
    server = {"server": cluster.servers[0], "certificate-authority": str(cluster.ca_file)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": server}],
        "users": [{"name": ACCOUNT, "user": {"token": secret}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": ACCOUNT}}],
        "current-context": "test",
    }
    path.write_text(json.dumps(config, indent=2))  # which is YAML, too
    path.chmod(0o600)
    return path


def done(answer):
    """The body of an answer, which must be a good one."""
    status, body = answer
    assert 200 <= status < 300, f"{status} {body}"
    return body


def _pod(cluster, name, node):
    spec = {"serviceAccountName": ACCOUNT, "containers": [{"name": "agent", "image": "ipwarden"}]}
    if node:
        done(cluster.request("POST", "/api/v1/nodes", {"metadata": {"name": node}}))
        spec["nodeName"] = node
    path = f"/api/v1/namespaces/{NAMESPACE}/pods"
    pod = {"metadata": {"name": name}, "spec": spec}
    return done(cluster.request("POST", path, pod))["metadata"]
