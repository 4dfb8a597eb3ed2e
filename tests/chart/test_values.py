"""The values: each changes something, a misspelt one is an error, and an impossible combination is refused with a sentence."""

import json
import subprocess
import sys

import pytest
import yaml

from helm import reference
from tests.chart import test_live, tools
from tests.chart.conftest import template

VALUES = {".".join(value.path): value for value in reference.values((tools.CHART / "values.yaml").read_text())}
OTHER = {  # values for the test, where one derived from the default would be invalid
    "store.accessMode": "ReadWriteMany",
    "ipFamilies": ["IPv6"],
    "store.size": "2Gi",
    "serving.extraArgs": ["--changed=1"],
    "ingress.path": "/changed",
    "ingress.hosts": ["changed.example.com"],
    "httpRoute.hostnames": ["changed.example.com"],
    "networkPolicy.nodeCidrs": ["192.0.2.0/24"],
    "serving.drainSeconds": 60,
    "trainer.image.digest": "sha256:" + "b" * 64,
    "serving.image.digest": "sha256:" + "b" * 64,
    "gateway.image.digest": "sha256:" + "b" * 64,
    "store.image.digest": "sha256:" + "b" * 64,
    "signing.publicKeys": {"changed.pub": "-----BEGIN PUBLIC KEY-----"},
    "serving.maxSurge": "50%",
    "metrics.serviceMonitor.interval": "30s",
    **{f"{component}.resources": {"requests": {"cpu": "77m"}} for component in ("trainer", "serving", "gateway")},
    **{f"{component}.extraVolumeMounts": [{"name": "changed", "mountPath": "/changed"}] for component in ("trainer", "serving", "gateway")},
}
WITH = {  # values that must be set for it to have an effect
    "trainer.enabled": ["--set", "store.existingClaim=models"],
    "signing.certificate": ["--set", "signing.secretName=key"],
    "signing.publicKeys": ["--set", "signing.secretName=key"],
    "signing.publicKeysConfigMap": ["--set", "signing.secretName=key"],
    "httpRoute.enabled": ["--set-json", 'httpRoute.parentRefs=[{"name":"edge"}]'],
    "metrics.serviceMonitor.enabled": ["--set-json", 'networkPolicy.metricsFrom=[{"podSelector":{}}]'],
}


def another(name: str):
    """A value that differs from the default and fits the schema."""
    value = VALUES[name]
    if name in OTHER:
        return OTHER[name]
    if "enum" in value.schema:
        return next(each for each in value.schema["enum"] if each != value.default)
    match value.default:
        case bool():
            return not value.default
        case int() | float():
            return value.default + 1
        case str():
            return "changed"
        case None:
            return 77
        case list():
            return [{"name": "changed"}]
        case _:
            return {"changed": "yes"}


@pytest.mark.parametrize("name", VALUES)
def test_every_value_changes_something(name):
    change = ["--set-json", f"{name}={json.dumps(another(name))}"]
    for base in ([], ["--values", str(tools.CHART / "ci" / "everything-values.yaml")]):
        base += WITH.get(name, [])
        try:
            if template(*base, *change) != template(*base):
                return
        except AssertionError:
            continue  # this base and that value cannot be combined; the other base decides
    pytest.fail(f"{name}={json.dumps(another(name))} changes nothing")


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("servng.replicas=3", "additional properties 'servng' not allowed"),
        ("serving.replica=3", "additional properties 'replica' not allowed"),
        ("gateway.config.maxInflight=3", "additional properties 'maxInflight' not allowed"),
        ("serving.replicas=many", "got string, want integer"),
        ("model.version=0", "minimum: got 0, want 1"),
        ("model.policy=newest", "value must be one of 'version', 'latest'"),
        ("trainer.recipe=slow", "value must be one of 'quick', 'best', 'tiny'"),
        ("ingress.path=digits", "does not match pattern"),
        ("model.name=../x", "does not match pattern"),
    ],
)
def test_a_misspelt_or_impossible_value_is_an_error(refusal, assignment, sentence):
    with pytest.raises(AssertionError) as info:
        template("--set", assignment)
    assert sentence in str(info.value)


