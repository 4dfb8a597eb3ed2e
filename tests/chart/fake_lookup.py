"""A fake Kubernetes API server for `helm template --dry-run=server`: it knows a few kinds, and the objects that a test gives it."""

from typing import Any

from tests.chart.fake_api import FakeApi

KINDS = {
    "v1": ("ConfigMap", "PersistentVolumeClaim", "Pod", "Service", "ServiceAccount"),
    "apps/v1": ("Deployment",),
    "autoscaling/v2": ("HorizontalPodAutoscaler",),
    "batch/v1": ("CronJob", "Job"),
    "networking.k8s.io/v1": ("Ingress", "NetworkPolicy"),
    "policy/v1": ("PodDisruptionBudget",),
}


def plural(kind: str) -> str:
    """The kind in a path of the API."""
    name = kind.lower()
    return f"{name[:-1]}ies" if name.endswith("y") else f"{name}es" if name.endswith("s") else f"{name}s"


class FakeLookup(FakeApi):
    """Serves objects, each by the path of its kind and name in any namespace; 404 for others."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.objects = {(each["kind"], each["metadata"]["name"]): each for each in objects}
        super().__init__()

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> dict[str, Any] | None:
        """The reply to a GET, whatever its query; None for 404."""
        if method != "GET":
            return None
        parts = path.strip("/").split("/")
        version = "/".join(parts[1:]) if parts[0] in ("api", "apis") else ""
        if path == "/version":
            return {"major": "1", "minor": "36", "gitVersion": "v1.36.0"}
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            groups = [name.partition("/") for name in KINDS if "/" in name]
            named = [{"groupVersion": f"{group}/{version}", "version": version} for group, _, version in groups]
            listed = [
                {"name": group, "versions": [each], "preferredVersion": each} for (group, _, _), each in zip(groups, named, strict=True)
            ]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
        if version in KINDS:
            resources = [{"name": plural(kind), "kind": kind, "namespaced": True, "verbs": ["get"]} for kind in KINDS[version]]
            return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}
        found = [each for (kind, name), each in self.objects.items() if parts[-2:] == [plural(kind), name]]
        return found[0] if found else None
