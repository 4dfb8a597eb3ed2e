"""Real programs for the tests: start one, wait for what it promises, stop it; its output is in the message when it fails."""

import hashlib
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def wait_until(what: str, ready: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    """The first true value that `ready` gives; AssertionError naming `what` after `timeout_s`."""
    end = time.monotonic() + timeout_s
    while True:
        if value := ready():
            return value
        assert time.monotonic() < end, f"{what}: not within {timeout_s} s"
        time.sleep(0.02)


def free_port() -> int:
    """A TCP port that nobody listens on now; below those that the kernel gives to connections, so that none takes it before it is used."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as listener:
            try:
                listener.bind(("", port))
            except OSError:
                continue
        return port


def get(url: str, timeout_s: float = 10.0) -> tuple[int, bytes]:
    """Status and body of a GET; (0, b"") where nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except (urllib.error.URLError, OSError):
        return 0, b""


class Program:
    """`python -m MODULE ARGS…` from the checkout, its output kept in a file. As a context manager it is terminated at the end."""

    def __init__(self, *command: str, environ: dict[str, str] | None = None):
        self._log = tempfile.NamedTemporaryFile(prefix="program-", suffix=".log")  # noqa: SIM115 - it lives as long as the program
        self.command = command
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT, stdout=self._log, stderr=subprocess.STDOUT, env={**os.environ, **(environ or {})}
        )

    @property
    def output(self) -> str:
        return Path(self._log.name).read_text(errors="replace")

    def wait_until(self, what: str, ready: Callable[[], Any], timeout_s: float = 30.0) -> Any:
        """As the function of that name, but fails at once, with the output, when the program has ended."""

        def alive_and_ready() -> Any:
            value = ready()
            assert value or self.process.poll() is None, (
                f"{self.command} ended with {self.process.returncode} before {what}:\n{self.output}"
            )
            return value

        return wait_until(what, alive_and_ready, timeout_s)

    def stop(self, timeout_s: float = 20.0) -> int:
        """SIGTERM, then its exit code; SIGKILL and AssertionError where it does not end."""
        self.process.terminate()
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.command} did not end within {timeout_s} s of SIGTERM:\n{self.output}") from None

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.stop()
        self._log.close()


def model_server(store: Path, *flags: str, name: str = "digits", port: int | None = None) -> tuple[Program, str, str]:
    """The model server on a store, waited for until it answers: (program, gRPC address, REST URL)."""
    grpc_port, rest_port = port or free_port(), free_port()
    flags = (f"--port={grpc_port}", f"--rest_api_port={rest_port}", "--tensorflow_intra_op_parallelism=1", "--grpc_max_threads=40", *flags)
    program = Program("modelserver", f"--model_name={name}", f"--model_base_path={store.resolve() / name}", *flags)
    rest = f"http://127.0.0.1:{rest_port}"
    program.wait_until("the model server answers", lambda: get(f"{rest}/v1/models/{name}/metadata")[0] == 200)
    return program, f"127.0.0.1:{grpc_port}", rest


def gateway(serving_address: str, environ: dict[str, str] | None = None, **settings: str) -> tuple[Program, str]:
    """The gateway in front of a model server, waited for until it takes requests: (program, URL). environ: beside the settings."""
    port = free_port()
    settings = {"PORT": str(port), "MANAGEMENT_PORT": "0", "SERVING_ADDRESS": serving_address, **settings}
    program = Program("gateway", environ={**(environ or {}), **{f"GATEWAY_{name}": value for name, value in settings.items()}})
    url = f"http://127.0.0.1:{port}"
    program.wait_until("the gateway takes requests", lambda: get(f"{url}/readyz")[0] == 200)
    return program, url


def newest_version(store: Path) -> int:
    """The newest version of the model in a store. Raises SystemExit with a sentence where there is none."""
    numbers = [int(path.name) for path in (store / "digits").glob("*") if path.name.isdigit()]
    if not numbers:
        raise SystemExit(f"{store / 'digits'} holds no version of the model; train one (make train) or name a store by --store")
    return max(numbers)


def tiny_store() -> Path:
    """A store with versions 1 and 2 of a small model, really trained from the MNIST files: MODEL_STORE, else made once for these sources.

    Raises AssertionError with the trainer's words where training fails.
    """
    if given := os.environ.get("MODEL_STORE"):
        return Path(given)
    sources = [
        *sorted((ROOT / "trainer").rglob("*.py")),
        *sorted((ROOT / "trainer").rglob("*.txt")),
        *sorted((ROOT / "pynumdraw").rglob("*.py")),
        ROOT / "requirements" / "trainer.txt",
    ]
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    root = ROOT / "build" / "tiny" / digest[:12]
    for seed in (1, 2):
        if not (root / "digits" / str(seed)).exists():
            fit = ["trainer", "fit", "--data", "data", "--store", str(root), "--name", "digits", "--recipe", "tiny", "--seed", str(seed)]
            trained = subprocess.run([sys.executable, "-m", *fit], cwd=ROOT, capture_output=True, text=True, check=False)
            assert trained.returncode == 0, f"{fit} ended with {trained.returncode}:\n{trained.stderr}"
    return root


if __name__ == "__main__":
    print(tiny_store())
