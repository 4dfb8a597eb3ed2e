"""The gateway's settings, read once at start from the environment variables GATEWAY_*."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

PREFIX = "GATEWAY_"
SPARE_THREADS = 96  # beyond max_in_flight: for probes, the page, 429 and slow requests; arbitrary, idle threads are cheap


class SettingsError(ValueError):
    """A variable has an invalid value; the message names the variable, the value found and the value wanted."""


@dataclass(frozen=True)
class Settings:
    """One field for each variable: `port` is GATEWAY_PORT."""

    host: str = "127.0.0.1"
    """Address to listen on. 0.0.0.0 is every IPv4 address of the machine."""

    port: int = 8080
    """TCP port of the page and the API."""

    metrics_port: int = 9090
    """TCP port of /metrics on the same host; 0 for none."""

    base_path: str = "/"
    """Path prefix that a proxy passes on: with /digits the page is at /digits/. Requests without the prefix work too."""

    serving_address: str = "localhost:8500"
    """Address of TensorFlow Serving: host:port (requests go round robin to every address of the host) or unix:/path."""

    model_name: str = "digits"
    """Name of the model in TensorFlow Serving."""

    predict_timeout_s: float = 2.0
    """Seconds that a prediction may take, retries included."""

    max_in_flight: int = 32
    """Most predictions at a time; a request beyond that is answered 429."""

    max_body_bytes: int = 8 * 1024 * 1024
    """Longest request body, bytes. The original demo's 250,000 floats take up to 5.5 million."""

    threads: int = 0
    """Threads that answer requests; 0 for `max_in_flight` + SPARE_THREADS."""

    request_timeout_s: float = 20.0
    """Seconds from the first byte of a request to the end of its answer; a slower sender is disconnected."""

    shutdown_delay_s: float = 1.0
    """Seconds from SIGTERM until the port closes. Meanwhile /readyz answers 503, so that load balancers stop sending; all else works."""

    drain_s: float = 10.0
    """Seconds that requests in flight have to finish after that."""

    dns_refresh_s: float = 5.0
    """Least seconds between two DNS look-ups of the serving address."""

    log_level: str = "info"
    """debug, info, warning or error."""

    def __post_init__(self) -> None:
        for name in ("port", "metrics_port"):
            self._check(name, 0 <= getattr(self, name) <= 65535, "0 to 65535")
        self._check("port", self.port != self.metrics_port or self.port == 0, f"another port than {PREFIX}METRICS_PORT")
        for name in ("predict_timeout_s", "request_timeout_s", "dns_refresh_s"):
            self._check(name, 0 < getattr(self, name) <= 3600, "more than 0, at most 3600 seconds")
        for name in ("shutdown_delay_s", "drain_s"):
            self._check(name, 0 <= getattr(self, name) <= 3600, "0 to 3600 seconds")
        for name in ("max_in_flight", "max_body_bytes"):
            self._check(name, getattr(self, name) >= 1, "1 or more")
        self._check(
            "threads",
            self.threads == 0 or self.threads > self.max_in_flight,
            f"more than {PREFIX}MAX_IN_FLIGHT ({self.max_in_flight}), or 0",
        )
        self._check("base_path", self.base_path.startswith("/"), "a path that begins with /")
        self._check("log_level", self.log_level in ("debug", "info", "warning", "error"), "debug, info, warning or error")
        self._check("model_name", bool(self.model_name), "a name")
        host, _, port = self.serving_address.rpartition(":")
        is_host_and_port = host != "" and port.isascii() and port.isdigit() and 0 < int(port) <= 65535
        is_valid = is_host_and_port or self.serving_address.startswith("unix:/")
        self._check("serving_address", is_valid, "host:port or unix:/path")

    @property
    def all_threads(self) -> int:
        """How many threads answer requests."""
        return self.threads or self.max_in_flight + SPARE_THREADS

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """The settings in these variables. Raises SettingsError for an invalid value and for an unknown GATEWAY_* name."""
        known = {PREFIX + field.name.upper(): field for field in fields(cls)}
        unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
        if unknown:
            raise SettingsError(f"{unknown[0]}={environ[unknown[0]]!r}: there is no such setting; there are {', '.join(known)}")
        return cls(**{field.name: _convert(name, environ[name], type(field.default)) for name, field in known.items() if name in environ})

    def _check(self, name: str, is_valid: bool, wanted: str) -> None:
        if not is_valid:
            raise SettingsError(f"{PREFIX}{name.upper()}={getattr(self, name)!r}: wanted {wanted}")


def _convert(name: str, text: str, kind: type) -> Any:
    try:
        value = kind(text)
    except ValueError:
        raise SettingsError(f"{name}={text!r}: wanted {'a whole number' if kind is int else 'a number'} ({kind.__name__})") from None
    if kind is float and not math.isfinite(value):
        raise SettingsError(f"{name}={text!r}: wanted a finite number (float)")
    return value
