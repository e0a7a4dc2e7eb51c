"""With --client-ca only an API server that shows a certificate of that authority gets an answer."""

import http.client
import json
import ssl
import subprocess

import pytest

import harness
import objects
from harness import TOP
from lab import Lab
from replicas import Fleet
from versions import Object
from webhook import Webhook, review

CLIENT_CA = TOP / "deploy/client-ca"
IN_PRODUCTION = ("/etc/kubernetes/ipwarden", "ipwarden.ipwarden-system.svc")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What an administrator puts onto the control plane, and ca.crt for ipwarden."""
    path = tmp_path_factory.mktemp("client-ca")
    subprocess.run([CLIENT_CA / "certificates", path], check=True, capture_output=True)
    for file in (CLIENT_CA / "apiserver").iterdir():
        place, host = IN_PRODUCTION
        # Here the webhooks have URLs, whose host is an address.
        text = file.read_text().replace(place, str(path)).replace(f"name: {host}", "name: '*'")
        (path / file.name).write_text(text)
    return path


@pytest.fixture(scope="module")
def guarded(folder, binary):
    flag = f"--admission-control-config-file={folder / 'admission.yaml'}"
    with harness.Cluster.start(extra_apiserver_args=[flag]) as cluster:
        harness.install(cluster)
        fleet = Fleet(cluster, extra_args=[f"--client-ca={folder / 'ca.crt'}"])
        try:
            fleet.start()
            lab = Lab(cluster, fleet, "client-ca")
            yield lab
            lab.close()
            fleet.stop()
        finally:
            fleet.close()


def ask(webhook, lab):
    """(status, text) for a review by the secret path, or the error of a refused connection."""
    try:
        return webhook.post(json.dumps(review(lab.service(auto=True))))
    except (ssl.SSLError, OSError, http.client.HTTPException) as error:
        return type(error).__name__, ""


def test_the_api_server_is_let_in(guarded):
    lab = guarded
    lab.pool(size=4)
    assert objects.external(lab.create(lab.service(auto=True)))


def test_nobody_else_is_even_with_the_path(guarded, folder):
    webhook = Webhook(guarded.cluster)
    assert ask(webhook, guarded)[0] != 200
    # Of another authority: that of the cluster, say, as every kubelet has one.
    certificates = guarded.cluster.directory / "certificates"
    user = guarded.cluster.user_kubeconfig("stranger")
    assert user.exists()
    found = sorted(certificates.glob("*stranger*.crt"))
    webhook.context.load_cert_chain(found[0], found[0].with_suffix(".key"))
    assert ask(webhook, guarded)[0] != 200
    webhook.context.load_cert_chain(folder / "client.crt", folder / "client.key")
    status, text = ask(webhook, guarded)
    assert status == 200 and json.loads(text)["response"]["allowed"], text


def test_conversion_asks_for_no_certificate(guarded):
    """API servers have none for it, whatever they are told about admission webhooks."""
    node = Object(guarded, "IpNode", f"{guarded.name}-n")
    try:
        node.create("v1", revision="7")
        assert node.read("v2")["status"]["revision"] == "7"
    finally:
        node.remove()
