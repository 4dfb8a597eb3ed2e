"""Counters and histograms under TensorFlow Serving's names, written as its Prometheus page writes them.

tensorflow_serving/util/prometheus_exporter.cc, tensorflow_serving/servables/tensorflow/{util,saved_model_warmup_util}.cc
"""

import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from modelserver.errors import StatusError
from pynumdraw.wire import serving_pb2

_LATENCY_LIMITS_US = tuple(10 * 1.8**n for n in range(33))  # 10 µs to some 20 minutes; above the last is +Inf


class Counter:
    """A number for each combination of label values that only grows."""

    kind = "counter"

    def __init__(self, name: str, labels: Sequence[str]) -> None:
        self.name, self._labels = name, labels
        self._lock = threading.Lock()
        self._cells: dict[tuple[str, ...], int] = {}

    def add(self, *values: str, amount: int = 1) -> None:
        with self._lock:
            self._cells[values] = self._cells.get(values, 0) + amount

    def lines(self) -> list[str]:
        with self._lock:
            return [f"{self.name}{{{self._text(values)}}} {count}" for values, count in self._cells.items()]

    def _text(self, values: Sequence[str]) -> str:
        escaped = (value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for value in values)
        return ",".join(f'{label}="{value}"' for label, value in zip(self._labels, escaped, strict=True))


class Histogram(Counter):
    """How often values of microseconds fell into each bucket, for each combination of label values."""

    kind = "histogram"

    def __init__(self, name: str, labels: Sequence[str]) -> None:
        super().__init__(name, labels)
        self._series: dict[tuple[str, ...], tuple[list[int], list[float]]] = {}

    def observe(self, value_us: float, *values: str) -> None:
        with self._lock:
            buckets, total = self._series.setdefault(values, ([0] * (len(_LATENCY_LIMITS_US) + 1), [0.0]))
            buckets[bisect_left(_LATENCY_LIMITS_US, value_us)] += 1
            total[0] += value_us

    def lines(self) -> list[str]:
        out = []
        with self._lock:
            for values, (buckets, total) in self._series.items():
                labels, seen = self._text(values), 0
                for limit, count in zip([*(f"{limit:g}" for limit in _LATENCY_LIMITS_US), "+Inf"], buckets, strict=True):
                    seen += count
                    out.append(f'{self.name}_bucket{{{labels},le="{limit}"}} {seen}')
                out += [f"{self.name}_sum{{{labels}}} {total[0]:g}", f"{self.name}_count{{{labels}}} {seen}"]
        return out


class Metrics:
    """What this server counts. Latencies are of calls that succeeded; `model_name` is the one that was asked for.

    Our runtime latency holds the reading and writing of tensors besides the session's run.
    """

    def __init__(self) -> None:
        self.load_attempts = Counter(":tensorflow:cc:saved_model:load_attempt_count", ("model_path", "status"))
        self.load_latency = Counter(":tensorflow:cc:saved_model:load_latency", ("model_path",))
        self.warmup_latency = Histogram(":tensorflow:serving:model_warmup_latency", ("model_path", "status"))
        self.requests = Counter(":tensorflow:serving:request_count", ("model_name", "status"))
        self.request_latency = Histogram(":tensorflow:serving:request_latency", ("model_name", "API", "entrypoint"))
        self.runtime_latency = Histogram(":tensorflow:serving:runtime_latency", ("model_name", "API", "runtime"))

    @contextmanager
    def call(self, model: str, api: str, entrypoint: str) -> Iterator[None]:
        """Count the call made within a `with`, and its latency when it succeeds."""
        begun, status = time.monotonic(), "OK"
        try:
            yield
            self.request_latency.observe((time.monotonic() - begun) * 1e6, model, api, entrypoint)
        except StatusError as exc:
            status = serving_pb2.Code.Name(exc.code)
            raise
        finally:
            self.requests.add(model, status)

    def page(self) -> str:
        """The page for Prometheus, text format 0.0.4."""
        out = []
        for metric in vars(self).values():
            out += [f"# TYPE {metric.name} {metric.kind}", *metric.lines()]
        return "\n".join(out) + "\n"
