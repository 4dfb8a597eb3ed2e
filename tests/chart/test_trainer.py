"""The store and those who write it: the first version, further ones, and what a volume can do."""

import pytest

RETRIED_NEVER = 2  # the trainer's exit code for refused data


@pytest.fixture
def job(render):
    return lambda **values: render(**values).of("Job")


def args(spec):
    (container,) = spec["template"]["spec"]["containers"]
    return container["args"]


def test_the_job_has_another_name_when_its_spec_changes_and_only_then(job):
    first = job()["metadata"]["name"]
    assert job(**{"model.version": 7, "gateway.replicas": 4})["metadata"]["name"] == first
    names = {
        job(**{name: value})["metadata"]["name"]
        for name, value in (("trainer.seed", 1), ("trainer.recipe", "best"), ("trainer.image.tag", "next"))
    }
    assert len(names | {first}) == 4


def test_the_job_is_no_hook_and_is_kept_when_done(job):
    assert "annotations" not in job()["metadata"], (
        "helm --wait would wait for the serving pods, which wait for a hook that comes after them"
    )
    assert "ttlSecondsAfterFinished" not in job()["spec"], "whoever compares with the cluster would make it anew again and again"


def test_the_job_does_nothing_where_a_version_exists_and_the_cronjob_trains_the_next(job, render):
    assert "--if-empty" in args(job()["spec"])
    cron = render().of("CronJob")["spec"]
    assert "--if-empty" not in args(cron["jobTemplate"]["spec"])
    assert cron["suspend"] is True and cron["concurrencyPolicy"] == "Forbid"


def test_refused_data_is_not_tried_again_and_a_drained_node_is_no_failure(job):
    fail, ignore = job()["spec"]["podFailurePolicy"]["rules"]
    assert fail == {"action": "FailJob", "onExitCodes": {"containerName": "trainer", "operator": "In", "values": [RETRIED_NEVER]}}
    assert ignore == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert job()["spec"]["template"]["spec"]["restartPolicy"] == "Never"


@pytest.mark.parametrize(("recipe", "minutes_on_two_cores"), [("quick", 4), ("best", 30)])
def test_the_deadline_fits_the_recipe(job, recipe, minutes_on_two_cores):
    assert job(**{"trainer.recipe": recipe})["spec"]["activeDeadlineSeconds"] >= 7 * 60 * minutes_on_two_cores


