"""The command line of tensorflow_model_server: every flag of its 2.20, with its type and default.

Syntax of tensorflow/core/util/command_line_flags.h: `--name=value` only; `--b`, `--b=true|false|1|0` for a bool; the last one wins. An
argument that is no flag is named on stdout and otherwise ignored, as there. A flag that asks for what the stand-in does
not do refuses the start.
"""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

from modelserver.errors import invalid, unimplemented
from modelserver.integers import integer

_BITS = {"int32": 32, "int64": 64}
_BOOLS = {"true": True, "1": True, "false": False, "0": False}
_IGNORED = "(accepted, without effect here) "
_REFUSED = "(refused here) "


def _flag(kind: str, default: Any, text: str) -> Any:
    return dataclasses.field(default=default, metadata={"kind": kind, "text": text})


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclasses.dataclass(frozen=True)
class Flags:
    """What the server was started with."""

    port: int = _flag("int32", 8500, "TCP port for gRPC on 0.0.0.0; 0 = none")
    grpc_socket_path: str = _flag("string", "", "also listen for gRPC on this Unix socket")
    rest_api_port: int = _flag("int32", 0, "port for REST and metrics; 0 = none")
    rest_api_num_threads: int = _flag("int32", 4 * _cpus(), _IGNORED + "threads for REST; there is one for each connection")
    rest_api_timeout_in_ms: int = _flag("int32", 30000, _IGNORED + "limit of a REST predict, which is not done")
    rest_api_enable_cors_support: bool = _flag("bool", False, "let pages of other origins read the REST answers")
    enable_batching: bool = _flag("bool", False, _REFUSED + "run requests together")
    allow_version_labels_for_unavailable_models: bool = _flag("bool", False, _IGNORED + "labels come from a model_config_file")
    batching_parameters_file: str = _flag("string", "", _REFUSED + "how to batch")
    enable_per_model_batching_parameters: bool = _flag("bool", False, _REFUSED + "how to batch, by model")
    model_config_file: str = _flag("string", "", _REFUSED + "several models")
    model_config_file_poll_wait_seconds: int = _flag("int32", 0, _IGNORED + "seconds between two looks at the model_config_file")
    model_name: str = _flag("string", "default", "name of the model")
    model_base_path: str = _flag("string", "", "absolute path of the folder that holds the version folders")
    num_load_threads: int = _flag("int32", 0, "threads that load versions; 0 = the deciding thread itself")
    num_unload_threads: int = _flag("int32", 0, "threads that unload versions; 0 = the deciding thread itself")
    max_num_load_retries: int = _flag("int32", 5, "further tries to load a version after the first failed")
    load_retry_interval_micros: int = _flag("int64", 60_000_000, "microseconds between two tries")
    file_system_poll_wait_seconds: int = _flag("int32", 1, "seconds between two looks for versions; 0 = look once, negative = never")
    flush_filesystem_caches: bool = _flag("bool", True, _IGNORED + "drop files from the page cache after a load")
    tensorflow_session_parallelism: int = _flag("int64", 0, "both of the next two")
    tensorflow_intra_op_parallelism: int = _flag("int64", 0, "threads within an operation; 0 = by the CPUs")
    tensorflow_inter_op_parallelism: int = _flag("int64", 0, "threads for operations side by side; 0 = by the CPUs, -1 = none")
    tensorflow_session_config_file: str = _flag("string", "", _REFUSED + "a whole session configuration")
    use_alts_credentials: bool = _flag("bool", False, _REFUSED + "ALTS")
    ssl_config_file: str = _flag("string", "", _REFUSED + "TLS")
    platform_config_file: str = _flag("string", "", _REFUSED + "other platforms")
    per_process_gpu_memory_fraction: float = _flag("float", 0.0, _IGNORED + "share of GPU memory")
    saved_model_tags: str = _flag("string", "serve", "comma-separated tags of the graph to load")
    grpc_channel_arguments: str = _flag("string", "", "comma-separated key=value for the gRPC server")
    grpc_max_threads: int = _flag("int32", 4 * _cpus(), "threads for gRPC; a call that finds none is refused")
    enable_model_warmup: bool = _flag("bool", True, "replay a version's warm-up requests before it serves")
    num_request_iterations_for_warmup: int = _flag("int32", 0, "how often each is replayed, if above 0")
    version: bool = _flag("bool", False, "print the version and end")
    monitoring_config_file: str = _flag("string", "", "text MonitoringConfig; Prometheus page on the REST port")
    remove_unused_fields_from_bundle_metagraph: bool = _flag("bool", True, _IGNORED + "keep less of a model in memory")
    prefer_tflite_model: bool = _flag("bool", False, _REFUSED + "TensorFlow Lite models")
    num_tflite_pools: int = _flag("int32", _cpus(), _IGNORED + "for TensorFlow Lite")
    num_tflite_interpreters_per_pool: int = _flag("int32", 1, _IGNORED + "for TensorFlow Lite")
    enable_signature_method_name_check: bool = _flag("bool", False, _IGNORED + "check a signature's method name")
    xla_cpu_compilation_enabled: bool = _flag("bool", False, _IGNORED + "let models compile themselves by XLA; here they may")
    xla_gpu_compilation_enabled: bool = _flag("bool", False, _IGNORED + "the same on a GPU")
    enable_profiler: bool = _flag("bool", True, _IGNORED + "ProfilerService, which is never there")
    thread_pool_factory_config_file: str = _flag("string", "", _REFUSED + "thread pools of one's own")
    mixed_precision: str = _flag("string", "", _REFUSED + "run in bfloat16")
    skip_initialize_tpu: bool = _flag("bool", False, _IGNORED + "TPU")
    enable_grpc_healthcheck_service: bool = _flag("bool", False, "the standard gRPC health service")
    enable_serialization_as_tensor_content: bool = _flag("bool", False, "replies carry tensor_content in place of typed values")

    def check(self) -> None:
        """StatusError for a start that TensorFlow Serving would refuse, or that asks for what the stand-in does not do."""
        for field in dataclasses.fields(self):
            if field.metadata["text"].startswith(_REFUSED) and getattr(self, field.name) != field.default:
                raise unimplemented(
                    f"--{field.name}={_text(getattr(self, field.name))} asks for {field.metadata['text'].removeprefix(_REFUSED)}, "
                    "which the stand-in for tensorflow_model_server does not do"
                )
        if not self.port and not self.grpc_socket_path:
            raise invalid("At least one of server_options.grpc_port or server_options.grpc_socket_path must be set.")
        if not self.model_base_path:
            raise invalid("Both server_options.model_base_path and server_options.model_config_file are empty!")
        if "://" in self.model_base_path:
            raise unimplemented(f"--model_base_path={self.model_base_path} is a URI; the stand-in reads local folders only")
        if min(self.tensorflow_session_parallelism, self.tensorflow_intra_op_parallelism, self.tensorflow_inter_op_parallelism) > 0:
            raise invalid(
                "Either configure server_options.tensorflow_session_parallelism or (server_options.tensorflow_intra_op_parallelism, "
                "server_options.tensorflow_inter_op_parallelism) separately. You cannot configure all."
            )

    def threads(self) -> tuple[int, int]:
        """(intra-op, inter-op) threads of the sessions; 0 = as many as TensorFlow thinks fit."""
        if self.tensorflow_intra_op_parallelism > 0 or self.tensorflow_inter_op_parallelism > 0:
            return self.tensorflow_intra_op_parallelism, self.tensorflow_inter_op_parallelism
        return self.tensorflow_session_parallelism, self.tensorflow_session_parallelism


