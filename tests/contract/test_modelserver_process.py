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
from typing import Any
from urllib.parse import urlsplit

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pynumdraw import wire
from pynumdraw.wire import serving_pb2
from tests.contract import savedmodels
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


class Client:
    """Calls to one address by the paths that are on the wire."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address)

    def call(self, path: str, request: Any, reply: Any, timeout_s: float = 10.0) -> Any:
        stub = self.channel.unary_unary(path, request_serializer=type(request).SerializeToString, response_deserializer=reply.FromString)
        return stub(request, timeout=timeout_s)

    def predict(self, x: float = 2.0, version: int | None = None) -> tuple[int, float]:
        """(the version that answered, y)."""
        request = serving_pb2.PredictRequest(model_spec=wire.model_spec("digits", version), output_filter=["y"])
        request.inputs["x"].CopyFrom(wire.to_tensor(np.array([x], np.float32)))
        reply = self.call(wire.PREDICT, request, serving_pb2.PredictResponse)
        return reply.model_spec.version.value, float(wire.from_tensor(reply.outputs["y"])[0])

    def states(self) -> dict[int, str]:
        request = serving_pb2.GetModelStatusRequest(model_spec=wire.model_spec("digits"))
        reply = self.call(wire.GET_MODEL_STATUS, request, serving_pb2.GetModelStatusResponse)
        name = serving_pb2.ModelVersionStatus.State.Name
        return {entry.version: name(entry.state) for entry in reply.model_version_status}

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exc: object) -> None:
        self.channel.close()


def run(*flags: str) -> "subprocess.CompletedProcess[str]":
    """The program, which must end by itself."""
    return subprocess.run([sys.executable, "-m", "modelserver", *flags], cwd=ROOT, capture_output=True, text=True, timeout=60)


# The command line


def test_help_lists_the_flags() -> None:
    done = run("--help")
    assert done.returncode == 255
    assert done.stdout.startswith("usage: python -m modelserver [--name=value …]\n  --port=8500")


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("--port=x",), "INVALID_ARGUMENT: --port=x found, an integer of 32 bits wanted"),
        (("--model_base_path=models",), "INVALID_ARGUMENT: --model_base_path=models found, an absolute path wanted"),
        (("--model_config_file=/x",), "UNIMPLEMENTED: --model_config_file=/x: the stand-in for tensorflow_model_server does not do that"),
    ],
    ids=["value", "relative", "config file"],
)
def test_a_start_that_is_refused_says_so_on_stdout_and_exits_255(flags: tuple[str, ...], line: str) -> None:
    done = run(*flags)
    assert done.returncode == 255
    assert done.stdout.startswith(f"Failed to start server. Error: {line}")
    assert done.stdout.count("\n") == 1


def test_it_says_what_it_is_and_starts_in_spite_of_an_unknown_argument(store: Path) -> None:
    program, address, _ = model_server(store, "--prot=1", "--enable_profiler=false")
    with program, Client(address) as client:
        assert client.predict() == (1, 3.0)
        assert "unknown argument: --prot=1; --help lists the flags" in program.output
        assert "stand-in for tensorflow_model_server" in program.output


def test_a_port_that_is_taken_fails_the_start(store: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        done = run(f"--port={taken.getsockname()[1]}", "--model_name=digits", f"--model_base_path={store}/digits")
    assert done.returncode == 255
    assert done.stdout == "Failed to start server. Error: INVALID_ARGUMENT: Failed to BuildAndStart gRPC server\n"


def test_a_second_server_on_the_same_port_does_not_share_it(store: Path) -> None:
    program, address, _ = model_server(store)
    with program:
        done = run(f"--port={address.partition(':')[2]}", "--model_name=digits", f"--model_base_path={store}/digits")
        assert done.returncode == 255


def test_a_rest_port_that_is_taken_leaves_grpc_running(store: Path) -> None:
    port = free_port()
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as taken:
        rest = taken.getsockname()[1]
        flags = (f"--port={port}", f"--rest_api_port={rest}", "--model_name=digits", f"--model_base_path={store}/digits")
        with Program("modelserver", *flags) as program:
            program.wait_until("the REST port is given up", lambda: f"Failed to start HTTP Server at localhost:{rest}" in program.output)
            with Client(f"localhost:{port}") as client:
                assert client.predict() == (1, 3.0)


# Signals


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_a_signal_ends_it_at_once_though_a_request_is_in_flight(tmp_path: Path, signum: int) -> None:
    savedmodels.many_signatures(tmp_path / "digits" / "1")
    program, address, _ = model_server(tmp_path)
    request = serving_pb2.PredictRequest(model_spec=wire.model_spec("digits", signature_name="count"))
    request.inputs["n"].CopyFrom(wire.to_tensor(np.array(10**15)))
    with program, Client(address) as client:
        stub = client.channel.unary_unary(
            wire.PREDICT,
            request_serializer=serving_pb2.PredictRequest.SerializeToString,
            response_deserializer=serving_pb2.PredictResponse.FromString,
        )
        running = stub.future(request, timeout=30)
        client.states()
        os.kill(program.process.pid, signum)
        assert program.process.wait(5) == -signum
        assert running.exception(10).code() == grpc.StatusCode.UNAVAILABLE


# Ports and services


def test_a_unix_socket_alone_serves(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as left_over:  # what a server that was killed leaves behind is no hindrance
        left_over.bind(str(path))
    flags = ("--port=0", f"--grpc_socket_path={path}", "--model_name=digits", f"--model_base_path={store}/digits")
    with Program("modelserver", *flags) as program, Client(f"unix:{path}") as client:
        program.wait_until("it runs", lambda: "Running gRPC ModelServer" in program.output)
        assert client.predict() == (1, 3.0)


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Program, str, str]]:
    """Version 7 on TCP, a socket and REST, with all that flags can add."""
    store = tmp_path_factory.mktemp("store")
    shutil.copytree(models / "2", store / "digits" / "7")
    config = store / "monitoring.config"
    config.write_text('prometheus_config { enable: true path: "/metrics" }')
    program, address, rest = model_server(
        store, f"--grpc_socket_path={store}/s", "--enable_grpc_healthcheck_service",
        f"--monitoring_config_file={config}", "--grpc_channel_arguments=grpc.max_connection_age_ms=2000,grpc.lb_policy_name=grpclb",
    )  # fmt: skip
    with program:
        yield program, address, rest


def test_tcp_and_socket_serve_side_by_side(server: tuple[Program, str, str]) -> None:
    socket_path = next(flag for flag in server[0].command if "socket_path" in flag).partition("=")[2]
    with Client(server[1]) as tcp, Client(f"unix:{socket_path}") as unix:
        assert tcp.predict() == unix.predict() == (7, 3.0)


@pytest.mark.parametrize("name", ["", "ModelService", "PredictionService"])
def test_health_names_are_tensorflow_serving_s(server: tuple[Program, str, str], name: str) -> None:
    with Client(server[1]) as client:
        reply = health_pb2_grpc.HealthStub(client.channel).Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
    assert reply.status == health_pb2.HealthCheckResponse.SERVING


def test_health_does_not_know_the_full_name_of_a_service(server: tuple[Program, str, str]) -> None:
    request = health_pb2.HealthCheckRequest(service="tensorflow.serving.PredictionService")
    with Client(server[1]) as client, pytest.raises(grpc.RpcError) as error:
        health_pb2_grpc.HealthStub(client.channel).Check(request, timeout=10)
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


def ask(
    rest: str, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of one request."""
    connection = http.client.HTTPConnection(urlsplit(rest).netloc, timeout=10)
    connection.request(method, path, body, headers or {})
    reply = connection.getresponse()
    answer = reply.status, dict(reply.getheaders()), reply.read().decode()
    connection.close()
    return answer


