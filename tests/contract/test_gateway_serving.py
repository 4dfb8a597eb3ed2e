"""The gateway's client at the wire: a real gRPC server whose replies and failures the test sets."""

import asyncio
import socket
import socketserver
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from gateway.errors import BadModelReply, Busy, GatewayError, ServingTimeout, ServingUnavailable, VersionNotServed
from gateway.reply import Prediction
from gateway.serving import ServedVersion, ServingClient
from gateway.settings import Settings
from pynumdraw.ink import INK_VERSION
from pynumdraw.signature import SIGNATURE_VERSION
from pynumdraw.wire import from_tensor, serving_pb2, to_tensor
from tests.contract.fake_serving import CARD, FakeServing, serve, text, typed
from tests.stack import free_port, wait_until

IMAGE = np.arange(784, dtype=np.uint8).reshape(1, 28, 28)


class Client:
    """The gateway's client as these tests call it: from any thread, each call waited for; its loop has a thread of its own."""

    def __init__(self, settings: Settings, grpc_target: str | None) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._client = self._wait(self._make(settings, grpc_target))

    async def _make(self, settings: Settings, grpc_target: str | None) -> ServingClient:
        return ServingClient(settings, grpc_target)

    def _wait(self, awaited: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(awaited, self._loop).result()

    def predict(self, images: np.ndarray) -> list[Prediction]:
        return self._wait(self._client.predict(images))

    def card(self, version: int | None) -> dict[str, Any]:
        return self._wait(self._client.card(version))

    def versions(self) -> list[ServedVersion]:
        return self._wait(self._client.versions())

    def close(self) -> None:
        self._wait(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@contextmanager
def client(address: str, grpc_target: str | None = None, **settings: Any) -> Iterator[Client]:
    connected = Client(Settings(serving_address=address, **settings), grpc_target)
    try:
        yield connected
    finally:
        connected.close()


def answers(serving: Client, version: int) -> bool:
    """Whether a prediction is had of that version now; False where no server can be reached."""
    try:
        return serving.predict(IMAGE)[0].version == version
    except ServingUnavailable:
        return False


@pytest.fixture
def fake() -> Iterator[FakeServing]:
    with serve(FakeServing()) as running:
        yield running


@pytest.fixture
def serving(fake: FakeServing) -> Iterator[Client]:
    with client(f"127.0.0.1:{fake.port}", predict_timeout_s=5.0) as connected:
        yield connected


# What goes over the wire


def test_predict_sends_the_image_and_reads_the_reply(fake: FakeServing, serving: Client) -> None:
    (prediction,) = serving.predict(IMAGE)
    assert prediction.probabilities == pytest.approx(fake.probabilities)
    assert (prediction.is_digit_probability, prediction.confidence) == pytest.approx((0.998, 0.991))
    assert (prediction.digit, prediction.runner_up, prediction.accepted, prediction.ambiguous) == (7, 0, True, False)
    assert prediction.version == 1
    (request,) = fake.requests  # the card is not asked for
    assert request.model_spec == serving_pb2.ModelSpec(name="digits")  # no version: the newest that is available
    assert set(request.inputs) == {"images"}
    assert (from_tensor(request.inputs["images"]) == IMAGE).all()
    assert request.inputs["images"].dtype == 4  # DT_UINT8
    assert not request.output_filter  # the outputs of any signature come back, and the reply shows which one it is


def test_several_images_are_answered_in_their_order(fake: FakeServing, serving: Client) -> None:
    def number(reply: serving_pb2.PredictResponse) -> None:
        if "is_digit_probability" in reply.outputs:
            reply.outputs["is_digit_probability"].CopyFrom(typed(np.array([0.1, 0.2, 0.3], np.float32)))

    fake.corrupt = number
    predictions = serving.predict(np.repeat(IMAGE, 3, axis=0))
    assert [prediction.is_digit_probability for prediction in predictions] == pytest.approx([0.1, 0.2, 0.3])


def test_the_card_of_a_version_or_of_the_one_that_answers_now(fake: FakeServing, serving: Client) -> None:
    fake.version = 7
    assert serving.card(7) == serving.card(None) == {**CARD, "version": 7}
    count = len(fake.requests)
    with pytest.raises(VersionNotServed, match="version: found 8, which no model server has now"):
        serving.card(8)
    assert len(fake.requests) == count  # requests of clients must not become work for the model servers


def test_the_card_of_a_version_is_found_although_the_first_addresses_do_not_have_it(fake: FakeServing, serving: Client) -> None:
    fake.fails = [grpc.StatusCode.NOT_FOUND] * 3
    assert serving.card(1) == {**CARD, "version": 1}


def test_a_unix_socket_is_an_address_too(tmp_path: Path) -> None:
    with serve(FakeServing(), f"unix:{tmp_path}/serving.sock"), client(f"unix:{tmp_path}/serving.sock") as serving:
        assert serving.predict(IMAGE)[0].version == 1
        assert [row.state for row in serving.versions()] == ["AVAILABLE"]


def test_proxies_of_the_environment_are_not_used_for_the_model(fake: FakeServing, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "grpc_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "no_grpc_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with client(f"127.0.0.1:{fake.port}") as serving:
        assert serving.predict(IMAGE)[0].version == 1
        assert [row.state for row in serving.versions()] == ["AVAILABLE"]


# Replies that are not our model's


def replaced(name: str, tensor: Any) -> Callable[[serving_pb2.PredictResponse], None]:
    def corrupt(reply: serving_pb2.PredictResponse) -> None:
        if name in reply.outputs:
            reply.outputs[name].CopyFrom(tensor)

    return corrupt


def without(name: str) -> Callable[[serving_pb2.PredictResponse], None]:
    def corrupt(reply: serving_pb2.PredictResponse) -> None:
        reply.outputs.pop(name, None)

    return corrupt


def cut(tensor: Any) -> Any:
    tensor.tensor_content = tensor.tensor_content[:-1]
    return tensor


def unknown_rank() -> Any:
    tensor = typed(EVEN)
    tensor.tensor_shape.unknown_rank = True
    return tensor


def huge() -> Any:
    """A tensor of one value whose shape says that it stands for far more than memory holds."""
    tensor = typed(EVEN[:, :1])
    for dim in tensor.tensor_shape.dim:
        dim.size = 10**9
    return tensor


EVEN = np.full((1, 10), 0.1, np.float32)
NAN, NEGATIVE, ABOVE = EVEN.copy(), EVEN.copy(), EVEN.copy()
NAN[0, 3] = np.nan
NEGATIVE[0, :2] = -0.1, 0.3
ABOVE[0, :2] = 1.1, -0.9


def unnamed(reply: serving_pb2.PredictResponse) -> None:
    reply.model_spec.ClearField("version")


SUM = "probabilities are not from 0 to 1 with a sum of 1"
SIGNATURE = "model digits version 1 has another signature: "


def one(value: Any, dtype: Any = np.float32) -> Any:
    return typed(np.array([value], dtype))


BAD_REPLIES = {
    "no version": (unnamed, "names no version"),
    **{f"no {name}": (without(name), f"{SIGNATURE}it answers without {name};") for name in FakeServing().outputs()},
    "nine probabilities": (replaced("probabilities", typed(EVEN[:, :9])), "probabilities is DT_FLOAT[1, 9], wanted DT_FLOAT[1, 10]"),
    "two rows": (replaced("probabilities", typed(np.repeat(EVEN, 2, axis=0))), "probabilities is DT_FLOAT[2, 10]"),
    "a flat row": (replaced("probabilities", typed(EVEN[0])), "probabilities is DT_FLOAT[10]"),
    "whole numbers": (replaced("probabilities", typed(EVEN.astype(np.int64))), "probabilities is DT_INT64[1, 10]"),
    "text": (replaced("probabilities", text("7")), "probabilities is DT_STRING[]"),
    "of unknown rank": (replaced("probabilities", unknown_rank()), "probabilities is DT_FLOAT[of unknown rank]"),
    "far more than was asked": (replaced("probabilities", huge()), "probabilities is DT_FLOAT[1000000000, 1000000000]"),
    "accepted as float": (replaced("accepted", one(1.0)), "accepted is DT_FLOAT[1], wanted DT_BOOL[1]"),
    "digit as int32": (replaced("digit", to_tensor(np.array([7], np.int32))), "digit is DT_INT32[1], wanted DT_INT64[1]"),
    "a scalar": (replaced("confidence", typed(np.array(0.9, np.float32))), "confidence is DT_FLOAT[], wanted DT_FLOAT[1]"),
    "bytes missing": (replaced("probabilities", cut(to_tensor(EVEN))), "probabilities cannot be read"),
    "NaN": (replaced("probabilities", typed(NAN)), SUM),
    "negative": (replaced("probabilities", typed(NEGATIVE)), SUM),
    "above one": (replaced("probabilities", typed(ABOVE)), SUM),
    "all zero": (replaced("probabilities", typed(EVEN * 0)), SUM),
    "a sum of two": (replaced("probabilities", typed(EVEN * 2)), SUM),
    **{
        f"{name} {value}": (replaced(name, one(value)), f"{name} is not from 0 to 1")
        for name in ("is_digit_probability", "confidence")
        for value in (np.inf, np.nan, -0.001, 1.001)
    },
    **{
        f"digit {k}": (replaced("digit", one(k, np.int64)), "digit is not the one with the largest probability")
        for k in (-1, 3, 10, 1 << 62)
    },
    **{f"runner_up {k}": (replaced("runner_up", one(k, np.int64)), "runner_up is not another digit") for k in (-1, 7, 10)},
}


@pytest.mark.parametrize(("corrupt", "message"), BAD_REPLIES.values(), ids=BAD_REPLIES.keys())
def test_a_broken_reply_is_an_error_and_never_a_digit(fake: FakeServing, serving: Client, corrupt: Any, message: str) -> None:
    fake.corrupt = corrupt
    with pytest.raises(BadModelReply) as refused:
        serving.predict(IMAGE)
    assert message in str(refused.value)


def test_a_reply_in_tensor_content_is_read_like_one_in_typed_fields(fake: FakeServing, serving: Client) -> None:
    fake.corrupt = replaced("probabilities", to_tensor(np.array([fake.probabilities], np.float32)))
    assert serving.predict(IMAGE)[0].probabilities == pytest.approx(fake.probabilities)


def test_a_model_of_another_ink_version_is_refused_naming_both(fake: FakeServing, serving: Client) -> None:
    fake.ink_version = INK_VERSION + 1
    for _ in range(2):
        with pytest.raises(
            BadModelReply,
            match=f"model digits version 1 was made for ink version {INK_VERSION + 1}, this gateway draws {INK_VERSION}",
        ):
            serving.predict(IMAGE)


def test_a_model_of_another_signature_is_refused_naming_what_it_lacks(fake: FakeServing, serving: Client) -> None:
    """As the first signature was: it had neither confidence nor digit."""

    def older(reply: serving_pb2.PredictResponse) -> None:
        for name in ("confidence", "digit", "runner_up", "ambiguous", "ink_version"):
            del reply.outputs[name]
        reply.outputs["logits"].CopyFrom(typed(EVEN))

    fake.corrupt = older
    with pytest.raises(BadModelReply) as refused:
        serving.predict(IMAGE)
    assert str(refused.value) == (
        "model digits version 1 has another signature: it answers without confidence, digit, runner_up, ambiguous, ink_version; "
        f"this gateway reads models of signature version {SIGNATURE_VERSION}"
    )


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        pytest.param(None, "card is missing, wanted one text", id="no card"),
        pytest.param(typed(EVEN), "card is DT_FLOAT[1, 10], wanted one text", id="numbers"),
        pytest.param(text("{"), "the model's card is not JSON", id="no JSON"),
    ],
)
def test_a_card_that_cannot_be_read_is_an_error(fake: FakeServing, serving: Client, tensor: Any, message: str) -> None:
    fake.corrupt = without("card") if tensor is None else replaced("card", tensor)
    with pytest.raises(BadModelReply) as refused:
        serving.card(None)
    assert message in str(refused.value)
    assert serving.predict(IMAGE)[0].digit == 7


# Servers that fail


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK], ids=lambda code: code.name)
def test_every_failure_of_the_server_is_translated(fake: FakeServing, serving: Client, code: grpc.StatusCode) -> None:
    fake.always = code
    with pytest.raises(GatewayError) as failed:
        serving.predict(IMAGE)
    assert failed.value.status in (502, 503, 504)
    assert "/secret/path" not in str(failed.value)
    assert "/secret/path" in failed.value.detail


