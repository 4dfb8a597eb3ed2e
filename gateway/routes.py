"""The gateway's paths. Each handler reads the request, calls one function and writes the response.

A drawing's way: `Handlers.predict` → `drawing.parse_request` → `recognise.recognise` → the response.
"""

import json
import threading
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

from flask import Blueprint, Response, abort, g, jsonify, request

from gateway.compression import Precompressed
from gateway.drawing import is_slow_to_read, parse_new_data, parse_request
from gateway.errors import Busy, DrawingTooLarge, InvalidDrawing, UnsupportedContent
from gateway.page import Page
from gateway.recognise import Answer, Run, recognise, recognise_always
from gateway.serving import Predictor
from gateway.settings import Settings
from gateway.telemetry import WINDOW_S, Telemetry
from pynumdraw import __version__

OPENAPI = Path(__file__).with_name("openapi.json")
CACHE_FOR_EVER = "public, max-age=31536000, immutable"
Parsed = TypeVar("Parsed")
encode = json.JSONEncoder(separators=(",", ":")).encode


class Handlers:
    """The handlers of all paths, and what they need."""

    def __init__(
        self, settings: Settings, predictor: Predictor, telemetry: Telemetry, page: Page, draining: threading.Event, run_slow: Run
    ) -> None:
        self._settings, self._telemetry, self._page, self._draining = settings, telemetry, page, draining
        self._predictor, self._run_slow = predictor, run_slow
        openapi = json.loads(OPENAPI.read_text())
        openapi["info"]["version"], openapi["servers"] = __version__, [{"url": settings.base_path}]
        self._openapi = encode(openapi).encode()
        self._precompressed = Precompressed([self._openapi, page.index, *(content for _, content in page.files.values())])

    def blueprint(self) -> Blueprint:
        """Which path and method calls which handler."""
        paths = Blueprint("gateway", __name__)
        for rule, handler, method in (
            ("/api/v1/predict", self.predict, "POST"),
            ("/api/v1/versions", self.versions, "GET"),
            ("/api/v1/card", self.card, "GET"),
            ("/api/v1/openapi.json", self.openapi, "GET"),
            ("/predict_number/", self.predict_number, "POST"),
            ("/hello/", self.hello, "GET"),
            ("/healthz", self.healthz, "GET"),
            ("/readyz", self.readyz, "GET"),
            ("/", self.index, "GET"),
            ("/static/<build>/<path:name>", self.static, "GET"),
        ):
            paths.add_url_rule(rule, view_func=handler, methods=[method])
        return paths

    def predict(self) -> Response:
        """The answer to a drawing."""
        drawing, wants_frame = self._read(partial(parse_request, content_type=request.content_type))
        wants_frame = wants_frame or flag_from_query("frame")
        answer = recognise(drawing, self._predictor, self._run_slow)
        self._record_answer(answer)
        model = {"name": self._settings.model_name, "version": answer.version}
        fields = {**answer.to_json(), "model": model, "request_id": g.request_id}
        if wants_frame:
            fields["frame"] = answer.frame.tolist()
        return Response(encode(fields), mimetype="application/json")

    def predict_number(self) -> Response:
        """The original demo's answer: always a digit; its confidence is "0" where `predict` would answer with no digit."""
        digit, answer = recognise_always(self._read(parse_new_data), self._predictor, self._run_slow)
        self._record_answer(answer)
        percent = int(100 * (answer.confidence or 0))
        return jsonify(predicted_number=digit, confidence=str(percent), model_version=str(answer.version))

    def hello(self) -> str:
        """The original demo's health check."""
        return "hello_world"

    def versions(self) -> Response:
        """The versions that the model servers report, and how many drawings each has answered here lately."""
        serving = [vars(row) for row in self._predictor.versions()]
        by_version = {str(version): count for version, count in sorted(self._telemetry.recent_answers().items())}
        return jsonify(model=self._settings.model_name, serving=serving, answers={"window_s": WINDOW_S, "by_version": by_version})

    def card(self) -> Response:
        """The model card of a version."""
        card = self._predictor.card(version_from_query())
        g.version = card["version"]
        return jsonify(card)

    def openapi(self) -> Response:
        """The description of this API."""
        return self._precompressed.compress(Response(self._openapi, mimetype="application/json"), self._openapi)

    def healthz(self) -> Response:
        """The process is alive."""
        return jsonify(status="alive")

    def readyz(self) -> Response:
        """Whether this gateway takes requests: 503 once it shuts down."""
        if self._draining.is_set():
            abort(HTTPStatus.SERVICE_UNAVAILABLE, "this gateway is shutting down and takes no new requests")
        return jsonify(status="ready")

    def index(self) -> Response:
        """The page."""
        response = Response(self._page.index, mimetype="text/html", headers={"Cache-Control": "no-cache"})
        return self._precompressed.compress(response, self._page.index)

    def static(self, build: str, name: str) -> Response:
        """A file of the page. A request for another build, as happens while gateways are replaced, gets this build's file, uncached."""
        if name not in self._page.files:
            abort(HTTPStatus.NOT_FOUND, f"the page has no file {name[:100]}")
        content_type, content = self._page.files[name]
        cache = CACHE_FOR_EVER if build == self._page.hash else "no-store"
        response = Response(content, content_type=content_type, headers={"Cache-Control": cache})
        return self._precompressed.compress(response, content)

    def _read(self, parse: Callable[[bytes], Parsed]) -> Parsed:
        """The request's body, parsed; nothing is done for a drawing that there is no room for. Raises GatewayError."""
        encoding = request.environ.get("HTTP_CONTENT_ENCODING", "identity")
        if encoding.strip().lower() != "identity":
            raise UnsupportedContent(f"Content-Encoding: found {json.dumps(encoding[:40])}, wanted none")
        body = read_body(request.environ, request.content_length, self._settings.max_body_bytes)
        self._predictor.check_room()
        return self._run_slow(partial(parse, body)) if is_slow_to_read(body) else parse(body)

    def _record_answer(self, answer: Answer) -> None:
        g.version, g.reason = answer.version, answer.reason
        self._telemetry.answered(answer.digit, answer.reason, answer.version, answer.confidence)


