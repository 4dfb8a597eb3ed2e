"""What the chart renders depends on what is on the cluster: pods that run, a claim that cannot change, versions that were served."""

import json
import os
import subprocess

import pytest

from tests.chart import tools
from tests.chart.conftest import Render, manifests
from tests.chart.fake_lookup import FakeLookup

NAME = "digits-pynumdraw"
OURS = {
    "labels": {"app.kubernetes.io/managed-by": "Helm"},
    "annotations": {"meta.helm.sh/release-name": "digits", "meta.helm.sh/release-namespace": "drawing"},
}
REPLICAS = {"f:spec": {"f:replicas": {}}}
HELM_4 = {"manager": "helm", "operation": "Apply", "fieldsV1": {"f:spec": {"f:strategy": {}}}}
HELM_4_DECLARES = {"manager": "helm", "operation": "Apply", "fieldsV1": REPLICAS}
HELM_3 = {"manager": "helm", "operation": "Update", "fieldsV1": REPLICAS}
KUBECTL_SCALE = {"manager": "kubectl", "operation": "Update", "subresource": "scale", "fieldsV1": REPLICAS}
AUTOSCALER = {"manager": "kube-controller-manager", "operation": "Update", "subresource": "scale", "fieldsV1": REPLICAS}
STATUS = {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {}}}


def deployment(component, replicas, *managers):
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"{NAME}-{component}", "managedFields": list(managers), **OURS},
        "spec": {"replicas": replicas},
    }


def claim(name, *modes, storage_class="standard"):
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, **OURS},
        "spec": {"accessModes": list(modes), "storageClassName": storage_class},
    }


def cronjob(served):
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": f"{NAME}-train", **OURS, "annotations": {**OURS["annotations"], "pynumdraw/served-versions": served}},
    }


@pytest.fixture(params=["helm", "helm3"])
def live(request, tmp_path):
    """Renders the chart beside some objects, with Helm 4 and Helm 3: stdout and stderr."""
    try:
        program = tools.helm() if request.param == "helm" else tools.helm3()
    except tools.Missing as missing:
        pytest.skip(str(missing))

    def rendered(*objects, **values):
        with FakeLookup(*objects) as cluster:
            environ = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig(tmp_path / "kubeconfig"))}
            flags = ["--namespace", "drawing", "--dry-run=server", "--kube-version", "1.36.0", "--disable-openapi-validation"]
            chosen = [part for name, value in values.items() for part in ("--set-json", f"{name}={json.dumps(value)}")]
            command = [program, "template", "digits", str(tools.CHART), *flags, *chosen]
            done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        return Render(manifests(done.stdout)), done.stderr

    rendered.is_helm_4 = request.param == "helm"
    return rendered


@pytest.mark.parametrize("component", ["serving", "gateway"])
@pytest.mark.parametrize(
    ("running", "managers", "wanted"),
    [
        (4, [HELM_4_DECLARES, STATUS], 4),
        (4, [HELM_3, STATUS], 4),
        (1, [HELM_4_DECLARES], 2),
        (0, [HELM_4, KUBECTL_SCALE], 2),
        (4, [HELM_3, AUTOSCALER], 4),
        (4, [HELM_4_DECLARES, AUTOSCALER], 4),
        (4, [HELM_4, STATUS], 4),
    ],
    ids=["helm-4", "helm-3", "below-minimum", "scaled-to-none", "helm-3-autoscaler", "both-hold", "nobody-holds"],
)
def test_switching_an_autoscaler_on_never_lowers_the_number_of_pods(live, component, running, managers, wanted):
    found, error = live(deployment(component, running, *managers), **{f"{component}.autoscaling.enabled": True})
    assert error == "" and found.of("Deployment", f"-{component}")["spec"]["replicas"] == wanted


@pytest.mark.parametrize("scaler", [AUTOSCALER, KUBECTL_SCALE], ids=["autoscaler", "kubectl"])
@pytest.mark.parametrize("component", ["serving", "gateway"])
def test_what_another_scaled_is_left_to_it_where_leaving_it_out_does_not_remove_it(live, component, scaler):
    found, _ = live(deployment(component, 5, HELM_4, scaler), **{f"{component}.autoscaling.enabled": True})
    assert found.of("Deployment", f"-{component}")["spec"].get("replicas") == (None if live.is_helm_4 else 5)


@pytest.mark.parametrize(
    "managers", [[HELM_4, AUTOSCALER], [HELM_3, AUTOSCALER], [HELM_4, KUBECTL_SCALE]], ids=["helm-4", "helm-3", "kubectl"]
)
def test_without_an_autoscaler_the_pods_are_as_many_as_the_values_say(live, managers):
    found, _ = live(deployment("serving", 5, *managers), **{"serving.replicas": 3})
    assert found.of("Deployment", "-serving")["spec"]["replicas"] == 3


