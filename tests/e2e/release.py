"""A release in a namespace of its own, on the cluster that KUBECONFIG names: what the steps of the suite do with it."""

import http.client
import json
import os
import secrets
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pynumdraw
from tests.chart import tools
from tests.chart.documents import command
from tests.stack import ROOT, free_port, wait_until

NAME = "pynumdraw"
SIGNING = "pynumdraw-signing"  # the Secret of the documented command
PATH = "/draw"  # the page is under a sub-path here, since the root works wherever that does
RESTRICTED = {
    "automountServiceAccountToken": False,
    "restartPolicy": "Never",
    "securityContext": {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}
IS_DEFAULT = "storageclass.kubernetes.io/is-default-class"
CONTAINED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


@dataclass(frozen=True)
class Site:
    """What the environment tells the suite about the cluster."""

    kubeconfig: str
    """KUBECONFIG."""
    ingress_url: str
    """INGRESS_URL: where the cluster's ingress controller is reached from here."""
    image_load: str
    """IMAGE_LOAD: a command that takes images' names and brings them onto the nodes; empty where the cluster pulls them."""
    registry: str
    """IMAGE_REGISTRY and IMAGE_TAG: what `make build` named the images."""
    tag: str
    stand_in: bool
    """SERVING_STAND_IN=false serves with the real TensorFlow Serving, where its image can be pulled."""
    values: str
    """VALUES: a file of further values, for what this cluster needs."""

    @classmethod
    def from_env(cls, environ: dict[str, str]) -> "Site":
        """Raises LookupError for what is missing."""
        for name, what in (("KUBECONFIG", "the cluster"), ("INGRESS_URL", "the address of its ingress controller")):
            if not environ.get(name):
                raise LookupError(f"the end-to-end tests need {name}: {what}")
        return cls(
            environ["KUBECONFIG"],
            environ["INGRESS_URL"],
            environ.get("IMAGE_LOAD", ""),
            environ.get("IMAGE_REGISTRY") or "localhost",
            environ.get("IMAGE_TAG") or pynumdraw.__version__,
            environ.get("SERVING_STAND_IN", "true") != "false",
            environ.get("VALUES", ""),
        )


class Release:
    """Release `pynumdraw` in a fresh namespace. Commands run as a user would type them, the namespace being the kubeconfig's."""

    def __init__(self, site: Site, folder: Path, **values: Any) -> None:
        """values: further ones of the chart."""
        self.site, self.folder = site, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.namespace = f"e2e-{secrets.token_hex(3)}"
        self.host = f"{self.namespace}.test"
        programs = {Path(program).parent for program in (tools.helm(), tools.kubectl(), sys.executable)}
        self.environ = {**os.environ, "PATH": os.pathsep.join([*map(str, programs), os.environ["PATH"]]), "HELM": tools.helm()}
        self.environ["KUBECONFIG"] = str(self._kubeconfig())
        self.environ["VALUES"] = str(self._values(values))

    @property
    def images(self) -> dict[str, str]:
        """Our images."""
        return {name: f"{self.site.registry}/pynumdraw-{name}:{self.site.tag}" for name in ("gateway", "store", "trainer")}

    def _kubeconfig(self) -> Path:
        """A copy of the user's, with our namespace as the current one."""
        environ = {**os.environ, "KUBECONFIG": self.site.kubeconfig}
        shown = subprocess.run(
            [tools.kubectl(), "config", "view", "--raw", "--minify", "--flatten", "--output", "json"],
            env=environ,
            capture_output=True,
            text=True,
            check=True,
        )
        config = json.loads(shown.stdout)
        config["contexts"][0]["context"]["namespace"] = self.namespace
        path = self.folder / "kubeconfig"
        path.touch(mode=0o600)
        path.write_text(json.dumps(config))
        return path

    def nodes(self) -> set[str]:
        """The nodes that any pod may run on."""
        return {
            node["metadata"]["name"]
            for node in self.get("nodes")
            if not any(taint["effect"] != "PreferNoSchedule" for taint in node["spec"].get("taints", []))
        }

    def _values(self, others: dict[str, Any]) -> Path:
        """Our values and others, in one file; those of VALUES go before."""
        path = self.folder / "values.yaml"
        images = {"image": {"tag": self.site.tag}}
        mine = {
            "imageRegistry": self.site.registry,
            "gateway": images,
            "trainer": images | {"resources": {"requests": {"cpu": "500m"}}} | others.pop("trainer", {}),
            "serving": {"standIn": self.site.stand_in},
            "store": images | others.pop("store", {}),
            "ingress": {"hosts": [self.host], "path": PATH},
        }
        path.write_text(json.dumps(mine | others))  # JSON is YAML
        return path

    def _switch_signing_on(self) -> None:
        """Make a key by the documented command, and set the two values."""
        keys = self.folder / "keys"
        self.run(self.documented("signing-key", ("keygen keys", f"keygen {keys}"), ("=keys/", f"={keys}/")))
        path = self.folder / "values.yaml"
        public = (keys / "key.pub").read_text()
        path.write_text(json.dumps(json.loads(path.read_text()) | {"signing": {"secretName": SIGNING, "publicKeys": {"key.pub": public}}}))

    def run(self, text: str, timeout_s: float = 600, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command line from the checkout; AssertionError with its output where it fails."""
        done = subprocess.run(
            ["bash", "-c", self.with_values(text)],
            cwd=ROOT,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{text}\nexit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def with_values(self, text: str) -> str:
        """A command line with the site's own values before ours."""
        return text.replace(" --values ", f" --values {self.site.values} --values ", 1) if self.site.values else text

    def upgrade(self, *flags: str) -> None:
        """Upgrade the release with the chart as it is here; the values stay, but for what the flags say."""
        kept = "--reset-then-reuse-values --server-side=true --force-conflicts --wait"
        self.run(f"helm upgrade {NAME} {tools.CHART} {kept} {' '.join(flags)}")

    def documented(self, name: str, *changes: tuple[str, str]) -> str:
        """The command that the documents give under this name, parts of it replaced; AssertionError where a part is not in it."""
        text = command(name)
        for old, new in changes:
            assert old in text, f"{name}: {old!r} is not in {text!r}"
            text = text.replace(old, new)
        return text

    def kubectl(self, *words: str, stdin: str | None = None, check: bool = True, timeout_s: float = 300) -> str:
        """What kubectl prints."""
        done = subprocess.run(
            [tools.kubectl(), *words], env=self.environ, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        assert not check or done.returncode == 0, f"kubectl {' '.join(words)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def get(self, *words: str) -> Any:
        """Objects as JSON: a list's items, or the one that is named."""
        found = json.loads(self.kubectl("get", *words, "--output", "json"))
        return found.get("items", found)

    def apply(self, *objects: dict[str, Any]) -> None:
        """Create or change objects."""
        self.kubectl(
            "apply", "--server-side", "--filename", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        )

    def pods(self, component: str, ready: bool = True) -> list[dict[str, Any]]:
        """The pods of a component that are not about to end; only the ready ones by default."""
        found = self.get("pods", "--selector", f"app.kubernetes.io/instance={NAME},app.kubernetes.io/component={component}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"] and (not ready or is_ready(pod))]

    @contextmanager
    def default_storage_class(self, name: str) -> Iterator[None]:
        """Make a class the default for a while; where there is no such class, the default stays."""
        classes = {
            each["metadata"]["name"]: each["metadata"].get("annotations", {}).get(IS_DEFAULT) == "true"
            for each in self.get("storageclasses")
        }
        try:
            self._set_default_storage_class({each: each == name for each in classes} if name in classes else classes)
            yield
        finally:
            self._set_default_storage_class(classes)

    def _set_default_storage_class(self, classes: dict[str, bool]) -> None:
        for each, is_default in classes.items():
            self.kubectl("annotate", "--overwrite", "storageclass", each, f"{IS_DEFAULT}={str(is_default).lower()}")

    def start(self, signing: bool = True) -> None:
        """The namespace as k8s/namespace.yaml has it, but ours; signing switched on, if wanted; and the images on the nodes."""
        text = (ROOT / "k8s" / "namespace.yaml").read_text().replace(f"name: {NAME}", f"name: {self.namespace}")
        self.kubectl("apply", "--filename", "-", stdin=text)
        if signing:
            self._switch_signing_on()
        if self.site.image_load:
            self.run(f"{self.site.image_load} {' '.join(self.images.values())}", timeout_s=900)

    def end(self) -> None:
        """All of it goes."""
        self.kubectl("delete", "namespace", self.namespace, "--wait=false", check=False)

    def ask(self, path: str = "/", body: bytes | None = None) -> tuple[int, bytes]:
        """GET, or POST of JSON, through the Ingress: status and body, (0, b"") where nobody answers."""
        return fetch(f"{self.site.ingress_url.rstrip('/')}{PATH}{path}", self.host, body)

    def resolver_rule(self) -> str:
        """For Chromium: our host name is the ingress controller."""
        where = urlsplit(self.site.ingress_url)
        return f"--host-resolver-rules=MAP {self.host} {where.hostname}:{where.port or 80}"

    def requests_served(self) -> dict[str, int]:
        """How many requests each serving pod has answered, by its own count; through the kubelet, which no NetworkPolicy concerns."""
        counts = {}
        for pod in self.pods("serving"):
            name, port = pod["metadata"]["name"], free_port()
            forward = [tools.kubectl(), "port-forward", f"pod/{name}", f"{port}:8501"]
            with subprocess.Popen(forward, env=self.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                try:
                    url = f"http://127.0.0.1:{port}/monitoring/prometheus/metrics"
                    text = wait_until(f"metrics of {name}", lambda url=url: fetch(url)[1].decode(), 20)
                finally:
                    process.terminate()
            lines = [line for line in text.splitlines() if line.startswith(":tensorflow:serving:request_count{")]
            counts[name] = sum(int(float(line.rpartition(" ")[2])) for line in lines)
        return counts

    def run_pod(
        self,
        name: str,
        image: str,
        arguments: list[str],
        script: Path,
        labels: dict[str, str] | None = None,
        claim: str = "",
        secret: str = "",
    ) -> str:
        """Run a script in one of our images as a restricted pod, with a claim at /store and a Secret at /secret; its log.

        Raises AssertionError where it fails.
        """
        mounts = [{"name": "script", "mountPath": "/script", "readOnly": True}]
        volumes: list[dict[str, Any]] = [{"name": "script", "configMap": {"name": name}}]
        if claim:
            mounts.append({"name": "store", "mountPath": "/store"})
            volumes.append({"name": "store", "persistentVolumeClaim": {"claimName": claim}})
        if secret:
            mounts.append({"name": "secret", "mountPath": "/secret", "readOnly": True})
            volumes.append({"name": "secret", "secret": {"secretName": secret, "defaultMode": 0o440}})
        container = {
            "name": "script",
            "image": image,
            "command": ["python", f"/script/{script.name}", *arguments],
            "env": [{"name": "PYTHONPATH", "value": "/app"}],
            "securityContext": CONTAINED,
            "volumeMounts": mounts,
        }
        self.kubectl("delete", "pod", name, "--ignore-not-found", "--wait")
        self.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {script.name: script.read_text()}},
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "labels": labels or {}},
                "spec": RESTRICTED | {"containers": [container], "volumes": volumes},
            },
        )
        phase = wait_until(
            f"pod {name} ends", lambda: (p := self.get("pod", name)["status"]["phase"]) in ("Succeeded", "Failed") and p, timeout_s=120
        )
        log = self.kubectl("logs", name)
        assert phase == "Succeeded", f"pod {name}: {log}"
        return log

    def explain(self, folder: Path) -> None:
        """Leave in a folder all that may tell why a step failed."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, words in {
            "pods.txt": ("get", "pods", "--output", "wide"),
            "describe.txt": ("describe", "pods,deployments,replicasets,jobs,horizontalpodautoscalers,persistentvolumeclaims,ingresses"),
            "events.txt": ("get", "events", "--sort-by", ".lastTimestamp"),
            "nodes.txt": ("describe", "nodes"),
        }.items():
            (folder / name).write_text(self.kubectl(*words, check=False))
        for pod in self.get("pods"):
            name = pod["metadata"]["name"]
            for ending, words in (("", ()), ("-previous", ("--previous",))):
                if text := self.kubectl("logs", name, "--all-containers", "--prefix", "--timestamps", *words, check=False):
                    (folder / f"{name}{ending}.log").write_text(text)
        for name, text in (("status.txt", "python -m k8s status"), ("history.txt", f"helm history {NAME}")):
            done = self.run(text, check=False)
            (folder / name).write_text(done.stdout + done.stderr)


def fetch(url: str, host: str | None = None, body: bytes | None = None, timeout_s: float = 10.0) -> tuple[int, bytes]:
    """Status and body of a GET, or of a POST of JSON; (0, b"") where nobody answers."""
    headers = {"Content-Type": "application/json"} | ({"Host": host} if host else {})
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=timeout_s) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except (urllib.error.URLError, OSError, http.client.HTTPException):
        return 0, b""


def is_ready(pod: dict[str, Any]) -> bool:
    """Whether a pod takes requests."""
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in pod["status"].get("conditions", []))
