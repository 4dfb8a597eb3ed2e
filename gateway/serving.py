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
from gateway.card import parse_card
from gateway.errors import BadModelReply, Busy, GatewayError, ServingTimeout, ServingUnavailable, VersionNotServed
from gateway.reply import Prediction, parse_predictions, parse_text
from gateway.settings import Settings
from pynumdraw.wire import GET_MODEL_STATUS, PREDICT, model_spec, serving_pb2, to_tensor

STATUS_TIMEOUT_S = 1.0  # for an address to report its versions; arbitrary, one that is alive reports within milliseconds
STATUS_CACHE_S = 1.0  # a report is reused for that long, however many pages ask; arbitrary
RECONNECT_INTERVAL_S = 1.0  # least time between two new channels; arbitrary, bounds the work while no server is there
CARD_RETRY_S = 0.005  # between two tries to reach an address that has the version; arbitrary, a few round trips
MAX_ATTEMPTS = 5  # of a prediction; gRPC allows no more

_log = logging.getLogger("gateway.serving")
Reply = TypeVar("Reply")


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

    def card(self, version: int | None) -> dict[str, Any]:
        """The fields of a version's card; of a version that is served now for None. Raises GatewayError."""

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
        request = serving_pb2.PredictRequest(model_spec=model_spec(self._name))  # without a filter, so that any signature gives a reply
        request.inputs["images"].CopyFrom(to_tensor(images))
        return parse_predictions(await self._call_translated(request, deadline), self._name, len(images))

    async def card(self, version: int | None) -> dict[str, Any]:
        """The fields of a version's card; of a version that is served now for None. Raises GatewayError."""
        return await self._share(("card", version), lambda: self._read_card(version))

    async def _read_card(self, version: int | None) -> dict[str, Any]:
        """During a rollout only some addresses have a version, and the next one is asked each time, so try until the deadline."""
        deadline = time.monotonic() + self._timeout_s
        is_served = version is None or any(row.version == version and row.state == "AVAILABLE" for row in await self.versions())
        request = serving_pb2.PredictRequest(model_spec=model_spec(self._name, version, "card"))
        while is_served and deadline > time.monotonic():
            try:
                reply = await self._send(request, deadline)
            except grpc.RpcError as exc:
                if version is None or exc.code() is not grpc.StatusCode.NOT_FOUND:
                    raise translate(exc) from exc
                await asyncio.sleep(CARD_RETRY_S)
            else:
                return parse_card(parse_text(reply, "card"), reply.model_spec.version.value)
        raise VersionNotServed(f"version: found {version}, which no model server has now")

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
