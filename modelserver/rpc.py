"""The gRPC side: Predict and GetModelStatus on a TCP port, a Unix socket or both, and on request the standard health service.

tensorflow_serving/model_servers/{server,prediction_service_impl,model_service_impl,grpc_status_util}.cc
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from modelserver.errors import StatusError, invalid
from modelserver.integers import integer
from modelserver.service import Service
from pynumdraw.wire import GET_MODEL_STATUS, PREDICT, serving_pb2

INT32_MAX = 2**31 - 1
MAX_MESSAGE = 1024  # characters of an error; TensorFlow Serving cuts there too, for the sake of limits on headers
_CODES = {code.value[0]: code for code in grpc.StatusCode}


def channel_arguments(text: str) -> dict[str, int | str]:
    """The options in `k=v,k=v`; a value that reads as a 32-bit integer is one."""
    options: dict[str, int | str] = {}
    for entry in filter(None, text.split(",")):
        key, equals, value = entry.partition("=")
        if not equals:
            raise invalid(f"--grpc_channel_arguments: {entry!r} found, key=value wanted")
        number = integer(value, bits=32)
        options[key] = value if number is None else number
    return options


def timeout_ms(remaining_s: float | None) -> int:
    """What is left of a call's deadline, as RunOptions.timeout_in_ms.

    Where the call has none, gRPC says None or, lately, 9e18 s; TensorFlow Serving then sets the longest limit, 24.8 days.
    """
    return INT32_MAX if remaining_s is None else int(max(0.0, min(remaining_s * 1000, float(INT32_MAX))))


def _handler(call: Callable[[Any, grpc.ServicerContext], Message], request: type[Message]) -> grpc.RpcMethodHandler:
    """The call as gRPC's handler: a StatusError becomes the gRPC status of the same number."""

    def behave(message: Any, context: grpc.ServicerContext) -> Message:
        try:
            return call(message, context)
        except StatusError as exc:
            return context.abort(_CODES[exc.code], exc.message[:MAX_MESSAGE])

    return grpc.unary_unary_rpc_method_handler(behave, request.FromString, lambda reply: reply.SerializeToString())


def serve(service: Service, addresses: list[str], max_threads: int, arguments: str = "", with_health: bool = False) -> grpc.Server:
    """Listen on every address, `host:port` or `unix:path`, and answer. StatusError where one cannot be had.

    max_threads: one of them always listens, so `max_threads - 1` calls run at once and one more is refused with RESOURCE_EXHAUSTED.
    Two servers on one port would answer in turns; gRPC allows that by default, we only when the arguments ask for it.
    """
    defaults = {"grpc.so_reuseport": 0, "grpc.max_receive_message_length": INT32_MAX, "grpc.max_send_message_length": -1}
    options = list((defaults | channel_arguments(arguments)).items())
    server = grpc.server(ThreadPoolExecutor(max_threads, "grpc"), options=options, maximum_concurrent_rpcs=max_threads - 1)
    predict = _handler(lambda request, context: service.predict(request, timeout_ms(context.time_remaining())), serving_pb2.PredictRequest)
    status = _handler(lambda request, _: service.status(request.model_spec), serving_pb2.GetModelStatusRequest)
    for path, handler in {PREDICT: predict, GET_MODEL_STATUS: status}.items():
        _, name, method = path.split("/")
        server.add_registered_method_handlers(name, {method: handler})  # type: ignore[attr-defined]  # the stubs are older than it
    if with_health:
        servicer = health.HealthServicer()
        for name in ("ModelService", "PredictionService"):  # besides "": TensorFlow Serving's names, not the services' full ones
            servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    for address in addresses:
        try:
            server.add_insecure_port(address)
        except RuntimeError as exc:
            raise invalid("Failed to BuildAndStart gRPC server") from exc
    server.start()
    return server
