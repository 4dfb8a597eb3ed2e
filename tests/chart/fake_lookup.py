"""A fake Kubernetes API server for `helm template --dry-run=server`: it knows a few kinds, and the objects that a test gives it."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

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


class FakeLookup:
    """Serves objects, each by the path of its kind and name in any namespace; 404 for others."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.objects = {(each["kind"], each["metadata"]["name"]): each for each in objects}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> "FakeLookup":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig for it."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": f"http://127.0.0.1:{self.server.server_address[1]}"}}],
            "users": [{"name": "fake", "user": {}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
        }
        path.write_text(json.dumps(content))
        return path

    def answer(self, path: str) -> dict[str, Any] | None:
        """The reply to a GET; None for 404."""
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

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = fake.answer(self.path.partition("?")[0])
                missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
                body = json.dumps(missing if found is None else found).encode()
                self.send_response(404 if found is None else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                """Logs nothing."""

        return Handler
