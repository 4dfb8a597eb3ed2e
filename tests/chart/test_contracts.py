"""What the chart says to the programs is what the programs understand."""

import ast
import dataclasses
import importlib.util
import json
import re

import pytest
import yaml

import pynumdraw
from gateway.settings import Settings
from gateway.telemetry import Telemetry
from modelserver import flags
from pynumdraw.store import __main__ as store
from tests.chart import tools
from tests.chart.test_images import stages_of

TENSORFLOW_SERVING_METRICS = {":tensorflow:serving:request_count"}
KUBERNETES_METRICS = {
    "container_memory_working_set_bytes",
    "kube_pod_container_resource_limits",
    "kube_job_status_failed",
}  # cAdvisor, kube-state-metrics


def containers(render, *files, **values):
    for name, pod in render(*files, **values).pods().items():
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
            yield name, container


def test_the_gateway_knows_every_variable_that_the_chart_sets(render):
    (gateway,) = [container for _, container in containers(render) if container["name"] == "gateway"]
    environ = {each["name"]: each["value"] for each in gateway["env"]}
    settings = Settings.from_env(environ)
    assert settings.host == "::" and settings.max_body_bytes == 8388608
    assert set(environ) == {f"GATEWAY_{field.name.upper()}" for field in dataclasses.fields(Settings)}


@pytest.mark.parametrize("seconds", [650, 75, 3600])
def test_a_connection_is_kept_as_long_as_the_balancer_in_front_needs(render, seconds):
    (gateway,) = [each for _, each in containers(render, **{"gateway.config.keepAliveSeconds": seconds}) if each["name"] == "gateway"]
    assert Settings.from_env({each["name"]: each["value"] for each in gateway["env"]}).keep_alive_s == seconds


@pytest.mark.parametrize("bound", ["minimum", "maximum"])
def test_the_gateway_takes_the_least_and_the_most_that_the_schema_does(render, bound):
    config = json.loads((tools.CHART / "values.schema.json").read_text())["properties"]["gateway"]["properties"]["config"]["properties"]
    values = {f"gateway.config.{name}": schema[bound] for name, schema in config.items() if bound in schema}
    assert len(values) >= 4
    values |= {"serving.drainSeconds": 4000}  # longer than the longest pause between look-ups
    (gateway,) = [each for _, each in containers(render, **values) if each["name"] == "gateway"]
    Settings.from_env({each["name"]: each["value"] for each in gateway["env"]})


def test_the_probes_and_the_metrics_are_on_the_ports_that_the_gateway_is_told(render):
    (gateway,) = [container for _, container in containers(render) if container["name"] == "gateway"]
    environ = {each["name"]: each["value"] for each in gateway["env"]}
    ports = {port["name"]: str(port["containerPort"]) for port in gateway["ports"]}
    assert ports == {"http": environ["GATEWAY_PORT"], "management": environ["GATEWAY_MANAGEMENT_PORT"]}


def test_the_server_knows_every_flag(render):
    """TensorFlow Serving starts all the same with a flag that it does not know, so a misspelt one would do nothing, silently."""
    for _, container in containers(render, **{"model.version": 4}):
        if container["name"] == "serving":
            options, unknown = flags.parse(container["args"])
            assert unknown == []
            assert (options.port, options.rest_api_port, options.model_name) == (8500, 8501, "digits")
            options.check()
            return
    pytest.fail("no serving container")


def test_the_store_understands_how_it_is_called(render):
    for _, container in containers(render):
        if container["name"] == "fetch":
            assert container["command"] == ["python", "-m", "pynumdraw.store", "fetch"]
            args = store.parser().parse_args(
                [container["command"][-1], *[each.replace("$(MODEL_VERSION)", "4") for each in container["args"]]]
            )
            assert (args.command, args.version, args.wait_s) == ("fetch", 4, 1800.0)


@pytest.mark.parametrize("values", [{"model.version": 4}, {"model.policy": "latest"}, {"store.keepVersions": 3}], ids=str)
def test_the_store_understands_how_it_is_pruned(render, values):
    (prune,) = [container for _, container in containers(render, **values) if container["name"] == "prune"]
    args = store.parser().parse_args([prune["command"][-1], *prune["args"]])
    served = [] if "model.policy" in values else [values.get("model.version", 1)]
    assert (args.command, args.keep, args.served) == ("prune", values.get("store.keepVersions", 10), served)


def test_signing_is_understood_and_the_private_key_is_the_trainers_alone(render):
    """Serving pods mount the trusted keys, training pods the Secret; nobody else mounts either."""
    trainer = importlib.import_module("trainer.__main__")
    values = {"signing.secretName": "key", "signing.certificate": True, "signing.publicKeysConfigMap": "trusted"}
    mounted = {}
    for name, container in containers(render, **values):
        mounted |= {
            (name, mount["name"]): mount for mount in container.get("volumeMounts", []) if mount["name"] in ("signing-key", "trusted-keys")
        }
        if container["name"] == "trainer":
            args = trainer._parser().parse_args([container["command"][-1], *container["args"]])
            assert [str(args.signing_key), str(args.signing_certificate)] == ["/signing-key/key.pem", "/signing-key/certificate.pem"]
        if container["name"] == "fetch":
            assert "--trusted-keys=/trusted-keys" in container["args"]
    assert {(name.split()[0], volume) for name, volume in mounted} == {
        ("Job", "signing-key"),
        ("CronJob", "signing-key"),
        ("CronJob", "trusted-keys"),
        ("Deployment", "trusted-keys"),
    }
    assert all(mount["readOnly"] for mount in mounted.values())
    assert not [
        name for name, container in containers(render) for mount in container.get("volumeMounts", []) if mount["name"] == "signing-key"
    ]


