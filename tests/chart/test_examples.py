"""What k8s/ holds: manifests that follow the chart, and examples that work."""

import re
import subprocess
import sys

import pytest
import yaml

from tests.chart import tools
from tests.chart.conftest import KUBERNETES, Render, manifests, template, validate

K8S = tools.ROOT / "k8s"


def test_the_plain_manifests_are_fresh():
    done = subprocess.run(
        [sys.executable, "-m", "k8s", "render", "--check"],
        cwd=tools.ROOT,
        env={"HELM": tools.helm(), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_plain_manifests_are_all_of_the_chart_but_its_test():
    plain = manifests((K8S / "manifests.yaml").read_text())
    chart = [manifest for manifest in manifests(template()) if "helm.sh/hook" not in manifest["metadata"].get("annotations", {})]
    assert sorted(manifest["kind"] for manifest in plain) == sorted(manifest["kind"] for manifest in chart)
    assert {manifest["metadata"]["labels"]["app.kubernetes.io/managed-by"] for manifest in plain} == {"kubectl"}


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_namespace_is_valid_and_restricted(version):
    (namespace,) = manifests((K8S / "namespace.yaml").read_text())
    validate(namespace, version)
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_kind_leads_its_port_to_the_page():
    cluster = yaml.safe_load((K8S / "kind.yaml").read_text())
    found = Render(manifests(template("--values", str(K8S / "values" / "kind.yaml"))))
    (mapping,) = [mapping for node in cluster["nodes"] for mapping in node.get("extraPortMappings", [])]
    assert mapping["containerPort"] == found.of("Service", "-gateway")["spec"]["ports"][0]["nodePort"]


@pytest.mark.parametrize(
    ("name", "values"), [("argo-cd", ("source", "helm", "valuesObject")), ("flux", ("values",))], ids=["argo-cd", "flux"]
)
def test_the_values_of_the_example_are_values_of_the_chart(name, values, tmp_path):
    found = yaml.safe_load((K8S / f"{name}.yaml").read_text())["spec"]
    for key in values:
        found = found[key]
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(found))
    assert template("--values", str(tmp_path / "values.yaml")) != template()


def test_workflows_call_targets_that_the_makefile_has():
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", (tools.ROOT / "Makefile").read_text(), re.MULTILINE))
    called = set()
    for path in (tools.ROOT / ".github" / "workflows").glob("*.yaml"):
        jobs = yaml.safe_load(path.read_text())["jobs"].values()
        lines = [line for job in jobs for step in job["steps"] for line in step.get("run", "").splitlines()]
        called |= {word for line in lines if line.startswith("make ") for word in line.split()[1:] if "=" not in word}
    assert called and called <= targets
