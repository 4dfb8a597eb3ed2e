"""The model server as a process: its command line, exit codes, ports, signals, REST, health, and versions that come and go under it."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.contract import savedmodels
from tests.contract.savedmodels import FOREVER, Client
from tests.stack import ROOT, Program, free_port, get, model_server, wait_until

FAST = ("--max_num_load_retries=1", "--load_retry_interval_micros=1000")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `2` and `3` hold y = x / 2 + 2 and + 3."""
    folder = tmp_path_factory.mktemp("models")
    for plus in (2, 3):
        savedmodels.half_plus(folder / str(plus), plus)
    return folder


@pytest.fixture
def store(models: Path, tmp_path: Path) -> Path:
    """Version 1 of `digits` is half plus two."""
    shutil.copytree(models / "2", tmp_path / "digits" / "1")
    return tmp_path


def publish(source: Path, store: Path, version: int) -> None:
    """Put a version there by one rename."""
    staged = store / "digits" / f".staging-{version}"
    shutil.copytree(source, staged)
    staged.rename(store / "digits" / str(version))


def serving(store: Path, port: int, rest: int = 0) -> tuple[str, ...]:
    """The flags for `digits` of this store on these ports."""
    return f"--port={port}", f"--rest_api_port={rest}", "--model_name=digits", f"--model_base_path={store}/digits"


def run(*flags: str) -> str:
    """What the program prints; it must end by itself, with the exit code 255."""
    done = subprocess.run([sys.executable, "-m", "modelserver", *flags], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 255
    assert "Running gRPC ModelServer" not in done.stderr
    return done.stdout


def check_health(client: Client, service: str = "") -> str:
    """The status of a service, or the code of the call's error."""
    try:
        reply = health_pb2_grpc.HealthStub(client.channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
    except grpc.RpcError as error:
        return str(error.code().name)
    return health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)


# Starts that fail


@pytest.mark.parametrize(
    ("flag", "printed"),
    [
        ("--help", "usage: python -m modelserver [--name=value …]\n  --port=8500"),
        ("--port=x", "Failed to start server. Error: INVALID_ARGUMENT: --port=x found, an integer of 32 bits wanted\n"),
    ],
)
def test_help_and_a_refused_start_are_on_stdout(flag: str, printed: str) -> None:
    assert run(flag).startswith(printed)


def test_a_second_server_on_the_same_port_does_not_share_it(store: Path) -> None:
    program, address, _ = model_server(store)
    with program:
        printed = run(*serving(store, int(address.partition(":")[2])))
    assert printed == "Failed to start server. Error: INVALID_ARGUMENT: Failed to BuildAndStart gRPC server\n"


def test_a_corrupt_newest_version_at_the_start_keeps_the_ports_closed(store: Path) -> None:
    (store / "digits" / "2").mkdir()
    assert run(*serving(store, free_port()), *FAST).startswith(
        "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: "
        "{{{name: digits version: 2} due to error: NOT_FOUND: Could not find SavedModel"
    )


@pytest.mark.parametrize(
    ("config", "reason"),
    [("prometheus_config { }", "Address already in use"), ("prometheus { }", "INVALID_ARGUMENT: Invalid protobuf file")],
)
def test_without_its_rest_port_it_serves_grpc(store: Path, config: str, reason: str) -> None:
    port = free_port()
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as taken:
        rest = taken.getsockname()[1] if "in use" in reason else free_port()
        flags = *serving(store, port, rest), savedmodels.monitoring_flag(store, config)
        with Program("modelserver", *flags) as program, Client(f"localhost:{port}") as client:
            program.wait_until("REST is given up", lambda: f"Failed to start HTTP Server at localhost:{rest}: " in program.output)
            assert reason in program.output
            assert client.half_plus() == (1, 3.0)
            assert get(f"http://127.0.0.1:{rest}/v1/models/digits", timeout_s=1)[0] == 0


# Signals


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_a_signal_ends_it_at_once_though_a_request_is_in_flight(tmp_path: Path, signum: int) -> None:
    savedmodels.many_signatures(tmp_path / "digits" / "1")
    program, address, _ = model_server(tmp_path)
    with program, Client(address) as client:
        running = client.predictions.Predict.future(client.request("count", n=FOREVER), timeout=30)
        client.states()
        os.kill(program.process.pid, signum)
        assert program.process.wait(5) == -signum
        assert running.exception(10).code() == grpc.StatusCode.UNAVAILABLE


# Ports and services


def test_a_unix_socket_alone_serves(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as left_over:  # what a server that was killed leaves behind is no hindrance
        left_over.bind(str(path))
    with Program("modelserver", *serving(store, 0), f"--grpc_socket_path={path}") as program, Client(f"unix:{path}") as client:
        program.wait_until("it runs", lambda: "Running gRPC ModelServer" in program.output)
        assert client.half_plus() == (1, 3.0)


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Program, str, str]]:
    """Version 7 on TCP, a socket and REST, with all that flags can add, and two that add nothing."""
    store = tmp_path_factory.mktemp("store")
    shutil.copytree(models / "2", store / "digits" / "7")
    program, address, rest = model_server(
        store, f"--grpc_socket_path={store}/s", "--enable_grpc_healthcheck_service", "--prot=1", "--enable_profiler=false",
        savedmodels.monitoring_flag(store, 'prometheus_config { enable: true path: "/metrics" }'),
        "--grpc_channel_arguments=grpc.max_connection_age_ms=2000,grpc.lb_policy_name=grpclb",
    )  # fmt: skip
    with program:
        yield program, address, rest


def test_it_says_what_it_is_and_starts_in_spite_of_an_unknown_argument(server: tuple[Program, str, str]) -> None:
    assert "stand-in for tensorflow_model_server" in server[0].output
    assert "unknown argument: --prot=1; --help lists the flags\n" in server[0].output