def test_trusted_keys_of_the_values_are_a_configmap(render):
    pem = "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n"
    found = render(**{"signing.secretName": "key", "signing.publicKeys": {"2026.pub": pem}})
    made = found.of("ConfigMap", "-trusted-keys")
    assert made["data"] == {"2026.pub": pem}
    (volume,) = [v for v in found.of("Deployment", "-serving")["spec"]["template"]["spec"]["volumes"] if v["name"] == "trusted-keys"]
    assert volume["configMap"]["name"] == made["metadata"]["name"]


def test_the_trainer_understands_how_it_is_called(render, monkeypatch):
    trainer = importlib.import_module("trainer.__main__")
    for name, container in containers(render):
        if container["name"] == "trainer":
            args = trainer._parser().parse_args([container["command"][-1], *container["args"]])
            assert (str(args.store), args.name, args.recipe, args.if_empty) == ("/store", "digits", "quick", name.startswith("Job"))


def test_every_program_that_is_called_is_in_its_image(render):
    """The module after `python -m`, for each container that runs one of our images."""
    stages = {"trainer": stages_of("trainer")["build"]} | {image: stages_of("gateway")[f"build-{image}"] for image in ("gateway", "store")}
    held = {image: {rest.split()[0] for name, rest in stage if name == "COPY" and " /app/" in rest} for image, stage in stages.items()}
    called = set()
    for _, container in containers(render, **{"serving.standIn": True}):
        image = container["image"].partition(":")[0].rpartition("-")[2]
        if container["command"][1] == "-m":
            module = container["command"][2]
            assert module.partition(".")[0] in held[image], container
            assert importlib.util.find_spec(module), module
            called.add(module)
    assert called == {"gateway", "pynumdraw.store", "trainer", "modelserver"}


def test_the_chart_is_of_the_version_of_the_programs():
    chart = yaml.safe_load((tools.CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == pynumdraw.__version__


def test_the_server_is_of_the_minor_version_that_the_trainer_trains_with():
    image = yaml.safe_load((tools.CHART / "values.yaml").read_text())["serving"]["image"]["tag"]
    for pinned in re.findall(r"^tensorflow(?:-cpu)?==(\S+)", (tools.ROOT / "requirements" / "trainer.txt").read_text(), re.MULTILINE):
        assert pinned.split(".")[:2] == image.split(".")[:2]


def test_every_metric_of_alerts_and_dashboard_exists(render):
    found = render("ci/everything-values.yaml")
    expressions = [rule["expr"] for group in found.of("PrometheusRule")["spec"]["groups"] for rule in group["rules"]]
    board = json.loads(found.of("ConfigMap", "-dashboard")["data"]["pynumdraw.json"])
    expressions += [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    known = {sample for family in Telemetry().registry.collect() for sample in names(family)}
    for expression in expressions:
        used = set(re.findall(r'([a-z_:]+)\{|__name__="([^"]+)"', expression))
        used = {name or quoted for name, quoted in used if (name or quoted)}
        assert used and used <= known | TENSORFLOW_SERVING_METRICS | KUBERNETES_METRICS, expression
        assert "@" not in expression


def names(family):
    """The series of a metric as Prometheus sees it."""
    if family.type == "counter":
        return [f"{family.name}_total"]
    if family.type == "histogram":
        return [f"{family.name}_{part}" for part in ("bucket", "count", "sum")]
    return [family.name]


def test_every_label_of_alerts_and_dashboard_exists(render):
    """The labels of the gateway's own metrics, and those that Prometheus adds."""
    added = {"namespace", "job", "pod", "le"}
    known = {family.name + ("_total" if family.type == "counter" else ""): family for family in Telemetry().registry.collect()}
    own = {label for collector in vars(Telemetry()).values() for label in getattr(collector, "_labelnames", ())}
    found = render("ci/everything-values.yaml")
    for rule in found.of("PrometheusRule")["spec"]["groups"][0]["rules"]:
        for name, selector in re.findall(r"(gateway_\w+)\{([^}]*)\}", rule["expr"]):
            assert name.removesuffix("_bucket") in known
            assert set(re.findall(r"(\w+)[=!]", selector)) <= own | added, rule["expr"]


def test_the_tests_drawing_is_one_that_the_gateway_accepts_and_no_digit_but_a_seven():
    from gateway.drawing import parse_request

    source = ast.parse((tools.CHART / "files" / "draw_seven.py").read_text())
    (seven,) = [
        ast.literal_eval(node.value)
        for node in source.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "SEVEN"
    ]
    drawing = parse_request(json.dumps(seven).encode(), "application/json").drawing
    assert drawing.ink_problem() is None
