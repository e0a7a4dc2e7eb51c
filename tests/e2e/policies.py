"""Ways to make the API server refuse a Service after ipwarden has claimed an address for it."""

import contextlib

from harness import WEBHOOKS, wait_until

DENY = "e2e-deny"


@contextlib.contextmanager
def denied_by_label(lab):
    """Services of the lab's namespace with the label "e2e-deny" are refused by a policy.

    Policies are judged after the mutating webhooks, so their addresses have been claimed by then.
    """
    name = lab.name
    policy = {
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "namespaceSelector": {
                    "matchLabels": {"kubernetes.io/metadata.name": lab.namespace}
                },
                "resourceRules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "resources": ["services"],
                        "operations": ["CREATE", "UPDATE"],
                    }
                ],
            },
            "validations": [
                {
                    "expression": f"!('{DENY}' in object.metadata.?labels.orValue({{}}))",
                    "message": "denied by label",
                }
            ],
        },
    }
    binding = {
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    paths = [
        f"{WEBHOOKS}/validatingadmissionpolicies",
        f"{WEBHOOKS}/validatingadmissionpolicybindings",
    ]
    try:
        for path, body in zip(paths, (policy, binding), strict=True):
            answer = lab.request("POST", path, body)
            assert answer.status == 201, answer
        # A Service that wants no address shows when the policy has come into force.
        probe = lab.service("probe", labels={DENY: "yes"})
        wait_until(
            lambda: "denied by label" in lab.try_create(probe, dry_run=True).message,
            "the policy to come into force",
        )
        yield
    finally:
        for path in reversed(paths):
            lab.request("DELETE", f"{path}/{name}")


def refuse_by_quota(lab):
    """No further Service fits into the namespace; quota is the last thing that is judged."""
    path = f"/api/v1/namespaces/{lab.namespace}/resourcequotas"
    answer = lab.request(
        "POST", path, {"metadata": {"name": "none"}, "spec": {"hard": {"services": "0"}}}
    )
    assert answer.status == 201, answer
    # The controller that would count isn't running.
    status = {"status": {"hard": {"services": "0"}, "used": {"services": "0"}}}
    answer = lab.request("PATCH", f"{path}/none/status", status)
    assert answer.status == 200, answer
    probe = lab.service("probe")
    wait_until(
        lambda: "exceeded quota" in lab.try_create(probe, dry_run=True).message,
        "the quota to come into force",
    )
