"""`python -m k8s` shows what runs and why not, refuses what cannot work, and leaves changes to helm."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from k8s.__main__ import main
from k8s.errors import Refused
from k8s.store_job import list_job
from pynumdraw import __version__
from tests.chart import tools
from tests.chart.conftest import KUBERNETES, validate
from tests.chart.fake_cluster import NAMESPACE, FakeCluster
from tests.stack import free_port, wait_until

PROGRESS = re.compile(r" *\d+ s  gateway ")
VALID = {"created": None, "recipe": "quick", "accuracy": 0.99, "bytes": 1, "state": "valid", "reason": None}
CORRUPT = "/store/digits/4 is corrupt: variables/variables.index is missing"
LOAD_FAILURE = "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available"
LATER = "E versions.py:158] Loading servable: {name: digits version: 4} failed (try 3 of 3): NOT_FOUND: No attr named 'T' in NodeDef "


class Console:
    """`python -m k8s` against the fake cluster."""

    def __init__(self, cluster: FakeCluster, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.cluster = cluster
        self.state = folder / "helm.json"
        script = folder / "helm"
        script.write_text(f"#!{sys.executable} -IS\n" + Path(__file__).with_name("fake_helm.py").read_text())
        script.chmod(0o755)
        self.capture = capture
        self.environ = {
            **os.environ,
            "KUBECONFIG": str(cluster.kubeconfig(folder / "kubeconfig")),
            "HELM": str(script),
            "FAKE_HELM": str(self.state),
        }
        self.set_helm(
            history=[
                {"revision": 1, "status": "superseded", "chart": "pynumdraw-0.1.0"},
                {"revision": 2, "status": "deployed", "chart": "pynumdraw-0.1.0"},
            ]
        )

    def set_helm(self, **facts):
        state = {"calls": [], "versions": {"1": 1, "2": 2}} | (json.loads(self.state.read_text()) if self.state.exists() else {})
        self.state.write_text(json.dumps(state | facts))

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "k8s", *words],
            cwd=tools.ROOT,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str) -> tuple[int, str, str]:
        with mock.patch.dict(os.environ, self.environ, clear=True):
            code = main(list(words))
        return code, *self.capture.readouterr()

    def helm_calls(self, verb: str) -> list[list[str]]:
        return [call for call in json.loads(self.state.read_text())["calls"] if verb in call]


@pytest.fixture
def cluster(render):
    with FakeCluster(render(**{"model.version": 2, "gateway.replicas": 1})) as cluster:
        cluster.pod("gateway", "gateway-a")
        cluster.answers["gateway-a"] = {
            "answers": {"window_s": 60, "by_version": {"1": 30, "2": 70}},
            "serving": [{"address": "ab12cd34", "version": 2, "state": "AVAILABLE", "error": None}],
        }
        yield cluster


@pytest.fixture
def console(cluster, tmp_path, capsys):
    return Console(cluster, tmp_path, capsys)


def ready(cluster, *versions, template=None):
    for number, version in enumerate(versions):
        cluster.pod("serving", f"serving-{version}-{number}", version, template)


def container(name, *, running=False, waiting=None, message=None, code=1, restarts=0, is_ready=False):
    ended = (
        {"terminated": {"exitCode": code, "reason": "Error", "message": message, "startedAt": None, "finishedAt": None, "containerID": ""}}
        if message
        else {}
    )
    state = {"running": {}} if running else {"waiting": {"reason": waiting, "message": "back-off"}} if waiting else ended
    last = ended if state is not ended else {}
    return {"name": name, "image": "", "imageID": "", "ready": is_ready, "restartCount": restarts, "state": state, "lastState": last}


def starting(init=(), containers=(), conditions=({"type": "Ready", "status": "False"},)):
    return {"phase": "Pending", "conditions": list(conditions), "initContainerStatuses": list(init), "containerStatuses": list(containers)}


STALLS = {
    "corrupt": (
        starting(init=[container("fetch", waiting="CrashLoopBackOff", message=CORRUPT, code=2, restarts=3)]),
        f"failing: fetch: {CORRUPT}",
        True,
    ),
    "unloadable": (
        starting(
            init=[container("fetch", is_ready=True)],
            containers=[container("serving", waiting="CrashLoopBackOff", message=LOAD_FAILURE, code=255, restarts=2)],
        ),
        f"failing: serving: {LOAD_FAILURE}",
        True,
    ),
    "last-words-before-other-lines": (
        starting(
            init=[container("fetch", is_ready=True)],
            containers=[container("serving", message=f"I a line\n{LOAD_FAILURE}\n{5 * LATER}", code=255, restarts=1)],
        ),
        f"failing: serving: {LOAD_FAILURE} {5 * LATER}"[: len("failing: serving: ") + 600],
        True,
    ),
    "missing": (
        starting(init=[container("fetch", running=True)]),
        "waiting: waiting for version 2 in /store/digits: 20 of 1800 s; it holds 1",
        False,
    ),
    "image": (starting(init=[container("fetch", waiting="ImagePullBackOff")]), "failing: fetch: ImagePullBackOff: back-off", True),
    "no-room": (
        starting(conditions=[{"type": "PodScheduled", "status": "False", "message": "0/2 nodes are available: 2 Insufficient cpu."}]),
        "pending: 0/2 nodes are available: 2 Insufficient cpu.",
        False,
    ),
    "slow": (starting(init=[container("fetch", is_ready=True)], containers=[container("serving", running=True)]), "loading", False),
}


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


def test_upgrade_changes_the_version_by_helm_and_keeps_the_other_values(console, cluster):
    ready(cluster, "2", "2")
    cluster.store = [{"version": 2, **VALID}, {"version": 3, **VALID}]
    code, out, err = console.run("upgrade", "3")
    assert (code, err) == (0, "")
    assert console.helm_calls("upgrade") == [
        ["--namespace", NAMESPACE, "upgrade", "pynumdraw", str(tools.CHART), "--reset-then-reuse-values", "--set", "model.version=3"]
    ]
    assert "version 2 → 3; chart pynumdraw-0.1.0 → pynumdraw-0.2.0" in out and "version 3 is served" in out
    assert cluster.deleted == ["list-1"], "the Job that listed the store is deleted"


@pytest.mark.parametrize(
    ("store", "sentence"),
    [
        ([{"version": 2, **VALID}, {**VALID, "version": None, "state": "foreign"}], "version 4 is not in the store; there are: 2"),
        ([], "version 4 is not in the store; there are: none"),
        ([{"version": 4, **VALID, "state": "corrupt", "reason": CORRUPT}], f"version 4 cannot be served: {CORRUPT}"),
        (
            "cannot read the store /store/digits: Permission denied",
            "cannot list the store: cannot read the store /store/digits: Permission denied",
        ),
    ],
    ids=["missing", "empty", "corrupt", "unreadable"],
)
def test_upgrade_refuses_a_version_that_is_missing_or_corrupt(console, cluster, store, sentence):
    ready(cluster, "2", "2")
    cluster.store = store
    code, out, err = console.run("upgrade", "4")
    assert (code, out, err.strip()) == (2, "", sentence)
    assert console.helm_calls("upgrade") == []


def test_a_stalled_upgrade_gives_the_reason_and_the_way_back(console, cluster):
    ready(cluster, "1", "1", template="old")
    cluster.pod("serving", "new", "2", **STALLS["corrupt"][0])
    cluster.store = [{"version": 2, **VALID}]
    code, out, err = console.run("upgrade", "2")
    assert code == 1
    assert f"stalled: a new pod fails: fetch: {CORRUPT}" in err and "python -m k8s rollback" in err
    assert "serving 1 of 2 new, 2 ready" in out


def test_upgrade_gives_up_after_its_timeout(console, cluster):
    ready(cluster, "1", "1", template="old")
    cluster.pod("serving", "new", "2", **STALLS["no-room"][0])
    cluster.store = [{"version": 2, **VALID}]
    code, _, err = console.run("upgrade", "2", "--timeout", "0")
    assert code == 1 and "stalled: not done after 0 s: 0/2 nodes are available" in err


def test_a_failing_pod_of_an_older_template_does_not_stall_a_rollout(console, cluster):
    ready(cluster, "2", "2")
    stuck = cluster.pod("serving", "stuck", "3", template="old", **STALLS["corrupt"][0])
    with console.start("rollback") as process:
        try:
            wait_until("progress", lambda: PROGRESS.match(process.stdout.readline()))
            assert process.poll() is None
            cluster.pods.remove(stuck)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, err) == (0, "") and "version 1 is served" in out


def test_rollback_returns_to_the_revision_before_or_to_a_named_one(console, cluster):
    ready(cluster, "2", "2")
    assert console.run("rollback")[0] == 0
    assert console.run("rollback", "2")[0] == 0
    assert console.helm_calls("rollback") == [["--namespace", NAMESPACE, "rollback", "pynumdraw", revision] for revision in ("1", "2")]


def test_rollback_refuses_a_revision_that_is_not_there(console):
    code, out, err = console.run("rollback", "7")
    assert (code, out, err) == (2, "", "release pynumdraw has no revision 7; there are: 1, 2\n")
    assert console.helm_calls("rollback") == []


def test_an_error_of_helm_is_printed_as_helm_gives_it(console):
    console.set_helm(error="release: not found")
    assert console.run("status") == (2, "", "helm history: release: not found\n")


def test_ctrl_c_prints_that_the_cluster_goes_on(console, cluster):
    ready(cluster, "1", "1", template="old")
    cluster.pod("serving", "new", "2", **STALLS["slow"][0])
    cluster.store = [{"version": 2, **VALID}]
    with console.start("upgrade", "2") as process:
        try:
            wait_until("progress", lambda: PROGRESS.match(process.stdout.readline()))
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 130 and "the cluster goes on" in err


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ({"KUBECONFIG": "/nonexistent"}, "no cluster: "),
        ({"HELM": "", "PATH": "/nonexistent"}, "helm is not on PATH and HELM does not name it"),
        ({"HELM": "/nonexistent/helm"}, "cannot run /nonexistent/helm: No such file or directory"),
    ],
    ids=["no-kubeconfig", "no-helm", "wrong-helm"],
)
def test_a_missing_cluster_or_helm_is_one_sentence(console, broken, sentence):
    console.environ |= broken
    code, out, err = console.run("status")
    assert code == 2 and out == "" and err.startswith(sentence) and err.count("\n") == 1


def test_a_cluster_that_does_not_answer_is_one_sentence(console, tmp_path):
    path = Path(console.environ["KUBECONFIG"])
    path.write_text(path.read_text().replace(str(console.cluster.server.server_address[1]), str(free_port())))
    code, _, err = console.run("status")
    assert code == 2 and err.startswith("the cluster cannot be reached: ") and err.count("\n") == 1


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize(
    "values",
    [{}, {"store.accessMode": "ReadWriteMany"}, {"signing.secretName": "key", "signing.publicKeysConfigMap": "trusted"}],
    ids=["one-node", "rwx", "signing"],
)
def test_the_job_that_lists_the_store_is_valid_and_as_restricted_as_the_serving_pods(render, version, values):
    found = render(**values)
    template = found.of("Deployment", "-serving")["spec"]["template"]
    job = list_job(template, "pynumdraw")
    validate(job, version)
    spec, fetch = job["spec"]["template"]["spec"], template["spec"]["initContainers"][0]
    assert spec["securityContext"] == template["spec"]["securityContext"]
    assert [spec.get(key) for key in ("nodeSelector", "affinity")] == [template["spec"].get(key) for key in ("nodeSelector", "affinity")]
    if not values:
        (near,) = spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert (
            job["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]
            in near["labelSelector"]["matchExpressions"][0]["values"]
        )
    (lists,) = spec["containers"]
    assert lists["securityContext"] == fetch["securityContext"] and lists["image"] == fetch["image"]
    volumes = ["store", "trusted-keys"] if "signing.secretName" in values else ["store"]
    assert lists["args"] == ["--store=/store", "--name=digits", "--trusted-keys=/trusted-keys"][: len(volumes) + 1]
    assert lists["volumeMounts"] == [{"name": name, "mountPath": f"/{name}", "readOnly": True} for name in volumes]
    assert [volume["name"] for volume in spec["volumes"]] == volumes
    deny = found.of("NetworkPolicy", "-deny")["spec"]["podSelector"]["matchLabels"]
    assert deny.items() <= job["spec"]["template"]["metadata"]["labels"].items()
    assert job["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"] not in ("gateway", "serving", "trainer")


def test_upgrade_is_refused_where_the_server_polls_the_store(render):
    template = render(**{"model.policy": "latest"}).of("Deployment", "-serving")["spec"]["template"]
    with pytest.raises(Refused, match=r"model\.policy is latest"):
        list_job(template, "pynumdraw")


SCALE = {
    "reason": "FieldManagerConflict",
    "message": 'conflict with "kubectl" with subresource "scale" using apps/v1',
    "field": ".spec.replicas",
}
IMAGE = {
    "reason": "FieldManagerConflict",
    "message": 'conflict with "kubectl-set" using apps/v1 at 2026-01-01T00:00:00Z',
    "field": '.spec.template.spec.containers[name="gateway"].image',
}
AUTOSCALER = {**SCALE, "message": 'conflict with "kube-controller-manager" with subresource "scale" using apps/v1'}
ARGO_CD = {**IMAGE, "message": 'conflict with "argocd-controller"'}


@pytest.fixture
def server_side(console, cluster, render):
    """A console whose helm applies server-side."""
    ready(cluster, "2", "2")
    cluster.store = [{"version": 2, **VALID}, {"version": 3, **VALID}]
    deployments = [render(**{"model.version": 3, "serving.replicas": 4}).of("Deployment", ending) for ending in ("-serving", "-gateway")]
    policy = render().of("NetworkPolicy", "-deny")
    console.set_helm(apply_method="ssa", manifest="\n---\n".join(map(json.dumps, [*deployments, policy])))
    return console


@pytest.mark.parametrize("command", [("upgrade", "3"), ("rollback",)], ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("component", "cause", "sentence"),
    [
        (
            "serving",
            SCALE,
            "taken over: Deployment digits-pynumdraw-serving: .spec.replicas is held by kubectl (scale); it is 2, this sets 4",
        ),
        ("gateway", IMAGE, f".image is held by kubectl-set; it is localhost/pynumdraw-gateway:{__version__}, this sets localhost"),
        ("serving", AUTOSCALER, "is held by kube-controller-manager (scale); it is 2, this sets 4"),
    ],
    ids=["kubectl-scale", "kubectl-set", "autoscaler"],
)
def test_a_field_that_another_owner_holds_is_named_and_taken_over(server_side, cluster, command, component, cause, sentence):
    cluster.held[f"digits-pynumdraw-{component}"] = [cause]
    code, out, err = server_side.run(*command)
    assert (code, err) == (0, "") and sentence in out
    changed = [call for call in server_side.helm_calls(command[0]) if "--dry-run=server" not in call]
    assert len(changed) == 1 and changed[0][-1] == "--force-conflicts"


@pytest.mark.parametrize("command", [("upgrade", "3"), ("rollback",)], ids=lambda words: words[0])
def test_a_field_that_another_program_applies_is_refused_before_anything_is_changed(server_side, cluster, command):
    cluster.held["digits-pynumdraw-gateway"] = [SCALE, ARGO_CD]
    code, _, err = server_side.run(*command)
    assert code == 2 and 'containers[name="gateway"].image is held by argocd-controller' in err
    assert "change the version where its manifests come from" in err and "--force-conflicts" in err and "kubectl (scale)" not in err
    assert [call for call in server_side.helm_calls(command[0]) if "--dry-run=server" not in call] == []


@pytest.mark.parametrize("command", [("upgrade", "3"), ("rollback",)], ids=lambda words: words[0])
def test_nothing_is_forced_without_a_conflict(server_side, command):
    assert server_side.run(*command)[0] == 0
    assert not any("--force-conflicts" in call for call in server_side.helm_calls(command[0]))


def test_a_release_that_helm_applies_client_side_needs_no_force(console, cluster):
    ready(cluster, "2", "2")
    cluster.store = [{"version": 3, **VALID}]
    cluster.held["digits-pynumdraw-serving"] = [SCALE]
    assert console.run("upgrade", "3")[0] == 0 and "--force-conflicts" not in console.helm_calls("upgrade")[0]


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
