"""`python -m k8s` where another owner holds a field that it changes: named and taken over, or refused before anything is changed."""

import json

import pytest

from pynumdraw import __version__
from tests.chart.console import VALID, ready

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
