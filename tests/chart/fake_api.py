"""A fake Kubernetes API server: a subclass says what it answers, from Python objects that a test sets."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit


class FakeApi:
    """Serves while a `with` block runs what `answer` returns."""

    namespace: str | None = None
    """That of the kubeconfig's context."""

    def __init__(self) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> Any:
        """The reply to a request: JSON, whose `code`, if any, is the HTTP status, or text; None for 404."""
        raise NotImplementedError

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig for it."""
        context = {"cluster": "fake", "user": "fake"} | ({"namespace": self.namespace} if self.namespace else {})
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": f"http://127.0.0.1:{self.server.server_address[1]}"}}],
            "users": [{"name": "fake", "user": {}}],
            "contexts": [{"name": "fake", "context": context}],
        }
        path.write_text(json.dumps(content))
        return path

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                where = urlsplit(self.path)
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                found = fake.answer(self.command, unquote(where.path), parse_qs(where.query), body)
                if found is None:
                    missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
                    found = missing | {"message": f"{where.path} not found"}
                status = found.get("code", 200) if isinstance(found, dict) else 200
                text = found if isinstance(found, str) else json.dumps(found)
                self.send_response(status)
                self.send_header("Content-Type", "text/plain" if isinstance(found, str) else "application/json")
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            do_POST = do_PATCH = do_DELETE = do_GET

            def log_message(self, *arguments: object) -> None:
                """Logs nothing."""

        return Handler
