"""TensorFlow Serving and the gateway run the way that their known troubles ask for."""

import pytest

from pynumdraw import __version__


def container(pod, name):
    (found,) = [each for each in [*pod.get("initContainers", []), *pod["containers"]] if each["name"] == name]
    return found


def flags(pod):
    return dict(argument.removeprefix("--").split("=", 1) for argument in container(pod, "serving")["args"])


@pytest.fixture
def serving(render):
    """The serving Deployment of the default values, or of those given."""
    return lambda **values: render(**values).of("Deployment", "-serving")["spec"]


@pytest.fixture
def pod(serving):
    return lambda **values: serving(**values)["template"]["spec"]


def test_the_version_is_in_the_pod_template(serving):
    one, two = (serving(**{"model.version": version})["template"] for version in (1, 2))
    assert one != two
    assert two["metadata"]["labels"]["pynumdraw/model-version"] == "2"
    for name in ("fetch", "serving"):
        assert {"name": "MODEL_VERSION", "value": "2"} in container(two["spec"], name)["env"]


def test_a_new_version_changes_nothing_but_the_serving_pods_what_is_pruned_and_the_test(render):
    one, two = ({(m["kind"], m["metadata"]["name"]): m for m in render(**{"model.version": version}).manifests} for version in (1, 2))
    changed = {("Deployment", "digits-pynumdraw-serving"), ("CronJob", "digits-pynumdraw-train"), ("Pod", "digits-pynumdraw-test")}
    assert {key for key in one if one[key] != two[key]} == changed


def test_exactly_the_fetched_version_is_served(pod):
    spec = pod(**{"model.version": 3})
    fetch, server = container(spec, "fetch"), container(spec, "serving")
    assert "--version=$(MODEL_VERSION)" in fetch["args"] and "--to=/models" in fetch["args"]
    assert flags(spec)["model_base_path"] == "/models/digits"
    mounts = {mount["mountPath"]: mount for mount in server["volumeMounts"]}
    assert mounts["/models"] == {"name": "models", "mountPath": "/models", "readOnly": True} and "/store" not in mounts
    assert {"name": "models", "emptyDir": {"sizeLimit": "512Mi"}} in spec["volumes"]


def test_the_store_is_read_only_to_serving_pods(pod):
    for values in ({}, {"model.policy": "latest"}):
        spec = pod(**values)
        mounts = [
            mount
            for each in [*spec.get("initContainers", []), *spec["containers"]]
            for mount in each["volumeMounts"]
            if mount["name"] == "store"
        ]
        assert mounts and all(mount["readOnly"] for mount in mounts)


def test_latest_polls_the_store_and_has_no_version_of_its_own(pod):
    spec = pod(**{"model.policy": "latest"})
    assert "initContainers" not in spec and flags(spec)["model_base_path"] == "/store/digits"
    assert container(spec, "serving")["readinessProbe"]["httpGet"]["path"] == "/v1/models/digits/metadata"
    assert container(spec, "serving")["startupProbe"]["failureThreshold"] == 1800 + 120


def test_the_reason_of_a_failure_is_in_the_termination_message(render):
    for name, found in render().pods().items():
        for each in [*found["spec"].get("initContainers", []), *found["spec"]["containers"]]:
            assert each["terminationMessagePolicy"] == "FallbackToLogsOnError", name


def test_a_pod_is_ready_only_with_its_version_available(pod):
    server = container(pod(**{"model.version": 12, "model.name": "letters"}), "serving")
    assert server["readinessProbe"]["httpGet"] == {"path": "/v1/models/letters/versions/12/metadata", "port": "rest"}
    assert server["livenessProbe"]["tcpSocket"] == {"port": "grpc"}


@pytest.mark.parametrize("values", [{}, {"model.policy": "latest"}, {"serving.standIn": True}], ids=str)
def test_a_server_whose_monitoring_file_is_unusable_does_not_start(pod, render, values):
    """TensorFlow Serving opens no REST port then and logs nothing. Without the key the pod gets no volume; an event says so."""
    spec = pod(**values)
    path = container(spec, "serving")["startupProbe"]["httpGet"]
    config = render(**values).of("ConfigMap", "-serving")["data"]
    assert path["port"] == "rest" and f'enable: true path: "{path["path"]}"' in config["monitoring.config"]
    (volume,) = [volume["configMap"] for volume in spec["volumes"] if volume["name"] == "config"]
    assert volume["items"] == [{"key": "monitoring.config", "path": "monitoring.config"}] and "optional" not in volume
    assert set(config) == {"monitoring.config"}


