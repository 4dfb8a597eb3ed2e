"""`python -m tests.bench`: the speed of the whole path and of its parts, with the conditions it was measured under.

    --store DIR      the model store (models)
    --seconds S      how long each load lasts (10)
    --servers        compare production WSGI servers under the gateway instead, each in a virtual environment of its own
    --peer URL       alternate with another server that runs already, and print the ratios; --peer-body FILE is what it is sent (JSON)
    --rounds N       how often they alternate (3)

Everything runs on this machine and shares its cores: wrk, the gateway, the model server.
"""

import argparse
import io
import json
import math
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from gateway.app import create_app
from gateway.drawing import parse_request
from gateway.serving import ServingClient
from gateway.settings import Settings
from gateway.telemetry import log_as_json
from tests import stack
from tests.bench.bodies import write_bodies
from tests.bench.load import load, wrk_version
from tests.bench.process import processes_of, processor_s, resident_mb
from tests.bench.servers import compare

JSON = "application/json"


def conditions(store: Path) -> Iterator[str]:
    """What the numbers depend on."""
    model = "unknown"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        model = next((line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")), model)
    yield f"machine   {model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, load {os.getloadavg()[0]:.1f}"
    parts = ("flask", "uvicorn", "grpcio", "numpy", "pillow", "protobuf")
    packages = ", ".join(f"{name} {version(name)}" for name in parts)
    yield f"versions  Python {platform.python_version()}, {packages}, {wrk_version()}"
    numbers = sorted(int(path.name) for path in (store / "digits").glob("*") if path.name.isdigit())
    if not numbers:
        raise SystemExit(f"bench: {store / 'digits'} holds no version of the model; train one (make train) or name a store by --store")
    manifest = json.loads((store / "digits" / str(numbers[-1]) / "manifest.json").read_text())
    yield f"model     digits version {numbers[-1]}, recipe {manifest.get('recipe', 'unknown')}, one thread within an operation"


@contextmanager
def running(store: Path) -> Iterator[tuple[str, str, stack.Program]]:
    """(gRPC address, URL, gateway) with both programs up."""
    server, address, _ = stack.model_server(store, "--tensorflow_inter_op_parallelism=-1")
    with server:
        began = time.perf_counter()
        gateway, url = stack.gateway(address)
        with gateway:
            print(f"start     the gateway takes requests {time.perf_counter() - began:.2f} s after its start", end=", ")
            yield address, url, gateway


def whole_path(url: str, gateway: stack.Program, bodies: dict[str, tuple[str, Path]], seconds: float) -> None:
    """Load on the gateway's port: the whole path."""
    pids = processes_of(gateway.process)
    print(f"resident {resident_mb(pids)} MB\n")
    print(f"{'whole path':24} {'clients':>7} {'requests/s':>11} {'p50 ms':>8} {'p99 ms':>8} {'failed':>7} {'gateway processor ms':>21}")
    for name, (path, body) in bodies.items():
        load(url + path, body, 8, min(seconds, 2))  # warm
        for connections in (1, 8):
            before = processor_s(pids)
            seen = load(url + path, body, connections, seconds)
            own_ms = (processor_s(pids) - before) / max(seen.requests, 1) * 1000
            times = f"{seen.requests_per_s:11.0f} {seen.p50_ms:8.2f} {seen.p99_ms:8.2f}"
            print(f"{name:24} {connections:7} {times} {seen.failed:7} {own_ms:21.2f}", flush=True)
    print(f"\nresident {resident_mb(pids)} MB after that")


def against(peer: str, peer_body: Path, ours: str, our_body: Path, gateway: stack.Program, seconds: float, rounds: int) -> None:
    """Ours and a peer in turn, so that both meet the machine as it is in the same minutes; medians, and the ratios of ours to the peer's.

    Answers that are not 2xx or 3xx do not count as requests.
    """
    pids = processes_of(gateway.process)
    load(ours, our_body, 8, 2)
    load(peer, peer_body, 8, 2)
    print(f"\n{'against ' + peer:44} {'clients':>7} {'requests/s':>11} {'p50 ms':>8} {'failed':>7} {'gateway processor ms':>21}")
    for connections in (1, 8, 64):
        rows: dict[str, list[tuple[float, float, float, float]]] = {"ours": [], "peer": []}
        for _ in range(rounds):
            for name, url, body in (("ours", ours, our_body), ("peer", peer, peer_body)):
                before = processor_s(pids)
                seen = load(url, body, connections, seconds)
                own_ms = (processor_s(pids) - before) / max(seen.requests, 1) * 1000 if name == "ours" else math.nan
                answered = seen.requests_per_s * (1 - seen.failed / max(seen.requests, 1))
                rows[name].append((answered, seen.p50_ms, seen.failed, own_ms))
        (rate, p50, failed, own_ms), (peer_rate, peer_p50, peer_failed, _) = (
            [median(column) for column in zip(*rows[name], strict=True)] for name in ("ours", "peer")
        )
        print(f"{'ours':44} {connections:7} {rate:11.0f} {p50:8.2f} {failed:7.0f} {own_ms:21.2f}")
        print(f"{'peer':44} {connections:7} {peer_rate:11.0f} {peer_p50:8.2f} {peer_failed:7.0f}")
        print(f"{'ratio':44} {connections:7} {rate / peer_rate:11.2f} {p50 / peer_p50:8.2f}", flush=True)


def timed(what: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """(processor ms of the whole process, wall ms) of a call, the least of five means."""
    for _ in range(rounds // 10):
        what()
    processor, wall = [], []
    for _ in range(5):
        began, began_wall = time.process_time(), time.perf_counter()
        for _ in range(rounds // 5):
            what()
        processor.append((time.process_time() - began) / (rounds // 5))
        wall.append((time.perf_counter() - began_wall) / (rounds // 5))
    return min(processor) * 1000, min(wall) * 1000


def own_share(address: str, bodies: dict[str, tuple[str, Path]], rounds: int = 1500) -> None:
    """Each of the gateway's parts in this process, one call after another."""
    serving = ServingClient(Settings(serving_address=address))
    app = create_app(Settings(serving_address=address), serving)
    print(f"\n{'own share, in process':46} {'processor ms':>13} {'wall ms':>9}    (wall of gRPC and whole includes the model)")
    for name in list(bodies)[:2]:
        path, file = bodies[name]
        body = file.read_bytes()
        drawing = parse_request(body, JSON).drawing
        frame = drawing.frame()
        (prediction,) = serving.predict(frame[None])
        environ = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
        }
        environ |= {"CONTENT_TYPE": JSON, "CONTENT_LENGTH": str(len(body)), "HTTP_HOST": "localhost", "SERVER_PROTOCOL": "HTTP/1.1"}

        def whole(environ: dict[str, Any] = environ, body: bytes = body) -> None:
            answer = app({**environ, "wsgi.input": io.BytesIO(body), "wsgi.errors": io.StringIO()}, lambda *_: lambda _: None)
            assert b'"digit"' in b"".join(answer)

        parts: dict[str, Callable[[], Any]] = {
            "parse": lambda body=body: parse_request(body, JSON),
            "ink_problem, frame": lambda drawing=drawing: (drawing.ink_problem(), drawing.frame()),
            "gRPC client, checks": lambda frame=frame: serving.predict(frame[None]),
            "whole application, with log": whole,
        }
        for part, call in parts.items():
            processor_ms, wall_ms = timed(call, rounds)
            print(f"{name + ': ' + part:46} {processor_ms:13.3f} {wall_ms:9.3f}", flush=True)
        assert prediction.version
    serving.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Speed of the whole path and of its parts.")
    parser.add_argument("--store", type=Path, default=stack.ROOT / "models")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--servers", action="store_true", help="compare production WSGI servers under the gateway instead")
    parser.add_argument("--peer", help="address of a server that runs already, to alternate with")
    parser.add_argument("--peer-body", type=Path, help="the JSON that it is sent")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    if bool(chosen.peer) != bool(chosen.peer_body):
        parser.error("--peer and --peer-body belong together")
    print(*conditions(chosen.store), sep="\n")
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        bodies = write_bodies(Path(scratch))
        if chosen.servers:
            compare(chosen.store, list(bodies.values())[1], chosen.seconds, Path(scratch))
            return
        with running(chosen.store) as (address, url, gateway):
            if chosen.peer:
                path, body = list(bodies.values())[1]
                against(chosen.peer, chosen.peer_body, url + path, body, gateway, chosen.seconds, chosen.rounds)
                return
            whole_path(url, gateway, bodies, chosen.seconds)
            with (Path(scratch) / "log").open("w") as log:
                log_as_json("info", log)
                own_share(address, bodies)


if __name__ == "__main__":
    main()
