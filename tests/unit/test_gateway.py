"""The gateway's routes, with a predictor whose predictions the test sets: no process, no port, no model."""

import gzip
import io
import json
import logging
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from flask.testing import FlaskClient

from gateway.app import create_app
from gateway.errors import BadModelReply, Busy, GatewayError, ServingTimeout, ServingUnavailable, VersionNotServed
from gateway.page import read_page
from gateway.reply import Prediction
from gateway.serving import ServedVersion, translate
from gateway.settings import Settings
from gateway.telemetry import JsonLines, Telemetry
from pynumdraw import __version__
from pynumdraw.ink import clip_strokes, rasterise

SEVEN = [[[60, 60], [120, 58], [180, 60], [240, 60], [210, 110], [180, 160], [150, 210], [130, 260]]]
DRAWN = {"width": 300, "height": 300, "strokes": SEVEN}
BLANK = {"width": 300, "height": 300, "strokes": []}


def chances(**likely: float) -> list[float]:
    """Ten probabilities: those given as d7=0.9, the rest shared."""
    rest = (1 - sum(likely.values())) / (10 - len(likely))
    return [likely.get(f"d{digit}", rest) for digit in range(10)]


class FakePredictor:
    """Returns a fixed prediction or raises, and records the images it gets."""

    def __init__(self) -> None:
        self.outputs: dict[str, Any] = {
            "probabilities": chances(d7=0.99),
            "is_digit_probability": 0.998,
            "confidence": 0.98802,
            "digit": 7,
            "runner_up": 1,
            "accepted": True,
            "ambiguous": False,
        }
        self.version = 3
        self.error: Exception | None = None
        self.images: list[np.ndarray] = []
        self.rows = [ServedVersion("0a1b2c3d", 3, "AVAILABLE"), ServedVersion("99999999", None, "UNREACHABLE")]

    def check_room(self) -> None:
        if isinstance(self.error, Busy):
            raise self.error

    def predict(self, images: np.ndarray) -> list[Prediction]:
        self.images.append(images)
        if self.error:
            raise self.error
        return [Prediction(**self.outputs, version=self.version) for _ in images]

    def card(self, version: int | None) -> dict[str, Any]:
        if version not in (None, self.version):
            raise VersionNotServed(f"version: found {version}, which no model server has now")
        return {"version": self.version, "threshold": 0.6}

    def versions(self) -> list[ServedVersion]:
        return self.rows

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def web(tmp_path: Path) -> Path:
    folder = tmp_path / "web"
    (folder / "parts").mkdir(parents=True)
    (folder / "index.html").write_text('<!doctype html><script type="module" src="{{static}}/app.js"></script>')
    (folder / "app.js").write_text('import "./parts/pad.js";')
    (folder / "parts" / "pad.js").write_text("export const pad = 1;")
    (folder / ".hidden").write_text("secret")
    return folder


@pytest.fixture
def predictor() -> FakePredictor:
    return FakePredictor()


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def draining() -> threading.Event:
    return threading.Event()


@pytest.fixture
def client(predictor: FakePredictor, telemetry: Telemetry, draining: threading.Event, web: Path) -> FlaskClient:
    return create_app(Settings(max_body_bytes=20_000), predictor, telemetry, draining, web).test_client()


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """What is logged, line by line."""
    held = io.StringIO()
    handler = logging.StreamHandler(held)
    handler.setFormatter(JsonLines())
    log, read = logging.getLogger("gateway"), []
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)

    class Lines(list[dict[str, Any]]):
        def __iter__(self) -> Iterator[dict[str, Any]]:
            return iter([json.loads(line) for line in held.getvalue().splitlines()])

    yield Lines(read)
    log.removeHandler(handler)
    log.setLevel(logging.NOTSET)


