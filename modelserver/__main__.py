"""`python -m modelserver --port=8500 --rest_api_port=8501 --model_name=digits --model_base_path=/models/digits`."""

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C and SIGTERM end it at once, as they end a plain program; there is nothing to save

import logging  # noqa: E402
import sys  # noqa: E402
from functools import partial  # noqa: E402

from modelserver import flags, predict, rest, rpc, runtime  # noqa: E402
from modelserver.errors import StatusError  # noqa: E402
from modelserver.service import Service  # noqa: E402
from modelserver.versions import Versions  # noqa: E402

log = logging.getLogger("modelserver")


def run(options: flags.Flags) -> None:
    """Serve until the process is ended. StatusError where the server cannot start."""
    options.check()
    log.info("TensorFlow %s", runtime.library().TF_Version().decode())  # without the library, no load is worth a try
    threads = options.tensorflow_intra_op_parallelism, options.tensorflow_inter_op_parallelism
    load = partial(predict.load, threads=threads, with_warm_up=options.enable_model_warmup)
    retries, retry_s = max(0, options.max_num_load_retries), options.load_retry_interval_micros / 1e6
    versions = Versions(options.model_name, options.model_base_path, load, options.file_system_poll_wait_seconds, retries, retry_s)
    versions.start()
    versions.wait_until_served()
    service = Service(versions)
    addresses = [f"0.0.0.0:{options.port}"] if options.port else []
    if options.grpc_socket_path:
        addresses.append(f"unix:{options.grpc_socket_path}")
    arguments, with_health = options.grpc_channel_arguments, options.enable_grpc_healthcheck_service
    server = rpc.serve(service, addresses, options.grpc_max_threads, arguments, with_health)
    log.info("Running gRPC ModelServer at %s ...", " and ".join(addresses))
    if options.rest_api_port:
        serve_rest(options, service)
    server.wait_for_termination()


def serve_rest(options: flags.Flags, service: Service) -> None:
    """Open the REST port; where that cannot be, log why and go on without it, as TensorFlow Serving does."""
    try:
        metrics_path = rest.prometheus_path(options.monitoring_config_file) if options.monitoring_config_file else None
        rest.serve(service, options.rest_api_port, metrics_path)
        log.info("Exporting HTTP/REST API at:localhost:%d ...", options.rest_api_port)
    except (StatusError, OSError, OverflowError) as exc:
        log.error("Failed to start HTTP Server at localhost:%d: %s", options.rest_api_port, exc)


def main(arguments: list[str]) -> int:
    """Read the command line and serve. Returns 255 for --help and where the server cannot start, as TensorFlow Serving does."""
    logging.basicConfig(format="%(asctime)s: %(levelname).1s %(module)s.py:%(lineno)d] %(message)s", level=logging.INFO)
    if "--help" in arguments:
        print(flags.usage())
        return 255
    log.info("This is pynumdraw's stand-in for tensorflow_model_server, on TensorFlow's C library; it is not TensorFlow Serving.")
    try:
        options, unknown = flags.parse(arguments)
        if unknown:
            print(f"unknown argument: {unknown[0]}; --help lists the flags", flush=True)
        run(options)
    except StatusError as exc:
        print(f"Failed to start server. Error: {exc}", flush=True)
        return 255
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
