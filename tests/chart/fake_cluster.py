"""A fake Kubernetes API server: it answers what `python -m k8s` asks from Python objects that a test sets."""

import json
from typing import TYPE_CHECKING, Any

from tests.chart.fake_api import FakeApi

if TYPE_CHECKING:
    from tests.chart.conftest import Render

NAMESPACE = "drawing"
COMPONENT = "app.kubernetes.io/component"


class FakeCluster(FakeApi):
    """Deployments, ReplicaSets and pods of a release; logs and gateway answers by pod name; Jobs end at once with `store` as their log."""

    namespace = NAMESPACE

    def __init__(self, render: "Render") -> None:
        self.render = render
        self.pods: list[dict[str, Any]] = []
        self.logs: dict[str, str] = {}
        self.answers: dict[str, Any] = {}
        self.store: Any = []
        self.jobs: list[dict[str, Any]] = []
        self.deleted: list[str] = []
        self.claim: dict[str, Any] = {"spec": {"accessModes": ["ReadWriteOnce"]}, "status": {"phase": "Bound"}}
        self.classes: list[str] | None = ["standard"]
        self.events: list[dict[str, Any]] = []
        self.held: dict[str, list[dict[str, str]]] = {}  # causes of the conflict that applying the object of this name meets
        self.templates = {"gateway": "g1", "serving": "s1"}
        super().__init__()

    def pod(self, component: str, name: str, version: str = "", template: str | None = None, **status: Any) -> dict[str, Any]:
        """Add a pod of a component; ready unless `status` says otherwise."""
        labels = {
            COMPONENT: component,
            "pod-template-hash": template or self.templates.get(component, ""),
            "pynumdraw/model-version": version,
        }
        ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        pod = {
            "metadata": {"name": name, "creationTimestamp": f"2026-01-01T00:00:{len(self.pods):02d}Z", "labels": labels},
            "spec": {"nodeName": "n1", "containers": []},
            "status": status or ready,
        }
        self.pods.append(pod)
        return pod

    def deployment(self, component: str) -> dict[str, Any]:
        """The chart's Deployment with the status that follows from its pods."""
        found = json.loads(json.dumps(self.render.of("Deployment", f"-{component}")))
        pods = [pod for pod in self.pods if pod["metadata"]["labels"][COMPONENT] == component]
        new = [pod for pod in pods if pod["metadata"]["labels"]["pod-template-hash"] == self.templates[component]]
        ready = [
            pod for pod in pods if "conditions" in pod["status"] and pod["status"]["conditions"][0] == {"type": "Ready", "status": "True"}
        ]
        found["metadata"] |= {"generation": 2, "annotations": {"deployment.kubernetes.io/revision": "5"}}
        found["status"] = {"observedGeneration": 2, "updatedReplicas": len(new), "availableReplicas": len(ready), "replicas": len(pods)}
        return found

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> Any:
        """The reply to a request: JSON, or text; None for 404."""
        selector = query.get("labelSelector", [""])[0]
        part = path.split("/")
        match (method, path.removeprefix(f"/api/v1/namespaces/{NAMESPACE}/").removeprefix(f"/apis/apps/v1/namespaces/{NAMESPACE}/")):
            case "GET", "pods" if "job-name" in selector:
                return {"items": [{"metadata": {"name": "list-pod"}, "spec": {"containers": []}, "status": {"phase": "Succeeded"}}]}
            case "GET", "pods":
                return {"items": [pod for pod in self.pods if selector.endswith(f"={pod['metadata']['labels'][COMPONENT]}")]}
            case "GET", "deployments":
                return {"items": [self.deployment(component) for component in self.templates if selector.endswith(f"={component}")]}
            case "GET", "replicasets":
                component = selector.rpartition("=")[2]
                sets = [("5", self.templates[component]), ("4", "old")]
                metadata = [
                    {"annotations": {"deployment.kubernetes.io/revision": at}, "labels": {"pod-template-hash": name}} for at, name in sets
                ]
                spec = {"selector": {}}
                return {"items": [{"metadata": each, "spec": spec} for each in metadata]}
            case "GET", _ if part[-1] == "log":
                return (
                    self.store
                    if isinstance(self.store, str) and part[-2] == "list-pod"
                    else self.logs.get(part[-2], json.dumps(self.store))
                )
            case "GET", _ if "/proxy/" in path:
                return self.answers.get(part[6].partition(":")[0])
            case "GET", "events":
                chosen = dict(pair.split("=") for pair in query["fieldSelector"][0].split(","))
                return {"items": [each for each in self.events if each["involvedObject"]["name"] == chosen["involvedObject.name"]]}
            case "GET", _ if part[-2] == "persistentvolumeclaims":
                return {**self.claim, "metadata": {"name": part[-1]}}
            case "GET", "/apis/storage.k8s.io/v1/storageclasses":
                return (
                    None if self.classes is None else {"items": [{"metadata": {"name": each}, "provisioner": "x"} for each in self.classes]}
                )
            case "GET", _ if part[-2] == "deployments":
                return self.deployment(part[-1].rpartition("-")[2])
            case "PATCH", _ if query == {"fieldManager": ["helm"], "dryRun": ["All"], "force": ["false"]}:
                return {"kind": "Status", "code": 409, "details": {"causes": self.held[part[-1]]}} if part[-1] in self.held else body
            case "POST", _ if path.endswith("/jobs"):
                self.jobs.append(body)
                return body | {"metadata": body["metadata"] | {"name": "list-1"}}
            case "DELETE", _:
                self.deleted.append(part[-1])
                return {"kind": "Status", "status": "Success"}
        return None
