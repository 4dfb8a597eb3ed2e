"""The Flask application, put together: settings and a predictor in, a WSGI application out."""

import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException

from gateway.compression import compress
from gateway.errors import GatewayError, error_body
from gateway.page import read_page
from gateway.recognise import Run, run_here
from gateway.routes import Handlers
from gateway.serving import Predictor
from gateway.settings import Settings
from gateway.telemetry import Telemetry

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]  # a WSGI application
WEB = Path(__file__).resolve().parents[1] / "web"

_POLICY = "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; object-src 'none'"
_HEADERS = [("Content-Security-Policy", _POLICY), ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer")]
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")  # 64: arbitrary, a UUID has 36
_PROBE_PATHS = ("/healthz", "/readyz")  # requested every few seconds by every probe, so logged at debug level

_log = logging.getLogger("gateway.request")


class _App(Flask):
    """Flask, whose views and hooks are never coroutines, so that it need not look each time."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func


def create_app(
    settings: Settings,
    predictor: Predictor,
    telemetry: Telemetry | None = None,
    draining: threading.Event | None = None,
    web: Path = WEB,
    run_slow: Run = run_here,
) -> Flask:
    """The gateway as a WSGI application.

    draining: once set, /readyz answers that this gateway takes no new requests. web: the folder of the page. run_slow: calls what takes
    milliseconds, and returns its result.
    """
    app = _App("gateway", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.strict_slashes = app.url_map.merge_slashes = False  # a redirect would name the host that a proxy hides
    telemetry = telemetry or Telemetry()
    handlers = Handlers(settings, predictor, telemetry, read_page(web), draining or threading.Event(), run_slow)
    app.register_blueprint(handlers.blueprint())
    register_hooks(app, telemetry)
    app.after_request(compress)
    register_error_handlers(app)
    if prefix := settings.base_path.rstrip("/"):
        app.wsgi_app = PrefixMiddleware(prefix, app.wsgi_app)  # type: ignore[method-assign]
    return app


def register_hooks(app: Flask, telemetry: Telemetry) -> None:
    """Give every request an id and every response its headers; count and log each request."""
    hooks = _Hooks(telemetry)
    app.before_request(hooks.begin)
    app.after_request(hooks.end)


class _Hooks:
    """What happens before and after every request."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def begin(self) -> None:
        context = g._get_current_object()  # the object itself: each access through Flask's proxy costs two microseconds
        context.started_at = time.perf_counter()
        sent_id = request.environ.get("HTTP_X_REQUEST_ID", "")
        context.request_id = sent_id if _REQUEST_ID.fullmatch(sent_id) else secrets.token_hex(8)
        context.version = context.reason = context.detail = None
        self._telemetry.request_started()

    def end(self, response: Response) -> Response:
        context, current = g._get_current_object(), request._get_current_object()  # type: ignore[attr-defined]
        response.headers.extend([*_HEADERS, ("X-Request-ID", context.request_id)])
        response.headers.setdefault("Cache-Control", "no-store")
        seconds, status = time.perf_counter() - context.started_at, response.status_code
        route = current.url_rule.rule if current.url_rule else "none"
        self._telemetry.request_ended(route, current.method, status, context.version, seconds)
        level = logging.DEBUG if current.path in _PROBE_PATHS else logging.WARNING if status >= 500 else logging.INFO
        if _log.isEnabledFor(level):
            record = logging.LogRecord(_log.name, level, "", 0, "request", None, None)  # as _log.log makes it, without a walk up the stack
            fields = {
                "request_id": context.request_id,
                "method": current.method,
                "path": current.path[:200],  # arbitrary, our longest path is shorter
                "status": status,
                "latency_ms": round(seconds * 1000, 3),
                "model_version": context.version,
                "reason": context.reason,
            }
            record.__dict__["fields"] = {**fields, "detail": context.detail} if context.detail else fields
            _log.handle(record)
        return response


def register_error_handlers(app: Flask) -> None:
    """Answer every error in JSON, with the status that the response has."""
    app.register_error_handler(GatewayError, _answer_gateway_error)
    app.register_error_handler(HTTPException, _answer_http_error)
    app.register_error_handler(Exception, _answer_unexpected_error)


def _answer_gateway_error(error: GatewayError) -> Response:
    g.detail = error.detail
    return _error_response(error.status, error.code, str(error), error.retry_after_s)


def _answer_http_error(error: HTTPException) -> Response:
    status = HTTPStatus(error.code or 500)
    response = _error_response(status, status.name.lower(), error.description or status.phrase)
    response.headers.extend([(name, value) for name, value in error.get_headers() if name == "Allow"])
    return response


def _answer_unexpected_error(error: Exception) -> Response:
    _log.error("unexpected error", exc_info=error, extra={"fields": {"request_id": g.request_id}})
    return _error_response(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "something went wrong in the gateway; its log has the request id")


def _error_response(status: int, code: str, message: str, retry_after_s: int | None = None) -> Response:
    g.reason = code
    response = jsonify(error_body(code, message, g.request_id))
    response.status_code = status
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(retry_after_s)
    return response


class PrefixMiddleware:
    """A WSGI application under a path prefix that a proxy passes on. The prefix without a slash at its end redirects to the one with it."""

    def __init__(self, prefix: str, app: App) -> None:
        self._prefix, self._app = prefix, app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == self._prefix:
            start_response("308 Permanent Redirect", [("Location", f"{path.rpartition('/')[2]}/"), ("Content-Length", "0")])
            return []
        if path.startswith(f"{self._prefix}/"):
            environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + self._prefix
            environ["PATH_INFO"] = path[len(self._prefix) :]
        return self._app(environ, start_response)
