"""The client of TensorFlow Serving over gRPC: images in, checked predictions out, every failure a GatewayError.

`Predictor` is the interface that the rest of the gateway uses, `ServingClient` its implementation. Predict is idempotent, so it is retried
on UNAVAILABLE until its deadline. Requests go round robin to all addresses of the serving name, so with a headless Service each pod gets
an equal share.
"""

import asyncio
import contextlib
import hashlib
import json
import logging
import math
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import grpc
import grpc.aio
import numpy as np

from gateway.batching import Batcher
from gateway.errors import BadModelReply, Busy, GatewayError, ServingTimeout, ServingUnavailable, VersionNotServed
from gateway.settings import Settings
from pynumdraw.ink import INK_VERSION
from pynumdraw.wire import GET_MODEL_STATUS, PREDICT, from_tensor, model_spec, serving_pb2, tensor_pb2, to_tensor

STATUS_TIMEOUT_S = 1.0  # for an address to report its versions; arbitrary, one that is alive reports within milliseconds
STATUS_CACHE_S = 1.0  # a report is reused for that long, however many pages ask; arbitrary
RECONNECT_INTERVAL_S = 1.0  # least time between two new channels; arbitrary, bounds the work while no server is there
CARD_RETRY_S = 0.005  # between two tries to reach an address that has the version; arbitrary, a few round trips
SUM_TOLERANCE = 1e-3  # of the sum of ten float32 probabilities; arbitrary, far above rounding
ROUNDING = 4e-7  # of a float32 near 1: a few units in the last place
CARD_DEPTH = 32  # of the arrays and objects in a card; arbitrary, ours has four
MAX_ATTEMPTS = 5  # of a prediction; gRPC allows no more

_log = logging.getLogger("gateway.serving")
Reply = TypeVar("Reply")


@dataclass(frozen=True)
class Card:
    """The model card of a version. max_confidence, min_pair: of an ambiguous answer. raw: the whole card as the trainer wrote it."""

    version: int
    ink_version: int
    max_confidence: float
    min_pair: float
    raw: dict[str, Any]


@dataclass(frozen=True)
class Prediction:
    """A version's prediction for one image. probabilities: 10, calibrated, given that it is a digit. accepted: it is taken for a digit."""

    probabilities: list[float]
    is_digit_probability: float
    accepted: bool
    version: int
    card: Card


@dataclass(frozen=True)
class ServedVersion:
    """A version that an address reports. address: a short hash. version: None for none. error: gRPC code of a version that failed."""

    address: str
    version: int | None
    state: str
    error: str | None = None


class Predictor(Protocol):
    """The interface to a served model, as a request's code calls it."""

    def check_room(self) -> None:
        """Raises Busy where no drawing can be read now: to be asked before any work is done for one."""

    def predict(self, images: np.ndarray) -> list[Prediction]:
        """uint8[N, 28, 28], 0 paper, 255 ink → N predictions of one version. Raises GatewayError."""

    def card(self, version: int | None) -> Card:
        """The card of a version; of a version that is served now for None. Raises GatewayError."""

    def versions(self) -> list[ServedVersion]:
        """The versions that every address reports. Raises nothing: an unreachable address is a row of its own."""


