"""`python -m tests.bench`: the speed of the whole path and of its parts, with the conditions it was measured under.

    --store DIR      the model store (models)
    --seconds S      how long each load lasts (10)
    --serving ADDR   the gRPC address of a model server that runs already, such as a TensorFlow Serving, in the stand-in's place
    --peer URL       alternate with another server that runs already, and print the ratios; --peer-body FILE is what it is sent (JSON)
    --rounds N       how often they alternate (3)

Everything runs on this machine and shares its cores: wrk, the gateway, the model server.
"""

import argparse
import json
import math
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from statistics import median

from tests import stack
from tests.bench.bodies import write_bodies
from tests.bench.load import load, wrk_version
from tests.bench.process import processes_of, processor_s, resident_mb
from tests.bench.shares import print_shares
from tests.bench.store import costs


def conditions(store: Path, serving: str | None) -> Iterator[str]:
    """What the numbers depend on."""
    model = "unknown"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        model = next((line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")), model)
    yield f"machine   {model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, load {os.getloadavg()[0]:.1f}"
    parts = ("flask", "uvicorn", "grpcio", "numpy", "pillow", "protobuf")
    packages = ", ".join(f"{name} {version(name)}" for name in parts)
    yield f"versions  Python {platform.python_version()}, {packages}, {wrk_version()}"
    if serving:
        yield f"model     what {serving} serves"
        return
    number = stack.newest_version(store)
    manifest = json.loads((store / "digits" / str(number) / "manifest.json").read_text())
    yield f"model     digits version {number}, recipe {manifest.get('recipe', 'unknown')}, one thread within an operation"


@contextmanager
def running(store: Path, serving: str | None) -> Iterator[tuple[str, str, stack.Program]]:
    """(gRPC address, URL, gateway) with a gateway up, and a model server where none is given."""
    server, address, _ = (nullcontext(), serving, "") if serving else stack.model_server(store, "--tensorflow_inter_op_parallelism=-1")
    with server:
        began = time.perf_counter()
        gateway, url = stack.gateway(address)
        with gateway:
            print(f"start     the gateway takes requests {time.perf_counter() - began:.2f} s after its start", end=", ")
            yield address, url, gateway


def whole_path(url: str, gateway: stack.Program, bodies: dict[str, tuple[str, Path]], seconds: float) -> dict[str, float]:
    """Load on the gateway's port: the whole path. Returns for each body the gateway's processor ms a request of one client."""
    pids = processes_of(gateway.process)
    print(f"resident {resident_mb(pids)} MB\n")
    print(f"{'whole path':24} {'clients':>7} {'requests/s':>11} {'p50 ms':>8} {'p99 ms':>8} {'failed':>7} {'gateway processor ms':>21}")
    alone: dict[str, float] = {}
    for name, (path, body) in bodies.items():
        load(url + path, body, 8, min(seconds, 2))  # warm
        for connections in (1, 8, 64):
            before = processor_s(pids)
            seen = load(url + path, body, connections, seconds)
            own_ms = (processor_s(pids) - before) / max(seen.requests, 1) * 1000
            alone.setdefault(name, own_ms)
            times = f"{seen.requests_per_s:11.0f} {seen.p50_ms:8.2f} {seen.p99_ms:8.2f}"
            print(f"{name:24} {connections:7} {times} {seen.failed:7} {own_ms:21.2f}", flush=True)
    print(f"\nresident {resident_mb(pids)} MB after that")
    return alone


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


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Speed of the whole path and of its parts.")
    parser.add_argument("--store", type=Path, default=stack.ROOT / "models")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--serving", help="gRPC address of a model server that runs already (default: a stand-in is started)")
    parser.add_argument("--peer", help="address of a server that runs already, to alternate with")
    parser.add_argument("--peer-body", type=Path, help="the JSON that it is sent")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    if bool(chosen.peer) != bool(chosen.peer_body):
        parser.error("--peer and --peer-body belong together")
    print(*conditions(chosen.store, chosen.serving), sep="\n")
    print(*costs(chosen.store), sep="\n")
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        bodies = write_bodies(Path(scratch))
        with running(chosen.store, chosen.serving) as (address, url, gateway):
            if chosen.peer:
                path, body = list(bodies.values())[1]
                against(chosen.peer, chosen.peer_body, url + path, body, gateway, chosen.seconds, chosen.rounds)
                return
            own_ms = whole_path(url, gateway, bodies, chosen.seconds)
            with (Path(scratch) / "log").open("w") as log:
                print_shares(address, dict(list(bodies.items())[:2]), own_ms, log)


if __name__ == "__main__":
    main()