def autoscaler(component, **metadata):
    named = {"name": f"{NAME}-{component}", **metadata}
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": named, "spec": {"maxReplicas": 5}}


@pytest.mark.parametrize("component", ["serving", "gateway"])
def test_an_autoscaler_that_was_switched_off_goes_before_the_number_of_pods_is_set(live, component):
    found, error = live(autoscaler(component, **OURS), **{f"{component}.replicas": 3})
    hook = found.of("HorizontalPodAutoscaler")
    assert error == "" and hook["metadata"]["name"] == f"{NAME}-{component}"
    assert hook["metadata"]["annotations"] == {
        "helm.sh/hook": "pre-upgrade",
        "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded",
    }
    assert (hook["spec"]["minReplicas"], hook["spec"]["maxReplicas"]) == (3, 3)


@pytest.mark.parametrize("component", ["serving", "gateway"])
def test_an_autoscaler_that_stays_on_is_no_hook(live, component):
    found, _ = live(autoscaler(component, **OURS), **{f"{component}.autoscaling.enabled": True})
    kept = found.of("HorizontalPodAutoscaler")
    assert "annotations" not in kept["metadata"]


@pytest.mark.parametrize(
    "metadata",
    [{}, {"annotations": {"meta.helm.sh/release-name": "other"}}, {"annotations": {"team": "web"}, "labels": OURS["labels"]}],
    ids=["kubectl", "another-release", "argo-cd"],
)
def test_an_autoscaler_of_somebody_else_is_left_alone(live, metadata):
    found, error = live(autoscaler("serving", **metadata))
    assert error == "" and "HorizontalPodAutoscaler" not in found.kinds()


@pytest.mark.parametrize("minimum", [1, 2, 5])
def test_a_fresh_install_begins_with_the_minimum(live, minimum):
    found, _ = live(**{"gateway.autoscaling": {"enabled": True, "minReplicas": minimum}})
    assert found.of("Deployment", "-gateway")["spec"]["replicas"] == minimum


@pytest.mark.parametrize(
    ("claims", "values", "sentence"),
    [
        (
            [claim(f"{NAME}-models", "ReadWriteMany")],
            {},
            "the claim digits-pynumdraw-models is there with ReadWriteMany, and a claim's mode cannot change. Set store.accessMode=R",
        ),
        ([claim(f"{NAME}-models", "ReadWriteOnce")], {"store.accessMode": "ReadWriteMany"}, "Set store.accessMode=ReadWriteOnce to go on"),
        (
            [claim(f"{NAME}-models", "ReadWriteOnce")],
            {"store.storageClass": "fast"},
            "a claim's class cannot change. Set store.storageClass=standard",
        ),
        (
            [claim("models", "ReadWriteOnce")],
            {"store.existingClaim": "models", "store.accessMode": "ReadWriteMany"},
            "store.accessMode is ReadWriteMany, but the claim models has ReadWriteOnce.",
        ),
    ],
    ids=["many-to-once", "once-to-many", "class", "existing"],
)
def test_an_upgrade_that_would_change_a_claim_is_refused(live, claims, values, sentence):
    found, error = live(*claims, **values)
    assert found.manifests == [] and sentence in error


@pytest.mark.parametrize(
    ("claims", "values"),
    [
        ([claim(f"{NAME}-models", "ReadWriteOnce")], {}),
        ([claim(f"{NAME}-models", "ReadWriteMany")], {"store.accessMode": "ReadWriteMany", "store.storageClass": "standard"}),
        ([claim("models", "ReadWriteMany")], {"store.existingClaim": "models"}),
        ([claim("models", "ReadWriteOnce", "ReadWriteMany")], {"store.existingClaim": "models", "store.accessMode": "ReadWriteMany"}),
        ([claim("other", "ReadWriteMany")], {}),
    ],
    ids=["same", "many", "more-than-needed", "one-of-two", "another"],
)
def test_a_claim_that_fits_is_used(live, claims, values):
    found, error = live(*claims, **values)
    assert error == "" and len(found.manifests) > 10


@pytest.mark.parametrize(
    ("remembered", "version", "served"),
    [("2", 2, ["2"]), ("2", 3, ["3", "2"]), ("3 2", 3, ["3", "2"]), ("3 2", 7, ["7", "3"]), ("3 2", 2, ["2", "3"]), ("", 4, ["4"])],
)
def test_the_version_served_and_the_one_before_it_are_never_pruned(live, remembered, version, served):
    found, _ = live(cronjob(remembered), **{"model.version": version})
    cron = found.of("CronJob")
    (prune,) = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert prune["args"][prune["args"].index("--served") + 1 :] == served
    assert cron["metadata"]["annotations"]["pynumdraw/served-versions"] == " ".join(served)
