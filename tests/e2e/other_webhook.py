"""Somebody else's webhooks: a mutating one that is called after ipwarden, a validating one beside it."""

import base64
import contextlib
import http.server
import json
import ssl
import threading

from harness import WEBHOOKS, wait_until
from policies import DENY

PROBE = "e2e-probe"
_MARK = [{"op": "add", "path": "/metadata/labels", "value": {PROBE: "yes"}}]


@contextlib.contextmanager
def changes_after_us(lab, patch):
    """Services that are created in the lab's namespace are changed by patch(object) after ipwarden.

    patch: answers with steps of a JSON patch, or with none. Gives the list of the requests so far.
    """

    def answer(item):
        steps = _MARK if PROBE in (item["metadata"].get("annotations") or {}) else patch(item)
        encoded = base64.b64encode(json.dumps(steps).encode()).decode()
        return {"allowed": True, **({"patchType": "JSONPatch", "patch": encoded} if steps else {})}

    probe = lab.service("probe", annotations={PROBE: "yes"})
    # Configurations are called in the order of their names.
    with _installed(lab, "mutatingwebhookconfigurations", f"z-{lab.name}", answer) as calls:
        wait_until(
            lambda: "labels" in lab.create(probe, dry_run=True)["metadata"],
            "the other webhook to be called",
        )
        calls.clear()
        yield calls


@contextlib.contextmanager
def denies_beside_us(lab):
    """Services of the lab's namespace with the label "e2e-deny" are refused by a validating webhook.

    The API server asks it at the same time as ipwarden, so their addresses are claimed all the same.
    """

    def answer(item):
        denied = DENY in (item["metadata"].get("labels") or {})
        return {"allowed": not denied, **({"status": {"message": "denied"}} if denied else {})}

    probe = lab.service("probe", labels={DENY: "yes"})
    with _installed(lab, "validatingwebhookconfigurations", lab.name, answer) as calls:
        wait_until(
            lambda: not lab.try_create(probe, dry_run=True).ok, "the other webhook to be called"
        )
        yield calls


@contextlib.contextmanager
def _installed(lab, kind, name, answer):
    server = _Server(lab.cluster, answer)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    configuration = {
        "metadata": {"name": name},
        "webhooks": [
            {
                "name": "other.e2e.example.com",
                "clientConfig": {
                    "url": f"https://127.0.0.1:{server.server_address[1]}/",
                    "caBundle": base64.b64encode(lab.cluster.ca_file.read_bytes()).decode(),
                },
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "namespaceSelector": {
                    "matchLabels": {"kubernetes.io/metadata.name": lab.namespace}
                },
                "rules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "resources": ["services"],
                        "operations": ["CREATE", "UPDATE"],
                    }
                ],
            }
        ],
    }
    try:
        made = lab.request("POST", f"{WEBHOOKS}/{kind}", configuration)
        assert made.status == 201, made
        yield server.calls
    finally:
        lab.request("DELETE", f"{WEBHOOKS}/{kind}/{name}")
        server.shutdown()
        server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, cluster, answer):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.calls = []
        certificates = cluster.directory / "certificates"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = review["request"]
        self.server.calls.append(request)
        response = {"uid": request["uid"], **self.server.answer(request["object"])}
        answer = json.dumps({**review, "request": None, "response": response}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass
