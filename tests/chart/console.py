"""`python -m k8s` against the fake cluster, and what its pods are found in."""

import json
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from k8s.__main__ import main
from tests.chart import tools
from tests.chart.fake_cluster import FakeCluster

VALID = {"created": None, "recipe": "quick", "accuracy": 0.99, "bytes": 1, "state": "valid", "reason": None}
CORRUPT = "/store/digits/4 is corrupt: variables/variables.index is missing"
LOAD_FAILURE = "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available"
LATER = "E versions.py:158] Loading servable: {name: digits version: 4} failed (try 3 of 3): NOT_FOUND: No attr named 'T' in NodeDef "


class Console:
    """The command, and what it has helm do."""

    def __init__(self, cluster: FakeCluster, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.cluster = cluster
        self.state = folder / "helm.json"
        script = folder / "helm"
        script.write_text(f"#!{sys.executable} -IS\n" + Path(__file__).with_name("fake_helm.py").read_text())
        script.chmod(0o755)
        self.capture = capture
        self.environ = {
            **os.environ,
            "KUBECONFIG": str(cluster.kubeconfig(folder / "kubeconfig")),
            "HELM": str(script),
            "FAKE_HELM": str(self.state),
        }
        self.set_helm(
            history=[
                {"revision": 1, "status": "superseded", "chart": "pynumdraw-0.1.0"},
                {"revision": 2, "status": "deployed", "chart": "pynumdraw-0.1.0"},
            ]
        )

    def set_helm(self, **facts):
        state = {"calls": [], "versions": {"1": 1, "2": 2}} | (json.loads(self.state.read_text()) if self.state.exists() else {})
        self.state.write_text(json.dumps(state | facts))

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "k8s", *words],
            cwd=tools.ROOT,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str) -> tuple[int, str, str]:
        with mock.patch.dict(os.environ, self.environ, clear=True):
            code = main(list(words))
        return code, *self.capture.readouterr()

    def helm_calls(self, verb: str) -> list[list[str]]:
        return [call for call in json.loads(self.state.read_text())["calls"] if verb in call]


def ready(cluster, *versions, template=None):
    for number, version in enumerate(versions):
        cluster.pod("serving", f"serving-{version}-{number}", version, template)


def container(name, *, running=False, waiting=None, message=None, code=1, restarts=0, is_ready=False):
    ended = (
        {"terminated": {"exitCode": code, "reason": "Error", "message": message, "startedAt": None, "finishedAt": None, "containerID": ""}}
        if message
        else {}
    )
    state = {"running": {}} if running else {"waiting": {"reason": waiting, "message": "back-off"}} if waiting else ended
    last = ended if state is not ended else {}
    return {"name": name, "image": "", "imageID": "", "ready": is_ready, "restartCount": restarts, "state": state, "lastState": last}


def starting(init=(), containers=(), conditions=({"type": "Ready", "status": "False"},)):
    return {"phase": "Pending", "conditions": list(conditions), "initContainerStatuses": list(init), "containerStatuses": list(containers)}


STALLS = {
    "corrupt": (
        starting(init=[container("fetch", waiting="CrashLoopBackOff", message=CORRUPT, code=2, restarts=3)]),
        f"failing: fetch: {CORRUPT}",
        True,
    ),
    "unloadable": (
        starting(
            init=[container("fetch", is_ready=True)],
            containers=[container("serving", waiting="CrashLoopBackOff", message=LOAD_FAILURE, code=255, restarts=2)],
        ),
        f"failing: serving: {LOAD_FAILURE}",
        True,
    ),
    "last-words-before-other-lines": (
        starting(
            init=[container("fetch", is_ready=True)],
            containers=[container("serving", message=f"I a line\n{LOAD_FAILURE}\n{5 * LATER}", code=255, restarts=1)],
        ),
        f"failing: serving: {LOAD_FAILURE} {5 * LATER}"[: len("failing: serving: ") + 600],
        True,
    ),
    "missing": (
        starting(init=[container("fetch", running=True)]),
        "waiting: waiting for version 2 in /store/digits: 20 of 1800 s; it holds 1",
        False,
    ),
    "image": (starting(init=[container("fetch", waiting="ImagePullBackOff")]), "failing: fetch: ImagePullBackOff: back-off", True),
    "no-room": (
        starting(conditions=[{"type": "PodScheduled", "status": "False", "message": "0/2 nodes are available: 2 Insufficient cpu."}]),
        "pending: 0/2 nodes are available: 2 Insufficient cpu.",
        False,
    ),
    "slow": (starting(init=[container("fetch", is_ready=True)], containers=[container("serving", running=True)]), "loading", False),
}
