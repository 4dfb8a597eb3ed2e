"""What the cluster knows about a release: its pods, how far a rollout is, what the gateways answer, what the store holds."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import urllib3
from kubernetes import client

from k8s import store_job
from k8s.errors import Refused
from k8s.pods import TEMPLATE_LABEL, VERSION_LABEL, Pod, container_statuses, pod_state

_REVISION = "deployment.kubernetes.io/revision"
_GATEWAY_TIMEOUT_S = 10  # arbitrary: for one gateway's /api/v1/versions, which needs milliseconds
_JOB_POLL_S = 0.5  # arbitrary
_ERROR_CHARACTERS = 500  # arbitrary: the end of the log of a Job that failed


@dataclass(frozen=True)
class RolloutStatus:
    """How far a Deployment has moved its pods to its newest template. Pods that are ending do not count."""

    template: str
    """Hash of the newest pod template; empty while `observed` is false."""
    wanted: int
    """Pods that the Deployment shall have."""
    updated: int
    """Pods of the newest template."""
    ready: int
    """Pods that have been ready for minReadySeconds."""
    pods: int
    """All its pods."""
    observed: bool
    """Whether the cluster has taken up the Deployment's last change; until then the counts are of the one before."""

    @property
    def complete(self) -> bool:
        """Every pod is of the newest template and ready, and no other is left."""
        return self.observed and self.wanted == self.updated == self.ready == self.pods


@dataclass(frozen=True)
class GatewayAnswers:
    """What the ready gateways say together."""

    by_version: dict[str, int]
    """Answers of the last minute by version of the model."""
    servers: list[dict[str, Any]]
    """What the serving addresses report: address, version, state, error."""
    unreachable: list[str]
    """Names of gateway pods that could not be asked."""


