"""The gateway as a process: its API held against its own document, the original demo's calls, its limits, its start and its end."""

import base64
import contextlib
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import numpy as np
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from PIL import Image, ImageDraw

from tests import stack
from tests.contract.fake_serving import FakeServing, serve
from tests.stack import ROOT, Program, free_port, wait_until

SEVEN = [[[60, 60], [120, 58], [180, 60], [240, 60], [210, 110], [180, 160], [150, 210], [130, 260]]]
DRAWN = {"width": 300, "height": 300, "strokes": SEVEN}


class Reply:
    """An answer of the gateway."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(url: str, method: str, path: str, sent: Any = None, **headers: str) -> Reply:
    """One request on a connection of its own. sent: JSON, or bytes as they are."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    try:
        body = sent if sent is None or isinstance(sent, bytes) else json.dumps(sent).encode()
        sent_headers = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, {"Content-Type": "application/json", **sent_headers} if body is not None else sent_headers)
        return Reply(connection.getresponse())
    finally:
        connection.close()


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeServing]:
    with serve(FakeServing()) as running:
        yield running


@pytest.fixture(scope="module")
def management_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def gateway(fake: FakeServing, management_port: int) -> Iterator[tuple[Program, str]]:
    program, url = stack.gateway(f"127.0.0.1:{fake.port}", MANAGEMENT_PORT=str(management_port), MAX_IN_FLIGHT="2", PREDICT_TIMEOUT_S="1")
    with program:
        yield program, url


@pytest.fixture
def url(gateway: tuple[Program, str], fake: FakeServing) -> Iterator[str]:
    yield gateway[1]
    fake.__dict__.update({**FakeServing(port=fake.port, stop=fake.stop).__dict__})  # each test finds a server that answers well


# The document is true


@pytest.fixture(scope="module")
def document(gateway: tuple[Program, str]) -> Any:
    return ask(gateway[1], "GET", "/api/v1/openapi.json").json


def test_the_document_is_openapi(document: Any) -> None:
    validate(document)


def schema_errors(document: Any, schema: Any, value: Any) -> list[str]:
    whole = {**schema, "components": document["components"]}
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(whole).iter_errors(value)]


def assert_documented(document: Any, method: str, path: str, reply: Reply) -> None:
    """The status, the headers and the body are those that the document promises for this path."""
    responses = document["paths"][path][method.lower()]["responses"]
    assert str(reply.status) in responses, f"{method} {path} answered {reply.status}, documented are {sorted(responses)}: {reply.body!r}"
    promised = responses[str(reply.status)]
    if "$ref" in promised:
        promised = document["components"]["responses"][promised["$ref"].rpartition("/")[2]]
    for header in promised.get("headers", {}):
        assert header in reply.headers
    ((kind, content),) = promised["content"].items()
    assert reply.headers.get_content_type() == kind
    assert schema_errors(document, content["schema"], reply.json if kind == "application/json" else reply.body.decode()) == []


