"""The client of TensorFlow Serving over gRPC: images in, checked predictions out, every failure a GatewayError.

`Predictor` is the interface that the rest of the gateway uses, `ServingClient` its implementation. Predict is idempotent, so it is retried
on UNAVAILABLE until its deadline. Requests go round robin to all addresses of the serving name, so with a headless Service each pod gets
an equal share.
"""

import contextlib
import hashlib
import json
import logging
import math
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
import numpy as np

from gateway.errors import BadModelReply, Busy, GatewayError, ServingTimeout, ServingUnavailable, VersionNotServed
from gateway.settings import Settings
from pynumdraw.ink import INK_VERSION
from pynumdraw.wire import GET_MODEL_STATUS, PREDICT, from_tensor, model_spec, serving_pb2, to_tensor

STATUS_TIMEOUT_S = 1.0  # for an address to report its versions; arbitrary, one that is alive reports within milliseconds
STATUS_CACHE_S = 1.0  # a report is reused for that long, however many pages ask; arbitrary
RECONNECT_INTERVAL_S = 1.0  # least time between two new channels; arbitrary, bounds the work while no server is there
CARD_RETRY_S = 0.005  # between two tries to reach an address that has the version; arbitrary, a few round trips
SUM_TOLERANCE = 1e-3  # of the sum of ten float32 probabilities; arbitrary, far above rounding
ROUNDING = 4e-7  # of a float32 near 1: a few units in the last place
MAX_ATTEMPTS = 5  # of a prediction; gRPC allows no more

_log = logging.getLogger("gateway.serving")


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
    """The interface to a served model."""

    def predict(self, images: np.ndarray) -> list[Prediction]:
        """uint8[N, 28, 28], 0 paper, 255 ink → N predictions of one version. Raises GatewayError."""

    def card(self, version: int | None) -> Card:
        """The card of a version; of a version that is served now for None. Raises GatewayError."""

    def versions(self) -> list[ServedVersion]:
        """The versions that every address reports. Raises nothing: an unreachable address is a row of its own."""