def test_rest_status_and_metadata(server: tuple[Program, str, str]) -> None:
    status, headers, body = ask(server[2], "GET", "/v1/models/digits")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(body) == {
        "model_version_status": [{"version": "7", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}]
    }
    status, _, body = ask(server[2], "GET", "/v1/models/digits/versions/7/metadata")
    metadata = json.loads(body)
    assert (status, metadata["model_spec"]) == (200, {"name": "digits", "version": "7", "signature_name": ""})
    assert metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]["x"] == {
        "name": "x:0",
        "dtype": "DT_FLOAT",
        "tensor_shape": {"dim": [{"size": "-1", "name": ""}, {"size": "1", "name": ""}], "unknown_rank": False},
    }


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/v1/models/digits/versions/8", 404, '{\n    "error": "Could not find version 8 of model digits"\n}'),
        ("GET", "/v1/models/digits/versions/8/metadata", 404, '{\n    "error": "Servable not found for request: Specific(digits, 8)"\n}'),
        ("GET", "/v1/models/digits?x", 400, '{\n    "error": "Malformed request: GET /v1/models/digits?x"\n}'),
        ("DELETE", "/v1/models/digits", 400, '{\n    "error": "Malformed request: DELETE /v1/models/digits"\n}'),
    ],
    ids=["version", "version's metadata", "query", "method"],
)
def test_rest_errors_are_small_json(server: tuple[Program, str, str], method: str, path: str, status: int, body: str) -> None:
    assert ask(server[2], method, path)[::2] == (status, body)


