"""`python -m k8s status` shows what runs, and the reason of what does not."""

import pytest

from tests.chart.console import STALLS, container, ready, starting


def test_status_shows_pods_versions_states_and_answers(console, cluster):
    ready(cluster, "2", "2")
    code, out, err = console.run("status")
    assert (code, err) == (0, "")
    assert "release pynumdraw in drawing: revision 2 (deployed), chart pynumdraw-0.1.0" in out
    assert "model digits: version 2 is wanted" in out
    assert ["serving-2-0", "n1", "2", "ready", "0"] in [line.split() for line in out.splitlines()]
    assert ["ab12cd34", "2", "AVAILABLE"] in [line.split() for line in out.splitlines()]
    assert "Answers of the last minute: version 1: 30, version 2: 70" in out
    assert "The rollout is complete." in out


@pytest.mark.parametrize("stall", STALLS)
def test_status_gives_the_reason_of_a_rollout_that_is_not_complete(console, cluster, stall):
    ready(cluster, "1", "1", template="old")
    status, sentence, stuck = STALLS[stall]
    cluster.pod("serving", "new", "2", **status)
    cluster.logs["new"] = "waiting for version 2 in /store/digits: 20 of 1800 s; it holds 1\n"
    code, out, _ = console.run("status")
    assert code == 0
    assert sentence in out
    assert "The rollout is not complete: 2 of 2 serving pods are ready, 1 are new." in out
    assert ("It is stuck." in out) is stuck


def test_status_names_a_gateway_that_cannot_be_asked(console, cluster):
    ready(cluster, "2", "2")
    cluster.answers.clear()
    code, out, _ = console.run("status")
    assert code == 0 and "gateway-a could not be asked" in out and "Answers of the last minute: nothing yet" in out


PROVISIONER = "no volume of class one-node can be ReadWriteMany"


@pytest.mark.parametrize(
    ("claim", "classes", "events", "sentences"),
    [
        (
            {"accessModes": ["ReadWriteMany"], "storageClassName": "one-node"},
            ["one-node"],
            [PROVISIONER, "Waiting for a volume to be created"],
            [
                "is Pending: storage class one-node, ReadWriteMany",
                PROVISIONER,
                "Set store.accessMode=ReadWriteOnce",
                "or store.storageClass to a class",
            ],
        ),
        (
            {"accessModes": ["ReadWriteOnce"]},
            ["a", "b"],
            [],
            ["storage class none, ReadWriteOnce", "no default storage class", "Set store.storageClass to one of: a, b."],
        ),
        ({"accessModes": ["ReadWriteOnce"]}, None, [], ["no default storage class. Set store.storageClass. A claim does not change"]),
        (
            {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast"},
            ["a"],
            [],
            ["storage class fast", "There is no such class. Set store.storageClass to one of: a."],
        ),
        (
            {"accessModes": ["ReadWriteOnce"], "storageClassName": "a"},
            ["a"],
            ["waiting for first consumer"],
            ["storage class a, ReadWriteOnce (waiting for first consumer)", "bound with the first pod that mounts it"],
        ),
        (
            {"accessModes": ["ReadOnlyMany"], "storageClassName": "a"},
            None,
            [],
            ["storage class a, ReadOnlyMany", "Not every class can do ReadOnlyMany"],
        ),
    ],
    ids=["mode", "no-default", "no-default-unlisted", "no-such-class", "first-consumer", "read-only"],
)
def test_status_says_why_a_claim_is_not_bound_and_what_to_set(console, cluster, claim, classes, events, sentences):
    cluster.claim = {"spec": claim, "status": {"phase": "Pending"}}
    cluster.classes = classes
    name = "digits-pynumdraw-models"
    about = {"metadata": {}, "involvedObject": {"name": name}}
    cluster.events = [{**about, "type": "Warning" if each == PROVISIONER else "Normal", "message": each} for each in events]
    code, out, _ = console.run("status")
    assert code == 0 and f"claim {name} is Pending" in out
    assert all(sentence in out for sentence in sentences), out


def test_status_says_nothing_of_a_claim_that_is_bound(console, cluster):
    assert "claim" not in console.run("status")[1]


@pytest.mark.parametrize(
    ("reason", "message", "restarts", "shown"),
    [
        ("FailedMount", "references non-existent config key: monitoring.config", 0, True),
        ("FailedAttachVolume", "Multi-Attach error for volume", 0, True),
        ("Unhealthy", "Startup probe failed: HTTP probe failed with statuscode: 404", 2, True),
        ("Unhealthy", "Startup probe failed: HTTP probe failed with statuscode: 404", 0, False),
        ("BackOff", "Back-off restarting failed container", 2, False),
    ],
)
def test_status_shows_the_event_that_tells_why_a_pod_does_not_start(console, cluster, reason, message, restarts, shown):
    status = starting(init=[container("fetch", is_ready=True)], containers=[container("serving", running=True, restarts=restarts)])
    pod = cluster.pod("serving", "new", "2", **status)
    pod["spec"] = cluster.deployment("serving")["spec"]["template"]["spec"]
    cluster.events = [{"metadata": {}, "involvedObject": {"name": "new"}, "reason": reason, "message": message}]
    asked = " (it asks for /monitoring/prometheus/metrics)" if reason == "Unhealthy" else ""
    assert (f"{message}{asked}" in console.run("status")[1]) is shown