def error_of(response: Any) -> dict[str, str]:
    assert response.content_type == "application/json"
    assert set(response.json) == {"error"}
    assert set(response.json["error"]) == {"code", "message", "request_id"}
    assert response.json["error"]["request_id"] == response.headers["X-Request-ID"]
    return response.json["error"]


# A drawing's answer


def test_a_drawing_is_answered_with_the_models_prediction(client: FlaskClient, predictor: FakePredictor) -> None:
    response = client.post("/api/v1/predict", json=DRAWN)
    assert response.status_code == 200
    assert response.json == {
        "digit": 7,
        "is_digit": True,
        "is_digit_probability": 0.998,
        "confidence": 0.98802,
        "probabilities": [0.001111] * 7 + [0.99] + [0.001111] * 2,
        "reason": None,
        "candidates": [7],
        "model": {"name": "digits", "version": 3},
        "request_id": response.headers["X-Request-ID"],
    }
    (images,) = predictor.images
    assert images.dtype == np.uint8
    assert (images == rasterise(clip_strokes(SEVEN, 300, 300))[None]).all()


@pytest.mark.parametrize(
    ("outputs", "digit", "reason", "candidates"),
    [
        pytest.param({"digit": 4, "runner_up": 9}, 4, None, [4], id="a digit"),
        pytest.param({"digit": 4, "runner_up": 9, "ambiguous": True}, 4, "ambiguous", [4, 9], id="either of two"),
        pytest.param({"digit": 9, "runner_up": 4, "ambiguous": True}, 9, "ambiguous", [9, 4], id="either of two, the likelier first"),
        pytest.param({"accepted": False}, None, "not_a_digit", [], id="no digit"),
        pytest.param({"accepted": False, "ambiguous": True}, None, "not_a_digit", [], id="no digit, of two"),
    ],
)
def test_each_kind_of_prediction_gives_its_answer(
    client: FlaskClient, predictor: FakePredictor, outputs: Any, digit: Any, reason: Any, candidates: Any
) -> None:
    """The model's own word counts: the gateway derives nothing from the probabilities."""
    predictor.outputs |= {"confidence": 0.1234567, "probabilities": chances(d3=0.9), **outputs}
    answer = client.post("/api/v1/predict", json=DRAWN).json
    assert (answer["digit"], answer["reason"], answer["candidates"]) == (digit, reason, candidates)
    assert answer["confidence"] == (None if digit is None else 0.123457)
    assert answer["is_digit"] is predictor.outputs["accepted"]
    assert answer["probabilities"] == [round(chance, 6) for chance in predictor.outputs["probabilities"]]


@pytest.mark.parametrize(
    ("strokes", "reason"),
    [([], "blank"), ([[[-9, -9], [-5, -5]]], "blank"), ([[[150, 150]]], "faint"), ([[[150, 150], [152, 151]]], "faint")],
)
def test_too_little_ink_is_answered_without_the_model(client: FlaskClient, predictor: FakePredictor, strokes: Any, reason: str) -> None:
    response = client.post("/api/v1/predict?frame=1", json={**DRAWN, "strokes": strokes})
    assert response.status_code == 200
    assert response.json == {
        "digit": None,
        "is_digit": False,
        "is_digit_probability": 0.0,
        "confidence": None,
        "probabilities": [0.0] * 10,
        "reason": reason,
        "candidates": [],
        "model": {"name": "digits", "version": None},
        "request_id": response.headers["X-Request-ID"],
        "frame": [[0] * 28] * 28,
    }
    assert predictor.images == []


@pytest.mark.parametrize(
    ("address", "field", "given"),
    [
        ("", False, False),
        ("?frame=1", False, True),
        ("?frame=true", False, True),
        ("?frame=0", False, False),
        ("", True, True),
        ("?frame=0", True, True),
    ],
)
def test_the_frame_is_in_the_answer_on_request(client: FlaskClient, address: str, field: bool, given: bool) -> None:
    answer = client.post(f"/api/v1/predict{address}", json={**DRAWN, "frame": field}).json
    assert ("frame" in answer) is given
    if given:
        assert answer["frame"] == rasterise(clip_strokes(SEVEN, 300, 300)).tolist()


