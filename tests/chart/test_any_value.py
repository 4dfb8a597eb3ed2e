"""Any name and any value: each works, or is refused before anything is made by a sentence that names it."""

import json
import re
import shutil
import subprocess

import jsonschema
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
EVERYTHING = tools.CHART / "ci" / "everything-values.yaml"


def nested(assignments):
    """{"a.b": 1} as {"a": {"b": 1}}."""
    found = {}
    for name, value in assignments.items():
        *groups, last = name.split(".")
        group = found
        for each in groups:
            group = group.setdefault(each, {})
        group[last] = value
    return found


def merged(values, changes):
    """Values with changes as helm merges them: a null removes."""
    found = dict(values)
    for key, value in changes.items():
        if value is None:
            found.pop(key, None)
        elif isinstance(value, dict) and isinstance(found.get(key), dict):
            found[key] = merged(found[key], value)
        else:
            found[key] = value
    return found


@pytest.fixture(scope="module")
def untaken():
    """The values that the schema does not take, of these among the chart's own, or those of a file as well."""
    validator = jsonschema.Draft7Validator(json.loads((tools.CHART / "values.schema.json").read_text()))
    defaults = yaml.safe_load((tools.CHART / "values.yaml").read_text())

    def find(assignments, base=None):
        values = merged(defaults, yaml.safe_load(base.read_text())) if base else defaults
        places = set()
        for error in validator.iter_errors(merged(values, nested(assignments))):
            missing = set(error.validator_value) - set(error.instance) if error.validator == "required" else {None}
            places |= {".".join(map(str, [*error.absolute_path, *([each] if each else [])])) for each in missing}
        return {name for name in assignments if any(place == name or place.startswith(f"{name}.") for place in places)}

    return find


@pytest.fixture
def given(tmp_path):
    """What helm makes of all these values at once."""

    def run(assignments, base=None):
        (tmp_path / "values.yaml").write_text(json.dumps(nested(assignments)))
        return helm_template("digits", *(["--values", str(base)] if base else []), "--values", str(tmp_path / "values.yaml"))

    return run


def is_named(name, error):
    """Whether helm says which value it refuses."""
    group, last = name.rpartition(".")[0].replace(".", "/"), name.rpartition(".")[2]
    at = f"/{group}" if group else ""
    return (
        f"at '/{name.replace('.', '/')}" in error
        or re.search(f"at '{at}': missing propert[^\\n]*'{last}'", error) is not None
        or ("checks.yaml" in error and name in error)
        or f"cannot overwrite table with non table for pynumdraw.{name} " in error
    )


def assert_refused(given, assignments, base=None):
    """Helm refuses all of them in one run, each by name: the schema names everything that it does not take."""
    done = given(assignments, base)
    assert done.returncode, f"helm takes what the schema does not: {assignments}"
    assert [name for name in assignments if not is_named(name, done.stderr)] == [], done.stderr
    assert "executing " not in done.stderr and "unmarshal" not in done.stderr, done.stderr


def assert_rendered(given, assignments, base=None):
    """Helm renders all of them in one run, but for those that the chart refuses by name; these are looked at one by one."""
    while (done := given(assignments, base)).returncode:
        refused = [name for name in assignments if "checks.yaml" in done.stderr and name in done.stderr]
        assert refused, done.stderr
        for name in refused:
            alone = given({name: assignments.pop(name)}, base)
            if alone.returncode:
                assert name in alone.stderr and "unmarshal" not in alone.stderr, alone.stderr
            else:
                assert_valid(alone.stdout)
    assert_valid(done.stdout)


def assert_refused_or_rendered(given, untaken, assignments, base=None):
    refused = untaken(assignments, base)
    assert_refused(given, {name: value for name, value in assignments.items() if name in refused}, base)
    assert_rendered(given, {name: value for name, value in assignments.items() if name not in refused}, base)


@pytest.mark.parametrize("text", ["null", "1e3", "a, b}: # c"])
def test_text_that_yaml_reads_as_something_else_stays_text_or_is_refused(given, untaken, text):
    assert_refused_or_rendered(given, untaken, dict.fromkeys(TEXTS, text), EVERYTHING)


@pytest.mark.parametrize("value", [None, {}, 5, "x", []], ids=repr)
def test_null_an_empty_map_and_a_value_of_another_type_render_or_are_refused_by_name(given, untaken, value):
    assert_refused_or_rendered(given, untaken, dict.fromkeys(VALUES, value))


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("value", [None, 5, "x", []], ids=repr)
def test_a_group_that_is_null_or_no_map_is_refused_by_name(given, untaken, value, depth):
    groups = dict.fromkeys((name for name in GROUPS if name.count(".") == depth - 1), value)
    assert groups and untaken(groups) == set(groups)
    assert_refused(given, groups)


@pytest.mark.parametrize("depth", [1, 2])
def test_a_group_with_nothing_in_it_has_its_defaults(given, depth):
    groups = {name: {} for name in GROUPS if name.count(".") == depth - 1}
    assert given(groups).stdout == given({}).stdout != ""


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
