"""Telemetry for operators: Prometheus metrics on a port of their own, one JSON log line a request, and recent answers by version.

No drawing appears in any of it.
"""

import collections
import json
import logging
import sys
import threading
import time
from typing import Any, TextIO

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector

WINDOW_S = 60  # of recent answers; arbitrary, long enough to watch a rollout
WRITE_S = 0.1  # between two writes of the log; arbitrary, soon enough for who watches
MAX_LINES = 1000  # of the log that wait to be written; arbitrary
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_request_log = logging.getLogger("gateway.request")
_encode = json.JSONEncoder(default=str).encode
# Bounds of the histograms: finest where most requests lie (2 to 10 ms) and where confidence differs most (near 1).
_SECONDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_CONFIDENCE = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0)


class Telemetry:
    """Counts requests and answers. Thread-safe."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._requests = Counter(
            "gateway_requests", "Requests answered.", ["route", "method", "status", "model_version"], registry=self.registry
        )
        self._latency = Histogram(
            "gateway_request_seconds",
            "Seconds from a request's headers to its answer.",
            ["route", "model_version"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._answers = Counter(
            "gateway_answers",
            "Answers by digit and by reason (none: a digit without reservation).",
            ["digit", "reason", "model_version"],
            registry=self.registry,
        )
        self._confidence = Histogram(
            "gateway_confidence",
            "Confidence of the digits answered: the probability that the drawing is a digit and that one.",
            ["model_version"],
            buckets=_CONFIDENCE,
            registry=self.registry,
        )
        self._in_flight = Gauge("gateway_requests_in_flight", "Requests being answered now.", registry=self.registry)
        self._recent: collections.deque[tuple[int, collections.Counter[int]]] = collections.deque(maxlen=WINDOW_S + 1)
        self._recent_lock = threading.Lock()
        self._series: dict[tuple[str, str, int, int | None], tuple[Any, Any]] = {}  # labels() costs as much as the counting

    def request_started(self) -> None:
        """Count a request in flight."""
        self._in_flight.inc()

    def request_ended(self, route: str, method: str, status: int, version: int | None, seconds: float) -> None:
        """Count an answered request. version: of the model that predicted, None for no model."""
        self._in_flight.dec()
        key = (route, method, status, version)
        series = self._series.get(key)
        if series is None:
            version_label, method_label = "" if version is None else str(version), method if method in _METHODS else "other"
            counter = self._requests.labels(route, method_label, str(int(status)), version_label)
            series = counter, self._latency.labels(route, version_label)
            if method in _METHODS:  # others are as many as a client can think of
                self._series[key] = series
        series[0].inc()
        series[1].observe(seconds)

    def request_refused(self, status: int, code: str, request_id: str) -> None:
        """Count and log what was no request that could be answered: not HTTP, too long a head, or not whole in time."""
        self._requests.labels("none", "none", str(int(status)), "").inc()
        _request_log.info("refused", extra={"fields": {"request_id": request_id, "status": int(status), "reason": code}})

    def answered(self, digit: int | None, reason: str | None, version: int | None, confidence: float | None) -> None:
        """Count an answer to a drawing."""
        version_label = "" if version is None else str(version)
        self._answers.labels("none" if digit is None else str(digit), reason or "none", version_label).inc()
        if confidence is not None:
            self._confidence.labels(version_label).observe(confidence)
        if version is not None:
            second = int(time.monotonic())
            with self._recent_lock:
                if not self._recent or self._recent[-1][0] != second:
                    self._recent.append((second, collections.Counter()))
                self._recent[-1][1][version] += 1

    def recent_answers(self) -> dict[int, int]:
        """Version → number of drawings that it answered here in the last `WINDOW_S` seconds."""
        oldest = int(time.monotonic()) - WINDOW_S
        with self._recent_lock:
            return dict(sum((counts for second, counts in self._recent if second > oldest), collections.Counter()))


class JsonLines(logging.Formatter):
    """Formats a log record as one JSON object; the record's `fields` become members of it."""

    _second, _stamp = -1, ""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without a line end."""
        second = int(record.created)
        if second != self._second:
            self._stamp, self._second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)), second
        line: dict[str, Any] = {
            "time": f"{self._stamp}.{int((record.created - second) * 1000):03d}+00:00",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _encode(line)


class BatchedLines(logging.StreamHandler[TextIO]):
    """Writes lines together, at most `WRITE_S` after they came: a write for each costs as much as making it. Errors are written at once."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: list[str] = []
        threading.Thread(target=self._write, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record's line."""
        self._lines.append(self.format(record))
        if record.levelno >= logging.ERROR or len(self._lines) > MAX_LINES:
            self.flush()

    def flush(self) -> None:
        """Write what is there; called at the end of the process too."""
        with self.lock:  # type: ignore[union-attr]
            lines, self._lines = self._lines, []
            if lines:
                self.stream.write("\n".join(lines) + "\n")
                self.stream.flush()

    def _write(self) -> None:
        while True:
            time.sleep(WRITE_S)
            self.flush()


def log_as_json(level: str, stream: TextIO = sys.stdout) -> None:
    """Write the process's log to a stream, one JSON object a line."""
    handler = BatchedLines(stream)
    handler.setFormatter(JsonLines())
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False  # no line has them, and collecting them costs time
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
