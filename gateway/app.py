"""The Flask application, made of its parts: settings and a predictor in, a WSGI application out."""

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

from gateway.errors import GatewayError
from gateway.page import read_page
from gateway.routes import routes
from gateway.serving import Predictor
from gateway.settings import Settings
from gateway.telemetry import Telemetry
from gateway.turns import App, Turns

WEB = Path(__file__).resolve().parents[1] / "web"

_POLICY = "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; object-src 'none'"
_HEADERS = [("Content-Security-Policy", _POLICY), ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer")]
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_QUIET = ("/healthz", "/readyz")  # asked every few seconds by every probe

_log = logging.getLogger("gateway.request")


def create_app(
    settings: Settings, predictor: Predictor, telemetry: Telemetry | None = None, draining: threading.Event | None = None, web: Path = WEB
) -> Flask:
    """The gateway as a WSGI application.

    draining: once set, /readyz says that this gateway takes no new requests. web: the folder of the page.
    """
    app = Flask("gateway", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.strict_slashes = False  # a redirect would name the host that a proxy hides
    told, turns = telemetry or Telemetry(), Turns()
    app.register_blueprint(routes(settings, predictor, told, read_page(web), draining or threading.Event(), turns))
    _watch(app, told)
    _say_errors(app)
    app.wsgi_app = turns.taken_by(app.wsgi_app)  # type: ignore[method-assign, assignment]
    if base := settings.base_path.rstrip("/"):
        app.wsgi_app = _Under(base, app.wsgi_app)  # type: ignore[method-assign]
    return app


def _watch(app: Flask, telemetry: Telemetry) -> None:
    """Give every request an id, every answer its headers, and tell of both."""

    @app.before_request
    def begin() -> None:
        told = g._get_current_object()  # the real one: each look through the proxy costs two microseconds
        told.began = time.perf_counter()
        given = request.environ.get("HTTP_X_REQUEST_ID", "")
        told.request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        told.version = told.reason = told.detail = None
        telemetry.began()

    @app.after_request
    def end(response: Response) -> Response:
        told, asked = g._get_current_object(), request._get_current_object()  # type: ignore[attr-defined]
        response.headers.extend([*_HEADERS, ("X-Request-ID", told.request_id)])
        response.headers.setdefault("Cache-Control", "no-store")
        seconds, status = time.perf_counter() - told.began, response.status_code
        route = asked.url_rule.rule if asked.url_rule else "none"
        telemetry.ended(route, asked.method, status, told.version, seconds)
        level = logging.DEBUG if asked.path in _QUIET else logging.WARNING if status >= 500 else logging.INFO
        if _log.isEnabledFor(level):
            fields = {
                "request_id": told.request_id,
                "method": asked.method,
                "path": asked.path[:200],
                "status": status,
                "latency_ms": round(seconds * 1000, 3),
                "model_version": told.version,
                "reason": told.reason,
            }
            _log.log(level, "request", extra={"fields": {**fields, "detail": told.detail} if told.detail else fields})
        return response


def _say_errors(app: Flask) -> None:
    """Every error is JSON with the status that it has on the wire."""

    @app.errorhandler(GatewayError)
    def ours(error: GatewayError) -> Response:
        g.detail = error.detail
        return _error(error.status, error.code, str(error), error.retry_after_s)

    @app.errorhandler(HTTPException)
    def of_http(error: HTTPException) -> Response:
        status = HTTPStatus(error.code or 500)
        response = _error(status, status.name.lower(), error.description or status.phrase)
        response.headers.extend([(name, value) for name, value in error.get_headers() if name == "Allow"])
        return response

    @app.errorhandler(Exception)
    def unforeseen(error: Exception) -> Response:
        _log.error("unforeseen", exc_info=error, extra={"fields": {"request_id": g.request_id}})
        return _error(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "something went wrong in the gateway; its log has the request id")


def _error(status: HTTPStatus, code: str, message: str, retry_after_s: int | None = None) -> Response:
    g.reason = code
    response = jsonify(error={"code": code, "message": message, "request_id": g.request_id})
    response.status_code = status
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(retry_after_s)
    return response


class _Under:
    """The application under a path that a proxy passes on. The path without its last slash leads to the one with it."""

    def __init__(self, base: str, app: App) -> None:
        self._base, self._app = base, app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == self._base:
            start_response("308 Permanent Redirect", [("Location", f"{path.rpartition('/')[2]}/"), ("Content-Length", "0")])
            return []
        if path.startswith(f"{self._base}/"):
            environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + self._base
            environ["PATH_INFO"] = path[len(self._base) :]
        return self._app(environ, start_response)