class ServingClient:
    """A client of TensorFlow Serving at one name. Thread-safe."""

    def __init__(self, settings: Settings, grpc_target: str | None = None) -> None:
        """grpc_target: the target of the channel, by default made from `settings.serving_address`."""
        self._address = settings.serving_address
        self._name = settings.model_name
        self._timeout_s = settings.predict_timeout_s
        self._slots = threading.BoundedSemaphore(settings.max_in_flight)
        self._cards: dict[int, Card] = {}
        self._report: tuple[float, list[ServedVersion]] = (-math.inf, [])
        self._report_lock = threading.Lock()
        default_target = self._address if self._address.startswith("unix:") else f"dns:///{self._address}"  # dns: all addresses of the name
        self._target, self._options = grpc_target or default_target, _channel_options(settings)
        self._reconnect_lock = threading.Lock()
        self._connect()

    def close(self) -> None:
        """Close the connections; requests in flight are cancelled."""
        self._channel.close()

    def _connect(self) -> None:
        self._channel = grpc.insecure_channel(self._target, options=self._options)
        request, reply = serving_pb2.PredictRequest, serving_pb2.PredictResponse
        self._call = self._channel.unary_unary(PREDICT, request.SerializeToString, reply.FromString)
        self._connected_at = time.monotonic()

    def predict(self, images: np.ndarray) -> list[Prediction]:
        """uint8[N, 28, 28], 0 paper, 255 ink → N predictions of one version. Raises GatewayError."""
        if not self._slots.acquire(blocking=False):
            raise Busy("as many drawings are being read as this gateway allows at a time; try again shortly")
        try:
            deadline = time.monotonic() + self._timeout_s
            request = serving_pb2.PredictRequest(model_spec=model_spec(self._name), output_filter=_OUTPUTS)
            request.inputs["images"].CopyFrom(to_tensor(images))
            while True:
                reply = self._call_translated(request, deadline)
                card = self._usable_card(reply.model_spec.version.value, deadline)
                if card is not None:
                    return _predictions(reply, len(images), card)
        finally:
            self._slots.release()

    def card(self, version: int | None) -> Card:
        """The card of a version; of a version that is served now for None. Raises GatewayError."""
        deadline = time.monotonic() + self._timeout_s
        if version is None:
            request = serving_pb2.PredictRequest(model_spec=model_spec(self._name, signature_name="card"))
            card = _parse_card(self._call_translated(request, deadline))
            return self._cards.setdefault(card.version, card)
        cached = self._cards.get(version)
        if cached is None and any(row.version == version and row.state == "AVAILABLE" for row in self.versions()):
            cached = self._fetch_card(version, deadline)
        if cached is None:
            raise VersionNotServed(f"version: found {version}, which no model server has now")
        return cached

    def versions(self) -> list[ServedVersion]:
        """The versions that every address of the serving name reports, at most `STATUS_CACHE_S` old."""
        with self._report_lock:
            reported_at, rows = self._report
            if time.monotonic() - reported_at >= STATUS_CACHE_S:
                rows = _query_all(_resolve(self._address), self._name)
                self._report = (time.monotonic(), rows)
            return rows

    def _call_translated(self, request: serving_pb2.PredictRequest, deadline: float) -> serving_pb2.PredictResponse:
        """The reply. Raises GatewayError."""
        try:
            return self._send(request, deadline)
        except grpc.RpcError as exc:
            raise translate(exc) from exc

    def _send(self, request: serving_pb2.PredictRequest, deadline: float) -> serving_pb2.PredictResponse:
        """The reply; where no server is reachable, by a second try over a new channel. Raises grpc.RpcError, ServingTimeout."""
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            raise ServingTimeout(f"no model server answered within {self._timeout_s:g} s")
        call = self._call
        try:
            return call(request, timeout=remaining_s)
        except grpc.RpcError as exc:
            if exc.code() is not grpc.StatusCode.UNAVAILABLE or not self._reconnect(call):
                raise
            unavailable = exc
        try:
            return self._call(request, timeout=max(0.0, deadline - time.monotonic()))
        except grpc.RpcError as exc:
            raise unavailable if exc.code() is grpc.StatusCode.DEADLINE_EXCEEDED else exc  # noqa: B904

    def _reconnect(self, call: Any) -> bool:
        """Replace the channel of a call that failed, unless that channel is new; whether the client now has another channel.

        A channel looks up a name without an address (while the first model is trained, say) again after growing pauses of up to two
        minutes, and no option of gRPC's DNS resolver shortens them. A new channel looks the name up at once.
        """
        with self._reconnect_lock:
            if self._call is call:
                if time.monotonic() - self._connected_at < RECONNECT_INTERVAL_S:
                    return False
                timer = threading.Timer(self._timeout_s, self._channel.close)  # other calls may still wait for their reply on it
                timer.daemon = True
                timer.start()
                self._connect()
            return True

    def _usable_card(self, version: int, deadline: float) -> Card | None:
        """The card of the version that replied; None where it is no longer served. Raises BadModelReply for a misfit."""
        if version < 1:
            raise BadModelReply("the model's reply was refused: it names no version")
        card = self._cards.get(version)
        if card is None:
            now = time.monotonic()
            card = self._fetch_card(version, now + (deadline - now) / 2)
        if card is not None and card.ink_version != INK_VERSION:
            raise BadModelReply(
                f"model {self._name} version {version} was made for ink version {card.ink_version}, this gateway draws {INK_VERSION}"
            )
        return card

    def _fetch_card(self, version: int, deadline: float) -> Card | None:
        """Fetch the card of a version; None where no address has it. During a rollout only some do, so try until the deadline."""
        request = serving_pb2.PredictRequest(model_spec=model_spec(self._name, version, "card"))
        while deadline > time.monotonic():
            try:
                card = _parse_card(self._send(request, deadline))
            except grpc.RpcError as exc:
                if exc.code() is not grpc.StatusCode.NOT_FOUND:
                    raise translate(exc) from exc
                time.sleep(CARD_RETRY_S)
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


def _predictions(reply: serving_pb2.PredictResponse, count: int, card: Card) -> list[Prediction]:
    """The predictions in a reply. Every number is checked, so that a broken reply never becomes a digit. Raises BadModelReply."""
    rows = _output(reply, "probabilities", (count, 10), "f")
    digit_probabilities = _output(reply, "is_digit_probability", (count,), "f")
    accepted = _output(reply, "accepted", (count,), "b")
    for row, digit_probability in zip(rows, digit_probabilities, strict=True):
        if not (min(row) >= 0 and abs(sum(row) - 1) <= SUM_TOLERANCE and max(row) <= 1 + ROUNDING):  # NaN fails each comparison
            raise BadModelReply("the model's reply was refused: probabilities are not from 0 to 1 with a sum of 1", detail=f"{row}")
        if not 0 <= digit_probability <= 1 + ROUNDING:
            raise BadModelReply("the model's reply was refused: is_digit_probability is not from 0 to 1", detail=f"{digit_probability}")
    columns = zip(rows, digit_probabilities, accepted, strict=True)
    return [Prediction(row, probability, is_accepted, card.version, card) for row, probability, is_accepted in columns]


