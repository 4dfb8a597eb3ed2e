"""`python -m tests.attack`: play what one machine can do to a gateway, and hold what is seen against the bars.

    --only NAME …    these attacks (all)
    --seconds S      how long each lasts (10)
    --store DIR      the model store (models)

A gateway with its default settings, and the stand-in behind it, are started for each attack, on loopback; the attacker is a process of
its own on the same cores. The exit code is 1 where a bar is missed.
"""

import argparse
import tempfile
from pathlib import Path

from tests import stack
from tests.attack.play import ATTACKS, Attack, end_under_load, gateway, missed, model_server, play


def end(store: Path, seconds: float, scratch: Path) -> bool:
    """SIGTERM under load, as a line; whether the bar was missed."""
    attack = Attack("newcomers", 24)
    with model_server(attack, store) as (address, _), gateway(attack, address, scratch) as (program, port, _):
        counts = end_under_load(program, port, attack.connections, seconds)
    print(f"{'SIGTERM under load':24} {attack.connections:7}  " + ", ".join(f"{name} {count}" for name, count in counts.items()))
    if counts["lost"] or counts["exit code"]:
        print("  missed: wanted none lost, and exit code 0")
        return True
    return False


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description="Attack a gateway on loopback, and measure.")
    parser.add_argument("--only", nargs="*", choices=sorted({attack.name for attack in ATTACKS} | {"newcomers"}))
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--store", type=Path, default=stack.ROOT / "models")
    args = parser.parse_args()
    stack.newest_version(args.store)
    print(
        f"{'attack':24} {'clients':>7} {'probe s':>8} {'ordinary: 200':>13} {'429':>5} {'other':>6} {'longest s':>10} {'MB':>5} {'5xx':>5}"
    )
    failed = False
    with tempfile.TemporaryDirectory(prefix="attack-") as scratch:
        for attack in ATTACKS:
            if args.only and attack.name not in args.only:
                continue
            seen = play(attack, args.store, args.seconds, Path(scratch))
            others = sum(count for status, count in seen.answers.items() if status not in (200, 429))
            row = f"{attack.title or attack.name:24} {attack.connections:7} {seen.probe_s:8.2f} {seen.answers[200] - seen.late:13} "
            row += f"{seen.answers[429]:5} {others + seen.late:6} {seen.ordinary_s:10.2f} {seen.memory_mb:5.0f} {seen.errors:5}"
            print(row, flush=True)
            for bar in missed(attack, seen):
                failed = True
                print(f"  missed: {bar}", flush=True)
        if not args.only or "newcomers" in args.only:
            failed |= end(args.store, args.seconds, Path(scratch))
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
