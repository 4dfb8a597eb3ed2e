"""Production WSGI servers under the same gateway, to choose by measurement; what is not ours is installed into a throw-away environment."""

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean

from tests import stack
from tests.bench.load import load
from tests.bench.process import processes_of, processor_s, resident_mb

_APP = """
import os, sys
sys.path.insert(0, os.environ["ROOT"])
from gateway.app import create_app
from gateway.serving import ServingClient
from gateway.settings import Settings
from gateway.telemetry import log_as_json
log_as_json("info", open("log", "a"))
settings = Settings(serving_address=os.environ["SERVING"])
app = create_app(settings, ServingClient(settings))
"""

_INSTALLED = ("waitress", "cheroot", "granian")
SERVERS = {
    "python -m gateway": f"{sys.executable} -m gateway",
    "gunicorn gthread": "{bin}/gunicorn -k gthread --threads 40 --keep-alive 75 -b 127.0.0.1:{port} bench_app:app",
    "waitress": "{bin}/waitress-serve --host 127.0.0.1 --port {port} --threads 40 bench_app:app",
    "cheroot": "{bin}/cheroot --bind 127.0.0.1:{port} --threads 40 bench_app:app",
    "granian": "{bin}/granian --interface wsgi --host 127.0.0.1 --port {port} --blocking-threads 40 --no-ws bench_app:app",
}


def compare(store: Path, body: tuple[str, Path], seconds: float, scratch: Path, rounds: int = 3) -> None:
    """Load each server in turn, `rounds` times, and print the means.

    The model server does the same work for each request whoever asks, so the gateway's processor time in units of the model server's
    ("own/model") tells the servers apart on a machine whose speed changes.
    """
    path, file = body
    (scratch / "bench_app.py").write_text(_APP)
    print(f"installing {', '.join(_INSTALLED)} beside the gateway's requirements", flush=True)
    _install(scratch / "venv")
    rows: dict[str, list[list[float]]] = {name: [] for name in SERVERS}
    facts: dict[str, str] = {}
    model_server, address, _ = stack.model_server(store, "--tensorflow_inter_op_parallelism=-1")
    with model_server:
        for _ in range(rounds):
            for name, command in SERVERS.items():
                port = stack.free_port()
                environ = {
                    "PYTHONPATH": str(stack.ROOT if name == "python -m gateway" else scratch),
                    "ROOT": str(stack.ROOT),
                    "SERVING": address,
                }
                environ |= {"GATEWAY_PORT": str(port), "GATEWAY_MANAGEMENT_PORT": "0", "GATEWAY_SERVING_ADDRESS": address}
                began = time.perf_counter()
                words = command.format(bin=scratch / "venv" / "bin", port=port).split()
                with (scratch / "words").open("w") as output:
                    server = subprocess.Popen(words, cwd=scratch, env={**os.environ, **environ}, stdout=output, stderr=output)
                try:
                    url = f"http://127.0.0.1:{port}"
                    stack.wait_until(f"{name} answers", lambda url=url: stack.get(f"{url}/healthz")[0] == 200)
                    facts[name] = f"{time.perf_counter() - began:7.2f}"
                    load(url + path, file, 8, 1)
                    own, models = processes_of(server), processes_of(model_server.process)
                    row: list[float] = []
                    for connections in (1, 8):
                        own_s, model_s = processor_s(own), processor_s(models)
                        seen = load(url + path, file, connections, seconds)
                        assert seen.failed == 0, f"{name}: {seen}"
                        own_s, model_s = processor_s(own) - own_s, processor_s(models) - model_s
                        row += [seen.requests_per_s, seen.p50_ms, own_s / max(model_s, 0.01)]
                    rows[name].append(row)
                    facts[name] += f"  {resident_mb(own)}"
                finally:
                    server.terminate()
                    server.wait(30)
    columns = f"{'req/s':>9} {'p50 ms':>7} {'own/model':>10}"
    print(f"\nmean of {rounds}: one client, then eight\n{'':18} {columns} {columns} start s  MB")
    for name, seen_rows in rows.items():
        one, one_p50, one_own, eight, eight_p50, eight_own = map(mean, zip(*seen_rows, strict=True))
        print(f"{name:18} {one:9.0f} {one_p50:7.2f} {one_own:10.2f} {eight:9.0f} {eight_p50:7.2f} {eight_own:10.2f} {facts[name]}")


def _install(venv: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", str(stack.ROOT / "requirements" / "gateway.txt")], check=True)
    subprocess.run([*pip, *_INSTALLED], check=True)
