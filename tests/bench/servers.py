"""Production WSGI servers under the same gateway, to choose by measurement: each in a throw-away virtual environment."""

import subprocess
import sys
import textwrap
import time
from pathlib import Path

from tests import stack
from tests.bench.load import load

_APP = """
import pathlib, sys
sys.path.insert(0, {root!r})
from gateway.app import create_app
from gateway.serving import Serving
from gateway.settings import Settings
from gateway.telemetry import log_as_json
log_as_json("info", open({log!r}, "a"))
settings = Settings(serving_address={address!r})
app = create_app(settings, Serving(settings))
"""

# name → (what to install beside the gateway's requirements, the command)
SERVERS: dict[str, tuple[list[str], str]] = {
    "gunicorn gthread": (["gunicorn"], "{bin}/gunicorn -k gthread --threads 40 -w 1 --keep-alive 75 -b 127.0.0.1:{port} bench_app:app"),
    "gunicorn + h1c": (
        ["gunicorn", "gunicorn_h1c"],
        "{bin}/gunicorn -k gthread --threads 40 -w 1 --keep-alive 75 -b 127.0.0.1:{port} --http-parser fast bench_app:app",
    ),
    "waitress": (["waitress"], "{bin}/waitress-serve --host 127.0.0.1 --port {port} --threads 40 bench_app:app"),
    "cheroot": (["cheroot"], "{bin}/cheroot --bind 127.0.0.1:{port} --threads 40 bench_app:app"),
    "granian": (
        ["granian"],
        "{bin}/granian --interface wsgi --host 127.0.0.1 --port {port} --workers 1 --blocking-threads 40 --no-ws bench_app:app",
    ),
}


def compare(store: Path, bodies: dict[str, tuple[str, Path]], seconds: float, scratch: Path, rounds: int = 3) -> None:
    """Start each server on the same application, load it, and print a table; rounds alternate, the best of each is shown."""
    from tests.bench.__main__ import processes_of, processor_s, resident_mb

    name, (path, body) = list(bodies.items())[1]
    server, address, _ = stack.model_server(store)
    (scratch / "bench_app.py").write_text(textwrap.dedent(_APP).format(root=str(stack.ROOT), log=str(scratch / "log"), address=address))
    for kind, (packages, _) in SERVERS.items():
        print(f"installing {kind}", flush=True)
        _install(scratch / kind.replace(" ", "-"), packages)
    print(f"\n{name}, {seconds:g} s each, best of {rounds} rounds")
    best: dict[str, list[float]] = {}
    facts: dict[str, str] = {}
    with server:
        for _ in range(rounds):
            for kind, (_, command) in SERVERS.items():
                port = stack.free_port()
                words = command.format(bin=scratch / kind.replace(" ", "-") / "bin", port=port).split()
                began = time.perf_counter()
                program = _Started(words, scratch)
                try:
                    url = f"http://127.0.0.1:{port}"
                    stack.wait_until(f"{kind} answers", lambda url=url: stack.get(f"{url}/healthz")[0] == 200)
                    start_s = time.perf_counter() - began
                    load(url + path, body, 8, 1)
                    pids = processes_of(program)  # type: ignore[arg-type]
                    row = []
                    for connections in (1, 8):
                        before = processor_s(pids)
                        seen = load(url + path, body, connections, seconds)
                        assert seen.failed == 0, f"{kind}: {seen}"
                        row += [seen.requests_per_s, -seen.p50_ms, -(processor_s(pids) - before) / seen.requests * 1000]
                    facts[kind] = f"{start_s:6.2f}  {resident_mb(pids)}"
                    best[kind] = [max(pair) for pair in zip(row, best.get(kind, row), strict=True)]
                finally:
                    program.process.terminate()
                    program.process.wait(20)
    print(f"{'server':18} {'1: req/s':>9} {'p50 ms':>7} {'cpu ms':>7} {'8: req/s':>9} {'p50 ms':>7} {'cpu ms':>7}  start s  resident MB")
    for kind, (one, one_p50, one_cpu, eight, eight_p50, eight_cpu) in best.items():
        print(f"{kind:18} {one:9.0f} {-one_p50:7.2f} {-one_cpu:7.2f} {eight:9.0f} {-eight_p50:7.2f} {-eight_cpu:7.2f}  {facts[kind]}")


class _Started:
    """A server as a child process, its words thrown away."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.process = subprocess.Popen(
            command, cwd=folder, env={"PYTHONPATH": str(folder)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )


def _install(venv: Path, packages: list[str]) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", str(stack.ROOT / "requirements" / "gateway.txt")], check=True)
    subprocess.run([*pip, *packages], check=True)
