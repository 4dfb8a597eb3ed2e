"""What is measured while an attack runs: the probes, an ordinary client, the memory, and the 5xx that the gateway counts."""

import http.client
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests import stack
from tests.bench.bodies import SEVEN

DRAWN = json.dumps({"width": 300, "height": 300, "strokes": SEVEN}).encode()
BLANK = json.dumps({"width": 300, "height": 300, "strokes": []}).encode()
ORDINARY_S = 3.0  # within which an ordinary client is to be answered
GIVE_UP_S = 40.0


@dataclass
class Seen:
    """probe_s: the longest that a probe waited. answers: how often the ordinary client saw a status (0: no answer); late: those after
    `ORDINARY_S`. ordinary_s: its longest wait. memory_mb: the most that was resident. errors: 5xx counted."""

    probe_s: float = 0.0
    probes_failed: int = 0
    answers: Counter[int] = field(default_factory=Counter)
    late: int = 0
    ordinary_s: float = 0.0
    memory_mb: float = 0.0
    errors: int = 0


def ask(port: int, method: str, path: str, body: bytes | None = None, timeout_s: float = GIVE_UP_S) -> tuple[int, float]:
    """(status or 0, seconds) of one request on a connection of its own."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        response = connection.getresponse()
        response.read()
        return response.status, time.monotonic() - began
    except (OSError, http.client.HTTPException):
        return 0, time.monotonic() - began
    finally:
        connection.close()


def count_5xx(port: int) -> int:
    """The 5xx that the gateway's metrics tell of."""
    _, text = stack.get(f"http://127.0.0.1:{port}/metrics", GIVE_UP_S)
    return round(sum(float(value) for value in re.findall(r'^gateway_requests_total\{.*status="5\d\d".*\} (\S+)$', text.decode(), re.M)))


class Watch:
    """Measures from the start of the block to its end."""

    def __init__(self, port: int, management_port: int, pids: list[int], ordinary: bytes = DRAWN) -> None:
        self.seen = Seen()
        self._port, self._management_port, self._pids, self._ordinary = port, management_port, pids, ordinary
        self._over = threading.Event()
        self._threads = [threading.Thread(target=each) for each in (self._probe, self._client, self._client, self._memory)]

    def __enter__(self) -> Seen:
        self._errors = count_5xx(self._management_port)
        for thread in self._threads:
            thread.start()
        return self.seen

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self.seen.errors = count_5xx(self._management_port) - self._errors

    def _every(self, pause_s: float, what: Callable[[], None]) -> None:
        while not self._over.wait(pause_s):
            what()

    def _probe(self) -> None:
        def both() -> None:
            for path in ("/healthz", "/readyz"):
                status, seconds = ask(self._management_port, "GET", path)
                self.seen.probe_s = max(self.seen.probe_s, seconds)
                self.seen.probes_failed += status != 200

        self._every(0.1, both)

    def _client(self) -> None:
        def one() -> None:
            status, seconds = ask(self._port, "POST", "/api/v1/predict", self._ordinary)
            self.seen.answers[status] += 1
            self.seen.late += status != 429 and seconds > ORDINARY_S
            self.seen.ordinary_s = max(self.seen.ordinary_s, seconds)

        self._every(0.1, one)

    def _memory(self) -> None:
        def one() -> None:
            kilobytes = 0
            for pid in self._pids:
                status = Path(f"/proc/{pid}/status")
                if status.exists():
                    kilobytes += int((re.search(r"VmRSS:\s+(\d+)", status.read_text()) or [0, 0])[1])
            self.seen.memory_mb = max(self.seen.memory_mb, kilobytes / 1024)

        self._every(0.02, one)
