"""The REST side: a model's status and metadata, and the Prometheus page. Predict, classify and regress are refused with 501.

tensorflow_serving/model_servers/{http_server,http_rest_api_handler,http_rest_api_util}.cc; JSON is laid out as by protobuf's C++.
"""

import json
import logging
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from google.protobuf import json_format, text_format
from google.protobuf.message import Message

from modelserver.errors import StatusError, invalid, unimplemented
from modelserver.integers import integer
from modelserver.service import Service
from pynumdraw.wire import runtime_pb2, serving_pb2

log = logging.getLogger(__name__)

_MAX_BODY_BYTES = 999_999
PROMETHEUS_PATH = "/monitoring/prometheus/metrics"
_MODEL = r"/v1/models(?:/([^/:?]+))?(?:/versions/([0-9]+)|/labels/([^/:?]+))?(/metadata)?"
_PREDICTION = r"/v1/models/([^/:?]+)(?:/versions/[0-9]+|/labels/[^/:?]+)?:((?-i:classify|regress|predict))"
_HTTP_STATUS = {
    serving_pb2.OK: 200,
    serving_pb2.CANCELLED: 499,
    serving_pb2.INVALID_ARGUMENT: 400,
    serving_pb2.FAILED_PRECONDITION: 400,
    serving_pb2.OUT_OF_RANGE: 400,
    serving_pb2.UNAUTHENTICATED: 401,
    serving_pb2.PERMISSION_DENIED: 403,
    serving_pb2.NOT_FOUND: 404,
    serving_pb2.ALREADY_EXISTS: 409,
    serving_pb2.ABORTED: 409,
    serving_pb2.RESOURCE_EXHAUSTED: 429,
    serving_pb2.UNIMPLEMENTED: 501,
    serving_pb2.UNAVAILABLE: 503,
    serving_pb2.DEADLINE_EXCEEDED: 504,
}  # all else is 500


def prometheus_path(config_file: str) -> str | None:
    """Where the text MonitoringConfig in this file wants the Prometheus page; None where it wants none. StatusError for a bad file."""
    config = runtime_pb2.MonitoringConfig()
    try:
        text_format.Parse(Path(config_file).read_text(), config)
    except OSError as exc:
        raise StatusError(serving_pb2.NOT_FOUND, f"{config_file}; {exc.strerror}") from exc
    except (text_format.ParseError, UnicodeDecodeError) as exc:
        log.error("Error parsing text-format tensorflow.serving.MonitoringConfig: %s", exc)
        raise invalid(f"Invalid protobuf file: '{config_file}'") from exc
    return (config.prometheus_config.path or PROMETHEUS_PATH) if config.prometheus_config.enable else None


def to_json(message: Message) -> str:
    """The message as protobuf's C++ prints it with whitespace: fields by number, those without a value too, one blank an indent."""
    fields = json_format.MessageToDict(message, always_print_fields_with_no_presence=True, preserving_proto_field_name=True)
    text = json.dumps(_ordered(fields, message.DESCRIPTOR), indent=1, ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e") + "\n"


def _ordered(fields: dict[str, Any], descriptor: Any) -> dict[str, Any]:
    """The fields of a message by their numbers, and so within it; maps by key."""
    out: dict[str, Any] = {}
    for field in sorted(descriptor.fields, key=lambda f: f.number):
        if field.name not in fields:
            continue
        value, inner = fields[field.name], field.message_type  # the message within; None for a number or a string
        if inner is not None and inner.GetOptions().map_entry:
            inner = inner.fields_by_name["value"].message_type
            value = {key: _ordered(value[key], inner) if inner else value[key] for key in sorted(value)}
        elif isinstance(value, list):
            value = [_ordered(item, inner) if isinstance(item, dict) else item for item in value]
        elif isinstance(value, dict):
            value = _ordered(value, inner)
        out[field.name] = value
    return out


def answer(service: Service, method: str, path: str) -> str:
    """The JSON for a request under /v1/. StatusError with the message that the error's JSON carries."""
    if method == "POST" and (match := re.fullmatch(_PREDICTION, path, re.IGNORECASE)):
        with service.metrics.call(unquote(match[1]), match[2], "REST"):
            raise unimplemented(f"{match[2]} over REST is not done by the stand-in for tensorflow_model_server; wanted Predict over gRPC")
    if method != "GET" or not (match := re.fullmatch(_MODEL, path, re.IGNORECASE)):
        raise invalid(f"Malformed request: {method} {path}")
    name, version, label, metadata = match.groups()
    number = integer(version) if version else None
    if version and number is None:
        raise invalid("")
    with service.metrics.call(unquote(name or ""), "", "REST"):
        if not name:
            raise invalid("Missing model name in request.")
        spec = serving_pb2.ModelSpec(name=unquote(name))
        if number is not None:
            spec.version.value = number
        elif label:
            spec.version_label = unquote(label)
        if not metadata:
            return to_json(service.status(serving_pb2.GetModelStatusRequest(model_spec=spec)))
        reply = service.metadata(serving_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=["signature_def"]))
    signatures = serving_pb2.SignatureDefMap.FromString(reply.metadata["signature_def"].value)
    return f'{{\n"model_spec":{to_json(reply.model_spec)},\n"metadata": {{"signature_def": {to_json(signatures)}}}\n}}\n'


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 120.0  # seconds that a connection may idle
    server: "RestServer"

    def reply(self) -> None:
        """Answer any method."""
        self._skip_body()
        server, status, body, kind = self.server, 200, "", "application/json"
        if self.path.partition("?")[0] == server.metrics_path:
            body, kind = server.service.metrics.page(), "text/plain"
            if self.path != server.metrics_path:
                status, body = 400, f"Unexpected path: {self.path}. Should be {server.metrics_path}"
        elif not self.path.lower().startswith("/v1/"):
            status, kind = 404, "text/html"
            body = "<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"
        elif self.command == "OPTIONS":
            status = 200 if re.match("https?://", self.headers.get("Origin") or "", re.IGNORECASE) else 400
        else:
            try:
                body = answer(server.service, self.command, self.path)
            except StatusError as exc:
                status = _HTTP_STATUS.get(exc.code, 500)
                body = json.dumps({"error": exc.message}, indent=4, ensure_ascii=False) if exc.message else ""
        self.send_response_only(status, None if status != 499 else "Client Closed Request")
        self.send_header("Date", self.date_time_string())
        self.send_header("Content-Type", kind)
        if server.cors and kind == "application/json":
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Access-Control-Allow-Methods", "POST, GET")
            self.send_header("Access-Control-Allow-Headers", "Content-Type")
        content = body.encode()
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _skip_body(self) -> None:
        """Read what comes with the request, which no answer depends on; after a body that is long, or of unknown length, hang up."""
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal() or len(length) > len(str(_MAX_BODY_BYTES)):
            self.close_connection = True
        else:
            self.rfile.read(int(length))

    do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = reply

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)


class RestServer(ThreadingHTTPServer):
    """REST on every interface, IPv6 and IPv4; OSError where the port cannot be had."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, service: Service, port: int, metrics_path: str | None, cors: bool) -> None:
        self.service, self.metrics_path, self.cors = service, metrics_path, cors
        self.address_family = socket.AF_INET6
        try:
            super().__init__(("::", port), _Handler)
        except OSError:
            self.address_family = socket.AF_INET
            super().__init__(("0.0.0.0", port), _Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def serve(self) -> None:
        threading.Thread(target=self.serve_forever, name="rest", daemon=True).start()
