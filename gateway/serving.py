"""Asking TensorFlow Serving over gRPC: images in, checked predictions out, every failure a GatewayError.

A `Predictor` is what the routes talk to; `Serving` is the real one. Predict is idempotent, so it is tried again on UNAVAILABLE within
its deadline, and the addresses of the serving name take turns (a headless Service: pod share is traffic share).
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

STATUS_TIMEOUT_S = 1.0
STATUS_AGE_S = 1.0  # a report of the versions may be that old: many pages ask, the servers are asked once
RENEW_S = 1.0  # a channel that fails is made anew at most that often
CARD_PAUSE_S = 0.005  # between two tries to reach the one address that has the version
SUM_TOLERANCE = 1e-3  # of ten float32, which may have been rounded on the way
ROUNDING = 4e-7  # of one float32 near 1

_log = logging.getLogger("gateway.serving")


@dataclass(frozen=True)
class Card:
    """What a version of the model says of itself. text: the whole card as the trainer wrote it."""

    version: int
    ink_version: int
    max_confidence: float
    min_pair: float
    text: dict[str, Any]


@dataclass(frozen=True)
class Prediction:
    """One image's answer of one version of the model. probabilities: 10, calibrated. accepted: it is taken for a digit."""

    probabilities: list[float]
    is_digit_probability: float
    accepted: bool
    version: int
    card: Card


@dataclass(frozen=True)
class ServedVersion:
    """A row of the report: address (a short hash), version (None where there is none), state, error code of a version that failed."""

    address: str
    version: int | None
    state: str
    error: str | None = None


class Predictor(Protocol):
    """What the routes need of a model."""

    def predict(self, images: np.ndarray) -> list[Prediction]:
        """uint8[N, 28, 28], 0 paper, 255 ink → N predictions of one version. Raises GatewayError."""

    def card(self, version: int | None) -> Card:
        """The card of a version, of the one that answers now for None. Raises GatewayError."""

    def versions(self) -> list[ServedVersion]:
        """What every address reports. Raises nothing: an address that cannot be asked is a row."""


class Serving:
    """TensorFlow Serving at one name. Safe for many threads."""

    def __init__(self, settings: Settings, grpc_target: str | None = None) -> None:
        """grpc_target: instead of the one that the settings' address gives; for names that only gRPC can resolve."""
        self._address = settings.serving_address
        self._name = settings.model_name
        self._timeout_s = settings.predict_timeout_s
        self._slots = threading.BoundedSemaphore(settings.max_in_flight)
        self._cards: dict[int, Card] = {}
        self._report: tuple[float, list[ServedVersion]] = (-math.inf, [])
        self._report_lock = threading.Lock()
        named = self._address if self._address.startswith("unix:") else f"dns:///{self._address}"  # dns: every address of the name
        self._target, self._options = grpc_target or named, _options(settings)
        self._renewal_lock = threading.Lock()
        self._connect()

    def close(self) -> None:
        """End the connections; requests in flight are cancelled."""
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
            request = serving_pb2.PredictRequest(model_spec=model_spec(self._name), output_filter=_WANTED)
            request.inputs["images"].CopyFrom(to_tensor(images))
            while True:
                reply = self._ask(request, deadline)
                card = self._card_of(reply.model_spec.version.value, deadline)
                if card is not None:
                    return _predictions(reply, len(images), card)
        finally:
            self._slots.release()

    def card(self, version: int | None) -> Card:
        """The card of a version, of the one that answers now for None. Raises GatewayError."""
        deadline = time.monotonic() + self._timeout_s
        if version is None:
            card = _card(self._ask(serving_pb2.PredictRequest(model_spec=model_spec(self._name, signature_name="card")), deadline))
            return self._cards.setdefault(card.version, card)
        known = self._cards.get(version)
        if known is None and any(row.version == version and row.state == "AVAILABLE" for row in self.versions()):
            known = self._find_card(version, deadline)
        if known is None:
            raise VersionNotServed(f"version: found {version}, which no model server has now")
        return known

    def versions(self) -> list[ServedVersion]:
        """What every address of the serving name reports, at most `STATUS_AGE_S` old."""
        with self._report_lock:
            taken_at, rows = self._report
            if time.monotonic() - taken_at >= STATUS_AGE_S:
                rows = _ask_all(_addresses(self._address), self._name)
                self._report = (time.monotonic(), rows)
            return rows

    def _ask(self, request: serving_pb2.PredictRequest, deadline: float) -> serving_pb2.PredictResponse:
        try:
            return self._send(request, deadline)
        except grpc.RpcError as exc:
            raise translate(exc) from exc

    def _send(self, request: serving_pb2.PredictRequest, deadline: float) -> serving_pb2.PredictResponse:
        """The reply; where no server can be had, over a new channel if there may be one. Raises grpc.RpcError, ServingTimeout."""
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise ServingTimeout(f"no model server answered within {self._timeout_s:g} s")
        call = self._call
        try:
            return call(request, timeout=left_s)
        except grpc.RpcError as exc:
            if exc.code() is not grpc.StatusCode.UNAVAILABLE or not self._renewed(call):
                raise
            unavailable = exc
        try:
            return self._call(request, timeout=max(0.0, deadline - time.monotonic()))
        except grpc.RpcError as exc:
            raise unavailable if exc.code() is grpc.StatusCode.DEADLINE_EXCEEDED else exc  # noqa: B904

    def _renewed(self, call: Any) -> bool:
        """Whether there is another channel than that of this call, which failed; it is made unless this one is young.

        A name that had no address (while the first model is trained, say) is looked up by a channel again after ever longer pauses, up to
        two minutes, and nothing can shorten them (gRPC's DNS resolver); a new channel looks at once.
        """
        with self._renewal_lock:
            if self._call is call:
                if time.monotonic() - self._connected_at < RENEW_S:
                    return False
                later = threading.Timer(self._timeout_s, self._channel.close)  # others may still wait for an answer on it
                later.daemon = True
                later.start()
                self._connect()
            return True

    def _card_of(self, version: int, deadline: float) -> Card | None:
        """The card of the version that answered; None where that version has gone since. Raises BadModelReply for one we cannot use."""
        if version < 1:
            raise BadModelReply("the model's reply was refused: it names no version")
        card = self._cards.get(version)
        if card is None:
            now = time.monotonic()
            card = self._find_card(version, now + (deadline - now) / 2)
        if card is not None and card.ink_version != INK_VERSION:
            made_for = f"version {version} was made for ink version {card.ink_version}"
            raise BadModelReply(f"model {self._name} {made_for}, this gateway draws {INK_VERSION}")
        return card

    def _find_card(self, version: int, deadline: float) -> Card | None:
        """Read the card of a version. During a roll not every address has it, and they take turns: so ask until one does."""
        request = serving_pb2.PredictRequest(model_spec=model_spec(self._name, version, "card"))
        while deadline > time.monotonic():
            try:
                card = _card(self._send(request, deadline))
            except grpc.RpcError as exc:
                if exc.code() is not grpc.StatusCode.NOT_FOUND:
                    raise translate(exc) from exc
                time.sleep(CARD_PAUSE_S)
            else:
                _log.info("read the card of model %s version %d", self._name, version)
                return self._cards.setdefault(version, card)
        return None


