"""The gRPC side: PredictionService and ModelService on a TCP port, a Unix socket or both, and on request the standard health service.

tensorflow_serving/model_servers/{server,prediction_service_impl,model_service_impl,grpc_status_util}.cc
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf.message import Message

from modelserver.errors import StatusError, invalid, unimplemented
from modelserver.integers import integer
from modelserver.service import Service
from pynumdraw.wire import runtime_pb2, serving_pb2

INT32_MAX = 2**31 - 1
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_HEALTHY = ("", "ModelService", "PredictionService")  # the names that TensorFlow Serving sets, not the services' full ones


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


def serve(service: Service, addresses: list[str], max_threads: int, arguments: str = "", health: bool = False) -> grpc.Server:
    """Listen on every address, `host:port` or `unix:path`, and answer. StatusError where one cannot be had.

    max_threads: one of them always listens, so `max_threads - 1` calls run at once and one more is refused, as by TensorFlow Serving.
    Two servers on one port would answer in turns; gRPC allows that unless told otherwise, we only when the arguments ask for it.
    """
    defaults = {"grpc.so_reuseport": 0, "grpc.max_receive_message_length": INT32_MAX, "grpc.max_send_message_length": -1}
    server = grpc.server(ThreadPoolExecutor(max_threads, "grpc"), options=list((defaults | channel_arguments(arguments)).items()))
    slots = threading.Semaphore(max(1, max_threads - 1))

    def handler(call: Callable[[Any, grpc.ServicerContext], Message], request: type[Message]) -> grpc.RpcMethodHandler:
        """The call as gRPC's handler: within its slot, a StatusError turned into the gRPC status of the same number."""

        def behave(message: Any, context: grpc.ServicerContext) -> Message:
            if not slots.acquire(blocking=False):
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted")
            try:
                return call(message, context)
            except StatusError as exc:
                return context.abort(_CODES[exc.code], exc.wire_message())
            finally:
                slots.release()

        return grpc.unary_unary_rpc_method_handler(behave, request.FromString, lambda reply: reply.SerializeToString())

    def predict(request: serving_pb2.PredictRequest, context: grpc.ServicerContext) -> Message:
        remaining_s = context.time_remaining()
        with service.metrics.call(request.model_spec.name, "Predict", "GRPC"):
            return service.predict(request, 0 if remaining_s is None else int(remaining_s * 1000))

    def refuse(method: str) -> grpc.RpcMethodHandler:
        def call(_request: Message, _context: grpc.ServicerContext) -> Message:
            raise unimplemented(
                f"{method} is not done by the stand-in for tensorflow_model_server; wanted Predict, GetModelMetadata, GetModelStatus"
            )

        return handler(call, serving_pb2.OtherLog)

    services = {
        "tensorflow.serving.PredictionService": {
            "Predict": handler(predict, serving_pb2.PredictRequest),
            "GetModelMetadata": handler(lambda request, _: service.metadata(request), serving_pb2.GetModelMetadataRequest),
            **{method: refuse(method) for method in ("Classify", "Regress", "MultiInference")},
        },
        "tensorflow.serving.ModelService": {
            "GetModelStatus": handler(lambda request, _: service.status(request), serving_pb2.GetModelStatusRequest),
            "HandleReloadConfigRequest": refuse("HandleReloadConfigRequest"),
        },
    }
    if health:
        services["grpc.health.v1.Health"] = {"Check": handler(_check, runtime_pb2.HealthCheckRequest), "Watch": _watch_handler()}
    for name, methods in services.items():
        server.add_registered_method_handlers(name, methods)  # type: ignore[attr-defined]  # the stubs are older than it
    for address in addresses:
        try:
            server.add_insecure_port(address)
        except RuntimeError as exc:
            raise invalid("Failed to BuildAndStart gRPC server") from exc
    server.start()
    return server


def _check(request: runtime_pb2.HealthCheckRequest, _context: grpc.ServicerContext) -> Message:
    if request.service not in _HEALTHY:
        raise StatusError(serving_pb2.NOT_FOUND, "")
    return runtime_pb2.HealthCheckResponse(status=runtime_pb2.HealthCheckResponse.SERVING)


def _watch_handler() -> grpc.RpcMethodHandler:
    """Health's Watch: the state once, then an open stream, for it never changes. It holds no thread."""

    def watch(request: runtime_pb2.HealthCheckRequest, _context: grpc.ServicerContext, send: Callable[[Message], None]) -> None:
        known = request.service in _HEALTHY
        send(runtime_pb2.HealthCheckResponse(status="SERVING" if known else "SERVICE_UNKNOWN"))

    watch.experimental_non_blocking = True  # type: ignore[attr-defined]  # as grpcio-health-checking does
    return grpc.unary_stream_rpc_method_handler(watch, runtime_pb2.HealthCheckRequest.FromString, lambda reply: reply.SerializeToString())
