"""What the cluster says of a release: its pods, what holds a pod up, what the gateways answer with, what the store holds."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import urllib3
from kubernetes import client

from k8s.errors import Refused

_VERSION, _TEMPLATE, _REVISION = "pynumdraw/model-version", "pod-template-hash", "deployment.kubernetes.io/revision"
LIST_TIMEOUT_S = 90
_HOPELESS = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError", "RunContainerError")


@dataclass(frozen=True)
class Pod:
    """A pod in words. template: that of the Deployment it is of. reason: what holds it up. failed: more than once; only a change helps."""

    name: str
    node: str
    template: str
    version: str
    state: str
    restarts: int
    reason: str | None
    failed: bool


@dataclass(frozen=True)
class Roll:
    """How far a Deployment is: its newest template, pods that are wanted, of that template, ready, in all (those that end not counted)."""

    template: str
    wanted: int
    updated: int
    ready: int
    pods: int
    seen: bool

    @property
    def complete(self) -> bool:
        """Every pod is of the newest template and ready, and no other is left."""
        return self.seen and self.wanted == self.updated == self.ready == self.pods


class Cluster:
    """The release `release` in `namespace`."""

    def __init__(self, api: client.ApiClient, namespace: str, release: str) -> None:
        self.namespace, self.release = namespace, release
        self._api = api
        self._core, self._apps, self._batch = client.CoreV1Api(api), client.AppsV1Api(api), client.BatchV1Api(api)

    def pods(self, component: str) -> list[Pod]:
        """The pods of a component, each with its state in words."""
        with _refusing():
            found = self._core.list_namespaced_pod(self.namespace, label_selector=self._selector(component)).items
            return [self._in_words(pod) for pod in sorted(found, key=lambda pod: pod.metadata.creation_timestamp)]

    def roll(self, component: str) -> Roll:
        """How far a component's Deployment is. Raises Refused where there is none."""
        deployment = self._deployment(component)
        status = deployment.status
        with _refusing():
            sets = self._apps.list_namespaced_replica_set(self.namespace, label_selector=self._selector(component)).items
        newest = [
            each
            for each in sets
            if (each.metadata.annotations or {}).get(_REVISION) == (deployment.metadata.annotations or {}).get(_REVISION)
        ]
        seen = bool(newest) and (status.observed_generation or 0) >= deployment.metadata.generation
        return Roll(
            newest[0].metadata.labels[_TEMPLATE] if seen else "",
            deployment.spec.replicas or 0,
            status.updated_replicas or 0,
            status.available_replicas or 0,
            status.replicas or 0,
            seen,
        )

    def answers(self) -> tuple[dict[str, int], list[dict[str, Any]], list[str]]:
        """What the ready gateways answered in the last minute by version, what the serving addresses report, and who could not be asked."""
        counts: dict[str, int] = {}
        reported: dict[tuple[str, Any], dict[str, Any]] = {}
        silent = []
        for pod in self.pods("gateway"):
            if pod.state != "ready":
                continue
            try:
                reply = self._core.connect_get_namespaced_pod_proxy_with_path(
                    f"{pod.name}:8080", self.namespace, "api/v1/versions", _preload_content=False, _request_timeout=10
                )
                told = json.loads(reply.data)
                for version, count in told["answers"]["by_version"].items():
                    counts[version] = counts.get(version, 0) + count
                for row in told["serving"]:
                    reported[row["address"], row["version"]] = row
            except (client.ApiException, urllib3.exceptions.HTTPError, ValueError, KeyError):
                silent.append(pod.name)
        return counts, [reported[key] for key in sorted(reported, key=str)], silent

    def store(self) -> list[dict[str, Any]]:
        """What the store holds: a row for each version, as `python -m pynumdraw.store list --json` says it. A short Job looks."""
        template = self._api.sanitize_for_serialization(self._deployment("serving").spec.template)
        job = list_job(template, self.release)
        with _refusing():
            name = self._batch.create_namespaced_job(self.namespace, job).metadata.name
            try:
                pod = self._finished(name)
                text = self._core.read_namespaced_pod_log(pod.metadata.name, self.namespace)
            finally:
                self._batch.delete_namespaced_job(name, self.namespace, propagation_policy="Background")
        try:
            rows: list[dict[str, Any]] = json.loads(text)
        except ValueError as exc:
            raise Refused(f"cannot list the store: {text.strip()[-500:] or 'the Job said nothing'}") from exc
        return rows

    def _finished(self, job: str) -> client.V1Pod:
        end = time.monotonic() + LIST_TIMEOUT_S
        while True:
            pods = self._core.list_namespaced_pod(self.namespace, label_selector=f"batch.kubernetes.io/job-name={job}").items
            done = [pod for pod in pods if pod.status.phase in ("Succeeded", "Failed")]
            if done:
                return done[0]
            if time.monotonic() > end:
                why = "; ".join(word.reason for word in map(self._in_words, pods) if word.reason)
                raise Refused(f"cannot list the store: Job {job} did not end in {LIST_TIMEOUT_S} s" + (f" ({why})" if why else ""))
            time.sleep(0.5)

    def _deployment(self, component: str) -> client.V1Deployment:
        with _refusing():
            found = self._apps.list_namespaced_deployment(self.namespace, label_selector=self._selector(component)).items
        if not found:
            raise Refused(f"no {component} Deployment of release {self.release!r} in namespace {self.namespace!r}")
        return found[0]

    def _selector(self, component: str) -> str:
        return f"app.kubernetes.io/part-of=pynumdraw,app.kubernetes.io/instance={self.release},app.kubernetes.io/component={component}"

    def _in_words(self, pod: client.V1Pod) -> Pod:
        state, reason, failed = self._state(pod)
        statuses = [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]
        labels = pod.metadata.labels or {}
        restarts = sum(status.restart_count for status in statuses)
        return Pod(
            pod.metadata.name,
            pod.spec.node_name or "",
            labels.get(_TEMPLATE, ""),
            labels.get(_VERSION, ""),
            state,
            restarts,
            reason,
            failed,
        )

    def _state(self, pod: client.V1Pod) -> tuple[str, str | None, bool]:
        """State, what holds the pod up, and whether it has failed."""
        if pod.metadata.deletion_timestamp:
            return "ending", None, False
        conditions = {condition.type: condition for condition in pod.status.conditions or []}
        if pod.status.phase in ("Succeeded", "Failed"):
            return pod.status.phase.lower(), _last_words(pod), pod.status.phase == "Failed"
        if "Ready" in conditions and conditions["Ready"].status == "True":
            return "ready", None, False
        scheduled = conditions.get("PodScheduled")
        if scheduled is not None and scheduled.status == "False":
            return "pending", scheduled.message, False
        for status in [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]:
            if status.ready:
                continue
            words, waiting = _last_words(pod, status.name), status.state.waiting
            if waiting and waiting.reason in _HOPELESS:
                return "failing", f"{status.name}: {waiting.reason}: {waiting.message or ''}".strip(" :"), True
            if words:
                return "failing", words, status.restart_count > 0
            if status.state.running:
                return ("waiting", self._last_line(pod, status.name), False) if status.name == "fetch" else ("loading", None, False)
        return "starting", None, False

    def _last_line(self, pod: client.V1Pod, container: str) -> str | None:
        with suppress(client.ApiException):
            text: str = self._core.read_namespaced_pod_log(pod.metadata.name, self.namespace, container=container, tail_lines=1)
            return text.strip() or None
        return None