def test_unavailable_is_retried_within_the_deadline(fake: FakeServing, serving: Client) -> None:
    fake.fails = [grpc.StatusCode.UNAVAILABLE] * 3
    assert serving.predict(IMAGE)[0].version == 1


def test_other_failures_are_not_retried(fake: FakeServing, serving: Client) -> None:
    serving.predict(IMAGE)
    fake.requests.clear()
    fake.fails = [grpc.StatusCode.INTERNAL]
    with pytest.raises(BadModelReply):
        serving.predict(IMAGE)
    assert len(fake.requests) == 1


def test_without_a_server_the_error_comes_well_before_the_deadline() -> None:
    with client(f"127.0.0.1:{free_port()}", predict_timeout_s=10.0) as serving:
        began = time.monotonic()
        with pytest.raises(ServingUnavailable, match="no model server can be reached"):
            serving.predict(IMAGE)
        assert time.monotonic() - began < 5


def test_a_name_that_does_not_resolve_is_an_unavailable_server() -> None:
    with client("no-such-host.invalid:8500", predict_timeout_s=3.0) as serving:
        with pytest.raises((ServingUnavailable, ServingTimeout)):
            serving.predict(IMAGE)
        assert serving.versions() == []


@contextmanager
def name_server(known: threading.Event) -> Iterator[int]:
    """The UDP port of a DNS server that has no address for any name until `known` is set, then 127.0.0.1."""

    class Answer(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            query, door = self.request
            end = query.index(b"\0", 12) + 5  # the question: name, type, class
            found = known.is_set() and query[end - 4 : end - 2] == b"\0\1"  # type A
            flags = b"\x81\x80" if known.is_set() else b"\x81\x83"  # NXDOMAIN
            record = b"\xc0\x0c\0\1\0\1" + struct.pack(">IH", 5, 4) + socket.inet_aton("127.0.0.1")
            head = query[:2] + flags + struct.pack(">4H", 1, found, 0, 0)
            door.sendto(head + query[12:end] + (record if found else b""), self.client_address)

    with socketserver.UDPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def test_a_name_that_gets_its_first_address_late_is_found_at_once(fake: FakeServing) -> None:
    """As while the first model is trained: gRPC would look again after pauses that grow to two minutes."""
    known = threading.Event()
    with name_server(known) as port, client("serving.test:1", f"dns://127.0.0.1:{port}/serving.test:{fake.port}") as serving:
        began = time.monotonic()
        while time.monotonic() - began < 6:  # by then the pauses are of three seconds and more
            with pytest.raises(ServingUnavailable):
                serving.predict(IMAGE)
            time.sleep(0.3)
        known.set()
        wait_until("the name is found", lambda: answers(serving, 1), timeout_s=1.5)


def test_a_server_that_comes_back_is_found() -> None:
    port = free_port()
    with client(f"127.0.0.1:{port}") as serving:
        with pytest.raises(ServingUnavailable):
            serving.predict(IMAGE)
        for version in (1, 2):
            with serve(FakeServing(version=version), f"127.0.0.1:{port}"):
                wait_until("the server is found", lambda version=version: answers(serving, version), timeout_s=8)


def test_a_slow_server_times_out_at_the_deadline(fake: FakeServing) -> None:
    fake.delay_s = 1.0
    with client(f"127.0.0.1:{fake.port}", predict_timeout_s=0.3) as serving:
        began = time.monotonic()
        with pytest.raises(ServingTimeout):
            serving.predict(IMAGE)
        assert 0.25 < time.monotonic() - began < 0.9


def test_more_in_flight_than_allowed_is_busy_and_the_rest_are_answered(fake: FakeServing) -> None:
    with client(f"127.0.0.1:{fake.port}", max_in_flight=2, predict_timeout_s=10.0) as serving, ThreadPoolExecutor(2) as pool:
        serving.predict(IMAGE)
        fake.delay_s = 1.0
        fake.requests.clear()
        held = [pool.submit(serving.predict, IMAGE) for _ in range(2)]
        wait_until("two are in flight", lambda: fake.frames_requested() == 2)
        with pytest.raises(Busy):
            serving.predict(IMAGE)
        assert [future.result()[0].version for future in held] == [1, 1]
        fake.delay_s = 0.0
        assert serving.predict(IMAGE)[0].version == 1


def test_a_failed_prediction_is_no_longer_in_flight(fake: FakeServing) -> None:
    with client(f"127.0.0.1:{fake.port}", max_in_flight=1) as serving:
        fake.always = grpc.StatusCode.INTERNAL
        for _ in range(3):
            with pytest.raises(BadModelReply):
                serving.predict(IMAGE)
        fake.always = None
        assert serving.predict(IMAGE)[0].version == 1


# Several addresses, several versions


@contextmanager
def several(*fakes: FakeServing, **settings: Any) -> Iterator[Client]:
    """A client of them all, as gRPC sees a name with several addresses."""
    with ExitStack() as running:
        for fake in fakes:
            running.enter_context(serve(fake))
        targets = "ipv4:" + ",".join(f"127.0.0.1:{fake.port}" for fake in fakes)
        serving = running.enter_context(client("localhost:8500", targets, **settings))
        yield serving


def test_the_addresses_take_turns() -> None:
    fakes = [FakeServing() for _ in range(3)]
    with several(*fakes) as serving:
        wait_until("all are connected", lambda: serving.predict(IMAGE) and all(fake.requests for fake in fakes))
        for fake in fakes:
            fake.requests.clear()
        for _ in range(60):
            serving.predict(IMAGE)
    assert [len(fake.requests) for fake in fakes] == [20, 20, 20]


def test_while_versions_are_mixed_each_answer_names_its_own() -> None:
    fakes = [FakeServing(version=1), FakeServing(version=1), FakeServing(version=1), FakeServing(version=2)]
    with several(*fakes, predict_timeout_s=5.0) as serving:
        wait_until("all are connected", lambda: serving.predict(IMAGE) and all(fake.requests for fake in fakes))
        answers = Counter(serving.predict(IMAGE)[0].version for _ in range(40))
    assert answers == {1: 30, 2: 10}


def test_no_prediction_fails_when_one_of_two_addresses_dies() -> None:
    first, second = FakeServing(version=1), FakeServing(version=2)
    seen: Counter[int] = Counter()
    dead = threading.Event()
    with several(first, second, predict_timeout_s=5.0) as serving, ThreadPoolExecutor(4) as pool:
        wait_until("both are connected", lambda: serving.predict(IMAGE) and first.requests and second.requests)

        def load() -> None:
            while not dead.is_set() or seen[2] < 40:
                seen[serving.predict(IMAGE)[0].version] += 1

        running = [pool.submit(load) for _ in range(4)]
        try:
            wait_until("the load runs", lambda: seen[1] > 20)
            first.stop()
        finally:
            dead.set()
        for future in running:
            future.result()
    assert seen[2] >= 40


class Names(threading.Thread):
    """A name server on 127.0.0.1 whose every name has the IPv4 addresses of the moment."""

    def __init__(self, *addresses: str) -> None:
        super().__init__(daemon=True)
        self.addresses = list(addresses)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.start()

    def run(self) -> None:
        while True:
            query, asker = self.socket.recvfrom(512)
            if not query:
                return
            end = query.index(b"\0", 12) + 5  # the name, its end, type and class
            (kind,) = struct.unpack(">H", query[end - 4 : end - 2])
            found = self.addresses if kind == 1 else []
            head = query[:2] + struct.pack(">HHHHH", 0x8580, 1, len(found), 0, 0)
            rows = [struct.pack(">HHHIH4s", 0xC00C, 1, 1, 0, 4, socket.inet_aton(address)) for address in found]
            self.socket.sendto(head + query[12:end] + b"".join(rows), asker)

    def stop(self) -> None:
        self.socket.sendto(b"", ("127.0.0.1", self.port))
        self.join()
        self.socket.close()


@pytest.mark.skipif(sys.platform != "linux", reason="needs 127.0.0.2 and 127.0.0.3, which only Linux has without set-up")
def test_new_addresses_are_found_and_serve_their_share() -> None:
    """Scale 1 → 3 behind one name: the server ends connections after a while, and then the name is looked up anew."""
    port, names = free_port(), Names("127.0.0.1")
    fakes = [FakeServing() for _ in range(3)]
    target = f"dns://127.0.0.1:{names.port}/serving.test:{port}"
    with ExitStack() as running:
        for k, fake in enumerate(fakes, 1):
            running.enter_context(serve(fake, f"127.0.0.{k}:{port}", max_connection_age_ms=500, max_connection_age_grace_ms=500))
        serving = running.enter_context(client("localhost:8500", target, dns_refresh_s=0.2, predict_timeout_s=5.0))
        serving.predict(IMAGE)
        assert [bool(fake.requests) for fake in fakes] == [True, False, False]
        names.addresses = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
        wait_until("all three serve", lambda: serving.predict(IMAGE) and all(fake.requests for fake in fakes), timeout_s=10)
        for fake in fakes:
            fake.requests.clear()
        for _ in range(300):
            serving.predict(IMAGE)
        assert min(len(fake.requests) for fake in fakes) > 67  # within a third of even
    names.stop()


# What the servers report


@pytest.mark.parametrize(
    ("states", "rows"),
    [
        pytest.param([(3, "AVAILABLE", 0)], [(3, "AVAILABLE", None)], id="one"),
        pytest.param([(4, "LOADING", 0), (3, "AVAILABLE", 0)], [(4, "LOADING", None), (3, "AVAILABLE", None)], id="a new one loads"),
        pytest.param([(4, "END", 5), (3, "AVAILABLE", 0)], [(4, "END", "NOT_FOUND"), (3, "AVAILABLE", None)], id="a new one failed"),
        pytest.param([], [(None, "NO_VERSION", None)], id="none"),
    ],
)
def test_versions_lists_the_states_that_a_server_reports(fake: FakeServing, serving: Client, states: Any, rows: Any) -> None:
    fake.states = states
    assert [(row.version, row.state, row.error) for row in serving.versions()] == rows


def test_an_unreachable_server_is_a_row_that_hides_its_address() -> None:
    port = free_port()
    with client(f"127.0.0.1:{port}") as serving:
        (row,) = serving.versions()
    assert row == ServedVersion(row.address, None, "UNREACHABLE")
    assert len(row.address) == 8
    assert str(port) not in row.address


def test_a_server_that_never_replies_is_unreachable_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute, client(f"127.0.0.1:{mute.getsockname()[1]}") as serving:
        began = time.monotonic()
        assert [row.state for row in serving.versions()] == ["UNREACHABLE"]
        assert time.monotonic() - began < 3


def test_many_requests_for_the_versions_are_one_query(fake: FakeServing, serving: Client) -> None:
    with ThreadPoolExecutor(8) as pool:
        reports = list(pool.map(lambda _: serving.versions(), range(50)))
    assert all(report == reports[0] for report in reports)
    assert fake.reported <= 3