def test_one_rest_connection_serves_many_requests_until_one_has_a_body(server: tuple[Program, str, str]) -> None:
    connection = http.client.HTTPConnection(urlsplit(server[2]).netloc, timeout=10)
    for method, path, body, status in (
        ("GET", "/v1/models/digits", None, 200),
        ("HEAD", "/v1/models/digits", None, 400),
        ("GET", "/metrics", None, 200),
        ("GET", "/", None, 404),
        ("POST", "/v1/models/digits:predict", b"x" * 1000, 501),
    ):
        connection.request(method, path, body)
        reply = connection.getresponse()
        reply.read()
        assert (reply.status, reply.will_close) == (status, body is not None)
    connection.close()


def test_rest_listens_on_ipv6_too(server: tuple[Program, str, str]) -> None:
    assert get(f"http://[::1]:{urlsplit(server[2]).port}/v1/models/digits")[0] == 200


def test_metrics_stand_where_the_config_puts_them(server: tuple[Program, str, str]) -> None:
    status, headers, body = ask(server[2], "GET", "/metrics")
    assert (status, headers["Content-Type"]) == (200, "text/plain")
    assert "# TYPE :tensorflow:serving:request_count counter\n" in body
    assert ask(server[2], "GET", "/monitoring/prometheus/metrics")[0] == 404


def test_with_a_bad_monitoring_config_grpc_serves_and_no_rest_port_opens(store: Path) -> None:
    config, port, rest = store / "bad.config", free_port(), free_port()
    config.write_text("prometheus { }")
    flags = (f"--port={port}", f"--rest_api_port={rest}", "--model_name=digits", f"--model_base_path={store}/digits")
    with Program("modelserver", *flags, f"--monitoring_config_file={config}") as program:
        program.wait_until("the reason is logged", lambda: f"Invalid protobuf file: '{config}'" in program.output)
        with Client(f"localhost:{port}") as client:
            assert client.predict() == (1, 3.0)
        assert get(f"http://127.0.0.1:{rest}/v1/models/digits")[0] == 0


# Versions


