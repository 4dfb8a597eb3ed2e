"""`python -m gateway`: the gateway, configured by the GATEWAY_* environment variables.

One process, one event loop; to scale out, run more pods. What runs the loop is in server.py.
"""

import asyncio
import contextlib
import ctypes
import os
import socket
import sys

from gateway.settings import Settings, SettingsError
from gateway.telemetry import log_as_json


def _give_memory_back() -> None:
    """Have glibc map arrays of a megabyte and more each on its own, so that they go when freed: else every thread keeps its largest."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(-3, 1 << 20)  # M_MMAP_THRESHOLD


def main() -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    from gateway.server import listen, serve

    try:
        settings = Settings.from_env(os.environ)
    except SettingsError as exc:
        print(f"gateway: {exc}", file=sys.stderr)
        return 2
    listeners: list[socket.socket | None] = []
    for port in (settings.port, settings.management_port):
        try:
            listeners.append(listen(settings.host, port) if port or not listeners else None)
        except OSError as exc:
            print(f"gateway: cannot listen on {settings.host}:{port}: {os.strerror(exc.errno) if exc.errno else exc}", file=sys.stderr)
            return 1
    log_as_json(settings.log_level)
    _give_memory_back()
    public, management = listeners
    assert public is not None
    asyncio.run(serve(settings, public, management))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