def test_a_frame_parameter_of_another_kind_is_refused(client: FlaskClient) -> None:
    response = client.post("/api/v1/predict?frame=please", json=DRAWN)
    assert response.status_code == 400
    assert error_of(response)["message"] == 'frame: found "please", wanted 1 or 0'


# Errors


@pytest.mark.parametrize(
    ("send", "status", "code", "message"),
    [
        pytest.param({"json": {**DRAWN, "width": 0}}, 400, "invalid_drawing", "width: found 0, wanted a number from 1 to 10000", id="bad"),
        pytest.param({"data": b"{", "content_type": "application/json"}, 400, "invalid_drawing", "body: wanted JSON", id="no JSON"),
        pytest.param({"data": b"{}", "content_type": "text/plain"}, 415, "unsupported_content_type", "Content-Type: found", id="type"),
        pytest.param({"data": b"{}"}, 415, "unsupported_content_type", "Content-Type: found nothing", id="no type"),
        pytest.param(
            {"data": gzip.compress(b"{}"), "content_type": "application/json", "headers": {"Content-Encoding": "gzip"}},
            415,
            "unsupported_content_type",
            'Content-Encoding: found "gzip", wanted none',
            id="gzip",
        ),
        pytest.param({"json": {**DRAWN, "strokes": [[]] * 1001}}, 413, "drawing_too_large", "strokes: found 1001", id="strokes"),
        pytest.param(
            {"data": b" " * 20_002, "content_type": "application/json"}, 413, "drawing_too_large", "body: found 20002 bytes", id="body"
        ),
        pytest.param(
            {"data": b" " * 20_001, "content_type": "application/json"}, 413, "drawing_too_large", "body: found", id="a byte more"
        ),
    ],
)
def test_invalid_requests_get_status_code_and_message(client: FlaskClient, send: Any, status: int, code: str, message: str) -> None:
    response = client.post("/api/v1/predict", **send)
    assert response.status_code == status
    assert error_of(response)["code"] == code
    assert error_of(response)["message"].startswith(message)


@pytest.mark.parametrize("size", [20_001, 1_000_000])
def test_a_chunked_body_is_not_read_beyond_the_limit(client: FlaskClient, size: int) -> None:
    sent = io.BytesIO(b" " * size)
    environ = {"wsgi.input": sent, "wsgi.input_terminated": True, "CONTENT_TYPE": "application/json", "HTTP_TRANSFER_ENCODING": "chunked"}
    response = client.post("/api/v1/predict", environ_overrides=environ)
    assert response.status_code == 413
    assert sent.tell() == 20_001


def test_a_body_of_exactly_the_maximum_length_is_read(client: FlaskClient) -> None:
    sent = json.dumps(DRAWN).encode().ljust(20_000)
    assert client.post("/api/v1/predict", data=sent, content_type="application/json").status_code == 200


@pytest.mark.parametrize(
    ("raised", "status", "code", "retry_after"),
    [
        (Busy("b"), 429, "busy", "1"),
        (BadModelReply("r"), 502, "bad_model_reply", None),
        (ServingUnavailable("u"), 503, "model_unavailable", "1"),
        (ServingTimeout("t"), 504, "model_timeout", "1"),
    ],
)
@pytest.mark.parametrize(("path", "sent"), [("/api/v1/predict", DRAWN), ("/predict_number/", {"new_data": [0.0] * 784})])
def test_a_failing_model_server_gives_an_error_and_no_digit(
    client: FlaskClient,
    predictor: FakePredictor,
    lines: Any,
    raised: GatewayError,
    status: int,
    code: str,
    retry_after: str | None,
    path: str,
    sent: Any,
) -> None:
    raised.detail = "UNAVAILABLE: ipv4:10.1.2.3:8500 refused"
    predictor.error = raised
    response = client.post(path, json=sent)
    assert response.status_code == status
    assert error_of(response) == {"code": code, "message": str(raised), "request_id": response.headers["X-Request-ID"]}
    assert response.headers.get("Retry-After") == retry_after
    (line,) = lines
    assert (line["status"], line["reason"], line["detail"]) == (status, code, raised.detail)
    assert line["level"] == ("warning" if status >= 500 else "info")


