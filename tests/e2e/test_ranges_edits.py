"""Specifications that were acted upon don't change, however they are edited; all else may."""

import json
import subprocess

import pytest

import objects
from harness import wait_until

import cluster_binaries

# What is stored, and for each kind: an edit of all that never changes, and the fields it is about.
RANGE = {"mode": "RoundRobin", "ranges": ["10.0.0.0/24", "10.0.2.0/24"], "defaultPrefixLength": 28}
RANGE_EDIT = {"mode": "FirstMatch", "ranges": ["10.0.0.0/24"], "defaultPrefixLength": 27}
REQUEST = {"request": "/26", "description": "for the printers"}
REQUEST_EDIT = {
    "range": {"name": "other", "namespace": "elsewhere"},
    "request": "25",
    "description": "for the cameras",
}
FIELDS = {
    "IPAMRange": ["spec.defaultPrefixLength", "spec.mode", "spec.ranges"],
    "IPAMRequest": ["spec.description", "spec.range.name", "spec.range.namespace", "spec.request"],
}
EDITS = {"IPAMRange": RANGE_EDIT, "IPAMRequest": REQUEST_EDIT}
KINDS = sorted(FIELDS)


@pytest.fixture
def made(lab):
    """A range and a request as manifests, which have been applied and served."""
    manifests = {
        "IPAMRange": objects.ip_range("blue", lab.namespace, **RANGE),
        "IPAMRequest": lab.ask("blue", name="one", **REQUEST),
    }
    manifests["IPAMRange"]["spec"]["ranges"] = RANGE["ranges"]
    for item in manifests.values():
        lab.try_create(item, dry_run=True)
        lab.create(item)
    lab.granted(manifests["IPAMRequest"])
    lab.check_at_rest()
    return manifests


def edited(item):
    return {**item, "spec": {**item["spec"], **EDITS[item["kind"]]}}


def causes(answer):
    return sorted(cause["field"] for cause in answer.body["details"]["causes"])


def assert_refused(answer, kind):
    assert answer.status == 422 and answer.body["reason"] == "Invalid", answer
    assert causes(answer) == FIELDS[kind], answer
    messages = {c["field"]: c["message"] for c in answer.body["details"]["causes"]}
    for field, message in messages.items():
        assert "immutable" in message and f"create a second {kind}" in message, (field, message)
    if kind == "IPAMRange":
        assert "28" in messages["spec.defaultPrefixLength"]
        assert "27" in messages["spec.defaultPrefixLength"]
        assert "RoundRobin" in messages["spec.mode"] and "FirstMatch" in messages["spec.mode"]
        assert "10.0.2.0/24" in messages["spec.ranges"]
    else:
        assert "/26" in messages["spec.request"] and "25" in messages["spec.request"]
        assert "blue" in messages["spec.range.name"] and "other" in messages["spec.range.name"]