def read_body(environ: dict[str, Any], declared_length: int | None, max_bytes: int) -> bytes:
    """The body of a WSGI request. declared_length: its Content-Length. Raises DrawingTooLarge, Busy, InvalidDrawing."""
    if declared_length is not None and declared_length > max_bytes:
        raise DrawingTooLarge(f"body: found {declared_length} bytes, wanted at most {max_bytes}")
    if environ.get("gateway.refused"):
        raise Busy("this gateway is receiving as many large bodies as it may at a time; try again shortly")
    is_chunked = declared_length is None and environ.get("wsgi.input_terminated")
    body = environ["wsgi.input"].read(max_bytes + 1 if is_chunked else declared_length or 0)  # one byte more shows that it is too long
    if len(body) > max_bytes:
        raise DrawingTooLarge(f"body: found more than {max_bytes} bytes, wanted at most that many")
    if declared_length is not None and len(body) < declared_length:
        raise InvalidDrawing(f"body: found {len(body)} bytes before the end, wanted {declared_length} as the Content-Length says")
    return body


def flag_from_query(name: str) -> bool:
    """A boolean query parameter, false by default. Raises InvalidDrawing."""
    text = request.args.get(name, "0").lower() if request.query_string else "0"
    if text not in ("0", "1", "false", "true"):
        raise InvalidDrawing(f"{name}: found {json.dumps(text[:40])}, wanted 1 or 0")
    return text in ("1", "true")


def version_from_query() -> int | None:
    """The query parameter `version`, None where it is not given. Raises InvalidDrawing."""
    text = request.args.get("version")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text[:20]) < 1 << 63):
        raise InvalidDrawing(f"version: found {json.dumps(text[:40])}, wanted a whole number of 1 or more")
    return int(text)