class ServingClient:
    """A client of TensorFlow Serving at one name, for the event loop that it is made in."""

    def __init__(self, settings: Settings, grpc_target: str | None = None) -> None:
        """grpc_target: the target of the channel, by default made from `settings.serving_address`."""
        self._address = settings.serving_address
        self._name = settings.model_name
        self._timeout_s = settings.predict_timeout_s
        self._free = settings.max_in_flight  # drawings that may still come
        self._cards: dict[int, Card] = {}
        self._report: tuple[float, list[ServedVersion]] = (-math.inf, [])
        self._shared: dict[Any, asyncio.Future[Any]] = {}  # calls that are out, by what they ask for
        self._lookup: asyncio.Future[Any] | None = None
        default_target = self._address if self._address.startswith("unix:") else f"dns:///{self._address}"  # dns: all addresses of the name
        self._target, self._options = grpc_target or default_target, _channel_options(settings)
        self._batcher = Batcher(self._predict)
        self._closing: set[asyncio.Task[None]] = set()
        self._connect()

    async def close(self) -> None:
        """Close the connections; requests in flight are cancelled."""
        await self._channel.close(None)

    def _connect(self) -> None:
        self._channel = grpc.aio.insecure_channel(self._target, options=self._options)
        request, reply = serving_pb2.PredictRequest, serving_pb2.PredictResponse
        self._call = self._channel.unary_unary(PREDICT, request.SerializeToString, reply.FromString)
        self._connected_at = time.monotonic()

    def check_room(self, drawings: int = 1) -> None:
        """Raises Busy where so many drawings more would be too many at a time."""
        if drawings > self._free:
            raise Busy("as many drawings are being read as this gateway allows at a time; try again shortly")

    async def predict(self, images: np.ndarray) -> list[Prediction]:
        """uint8[N, 28, 28], 0 paper, 255 ink → N predictions of one version. Raises GatewayError."""
        self.check_room(len(images))
        self._free -= len(images)
        try:
            return await self._batcher.predict(images, time.monotonic() + self._timeout_s)
        finally:
            self._free += len(images)

    async def _predict(self, images: np.ndarray, deadline: float) -> list[Prediction | BadModelReply]:
        """One call: uint8[N, 28, 28] → for each image its prediction, or what is wrong with it. Raises GatewayError."""
        request = serving_pb2.PredictRequest(model_spec=model_spec(self._name), output_filter=_OUTPUTS)
        request.inputs["images"].CopyFrom(to_tensor(images))
        while True:
            reply = await self._call_translated(request, deadline)
            card = await self._usable_card(reply.model_spec.version.value, deadline)
            if card is not None:
                return _predictions(reply, len(images), card)

    async def card(self, version: int | None) -> Card:
        """The card of a version; of a version that is served now for None. Raises GatewayError."""
        cached = None if version is None else self._cards.get(version)
        return cached if cached is not None else await self._share(("card", version), lambda: self._read_card(version))

    async def _read_card(self, version: int | None) -> Card:
        deadline = time.monotonic() + self._timeout_s
        if version is None:
            request = serving_pb2.PredictRequest(model_spec=model_spec(self._name, signature_name="card"))
            card = _parse_card(await self._call_translated(request, deadline))
            return self._cards.setdefault(card.version, card)
        found = None
        if any(row.version == version and row.state == "AVAILABLE" for row in await self.versions()):
            found = await self._fetch_card(version, deadline)
        if found is None:
            raise VersionNotServed(f"version: found {version}, which no model server has now")
        return found

    async def versions(self) -> list[ServedVersion]:
        """The versions that every address of the serving name reports, at most `STATUS_CACHE_S` old."""
        reported_at, rows = self._report
        if time.monotonic() - reported_at >= STATUS_CACHE_S:
            rows = await self._share("versions", self._query_versions)
        return rows

    async def _query_versions(self) -> list[ServedVersion]:
        addresses = await self._resolve()
        reports = await asyncio.gather(*(_query_status(address, self._name) for address in addresses))
        self._report = (time.monotonic(), [row for rows in reports for row in rows])
        return self._report[1]

    async def _share(self, key: Any, call: Callable[[], Coroutine[Any, Any, Reply]]) -> Reply:
        """The reply of a call that many may want at the same time: one is made for all, and goes on for the others when one leaves."""
        if key not in self._shared:
            self._shared[key] = asyncio.ensure_future(call())
            self._shared[key].add_done_callback(lambda _: self._shared.pop(key))
        return await asyncio.shield(self._shared[key])

    async def _resolve(self) -> list[str]:
        """The gRPC targets of all addresses that the serving address resolves to now; of IPv4 where it has any, so that each server is one.

        A look-up that takes longer than `STATUS_TIMEOUT_S` has failed; it is not begun again before it has ended.
        """
        if self._address.startswith("unix:"):
            return [self._address]
        host, _, port = self._address.rpartition(":")
        if self._lookup is None or self._lookup.done():
            self._lookup = _look_up(host.strip("[]"), int(port))
        try:
            records = await asyncio.wait_for(asyncio.shield(self._lookup), STATUS_TIMEOUT_S)
        except (OSError, TimeoutError) as exc:
            _log.warning("the serving address %s does not resolve: %s", self._address, exc or "no answer in time")
            return []
        ipv4 = sorted({f"ipv4:{sockaddr[0]}:{port}" for family, _, _, _, sockaddr in records if family is socket.AF_INET})
        return ipv4 or sorted({f"ipv6:[{sockaddr[0]}]:{port}" for family, _, _, _, sockaddr in records if family is socket.AF_INET6})

    async def _call_translated(self, request: serving_pb2.PredictRequest, deadline: float) -> serving_pb2.PredictResponse:
        """The reply. Raises GatewayError."""
        try:
            return await self._send(request, deadline)
        except grpc.RpcError as exc:
            raise translate(exc) from exc

    async def _send(self, request: serving_pb2.PredictRequest, deadline: float) -> serving_pb2.PredictResponse:
        """The reply; where no server is reachable, by a second try over a new channel. Raises grpc.RpcError, ServingTimeout."""
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            raise ServingTimeout(f"no model server answered within {self._timeout_s:g} s")
        call = self._call
        try:
            return await call(request, timeout=remaining_s)
        except grpc.RpcError as exc:
            if exc.code() is not grpc.StatusCode.UNAVAILABLE or not self._reconnect(call):
                raise
            unavailable = exc
        try:
            return await self._call(request, timeout=max(0.0, deadline - time.monotonic()))
        except grpc.RpcError as exc:
            raise unavailable if exc.code() is grpc.StatusCode.DEADLINE_EXCEEDED else exc  # noqa: B904

    def _reconnect(self, call: Any) -> bool:
        """Replace the channel of a call that failed, unless that channel is new; whether the client now has another channel.

        A channel looks up a name without an address (while the first model is trained, say) again after growing pauses of up to two
        minutes, and no option of gRPC's DNS resolver shortens them. A new channel looks the name up at once.
        """
        if self._call is call:
            if time.monotonic() - self._connected_at < RECONNECT_INTERVAL_S:
                return False
            closing = asyncio.ensure_future(self._channel.close(self._timeout_s))  # other calls may still wait for their reply on it
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            self._connect()
        return True

    async def _usable_card(self, version: int, deadline: float) -> Card | None:
        """The card of the version that replied; None where it is no longer served. Raises BadModelReply for a misfit."""
        if version < 1:
            raise BadModelReply("the model's reply was refused: it names no version")
        card = self._cards.get(version)
        if card is None:
            now = time.monotonic()
            card = await self._fetch_card(version, now + (deadline - now) / 2)
        if card is not None and card.ink_version != INK_VERSION:
            raise BadModelReply(
                f"model {self._name} version {version} was made for ink version {card.ink_version}, this gateway draws {INK_VERSION}"
            )
        return card

    async def _fetch_card(self, version: int, deadline: float) -> Card | None:
        """Fetch the card of a version; None where no address has it. During a rollout only some do, so try until the deadline."""
        request = serving_pb2.PredictRequest(model_spec=model_spec(self._name, version, "card"))
        while deadline > time.monotonic():
            try:
                card = _parse_card(await self._send(request, deadline))
            except grpc.RpcError as exc:
                if exc.code() is not grpc.StatusCode.NOT_FOUND:
                    raise translate(exc) from exc
                await asyncio.sleep(CARD_RETRY_S)
            else:
                _log.info("fetched the card of model %s version %d", self._name, version)
                return self._cards.setdefault(version, card)
        return None