class UsageError(Exception):
    """The command line cannot be read, or help was asked for: usage on stdout, exit 255."""


def parse(arguments: Sequence[str]) -> tuple[Flags, list[str]]:
    """(flags, the arguments that are none). UsageError for `--help` and for a value that is not of the flag's type."""
    kinds = {field.name: field.metadata["kind"] for field in dataclasses.fields(Flags)}
    values: dict[str, Any] = {}
    unknown = []
    for argument in arguments:
        if argument == "--help":
            raise UsageError
        name, equals, text = argument.removeprefix("--").partition("=")
        kind = kinds.get(name) if argument.startswith("--") else None
        if kind == "bool" and not equals:
            text = "true"
        elif kind is None or not equals:
            unknown.append(argument)
            continue
        values[name] = _value(name, kind, text)
    return Flags(**values), unknown


def _value(name: str, kind: str, text: str) -> Any:
    try:
        if kind == "bool":
            return _BOOLS[text.lower()]
        if kind == "float":
            return float(text)
        if kind == "string":
            return text
        if (number := integer(text, _BITS[kind])) is None:
            raise ValueError(text)
        return number
    except (KeyError, ValueError):
        raise UsageError(f"Couldn't interpret value {text} for flag {name}.") from None


def usage(program: str) -> str:
    """The text that --help prints: one line for each flag with type, default and meaning."""
    lines = [f"usage: {program}", "Flags:"]
    for field in dataclasses.fields(Flags):
        assignment = f"--{field.name}={_text(field.default)}"
        lines.append(f"\t{assignment:<50}\t{field.metadata['kind']}\t{field.metadata['text']}")
    return "\n".join(lines) + "\n"


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)
