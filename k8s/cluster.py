"""What the cluster knows about a release: its pods, how far a rollout is, what the gateways answer, what the store holds."""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import urllib3
from kubernetes import client

from k8s import claims, store_job
from k8s.conflicts import Conflict, conflicts
from k8s.errors import Refused
from k8s.pods import TEMPLATE_LABEL, VERSION_LABEL, Pod, container_statuses, pod_state

_REVISION = "deployment.kubernetes.io/revision"
_GATEWAY_TIMEOUT_S = 10  # arbitrary: for one gateway's /api/v1/versions, which needs milliseconds
_JOB_POLL_S = 0.5  # arbitrary
_ERROR_CHARACTERS = 500  # arbitrary: the end of the log of a Job that failed
_TELLING_EVENTS = ("FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox")  # why a container does not start
_PROBE_EVENT = "Unhealthy"  # tells why a container was restarted; before that a probe may fail


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

    def claim_reason(self) -> str | None:
        """Why the claim of the store is not bound, and what to set; None where it is."""
        volumes = self._deployment("serving").spec.template.spec.volumes
        (name,) = [volume.persistent_volume_claim.claim_name for volume in volumes if volume.name == "store"]
        try:
            claim = self._core.read_namespaced_persistent_volume_claim(name, self.namespace)
        except client.ApiException as exc:
            return f"claim {name} cannot be read: {exc.reason}. Set store.existingClaim to a claim that there is."
        try:
            classes = [each.metadata.name for each in client.StorageV1Api(self._api).list_storage_class().items]
        except client.ApiException:
            classes = None  # a user of one namespace may not list them
        events = self._events("PersistentVolumeClaim", name)
        failures = [event.message for event in events if event.type == "Warning"]  # others say only that something waits
        return claims.unbound_reason(claim, classes, failures or [event.message for event in events])

    def conflicts(self, manifests: Iterable[dict[str, Any]], manager: str) -> list[Conflict]:
        """Fields that others hold and that `manager` would change by applying these manifests; nothing is applied.

        Raises Refused with the API server's message where it would not take a manifest at all.
        """
        found = []
        for manifest in manifests:
            path = self._path(manifest)
            query = [("fieldManager", manager), ("dryRun", "All"), ("force", "false")]
            try:
                self._call(path, "PATCH", query, json.dumps(manifest))
            except client.ApiException as exc:
                status = json.loads(exc.body or "{}")
                causes = conflicts(status, manifest, self._call(path, "GET")) if exc.status == 409 else []
                if not causes:
                    with translate_api_errors():
                        raise
                found += causes
        return found

    def _path(self, manifest: dict[str, Any]) -> str:
        version, kind = manifest["apiVersion"], manifest["kind"].lower()
        plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}es" if kind.endswith("s") else f"{kind}s"
        prefix = f"/apis/{version}" if "/" in version else f"/api/{version}"
        return f"{prefix}/namespaces/{self.namespace}/{plural}/{manifest['metadata']['name']}"

    def _call(self, path: str, method: str, query: Sequence[tuple[str, str]] = (), body: str | None = None) -> dict[str, Any]:
        """A request of the API for which the client has no method that takes any kind; JSON is YAML, so the body may be JSON."""
        headers = {"Accept": "application/json", "Content-Type": "application/apply-patch+yaml"}
        sent = self._api.param_serialize(
            method, path, query_params=list(query), header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        reply = self._api.call_api(*sent)
        text = reply.read().decode()
        if not 200 <= reply.status < 300:
            raise client.ApiException(reply.status, reply.reason, body=text)
        answer: dict[str, Any] = json.loads(text)
        return answer

    def _events(self, kind: str, name: str) -> list[client.CoreV1Event]:
        """Events about an object, the newest last."""
        chosen = f"involvedObject.kind={kind},involvedObject.name={name}"
        found = self._core.list_namespaced_event(self.namespace, field_selector=chosen).items
        return sorted(found, key=lambda event: str(event.last_timestamp or event.event_time or ""))

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
        restarts = sum(status.restart_count for status in container_statuses(pod))
        event = self._telling_event(pod, restarts) if found.state in ("starting", "loading", "failing") else None
        reason = "; ".join(filter(None, (event, found.reason)))
        return Pod(
            name=pod.metadata.name,
            node=pod.spec.node_name or "",
            template=labels.get(TEMPLATE_LABEL, ""),
            version=labels.get(VERSION_LABEL, ""),
            state=found.state,
            restarts=restarts,
            reason=self._last_log_line(pod, found.waiting_container) if found.waiting_container else reason or None,
            failed=found.failed,
        )

    def _telling_event(self, pod: client.V1Pod, restarts: int) -> str | None:
        """The newest event that says why a pod does not get ready."""
        reasons = (*_TELLING_EVENTS, _PROBE_EVENT) if restarts else _TELLING_EVENTS
        with suppress(client.ApiException):
            found = [event.message for event in self._events("Pod", pod.metadata.name) if event.reason in reasons]
            asked = [each.startup_probe.http_get.path for each in pod.spec.containers if each.startup_probe and each.startup_probe.http_get]
            if found:
                return " ".join(found[-1].split()) + (f" (it asks for {asked[0]})" if found[-1].startswith("Startup") and asked else "")
        return None

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
