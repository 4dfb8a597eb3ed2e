"""The management port: /healthz, /readyz and /metrics from threads and a listener of their own, whatever the public port suffers.

/healthz says 503 once the loop that serves has not turned, or the slow lane has not ended a job, for `STUCK_S`: then only a restart
helps. It is not for the world: the chart opens it to probes and to those who read metrics.
"""

import json
import threading
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

STUCK_S = 10.0
_SENDER_S = 5.0  # that a request may take to come in


class Heartbeat:
    """When the loop last turned, and what else is to be asked whether it is stuck."""

    def __init__(self, stuck_s: float = STUCK_S) -> None:
        self._stuck_s = stuck_s
        self._last = time.monotonic()
        self.others: list[Callable[[], float]] = []

    def beat(self) -> None:
        """The loop has turned."""
        self._last = time.monotonic()

    def alive(self) -> bool:
        """Whether all that serves has turned lately."""
        return max(time.monotonic() - self._last, *(other() for other in self.others), 0.0) < self._stuck_s


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128

    def server_bind(self) -> None:
        """The listener is bound and listens already."""
        self.setup_environ()


class _Handler(WSGIRequestHandler):
    timeout = _SENDER_S

    def log_message(self, *_: Any) -> None:
        """Probes are not worth a line."""

    def address_string(self) -> str:
        """The address as it is: a look-up of its name may take long."""
        return str(self.client_address[0])


def serve(listener: Any, heartbeat: Heartbeat, draining: threading.Event, registry: CollectorRegistry) -> Callable[[], None]:
    """Answer on a bound socket, from a thread of its own. Returns what ends it."""
    metrics = make_wsgi_app(registry)

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return metrics(environ, start_response)
        if path == "/healthz":
            good, word = heartbeat.alive(), "alive"
        elif path == "/readyz":
            good, word = not draining.is_set(), "ready"
        else:
            good, word = None, "there are /healthz, /readyz and /metrics here"
        status = HTTPStatus.NOT_FOUND if good is None else HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
        content = json.dumps({"status": word if good is not False else f"not {word}"}).encode() + b"\n"
        head = [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
        start_response(f"{status.value} {status.phrase}", head)
        return [content]

    server = _Server(listener.getsockname()[:2], _Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.server_name, server.server_port = listener.getsockname()[:2]
    server.setup_environ()
    server.set_app(app)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, name="management", daemon=True)
    thread.start()

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return end