def test_an_unexpected_error_is_500_and_its_text_stays_in_the_log(client: FlaskClient, predictor: FakePredictor, lines: Any) -> None:
    predictor.error = RuntimeError("a secret of ours")
    response = client.post("/api/v1/predict", json=DRAWN)
    assert response.status_code == 500
    assert error_of(response)["code"] == "internal"
    assert "secret" not in response.text
    trace, line = lines
    assert "RuntimeError: a secret of ours" in trace["traceback"]
    assert trace["request_id"] == line["request_id"] == response.headers["X-Request-ID"]


@pytest.mark.parametrize("code", list(grpc.StatusCode), ids=lambda code: code.name)
def test_every_grpc_status_becomes_a_gateway_error_whose_text_stays_inside(code: grpc.StatusCode) -> None:
    class Failed(grpc.RpcError):
        def code(self) -> grpc.StatusCode:
            return code

        def details(self) -> str:
            return "/models/digits/3 is broken"

    error = translate(Failed())
    wanted = {"UNAVAILABLE": 503, "NOT_FOUND": 503, "RESOURCE_EXHAUSTED": 503, "ABORTED": 503, "CANCELLED": 503, "DEADLINE_EXCEEDED": 504}
    assert error.status == wanted.get(code.name, 502)
    assert "/models" not in str(error)
    assert error.detail == f"{code.name}: /models/digits/3 is broken"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/static//page.css", 404, "not_found"),
        ("POST", "/api//v1/predict", 404, "not_found"),
        ("GET", "/api/v1/predict", 405, "method_not_allowed"),
        ("POST", "/", 405, "method_not_allowed"),
    ],
)
def test_unknown_paths_and_methods_are_answered_in_json(client: FlaskClient, method: str, path: str, status: int, code: str) -> None:
    response = client.open(path, method=method)
    assert response.status_code == status
    assert error_of(response)["code"] == code
    assert ("Allow" in response.headers) is (status == 405)
    assert "Location" not in response.headers


# The original demo's API


@pytest.mark.parametrize(
    ("outputs", "ink", "answer"),
    [
        pytest.param({"confidence": 0.979}, 1, {"predicted_number": 7, "confidence": "97"}, id="per cent, rounded down"),
        pytest.param({"confidence": 1.0}, 1, {"predicted_number": 7, "confidence": "100"}, id="certain"),
        pytest.param({"accepted": False}, 1, {"predicted_number": 7, "confidence": "0"}, id="not a digit"),
        pytest.param({}, 0, {"predicted_number": 7, "confidence": "0"}, id="blank"),
        pytest.param({}, 0.2, {"predicted_number": 7, "confidence": "0"}, id="faint"),
    ],
)
def test_the_original_demo_always_gets_a_digit(
    client: FlaskClient, predictor: FakePredictor, outputs: Any, ink: float, answer: Any
) -> None:
    predictor.outputs |= outputs
    greys = np.zeros((40, 40))
    greys[10:30, 18:22] = ink
    response = client.post(
        "/predict_number/", data=json.dumps({"new_data": greys.ravel().tolist()}), content_type="application/json;charset=UTF-8"
    )
    assert response.status_code == 200
    assert response.json == {**answer, "model_version": "3"}


def test_the_original_demo_says_hello(client: FlaskClient) -> None:
    assert client.get("/hello/").text == "hello_world"


# Versions, card, health, document


