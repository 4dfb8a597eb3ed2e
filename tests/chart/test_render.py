"""What the chart renders is valid, current, restricted and the same under helm 3 and 4, whatever the values."""

import subprocess

import pytest

from tests.chart import tools
from tests.chart.conftest import EXAMPLES, KUBERNETES, Render, manifests, template, validate

STABLE = {"v1", "apps/v1", "batch/v1", "autoscaling/v2", "policy/v1", "networking.k8s.io/v1"}
OTHERS = {"gateway.networking.k8s.io/v1", "monitoring.coreos.com/v1"}  # of engines that an option names; kubernetes-validate has no schema
everything = pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.stem)


def rendered(values) -> Render:
    return Render(manifests(template("--values", str(values))))


@everything
def test_lint_has_nothing_to_say(values):
    done = subprocess.run(
        [tools.helm(), "lint", "--strict", str(tools.CHART), "--values", str(values)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "WARNING" not in done.stdout and "ERROR" not in done.stdout, done.stdout


@everything
@pytest.mark.parametrize("version", KUBERNETES)
def test_every_manifest_fits_the_schema_of_kubernetes(values, version):
    for manifest in rendered(values).manifests:
        if manifest["apiVersion"] not in OTHERS:
            validate(manifest, version)


@everything
def test_no_api_is_deprecated_or_a_beta(values):
    assert {manifest["apiVersion"] for manifest in rendered(values).manifests} <= STABLE | OTHERS


@everything
def test_helm_3_renders_the_same(values):
    try:
        program = tools.helm3()
    except tools.Missing as missing:
        pytest.skip(str(missing))
    by_name = [
        sorted(
            manifests(template("--values", str(values), program=each)),
            key=lambda manifest: (manifest["kind"], manifest["metadata"]["name"]),
        )
        for each in (program, tools.helm())
    ]
    assert by_name[0] == by_name[1]


@everything
def test_rendering_again_changes_nothing(values):
    """So a second sync of Argo CD, or a second `kubectl apply`, finds nothing to do."""
    assert template.__wrapped__("--values", str(values)) == template("--values", str(values))


def test_a_kubernetes_that_is_too_old_is_refused():
    done = subprocess.run(
        [tools.helm(), "template", "digits", str(tools.CHART), "--kube-version", "1.31.9"], capture_output=True, text=True, check=False
    )
    assert done.returncode and "kubeVersion: >=1.32.0-0" in done.stderr


@everything
def test_names_are_unique_and_short_enough_and_no_namespace_is_set(values):
    names = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in rendered(values).manifests]
    assert len(names) == len(set(names))
    assert all(len(name) <= (52 if kind == "CronJob" else 63) for kind, name in names)
    assert not any("namespace" in manifest["metadata"] for manifest in rendered(values).manifests)


def test_a_long_release_name_leaves_room_for_every_ending():
    values = ["--set", "metrics.serviceMonitor.enabled=true", "--set-json", 'networkPolicy.metricsFrom=[{"podSelector":{}}]']
    command = [tools.helm(), "template", "d" * 53, str(tools.CHART), "--kube-version", "1.36.0", *values]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(len(manifest["metadata"]["name"]) <= (52 if manifest["kind"] == "CronJob" else 63) for manifest in manifests(text))


@everything
def test_every_resource_has_the_common_labels(values):
    for manifest in rendered(values).manifests:
        if "helm.sh/hook" in manifest["metadata"].get("annotations", {}):
            continue
        wanted = {"name", "instance", "version", "part-of", "managed-by"}
        found = {key.removeprefix("app.kubernetes.io/") for key in manifest["metadata"]["labels"]}
        assert wanted <= found and "helm.sh/chart" in found, manifest["metadata"]


@everything
def test_selectors_hold_only_what_never_changes(values):
    for manifest in rendered(values).manifests:
        if manifest["kind"] == "Deployment":
            labels = manifest["spec"]["selector"]["matchLabels"]
            assert set(labels) == {f"app.kubernetes.io/{key}" for key in ("name", "instance", "component")}
            assert labels.items() <= manifest["spec"]["template"]["metadata"]["labels"].items()


@everything
def test_every_pod_is_restricted(values):
    """The rules of the restricted Pod Security Standard, and ours beyond it: read-only root, no token, no service links, limits."""
    for name, pod in rendered(values).pods().items():
        spec = pod["spec"]
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True and context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert context.get("runAsUser", 65532) == 65532, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), name
        assert spec["automountServiceAccountToken"] is False and spec["enableServiceLinks"] is False, name
        assert {kind for volume in spec["volumes"] for kind in volume if kind != "name"} <= {
            "configMap",
            "emptyDir",
            "persistentVolumeClaim",
            *(["secret"] if name.startswith(("Job ", "CronJob ")) else []),  # the trainer's private key
        }, name
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            secured = container["securityContext"]
            assert secured["allowPrivilegeEscalation"] is False and secured["capabilities"] == {"drop": ["ALL"]}, name
            assert secured["readOnlyRootFilesystem"] is True, name
            assert {"cpu", "memory", "ephemeral-storage"} <= set(container["resources"]["limits"]) & set(
                container["resources"]["requests"]
            ), name


@everything
def test_no_command_needs_a_shell(values):
    for name, pod in rendered(values).pods().items():
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
            assert container["command"][0] in ("python", "/usr/bin/tensorflow_model_server"), name


@everything
def test_each_mount_has_its_volume_and_each_volume_a_mount(values):
    for name, pod in rendered(values).pods().items():
        containers = [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
        mounted = {mount["name"] for container in containers for mount in container.get("volumeMounts", [])}
        assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]}, name


@everything
def test_every_scratch_volume_has_a_limit(values):
    for name, pod in rendered(values).pods().items():
        for volume in pod["spec"]["volumes"]:
            if volume["name"] not in ("scratch", "extra"):  # of the values
                assert "sizeLimit" in volume.get("emptyDir", {"sizeLimit": ""}), name


@pytest.mark.parametrize("stand_in", [False, True])
def test_every_image_can_be_named_by_digest(render, stand_in):
    digests = {name: f"sha256:{letter * 64}" for name, letter in (("gateway", "a"), ("trainer", "b"), ("serving", "c"), ("store", "d"))}
    found = render(**{"serving.standIn": stand_in, **{f"{name}.image.digest": digest for name, digest in digests.items()}})
    images = {
        each["image"] for pod in found.pods().values() for each in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
    }
    assert {image.partition("@")[2] for image in images} == set(digests.values()) - ({digests["serving"]} if stand_in else set())


@everything
def test_no_account_has_a_right_or_a_token(values):
    found = rendered(values)
    assert not {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"} & set(found.kinds())
    accounts = [each for each in found.manifests if each["kind"] == "ServiceAccount"]
    assert all(each["automountServiceAccountToken"] is False for each in accounts)
    used = {pod["spec"]["serviceAccountName"] for pod in found.pods().values()}
    assert used == {each["metadata"]["name"] for each in accounts}, "an account that no pod uses"