def test_the_chart_can_be_a_dependency_of_another():
    assert template("--set", "global.imageRegistry=example.com") == template()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"store.accessMode": "ReadWriteOncePod"}, "Use ReadWriteOnce, or ReadWriteMany for pods on several nodes."),
        ({"store.accessMode": "ReadOnlyMany"}, "cannot write there. Set trainer.enabled=false, or use ReadWriteOnce or ReadWriteMany."),
        (
            {"trainer.nodeSelector": {"pool": "a"}, "serving.nodeSelector": {"pool": "b"}},
            "trainer.nodeSelector asks for pool=a and serving.nodeSelector for pool=b, but a store with ReadWriteOnce keeps both",
        ),
        ({"ipFamilies": ["IPv4", "IPv6"]}, "ipFamilies: two families need ipFamilyPolicy PreferDualStack or RequireDualStack."),
        ({"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "SingleStack"}, "two families need ipFamilyPolicy"),
        ({"trainer.enabled": False}, "the new store would stay empty."),
        (
            {"serving.nodeSelector": {"kubernetes.io/arch": "arm64"}},
            "asks for arm64 nodes, but tensorflow/serving is an amd64 image. Set serving.standIn=true",
        ),
        ({"serving.drainSeconds": 20}, "gateways need up to 20 seconds"),
        ({"serving.maxConnectionAgeSeconds": 30}, "gateways need up to 40 seconds"),
        ({"gateway.config.dnsRefreshSeconds": 14.5}, "gateways need up to 30 seconds"),
        (
            {"serving.autoscaling": {"enabled": True, "minReplicas": 9}},
            "serving.autoscaling: minReplicas (9) is more than maxReplicas (6).",
        ),
        (
            {"gateway.autoscaling": {"enabled": True, "maxReplicas": 1}},
            "gateway.autoscaling: minReplicas (2) is more than maxReplicas (1).",
        ),
        ({"serving.autoscaling.enabled": True, "serving.resources.requests.cpu": None}, "set serving.resources.requests.cpu."),
        ({"httpRoute.enabled": True}, "httpRoute.enabled needs httpRoute.parentRefs"),
        ({"metrics.serviceMonitor.enabled": True}, "needs networkPolicy.metricsFrom: otherwise Prometheus cannot reach the metrics ports."),
        ({"nameOverride": "1", "fullnameOverride": "1a"}, 'Resources of release "digits" would be named "1a"-'),
        ({"commonLabels": {"helm.sh/chart": "x"}}, "commonLabels: helm.sh/chart is a label that the chart sets."),
        ({"trainer.podLabels": {"app.kubernetes.io/component": "x"}}, "trainer.podLabels: app.kubernetes.io/component is a label"),
        ({"serving.podAnnotations": {"checksum/config": "x"}}, "checksum/config is an annotation that the chart sets."),
        (
            {"serving.extraEnv": [{"name": "MODEL_VERSION", "value": "3"}]},
            "serving.extraEnv: MODEL_VERSION has to fit the rest of the chart. Set model.version.",
        ),
        ({"gateway.extraEnv": [{"name": "GATEWAY_DRAIN_S", "value": "3"}]}, "Set gateway.config.drainSeconds."),
        ({"gateway.extraEnv": [{"name": "GATEWAY_PORT", "value": "3"}]}, "The pods' ports do not change; see gateway.service.port."),
        ({"trainer.extraEnv": [{"name": "A"}, {"name": "A"}]}, "trainer.extraEnv: A is there twice. Remove one."),
        ({"serving.extraVolumes": [{"name": "tmp"}]}, "serving.extraVolumes: a volume tmp is there already."),
        ({"gateway.extraVolumes": [{"name": "a"}, {"name": "a"}]}, "gateway.extraVolumes: a volume a is there already."),
        ({"trainer.extraVolumeMounts": [{"name": "a", "mountPath": "/store"}]}, "something is mounted at /store already."),
        ({"serving.extraArgs": ["--port=1"]}, "serving.extraArgs: --port=1 has to fit the rest of the chart"),
        (
            {"signing.secretName": "key", "signing.publicKeysConfigMap": "keys", "model.policy": "latest"},
            "nobody checks a signature. Set model.policy=version, or trust no keys.",
        ),
        ({"signing.publicKeysConfigMap": "keys"}, "would refuse every version that the trainer publishes unsigned."),
        ({"signing.certificate": True}, "signing.certificate without signing.secretName"),
        (
            {"signing.publicKeysConfigMap": "keys", "signing.publicKeys": {"a": "-----BEGIN PUBLIC KEY-----"}},
            "signing.publicKeys and signing.publicKeysConfigMap both name trusted keys. Set one of them.",
        ),
        ({"gateway.service.nodePort": 30080}, "gateway.service.nodePort needs gateway.service.type NodePort or LoadBalancer."),
    ],
    ids=lambda given: ",".join(given) if isinstance(given, dict) else "",
)
def test_what_cannot_work_is_refused_with_a_sentence(refusal, values, sentence):
    assert sentence in refusal(**values)


def test_every_sentence_of_the_checks_is_tested():
    checks = (tools.CHART / "templates" / "checks.yaml").read_text()
    (mark,) = [mark for mark in test_what_cannot_work_is_refused_with_a_sentence.pytestmark if mark.name == "parametrize"]
    live = [mark for mark in test_live.test_an_upgrade_that_would_change_a_claim_is_refused.pytestmark if mark.name == "parametrize"]
    assert checks.count("{{- fail ") <= len(mark.args[1]) + len(live[0].args[1])


@pytest.mark.parametrize("what", ["readme", "schema"])
def test_the_reference_is_fresh(what):
    done = subprocess.run(
        [sys.executable, "helm/reference.py", what, "--check"], cwd=tools.ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("replicas: 2\n", "replicas: has no comment"),
        ("group:\n  # -- Said.\n  one: 1\n  two: 2\n", "group.two: has no comment"),
        ("# -- Said.\nwait: null\n", "wait: is null, so it needs a comment `# @schema"),
        ("# -- Said.\n# @schema {nonsense}\nwait: 1\n", "wait: its @schema is not JSON"),
    ],
)
def test_a_value_that_is_not_described_is_refused(text, sentence):
    with pytest.raises(reference.ReferenceError, match="^" + sentence.replace("`", ".")):
        reference.values(text)


def test_the_schema_closes_groups_and_leaves_kubernetes_own_maps_open():
    text = '# -- Labels.\nlabels: {}\ngroup:\n  # -- How many.\n  # @schema {"minimum": 1}\n  count: 2\n'
    found = json.loads(reference.schema(text))
    assert found["additionalProperties"] is False
    assert found["properties"]["labels"] == {"type": ["object", "null"], "description": "Labels."}
    assert found["properties"]["group"] == {
        "type": "object",
        "additionalProperties": False,
        "required": ["count"],
        "properties": {"count": {"type": "integer", "minimum": 1, "description": "How many."}},
    }


def test_every_default_fits_its_own_schema():
    import jsonschema

    jsonschema.validate(
        yaml.safe_load((tools.CHART / "values.yaml").read_text()), json.loads((tools.CHART / "values.schema.json").read_text())
    )
