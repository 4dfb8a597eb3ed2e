"""The whole path on one machine: train a first model if there is none, start the model server and the gateway, stop both on Ctrl-C.

`make up` calls it after it has installed the programs and fetched the data. Settings come from the environment: PORT (8080),
STORE (models), RECIPE (quick). The model server listens on a Unix socket and a free REST port: the gateway's is the only one to choose.
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

NAME = "digits"
LOGS = Path("build/log")
START_TIMEOUT_S = 60.0


class CannotStart(Exception):
    """The path is not up, with the reason in one sentence."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def refuse_a_port_in_use(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as exc:
            raise CannotStart(f"port {port} cannot be used ({exc.strerror}); choose another: make up PORT={port + 1}") from exc


def start(name: str, *command: str, environ: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """A program of ours in a session of its own, so that Ctrl-C reaches this process alone and the order of the end is ours."""
    LOGS.mkdir(parents=True, exist_ok=True)
    with (LOGS / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(environ or {})},
        )


def answers(url: str, wanted: Callable[[bytes], bool] = lambda body: True) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return wanted(reply.read())
    except (urllib.error.URLError, OSError):
        return False


def wait_until(what: str, ready: Callable[[], bool], programs: dict[str, subprocess.Popen[bytes]]) -> None:
    end = time.monotonic() + START_TIMEOUT_S
    while not ready():
        refuse_an_ended(programs)
        if time.monotonic() > end:
            raise CannotStart(f"{what} is not there after {START_TIMEOUT_S:.0f} s; its log is in {LOGS}/")
        time.sleep(0.05)


def refuse_an_ended(programs: dict[str, subprocess.Popen[bytes]]) -> None:
    for name, program in programs.items():
        if program.poll() is not None:
            log = LOGS / f"{name}.log"
            last = (log.read_text(errors="replace").strip().splitlines() or ["nothing"])[-1]
            raise CannotStart(f"the {name} ended with exit code {program.returncode}; the last line of {log}: {last}")


def stop(programs: dict[str, subprocess.Popen[bytes]]) -> None:
    """Last started, first ended: the gateway drains while the model server still answers. A second Ctrl-C does not leave them behind."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    for program in reversed(programs.values()):
        program.terminate()
        try:
            program.wait(timeout=15)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()


def run(port: int, store: Path, recipe: str) -> None:
    refuse_a_port_in_use(port)
    fit = ["trainer", "fit", "--data", "data", "--store", str(store), "--name", NAME, "--recipe", recipe, "--if-empty"]
    trained = subprocess.run([sys.executable, "-m", *fit], check=False)
    if trained.returncode:
        raise CannotStart(f"training ended with exit code {trained.returncode}, see above; no model was written")
    begin = time.monotonic()
    programs: dict[str, subprocess.Popen[bytes]] = {}
    with tempfile.TemporaryDirectory(prefix="pynumdraw-") as scratch:
        unix_socket, rest_port = f"{scratch}/serving.sock", free_port()
        try:
            programs["model server"] = start(
                "model server",
                "modelserver",
                "--port=0",
                f"--grpc_socket_path={unix_socket}",
                f"--rest_api_port={rest_port}",
                f"--model_name={NAME}",
                f"--model_base_path={store.resolve() / NAME}",
                "--tensorflow_intra_op_parallelism=1",  # a small model is slower spread over cores,
                "--tensorflow_inter_op_parallelism=-1",  # or handed to other threads; on the request's own no deadline ends a run
                "--grpc_max_threads=40",  # more than the requests that the gateway lets through at a time
            )
            settings = {
                "GATEWAY_PORT": str(port),
                "GATEWAY_METRICS_PORT": "0",
                "GATEWAY_SHUTDOWN_DELAY_S": "0",  # no load balancer has to notice first
                "GATEWAY_SERVING_ADDRESS": f"unix:{unix_socket}",
                "GATEWAY_MODEL_NAME": NAME,
            }
            programs["gateway"] = start("gateway", "gateway", environ=settings)
            page = f"http://127.0.0.1:{port}/"
            wait_until("the model", lambda: answers(f"http://127.0.0.1:{rest_port}/v1/models/{NAME}/metadata"), programs)
            wait_until("the gateway", lambda: answers(f"{page}readyz"), programs)
            wait_until("an AVAILABLE version", lambda: answers(f"{page}api/v1/versions", lambda body: b"AVAILABLE" in body), programs)
            print(f"\n  Draw a digit:  {page}      (up in {time.monotonic() - begin:.1f} s; logs in {LOGS}/; Ctrl-C stops)\n", flush=True)
            while True:
                refuse_an_ended(programs)
                time.sleep(0.5)
        finally:
            stop(programs)


def main() -> int:
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