def unchanged(lab, item, before):
    after = lab.get(item)
    assert after["spec"] == before["spec"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_patch_is_refused_field_by_field(lab, made, kind):
    item = made[kind]
    before = lab.get(item)
    assert_refused(lab.try_patch(item, {"spec": EDITS[kind]}), kind)
    unchanged(lab, item, before)
    steps = [{"op": "replace", "path": "/spec", "value": edited(before)["spec"]}]
    answer = lab.try_patch(item, steps, content_type="application/json-patch+json")
    assert_refused(answer, kind)
    # Each field alone, and nothing about the others.
    for field in FIELDS[kind]:
        _, *names = field.split(".")
        value = EDITS[kind]
        for name in names:
            value = value[name]
        patch = value
        for name in reversed(names):
            patch = {name: patch}
        answer = lab.try_patch(item, {"spec": patch})
        assert answer.status == 422 and causes(answer) == [field], answer
    unchanged(lab, item, before)


@pytest.mark.parametrize("kind", KINDS)
def test_removing_a_field_is_a_change_too(lab, made, kind):
    item = made[kind]
    before = lab.get(item)
    field = {"IPAMRange": "defaultPrefixLength", "IPAMRequest": "request"}[kind]
    answer = lab.try_patch(item, {"spec": {field: None}})
    assert answer.status == 422 and causes(answer) == [f"spec.{field}"], answer
    unchanged(lab, item, before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_replacement_is_refused_field_by_field(lab, made, kind):
    item = made[kind]
    before = lab.get(item)
    assert_refused(lab.request("PUT", objects.path_of(item), edited(before)), kind)
    done = lab.kubectl("replace", "-f", "-", input=json.dumps(edited(item)), check=False)
    assert done.returncode == 1
    for field in FIELDS[kind]:
        assert f"{field}: " in done.stderr, done.stderr
    unchanged(lab, item, before)


@pytest.mark.parametrize(
    "way", [(), ("--server-side", "--force-conflicts")], ids=["client", "server"]
)
@pytest.mark.parametrize("kind", KINDS)
def test_an_applied_change_is_refused_field_by_field(lab, made, kind, way):
    item = made[kind]
    lab.apply(item, *way)
    before = lab.get(item)
    done = lab.apply(edited(item), *way, check=False)
    assert done.returncode == 1
    for field in FIELDS[kind]:
        assert f"{field}: " in done.stderr, done.stderr
    assert "immutable" in done.stderr
    unchanged(lab, item, before)
    # And what is there can be applied over and over.
    for _ in range(2):
        assert "unchanged" in lab.apply(item).stdout or way
    unchanged(lab, item, before)


class Editor:
    """An editor for `kubectl edit`: changes the file once, and keeps what it's shown then."""

    SCRIPT = """#!/bin/sh
if [ -e '{seen}' ]; then
    cp "$1" '{shown}'
else
    : > '{seen}'
    sed {changes} "$1" > "$1.new" && cat "$1.new" > "$1" && rm "$1.new"
fi
"""

    def __init__(self, directory, **changes):
        self.directory = directory
        self.shown = directory / "shown"
        self.program = directory / "editor"
        expressions = " ".join(f"-e 's|{old}|{new}|'" for old, new in changes.items())
        self.program.write_text(
            self.SCRIPT.format(seen=directory / "seen", shown=self.shown, changes=expressions)
        )
        self.program.chmod(0o700)

    def run(self, lab, kind, name):
        return subprocess.run(
            [
                cluster_binaries.require("kubectl"), "edit", kind, name,
                f"--kubeconfig={lab.cluster.kubeconfig}", f"--namespace={lab.namespace}",
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": "/nowhere",
                "TMPDIR": str(self.directory),
                "KUBECACHEDIR": str(self.directory / "cache"),
                "KUBE_EDITOR": str(self.program),
            },
        )  # fmt: skip


SED = {
    "IPAMRange": {
        "mode: RoundRobin": "mode: FirstMatch",
        "- 10.0.2.0/24": "- 10.0.3.0/24",
        "defaultPrefixLength: 28": "defaultPrefixLength: 27",
    },
    "IPAMRequest": {
        "request: /26": 'request: "25"',
        "printers": "cameras",
        "name: blue": "name: other",
        "    namespace: .*": "    namespace: elsewhere",
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_kubectl_edit_shows_the_fields_that_never_change(lab, made, kind, tmp_path):
    item = made[kind]
    before = lab.get(item)
    editor = Editor(tmp_path, **SED[kind])
    done = editor.run(lab, kind.lower(), item["metadata"]["name"])
    assert done.returncode == 1, done.stdout + done.stderr
    # kubectl opens the editor again and says above the text what was wrong with it.
    comment = [line for line in editor.shown.read_text().splitlines() if line.startswith("# * ")]
    assert sorted(line.removeprefix("# * ").partition(":")[0] for line in comment) == FIELDS[kind]
    assert all("immutable" in line for line in comment)
    unchanged(lab, item, before)


@pytest.mark.parametrize("kind", KINDS)
def test_kubectl_edit_of_a_label_is_fine(lab, made, kind, tmp_path):
    item = made[kind]
    lab.patch(item, {"metadata": {"labels": {"team": "red"}}})
    editor = Editor(tmp_path, **{"team: red": "team: green"})
    done = editor.run(lab, kind.lower(), item["metadata"]["name"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert lab.get(item)["metadata"]["labels"] == {"team": "green"}


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
@pytest.mark.parametrize("kind", KINDS)
def test_metadata_stays_free(lab, made, kind, running):
    item = made[kind]
    if not running:
        lab.fleet.stop()
    before = lab.get(item)
    finalizers = [*(before["metadata"].get("finalizers") or ()), "example.com/mine"]
    patch = {"labels": {"team": "red"}, "annotations": {"note": "x"}, "finalizers": finalizers}
    stored = lab.patch(item, {"metadata": patch})
    assert stored["metadata"]["labels"]["team"] == "red"
    assert "example.com/mine" in stored["metadata"]["finalizers"]
    unchanged(lab, item, before)
    if not running:
        # What is not judged is not stored.
        answer = lab.try_patch(item, {"spec": EDITS[kind]})
        assert answer.status == 500 and "ipam.ipwarden.ipcontroller.ext" in answer.message
        unchanged(lab, item, before)
        lab.fleet.start()
    lab.patch(item, {"metadata": {"finalizers": before["metadata"].get("finalizers")}})
    assert lab.get(made["IPAMRequest"])["status"] == before["status"] or kind == "IPAMRange"
    lab.check_at_rest()


@pytest.mark.parametrize("kind", KINDS)
def test_the_status_subresource_touches_no_spec_and_an_edit_no_status(lab, made, kind):
    item = made[kind]
    before = lab.get(item)
    # A spec that comes along with a status is left out by the API server, so nobody is asked.
    note = {"type": "example.com/Seen", "status": "True", "reason": "ByHand", "message": ""}
    note["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    status = {**before["status"], "conditions": [*before["status"]["conditions"], note]}
    answer = lab.try_patch(item, {"spec": EDITS[kind], "status": status}, subresource="status")
    assert answer.status == 200, answer
    unchanged(lab, item, before)
    # And a status that comes along with metadata is left out too.
    forged = {"cidr": "10.0.2.0/24", "epoch": 99, "used": 0, "conditions": []}
    lab.patch(item, {"metadata": {"labels": {"a": "b"}}, "status": forged})
    now = lab.get(item)["status"]
    assert now.get("cidr") == before["status"].get("cidr")
    assert now.get("epoch") == before["status"].get("epoch")
    assert objects.condition(lab.get(item), "example.com/Seen"), "another's condition is kept"
    lab.check_at_rest()


def test_a_status_that_was_wiped_is_written_again(lab, made):
    request = lab.get(made["IPAMRequest"])
    answer = lab.try_patch(request, {"status": None}, subresource="status")
    assert answer.status == 200, answer
    wait_until(
        lambda: objects.cidr(lab.get(request)) == objects.cidr(request),
        lambda: f"{objects.cidr(request)} again in {lab.get(request)}",
    )
    lab.granted(request)
    answer = lab.try_patch(made["IPAMRange"], {"status": None}, subresource="status")
    assert answer.status == 200, answer
    lab.is_for_reason(made["IPAMRange"], "Serving")
    lab.check_at_rest()


def test_a_cidr_that_was_written_by_hand_gives_nothing_away(lab, made):
    """Whoever may write status could take what another has; that must not become a grant."""
    other = lab.granted(lab.create(lab.ask("blue", "/26", name="two")))
    held = objects.cidr(lab.get(made["IPAMRequest"]))
    answer = lab.try_patch(other, {"status": {"cidr": held}}, subresource="status")
    assert answer.status == 200, answer
    wait_until(
        lambda: (
            objects.reason(lab.get(other)) == "Conflict" or objects.cidr(lab.get(other)) != held
        ),
        lambda: f"it not to stand in {lab.get(other)}",
    )
    assert objects.cidr(lab.granted(made["IPAMRequest"])) == held
    lab.check(rules=("I1",))
