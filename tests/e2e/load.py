"""Drawings sent through the Ingress at a steady rate, each answer looked at: what a user of the page would have seen."""

import http.client
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

RATE = 40.0  # requests a second; 30 are wanted of every step under load
THREADS = 16
TIMEOUT_S = 10.0
FRESH_EVERY = 5  # so many requests go over a connection that is kept before a new one is made: both kinds are to be seen


@dataclass(frozen=True)
class Outcome:
    """One request: when it was due, how long it took, seconds; what is wrong with it, if anything, and who answered."""

    at: float
    took_s: float
    failed: str | None
    wrong: str | None
    version: int | None


class Load:
    """Sends drawings until stopped. versions: those that may answer now; a test sets it before it changes what is served."""

    def __init__(self, url: str, host: str, path: str, drawings: Sequence[tuple[str, dict[str, Any], int]], rate: float = RATE) -> None:
        where = urlsplit(url)
        self._address = (where.hostname or "", where.port or 80)
        self._headers = {"Host": host, "Content-Type": "application/json"}
        self._path = f"{path.rstrip('/')}/api/v1/predict"
        self._bodies = [(name, json.dumps(drawing).encode(), digit) for name, drawing, digit in drawings]
        self.rate = rate
        self.versions: set[int] = set()
        self.outcomes: list[Outcome] = []
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def running(self) -> bool:
        """Whether requests are being sent."""
        return bool(self._threads)

    def start(self) -> None:
        """Begin to send."""
        self._stop.clear()
        numbers, begin = itertools.count(), time.monotonic()
        self._threads = [threading.Thread(target=self._send, args=(numbers, begin), daemon=True) for _ in range(THREADS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; requests in flight are waited for."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._threads = []

    def _send(self, numbers: Any, begin: float) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._stop.is_set():
            number = next(numbers)
            due = begin + number / self.rate
            if self._stop.wait(max(0.0, due - time.monotonic())):
                break
            if connection is None:
                connection = http.client.HTTPConnection(*self._address, timeout=TIMEOUT_S)
            at = time.monotonic()
            failed, wrong, version = self._ask(connection, number)
            self.outcomes.append(Outcome(at, time.monotonic() - at, failed, wrong, version))
            if failed or number % FRESH_EVERY == 0:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def _ask(self, connection: http.client.HTTPConnection, number: int) -> tuple[str | None, str | None, int | None]:
        name, body, digit = self._bodies[number % len(self._bodies)]
        allowed = set(self.versions)
        try:
            connection.request("POST", self._path, body, self._headers)
            reply = connection.getresponse()
            text = reply.read()
        except (OSError, http.client.HTTPException) as exc:
            return f"{type(exc).__name__}: {exc}", None, None
        if reply.status != 200:
            return f"HTTP {reply.status}: {text[:300].decode(errors='replace')}", None, None
        answer = json.loads(text)
        version = answer["model"]["version"]
        if answer["digit"] != digit:
            return None, f"{name}: {answer['digit']!r} ({answer['reason']}), {digit} was wanted", version
        if version not in allowed | self.versions:
            return None, f"version {version} answered, {sorted(allowed)} may", version
        return None, None, version


@dataclass(frozen=True)
class Tally:
    """What came of the requests of some seconds."""

    seconds: float
    sent: int
    failed: int
    wrong: int
    versions: dict[int, int]
    slowest_s: float


def tally(outcomes: Sequence[Outcome], begin: float, end: float) -> Tally:
    """Of those that were sent from begin on and before end."""
    chosen = [outcome for outcome in list(outcomes) if begin <= outcome.at < end]
    versions = Counter(outcome.version for outcome in chosen if outcome.version is not None)
    return Tally(
        end - begin,
        len(chosen),
        sum(outcome.failed is not None for outcome in chosen),
        sum(outcome.wrong is not None for outcome in chosen),
        dict(sorted(versions.items())),
        max((outcome.took_s for outcome in chosen), default=0.0),
    )
