"""`python -m modelserver --port=8500 --rest_api_port=8501 --model_name=digits --model_base_path=/models/digits`."""

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C and SIGTERM end it at once, as they end a plain program; there is nothing to save

import logging  # noqa: E402
import sys  # noqa: E402

from modelserver import flags, rest, rpc, runtime  # noqa: E402
from modelserver.errors import StatusError  # noqa: E402
from modelserver.metrics import Metrics  # noqa: E402
from modelserver.service import Loader, Service  # noqa: E402
from modelserver.versions import LoadPolicy, Versions  # noqa: E402

log = logging.getLogger("modelserver")


def run(options: flags.Flags) -> None:
    """Serve until the process is ended. StatusError where the server cannot start."""
    options.check()
    runtime.library()  # where it is missing, that is the answer, not a load to try again
    metrics = Metrics()
    iterations = max(1, options.num_request_iterations_for_warmup) if options.enable_model_warmup else 0
    loader = Loader(metrics, options.saved_model_tags.split(","), *options.threads(), iterations)
    policy = LoadPolicy(
        poll_s=options.file_system_poll_wait_seconds,
        load_threads=max(0, options.num_load_threads),
        unload_threads=max(0, options.num_unload_threads),
        max_retries=max(0, options.max_num_load_retries),
        retry_interval_s=options.load_retry_interval_micros / 1e6,
    )
    versions = Versions(options.model_name, options.model_base_path, loader, policy)
    log.info(
        "Building single TensorFlow model file config:  model_name: %s model_base_path: %s", options.model_name, options.model_base_path
    )
    versions.start()
    versions.wait_until_served()
    service = Service(versions, metrics, options.enable_serialization_as_tensor_content)
    addresses = [f"0.0.0.0:{options.port}"] if options.port else []
    if options.grpc_socket_path:
        addresses.append(f"unix:{options.grpc_socket_path}")
    server = rpc.serve(
        service, addresses, max(2, options.grpc_max_threads), options.grpc_channel_arguments, options.enable_grpc_healthcheck_service
    )
    log.info("Running gRPC ModelServer at %s ...", " and ".join(addresses))
    if options.rest_api_port:
        serve_rest(options, service)
    server.wait_for_termination()


def serve_rest(options: flags.Flags, service: Service) -> None:
    """Open the REST port; where it cannot be had, say so and go on without, as TensorFlow Serving does."""
    if options.rest_api_port == options.port:
        log.error(
            "server_options.http_port cannot be same as grpc_port. Please use a different port for HTTP/REST API. "
            "Skipped exporting HTTP/REST API."
        )
        return
    metrics_path = rest.prometheus_path(options.monitoring_config_file) if options.monitoring_config_file else None
    try:
        rest.RestServer(service, options.rest_api_port, metrics_path, options.rest_api_enable_cors_support).serve()
        log.info("Exporting HTTP/REST API at:localhost:%d ...", options.rest_api_port)
    except (OSError, OverflowError) as exc:
        log.error("Failed to start HTTP Server at localhost:%d: %s", options.rest_api_port, exc)


def main(arguments: list[str]) -> int:
    logging.basicConfig(
        format="%(asctime)s.%(msecs)03d: %(levelname).1s %(module)s.py:%(lineno)d] %(message)s", datefmt="%F %T", level=logging.INFO
    )
    program = "python -m modelserver"
    try:
        options, unknown = flags.parse(arguments)
    except flags.UsageError as exc:
        if str(exc):
            log.error("%s", exc)
        sys.stdout.write(flags.usage(program))
        return 255
    if options.version:
        print(f"TensorFlow ModelServer: {runtime.version()} (stand-in of pynumdraw)\nTensorFlow Library: {runtime.version()}")
        return 0
    if unknown:
        print(f"unknown argument: {unknown[0]}\n{flags.usage(program)}", flush=True)
    print(
        "This is pynumdraw's stand-in for tensorflow_model_server, on TensorFlow's C library; it is not TensorFlow Serving.",
        file=sys.stderr,
    )
    try:
        run(options)
    except StatusError as exc:
        print(f"Failed to start server. Error: {exc}", flush=True)
        return 255
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
