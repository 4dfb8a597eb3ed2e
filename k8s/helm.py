"""helm, which makes every change of a release."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from k8s.errors import Refused

CHART = Path(__file__).resolve().parents[1] / "helm" / "pynumdraw"
_REVISIONS = 50  # arbitrary, more than the ten that helm keeps by default
_KUBERNETES = "1.36.0"  # the newest that the chart was tried on


def find_helm(environ: Mapping[str, str]) -> str:
    """The helm that $HELM names, else the one on $PATH. Raises Refused without one."""
    if found := environ.get("HELM") or shutil.which("helm", path=environ.get("PATH", os.defpath)):
        return found
    raise Refused("helm is not on PATH and HELM does not name it; https://helm.sh/docs/intro/install/ says how to get it")


@dataclass(frozen=True)
class Helm:
    """The releases of one namespace."""

    binary: str
    """Path or name of helm, version 3.14 or newer."""
    namespace: str
    """Where the release is."""

    def run(self, *arguments: str) -> str:
        """Run helm; returns what it prints. Raises Refused with its error message."""
        try:
            done = subprocess.run([self.binary, "--namespace", self.namespace, *arguments], capture_output=True, text=True, check=False)
        except OSError as exc:
            raise Refused(f"cannot run {self.binary}: {exc.strerror}") from exc
        if done.returncode:
            raise Refused(f"helm {arguments[0]}: {done.stderr.strip().removeprefix('Error: ') or f'exit code {done.returncode}'}")
        return done.stdout

    def values(self, release: str, revision: int | None = None) -> dict[str, Any]:
        """All values of a release's revision (None: the newest), the chart's defaults included."""
        chosen = [] if revision is None else ["--revision", str(revision)]
        found: dict[str, Any] = json.loads(self.run("get", "values", release, "--all", "--output", "json", *chosen))
        return found

    def applies_server_side(self, release: str) -> bool:
        """Whether helm applies the release server-side: with Helm 4, a release that Helm 4 installed."""
        found: dict[str, Any] = json.loads(self.run("get", "metadata", release, "--output", "json"))
        return found.get("applyMethod") == "ssa"

    @property
    def field_manager(self) -> str:
        """The name by which the API server knows helm: that of its file."""
        return Path(self.binary).name

    def manifests(self, *command: str) -> list[dict[str, Any]]:
        """The manifests that a command which prints them gives, or an upgrade of that command would apply."""
        if command[0] == "upgrade":
            text = json.loads(self.run(*command, "--dry-run=server", "--output", "json"))["manifest"]
        else:
            text = self.run(*command)
        return [manifest for manifest in yaml.safe_load_all(text) if manifest]

    def history(self, release: str) -> list[dict[str, Any]]:
        """The revisions of a release, the newest last: revision, status, chart, description."""
        found: list[dict[str, Any]] = json.loads(self.run("history", release, "--max", str(_REVISIONS), "--output", "json"))
        return sorted(found, key=lambda row: int(row["revision"]))

    def chart_name(self, chart: Path) -> str:
        """A chart's `name-version`, as the history has it."""
        fields = dict(line.split(": ", 1) for line in self.run("show", "chart", str(chart)).splitlines() if ": " in line)
        return f"{fields['name']}-{fields['version']}"

    def render(self, release: str, chart: Path) -> str:
        """The chart's manifests for `kubectl apply`, without its test."""
        text = self.run("template", release, str(chart), "--skip-tests", "--kube-version", _KUBERNETES)
        text = re.sub(r"\n{2,}(?=---\n|\Z)", "\n", text)  # how many empty lines end a manifest differs from one helm to the next
        return text.replace("app.kubernetes.io/managed-by: Helm", "app.kubernetes.io/managed-by: kubectl")