def test_the_start_outlasts_every_try_to_load(pod):
    spec = pod()
    probe = container(spec, "serving")["startupProbe"]
    tries = 1 + int(flags(spec)["max_num_load_retries"])
    pauses_s = (tries - 1) * int(flags(spec)["load_retry_interval_micros"]) / 1e6
    assert pauses_s + tries * 20 <= probe["periodSeconds"] * probe["failureThreshold"]


@pytest.mark.parametrize("values", [{}, {"serving.waitSeconds": 7}, {"trainer.recipe": "best"}, {"trainer.deadlineSeconds": 600}], ids=str)
def test_a_roll_is_given_up_no_sooner_than_its_pods_give_up(serving, values):
    spec = serving(**values)
    (wait,) = [
        int(argument.split("=")[1]) for argument in container(spec["template"]["spec"], "fetch")["args"] if argument.startswith("--wait-s=")
    ]
    assert spec["progressDeadlineSeconds"] > wait + container(spec["template"]["spec"], "serving")["startupProbe"]["failureThreshold"]


@pytest.mark.parametrize(
    ("values", "seconds"),
    [({}, 1800), ({"trainer.recipe": "best"}, 14400), ({"trainer.deadlineSeconds": 600}, 600), ({"serving.waitSeconds": 0}, 0)],
    ids=["quick", "best", "deadline", "wait"],
)
def test_pods_wait_for_the_first_version_as_long_as_its_training_may_take(pod, values, seconds):
    assert f"--wait-s={seconds}" in container(pod(**values), "fetch")["args"]


