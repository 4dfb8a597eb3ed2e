"""The gateway's engine at the wire: bytes that are no request, clients that wait, leave or are many, a loop that stands still, the end."""

import contextlib
import http.client
import json
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from gateway.admission import LARGE_BODIES
from pynumdraw.ink import clip_strokes, rasterise
from pynumdraw.wire import from_tensor, serving_pb2
from tests import stack
from tests.contract.fake_serving import FakeServing, serve, text
from tests.contract.test_gateway_api import DRAWN, ask
from tests.stack import Program, free_port, wait_until

POST = b"POST /api/v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeServing]:
    with serve(FakeServing()) as running:
        yield running


@pytest.fixture(autouse=True)
def _repaired(fake: FakeServing) -> None:
    fake.corrupt, fake.delay_s = None, 0.0
    fake.requests.clear()


class Running:
    """A gateway, and what its management port tells."""

    def __init__(self, program: Program, url: str, management_port: int) -> None:
        self.program, self.url, self.address = program, url, (urlsplit(url).hostname or "", urlsplit(url).port or 0)
        self.management = f"http://127.0.0.1:{management_port}"

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=20)

    def samples(self, name: str) -> dict[str, float]:
        """Labels, as they are written, → value of a metric."""
        _, metrics = stack.get(f"{self.management}/metrics")
        return {labels: float(value) for labels, value in re.findall(rf"^{name}(\S*) (\S+)$", metrics.decode(), re.M)}

    def count_5xx(self) -> float:
        return sum(value for labels, value in self.samples("gateway_requests_total").items() if 'status="5' in labels)


@contextmanager
def gateway(fake: FakeServing, **settings: str) -> Iterator[Running]:
    port = free_port()
    program, url = stack.gateway(f"127.0.0.1:{fake.port}", MANAGEMENT_PORT=str(port), PREDICT_TIMEOUT_S="20", **settings)
    with program:
        yield Running(program, url, port)


@pytest.fixture(scope="module")
def running(fake: FakeServing) -> Iterator[Running]:
    with gateway(fake) as started:
        yield started


def exchange(running: Running, sent: bytes, end: bool = False) -> tuple[int, bytes, Any]:
    """Status, head and JSON of the answer to these bytes; the connection is closed by the gateway. end: nothing more is sent after them."""
    with running.connect() as connection:
        connection.sendall(sent)
        if end:
            connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, content = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head, json.loads(content)


# What is no request, or cannot be one