def test_versions_lists_what_is_served_and_this_gateways_own_answers(client: FlaskClient, predictor: FakePredictor) -> None:
    for predictor.version in (3, 4, 4):
        client.post("/api/v1/predict", json=DRAWN)
    client.post("/api/v1/predict", json=BLANK)
    assert client.get("/api/v1/versions").json == {
        "model": "digits",
        "serving": [
            {"address": "0a1b2c3d", "version": 3, "state": "AVAILABLE", "error": None},
            {"address": "99999999", "version": None, "state": "UNREACHABLE", "error": None},
        ],
        "answers": {"window_s": 60, "by_version": {"3": 1, "4": 2}},
    }


@pytest.mark.parametrize("address", ["", "?version=3"])
def test_the_card_is_what_the_predictor_reads(client: FlaskClient, address: str) -> None:
    assert client.get(f"/api/v1/card{address}").json == {"version": 3, "threshold": 0.6}


@pytest.mark.parametrize(
    ("version", "status", "message"),
    [
        ("4", 404, "version: found 4, which no model server has now"),
        ("0", 400, 'version: found "0", wanted a whole number of 1 or more'),
        ("-1", 400, 'version: found "-1", wanted'),
        ("x", 400, 'version: found "x", wanted'),
        ("", 400, 'version: found "", wanted'),
        ("9" * 30, 400, 'version: found "999999999999999999999999999999", wanted'),
    ],
)
def test_a_card_of_an_unknown_or_invalid_version_is_an_error(client: FlaskClient, version: str, status: int, message: str) -> None:
    response = client.get(f"/api/v1/card?version={version}")
    assert response.status_code == status
    assert error_of(response)["message"].startswith(message)


def test_health_does_not_depend_on_the_model(client: FlaskClient, predictor: FakePredictor, draining: threading.Event) -> None:
    predictor.error = ServingUnavailable("no")
    assert client.get("/healthz").json == {"status": "alive"}
    assert client.get("/readyz").json == {"status": "ready"}
    draining.set()
    assert client.get("/healthz").status_code == 200
    response = client.get("/readyz")
    assert response.status_code == 503
    assert error_of(response)["code"] == "service_unavailable"
    predictor.error = None
    assert client.post("/api/v1/predict", json=DRAWN).status_code == 200


def test_openapi_names_this_version_and_the_path_prefix(predictor: FakePredictor, web: Path) -> None:
    document = create_app(Settings(base_path="/digits"), predictor, web=web).test_client().get("/digits/api/v1/openapi.json").json
    assert document["info"]["version"] == __version__
    assert document["servers"] == [{"url": "/digits"}]


# The page


def test_the_page_names_its_files_by_one_hash_of_all_of_them(client: FlaskClient, web: Path) -> None:
    index = client.get("/")
    assert index.content_type == "text/html; charset=utf-8"
    assert index.headers["Cache-Control"] == "no-cache"
    prefix = re.search(r'src="(static/[0-9a-f]{12})/app.js"', index.text)
    assert prefix
    assert prefix[1] == f"static/{read_page(web).hash}"
    for name, content in (("app.js", 'import "./parts/pad.js";'), ("parts/pad.js", "export const pad = 1;")):
        response = client.get(f"/{prefix[1]}/{name}")
        assert response.text == content
        assert response.content_type == "text/javascript; charset=utf-8"
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"


def test_any_change_of_any_file_changes_the_hash(web: Path) -> None:
    seen = {read_page(web).hash}
    (web / "parts" / "pad.js").write_text("export const pad = 2;")
    seen.add(read_page(web).hash)
    (web / "parts" / "pad.js").rename(web / "parts" / "pod.js")
    seen.add(read_page(web).hash)
    (web / "new.css").write_text("")
    seen.add(read_page(web).hash)
    (web / "index.html").write_text("<p>{{static}}")
    seen.add(read_page(web).hash)
    assert len(seen) == 5


