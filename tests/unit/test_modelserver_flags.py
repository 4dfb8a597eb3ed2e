"""The command line is read as tensorflow_model_server reads its own."""

import dataclasses

import pytest

from modelserver import flags
from modelserver.errors import StatusError
from modelserver.integers import integer
from modelserver.rpc import INT32_MAX, channel_arguments, timeout_ms

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
        ("--enable_grpc_healthcheck_service", "enable_grpc_healthcheck_service", True),
        ("--enable_model_warmup=FALSE", "enable_model_warmup", False),
        ("--enable_model_warmup=0", "enable_model_warmup", False),
        ("--enable_model_warmup=1", "enable_model_warmup", True),
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
    ("argument", "wanted"),
    [
        ("--port=x", "an integer of 32 bits"),
        ("--port=", "an integer of 32 bits"),
        ("--port=1.5", "an integer of 32 bits"),
        ("--port=2147483648", "an integer of 32 bits"),
        ("--tensorflow_intra_op_parallelism=4294967296", "an integer of 32 bits"),
        ("--load_retry_interval_micros=9223372036854775808", "an integer of 64 bits"),
        ("--enable_model_warmup=yes", "true or false"),
    ],
)
def test_a_value_of_another_type_is_an_error_that_names_it(argument: str, wanted: str) -> None:
    with pytest.raises(StatusError) as refused:
        flags.parse([argument])
    assert str(refused.value) == f"INVALID_ARGUMENT: {argument} found, {wanted} wanted"


def test_usage_names_every_flag_that_has_an_effect() -> None:
    text = flags.usage()
    assert all(f"\n  --{field.name}=" in text for field in dataclasses.fields(flags.Flags))


def test_flags_without_effect_here_may_be_set() -> None:
    ignored = [f"--{name}=2" for name in flags.IGNORED]
    assert flags.parse([*SERVED, *ignored, "--enable_batching=false", "--ssl_config_file="]) == (flags.parse(SERVED)[0], [])


@pytest.mark.parametrize("argument", ["--model_config_file=/x", "--ssl_config_file=/x", "--use_alts_credentials", "--enable_batching=1"])
def test_what_is_not_done_refuses_the_start_with_a_sentence(argument: str) -> None:
    with pytest.raises(StatusError) as refused:
        flags.parse([*SERVED, argument])
    assert str(refused.value) == f"UNIMPLEMENTED: {argument}: the stand-in for tensorflow_model_server does not do that"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--model_base_path= found, an absolute path wanted; the stand-in reads no URIs"),
        (["--model_base_path=gs://b/m"], "--model_base_path=gs://b/m found, an absolute path wanted; the stand-in reads no URIs"),
        ([*SERVED, "--port=0"], "At least one of server_options.grpc_port or server_options.grpc_socket_path must be set."),
        ([*SERVED, "--grpc_max_threads=0"], "--grpc_max_threads=0 found, at least 1 wanted"),
        ([*SERVED, "--file_system_poll_wait_seconds=-1"], "--file_system_poll_wait_seconds=-1 found, at least 1 wanted"),
    ],
    ids=["no model", "cloud storage", "no port", "no thread", "no poll"],
)
def test_a_start_that_cannot_be_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(StatusError) as refused:
        flags.parse(arguments)[0].check()
    assert str(refused.value) == f"INVALID_ARGUMENT: {message}"


def test_a_socket_alone_is_enough() -> None:
    flags.parse([*SERVED, "--port=0", "--grpc_socket_path=/tmp/x"])[0].check()


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


@pytest.mark.parametrize(
    ("remaining_s", "limit_ms"),
    [(None, INT32_MAX), (9.223372035059031e18, INT32_MAX), (float("inf"), INT32_MAX), (1.5, 1500), (-3.0, 0)],
)
def test_a_deadline_becomes_a_limit_that_fits_its_field(remaining_s: float | None, limit_ms: int) -> None:
    assert timeout_ms(remaining_s) == limit_ms
