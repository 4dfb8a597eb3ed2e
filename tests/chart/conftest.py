"""Renders of the chart, made once for all tests that look at the same one."""

import functools
import json
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.chart import tools
from tests.chart.console import Console
from tests.chart.fake_cluster import FakeCluster

Manifest = dict[str, Any]
KUBERNETES = ("1.32", "1.36")  # the oldest that the chart takes, and the newest that it was tried on
EXAMPLES = sorted(tools.CHART.glob("ci/*.yaml")) + sorted((tools.ROOT / "k8s" / "values").glob("*.yaml"))


@functools.cache
def template(*arguments: str, program: str | None = None) -> str:
    """What `helm template digits` prints; AssertionError with what helm says where it fails."""
    done = subprocess.run(
        [program or tools.helm(), "template", "digits", str(tools.CHART), "--namespace", "drawing", "--kube-version", "1.36.0", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def manifests(text: str) -> list[Manifest]:
    """The manifests in what helm prints."""
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def validate(manifest: Manifest, version: str) -> None:
    """Raise unless the manifest fits the schema of that Kubernetes, unknown fields refused. What is the same is looked at once."""
    _validate(json.dumps(manifest, sort_keys=True), version)


@functools.cache
def _validate(manifest: str, version: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # kubernetes-validate leaves its schema files open
        kubernetes_validate.validate(json.loads(manifest), version, strict=True)


class Render:
    """One render's manifests."""

    def __init__(self, found: list[Manifest]) -> None:
        self.manifests = found

    def of(self, kind: str, ending: str = "") -> Manifest:
        """The one manifest of a kind whose name ends so."""
        found = [manifest for manifest in self.manifests if manifest["kind"] == kind and manifest["metadata"]["name"].endswith(ending)]
        assert len(found) == 1, f"{kind} …{ending}: found {[manifest['metadata']['name'] for manifest in found]}"
        return found[0]

    def kinds(self) -> list[str]:
        """The kinds, in order."""
        return sorted(manifest["kind"] for manifest in self.manifests)

    def pods(self) -> dict[str, Manifest]:
        """Every pod template, and the test's pod, by what makes it."""
        found = {}
        for manifest in self.manifests:
            spec = manifest.get("spec", {})
            name = f"{manifest['kind']} {manifest['metadata']['name']}"
            if manifest["kind"] == "Pod":
                found[name] = manifest
            elif manifest["kind"] == "CronJob":
                found[name] = spec["jobTemplate"]["spec"]["template"]
            elif "template" in spec:
                found[name] = spec["template"]
        return found


@pytest.fixture(scope="session")
def render() -> Callable[..., Render]:
    """Renders the chart: `render("ci/everything-values.yaml", **{"model.version": 2})`, the values as JSON."""

    def rendered(*files: str | Path, **values: Any) -> Render:
        arguments = [part for file in files for part in ("--values", str(tools.CHART / file))]
        arguments += [part for name, value in values.items() for part in ("--set-json", f"{name}={json.dumps(value)}")]
        return Render(manifests(template(*arguments)))

    return rendered


@pytest.fixture(scope="session")
def refusal() -> Callable[..., str]:
    """What helm says where it refuses these values."""

    def refused(**values: Any) -> str:
        arguments = [part for name, value in values.items() for part in ("--set-json", f"{name}={json.dumps(value)}")]
        with pytest.raises(AssertionError) as info:
            template(*arguments)
        return str(info.value)

    return refused


@pytest.fixture
def cluster(render):
    with FakeCluster(render(**{"model.version": 2, "gateway.replicas": 1})) as cluster:
        cluster.pod("gateway", "gateway-a")
        cluster.answers["gateway-a"] = {
            "answers": {"window_s": 60, "by_version": {"1": 30, "2": 70}},
            "serving": [{"address": "ab12cd34", "version": 2, "state": "AVAILABLE", "error": None}],
        }
        yield cluster


@pytest.fixture
def console(cluster, tmp_path, capsys):
    return Console(cluster, tmp_path, capsys)
