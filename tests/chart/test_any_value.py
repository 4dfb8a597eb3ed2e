"""Any name and any value: each works, or is refused before anything is made by a sentence that names it."""

import json
import re
import shutil
import subprocess

import pytest
import yaml

from helm import reference
from tests.chart import tools
from tests.chart.conftest import EXAMPLES, Render, manifests, template, validate
from tests.chart.test_values import VALUES

GROUPS = sorted({".".join(value.path[:length]) for value in VALUES.values() for length in range(1, len(value.path))})
CHART_LABELS = [f"app.kubernetes.io/{name}" for name in ("name", "instance", "component", "part-of", "managed-by", "version")]


class UniqueKeys(yaml.SafeLoader):
    """Refuses a map with a key twice, as kustomize does."""


def _map(loader, node):
    keys = [key.value for key, _ in node.value]
    assert len(keys) == len(set(keys)), f"a key is there twice: {keys}"
    return loader.construct_mapping(node, deep=True)


UniqueKeys.add_constructor("tag:yaml.org,2002:map", _map)


def helm_template(release, *arguments, chart=tools.CHART):
    return subprocess.run(
        [tools.helm(), "template", release, str(chart), "--namespace", "drawing", "--kube-version", "1.36.0", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def assert_valid(text):
    """Each manifest fits the schema of Kubernetes, and each label is text that a label may be."""
    for manifest in yaml.load_all(text, UniqueKeys):
        if manifest and "monitoring" not in manifest["apiVersion"] and "gateway.networking" not in manifest["apiVersion"]:
            validate(manifest, "1.36")
            assert all(
                re.fullmatch(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?", label)
                for label in manifest["metadata"]["labels"].values()
            )


@pytest.mark.parametrize("release", ["true", "null", "no", "on", "y", "e1", "a" * 53, "d-1", "pynumdraw"])
def test_a_release_name_that_yaml_reads_as_something_else_works(release):
    done = helm_template(release)
    assert done.returncode == 0, done.stderr
    assert_valid(done.stdout)
    for name, pod in Render(manifests(done.stdout)).pods().items():
        assert pod["metadata"]["labels"]["app.kubernetes.io/instance"] == release, name


@pytest.mark.parametrize("release", ["my.release", "123", "1e3", "0x1f", "1.5", "a.b.c", "7up"])
def test_a_release_name_that_no_service_can_have_is_refused_unless_the_resources_are_named_otherwise(release):
    done = helm_template(release)
    assert done.returncode and f'Resources of release "{release}" would be named' in done.stderr and "Set fullnameOverride" in done.stderr
    done = helm_template(release, "--set", "fullnameOverride=digits")
    assert done.returncode == 0, done.stderr
    assert_valid(done.stdout)
    assert {manifest["metadata"]["labels"]["app.kubernetes.io/instance"] for manifest in manifests(done.stdout)} == {release}


@pytest.mark.parametrize("value", ["My_Name", "a.b", "-a", "a-", "é", "a b", "A", "x" * 41])
@pytest.mark.parametrize("name", ["nameOverride", "fullnameOverride"])
def test_an_override_that_no_service_can_have_is_refused(refusal, name, value):
    assert f"at '/{name}'" in refusal(**{name: value})


@pytest.mark.parametrize("value", ["true", "null", "no", "y"])
@pytest.mark.parametrize("name", ["nameOverride", "fullnameOverride"])
def test_an_override_that_yaml_reads_as_something_else_works(name, value):
    every_kind = ["--values", str(tools.CHART / "ci" / "everything-values.yaml")]
    assert_valid(template(*every_kind, "--set-string", f"{name}={value}"))


TEXTS = [name for name, value in VALUES.items() if "string" in value.schema["type"] and "enum" not in value.schema]


@pytest.mark.parametrize("name", TEXTS)
def test_text_that_yaml_reads_as_something_else_stays_text_or_is_refused(name):
    for text in ("null", "1e3", "a, b}: # c"):
        done = helm_template(
            "digits", "--values", str(tools.CHART / "ci" / "everything-values.yaml"), "--set-json", f"{name}={json.dumps(text)}"
        )
        if done.returncode:
            assert f"at '/{name.replace('.', '/')}'" in done.stderr or "Set fullnameOverride to" in done.stderr, done.stderr
        else:
            assert_valid(done.stdout)


@pytest.mark.parametrize("name", [*GROUPS, *VALUES])
def test_null_an_empty_map_and_a_value_of_another_type_render_or_are_refused_by_name(name):
    at, last = "/" + "/".join(name.split(".")[:-1]), name.rpartition(".")[2]
    for value in (None, {}, 5, "x"):
        done = helm_template("digits", "--set-json", f"{name}={json.dumps(value)}")
        if done.returncode == 0:
            assert_valid(done.stdout)
            continue
        named = (
            f"at '/{name.replace('.', '/')}" in done.stderr
            or (f"at '{at.rstrip('/')}': missing propert" in done.stderr and f"'{last}'" in done.stderr)
            or ("checks.yaml" in done.stderr and name in done.stderr)
            or f"cannot overwrite table with non table for pynumdraw.{name} " in done.stderr
        )
        assert named, f"{name}={json.dumps(value)}: {done.stderr}"
        assert "executing " not in done.stderr and "unmarshal" not in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("value", "given"),
    [
        ("commonLabels", {"team": 1}),
        ("commonLabels", {"team": "no spaces"}),
        ("serving.podAnnotations", {"a": True}),
        ("gateway.nodeSelector", {"pool": 3}),
        ("store.annotations", {"a": 1}),
        ("serving.resources", {"limits": {"memory": "much"}}),
        ("serving.resources", {"limit": {"memory": "1Gi"}}),
        ("gateway.extraEnv", [{"name": "A", "value": 1}]),
        ("trainer.extraEnv", [{"value": "a"}]),
        ("trainer.extraVolumes", [{"emptyDir": {}}]),
        ("gateway.extraVolumeMounts", [{"name": "a"}]),
        ("ingress.hosts", ["https://a.example.com"]),
        ("serving.maxSurge", "0%"),
        ("store.size", "large"),
    ],
    ids=str,
)
def test_what_is_in_a_map_or_a_list_is_checked_too(refusal, value, given):
    assert f"at '/{value.replace('.', '/')}" in refusal(**{value: given})


@pytest.mark.parametrize("key", ["a/b/c", "a b", "-a", "x" * 64])
def test_a_label_with_an_impossible_key_is_refused(refusal, key):
    assert f"invalid propertyName '{key}'" in refusal(commonLabels={key: "x"})


@pytest.mark.parametrize(
    ("component", "name", "text"),
    [("gateway", "GATEWAY_HOST", "127.0.0.1"), ("gateway", "GATEWAY_LOG_LEVEL", "debug"), ("gateway", "GATEWAY_DNS_REFRESH_S", "1"),
     ("serving", "TZ", "UTC"), ("trainer", "TZ", "UTC")],
)  # fmt: skip
def test_an_additional_variable_replaces_the_charts_of_the_same_name(render, component, name, text):
    extra = [{"name": name, "value": text}, {"name": "NEW", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]
    found = render(**{f"{component}.extraEnv": extra})
    for pod in found.pods().values():
        for container in pod["spec"]["containers"]:
            names = [each["name"] for each in container.get("env", [])]
            assert len(names) == len(set(names))
            if container["name"] == component:
                assert all(each in container["env"] for each in extra)


@pytest.mark.parametrize("label", [*CHART_LABELS, "helm.sh/chart"])
@pytest.mark.parametrize("value", ["commonLabels", "serving.podLabels", "metrics.rules.labels"])
def test_a_label_of_the_chart_is_refused(refusal, value, label):
    assert f"{value}: {label} is a label that the chart sets. Choose another name for yours." in refusal(**{value: {label: "mine"}})


@pytest.mark.parametrize("values", [None, *EXAMPLES], ids=lambda path: path.stem if path else "labels-twice")
def test_no_key_is_rendered_twice_and_kustomize_takes_the_render(values, tmp_path):
    twice = {
        "commonLabels": {"team": "a", "tier": "b"},
        "serving": {"podLabels": {"team": "c"}},
        "metrics": {"rules": {"enabled": True, "labels": {"tier": "d"}}},
    }
    (tmp_path / "twice.yaml").write_text(json.dumps(twice))
    text = template("--values", str(values or tmp_path / "twice.yaml"))
    found = list(yaml.load_all(text, UniqueKeys))
    assert len(found) > 10
    if values is None:
        (serving,) = [each for each in found if each and each["kind"] == "Deployment" and each["metadata"]["name"].endswith("-serving")]
        assert serving["spec"]["template"]["metadata"]["labels"]["team"] == "c" and serving["metadata"]["labels"]["team"] == "a"
    (tmp_path / "all.yaml").write_text(text)
    (tmp_path / "kustomization.yaml").write_text("resources: [all.yaml]\n")
    done = subprocess.run([tools.kubectl(), "kustomize", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def parent(tmp_path):
    """A chart that has this one as a dependency, with a condition."""
    chart = tmp_path / "parent"
    shutil.copytree(tools.CHART, chart / "charts" / "pynumdraw")
    (chart / "templates").mkdir()
    dependency = {"name": "pynumdraw", "version": "0.x.x", "repository": "", "condition": "pynumdraw.enabled"}
    (chart / "Chart.yaml").write_text(json.dumps({"apiVersion": "v2", "name": "parent", "version": "1.0.0", "dependencies": [dependency]}))
    return chart


@pytest.mark.parametrize(
    ("values", "rendered"),
    [
        ({}, True),
        ({"pynumdraw": {"enabled": True}}, True),
        ({"pynumdraw": {"enabled": False}}, False),
        ({"global": {"imageRegistry": "example.com"}, "pynumdraw": {"enabled": True, "commonLabels": {"team": "a"}}}, True),
        ({"pynumdraw": {"serving": {"nodeSelector": None}, "nameOverride": None}}, True),
    ],
    ids=str,
)
def test_the_chart_works_as_a_dependency(parent, values, rendered):
    (parent / "values.yaml").write_text(json.dumps(values))
    done = helm_template("shop", chart=parent)
    assert done.returncode == 0, done.stderr
    assert_valid(done.stdout)
    assert bool(manifests(done.stdout)) is rendered


def test_a_misspelt_value_of_a_dependency_is_an_error(parent):
    (parent / "values.yaml").write_text(json.dumps({"pynumdraw": {"enabld": True}}))
    assert "additional properties 'enabld' not allowed" in helm_template("shop", chart=parent).stderr


def test_an_unknown_named_schema_is_refused():
    with pytest.raises(reference.ReferenceError, match="its @schema is as 'labls'; there are: labels"):
        reference.values('# -- Said.\n# @schema {"as": "labls"}\nlabels: {}\n')