def test_tcp_and_socket_serve_side_by_side(server: tuple[Program, str, str]) -> None:
    socket_path = next(flag for flag in server[0].command if "socket_path" in flag).partition("=")[2]
    with Client(server[1]) as tcp, Client(f"unix:{socket_path}") as unix:
        assert tcp.half_plus() == unix.half_plus() == (7, 3.0)


def test_health_names_are_tensorflow_serving_s(server: tuple[Program, str, str]) -> None:
    with Client(server[1]) as client:
        assert [check_health(client, name) for name in ("", "ModelService", "PredictionService")] == ["SERVING"] * 3
        assert check_health(client, "tensorflow.serving.PredictionService") == "NOT_FOUND"


def test_one_rest_connection_on_ipv6_serves_many_requests_until_one_has_a_body(server: tuple[Program, str, str]) -> None:
    with Client(server[1]) as client:
        client.half_plus()
    connection = http.client.HTTPConnection("::1", urlsplit(server[2]).port, timeout=10)  # all others use IPv4
    text, of_json = "text/plain", "application/json"
    for method, path, body, status, kind, part in (
        ("GET", "/v1/models/digits", None, 200, of_json, '"state": "AVAILABLE"'),
        ("GET", "/v1/models/digits/versions/7/metadata", None, 200, of_json, '"serving_default"'),
        ("GET", "/v1/models/digits/versions/8", None, 404, of_json, '{\n    "error": "Could not find version 8 of model digits"\n}'),
        ("DELETE", "/v1/models/digits", None, 400, of_json, '{\n    "error": "Malformed request: DELETE /v1/models/digits"\n}'),
        ("HEAD", "/v1/models/digits", None, 400, of_json, ""),
        ("GET", "/metrics", None, 200, text, ':tensorflow:serving:request_count{model_name="digits",status="OK"} '),
        ("GET", "/monitoring/prometheus/metrics", None, 404, text, "Not Found\n"),
        ("POST", "/v1/models/digits:predict", b"x" * 1000, 501, of_json, '"error": '),
    ):
        connection.request(method, path, body)
        reply = connection.getresponse()
        assert part in reply.read().decode()
        assert (reply.status, reply.headers["Content-Type"], reply.will_close) == (status, kind, body is not None)
    connection.close()


def test_without_flags_there_is_neither_health_nor_metrics(store: Path) -> None:
    program, address, rest = model_server(store)
    with program, Client(address) as client:
        assert check_health(client) == "UNIMPLEMENTED"
        assert get(f"{rest}/monitoring/prometheus/metrics")[0] == 404


# Versions


def test_a_swap_under_load_fails_no_request(store: Path, models: Path) -> None:
    program, address, _ = model_server(store, *FAST)
    answers: list[tuple[int, float]] = []
    failed: list[str] = []
    stop = threading.Event()

    def draw() -> None:
        with Client(address) as client:
            while not stop.is_set():
                try:
                    answers.append(client.half_plus())
                except grpc.RpcError as error:
                    failed.append(f"{error.code()} {error.details()}")

    with program, Client(address) as client:
        threads = [threading.Thread(target=draw) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for version, source in ((2, "3"), (5, "2")):
                publish(models / source, store, version)
                wait_until(f"version {version} answers", lambda version=version: client.half_plus()[0] == version)
            wait_until("the old ones are gone", lambda: client.states() == {5: "AVAILABLE", 2: "END", 1: "END"})
        finally:
            stop.set()
            for thread in threads:
                thread.join(20)
        assert failed == []
        assert set(answers) == {(1, 3.0), (2, 4.0), (5, 3.0)}
        with pytest.raises(grpc.RpcError) as error:
            client.half_plus(version=1)
        assert error.value.code() == grpc.StatusCode.NOT_FOUND
        assert error.value.details() == "Servable not found for request: Specific(digits, 1)"


def test_a_corrupt_new_version_ends_while_the_old_one_serves_and_a_later_one_takes_over(store: Path, models: Path) -> None:
    program, address, rest = model_server(store, *FAST)
    with program, Client(address) as client:
        (store / "digits" / "2").mkdir()
        wait_until("version 2 has ended", lambda: client.states().get(2) == "END")
        assert client.half_plus() == (1, 3.0)
        status = json.loads(get(f"{rest}/v1/models/digits/versions/2")[1])["model_version_status"][0]["status"]
        assert status["error_code"] == "NOT_FOUND"
        assert status["error_message"].startswith("Could not find SavedModel")
        assert get(f"{rest}/v1/models/digits/versions/2/metadata")[0] == 404
        publish(models / "3", store, 3)
        wait_until("version 3 answers", lambda: client.half_plus() == (3, 4.0))
        wait_until("the old one is gone", lambda: client.states() == {3: "AVAILABLE", 2: "END", 1: "END"})


def test_it_waits_for_a_first_version_with_its_ports_closed(models: Path, tmp_path: Path) -> None:
    port, rest = free_port(), free_port()

    def closed(which: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", which)) != 0

    with Program("modelserver", *serving(tmp_path, port, rest)) as program, Client(f"localhost:{port}") as client:
        program.wait_until("it looks for the folder", lambda: f"Could not find base path {tmp_path}/digits" in program.output)
        (tmp_path / "digits").mkdir()
        program.wait_until("it looks for a version", lambda: "No versions of servable digits found under base path" in program.output)
        assert closed(port)
        assert closed(rest)
        publish(models / "2", tmp_path, 1)
        program.wait_until("REST answers", lambda: get(f"http://127.0.0.1:{rest}/v1/models/digits/metadata")[0] == 200)
        assert client.half_plus() == (1, 3.0)
