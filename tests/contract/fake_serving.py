"""A model server whose replies the test sets: real gRPC on a real port, so that the gateway's client is tested at the wire."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np

from pynumdraw.ink import INK_VERSION
from pynumdraw.signature import SIGNATURE_VERSION
from pynumdraw.wire import from_tensor, serving_pb2, tensor_pb2, to_tensor

CARD = {
    "model": "digits",
    "signature_version": SIGNATURE_VERSION,
    "ink_version": INK_VERSION,
    "recipe": "tiny",
    "threshold": 0.6,
    "prior": 0.8,
    "prior_shift": "its odds * odds(that share) / odds(prior)",
    "ambiguous": {"max_probability": 0.8, "min_pair": 0.95},
    "metrics": {
        "n": 10,
        "accuracy": 0.9,
        "nll": 0.03,
        "ece": 0.002,
        "ece_floor": 0.001,
        "errors_by_digit": [0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        "validation_accuracy": 0.95,
    },
    "reliability": [{"low": 0.0, "high": 1.0, "count": 10, "confidence": 0.9, "accuracy": 0.9}],
    "mixes": [{"non_digit_share": 0.2, "digits": 10, "non_digits": 2, "ece": 0.01, "ece_interval": [0.005, 0.02], "nll": 0.05}],
    "confidence_histogram": {"edges": [0.0, 1.0], "counts": [10]},
}
"""Every field that is published of a card, but for `version`."""


def typed(array: np.ndarray) -> tensor_pb2.TensorProto:
    """An array as TensorFlow Serving replies with it: in the typed field, every element written."""
    tensor = to_tensor(array)
    values, tensor.tensor_content = array.ravel().tolist(), b""
    getattr(tensor, {"f": "float_val", "b": "bool_val", "i": "int64_val"}[array.dtype.kind]).extend(values)
    return tensor


def text(value: str) -> tensor_pb2.TensorProto:
    """A scalar string."""
    return tensor_pb2.TensorProto(dtype=tensor_pb2.DT_STRING, tensor_shape=tensor_pb2.TensorShapeProto(), string_val=[value.encode()])


@dataclass
class FakeServing:
    """What the server replies. Fields may change while it runs; `requests` are those received."""

    version: int = 1
    probabilities: list[float] = field(default_factory=lambda: [0.001] * 7 + [0.993] + [0.0] * 2)
    is_digit_probability: float = 0.998
    confidence: float = 0.991
    digit: int = 7
    runner_up: int = 0
    accepted: bool = True
    ambiguous: bool = False
    ink_version: int = INK_VERSION
    card: dict[str, Any] = field(default_factory=lambda: dict(CARD))
    delay_s: float = 0.0
    fails: list[grpc.StatusCode] = field(default_factory=list)  # taken one a call, the first first
    always: grpc.StatusCode | None = None
    corrupt: Callable[[serving_pb2.PredictResponse], None] | None = None
    states: list[tuple[int, str, int]] | None = None  # version, state, error code
    requests: list[serving_pb2.PredictRequest] = field(default_factory=list)
    reported: int = 0
    port: int = 0
    stop: Callable[[], None] = lambda: None

    def frames_requested(self) -> int:
        """How many frames the requests seen had together: a gateway puts those that wait at the same time into one."""
        return sum(len(from_tensor(request.inputs["images"])) for request in self.requests if "images" in request.inputs)

    def outputs(self) -> dict[str, np.ndarray]:
        """What `serving_default` replies about one frame."""
        return {
            "probabilities": np.array(self.probabilities, np.float32),
            **{name: np.float32(getattr(self, name)) for name in ("is_digit_probability", "confidence")},
            **{name: np.int64(getattr(self, name)) for name in ("digit", "runner_up", "ink_version")},
            **{name: np.bool_(getattr(self, name)) for name in ("accepted", "ambiguous")},
        }

    def predict(self, request: serving_pb2.PredictRequest, context: grpc.ServicerContext) -> serving_pb2.PredictResponse:
        self.requests.append(request)
        if self.always is not None or self.fails:
            context.abort(self.always or self.fails.pop(0), "set to fail; /secret/path")
        if self.delay_s:
            time.sleep(self.delay_s)
        spec = request.model_spec
        if spec.HasField("version") and spec.version.value != self.version:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: Specific({spec.name}, {spec.version.value})")
        reply = serving_pb2.PredictResponse()
        reply.model_spec.name = spec.name
        reply.model_spec.version.value = self.version
        reply.model_spec.signature_name = spec.signature_name or "serving_default"
        if spec.signature_name == "card":
            reply.outputs["card"].CopyFrom(text(json.dumps({**self.card, "version": self.version})))
        else:
            count = len(from_tensor(request.inputs["images"]))
            for name, value in self.outputs().items():
                reply.outputs[name].CopyFrom(typed(np.array([value] * count, value.dtype)))
        if self.corrupt is not None:
            self.corrupt(reply)
        return reply

    def status(self, request: serving_pb2.GetModelStatusRequest, context: grpc.ServicerContext) -> serving_pb2.GetModelStatusResponse:
        self.reported += 1
        reply = serving_pb2.GetModelStatusResponse()
        states = [(self.version, "AVAILABLE", 0)] if self.states is None else self.states
        if not states:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {request.model_spec.name}")
        for version, state, code in states:
            row = reply.model_version_status.add(version=version, state=serving_pb2.ModelVersionStatus.State.Value(state))
            row.status.error_code = code  # type: ignore[assignment]
        return reply


@contextmanager
def serve(fake: FakeServing, address: str = "127.0.0.1:0", **arguments: int) -> Iterator[FakeServing]:
    """Run it on an address until the block ends. arguments: gRPC channel arguments of the server, without "grpc."."""
    options = [("grpc.so_reuseport", 0), *((f"grpc.{name}", value) for name, value in arguments.items())]
    server = grpc.server(futures.ThreadPoolExecutor(16), options=options)
    predict = grpc.unary_unary_rpc_method_handler(
        fake.predict, serving_pb2.PredictRequest.FromString, serving_pb2.PredictResponse.SerializeToString
    )
    status = grpc.unary_unary_rpc_method_handler(
        fake.status, serving_pb2.GetModelStatusRequest.FromString, serving_pb2.GetModelStatusResponse.SerializeToString
    )
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", {"Predict": predict}),
            grpc.method_handlers_generic_handler("tensorflow.serving.ModelService", {"GetModelStatus": status}),
        )
    )
    fake.port = server.add_insecure_port(address)
    server.start()
    fake.stop = lambda: bool(server.stop(0).wait())  # type: ignore[assignment]
    try:
        yield fake
    finally:
        server.stop(0).wait()