_WANTED = ("probabilities", "is_digit_probability", "accepted")


def _options(settings: Settings) -> list[tuple[str, Any]]:
    """How the channel behaves."""
    retry = {"maxAttempts": 5, "initialBackoff": "0.02s", "maxBackoff": "0.5s", "backoffMultiplier": 3}
    retry["retryableStatusCodes"] = ["UNAVAILABLE", "CANCELLED"]  # by the server, as one that is stopped does: we cancel nothing
    predict = {"name": [{"service": "tensorflow.serving.PredictionService"}], "retryPolicy": retry}
    service_config = {"loadBalancingConfig": [{"round_robin": {}}], "methodConfig": [predict]}
    return [
        ("grpc.service_config", json.dumps(service_config)),
        ("grpc.service_config_disable_resolution", 1),  # no TXT look-ups beside the addresses
        ("grpc.dns_min_time_between_resolutions_ms", round(settings.dns_refresh_s * 1000)),  # 30 s by default: longer than a pod's drain
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 1000),  # also how long a connection may take to come about
        ("grpc.max_reconnect_backoff_ms", 2000),  # 120 s by default: a server that is back would not be found
        ("grpc.keepalive_time_ms", 310_000),  # a server with gRPC's defaults closes on those who ping more often than every 300 s
        ("grpc.keepalive_timeout_ms", 5_000),  # with keepalive on, Linux gives a silent connection up after that (TCP_USER_TIMEOUT)
        ("grpc.max_receive_message_length", 16 * 1024 * 1024),  # 4 MB by default
        ("grpc.enable_http_proxy", 0),  # the model is near; $http_proxy is for the world outside
    ]


