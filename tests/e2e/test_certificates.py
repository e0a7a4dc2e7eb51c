"""Certificates are renewed while Services are being created, and none of these notices."""

import base64
import json
import socket
import ssl
import subprocess
import time

import pytest

import harness
import objects
from harness import FULL, NAMESPACE, Load, wait_until
from replicas import BINARY
from webhook import Webhook

# Each takes half a minute: API servers are given the time to learn of every step.
ROTATIONS = 2 if FULL else 1


def certs(lab, *arguments, check=True):
    """Runs `ipwarden certs` as a user of the cluster would."""
    done = subprocess.run(
        [BINARY, "certs", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
        env={
            "PATH": "/usr/bin:/bin",
            "KUBECONFIG": str(lab.cluster.kubeconfig),
            "HOME": "/nowhere",
        },
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def options(lab):
    return (f"--kubeconfig={lab.cluster.kubeconfig}", f"--namespace={NAMESPACE}")


def served(webhook):
    """The certificate that one connection is shown, DER; checked against the bundle."""
    with socket.create_connection((webhook.host, webhook.port)) as raw:
        with webhook.context.wrap_socket(raw, server_hostname=webhook.host) as connection:
            return connection.getpeercert(binary_form=True)


def test_the_webhook_is_trusted_by_the_bundle_and_by_nothing_else(lab):
    webhook = Webhook(lab.cluster)
    assert served(webhook)
    with pytest.raises(ssl.SSLCertVerificationError):
        with socket.create_connection((webhook.host, webhook.port)) as raw:
            context = ssl.create_default_context(cafile=lab.cluster.ca_file)
            context.wrap_socket(raw, server_hostname=webhook.host)


def expiries(lab):
    """When the certificates end that the replicas serve, as Unix time."""
    name = "ipwarden_certificate_expiry_timestamp_seconds"
    return [replica.count(name) for replica in lab.fleet.replicas]


def test_certificates_rotate_under_a_load_of_creates_that_all_succeed(lab_of_two):
    lab = lab_of_two
    lab.pool(size=8000)
    before = Webhook(lab.cluster)
    old = served(before)
    expiry = expiries(lab)
    assert min(expiry) > time.time() + 3600
    answers = []

    def create(index):
        answers.append(lab.try_create(lab.service(f"svc-{index}", auto=True), server=index % 2))

    with Load(4, create, pause=0.2):
        wait_until(lambda: len(answers) > 20, "creates to begin")
        for _ in range(ROTATIONS):
            certs(lab, "rotate", "--wait", *options(lab))
        count = len(answers)
        wait_until(lambda: len(answers) > count + 20, "creates to go on")
    refused = [str(answer) for answer in answers if not answer.ok]
    assert not refused, refused[:3]
    print(f"{len(answers)} creates during {ROTATIONS} rotations")
    after = Webhook(lab.cluster)
    assert after.bundle != before.bundle
    # Each connection may reach the other replica.
    shown = {served(after) for _ in range(20)}
    assert old not in shown
    assert expiries(lab) >= expiry
    lab.check_at_rest(seconds=120)


def install_webhooks_anew(lab):
    """Takes away what replicas wrote into the webhook configurations."""
    for kind in ("mutating", "validating"):
        path = f"{harness.WEBHOOKS}/{kind}webhookconfigurations/ipwarden"
        assert lab.request("GET", path).body["webhooks"]
        lab.cluster.kubectl("delete", f"{kind}webhookconfiguration", "ipwarden")
    harness.install(lab.cluster)


def called(lab):
    """The secret segments that API servers are told to call."""
    return frozenset(path.split("/")[1] for path in Webhook(lab.cluster).paths.values())


def test_the_path_moves_under_a_load_of_creates_that_all_succeed(lab_of_two):
    lab = lab_of_two
    lab.fleet.replace("--path-period=2s")
    lab.pool(size=1000)
    answers = []
    segments = []

    def create(index):
        answers.append(lab.try_create_as_told(lab.service(auto=True), server=index % 2))

    def look():
        for segment in called(lab).difference(segments):
            segments.append(segment)
        return len(segments) > 3

    with Load(2, create, pause=0.1):
        wait_until(look, lambda: f"the path to move three times: {segments}")
        count = len(answers)
        wait_until(lambda: len(answers) > count + 20, "creates to go on")
    refused = [str(answer) for answer in answers if not answer.ok]
    assert not refused, refused[:3]
    print(f"{len(answers)} creates, {len(segments)} paths")


def test_the_path_of_a_directory_moves_with_its_key(lab_of_two, tmp_path):
    """What cert-manager would mount: all replicas have it, and none is told a path."""
    lab = lab_of_two
    for name in ("tls.crt", "tls.key", "ca.crt"):
        secret = f"/api/v1/namespaces/{NAMESPACE}/secrets/ipwarden-certificates"
        value = lab.request("GET", secret).body["data"][name]
        (tmp_path / name).write_bytes(base64.b64decode(value))
    # What was called before is left alone for minutes: it may be of replicas with another key.
    lab.fleet.stop()
    install_webhooks_anew(lab)
    lab.fleet.replace("--path-period=2s", f"--tls-dir={tmp_path}")
    lab.pool(size=1000)
    wait_until(lambda: lab.try_create(lab.service(auto=True)).ok, "the path to be known")
    answers = []
    segments = []

    def create(index):
        answers.append(lab.try_create_as_told(lab.service(auto=True), server=index % 2))

    def look():
        for segment in called(lab).difference(segments):
            segments.append(segment)
        return len(segments) > 2

    with Load(2, create, pause=0.1):
        wait_until(look, lambda: f"the path to move twice: {segments}")
    refused = [str(answer) for answer in answers if not answer.ok]
    assert not refused, refused[:3]


def test_certificates_are_shown(lab):
    text = certs(lab, "show", *options(lab)).stdout
    assert text.strip()
    parsed = json.loads(certs(lab, "show", "-o", "json", *options(lab)).stdout)
    assert parsed


def test_a_secret_that_was_deleted_is_filled_again_once_it_is_applied(lab):
    lab.pool(size=8)
    path = f"/api/v1/namespaces/{NAMESPACE}/secrets/ipwarden-certificates"
    old = lab.request("GET", path).body
    assert lab.request("DELETE", path).ok
    # ipwarden may not create Secrets. It goes on with what it has, and says what to do.
    replica = lab.fleet.replicas[0]
    wait_until(lambda: "apply -k deploy/ brings it" in replica.tail(), replica.tail)
    assert lab.try_create(lab.service(auto=True)).ok
    kustomized = lab.kubectl("kustomize", harness.TOP / "deploy", namespace=False).stdout
    secret = next(text for text in kustomized.split("\n---\n") if "kind: Secret" in text)
    lab.kubectl("apply", "-f", "-", input=secret, namespace=False)

    def filled():
        stored = lab.request("GET", path).body
        return stored if stored.get("data") else None

    new = wait_until(filled, "the Secret to be filled")
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    for key in ("ca.crt", "ca.key", "path"):
        assert new["data"][key] == old["data"][key], key
    lab.kubectl("apply", "-f", "-", input=secret, namespace=False)
    assert lab.request("GET", path).body["data"] == new["data"]
    wait_until(lambda: lab.try_create(lab.service(auto=True)).ok, "creates to work")


def test_webhook_configurations_that_were_applied_anew_are_completed(lab):
    lab.pool(size=8)
    install_webhooks_anew(lab)

    def works():
        answer = lab.try_create(lab.service(auto=True))
        return answer.ok and objects.external(answer.body)

    wait_until(works, "the webhooks to be called again")
    lab.check_at_rest()
