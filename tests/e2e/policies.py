"""Ways to make the API server refuse a Service that ipwarden has admitted, early or late."""

import contextlib

from harness import WEBHOOKS, wait_until

DENY = "e2e-deny"


@contextlib.contextmanager
def denied_by_label(lab):
    """Services of the lab's namespace with the label "e2e-deny" are refused by a policy.

    Policies are judged between the mutating and the validating webhooks.
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


def refuse_by_quota(lab, what="services", probe=None, namespace=None):
    """No further Service, or no LoadBalancer, fits into the lab's namespace or another.

    Quota is the last thing that is judged. probe: a Service that it is for, a plain one by default.
    """
    path = f"/api/v1/namespaces/{namespace or lab.namespace}/resourcequotas"
    answer = lab.request(
        "POST", path, {"metadata": {"name": "none"}, "spec": {"hard": {what: "0"}}}
    )
    assert answer.status == 201, answer
    # The controller that would count isn't running.
    status = {"status": {"hard": {what: "0"}, "used": {what: "0"}}}
    answer = lab.request("PATCH", f"{path}/none/status", status)
    assert answer.status == 200, answer
    probe = probe or lab.service("probe")
    wait_until(
        lambda: "exceeded quota" in lab.try_create(probe, dry_run=True).message,
        "the quota to come into force",
    )
