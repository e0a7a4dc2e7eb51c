"""The webhook as an API server reaches it, for requests that no API server would send."""

import base64
import http.client
import json
import ssl
import urllib.parse

from harness import NAME, WEBHOOKS


class Webhook:
    """Where the webhook configurations say that ipwarden is, with the secret path."""

    def __init__(self, cluster):
        self.paths = {}
        for kind, path in (
            ("mutating", f"{WEBHOOKS}/mutatingwebhookconfigurations/{NAME}"),
            ("validating", f"{WEBHOOKS}/validatingwebhookconfigurations/{NAME}"),
        ):
            status, configuration = cluster.request("GET", path)
            assert status == 200, configuration
            client = configuration["webhooks"][0]["clientConfig"]
            url = urllib.parse.urlsplit(client["url"])
            self.paths[kind] = url.path
        self.host, self.port = url.hostname, url.port
        self.bundle = base64.b64decode(client["caBundle"]).decode()
        self.context = ssl.create_default_context(cadata=self.bundle)

    def connect(self, timeout=30):
        return http.client.HTTPSConnection(
            self.host, self.port, context=self.context, timeout=timeout
        )

    def post(
        self, body, path=None, content_type="application/json", connection=None, method="POST"
    ):
        """(status, text) of one request; on a connection of its own unless one is given."""
        own = connection or self.connect()
        headers = {"Content-Type": content_type} if content_type else {}
        try:
            own.request(method, path or f"{self.paths['mutating']}?timeout=10s", body, headers)
            response = own.getresponse()
            return response.status, response.read().decode()
        finally:
            if connection is None:
                own.close()

    def review(self, item, **options):
        """(status, the response part) of a dry-run AdmissionReview for an object."""
        code, text = self.post(json.dumps(review(item)), **options)
        return code, json.loads(text)["response"]


def review(item, operation="CREATE", uid="e2e-0001"):
    """An AdmissionReview as API servers send it, as a dry run."""
    return {
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": uid,
            "kind": {"group": "", "version": "v1", "kind": "Service"},
            "resource": {"group": "", "version": "v1", "resource": "services"},
            "requestKind": {"group": "", "version": "v1", "kind": "Service"},
            "requestResource": {"group": "", "version": "v1", "resource": "services"},
            "name": item["metadata"].get("name", ""),
            "namespace": item["metadata"]["namespace"],
            "operation": operation,
            "userInfo": {"username": "e2e"},
            "object": item,
            "oldObject": None,
            "dryRun": True,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        },
    }


def complaint(status, text):
    """What an answer says is wrong, or None if it says that nothing is."""
    if status >= 400:
        return text.strip() or None
    response = json.loads(text)["response"]
    if response["allowed"]:
        return None
    return response["status"]["message"]