_STATUS_ERRORS: dict[grpc.StatusCode, tuple[type[GatewayError], str]] = {
    grpc.StatusCode.UNAVAILABLE: (ServingUnavailable, "no model server can be reached; the model may still be loading or training"),
    grpc.StatusCode.NOT_FOUND: (ServingUnavailable, "the model server has no version of the model yet"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (ServingUnavailable, "the model server has more to do than it can take"),
    grpc.StatusCode.ABORTED: (ServingUnavailable, "the model server gave the request up"),
    grpc.StatusCode.CANCELLED: (ServingUnavailable, "the request to the model server was cancelled"),
    grpc.StatusCode.DEADLINE_EXCEEDED: (ServingTimeout, "the model server did not answer in time"),
}
_OTHER_ERROR = (BadModelReply, "the model server refused the request; the model does not fit this gateway or is broken")


def translate(exc: grpc.RpcError) -> GatewayError:
    """A failed call as the error that the caller sees; what the server said is its detail, for the log."""
    kind, message = _STATUS_ERRORS.get(exc.code(), _OTHER_ERROR)
    return kind(message, detail=f"{exc.code().name}: {exc.details()}")


def _predictions(reply: serving_pb2.PredictResponse, count: int, card: Card) -> list[Prediction]:
    """The predictions in a reply, each number checked: a broken reply must never become a digit. Raises BadModelReply."""
    rows = _output(reply, "probabilities", (count, 10), "f")
    chances = _output(reply, "is_digit_probability", (count,), "f")
    accepted = _output(reply, "accepted", (count,), "b")
    for row, chance in zip(rows, chances, strict=True):
        if not (min(row) >= 0 and abs(sum(row) - 1) <= SUM_TOLERANCE and max(row) <= 1 + ROUNDING):  # NaN is none of it
            raise BadModelReply("the model's reply was refused: probabilities are not from 0 to 1 with a sum of 1", detail=f"{row}")
        if not 0 <= chance <= 1 + ROUNDING:
            raise BadModelReply("the model's reply was refused: is_digit_probability is not from 0 to 1", detail=f"{chance}")
    return [Prediction(row, chance, taken, card.version, card) for row, chance, taken in zip(rows, chances, accepted, strict=True)]


def _output(reply: serving_pb2.PredictResponse, name: str, shape: tuple[int, ...], kind: str) -> list[Any]:
    """An output in the shape wanted, of floats (kind "f") or of yes and no ("b")."""
    if name not in reply.outputs:
        raise BadModelReply(f"the model's reply was refused: it has no output {name}", detail=f"outputs {sorted(reply.outputs)}")
    try:
        values = from_tensor(reply.outputs[name])
    except (ValueError, TypeError) as exc:
        raise BadModelReply(f"the model's reply was refused: {name} cannot be read", detail=str(exc)) from exc
    if values.shape != shape or values.dtype.kind != kind:
        raise BadModelReply(f"the model's reply was refused: {name} is {values.dtype}{list(values.shape)}, wanted {kind}{list(shape)}")
    return values.tolist()


def _card(reply: serving_pb2.PredictResponse) -> Card:
    """The card in a reply of the signature `card`. Raises BadModelReply."""
    try:
        (text,) = from_tensor(reply.outputs["card"]).ravel()
        fields = json.loads(text)
        ambiguous = fields["ambiguous"]
        version, ink_version = reply.model_spec.version.value, int(fields["ink_version"])
        return Card(version, ink_version, float(ambiguous["max_confidence"]), float(ambiguous["min_pair"]), fields)
    except (ValueError, TypeError, KeyError) as exc:
        raise BadModelReply("the model's card cannot be read; it was not made by our trainer", detail=repr(exc)) from exc


def _addresses(address: str) -> list[str]:
    """gRPC targets of every address that a serving address resolves to now.

    TensorFlow Serving listens on IPv4 alone, so IPv6 addresses count only where the name has no others.
    """
    if address.startswith("unix:"):
        return [address]
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except OSError as exc:
        _log.warning("the serving address %s does not resolve: %s", address, exc)
        return []
    four = sorted({f"ipv4:{where[0]}:{port}" for family, _, _, _, where in found if family is socket.AF_INET})
    return four or sorted({f"ipv6:[{where[0]}]:{port}" for family, _, _, _, where in found if family is socket.AF_INET6})


def _ask_all(addresses: list[str], name: str) -> list[ServedVersion]:
    """What each address says of the model's versions; all are asked at the same time."""
    request = serving_pb2.GetModelStatusRequest(model_spec=model_spec(name))
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    rows: list[ServedVersion] = []
    with contextlib.ExitStack() as channels:
        asked = []
        for address in addresses:
            channel = channels.enter_context(grpc.insecure_channel(address, options=options))
            ask = channel.unary_unary(GET_MODEL_STATUS, type(request).SerializeToString, serving_pb2.GetModelStatusResponse.FromString)
            asked.append((hashlib.sha256(address.encode()).hexdigest()[:8], ask.future(request, timeout=STATUS_TIMEOUT_S)))
        for short, future in asked:
            rows.extend(_rows(short, future))
    return rows


def _rows(address: str, future: Any) -> list[ServedVersion]:
    try:
        status = future.result()
    except grpc.RpcError as exc:
        reached = exc.code() is grpc.StatusCode.NOT_FOUND  # it answers, and has no version of this model
        return [ServedVersion(address, None, "NO_VERSION" if reached else "UNREACHABLE")]
    state, code = serving_pb2.ModelVersionStatus.State, serving_pb2.Code
    return [
        ServedVersion(address, row.version, state.Name(row.state), code.Name(row.status.error_code) if row.status.error_code else None)
        for row in status.model_version_status
    ]