def test_without_flags_there_is_neither_health_nor_metrics(store: Path) -> None:
    program, address, rest = model_server(store)
    with program, Client(address) as client:
        with pytest.raises(grpc.RpcError) as error:
            health_pb2_grpc.HealthStub(client.channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED
        assert get(f"{rest}/monitoring/prometheus/metrics")[0] == 404


def test_a_swap_under_load_fails_no_request(store: Path, models: Path) -> None:
    program, address, _ = model_server(store, *FAST)
    answers: list[tuple[int, float]] = []
    failed: list[str] = []
    stop = threading.Event()

    def draw() -> None:
        with Client(address) as client:
            while not stop.is_set():
                try:
                    answers.append(client.predict())
                except grpc.RpcError as error:
                    failed.append(f"{error.code()} {error.details()}")

    with program, Client(address) as client:
        threads = [threading.Thread(target=draw) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for version, source in ((2, "3"), (5, "2")):
                publish(models / source, store, version)
                wait_until(f"version {version} answers", lambda version=version: client.predict()[0] == version)
            wait_until("the old ones are gone", lambda: client.states() == {5: "AVAILABLE", 2: "END", 1: "END"})
        finally:
            stop.set()
            for thread in threads:
                thread.join(20)
        assert failed == []
        assert set(answers) == {(1, 3.0), (2, 4.0), (5, 3.0)}
        with pytest.raises(grpc.RpcError) as error:
            client.predict(version=1)
        assert (error.value.code(), error.value.details()) == (
            grpc.StatusCode.NOT_FOUND,
            "Servable not found for request: Specific(digits, 1)",
        )


def test_a_corrupt_new_version_ends_while_the_old_one_serves_and_a_later_one_takes_over(store: Path, models: Path) -> None:
    program, address, rest = model_server(store, *FAST)
    with program, Client(address) as client:
        (store / "digits" / "2").mkdir()
        wait_until("version 2 has ended", lambda: client.states().get(2) == "END")
        assert client.predict() == (1, 3.0)
        status = json.loads(get(f"{rest}/v1/models/digits/versions/2")[1])["model_version_status"][0]["status"]
        assert status["error_code"] == "NOT_FOUND"
        assert status["error_message"].startswith("Could not find SavedModel")
        assert get(f"{rest}/v1/models/digits/versions/2/metadata")[0] == 404
        publish(models / "3", store, 3)
        wait_until("version 3 answers", lambda: client.predict() == (3, 4.0))
        wait_until("the old one is gone", lambda: client.states() == {3: "AVAILABLE", 2: "END", 1: "END"})


def test_a_corrupt_newest_version_at_the_start_keeps_the_ports_closed_and_exits_255(store: Path) -> None:
    (store / "digits" / "2").mkdir()
    port = free_port()
    done = run(f"--port={port}", "--model_name=digits", f"--model_base_path={store}/digits", *FAST)
    assert done.returncode == 255
    assert done.stdout.startswith(
        "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: "
        "{{{name: digits version: 2} due to error: NOT_FOUND: Could not find SavedModel"
    )
    assert "Running gRPC ModelServer" not in done.stderr


def test_it_waits_for_a_first_version_with_its_ports_closed(models: Path, tmp_path: Path) -> None:
    port, rest = free_port(), free_port()
    flags = (f"--port={port}", f"--rest_api_port={rest}", "--model_name=digits", f"--model_base_path={tmp_path}/digits")

    def closed(which: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", which)) != 0

    with Program("modelserver", *flags) as program, Client(f"localhost:{port}") as client:
        program.wait_until("it looks for the folder", lambda: f"Could not find base path {tmp_path}/digits" in program.output)
        (tmp_path / "digits").mkdir()
        program.wait_until("it looks for a version", lambda: "No versions of servable digits found under base path" in program.output)
        assert closed(port)
        assert closed(rest)
        publish(models / "2", tmp_path, 1)
        program.wait_until("REST answers", lambda: get(f"http://127.0.0.1:{rest}/v1/models/digits/metadata")[0] == 200)
        assert client.predict() == (1, 3.0)


def test_without_any_version_left_nothing_serves_and_the_status_remembers(store: Path, models: Path) -> None:
    program, address, rest = model_server(store)
    with program, Client(address) as client:
        shutil.rmtree(store / "digits" / "1")
        wait_until("version 1 is gone", lambda: client.states() == {1: "END"})
        status, body = get(f"{rest}/v1/models/digits")
        assert (status, json.loads(body)["model_version_status"][0]["status"]["error_code"]) == (200, "OK")
        assert get(f"{rest}/v1/models/digits/metadata")[0] == 404
        with pytest.raises(grpc.RpcError) as error:
            client.predict()
        assert (error.value.code(), error.value.details()) == (grpc.StatusCode.NOT_FOUND, "Servable not found for request: Latest(digits)")
        publish(models / "3", store, 1)  # the same number may come back
        wait_until("version 1 serves again", lambda: client.states() == {1: "AVAILABLE"})
        assert client.predict() == (1, 4.0)


def test_a_version_whose_warm_up_fails_never_serves(store: Path, models: Path) -> None:
    program, address, _ = model_server(store, *FAST)
    with program, Client(address) as client:
        corrupt = store / "corrupt"
        shutil.copytree(models / "3", corrupt)
        (corrupt / "assets.extra").mkdir()
        (corrupt / "assets.extra/tf_serving_warmup_requests").write_bytes(b"x" * 100)
        publish(corrupt, store, 2)
        wait_until("version 2 has ended", lambda: client.states().get(2) == "END")
        assert client.predict() == (1, 3.0)
        assert "Please verify your warmup data is in TFRecord format." in program.output