_OUTPUTS = ("probabilities", "is_digit_probability", "accepted")


def _channel_options(settings: Settings) -> list[tuple[str, Any]]:
    """gRPC's options for the channel. Where no reason is given, the value is arbitrary."""
    retry = {"maxAttempts": MAX_ATTEMPTS, "initialBackoff": "0.02s", "maxBackoff": "0.5s", "backoffMultiplier": 3}
    retry["retryableStatusCodes"] = ["UNAVAILABLE", "CANCELLED"]  # a server that stops cancels its requests; the gateway cancels none
    predict = {"name": [{"service": "tensorflow.serving.PredictionService"}], "retryPolicy": retry}
    service_config = {"loadBalancingConfig": [{"round_robin": {}}], "methodConfig": [predict]}
    return [
        ("grpc.service_config", json.dumps(service_config)),
        ("grpc.service_config_disable_resolution", 1),  # no look-ups of TXT records
        ("grpc.dns_min_time_between_resolutions_ms", round(settings.dns_refresh_s * 1000)),  # 30 s by default: longer than a pod's drain
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 1000),  # also the time that connecting may take
        ("grpc.max_reconnect_backoff_ms", 2000),  # 120 s by default, too late to find a server that is back
        ("grpc.keepalive_time_ms", 310_000),  # by default a server closes connections that ping more often than every 300 s
        ("grpc.keepalive_timeout_ms", 5_000),  # Linux also closes a connection without acknowledgements after that (TCP_USER_TIMEOUT)
        ("grpc.max_receive_message_length", 16 * 1024 * 1024),  # 4 MB by default; arbitrary
        ("grpc.enable_http_proxy", 0),  # $http_proxy is for addresses outside of the cluster
    ]