class Cluster:
    """The release `release` in `namespace`. Every method raises Refused where the cluster does not answer."""

    def __init__(self, api: client.ApiClient, namespace: str, release: str) -> None:
        self.namespace, self.release = namespace, release
        self._api = api
        self._core, self._apps, self._batch = client.CoreV1Api(api), client.AppsV1Api(api), client.BatchV1Api(api)

    def pods(self, component: str) -> list[Pod]:
        """The pods of a component, oldest first."""
        with translate_api_errors():
            found = self._core.list_namespaced_pod(self.namespace, label_selector=self._selector(component)).items
            return [self._describe(pod) for pod in sorted(found, key=lambda pod: pod.metadata.creation_timestamp)]

    def rollout(self, component: str) -> RolloutStatus:
        """How far a component's Deployment is. Raises Refused where there is none."""
        deployment = self._deployment(component)
        status = deployment.status
        revision = (deployment.metadata.annotations or {}).get(_REVISION)
        with translate_api_errors():
            sets = self._apps.list_namespaced_replica_set(self.namespace, label_selector=self._selector(component)).items
        newest = [each for each in sets if (each.metadata.annotations or {}).get(_REVISION) == revision]
        observed = bool(newest) and (status.observed_generation or 0) >= deployment.metadata.generation
        return RolloutStatus(
            template=newest[0].metadata.labels[TEMPLATE_LABEL] if observed else "",
            wanted=deployment.spec.replicas or 0,
            updated=status.updated_replicas or 0,
            ready=status.available_replicas or 0,
            pods=status.replicas or 0,
            observed=observed,
        )

    def answers(self) -> GatewayAnswers:
        """Ask every ready gateway, through the API server, for its answers and what it sees of the serving pods."""
        by_version: dict[str, int] = {}
        servers: dict[tuple[str, Any], dict[str, Any]] = {}
        unreachable = []
        for pod in self.pods("gateway"):
            if pod.state != "ready":
                continue
            try:
                reply = self._core.connect_get_namespaced_pod_proxy_with_path(
                    f"{pod.name}:8080", self.namespace, "api/v1/versions", _preload_content=False, _request_timeout=_GATEWAY_TIMEOUT_S
                )
                report = json.loads(reply.data)
                for version, count in report["answers"]["by_version"].items():
                    by_version[version] = by_version.get(version, 0) + count
                for row in report["serving"]:
                    servers[row["address"], row["version"]] = row
            except (client.ApiException, urllib3.exceptions.HTTPError, ValueError, KeyError):
                unreachable.append(pod.name)
        return GatewayAnswers(by_version, [servers[key] for key in sorted(servers, key=str)], unreachable)

    def store(self) -> list[dict[str, Any]]:
        """What the store holds: a row for each version, as `python -m pynumdraw.store list --json` prints it. A short Job lists it."""
        template = self._api.sanitize_for_serialization(self._deployment("serving").spec.template)
        job = store_job.list_job(template, self.release)
        with translate_api_errors():
            name = self._batch.create_namespaced_job(self.namespace, job).metadata.name
            try:
                pod = self._wait_for_job(name)
                text = self._core.read_namespaced_pod_log(pod.metadata.name, self.namespace)
            finally:
                self._batch.delete_namespaced_job(name, self.namespace, propagation_policy="Background")
        try:
            rows: list[dict[str, Any]] = json.loads(text)
        except ValueError as exc:
            raise Refused(f"cannot list the store: {text.strip()[-_ERROR_CHARACTERS:] or 'the Job printed nothing'}") from exc
        return rows

    def _wait_for_job(self, job: str) -> client.V1Pod:
        """The Job's pod, once it has ended."""
        deadline = time.monotonic() + store_job.TIMEOUT_S
        while True:
            pods = self._core.list_namespaced_pod(self.namespace, label_selector=f"batch.kubernetes.io/job-name={job}").items
            ended = [pod for pod in pods if pod.status.phase in ("Succeeded", "Failed")]
            if ended:
                return ended[0]
            if time.monotonic() > deadline:
                reasons = "; ".join(pod.reason for pod in map(self._describe, pods) if pod.reason)
                raise Refused(
                    f"cannot list the store: Job {job} did not end in {store_job.TIMEOUT_S} s" + (f" ({reasons})" if reasons else "")
                )
            time.sleep(_JOB_POLL_S)

    def _deployment(self, component: str) -> client.V1Deployment:
        with translate_api_errors():
            found = self._apps.list_namespaced_deployment(self.namespace, label_selector=self._selector(component)).items
        if not found:
            raise Refused(f"no {component} Deployment of release {self.release!r} in namespace {self.namespace!r}")
        return found[0]

    def _selector(self, component: str) -> str:
        return f"app.kubernetes.io/part-of=pynumdraw,app.kubernetes.io/instance={self.release},app.kubernetes.io/component={component}"

    def _describe(self, pod: client.V1Pod) -> Pod:
        found = pod_state(pod)
        labels = pod.metadata.labels or {}
        return Pod(
            name=pod.metadata.name,
            node=pod.spec.node_name or "",
            template=labels.get(TEMPLATE_LABEL, ""),
            version=labels.get(VERSION_LABEL, ""),
            state=found.state,
            restarts=sum(status.restart_count for status in container_statuses(pod)),
            reason=self._last_log_line(pod, found.waiting_container) if found.waiting_container else found.reason,
            failed=found.failed,
        )

    def _last_log_line(self, pod: client.V1Pod, container: str) -> str | None:
        with suppress(client.ApiException):
            text: str = self._core.read_namespaced_pod_log(pod.metadata.name, self.namespace, container=container, tail_lines=1)
            return text.strip() or None
        return None


@contextmanager
def translate_api_errors() -> Iterator[None]:
    """Raise an error of the Kubernetes API as Refused, with the API server's own message."""
    try:
        yield
    except client.ApiException as exc:
        try:
            message = json.loads(exc.body or "")["message"]
        except (ValueError, TypeError, KeyError):
            message = exc.reason
        raise Refused(f"the cluster says: {message} (HTTP {exc.status})") from exc
    except urllib3.exceptions.HTTPError as exc:
        raise Refused(f"the cluster cannot be reached: {exc}") from exc