def test_the_claim_outlives_the_release_unless_told_otherwise(render):
    assert render().of("PersistentVolumeClaim")["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert "annotations" not in render(**{"store.keep": False}).of("PersistentVolumeClaim")["metadata"]


def test_an_existing_claim_is_used_by_all(render):
    found = render(**{"store.existingClaim": "models"})
    assert "PersistentVolumeClaim" not in found.kinds()
    claims = [
        volume["persistentVolumeClaim"]["claimName"]
        for pod in found.pods().values()
        for volume in pod["spec"]["volumes"]
        if volume["name"] == "store"
    ]
    assert claims == ["models"] * 3  # Job, CronJob, serving pods


def near(pod):
    """The terms of a pod's required affinity to other pods."""
    return pod["spec"].get("affinity", {}).get("podAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution", [])


def mounts_store(pod):
    return any("persistentVolumeClaim" in volume for volume in pod["spec"]["volumes"])


@pytest.mark.parametrize("values", [{}, {"store.existingClaim": "models"}, {"model.policy": "latest"}, {"serving.standIn": True}], ids=str)
def test_by_default_the_pods_that_mount_the_store_are_kept_on_one_node_and_no_others(render, values):
    found = render(**values)
    for name, pod in found.pods().items():
        assert bool(near(pod)) is mounts_store(pod), name
        for term in near(pod):
            assert term["topologyKey"] == "kubernetes.io/hostname"
            labels, selector = pod["metadata"]["labels"], term["labelSelector"]
            assert selector["matchLabels"].items() <= labels.items(), (
                "the first pod may start where no other runs only if it is near to itself"
            )
            (components,) = selector["matchExpressions"]
            assert labels[components["key"]] in components["values"] and components["operator"] == "In"
    assert "topologySpreadConstraints" not in found.of("Deployment", "-serving")["spec"]["template"]["spec"]
    if "PersistentVolumeClaim" in found.kinds():
        assert found.of("PersistentVolumeClaim")["spec"]["accessModes"] == ["ReadWriteOnce"]


@pytest.mark.parametrize(
    "values",
    [
        {"serving.nodeSelector": {"pool": "a"}},
        {"trainer.nodeSelector": {"disk": "fast"}},
        {"trainer.tolerations": [{"key": "batch"}], "serving.tolerations": [{"key": "cpu"}, {"key": "batch"}]},
        {"serving.nodeSelector": {"kubernetes.io/arch": "arm64"}, "serving.image.repository": "example.com/serving"},
    ],
    ids=str,
)
def test_on_one_node_trainer_and_serving_pods_fit_the_same_nodes(render, values):
    """Whichever comes first chooses a node for all."""
    found = [pod["spec"] for pod in render(**values).pods().values() if mounts_store(pod)]
    assert len(found) == 3
    assert all(spec["nodeSelector"] == found[0]["nodeSelector"] for spec in found)
    assert all(spec.get("tolerations") == found[0].get("tolerations") for spec in found)
    for name, value in values.items():
        if name.endswith("nodeSelector"):
            assert value.items() <= found[0]["nodeSelector"].items()
        elif name.endswith("tolerations"):
            assert all(each in found[0]["tolerations"] for each in value)


def test_an_affinity_of_ones_own_is_kept_beside_it(render):
    pod = render("ci/one-node-values.yaml").of("Deployment", "-serving")["spec"]["template"]
    assert [term["topologyKey"] for term in near(pod)] == ["zone", "kubernetes.io/hostname"]


@pytest.mark.parametrize(
    "values",
    [{"store.accessMode": "ReadWriteMany"}, {"store.accessMode": "ReadOnlyMany", "trainer.enabled": False, "store.existingClaim": "m"}],
)
def test_a_store_for_many_nodes_binds_no_pod(render, values):
    for name, pod in render(**values).pods().items():
        assert near(pod) == [], name


@pytest.mark.parametrize("values", [{}, {"serving.podDisruptionBudget.enabled": True}, {"serving.replicas": 5}], ids=str)
def test_on_one_node_no_budget_holds_up_a_drain(render, values):
    names = [each["metadata"]["name"] for each in render(**values).manifests if each["kind"] == "PodDisruptionBudget"]
    assert names == ["digits-pynumdraw-gateway"]


@pytest.mark.parametrize(("keep", "version"), [(2, 1), (10, 4), (1000, 12)])
def test_old_versions_are_removed_after_each_training_but_the_first(render, job, keep, version):
    values = {"store.keepVersions": keep, "model.version": version}
    spec = render(**values).of("CronJob")["spec"]["jobTemplate"]["spec"]
    pod = spec["template"]["spec"]
    (trainer,), (prune,) = pod["initContainers"], pod["containers"]
    assert trainer["name"] == "trainer" and prune["command"][-1] == "prune"
    assert prune["args"] == ["--store=/store", "--name=digits", f"--keep={keep}", "--served", str(version)]
    assert spec["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"] == "trainer"
    failed = [rule["onExitCodes"] for rule in spec["podFailurePolicy"]["rules"] if "onExitCodes" in rule]
    assert {"containerName": "prune", "operator": "NotIn", "values": [0]} in failed, "a retry would train again"
    assert "initContainers" not in job(**values)["spec"]["template"]["spec"], "the first version is the only one"


def test_where_the_server_polls_the_store_the_two_newest_versions_are_kept(render, refusal):
    (prune,) = render(**{"model.policy": "latest"}).of("CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert "--served" not in prune["args"]
    for keep in (1, 0, -3):
        assert "at '/store/keepVersions': minimum" in refusal(**{"store.keepVersions": keep})
