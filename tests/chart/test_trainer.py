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


def test_a_store_on_one_node_takes_trainer_and_servers_there_and_the_gateways_nowhere(render):
    found = render(**{"store.accessMode": "ReadWriteOnce", "store.node": "worker-1"})
    where = {
        name.split()[0] + name.split()[1][-8:]: pod["spec"].get("nodeSelector", {}).get("kubernetes.io/hostname")
        for name, pod in found.pods().items()
    }
    assert where["Deployment-serving"] == "worker-1" and where["Deployment-gateway"] is None
    assert found.of("Job")["spec"]["template"]["spec"]["nodeSelector"] == {"kubernetes.io/hostname": "worker-1"}
    assert found.of("PersistentVolumeClaim")["spec"]["accessModes"] == ["ReadWriteOnce"]
