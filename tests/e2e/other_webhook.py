"""Somebody else's mutating webhook, which the API server calls after ipwarden's."""

import base64
import contextlib
import http.server
import json
import ssl
import threading

from harness import WEBHOOKS, wait_until

PROBE = "e2e-probe"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = review["request"]
        self.server.calls.append(request)
        patch = self.server.patch(request["object"])
        response = {"uid": request["uid"], "allowed": True}
        if patch:
            response["patchType"] = "JSONPatch"
            response["patch"] = base64.b64encode(json.dumps(patch).encode()).decode()
        answer = json.dumps({**review, "request": None, "response": response}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, cluster, patch):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.patch = patch
        self.calls = []
        certificates = cluster.directory / "certificates"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )


@contextlib.contextmanager
def changes_after_us(lab, patch):
    """Services that are created in the lab's namespace are changed by patch(object) after ipwarden.

    patch: answers with steps of a JSON patch, or with none. Gives the list of the requests so far.
    """
    server = _Server(lab.cluster, lambda item: patch(item) if not _is_probe(item) else _MARK)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    # Configurations are called in the order of their names.
    name = f"z-{lab.name}"
    configuration = {
        "metadata": {"name": name},
        "webhooks": [
            {
                "name": "after.e2e.example.com",
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
                        "operations": ["CREATE"],
                    }
                ],
            }
        ],
    }
    path = f"{WEBHOOKS}/mutatingwebhookconfigurations"
    try:
        answer = lab.request("POST", path, configuration)
        assert answer.status == 201, answer
        probe = lab.service("probe", annotations={PROBE: "yes"})
        wait_until(
            lambda: "labels" in lab.create(probe, dry_run=True)["metadata"],
            "the other webhook to be called",
        )
        server.calls.clear()
        yield server.calls
    finally:
        lab.request("DELETE", f"{path}/{name}")
        server.shutdown()
        server.server_close()


_MARK = [{"op": "add", "path": "/metadata/labels", "value": {PROBE: "yes"}}]


def _is_probe(item):
    return PROBE in (item["metadata"].get("annotations") or {})