def test_a_file_of_another_build_is_served_but_not_cached(client: FlaskClient) -> None:
    response = client.get("/static/0123456789ab/app.js")
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("name", ["nothing.js", "index.html", ".hidden", "../app.py", "%2e%2e/app.py", "parts", ""])
def test_other_files_are_not_served(client: FlaskClient, web: Path, name: str) -> None:
    assert client.get(f"/static/{read_page(web).hash}/{name}").status_code == 404


def test_a_folder_without_a_page_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no page"):
        read_page(tmp_path)
    (tmp_path / "index.html").write_text("<p>hello")
    with pytest.raises(ValueError, match=r"wanted \{\{static\}\}"):
        read_page(tmp_path)


def test_every_file_that_the_real_page_names_exists() -> None:
    page = read_page(Path(__file__).parents[2] / "web")
    named = set(re.findall(rf'"static/{page.hash}/([^"]+)"', page.index.decode()))
    assert named
    assert named <= set(page.files)


@pytest.mark.parametrize(
    ("path", "status", "location"),
    [
        ("/digits", 308, "digits/"),
        ("/digits/", 200, None),
        ("/digits/healthz", 200, None),
        ("/digits/api/v1/versions", 200, None),
        ("/healthz", 200, None),
        ("/digitsandmore/healthz", 404, None),
    ],
)
def test_the_page_works_under_a_path(predictor: FakePredictor, web: Path, path: str, status: int, location: str | None) -> None:
    for base in ("/digits", "/digits/"):
        response = create_app(Settings(base_path=base), predictor, web=web).test_client().get(path)
        assert response.status_code == status
        assert response.headers.get("Location") == location


# Headers, log, metrics


@pytest.mark.parametrize("path", ["/", "/healthz", "/nothing", "/api/v1/versions"])
def test_every_answer_has_the_security_headers(client: FlaskClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["Content-Security-Policy"].startswith("default-src 'self';")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Cache-Control" in headers


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-1.2_3", True), ("a" * 64, True), ("a" * 65, False), ("a b", False), ("", False), ('"}', False), ("ä", False)]
)
def test_a_valid_request_id_is_kept_and_an_invalid_one_replaced(client: FlaskClient, given: str, kept: bool) -> None:
    answered = client.get("/healthz", headers={"X-Request-ID": given}).headers["X-Request-ID"]
    assert (answered == given) is kept
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", answered)


def test_a_request_is_one_line_without_the_drawing(client: FlaskClient, lines: Any) -> None:
    client.post("/api/v1/predict?frame=1", json={**DRAWN, "width": 300.125}, headers={"X-Request-ID": "id-7"})
    client.post("/api/v1/predict", json={**DRAWN, "width": "300.125"})
    client.get("/readyz")
    answered, refused, probe = lines
    assert answered.pop("latency_ms") > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", answered.pop("time"))
    assert answered == {
        "level": "info",
        "logger": "gateway.request",
        "message": "request",
        "request_id": "id-7",
        "method": "POST",
        "path": "/api/v1/predict",
        "status": 200,
        "model_version": 3,
        "reason": None,
    }
    assert (refused["status"], refused["reason"], refused["level"]) == (400, "invalid_drawing", "info")
    assert "300.125" not in json.dumps([answered, refused])
    assert probe["level"] == "debug"


def test_the_log_says_why_there_was_no_plain_digit(client: FlaskClient, predictor: FakePredictor, lines: Any) -> None:
    client.post("/api/v1/predict", json=BLANK)
    predictor.outputs["accepted"] = False
    client.post("/api/v1/predict", json=DRAWN)
    assert [(line["reason"], line["model_version"]) for line in lines] == [("blank", None), ("not_a_digit", 3)]


