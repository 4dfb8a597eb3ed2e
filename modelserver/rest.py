"""The REST side: a model's status and metadata, and the Prometheus page. Predictions are refused with 501.

tensorflow_serving/model_servers/{http_server,http_rest_api_handler,http_rest_api_util}.cc
"""

import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from google.protobuf import json_format, text_format
from google.protobuf.message import Message

from modelserver import runtime_pb2
from modelserver.errors import StatusError, invalid, not_found, unimplemented
from modelserver.service import Service
from pynumdraw.wire import model_spec, serving_pb2

PROMETHEUS_PATH = "/monitoring/prometheus/metrics"
_MODEL = r"/v1/models/([^/:?]+)(?:/versions/([0-9]{1,18}))?(/metadata)?"
_HTTP_STATUS = {serving_pb2.INVALID_ARGUMENT: 400, serving_pb2.NOT_FOUND: 404, serving_pb2.UNIMPLEMENTED: 501}  # all that is raised here


def prometheus_path(config_file: str) -> str | None:
    """The path of the Prometheus page that the text MonitoringConfig in this file asks for, or None. StatusError for a bad file."""
    config = runtime_pb2.MonitoringConfig()
    try:
        text_format.Parse(Path(config_file).read_text(), config)
    except OSError as exc:
        raise not_found(f"{config_file}; {exc.strerror}") from exc
    except (text_format.ParseError, UnicodeDecodeError) as exc:
        raise invalid(f"Invalid protobuf file: '{config_file}': {exc}") from exc
    return (config.prometheus_config.path or PROMETHEUS_PATH) if config.prometheus_config.enable else None


def _fields(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(message, always_print_fields_with_no_presence=True, preserving_proto_field_name=True)


def answer(service: Service, method: str, path: str) -> dict[str, Any]:
    """What the JSON for a request under /v1/ holds. StatusError with the message that the error's JSON carries."""
    if method == "POST" and ":" in path:
        raise unimplemented(f"{path} is not done by the stand-in for tensorflow_model_server; wanted Predict over gRPC")
    if method != "GET" or not (match := re.fullmatch(_MODEL, path)):
        raise invalid(f"Malformed request: {method} {path}")
    name, version, metadata = match.groups()
    spec = model_spec(unquote(name), int(version) if version else None)
    with service.metrics.call(spec.name):
        if not metadata:
            return _fields(service.status(spec))
        spec.version.value, signatures = service.signatures(spec)
    return {"model_spec": _fields(spec), "metadata": {"signature_def": _fields(signatures)}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 120.0  # seconds that a connection may idle; arbitrary, several times a scrape interval
    server: "_Server"

    def reply(self) -> None:
        """Answer any method."""
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # no answer depends on a body, so it is not read
        server, status, kind = self.server, 200, "application/json"
        if self.path == server.metrics_path:
            body, kind = server.service.metrics.page(), "text/plain"
        elif not self.path.lower().startswith("/v1/"):
            status, body, kind = 404, "Not Found\n", "text/plain"
        else:
            try:
                body = json.dumps(answer(server.service, self.command, self.path), indent=1)
            except StatusError as exc:
                status, body = _HTTP_STATUS[exc.code], json.dumps({"error": exc.message}, indent=4)
        content = body.encode()
        self.send_response_only(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = reply


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, service: Service, listener: socket.socket, metrics_path: str | None) -> None:
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket, self.service, self.metrics_path = listener, service, metrics_path


def serve(service: Service, port: int, metrics_path: str | None) -> None:
    """Answer on every interface, IPv6 and IPv4, in threads that end with the process; OSError where the port cannot be had.

    metrics_path: where the Prometheus page is, None = nowhere.
    """
    family = {"family": socket.AF_INET6, "dualstack_ipv6": True} if socket.has_dualstack_ipv6() else {}
    listener = socket.create_server(("", port), backlog=128, **family)  # type: ignore[arg-type]
    threading.Thread(target=_Server(service, listener, metrics_path).serve_forever, name="rest", daemon=True).start()