def png(side: int = 100) -> str:
    image = Image.new("L", (side, side), 255)
    ImageDraw.Draw(image).line([(x * side / 300, y * side / 300) for x, y in map(tuple, SEVEN[0])], 0, side // 15)
    held = io.BytesIO()
    image.save(held, "PNG")
    return "data:image/png;base64," + base64.b64encode(held.getvalue()).decode()


def set_reply(**fields: Any) -> Any:
    return lambda fake: fake.__dict__.update(fields)


REQUESTS = [
    pytest.param("POST", "/api/v1/predict", DRAWN, None, 200, id="strokes"),
    pytest.param("POST", "/api/v1/predict", {**DRAWN, "frame": True, "pen": 18}, None, 200, id="strokes with frame"),
    pytest.param("POST", "/api/v1/predict", {"image": png()}, None, 200, id="a picture"),
    pytest.param("POST", "/api/v1/predict", {**DRAWN, "strokes": []}, None, 200, id="blank"),
    pytest.param("POST", "/api/v1/predict", {**DRAWN, "strokes": [[[9, 9]]], "frame": True}, None, 200, id="faint with frame"),
    pytest.param("POST", "/api/v1/predict", DRAWN, set_reply(accepted=False), 200, id="not a digit"),
    pytest.param(
        "POST",
        "/api/v1/predict",
        DRAWN,
        set_reply(probabilities=[0, 0, 0, 0, 0.5, 0, 0, 0, 0, 0.5], digit=4, runner_up=9, ambiguous=True),
        200,
        id="ambiguous",
    ),
    pytest.param("POST", "/api/v1/predict", {**DRAWN, "width": "wide"}, None, 400, id="bad width"),
    pytest.param("POST", "/api/v1/predict", b"[[[", None, 400, id="no JSON"),
    pytest.param("POST", "/api/v1/predict", {**DRAWN, "strokes": [[]] * 1001}, None, 413, id="too many strokes"),
    pytest.param("POST", "/api/v1/predict", DRAWN, set_reply(always=grpc.StatusCode.INTERNAL), 502, id="a broken model"),
    pytest.param("POST", "/api/v1/predict", DRAWN, set_reply(always=grpc.StatusCode.UNAVAILABLE), 503, id="no model"),
    pytest.param("POST", "/api/v1/predict", DRAWN, set_reply(delay_s=3.0), 504, id="a slow model"),
    pytest.param("GET", "/api/v1/versions", None, None, 200, id="versions"),
    pytest.param("GET", "/api/v1/card", None, None, 200, id="card"),
    pytest.param("GET", "/api/v1/card?version=1", None, None, 200, id="card of 1"),
    pytest.param("GET", "/api/v1/card?version=x", None, None, 400, id="card of x"),
    pytest.param("GET", "/api/v1/card?version=99", None, None, 404, id="card of 99"),
    pytest.param("GET", "/api/v1/card", None, set_reply(always=grpc.StatusCode.UNAVAILABLE), 503, id="card of none"),
    pytest.param("GET", "/healthz", None, None, 200, id="healthz"),
    pytest.param("GET", "/readyz", None, None, 200, id="readyz"),
    pytest.param("GET", "/api/v1/openapi.json", None, None, 200, id="the document"),
    pytest.param("GET", "/hello/", None, None, 200, id="hello"),
    pytest.param("POST", "/predict_number/", {"new_data": [0.0] * 784}, None, 200, id="the original demo's"),
    pytest.param("POST", "/predict_number/", {"new_data": [0.0] * 783}, None, 400, id="the original demo's, not square"),
    pytest.param(
        "POST",
        "/predict_number/",
        {"new_data": [0.0] * 784},
        set_reply(always=grpc.StatusCode.UNAVAILABLE),
        503,
        id="original, no model",
    ),
]


@pytest.mark.parametrize(("method", "path", "sent", "prepare", "status"), REQUESTS)
def test_each_answer_matches_the_document(
    url: str, fake: FakeServing, document: Any, method: str, path: str, sent: Any, prepare: Any, status: int
) -> None:
    if prepare:
        prepare(fake)
    reply = ask(url, method, path, sent)
    assert reply.status == status, reply.body
    assert_documented(document, method, path.partition("?")[0], reply)


def test_the_answers_415_and_429_match_the_document(url: str, fake: FakeServing, document: Any) -> None:
    assert_documented(document, "POST", "/api/v1/predict", ask(url, "POST", "/api/v1/predict", DRAWN, Content_Type="text/plain"))
    ask(url, "POST", "/api/v1/predict", DRAWN)
    fake.requests.clear()
    fake.delay_s = 0.8
    with ThreadPoolExecutor(2) as pool:
        held = [pool.submit(ask, url, "POST", "/api/v1/predict", DRAWN) for _ in range(2)]
        wait_until("two are in flight", lambda: fake.frames_requested() == 2)
        busy = [
            ask(url, "POST", path, sent) for path, sent in (("/api/v1/predict", DRAWN), ("/predict_number/", {"new_data": [1.0] * 784}))
        ]
        assert [future.result().status for future in held] == [200, 200]
    assert [reply.status for reply in busy] == [429, 429]
    assert_documented(document, "POST", "/api/v1/predict", busy[0])
    assert_documented(document, "POST", "/predict_number/", busy[1])


def test_every_path_of_the_gateway_is_in_the_document(document: Any) -> None:
    from gateway.app import create_app
    from gateway.settings import Settings

    served = {rule.rule for rule in create_app(Settings(), None).url_map.iter_rules()}  # type: ignore[arg-type] - it asks no model
    assert served - {"/", "/static/<build>/<path:name>"} == set(document["paths"])


def test_the_documents_examples_are_answered(url: str, document: Any) -> None:
    content = document["paths"]["/api/v1/predict"]["post"]["requestBody"]["content"]["application/json"]
    assert set(content["examples"]) == {"seven", "picture"}
    for example in content["examples"].values():
        assert schema_errors(document, content["schema"], example["value"]) == []
        reply = ask(url, "POST", "/api/v1/predict", example["value"])
        assert (reply.status, reply.json["digit"]) == (200, 7)


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"width": 300, "height": 300},
        {**DRAWN, "image": png()},
        {**DRAWN, "width": 0},
        {**DRAWN, "height": 10_001},
        {**DRAWN, "pen": 0},
        {**DRAWN, "frame": 1},
        {**DRAWN, "strokes": [[[1]]]},
        {**DRAWN, "strokes": [[[1, 2, 3, 4]]]},
        {**DRAWN, "strokes": [[[1, 2, -3]]]},
        {**DRAWN, "strokes": [[["1", 2]]]},
        {"image": "data:image/gif;base64,AAAA"},
    ],
)
def test_a_request_that_the_document_does_not_allow_is_refused(url: str, document: Any, sent: Any) -> None:
    schema = document["paths"]["/api/v1/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema_errors(document, schema, sent)
    assert ask(url, "POST", "/api/v1/predict", sent).status == 400


@pytest.mark.parametrize("case", sorted((ROOT / "tests" / "golden" / "drawings").glob("*.json")), ids=lambda case: case.stem)
def test_the_document_allows_every_golden_drawing(document: Any, case: Path) -> None:
    schema = document["paths"]["/api/v1/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema_errors(document, schema, json.loads(case.read_text())) == []


# The original demo


@pytest.mark.parametrize("side", [28, 300, 500])
def test_the_original_demos_page_is_answered_as_it_expects(url: str, side: int) -> None:
    """As its page asks: the red of every canvas pixel as 0..1 in one list; it shows the digit, and the confidence with a per cent sign."""
    image = Image.new("L", (side, side), 0)
    ImageDraw.Draw(image).line([(x * side / 300, y * side / 300) for x, y in map(tuple, SEVEN[0])], 255, max(2, side // 30))
    sent = json.dumps({"new_data": [grey / 255 for grey in image.tobytes()]}).encode()
    request = urllib.request.Request(f"{url}/predict_number/", sent, {"Content-Type": "application/json;charset=UTF-8"}, method="POST")
    with urllib.request.urlopen(request, timeout=20) as response:
        assert response.status == 200
        answer = json.load(response)
    assert answer == {"predicted_number": 7, "confidence": "99", "model_version": "1"}
    assert isinstance(answer["confidence"] + "%", str)


def test_the_original_demos_blank_canvas_has_no_confidence(url: str) -> None:
    reply = ask(url, "POST", "/predict_number/", {"new_data": [0] * 250_000})
    assert reply.json == {"predicted_number": 7, "confidence": "0", "model_version": "1"}


def test_the_original_demo_says_hello(url: str) -> None:
    reply = ask(url, "GET", "/hello/")
    assert (reply.status, reply.body) == (200, b"hello_world")


# Limits on the wire


def raw(url: str, head: str, body: Iterable[bytes] = ()) -> tuple[int, Any, int]:
    """Status, JSON and length of the body sent of a request written by hand; the body is sent until the answer is there."""
    sent = 0
    with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), timeout=20) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")

        def send() -> None:
            nonlocal sent
            with contextlib.suppress(OSError):
                for part in body:
                    connection.sendall(part)
                    sent += len(part)

        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(send)
            got = b""
            while b"\r\n\r\n" not in got or not got.rstrip().endswith(b"}"):
                part = connection.recv(65536)
                assert part, f"the connection ended after {got!r}"
                got += part
            with contextlib.suppress(OSError):  # the server may have closed it by now
                connection.shutdown(socket.SHUT_RDWR)
            sending.result()
    head_got, _, content = got.partition(b"\r\n\r\n")
    return int(head_got.split()[1]), json.loads(content), sent


POST = "POST /api/v1/predict HTTP/1.1\nHost: localhost\nContent-Type: application/json\n"


def test_a_body_that_says_it_is_too_long_is_refused_before_it_is_sent(url: str) -> None:
    status, answer, _ = raw(url, f"{POST}Content-Length: 5000000000")
    assert (status, answer["error"]["code"]) == (413, "drawing_too_large")
    assert answer["error"]["message"] == "body: found 5000000000 bytes, wanted at most 8388608"


def test_a_chunked_body_is_refused_once_it_is_too_long(url: str) -> None:
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    status, answer, sent = raw(url, f"{POST}Transfer-Encoding: chunked", [chunk] * 500)
    assert (status, answer["error"]["code"]) == (413, "drawing_too_large")
    assert sent < 100 * len(chunk)


def test_a_chunked_body_is_read(url: str) -> None:
    body = json.dumps(DRAWN).encode()
    chunks = [b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:50], body[50:])] + [b"0\r\n\r\n"]
    status, answer, _ = raw(url, f"{POST}Transfer-Encoding: chunked", chunks)
    assert (status, answer["digit"]) == (200, 7)