def _output(reply: serving_pb2.PredictResponse, name: str, shape: tuple[int, ...], kind: str) -> list[Any]:
    """An output as nested lists. shape, kind: of the array wanted; kind "f" is float, "b" bool. Raises BadModelReply."""
    if name not in reply.outputs:
        raise BadModelReply(f"the model's reply was refused: it has no output {name}", detail=f"outputs {sorted(reply.outputs)}")
    try:
        values = from_tensor(reply.outputs[name])
    except (ValueError, TypeError) as exc:
        raise BadModelReply(f"the model's reply was refused: {name} cannot be read", detail=str(exc)) from exc
    if values.shape != shape or values.dtype.kind != kind:
        raise BadModelReply(f"the model's reply was refused: {name} is {values.dtype}{list(values.shape)}, wanted {kind}{list(shape)}")
    return values.tolist()


def _parse_card(reply: serving_pb2.PredictResponse) -> Card:
    """The card in a reply of the signature `card`. Raises BadModelReply."""
    try:
        (text,) = from_tensor(reply.outputs["card"]).ravel()
        fields = json.loads(text)
        ambiguous = fields["ambiguous"]
        version, ink_version = reply.model_spec.version.value, int(fields["ink_version"])
        return Card(version, ink_version, float(ambiguous["max_confidence"]), float(ambiguous["min_pair"]), fields)
    except (ValueError, TypeError, KeyError) as exc:
        raise BadModelReply("the model's card cannot be read; it was not made by our trainer", detail=repr(exc)) from exc


def _resolve(address: str) -> list[str]:
    """The gRPC targets of all addresses that a serving address resolves to now.

    TensorFlow Serving listens on IPv4 only, so IPv6 addresses are used only where the name has no others.
    """
    if address.startswith("unix:"):
        return [address]
    host, _, port = address.rpartition(":")
    try:
        records = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except OSError as exc:
        _log.warning("the serving address %s does not resolve: %s", address, exc)
        return []
    ipv4 = sorted({f"ipv4:{sockaddr[0]}:{port}" for family, _, _, _, sockaddr in records if family is socket.AF_INET})
    return ipv4 or sorted({f"ipv6:[{sockaddr[0]}]:{port}" for family, _, _, _, sockaddr in records if family is socket.AF_INET6})


def _query_all(addresses: list[str], name: str) -> list[ServedVersion]:
    """The versions that each address reports; all addresses are queried at the same time."""
    request = serving_pb2.GetModelStatusRequest(model_spec=model_spec(name))
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    rows: list[ServedVersion] = []
    with contextlib.ExitStack() as channels:
        pending = []
        for address in addresses:
            channel = channels.enter_context(grpc.insecure_channel(address, options=options))
            query = channel.unary_unary(GET_MODEL_STATUS, type(request).SerializeToString, serving_pb2.GetModelStatusResponse.FromString)
            pending.append((hashlib.sha256(address.encode()).hexdigest()[:8], query.future(request, timeout=STATUS_TIMEOUT_S)))
        for short, future in pending:
            rows.extend(_status_rows(short, future))
    return rows


def _status_rows(address: str, future: Any) -> list[ServedVersion]:
    """The report of one address. address: its short hash. future: of a GetModelStatusResponse."""
    try:
        status = future.result()
    except grpc.RpcError as exc:
        has_no_version = exc.code() is grpc.StatusCode.NOT_FOUND
        return [ServedVersion(address, None, "NO_VERSION" if has_no_version else "UNREACHABLE")]
    state, code = serving_pb2.ModelVersionStatus.State, serving_pb2.Code
    return [
        ServedVersion(address, row.version, state.Name(row.state), code.Name(row.status.error_code) if row.status.error_code else None)
        for row in status.model_version_status
    ]
