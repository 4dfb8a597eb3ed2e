"""The gateway's settings, read once at start from the environment variables GATEWAY_*."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

PREFIX = "GATEWAY_"


class SettingsError(ValueError):
    """A variable has an invalid value; the message names the variable, the value found and the value wanted."""


@dataclass(frozen=True)
class Settings:
    """One field for each variable: `port` is GATEWAY_PORT."""

    host: str = "127.0.0.1"
    """Address to listen on. 0.0.0.0 is every IPv4 address of the machine, :: every IPv6 and IPv4 one; brackets may be round it."""

    port: int = 8080
    """TCP port of the page and the API."""

    management_port: int = 9090
    """TCP port of /healthz, /readyz and /metrics on the same host, for probes and metrics and not for the world; 0 for none."""

    base_path: str = "/"
    """Path prefix that a proxy passes on: with /digits the page is at /digits/. Requests without the prefix work too."""

    serving_address: str = "localhost:8500"
    """Address of TensorFlow Serving: host:port (requests go round robin to every address of the host) or unix:/path."""

    model_name: str = "digits"
    """Name of the model in TensorFlow Serving."""

    predict_timeout_s: float = 2.0
    """Seconds that a prediction may take, retries included."""

    max_in_flight: int = 64
    """Most drawings that are read at a time; a request beyond that is answered 429."""

    max_body_bytes: int = 8 * 1024 * 1024
    """Longest request body, bytes. The original demo's 250,000 floats take up to 5.5 million."""

    request_timeout_s: float = 20.0
    """Seconds for the head of a request, for its body, and for its answer, each; a slower client is disconnected."""

    keep_alive_s: float = 650.0
    """Seconds that a connection may be idle between requests. Longer than load balancers keep one (AWS 350, Google 610): they close it
    then, and not we under a request that they send. At the limit of connections the longest idle one is closed in any case."""

    shutdown_delay_s: float = 1.0
    """Seconds from SIGTERM until the port closes. Meanwhile /readyz answers 503, so that load balancers stop sending; all else works."""

    drain_s: float = 10.0
    """Seconds that requests in flight have to finish after that."""

    dns_refresh_s: float = 5.0
    """Least seconds between two DNS look-ups of the serving address."""

    log_level: str = "info"
    """debug, info, warning or error."""

    def __post_init__(self) -> None:
        for name in ("port", "management_port"):
            self._check(name, 0 <= getattr(self, name) <= 65535, "0 to 65535")
        self._check("port", self.port != self.management_port or self.port == 0, f"another port than {PREFIX}MANAGEMENT_PORT")
        for name in ("predict_timeout_s", "request_timeout_s", "keep_alive_s", "dns_refresh_s"):
            self._check(name, 0 < getattr(self, name) <= 3600, "more than 0, at most 3600 seconds")
        for name in ("shutdown_delay_s", "drain_s"):
            self._check(name, 0 <= getattr(self, name) <= 3600, "0 to 3600 seconds")
        for name in ("max_in_flight", "max_body_bytes"):
            self._check(name, getattr(self, name) >= 1, "1 or more")
        self._check("base_path", self.base_path.startswith("/"), "a path that begins with /")
        self._check("log_level", self.log_level in ("debug", "info", "warning", "error"), "debug, info, warning or error")
        self._check("model_name", bool(self.model_name), "a name")
        host, _, port = self.serving_address.rpartition(":")
        is_host = host != "" and not set(host) & set("/,; ") and (":" not in host or (host[0], host[-1]) == ("[", "]"))
        is_host_and_port = is_host and port.isascii() and port.isdigit() and 0 < int(port) <= 65535
        is_valid = is_host_and_port or self.serving_address.startswith("unix:/")
        self._check("serving_address", is_valid, "one host:port without a scheme, IPv6 in brackets, or unix:/path")

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
