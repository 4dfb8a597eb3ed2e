"""The whole path on one machine: train a first model if there is none, start the model server and the gateway, stop both on Ctrl-C.

`make up` calls it after it has installed the programs and fetched the data. Settings come from the environment: PORT (8080),
STORE (models), RECIPE (quick). The model server listens on a Unix socket alone: the gateway's port is the only one that opens.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import grpc

from pynumdraw import wire
from pynumdraw.wire import serving_pb2

NAME = "digits"
LOGS = Path("build/log")
START_TIMEOUT_S = 60.0
RECONNECT = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 100)]  # the socket is there within a second


class CannotStart(Exception):
    """The path is not up, with the reason in one sentence."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def refuse_a_port_in_use(port: int) -> None:
    """CannotStart where another program listens on this TCP port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as exc:
            raise CannotStart(f"port {port} cannot be used ({exc.strerror}); choose another: make up PORT={port + 1}") from exc


def start(name: str, *command: str, environ: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start `python -m COMMAND…` in a session of its own, so that Ctrl-C reaches this process alone, which stops the others in order."""
    LOGS.mkdir(parents=True, exist_ok=True)
    with (LOGS / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(environ or {})},
        )


def is_available(channel: grpc.Channel) -> bool:
    """Whether the model server says that a version of the model is AVAILABLE; False while it does not listen."""
    ask = channel.unary_unary(
        wire.GET_MODEL_STATUS,
        request_serializer=serving_pb2.GetModelStatusRequest.SerializeToString,
        response_deserializer=serving_pb2.GetModelStatusResponse.FromString,
    )
    try:
        reply = ask(serving_pb2.GetModelStatusRequest(model_spec=wire.model_spec(NAME)), timeout=2)
    except grpc.RpcError:
        return False
    return any(version.state == serving_pb2.ModelVersionStatus.AVAILABLE for version in reply.model_version_status)


def answers(url: str, wanted: Callable[[bytes], bool] = lambda body: True) -> bool:
    """Whether a GET of this URL succeeds with a body that is wanted."""
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return wanted(reply.read())
    except (urllib.error.URLError, OSError):
        return False


def wait_until(what: str, ready: Callable[[], bool], programs: dict[str, subprocess.Popen[bytes]]) -> None:
    """CannotStart where `what` is not ready within `START_TIMEOUT_S`, or a program has ended."""
    end = time.monotonic() + START_TIMEOUT_S
    while not ready():
        refuse_an_ended(programs)
        if time.monotonic() > end:
            raise CannotStart(f"{what} is not there after {START_TIMEOUT_S:.0f} s; its log is in {LOGS}/")
        time.sleep(0.05)


def refuse_an_ended(programs: dict[str, subprocess.Popen[bytes]]) -> None:
    """CannotStart, with the last line of its log, where a program has ended."""
    for name, program in programs.items():
        if program.poll() is not None:
            log = LOGS / f"{name}.log"
            last = (log.read_text(errors="replace").strip().splitlines() or ["nothing"])[-1]
            raise CannotStart(f"the {name} ended with exit code {program.returncode}; the last line of {log}: {last}")


def stop(programs: dict[str, subprocess.Popen[bytes]]) -> None:
    """End the last started first: the gateway drains while the model server still answers. A second Ctrl-C has no effect."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    for program in reversed(programs.values()):
        program.terminate()
        try:
            program.wait(timeout=15)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()


def start_model_server(store: Path, unix_socket: str) -> subprocess.Popen[bytes]:
    return start(
        "model server",
        "modelserver",
        "--port=0",
        f"--grpc_socket_path={unix_socket}",
        f"--model_name={NAME}",
        f"--model_base_path={store.resolve() / NAME}",
        "--tensorflow_intra_op_parallelism=1",  # a small model is slower spread over cores,
        "--tensorflow_inter_op_parallelism=-1",  # or handed to other threads; on the request's own no deadline ends a run
        "--grpc_max_threads=80",  # more than the requests that the gateway lets through at a time
    )


def start_gateway(port: int, management_port: int, unix_socket: str) -> subprocess.Popen[bytes]:
    settings = {
        "GATEWAY_PORT": str(port),
        "GATEWAY_MANAGEMENT_PORT": str(management_port),
        "GATEWAY_SHUTDOWN_DELAY_S": "0",  # no load balancer has to notice first
        "GATEWAY_SERVING_ADDRESS": f"unix:{unix_socket}",
        "GATEWAY_MODEL_NAME": NAME,
    }
    return start("gateway", "gateway", environ=settings)


def run(port: int, store: Path, recipe: str) -> None:
    """Train where the store is empty, start both programs, print the address and stay until Ctrl-C. CannotStart where that fails."""
    refuse_a_port_in_use(port)
    fit = ["trainer", "fit", "--data", "data", "--store", str(store), "--name", NAME, "--recipe", recipe, "--if-empty"]
    trained = subprocess.run([sys.executable, "-m", *fit], check=False)
    if trained.returncode:
        raise CannotStart(f"training ended with exit code {trained.returncode}, see above; no model was written")
    begin = time.monotonic()
    programs: dict[str, subprocess.Popen[bytes]] = {}
    with tempfile.TemporaryDirectory(prefix="pynumdraw-") as scratch:
        unix_socket, page = f"{scratch}/serving.sock", f"http://127.0.0.1:{port}/"
        try:
            programs["model server"] = start_model_server(store, unix_socket)
            programs["gateway"] = start_gateway(port, management_port := free_port(), unix_socket)
            with grpc.insecure_channel(f"unix:{unix_socket}", RECONNECT) as channel:
                wait_until("the model", lambda: is_available(channel), programs)
            wait_until("the gateway", lambda: answers(f"{page}readyz"), programs)
            wait_until("an AVAILABLE version", lambda: answers(f"{page}api/v1/versions", lambda body: b"AVAILABLE" in body), programs)
            took = f"up in {time.monotonic() - begin:.1f} s; logs in {LOGS}/; Ctrl-C stops"
            metrics = f"http://127.0.0.1:{management_port}/metrics"
            print(f"\n  Draw a digit:  {page}      ({took})\n  Its metrics:   {metrics}\n", flush=True)
            while True:
                refuse_an_ended(programs)
                time.sleep(0.5)
        finally:
            stop(programs)


def main() -> int:
    """Returns the exit code: 0 after Ctrl-C or SIGTERM, 1 where the path cannot be started."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell starts what it puts in the background with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    try:
        port, store, recipe = (
            os.environ.get(name) or default for name, default in (("PORT", "8080"), ("STORE", "models"), ("RECIPE", "quick"))
        )
        run(int(port), Path(store), recipe)
    except CannotStart as exc:
        print(f"up: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped: the gateway and the model server have ended.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