@pytest.mark.parametrize(
    "head", ["GET /healthz HTTP/1.1\nHost: x", f"{POST}Content-Length: 100"], ids=["a head that does not end", "a body that does not come"]
)
def test_slow_senders_do_not_hold_up_others(url: str, head: str) -> None:
    with ExitStack() as held:
        for _ in range(5):
            slow = held.enter_context(socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), timeout=20))
            slow.sendall(head.replace("\n", "\r\n").encode() + (b"\r\n\r\n{" if "Length" in head else b"\r\n"))
        assert ask(url, "POST", "/api/v1/predict", DRAWN).status == 200


def test_senders_that_do_not_go_on_are_told_and_cut_off(fake: FakeServing, url: str) -> None:
    del url
    program, address = stack.gateway(f"127.0.0.1:{fake.port}", MAX_IN_FLIGHT="1", REQUEST_TIMEOUT_S="1")
    host = (urlsplit(address).hostname, urlsplit(address).port)
    starts = [f"{POST}Content-Length: 100\n\n{{", "GET / HTTP/1.1\nX-Slow: 1\n", f"{POST}Transfer-Encoding: chunked\n\n5\n{{"]
    with program, ExitStack() as held:
        slow = [held.enter_context(socket.create_connection(host, timeout=20)) for _ in starts * 2]
        for connection, start in zip(slow, starts * 2, strict=True):
            connection.sendall(start.replace("\n", "\r\n").encode())
        assert ask(address, "POST", "/api/v1/predict", DRAWN).status == 200
        for connection in slow:
            answer = b"".join(iter(lambda connection=connection: connection.recv(4096), b""))
            assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "request_timeout"


