"""The command line is read as tensorflow_model_server reads its own."""

import dataclasses

import pytest

from modelserver import flags
from modelserver.errors import StatusError
from modelserver.integers import integer
from modelserver.rpc import INT32_MAX, channel_arguments, timeout_ms

SERVED = "--model_base_path=/models/digits"


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ("--port=+8600", {"port": 8600}),
        ("--port=1 --port=2", {"port": 2}),
        ("--load_retry_interval_micros=9223372036854775807", {"load_retry_interval_micros": 2**63 - 1}),
        ("--model_name=a=b", {"model_name": "a=b"}),
        ("--enable_grpc_healthcheck_service", {"enable_grpc_healthcheck_service": True}),
        ("--enable_model_warmup=FALSE", {"enable_model_warmup": False}),
        ("--enable_model_warmup=0", {"enable_model_warmup": False}),
        (" ".join(f"--{name}=2" for name in sorted(flags.IGNORED)), {}),
        ("--enable_batching=false --ssl_config_file=", {}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_flags_are_read_and_the_last_of_two_wins(arguments: str, values: dict[str, object]) -> None:
    assert flags.parse(arguments.split()) == (flags.Flags(**values), [])  # type: ignore[arg-type]


@pytest.mark.parametrize("argument", ["--prot=1", "--port", "8500", "-port=1", "--noenable_profiler", "port=1", "--Port=1", "--"])
def test_what_is_no_flag_is_named_and_has_no_effect(argument: str) -> None:
    assert flags.parse([argument, "--model_name=m"]) == (flags.Flags(model_name="m"), [argument])


def test_usage_names_every_flag_that_has_an_effect() -> None:
    text = flags.usage()
    assert all(f"\n  --{field.name}=" in text for field in dataclasses.fields(flags.Flags))


NO_ADDRESS = "At least one of server_options.grpc_port or server_options.grpc_socket_path must be set."


@pytest.mark.parametrize(
    ("argument", "error"),
    [
        ("--port=", "INVALID_ARGUMENT: {} found, an integer of 32 bits wanted"),
        ("--port=2147483648", "INVALID_ARGUMENT: {} found, an integer of 32 bits wanted"),
        ("--load_retry_interval_micros=9223372036854775808", "INVALID_ARGUMENT: {} found, an integer of 64 bits wanted"),
        ("--enable_model_warmup=yes", "INVALID_ARGUMENT: {} found, true or false wanted"),
        *((argument, "UNIMPLEMENTED: {}: the stand-in for tensorflow_model_server does not do that") for argument in (
            "--model_config_file=/x", "--ssl_config_file=/x", "--use_alts_credentials", "--enable_batching=1",
        )),
        ("--model_base_path=", "INVALID_ARGUMENT: {} found, an absolute path wanted; the stand-in reads no URIs"),
        ("--model_base_path=gs://b/m", "INVALID_ARGUMENT: {} found, an absolute path wanted; the stand-in reads no URIs"),
        ("--port=0", f"INVALID_ARGUMENT: {NO_ADDRESS}"),
        ("--grpc_max_threads=0", "INVALID_ARGUMENT: {} found, at least 1 wanted"),
        ("--file_system_poll_wait_seconds=-1", "INVALID_ARGUMENT: {} found, at least 1 wanted"),
    ],
)  # fmt: skip
def test_a_start_that_cannot_be_is_refused_by_the_argument_s_name(argument: str, error: str) -> None:
    with pytest.raises(StatusError) as refused:
        flags.parse([SERVED, argument])[0].check()
    assert str(refused.value) == error.format(argument)


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
