"""The command line of tensorflow_model_server 2.20, as tensorflow/core/util/command_line_flags.h reads it.

`--name=value` only; `--b`, `--b=true|false|1|0` for a bool; the last one wins. An argument that is no flag is named on stdout and otherwise
ignored, as there. A flag of TensorFlow Serving that has no effect on the stand-in is accepted; one that asks for what the stand-in does
not do refuses the start.
"""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

from modelserver.errors import invalid, unimplemented
from modelserver.integers import integer

# Accepted without effect: their values are not looked at.
IGNORED = frozenset({
    "allow_version_labels_for_unavailable_models", "enable_profiler", "flush_filesystem_caches", "num_load_threads", "num_unload_threads",
    "per_process_gpu_memory_fraction", "remove_unused_fields_from_bundle_metagraph", "rest_api_num_threads", "rest_api_timeout_in_ms",
    "xla_cpu_compilation_enabled",
})  # fmt: skip
# Not done here: the start is refused unless the value is empty, false or 0.
REFUSED = frozenset({
    "batching_parameters_file", "enable_batching", "enable_per_model_batching_parameters", "enable_serialization_as_tensor_content",
    "mixed_precision", "model_config_file", "num_request_iterations_for_warmup", "platform_config_file", "prefer_tflite_model",
    "rest_api_enable_cors_support", "saved_model_tags", "ssl_config_file", "tensorflow_session_config_file",
    "tensorflow_session_parallelism", "thread_pool_factory_config_file", "use_alts_credentials", "version",
})  # fmt: skip
_BOOLS = {"true": True, "1": True, "false": False, "0": False}


def _flag(default: Any, text: str, bits: int = 32) -> Any:
    """A flag with the meaning `text`; of an integer, how many bits hold it."""
    return dataclasses.field(default=default, metadata={"text": text, "bits": bits})


@dataclasses.dataclass(frozen=True)
class Flags:
    """What the server was started with: the flags that have an effect."""

    port: int = _flag(8500, "TCP port for gRPC on all interfaces; 0 = none")
    grpc_socket_path: str = _flag("", "also listen for gRPC on this Unix socket")
    rest_api_port: int = _flag(0, "port for REST and metrics on all interfaces; 0 = none")
    model_name: str = _flag("default", "name of the model")
    model_base_path: str = _flag("", "absolute path of the folder that holds the version folders")
    max_num_load_retries: int = _flag(5, "further tries to load a version after the first failed")
    load_retry_interval_micros: int = _flag(60_000_000, "microseconds between two tries", bits=64)
    file_system_poll_wait_seconds: int = _flag(1, "seconds between two looks for versions, at least 1")
    tensorflow_intra_op_parallelism: int = _flag(0, "threads within an operation; 0 = by the CPUs")
    tensorflow_inter_op_parallelism: int = _flag(0, "threads for operations side by side; 0 = by the CPUs, -1 = none")
    grpc_channel_arguments: str = _flag("", "comma-separated key=value for the gRPC server")
    grpc_max_threads: int = _flag(4 * (os.cpu_count() or 1), "one listens, each of the others runs a call; a call too many is refused")
    enable_model_warmup: bool = _flag(True, "replay a version's warm-up requests before it serves")
    monitoring_config_file: str = _flag("", "text MonitoringConfig; Prometheus page on the REST port")
    enable_grpc_healthcheck_service: bool = _flag(False, "the standard gRPC health service")

    def check(self) -> None:
        """StatusError for a start that cannot be."""
        if not self.port and not self.grpc_socket_path:
            raise invalid("At least one of server_options.grpc_port or server_options.grpc_socket_path must be set.")
        if not self.model_base_path.startswith("/"):
            raise invalid(f"--model_base_path={self.model_base_path} found, an absolute path wanted; the stand-in reads no URIs")
        for name in ("grpc_max_threads", "file_system_poll_wait_seconds"):
            if getattr(self, name) < 1:
                raise invalid(f"--{name}={getattr(self, name)} found, at least 1 wanted")


def parse(arguments: Sequence[str]) -> tuple[Flags, list[str]]:
    """(flags, the arguments that are none). StatusError for a value that is not of the flag's type, and for a flag of `REFUSED`."""
    fields = {field.name: field for field in dataclasses.fields(Flags)}
    values: dict[str, Any] = {}
    unknown = []
    for argument in arguments:
        name, equals, text = argument.removeprefix("--").partition("=")
        field = fields.get(name)
        if not argument.startswith("--") or (field and not equals and not isinstance(field.default, bool)):
            unknown.append(argument)
        elif field:
            values[name] = _value(field, text if equals else "true")
        elif name in REFUSED:
            if not equals or text.lower() not in ("", "false", "0"):
                raise unimplemented(f"{argument}: the stand-in for tensorflow_model_server does not do that")
        elif name not in IGNORED:
            unknown.append(argument)
    return Flags(**values), unknown


def _value(field: "dataclasses.Field[Any]", text: str) -> Any:
    if isinstance(field.default, str):
        return text
    is_bool, bits = isinstance(field.default, bool), field.metadata["bits"]
    value = _BOOLS.get(text.lower()) if is_bool else integer(text, bits)
    if value is None:
        raise invalid(f"--{field.name}={text} found, {'true or false' if is_bool else f'an integer of {bits} bits'} wanted")
    return value


def usage() -> str:
    """The flags that have an effect, with their defaults and meanings, one a line."""
    lines = [f"  --{field.name}={field.default!s:<10} {field.metadata['text']}" for field in dataclasses.fields(Flags)]
    return "\n".join(["usage: python -m modelserver [--name=value …]", *lines])
