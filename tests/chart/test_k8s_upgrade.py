"""`python -m k8s upgrade` and `rollback`: what cannot work is refused, changes are left to helm, and a stall has its reason."""

import re
import signal
from pathlib import Path

import pytest

from k8s.errors import Refused
from k8s.store_job import list_job
from tests.chart import tools
from tests.chart.conftest import KUBERNETES, validate
from tests.chart.console import CORRUPT, STALLS, VALID, ready
from tests.chart.fake_cluster import NAMESPACE
from tests.stack import free_port, wait_until

PROGRESS = re.compile(r" *\d+ s  gateway ")


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