# Start, log, metrics, memory


def test_importing_the_gateway_imports_no_tensorflow() -> None:
    code = "import sys, gateway.__main__, gateway.app, gateway.serving; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"tensorflow", "tensorflow_serving", "keras", "trainer", "modelserver"} & set(done.stdout.split())
    assert "flask" in done.stdout.split()


def processes_of(program: Program) -> dict[int, str]:
    """Process id → /proc/…/status of the program and its children."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        if int(status.parent.name) == program.process.pid or f"PPid:\t{program.process.pid}\n" in text:
            found[int(status.parent.name)] = text
    return found


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux
def test_a_worker_holds_less_than_120_megabytes(gateway: tuple[Program, str], url: str) -> None:
    program, _ = gateway
    for _ in range(20):
        ask(url, "POST", "/api/v1/predict", {"image": png(2048)})
    resident_mb = [
        int(line.split()[1]) / 1024 for text in processes_of(program).values() for line in text.splitlines() if line.startswith("VmRSS")
    ]
    assert max(resident_mb) < 120


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"GATEWAY_PORT": "tcp://10.0.0.1:80"}, "gateway: GATEWAY_PORT='tcp://10.0.0.1:80': wanted a whole number (int)\n"),
        ({"GATEWAY_PRT": "80"}, "gateway: GATEWAY_PRT='80': there is no such setting; there are GATEWAY_HOST, "),
    ],
)
def test_bad_settings_end_the_start_with_one_sentence(environ: dict[str, str], message: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway"], cwd=ROOT, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("taken", ["PORT", "MANAGEMENT_PORT"])
def test_a_port_in_use_ends_the_start_with_one_sentence(taken: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        environ = {"GATEWAY_PORT": str(free_port()), "GATEWAY_MANAGEMENT_PORT": "0", f"GATEWAY_{taken}": str(port)}
        with Program("gateway", environ=environ) as program:
            assert program.process.wait(30) == 1
            assert program.output == f"gateway: cannot listen on 127.0.0.1:{port}: Address already in use\n"


def test_the_log_is_json_lines_and_the_metrics_have_a_port_of_their_own(
    gateway: tuple[Program, str], url: str, management_port: int
) -> None:
    program, _ = gateway
    assert ask(url, "POST", "/api/v1/predict", DRAWN, X_Request_ID="seen-in-the-log").status == 200
    wait_until("the line is written", lambda: "seen-in-the-log" in program.output)
    lines = [json.loads(line) for line in program.output.splitlines()]
    (line,) = [line for line in lines if line.get("request_id") == "seen-in-the-log"]
    assert (line["method"], line["path"], line["status"], line["model_version"]) == ("POST", "/api/v1/predict", 200, 1)
    status, metrics = stack.get(f"http://127.0.0.1:{management_port}/metrics")
    assert status == 200
    assert b'gateway_answers_total{digit="7",model_version="1",reason="none"}' in metrics
    assert ask(url, "GET", "/metrics").status == 404


# The end


def test_sigterm_delays_the_shutdown_drains_and_exits_with_0(fake: FakeServing, url: str) -> None:
    """/readyz says no while all else works; then what is in flight is finished; then it is over."""
    del url
    program, address = stack.gateway(f"127.0.0.1:{fake.port}", SHUTDOWN_DELAY_S="1.5", DRAIN_S="10", PREDICT_TIMEOUT_S="8")
    with program, ThreadPoolExecutor(2) as pool:
        assert ask(address, "POST", "/api/v1/predict", DRAWN).status == 200
        program.process.send_signal(signal.SIGTERM)
        wait_until("it says that it drains", lambda: ask(address, "GET", "/readyz").status == 503)
        assert ask(address, "POST", "/api/v1/predict", DRAWN).status == 200
        assert ask(address, "GET", "/healthz").status == 200
        fake.delay_s = 3.0
        fake.requests.clear()
        slow = pool.submit(ask, address, "POST", "/api/v1/predict", DRAWN)
        wait_until("a slow one is in flight", lambda: fake.requests)
        assert slow.result().status == 200
        assert program.process.wait(20) == 0
        assert stack.get(f"{address}/readyz") == (0, b"")
        assert "Traceback" not in program.output


def test_sigterm_under_load_fails_no_request(fake: FakeServing, url: str) -> None:
    """A load balancer that watches /readyz turns away in time; connections that it kept are finished."""
    del url
    program, address = stack.gateway(f"127.0.0.1:{fake.port}", SHUTDOWN_DELAY_S="1")
    statuses: list[int] = []
    turned_away = threading.Event()

    def load() -> None:
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)
        while not turned_away.is_set():
            connection.request("POST", "/api/v1/predict", json.dumps(DRAWN), {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
        connection.close()

    with program, ThreadPoolExecutor(4) as pool:
        running = [pool.submit(load) for _ in range(4)]
        try:
            wait_until("the load runs", lambda: len(statuses) > 40)
            program.process.send_signal(signal.SIGTERM)
            wait_until("it says that it drains", lambda: ask(address, "GET", "/readyz").status == 503)
        finally:
            turned_away.set()
        for future in running:
            future.result()
        assert program.process.wait(20) == 0
    assert set(statuses) == {200}


def test_ctrl_c_exits_with_0_without_the_shutdown_delay(fake: FakeServing) -> None:
    program, address = stack.gateway(f"127.0.0.1:{fake.port}", SHUTDOWN_DELAY_S="60")
    with program:
        began = time.monotonic()
        program.process.send_signal(signal.SIGINT)
        assert program.process.wait(20) == 0
        assert time.monotonic() - began < 15
        assert stack.get(f"{address}/readyz") == (0, b"")
        assert "Traceback" not in program.output


def test_the_frame_in_the_answer_is_the_one_sent_to_the_model_server(fake: FakeServing, url: str) -> None:
    from pynumdraw.wire import from_tensor

    ask(url, "POST", "/api/v1/predict", DRAWN)
    fake.requests.clear()
    frame = ask(url, "POST", "/api/v1/predict?frame=1", DRAWN).json["frame"]
    assert (from_tensor(fake.requests[0].inputs["images"])[0] == np.array(frame)).all()
