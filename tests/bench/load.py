"""Load by wrk (https://github.com/wg/wrk) and its measurements."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = Path(__file__).with_name("post.lua")
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True)
class Load:
    """What wrk measured. failed: answers that were not 2xx, and connections that broke."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    requests: int
    failed: int


def wrk_version() -> str:
    """Raises SystemExit with a sentence where there is no wrk."""
    if shutil.which("wrk") is None:
        raise SystemExit("bench: there is no wrk here; on Debian and Ubuntu: apt-get install wrk, on a Mac: brew install wrk")
    return subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout.split(" Copyright")[0]


def load(url: str, body: Path, connections: int, seconds: float) -> Load:
    """POST the body to the URL over so many connections for so long; one thread of wrk."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout=10s", "--latency", "-s", str(_SCRIPT), url]
    output = subprocess.run(command, env={**os.environ, "BODY": str(body)}, capture_output=True, text=True, check=True).stdout

    def number(pattern: str) -> float:
        found = re.search(pattern, output)
        return float(found[1]) if found else 0.0

    def milliseconds(share: int) -> float:
        found = re.search(rf"\n +{share}% +([\d.]+)([a-z]+)", output)
        assert found, output
        return float(found[1]) * _UNITS[found[2]]

    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    failed = number(r"Non-2xx or 3xx responses: (\d+)") + (sum(map(int, broken.groups())) if broken else 0)
    return Load(number(r"Requests/sec: +([\d.]+)"), milliseconds(50), milliseconds(99), int(number(r"(\d+) requests in")), int(failed))