def _last_words(pod: client.V1Pod, container: str | None = None) -> str | None:
    """What a container that failed said last: its termination message, else how it ended."""
    for status in [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]:
        for state in (status.state, status.last_state):
            ended = state.terminated if state else None
            if container in (None, status.name) and ended and ended.exit_code:
                said = " ".join((ended.message or "").split())[-600:]
                return f"{status.name}: {said or f'{ended.reason}, exit code {ended.exit_code}'}"
    return None


def list_job(template: dict[str, Any], release: str) -> dict[str, Any]:
    """A Job that prints what the store holds, made of a serving pod's template so that every setting of the release holds for it too.

    Raises Refused for a template without a `fetch` container: TensorFlow Serving polls the store itself there.
    """
    spec = template["spec"]
    fetch = next((container for container in spec.get("initContainers", []) if container["name"] == "fetch"), None)
    if fetch is None:
        raise Refused("model.policy is latest: every pod moves by itself as soon as a version is published")
    kept = ("serviceAccountName", "securityContext", "imagePullSecrets", "nodeSelector", "tolerations", "affinity", "priorityClassName")
    container = {
        **{key: fetch[key] for key in ("image", "imagePullPolicy", "resources", "securityContext") if key in fetch},
        "name": "list",
        "command": ["python", "-m", "pynumdraw.store", "list", "--json"],
        "args": [argument for argument in fetch["args"] if argument.startswith(("--store=", "--name="))],
        "volumeMounts": [mount for mount in fetch["volumeMounts"] if mount["name"] == "store"],
    }
    names = ("app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/part-of")
    labels = {key: template["metadata"]["labels"][key] for key in names} | {"app.kubernetes.io/component": "store-list"}
    pod = {
        **{key: spec[key] for key in kept if key in spec},
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [volume for volume in spec["volumes"] if volume["name"] == "store"],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": f"{release[:40]}-store-list-", "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": LIST_TIMEOUT_S,
            "ttlSecondsAfterFinished": LIST_TIMEOUT_S,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn what the cluster refuses into one sentence."""
    try:
        yield
    except client.ApiException as exc:
        try:
            said = json.loads(exc.body or "")["message"]
        except (ValueError, TypeError, KeyError):
            said = exc.reason
        raise Refused(f"the cluster says: {said} (HTTP {exc.status})") from exc
    except urllib3.exceptions.HTTPError as exc:
        raise Refused(f"the cluster cannot be reached: {exc}") from exc