def test_no_pod_is_taken_away_before_another_is_ready(render):
    for name in ("-serving", "-gateway"):
        assert render().of("Deployment", name)["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_clients_leave_a_draining_pod_before_it_ends(pod):
    spec = pod()
    server = container(spec, "serving")
    channel = dict(pair.split("=") for pair in flags(spec)["grpc_channel_arguments"].split(","))
    age_s = (int(channel["grpc.max_connection_age_ms"]) * 1.1 + int(channel["grpc.max_connection_age_grace_ms"])) / 1000
    drain_s = server["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert age_s + 5 <= drain_s < spec["terminationGracePeriodSeconds"]


def test_the_server_is_not_process_1_so_that_it_ends_when_it_is_told_to(pod):
    assert pod()["shareProcessNamespace"] is True
    assert container(pod(), "serving")["command"] == ["/usr/bin/tensorflow_model_server"]


def test_the_name_resolves_to_every_ready_pod(render):
    service = render().of("Service", "-serving")["spec"]
    assert service["clusterIP"] == "None" and "publishNotReadyAddresses" not in service
    assert {"name": "grpc", "port": 8500, "targetPort": "grpc", "appProtocol": "kubernetes.io/h2c"} in service["ports"]
    (address,) = [env["value"] for env in container(render().of("Deployment", "-gateway")["spec"]["template"]["spec"], "gateway")["env"]
                  if env["name"] == "GATEWAY_SERVING_ADDRESS"]  # fmt: skip
    assert address == "digits-pynumdraw-serving:8500"


@pytest.mark.parametrize(("limit", "threads"), [("500m", "1"), ("1", "1"), (1.5, "2"), (4, "4"), ("2500m", "3"), (None, None)])
def test_threads_follow_the_cpu_limit(pod, limit, threads):
    found = flags(pod(**{"serving.resources.limits.cpu": limit}))
    assert found.get("tensorflow_inter_op_parallelism") == threads
    assert found["tensorflow_intra_op_parallelism"] == "1"


@pytest.mark.parametrize(
    "values",
    [{}, {"gateway.replicas": 5}, {"gateway.config.maxInFlight": 100}, {"gateway.autoscaling.enabled": True}],
    ids=["default", "replicas", "in-flight", "autoscaling"],
)
def test_one_server_has_a_thread_for_all_that_the_gateways_may_send(render, values):
    found = render(**values)
    gateway = found.of("Deployment", "-gateway")["spec"]
    scaled = "HorizontalPodAutoscaler" in found.kinds()
    most = found.of("HorizontalPodAutoscaler", "-gateway")["spec"]["maxReplicas"] if scaled else gateway["replicas"] + 1
    (in_flight,) = [
        int(env["value"]) for env in container(gateway["template"]["spec"], "gateway")["env"] if env["name"] == "GATEWAY_MAX_IN_FLIGHT"
    ]
    threads = int(flags(found.of("Deployment", "-serving")["spec"]["template"]["spec"])["grpc_max_threads"])
    assert threads >= most * in_flight + 8


def test_a_load_holds_up_nothing_else_and_labels_are_not_used(pod):
    found = flags(pod())
    assert int(found["num_load_threads"]) >= 2
    assert "model_config_file" not in found, (
        "labels, config polling and reloads each have their own ways to fail; the version is in the pod template"
    )
    assert found.get("enable_model_warmup", "true") == "true"


def test_metrics_are_on_and_the_profiler_is_off(pod, render):
    found = flags(pod())
    assert (
        found["enable_profiler"] == "false"
        and found["monitoring_config_file"] == "/config/monitoring.config"
        and found["rest_api_port"] == "8501"
    )
    assert 'path: "/monitoring/prometheus/metrics"' in render().of("ConfigMap", "-serving")["data"]["monitoring.config"]


def test_tensorflow_serving_runs_on_amd64_unless_told_otherwise(pod):
    assert pod(**{"store.accessMode": "ReadWriteMany"})["nodeSelector"] == pod()["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    own = {"serving.nodeSelector": {"kubernetes.io/arch": "arm64"}, "serving.image.repository": "example.com/serving"}
    assert pod(**own)["nodeSelector"] == {"kubernetes.io/arch": "arm64"}


def test_the_stand_in_has_the_same_flags_and_probes_on_any_node(pod):
    real, other = pod(), pod(**{"serving.standIn": True})
    assert "nodeSelector" not in other
    mine, theirs = container(other, "serving"), container(real, "serving")
    assert mine["image"] == f"localhost/pynumdraw-trainer:{__version__}" and mine["command"] == ["python", "-m", "modelserver"]
    assert theirs["image"] == "tensorflow/serving:2.20.0"
    assert {key: value for key, value in mine.items() if key not in ("image", "command")} == {
        key: value for key, value in theirs.items() if key not in ("image", "command")
    }


def test_gateway_health_does_not_depend_on_the_model(render):
    gateway = container(render().of("Deployment", "-gateway")["spec"]["template"]["spec"], "gateway")
    assert gateway["readinessProbe"]["httpGet"]["path"] == gateway["startupProbe"]["httpGet"]["path"] == "/readyz"
    assert gateway["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_a_gateway_pod_has_time_for_its_shutdown_delay_and_for_draining(render):
    spec = render().of("Deployment", "-gateway")["spec"]["template"]["spec"]
    env = {each["name"]: each["value"] for each in container(spec, "gateway")["env"]}
    assert float(env["GATEWAY_SHUTDOWN_DELAY_S"]) >= 5, "ingress controllers hear of it a moment later"
    assert float(env["GATEWAY_SHUTDOWN_DELAY_S"]) + float(env["GATEWAY_DRAIN_S"]) < spec["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("component", ["serving", "gateway"])
def test_pods_spread_over_nodes_and_zones_and_one_at_a_time_is_evicted(render, component):
    found = render(**{"store.accessMode": "ReadWriteMany"})
    spread = found.of("Deployment", f"-{component}")["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    assert all(each["whenUnsatisfiable"] == "ScheduleAnyway" and each["matchLabelKeys"] == ["pod-template-hash"] for each in spread)
    budget = found.of("PodDisruptionBudget", f"-{component}")["spec"]
    assert budget["maxUnavailable"] == 1 and budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


@pytest.mark.parametrize("component", ["serving", "gateway"])
def test_an_autoscaler_begins_with_its_minimum(render, component):
    found = render(**{f"{component}.autoscaling": {"enabled": True, "minReplicas": 3}})
    assert found.of("Deployment", f"-{component}")["spec"]["replicas"] == 3
    scaler = found.of("HorizontalPodAutoscaler", f"-{component}")["spec"]
    assert scaler["scaleTargetRef"]["name"] == f"digits-pynumdraw-{component}"


def test_a_chart_of_another_version_restarts_no_pod(render, tmp_path):
    """What the pod templates hold does not change with the chart's version; the application's does, by its images."""
    assert "helm.sh/chart" not in str(list(render().pods().values()))
