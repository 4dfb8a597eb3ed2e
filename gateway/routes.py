"""The gateway's paths. A drawing's way is here in full: parse, look whether there is ink, rasterise, ask, say."""

import json
import threading
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from flask import Blueprint, Response, abort, g, jsonify, request

from gateway.drawing import LARGE_BYTES, Drawing, parse_drawing, parse_new_data
from gateway.errors import DrawingTooLarge, InvalidDrawing
from gateway.page import Page
from gateway.serving import Prediction, Predictor
from gateway.settings import Settings
from gateway.telemetry import WINDOW_S, Telemetry
from gateway.turns import Turns
from pynumdraw import __version__

OPENAPI = Path(__file__).with_name("openapi.json")
FOR_EVER = "public, max-age=31536000, immutable"
Parsed = TypeVar("Parsed")
_encode = json.JSONEncoder(separators=(",", ":")).encode
_EMPTY_FRAME = np.zeros((28, 28), np.uint8)


def routes(
    settings: Settings, predictor: Predictor, telemetry: Telemetry, page: Page, draining: threading.Event, turns: Turns
) -> Blueprint:
    """All paths of the gateway as a blueprint. What waits, for the sender or for the model, steps aside meanwhile."""
    paths = Blueprint("gateway", __name__)
    openapi = json.loads(OPENAPI.read_text())
    openapi["info"]["version"], openapi["servers"] = __version__, [{"url": settings.base_path}]

    @paths.post("/api/v1/predict")
    def predict() -> Response:
        kind = request.content_type
        drawing = _read(lambda body: parse_drawing(body, kind))
        answer = _answer(drawing, drawing.wants_frame or _flag("frame"))
        return Response(_encode(answer), mimetype="application/json")

    @paths.post("/predict_number/")
    def predict_number() -> Response:
        """The original demo's: always a digit, "0" as its confidence where the page's answer would have none."""
        drawing = _read(parse_new_data)
        prediction = _ask(drawing.frame())
        answer = _said(drawing.lack()) if drawing.lack() else _judged(prediction)
        _note(answer)
        return jsonify(
            predicted_number=int(np.argmax(prediction.probabilities)),
            confidence=str(int(100 * (answer["confidence"] or 0))),
            model_version=str(prediction.version),
        )

    @paths.get("/hello/")
    def hello() -> str:
        return "hello_world"

    @paths.get("/api/v1/versions")
    def versions() -> Response:
        with turns.aside():
            serving = [vars(row) for row in predictor.versions()]
        by_version = {str(version): count for version, count in sorted(telemetry.recent_answers().items())}
        return jsonify(model=settings.model_name, serving=serving, answers={"window_s": WINDOW_S, "by_version": by_version})

    @paths.get("/api/v1/card")
    def card() -> Response:
        wanted = request.args.get("version")
        if wanted is not None and not (wanted.isascii() and wanted.isdigit() and 0 < int(wanted[:20]) < 1 << 63):
            raise InvalidDrawing(f"version: found {json.dumps(wanted[:40])}, wanted a whole number of 1 or more")
        with turns.aside():
            found = predictor.card(None if wanted is None else int(wanted))
        g.version = found.version
        return jsonify(found.text)

    @paths.get("/api/v1/openapi.json")
    def document() -> Response:
        return jsonify(openapi)

    @paths.get("/healthz")
    def healthz() -> Response:
        return jsonify(status="alive")

    @paths.get("/readyz")
    def readyz() -> Response:
        if draining.is_set():
            abort(HTTPStatus.SERVICE_UNAVAILABLE, "this gateway is about to end and takes no new requests")
        return jsonify(status="ready")

    @paths.get("/")
    def index() -> Response:
        return Response(page.index, mimetype="text/html", headers={"Cache-Control": "no-cache"})

    @paths.get("/static/<build>/<path:name>")
    def static(build: str, name: str) -> Response:
        """A file of the page. One of another build, as happens while gateways are replaced, is better than none, but is not kept."""
        if name not in page.files:
            abort(HTTPStatus.NOT_FOUND, f"the page has no file {name[:100]}")
        kind, content = page.files[name]
        return Response(content, content_type=kind, headers={"Cache-Control": FOR_EVER if build == page.hash else "no-store"})

    def _read(parse: Callable[[bytes], Parsed]) -> Parsed:
        told, most = request.content_length, settings.max_body_bytes
        if told is not None and told > most:
            raise DrawingTooLarge(f"body: found {told} bytes, wanted at most {most}")
        with turns.aside():
            whole = told if told is not None else most + 1 if request.environ.get("wsgi.input_terminated") else 0  # chunked: one more tells
            body = request.environ["wsgi.input"].read(whole)
            if len(body) > most:
                raise DrawingTooLarge(f"body: found more than {most} bytes, wanted at most that many")
            if told is not None and len(body) < told:
                raise InvalidDrawing(f"body: found {len(body)} bytes before the end, wanted {told} as the Content-Length says")
            if len(body) > LARGE_BYTES:
                return parse(body)
        return parse(body)

    def _answer(drawing: Drawing, wants_frame: bool) -> dict[str, Any]:
        lack = drawing.lack()
        if lack:
            frame, answer = _EMPTY_FRAME, _said(lack)
        else:
            frame = drawing.frame()
            answer = _judged(_ask(frame))
        _note(answer)
        answer["model"] = {"name": settings.model_name, "version": g.version}
        answer["request_id"] = g.request_id
        return {**answer, "frame": frame.tolist()} if wants_frame else answer

    def _ask(frame: np.ndarray) -> Prediction:
        with turns.aside():
            (prediction,) = predictor.predict(frame[None])  # (1, 28, 28)
        g.version = prediction.version
        return prediction

    def _note(answer: dict[str, Any]) -> None:
        g.reason = answer["reason"]
        telemetry.answered(answer["digit"], answer["reason"], g.version, answer["confidence"])

    return paths


def _judged(prediction: Prediction) -> dict[str, Any]:
    """What a prediction says: a digit, one of two digits, or no digit."""
    probabilities = prediction.probabilities
    first, second = sorted(range(10), key=probabilities.__getitem__, reverse=True)[:2]
    confidence = round(probabilities[first], 6)
    either = confidence <= prediction.card.max_confidence and probabilities[first] + probabilities[second] >= prediction.card.min_pair
    taken = prediction.accepted
    return {
        "digit": first if taken else None,
        "is_digit": taken,
        "is_digit_probability": round(prediction.is_digit_probability, 6),
        "confidence": confidence if taken else None,
        "probabilities": [round(probability, 6) for probability in probabilities],
        "reason": "not_a_digit" if not taken else "ambiguous" if either else None,
        "candidates": [] if not taken else [first, second] if either else [first],
    }


def _said(lack: str | None) -> dict[str, Any]:
    """The answer without a model: there is too little ink."""
    return {
        "digit": None,
        "is_digit": False,
        "is_digit_probability": 0.0,
        "confidence": None,
        "probabilities": [0.0] * 10,
        "reason": lack,
        "candidates": [],
    }


def _flag(name: str) -> bool:
    """A yes or no in the address."""
    text = request.args.get(name, "0").lower() if request.query_string else "0"
    if text not in ("0", "1", "false", "true"):
        raise InvalidDrawing(f"{name}: found {json.dumps(text[:40])}, wanted 1 or 0")
    return text in ("1", "true")