def test_metrics_count_requests_and_answers_by_version(client: FlaskClient, predictor: FakePredictor, telemetry: Telemetry) -> None:
    client.post("/api/v1/predict", json=DRAWN)
    client.post("/api/v1/predict", json=BLANK)
    client.post("/api/v1/predict", json={})
    client.get("/nothing/at/all")
    predictor.version, predictor.outputs["accepted"] = 4, False
    client.post("/api/v1/predict", json=DRAWN)

    def value(name: str, **labels: str) -> float | None:
        return telemetry.registry.get_sample_value(name, labels)

    route = {"route": "/api/v1/predict", "method": "POST"}
    assert value("gateway_requests_total", **route, status="200", model_version="3") == 1
    assert value("gateway_requests_total", **route, status="200", model_version="4") == 1
    assert value("gateway_requests_total", **route, status="200", model_version="") == 1
    assert value("gateway_requests_total", **route, status="400", model_version="") == 1
    assert value("gateway_requests_total", route="none", method="GET", status="404", model_version="") == 1
    assert value("gateway_request_seconds_count", route="/api/v1/predict", model_version="3") == 1
    assert value("gateway_answers_total", digit="7", reason="none", model_version="3") == 1
    assert value("gateway_answers_total", digit="none", reason="not_a_digit", model_version="4") == 1
    assert value("gateway_answers_total", digit="none", reason="blank", model_version="") == 1
    assert value("gateway_confidence_count", model_version="3") == 1
    assert value("gateway_confidence_bucket", model_version="3", le="0.98") == 0
    assert value("gateway_confidence_bucket", model_version="3", le="0.99") == 1
    assert value("gateway_requests_in_flight") == 0


def test_a_body_shorter_than_its_content_length_is_refused(client: FlaskClient) -> None:
    environ = {"wsgi.input": io.BytesIO(b'{"width":'), "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": "100"}
    response = client.post("/api/v1/predict", environ_overrides=environ)
    assert response.status_code == 400
    assert error_of(response)["message"] == "body: found 9 bytes before the end, wanted 100 as the Content-Length says"


def test_a_page_is_sent_with_its_words_and_the_scripts_without_them(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text('<p title="{{draw}}">{{draw}}</p>{{static}}')
    (tmp_path / "words.js").write_text('export const PAGE = {\n  "draw": "\\"Draw\\" & see"\n};\nexport const ready = "ready";\n')
    page = read_page(tmp_path)
    assert page.index.decode() == f'<p title="&quot;Draw&quot; &amp; see">&quot;Draw&quot; &amp; see</p>static/{page.hash}'
    assert page.files["words.js"][1] == b'\n\n\nexport const ready = "ready";\n'

    (tmp_path / "card.html").write_text("{{none}}")
    with pytest.raises(ValueError, match=r"card\.html: found \{\{none\}\}, wanted the name of a text of PAGE in words\.js"):
        read_page(tmp_path)
    (tmp_path / "words.js").write_text("export const PAGE = {\n  draw: 1,\n};\n")
    with pytest.raises(ValueError, match=r"words\.js: wanted JSON after `export const PAGE =`"):
        read_page(tmp_path)


def test_scripts_and_styles_are_sent_without_comments_and_keep_their_lines(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<p>{{static}}</p>\n  <b>/* kept */</b>")
    (tmp_path / "a.js").write_text(
        '/**\n * What it does.\n */\nconst url = "http://x"; // why\n  // a line\nconst text = `a; // b`;\nf(); // "quoted" stays\n'
    )
    (tmp_path / "a.css").write_text("/* one */\na {\n  color: red; /* ink */\n}\n")
    page = read_page(tmp_path)
    assert page.index == f"<p>static/{page.hash}</p>\n<b>/* kept */</b>".encode()
    assert page.files["a.js"][1] == b'\n\n\nconst url = "http://x";\n\nconst text = `a; // b`;\nf(); // "quoted" stays\n'
    assert page.files["a.css"][1] == b"\na {\ncolor: red;\n}\n"