_STATUS_ERRORS: dict[grpc.StatusCode, tuple[type[GatewayError], str]] = {
    grpc.StatusCode.UNAVAILABLE: (ServingUnavailable, "no model server can be reached; the model may still be loading or training"),
    grpc.StatusCode.NOT_FOUND: (ServingUnavailable, "the model server has no version of the model yet"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (ServingUnavailable, "the model server is overloaded"),
    grpc.StatusCode.ABORTED: (ServingUnavailable, "the model server aborted the request"),
    grpc.StatusCode.CANCELLED: (ServingUnavailable, "the request to the model server was cancelled"),
    grpc.StatusCode.DEADLINE_EXCEEDED: (ServingTimeout, "the model server did not answer in time"),
}
_OTHER_ERROR = (BadModelReply, "the model server refused the request; the model is broken or does not fit this gateway")


def translate(exc: grpc.RpcError) -> GatewayError:
    """The GatewayError for a failed call. Its detail, for the log, is the server's message."""
    error, message = _STATUS_ERRORS.get(exc.code(), _OTHER_ERROR)
    return error(message, detail=f"{exc.code().name}: {exc.details()}")


def _predictions(reply: serving_pb2.PredictResponse, count: int, card: Card) -> list[Prediction | BadModelReply]:
    """The predictions in a reply, each number checked: a broken reply must never become a digit.

    What is wrong with one image stands in its place; raises BadModelReply for what is wrong with all.
    """
    rows = _output(reply, "probabilities", tensor_pb2.DT_FLOAT, (count, 10))
    digit_probabilities = _output(reply, "is_digit_probability", tensor_pb2.DT_FLOAT, (count,))
    accepted = _output(reply, "accepted", tensor_pb2.DT_BOOL, (count,))
    return [_prediction(rows[10 * k : 10 * k + 10], digit_probabilities[k], accepted[k], card) for k in range(count)]


def _prediction(row: list[float], digit_probability: float, accepted: bool, card: Card) -> Prediction | BadModelReply:
    if not (min(row) >= 0 and abs(sum(row) - 1) <= SUM_TOLERANCE and max(row) <= 1 + ROUNDING):  # NaN fails each comparison
        return BadModelReply("the model's reply was refused: probabilities are not from 0 to 1 with a sum of 1", detail=f"{row}")
    if not 0 <= digit_probability <= 1 + ROUNDING:
        return BadModelReply("the model's reply was refused: is_digit_probability is not from 0 to 1", detail=f"{digit_probability}")
    return Prediction(row, digit_probability, accepted, card.version, card)


_VALUES = {tensor_pb2.DT_FLOAT: "float_val", tensor_pb2.DT_BOOL: "bool_val"}


def _output(reply: serving_pb2.PredictResponse, name: str, dtype: Any, shape: tuple[int, ...]) -> list[Any]:
    """An output's values in one row, of the type and shape wanted; both are checked before a value is read. Raises BadModelReply."""
    if name not in reply.outputs:
        raise BadModelReply(f"the model's reply was refused: it has no output {name}", detail=f"outputs {sorted(reply.outputs)}")
    tensor = reply.outputs[name]
    found = tuple(dim.size for dim in tensor.tensor_shape.dim)
    if tensor.dtype != dtype or found != shape or tensor.tensor_shape.unknown_rank:
        wanted = f"{tensor_pb2.DataType.Name(dtype)}{list(shape)}"
        raise BadModelReply(f"the model's reply was refused: {name} is {_type_name(tensor.dtype)}{list(found)}, wanted {wanted}")
    values = list(getattr(tensor, _VALUES[dtype]))  # as TensorFlow Serving replies; much faster than by way of an array
    if len(values) == math.prod(shape) and not tensor.tensor_content:
        return values
    try:
        return from_tensor(tensor).ravel().tolist()
    except (ValueError, TypeError) as exc:
        raise BadModelReply(f"the model's reply was refused: {name} cannot be read", detail=str(exc)) from exc


def _type_name(number: int) -> str:
    return tensor_pb2.DataType.Name(number) if number in tensor_pb2.DataType.values() else f"type {number}"


def _parse_card(reply: serving_pb2.PredictResponse) -> Card:
    """The card in a reply of the signature `card`. Raises BadModelReply."""
    try:
        tensor = reply.outputs["card"]
        if tensor.dtype != tensor_pb2.DT_STRING or math.prod(dim.size for dim in tensor.tensor_shape.dim) != 1:
            raise ValueError(f"card is {_type_name(tensor.dtype)}, wanted one text")
        (text,) = from_tensor(tensor).ravel()
        fields = json.loads(text)
        if _depth(fields) > CARD_DEPTH:
            raise ValueError(f"card is nested more than {CARD_DEPTH} deep")
        ambiguous = fields["ambiguous"]
        version, ink_version = reply.model_spec.version.value, int(fields["ink_version"])
        return Card(version, ink_version, float(ambiguous["max_confidence"]), float(ambiguous["min_pair"]), fields)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as exc:
        raise BadModelReply("the model's card cannot be read; it was not made by our trainer", detail=repr(exc)[:500]) from exc


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)


