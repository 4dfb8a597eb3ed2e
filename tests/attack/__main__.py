"""`python -m tests.attack`: play what one machine can do to a gateway, and hold what is seen against the bars.

    --only NAME …    these attacks (all)
    --seconds S      how long each lasts (10); the short form of the tests is 2
    --store DIR      the model store (models)

A gateway with its default settings, and the stand-in behind it, are started for each attack, on loopback; the attacker is a process of
its own on the same cores. The exit code is 1 where a bar is missed.
"""

import argparse
import contextlib
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests import stack
from tests.attack.watch import BLANK, DRAWN, Seen, Watch, ask
from tests.bench.process import processes_of

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
    """One row of the table. hung: the model server does not answer, and ordinary drawings are blank ones. dns: the name server does not
    answer. fds: the gateway's limit of file descriptors."""

    name: str
    connections: int
    hung: bool = False
    dns: bool = False
    fds: int | None = None
    as_name: str = ""

    @property
    def title(self) -> str:
        return self.as_name or self.name


ATTACKS = [
    Attack("large_bodies", 18),
    Attack("objects", 16),
    Attack("scribbles", 40),
    Attack("pictures", 60),
    Attack("stalled_bodies", 120),
    Attack("dripped_heads", 200),
    Attack("dripped_bodies", 140),
    Attack("idle", 1050),
    Attack("idle", 1100, fds=1024, as_name="idle, 1,024 descriptors"),
    Attack("versions", 150, dns=True),
    Attack("cards", 140, hung=True),
    Attack("broken_bodies", 40),
    Attack("methods", 8),
    Attack("pipelines", 40),
]


@contextlib.contextmanager
def gateway(attack: Attack, serving_address: str, scratch: Path) -> Iterator[tuple[stack.Program, int, int]]:
    """(program, port, management port) of a gateway with its defaults."""
    management_port = stack.free_port()
    environ = {}
    if attack.dns:
        (scratch / "sitecustomize.py").write_text(_BLOCKED_DNS.format(port=serving_address.rpartition(":")[2]))
        environ["PYTHONPATH"] = str(scratch)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (attack.fds or soft, hard))
        program, url = stack.gateway(serving_address, environ, MANAGEMENT_PORT=str(management_port))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with program:
        yield program, int(url.rpartition(":")[2]), management_port


def play(attack: Attack, store: Path, seconds: float, scratch: Path) -> Seen:
    """Run one attack. Raises AssertionError where a program does not start."""
    server, address, _ = stack.model_server(store)
    with server, gateway(attack, address.replace("127.0.0.1", "localhost"), scratch) as (program, port, management_port):
        stack.wait_until("the gateway reads a drawing", lambda: _ordinary(port) == 200)
        if attack.hung:
            server.process.send_signal(signal.SIGSTOP)
        try:
            watch = Watch(port, management_port, management_port, processes_of(program.process), BLANK if attack.hung else DRAWN)
            with watch as seen:
                words = [
                    sys.executable,
                    "-m",
                    "tests.attack.attacks",
                    attack.name,
                    "127.0.0.1",
                    str(port),
                    str(attack.connections),
                    f"{seconds:g}",
                ]
                attacker = subprocess.Popen(words, cwd=stack.ROOT, stderr=subprocess.DEVNULL)
                try:
                    attacker.wait(seconds + 60)
                finally:
                    attacker.kill()
                    attacker.wait()
        finally:
            server.process.send_signal(signal.SIGCONT)
        assert program.process.poll() is None, f"the gateway ended with {program.process.returncode}:\n{program.output[-3000:]}"
        stack.wait_until("the gateway reads a drawing afterwards", lambda: _ordinary(port) == 200, 30)
        return seen


def _ordinary(port: int) -> int:
    return ask(port, "POST", "/api/v1/predict", DRAWN)[0]


def missed(attack: Attack, seen: Seen) -> list[str]:
    """The bars that were missed, in words."""
    asked, in_time = sum(seen.answers.values()), seen.answers[200] - seen.late
    others = {status: count for status, count in seen.answers.items() if status not in (200, 429)}
    found = []
    if seen.probe_s > PROBE_S or seen.probes_failed:
        found.append(f"a probe waited {seen.probe_s:.1f} s, {seen.probes_failed} failed; wanted at most {PROBE_S:g} s")
    if in_time * 2 < asked or others or asked == 0:
        found.append(f"{in_time} of {asked} ordinary requests were answered 200 in time, others {others}; wanted half, the rest 429")
    if seen.memory_mb > MEMORY_MB:
        found.append(f"{seen.memory_mb:.0f} MB were resident; wanted at most {MEMORY_MB:.0f}")
    if seen.errors and not attack.hung:
        found.append(f"{seen.errors} answers were 5xx; wanted none")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description="Attack a gateway on loopback, and measure.")
    parser.add_argument("--only", nargs="*", choices=sorted({attack.name for attack in ATTACKS}))
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--store", type=Path, default=stack.ROOT / "models")
    args = parser.parse_args()
    print(
        f"{'attack':24} {'clients':>7} {'probe s':>8} {'ordinary: 200':>13} {'429':>5} {'other':>6} {'longest s':>10} {'MB':>5} {'5xx':>5}"
    )
    failed = False
    for attack in ATTACKS:
        if args.only and attack.name not in args.only:
            continue
        with tempfile.TemporaryDirectory(prefix="attack-") as scratch:
            seen = play(attack, args.store, args.seconds, Path(scratch))
        others = sum(count for status, count in seen.answers.items() if status not in (200, 429))
        row = f"{attack.title:24} {attack.connections:7} {seen.probe_s:8.2f} {seen.answers[200] - seen.late:13} {seen.answers[429]:5} "
        print(f"{row}{others + seen.late:6} {seen.ordinary_s:10.2f} {seen.memory_mb:5.0f} {seen.errors:5}", flush=True)
        for bar in missed(attack, seen):
            failed = True
            print(f"  missed: {bar}", flush=True)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
