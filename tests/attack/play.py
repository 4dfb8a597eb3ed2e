"""The table of attacks, how one is played, and what a gateway has to keep during each."""

import contextlib
import json
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from pynumdraw.wire import serving_pb2, tensor_pb2
from tests import stack
from tests.attack.watch import BLANK, DRAWN, Seen, Watch, ask
from tests.bench.process import processes_of
from tests.contract.fake_serving import FakeServing, serve, text

PROBE_S, MEMORY_MB = 1.0, 200.0

_BLOCKED_DNS = """
import socket, time
resolve = socket.getaddrinfo
def getaddrinfo(host, port, *args, **kwargs):
    if str(port) == "{port}":
        time.sleep(3600)
    return resolve(host, port, *args, **kwargs)
socket.getaddrinfo = getaddrinfo
"""


@dataclass(frozen=True)
class Attack:
    """One row of the table.

    hung: the model server does not answer, and ordinary drawings are blank ones. bad_replies: it answers with what is no reply of our
    model, and every ordinary drawing is answered 502. dns: the name server does not answer. fds: the gateway's limit of file descriptors.
    """

    name: str
    connections: int
    hung: bool = False
    bad_replies: bool = False
    dns: bool = False
    fds: int | None = None
    title: str = ""


ATTACKS = [
    Attack("large_bodies", 18),
    Attack("objects", 16),
    Attack("scribbles", 40),
    Attack("pictures", 60),
    Attack("stalled_bodies", 120),
    Attack("dripped_heads", 200),
    Attack("dripped_bodies", 140),
    Attack("idle", 1050),
    Attack("idle", 1100, fds=1024, title="idle, 1,024 descriptors"),
    Attack("versions", 150, dns=True),
    Attack("cards", 140, hung=True),
    Attack("broken_bodies", 40),
    Attack("methods", 8),
    Attack("pipelines", 40),
    Attack("cards", 8, bad_replies=True, title="replies of no model"),
]


def bad_replies() -> Callable[[serving_pb2.PredictResponse], None]:
    """Makes a reply as large, as deep or as strange as one can be, each time in another way: up to 13 MB, as gRPC takes no more than 16."""
    huge = tensor_pb2.TensorProto(dtype=tensor_pb2.DT_FLOAT, float_val=[0.1] * 400_000)
    for size in (1 << 33, 10):
        huge.tensor_shape.dim.add(size=size)
    unknown = tensor_pb2.TensorProto(dtype=9999)  # type: ignore[arg-type] - that is the point
    cards = ("[" * 100_000, '{"a": ' + "[" * 900 + "]" * 900 + "}", '{"ink_version": 1e999}', "9" * 1_500_000)
    tensors = cycle((huge, unknown, *map(text, cards)))

    def corrupt(reply: serving_pb2.PredictResponse) -> None:
        tensor = next(tensors)
        for output in reply.outputs.values():
            output.CopyFrom(tensor)

    return corrupt


@contextlib.contextmanager
def model_server(attack: Attack, store: Path) -> Iterator[tuple[str, FakeServing | stack.Program]]:
    """(address, the server): the stand-in, or one that gives bad replies."""
    if attack.bad_replies:
        with serve(FakeServing()) as fake:
            yield f"localhost:{fake.port}", fake
    else:
        server, address, _ = stack.model_server(store)
        with server:
            yield address.replace("127.0.0.1", "localhost"), server


@contextlib.contextmanager
def gateway(attack: Attack, serving_address: str, scratch: Path, **settings: str) -> Iterator[tuple[stack.Program, int, int]]:
    """(program, port, management port) of a gateway with its defaults but for these settings, which reads drawings."""
    management_port = stack.free_port()
    environ = {}
    if attack.dns:
        (scratch / "sitecustomize.py").write_text(_BLOCKED_DNS.format(port=serving_address.rpartition(":")[2]))
        environ["PYTHONPATH"] = str(scratch)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (attack.fds or soft, hard))
        program, url = stack.gateway(serving_address, environ, MANAGEMENT_PORT=str(management_port), **settings)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with program:
        port = int(url.rpartition(":")[2])
        stack.wait_until("the gateway reads a drawing", lambda: reads(port))
        yield program, port, management_port


def reads(port: int) -> bool:
    """Whether an ordinary drawing is answered."""
    return ask(port, "POST", "/api/v1/predict", DRAWN)[0] == 200


@contextlib.contextmanager
def attacker(name: str, port: int, connections: int, seconds: float) -> Iterator["subprocess.Popen[bytes]"]:
    """The attacking process; the block ends when it has ended."""
    command = [sys.executable, "-m", "tests.attack.attacks", name, "127.0.0.1", str(port), str(connections), f"{seconds:g}"]
    with subprocess.Popen(command, cwd=stack.ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
            process.wait(seconds + 60)
        finally:
            process.kill()


def attacked(program: stack.Program, port: int, management_port: int, attack: Attack, seconds: float) -> Seen:
    """What is seen while an attack runs. Raises AssertionError where the gateway does not survive it."""
    watch = Watch(port, management_port, processes_of(program.process), BLANK if attack.hung else DRAWN)
    with watch as seen, attacker(attack.name, port, attack.connections, seconds):
        pass
    assert program.process.poll() is None, f"the gateway ended with {program.process.returncode}:\n{program.output[-3000:]}"
    return seen


def play(attack: Attack, store: Path, seconds: float, scratch: Path) -> Seen:
    """Run one attack on a gateway of its own. Raises AssertionError where a program does not start, or does not survive."""
    with model_server(attack, store) as (address, server), gateway(attack, address, scratch) as (program, port, management_port):
        if isinstance(server, FakeServing):
            server.corrupt = bad_replies()
        elif attack.hung:
            server.process.send_signal(signal.SIGSTOP)
        try:
            seen = attacked(program, port, management_port, attack, seconds)
        finally:
            if isinstance(server, FakeServing):
                server.corrupt = None
            else:
                server.process.send_signal(signal.SIGCONT)
        stack.wait_until("the gateway reads a drawing afterwards", lambda: reads(port), 30)
        return seen


def missed(attack: Attack, seen: Seen) -> list[str]:
    """The bars that were missed, in words."""
    wanted = 502 if attack.bad_replies else 200
    asked, in_time = sum(seen.answers.values()), seen.answers[wanted] - seen.late
    others = {status: count for status, count in seen.answers.items() if status not in (wanted, 429)}
    found = []
    if seen.probe_s > PROBE_S or seen.probes_failed:
        found.append(f"a probe waited {seen.probe_s:.1f} s, {seen.probes_failed} failed; wanted at most {PROBE_S:g} s")
    if in_time * 2 < asked or others or asked == 0:
        found.append(f"{in_time} of {asked} ordinary requests were answered {wanted} in time, others {others}; wanted half, the rest 429")
    if seen.memory_mb > MEMORY_MB:
        found.append(f"{seen.memory_mb:.0f} MB were resident; wanted at most {MEMORY_MB:.0f}")
    if seen.errors and not attack.hung and not attack.bad_replies:
        found.append(f"{seen.errors} answers were 5xx; wanted none")
    return found


def end_under_load(program: stack.Program, port: int, connections: int, seconds: float) -> dict[str, int]:
    """Send SIGTERM to a gateway while clients come anew for each request: how many were answered, refused and lost; its exit code."""
    with attacker("newcomers", port, connections, seconds) as process:
        stack.wait_until("the load runs", lambda: process.poll() is None and reads(port))
        code = program.stop(30)
        output, _ = process.communicate(timeout=seconds + 60)
    return {**json.loads(output), "exit code": code}