def _look_up(host: str, port: int) -> "asyncio.Future[Any]":
    """What socket.getaddrinfo returns, from a thread that does not keep the process from ending, however long it takes."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    future.add_done_callback(lambda done: done.exception())  # it may fail when nobody waits any more

    def settle(records: Any, exc: OSError | None) -> None:
        future.set_result(records) if exc is None else future.set_exception(exc)

    def look_up() -> None:
        records, failure = None, None
        try:
            records = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as exc:
            failure = exc
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, records, failure)

    threading.Thread(target=look_up, name="look-up", daemon=True).start()
    return future


async def _query_status(address: str, name: str) -> list[ServedVersion]:
    """The versions that an address reports."""
    request, short = serving_pb2.GetModelStatusRequest(model_spec=model_spec(name)), hashlib.sha256(address.encode()).hexdigest()[:8]
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        query = channel.unary_unary(GET_MODEL_STATUS, type(request).SerializeToString, serving_pb2.GetModelStatusResponse.FromString)
        try:
            reply = await query(request, timeout=STATUS_TIMEOUT_S)
        except grpc.RpcError as exc:
            has_no_version = exc.code() is grpc.StatusCode.NOT_FOUND
            return [ServedVersion(short, None, "NO_VERSION" if has_no_version else "UNREACHABLE")]
    state, code = serving_pb2.ModelVersionStatus.State, serving_pb2.Code
    return [
        ServedVersion(short, row.version, _name_of(state, row.state), _name_of(code, failed) if (failed := row.status.error_code) else None)
        for row in reply.model_version_status
    ]


def _name_of(enum: Any, number: int) -> str:
    """The name of an enum's value; a server may be newer than our messages."""
    return str(enum.Name(number)) if number in enum.values() else f"UNKNOWN_{number}"