@pytest.mark.parametrize(
    ("sent", "end"),
    [
        pytest.param(CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n", False, id="a chunk whose size is no number"),
        pytest.param(CHUNKED + b"5\r\n{}xxxxxx\r\n", False, id="a chunk longer than its size"),
        pytest.param(CHUNKED + b"5\r\n{", True, id="a chunk that is cut off"),
        pytest.param(CHUNKED, True, id="chunks that do not come"),
        pytest.param(POST + b"Content-Length: 4000\r\n\r\n{", True, id="a body that is cut off"),
        pytest.param(POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n{", False, id="two lengths"),
        pytest.param(POST + b"Content-Length: many\r\n\r\n{", False, id="a length that is no number"),
        pytest.param(b"GET / HTTP/1.1\r\nHost", True, id="a head that is cut off"),
        pytest.param(b"GET http://x HTTP/1.1\r\nHost: x\r\n\r\n", False, id="an address without a path"),
        pytest.param(b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", False, id="an address that is not ASCII"),
        pytest.param(b"GET / HTTP/9\r\n\r\n", False, id="another protocol"),
        pytest.param(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" * 9, False, id="TLS"),
    ],
)
def test_bytes_that_are_no_request_are_answered_400_in_json(running: Running, sent: bytes, end: bool) -> None:
    status, head, answer = exchange(running, sent, end)
    assert (status, answer["error"]["code"]) == (400, "bad_request")
    assert f"X-Request-ID: {answer['error']['request_id']}".encode() in head
    assert b"Connection: close" in head


def test_connections_that_are_reset_within_a_body_are_no_error_of_ours(running: Running) -> None:
    before = running.count_5xx()
    for start in (CHUNKED + b"5\r\n{", POST + b"Content-Length: 4000\r\n\r\n{", CHUNKED + b"5000\r\n" + b" " * 300) * 10:
        with running.connect() as connection:
            connection.sendall(start)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets
    assert ask(running.url, "POST", "/api/v1/predict", DRAWN).status == 200
    wait_until("none is in flight", lambda: running.samples("gateway_requests_in_flight") == {"": 0.0})
    assert running.count_5xx() == before
    assert "Traceback" not in running.program.output


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        pytest.param(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "request_uri_too_long", id="an address"),
        pytest.param(b"GET / HTTP/1.1\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", 431, "request_header_fields_too_large", id="a head"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * 90_000, 431, "request_header_fields_too_large", id="a head without an end"),
    ],
)
def test_heads_that_are_too_long_are_refused_in_json(running: Running, sent: bytes, status: int, code: str) -> None:
    with running.connect() as connection:
        with contextlib.suppress(OSError):  # it is closed before all is sent
            connection.sendall(sent)
        answer = connection.recv(65536)
    found, _, content = answer.partition(b"\r\n\r\n")
    assert (int(found.split()[1]), json.loads(content)["error"]["code"]) == (status, code)


@pytest.mark.parametrize(("path", "status"), [("//hello/", 200), ("/api//v1/card", 404), ("//example.org/..", 404)])
def test_a_doubled_slash_is_no_redirect(running: Running, path: str, status: int) -> None:
    reply = ask(running.url, "GET", path)
    assert (reply.status, reply.headers["Location"]) == (status, None)


def test_a_header_whose_name_has_an_underscore_passes_for_no_other(running: Running) -> None:
    sent = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX_Request_ID: forged\r\nX-Request-ID: mine\r\nConnection: close\r\n\r\n"
    status, head, _ = exchange(running, sent)
    assert status == 200 and b"\r\nx-request-id: mine\r\n" in head.lower() + b"\r\n"


def test_methods_that_nobody_has_heard_of_become_no_labels(running: Running) -> None:
    for k in range(20):
        assert exchange(running, b"MADE%dUP / HTTP/1.1\r\nHost: x\r\n\r\n" % k)[0] == 400
    assert {ask(running.url, method, "/").status for method in ("PROPFIND", "MKCOL", "PURGE")} == {405}
    methods = set(re.findall(r'method="([^"]*)"', " ".join(running.samples("gateway_requests_total"))))
    assert {"none", "other"} <= methods <= {"none", "other", "GET", "POST"}


# Replies of the model server that are not our model's


def huge(reply: serving_pb2.PredictResponse) -> None:
    for name in set(reply.outputs) & {"probabilities"}:
        del reply.outputs[name].tensor_shape.dim[:]
        for size in (1 << 33, 10):
            reply.outputs[name].tensor_shape.dim.add(size=size)


def unknown_type(reply: serving_pb2.PredictResponse) -> None:
    for name in set(reply.outputs) & {"probabilities"}:
        reply.outputs[name].dtype = 9999  # type: ignore[assignment]


def card_of(words: str) -> Any:
    def corrupt(reply: serving_pb2.PredictResponse) -> None:
        if "card" in reply.outputs:
            reply.outputs["card"].CopyFrom(text(words))

    return corrupt


@pytest.mark.parametrize(
    ("method", "path", "corrupt"),
    [
        pytest.param("POST", "/api/v1/predict", huge, id="a shape of 2^33 rows"),
        pytest.param("POST", "/api/v1/predict", unknown_type, id="a type that nobody knows"),
        pytest.param("GET", "/api/v1/card", card_of("[" * 60_000), id="a card that is cut off in its depth"),
        pytest.param("GET", "/api/v1/card", card_of('{"ink_version": 1, "a": ' + "[" * 900 + "]" * 900 + "}"), id="a card that is deep"),
        pytest.param("GET", "/api/v1/card", card_of('{"ink_version": 1e999}'), id="an ink version without end"),
    ],
)
def test_a_reply_that_is_not_our_models_is_answered_502(fake: FakeServing, method: str, path: str, corrupt: Any) -> None:
    with gateway(fake) as running:  # one that has no card yet
        fake.corrupt = corrupt
        reply = ask(running.url, method, path, DRAWN if method == "POST" else None)
        assert (reply.status, reply.json["error"]["code"]) == (502, "bad_model_reply")
        fake.corrupt = None
        assert ask(running.url, method, path, DRAWN if method == "POST" else None).status == 200


# Many clients, and clients that leave


class Telling(FakeServing):
    """Tells each image's mean ink as the probability that it is a digit."""

    def predict(self, request: serving_pb2.PredictRequest, context: Any) -> serving_pb2.PredictResponse:
        reply = super().predict(request, context)
        if "images" in request.inputs:
            means = from_tensor(request.inputs["images"]).reshape(-1, 784).mean(axis=1) / 255
            reply.outputs["is_digit_probability"].float_val[:] = means.tolist()
        return reply


def test_64_requests_at_a_time_never_mix_ids_answers_or_errors() -> None:
    with serve(Telling()) as telling, gateway(telling) as running, ThreadPoolExecutor(64) as pool:

        def one(k: int) -> None:
            strokes: Any = [[[60, 60], [60 + k, 258]]] if k % 4 else "none"
            reply = ask(running.url, "POST", "/api/v1/predict?frame=1", {**DRAWN, "strokes": strokes}, X_Request_ID=f"id-{k}")
            assert reply.headers["X-Request-ID"] == f"id-{k}"
            if k % 4:
                frame = rasterise(clip_strokes([np.array(stroke, float) for stroke in strokes], 300, 300))
                assert (reply.status, reply.json["request_id"]) == (200, f"id-{k}")
                assert reply.json["frame"] == frame.tolist()
                assert reply.json["is_digit_probability"] == pytest.approx(frame.mean() / 255, abs=1e-6)
            else:
                assert (reply.status, reply.json["error"]["request_id"]) == (400, f"id-{k}")

        list(pool.map(one, range(192)))
        assert max(len(from_tensor(each.inputs["images"])) for each in telling.requests if "images" in each.inputs) > 1


def test_a_request_whose_client_has_left_ends(fake: FakeServing, running: Running) -> None:
    assert ask(running.url, "POST", "/api/v1/predict", DRAWN).status == 200
    fake.delay_s = 1.5
    fake.requests.clear()
    body = json.dumps(DRAWN).encode()
    with running.connect() as connection:
        connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        wait_until("it is in flight", lambda: fake.requests)
    wait_until("it has ended", lambda: any('status="499"' in labels for labels in running.samples("gateway_requests_total")))
    assert running.samples("gateway_requests_in_flight") == {"": 0.0}


def test_at_the_limit_of_connections_the_longest_idle_one_makes_room(fake: FakeServing) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))  # inherited: room for 64 connections
    try:
        started = gateway(fake)
        running = started.__enter__()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with ExitStack() as held:
        held.push(started.__exit__)
        idle = [held.enter_context(running.connect()) for _ in range(70)]
        assert ask(running.url, "POST", "/api/v1/predict", DRAWN).status == 200
        for connection in idle[:6]:
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""
        idle[-1].sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle[-1].recv(100).startswith(b"HTTP/1.1 200")


def test_large_bodies_beyond_their_budget_are_refused_at_once_and_small_ones_answered(running: Running) -> None:
    large = POST + b"Content-Length: 8000000\r\n\r\n"
    with ExitStack() as held:
        for _ in range(LARGE_BODIES):
            held.enter_context(running.connect()).sendall(large + b" " * 1000)
        refused = held.enter_context(running.connect())
        refused.sendall(large)
        answer = refused.recv(65536)
        assert answer.startswith(b"HTTP/1.1 429")
        assert b"\r\nretry-after: 1\r\n" in answer.lower()
        assert ask(running.url, "POST", "/api/v1/predict", DRAWN).status == 200
    wait_until("there is room again", lambda: ask(running.url, "POST", "/predict_number/", {"new_data": [0.5] * 10_000}).status == 200)


def test_an_idle_connection_is_kept_as_long_as_the_setting_says(fake: FakeServing) -> None:
    with gateway(fake, KEEP_ALIVE_S="2") as running:
        connection = http.client.HTTPConnection(*running.address, timeout=20)
        connection.connect()
        first = connection.sock
        for _ in range(2):
            connection.request("GET", "/healthz")
            assert connection.getresponse().read()
            time.sleep(0.2)
        assert connection.sock is first
        assert first.recv(1) == b""
        connection.close()


# The management port, the addresses, the end

BLOCKED = """
import asyncio, sys, time
from gateway.server import listen, serve
from gateway.settings import Settings

async def main():
    asyncio.get_running_loop().call_later(1, time.sleep, 4)
    public, management = (listen("127.0.0.1", int(port)) for port in sys.argv[1:])
    await serve(Settings(serving_address="127.0.0.1:1", shutdown_delay_s=0), public, management, stuck_s=2.0)

asyncio.run(main())
"""


def test_healthz_on_the_management_port_is_503_while_the_loop_stands_still() -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/healthz"
    program = subprocess.Popen([sys.executable, "-c", BLOCKED, str(free_port()), str(port)], cwd=stack.ROOT)
    try:
        for status in (200, 503, 200):
            wait_until(f"it is {status}", lambda status=status: stack.get(url)[0] == status)
        program.terminate()
        assert program.wait(20) == 0
    finally:
        program.kill()
        program.wait()


def test_all_addresses_are_ipv6_and_ipv4_on_both_ports(fake: FakeServing) -> None:
    with gateway(fake, HOST="::") as running:
        for address in ("127.0.0.1", "[::1]"):
            assert stack.get(f"http://{address}:{running.address[1]}/readyz")[0] == 200
            assert stack.get(f"http://{address}:{urlsplit(running.management).port}/readyz")[0] == 200


def test_sigterm_under_load_answers_or_refuses_every_connection(fake: FakeServing) -> None:
    """Clients that open a connection for each request, and do not look at /readyz: the listener is closed when it says so."""
    seen: Counter[Any] = Counter()
    over = threading.Event()

    def load(running: Running) -> None:
        while not over.is_set():
            connection = http.client.HTTPConnection(*running.address, timeout=20)
            try:
                connection.connect()
            except ConnectionRefusedError:
                seen["refused"] += 1
                over.wait(0.01)
                continue
            try:
                connection.request("POST", "/api/v1/predict", json.dumps(DRAWN), {"Content-Type": "application/json"})
                seen[connection.getresponse().status] += 1
            except (OSError, http.client.HTTPException) as exc:
                seen[repr(exc)] += 1
            finally:
                connection.close()

    with gateway(fake, SHUTDOWN_DELAY_S="0.3") as running, ThreadPoolExecutor(16) as pool:
        loads = [pool.submit(load, running) for _ in range(16)]
        try:
            wait_until("the load runs", lambda: seen[200] > 100)
            running.program.process.send_signal(signal.SIGTERM)
            assert running.program.process.wait(20) == 0
            wait_until("the port is closed", lambda: seen["refused"] > 0)
        finally:
            over.set()
        for each in loads:
            each.result()
        assert "Traceback" not in running.program.output
    assert set(seen) == {200, "refused"}
