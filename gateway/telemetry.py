"""What the gateway tells its operators: Prometheus metrics on a port of their own, a JSON line a request, and who answered lately.

No drawing is in any of it.
"""

import collections
import json
import logging
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any, TextIO

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector, start_http_server

WINDOW_S = 60
_encode = json.JSONEncoder(default=str).encode
_SECONDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_CONFIDENCE = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0)


class Telemetry:
    """Counts requests and answers. Safe for many threads."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._requests = Counter(
            "gateway_requests", "Requests answered.", ["route", "method", "status", "model_version"], registry=self.registry
        )
        self._latency = Histogram(
            "gateway_request_seconds",
            "From the request's head to its answer.",
            ["route", "model_version"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._answers = Counter(
            "gateway_answers",
            "Answers by digit and reason (none: a plain digit).",
            ["digit", "reason", "model_version"],
            registry=self.registry,
        )
        self._confidence = Histogram(
            "gateway_confidence", "Confidence of the digits answered.", ["model_version"], buckets=_CONFIDENCE, registry=self.registry
        )
        self._in_flight = Gauge("gateway_requests_in_flight", "Requests being answered now.", registry=self.registry)
        self._recent: collections.deque[tuple[int, collections.Counter[int]]] = collections.deque(maxlen=WINDOW_S + 1)
        self._recent_lock = threading.Lock()

    def serve(self, host: str, port: int) -> None:
        """Answer /metrics on a port, from a thread of its own."""
        start_http_server(port, host, registry=self.registry)

    def began(self) -> None:
        """A request has come in."""
        self._in_flight.inc()

    def ended(self, route: str, method: str, status: int, version: int | None, seconds: float) -> None:
        """That request has been answered, by this version of the model if by any."""
        self._in_flight.dec()
        named = "" if version is None else str(version)
        self._requests.labels(route, method, str(status), named).inc()
        self._latency.labels(route, named).observe(seconds)

    def answered(self, digit: int | None, reason: str | None, version: int | None, confidence: float | None) -> None:
        """A drawing has been answered."""
        named = "" if version is None else str(version)
        self._answers.labels("none" if digit is None else str(digit), reason or "none", named).inc()
        if confidence is not None:
            self._confidence.labels(named).observe(confidence)
        if version is not None:
            second = int(time.monotonic())
            with self._recent_lock:
                if not self._recent or self._recent[-1][0] != second:
                    self._recent.append((second, collections.Counter()))
                self._recent[-1][1][version] += 1

    def recent_answers(self) -> dict[int, int]:
        """How many drawings each version of the model has answered here in the last `WINDOW_S` seconds."""
        oldest = int(time.monotonic()) - WINDOW_S
        with self._recent_lock:
            return dict(sum((counts for second, counts in self._recent if second > oldest), collections.Counter()))


class JsonLines(logging.Formatter):
    """One JSON object a line. What a record has as `fields` becomes members."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record, without its end."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _encode(line)


def log_as_json(level: str, stream: TextIO = sys.stdout) -> None:
    """Send the process's log to a stream, one JSON object a line."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False  # no line tells of them, and every line would ask
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
