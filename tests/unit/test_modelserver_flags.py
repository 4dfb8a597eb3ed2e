"""The command line is read as tensorflow_model_server reads its own."""

import dataclasses

import pytest

from modelserver import flags
from modelserver.errors import StatusError
from modelserver.integers import integer
from modelserver.rpc import channel_arguments

SERVED = ("--model_base_path=/models/digits",)


@pytest.mark.parametrize(
    ("argument", "name", "value"),
    [
        ("--port=0", "port", 0),
        ("--port=+8600", "port", 8600),
        ("--port=-1", "port", -1),
        ("--load_retry_interval_micros=9223372036854775807", "load_retry_interval_micros", 2**63 - 1),
        ("--model_name=", "model_name", ""),
        ("--model_name=a=b", "model_name", "a=b"),
        ("--enable_profiler", "enable_profiler", True),
        ("--enable_profiler=FALSE", "enable_profiler", False),
        ("--enable_model_warmup=0", "enable_model_warmup", False),
        ("--enable_model_warmup=1", "enable_model_warmup", True),
        ("--per_process_gpu_memory_fraction=0.5", "per_process_gpu_memory_fraction", 0.5),
    ],
)
def test_a_flag_is_read(argument: str, name: str, value: object) -> None:
    options, unknown = flags.parse([argument])
    assert (getattr(options, name), unknown) == (value, [])


def test_the_last_of_two_wins() -> None:
    assert flags.parse(["--port=1", "--port=2"])[0].port == 2


@pytest.mark.parametrize("argument", ["--prot=1", "--port", "8500", "-port=1", "--noenable_profiler", "port=1", "--Port=1", "--"])
def test_what_is_no_flag_is_named_and_has_no_effect(argument: str) -> None:
    options, unknown = flags.parse([argument, "--model_name=m"])
    assert unknown == [argument]
    assert options == flags.Flags(model_name="m")


@pytest.mark.parametrize(
    "argument",
    [
        "--port=x", "--port=", "--port=1.5", "--port=2147483648", "--port=1_000", "--port=٣",
        "--load_retry_interval_micros=9223372036854775808", "--enable_profiler=yes", "--per_process_gpu_memory_fraction=half",
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_an_error_that_names_it(argument: str) -> None:
    name, _, value = argument.removeprefix("--").partition("=")
    with pytest.raises(flags.UsageError, match=rf"value {value} for flag {name}\."):
        flags.parse([argument])


def test_help_asks_for_usage_that_names_every_flag() -> None:
    with pytest.raises(flags.UsageError):
        flags.parse(["--help"])
    text = flags.usage("x")
    assert all(f"\t--{field.name}=" in text for field in dataclasses.fields(flags.Flags))


def test_flags_without_effect_here_may_be_set() -> None:
    ignored = ["--enable_profiler=false", "--flush_filesystem_caches=false", "--rest_api_num_threads=2", "--rest_api_timeout_in_ms=5000"]
    options, unknown = flags.parse([*SERVED, *ignored])
    options.check()
    assert unknown == []


@pytest.mark.parametrize(
    "argument",
    [
        "--model_config_file=/x", "--ssl_config_file=/x", "--use_alts_credentials", "--enable_batching", "--batching_parameters_file=/x",
        "--enable_per_model_batching_parameters", "--platform_config_file=/x", "--tensorflow_session_config_file=/x",
        "--prefer_tflite_model", "--mixed_precision=bfloat16", "--thread_pool_factory_config_file=/x",
    ],
)  # fmt: skip
def test_what_is_not_done_refuses_the_start_with_a_sentence(argument: str) -> None:
    options, _ = flags.parse([*SERVED, argument])
    with pytest.raises(StatusError, match=rf"^UNIMPLEMENTED: {argument.partition('=')[0]}=.* which the stand-in .* does not do$"):
        options.check()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "INVALID_ARGUMENT: Both server_options.model_base_path and server_options.model_config_file are empty!"),
        ([*SERVED, "--port=0"], "INVALID_ARGUMENT: At least one of server_options.grpc_port or server_options.grpc_socket_path"),
        (
            [*SERVED, *(f"--tensorflow_{kind}_parallelism=1" for kind in ("session", "intra_op", "inter_op"))],
            "INVALID_ARGUMENT: Either configure server_options.tensorflow_session_parallelism or",
        ),
        (["--model_base_path=gs://b/m"], "UNIMPLEMENTED: --model_base_path=gs://b/m is a URI"),
    ],
    ids=["no model", "no port", "threads twice", "cloud storage"],
)
def test_a_start_that_cannot_be_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(StatusError) as refused:
        flags.parse(arguments)[0].check()
    assert str(refused.value).startswith(message)


def test_a_socket_alone_is_enough() -> None:
    flags.parse([*SERVED, "--port=0", "--grpc_socket_path=/tmp/x"])[0].check()


@pytest.mark.parametrize(
    ("arguments", "threads"),
    [
        ([], (0, 0)),
        (["--tensorflow_session_parallelism=3"], (3, 3)),
        (["--tensorflow_session_parallelism=3", "--tensorflow_intra_op_parallelism=1"], (1, 0)),
        (["--tensorflow_inter_op_parallelism=2"], (0, 2)),
    ],
    ids=str,
)
def test_threads_within_and_between_operations_win_over_both(arguments: list[str], threads: tuple[int, int]) -> None:
    assert flags.parse(arguments)[0].threads() == threads


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1), ("007", 7), ("+5", 5), ("-1", -1), (" 3 ", 3), ("0", 0), ("00", 0), ("9223372036854775807", 2**63 - 1), ("9" * 19, None),
        ("-9223372036854775808", -(2**63)), ("9223372036854775808", None), ("0" * 5000 + "1", 1), ("1" * 5000, None), ("", None),
        ("5.tmp", None), ("v5", None), (".5", None), ("..data", None), ("1 2", None), ("1_0", None), ("٣", None), ("--1", None),
    ],
    ids=lambda value: repr(value)[:24],
)  # fmt: skip
def test_integers_are_read_as_simple_atoi_reads_them(text: str, number: int | None) -> None:
    assert integer(text) == number


def test_channel_arguments_are_numbers_where_they_read_as_such() -> None:
    assert channel_arguments("") == {}
    assert channel_arguments("grpc.max_connection_age_ms=2000,grpc.lb_policy_name=grpclb,big=4294967296") == {
        "grpc.max_connection_age_ms": 2000,
        "grpc.lb_policy_name": "grpclb",
        "big": "4294967296",
    }
    with pytest.raises(StatusError, match=r"'grpc\.x' found, key=value wanted"):
        channel_arguments("a=1,grpc.x")
