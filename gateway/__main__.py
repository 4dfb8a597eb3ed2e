"""`python -m gateway`: the gateway behind gunicorn, configured by the GATEWAY_* environment variables.

One worker process answers requests with threads, since most of a request is waiting for the model server; to scale out, run more pods.
gunicorn's main process restarts the worker if it dies.

On SIGTERM, /readyz answers 503 while all else works for `shutdown_delay_s`, so that load balancers stop sending requests. Then the port
closes, requests in flight get `drain_s` to finish, and the exit code is 0. SIGINT (Ctrl-C) does the same without the delay.
"""

import contextlib
import ctypes
import functools
import logging
import math
import os
import select
import socket
import sys
import tempfile
import threading
import time
from types import FrameType
from typing import Any

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
from gunicorn.config import Config  # type: ignore[import-untyped]
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

from gateway.settings import Settings, SettingsError
from gateway.telemetry import log_as_json

KEEP_ALIVE_S = 120  # longer than proxies keep idle connections (Traefik 90, nginx 60), so that no request meets a connection we just closed
NEXT_REQUEST_WAIT_MS = 5  # a thread waits that long for a connection's next request before it takes another connection; arbitrary
MAX_CONNECTIONS = 1000  # open at a time; gunicorn's default
WORKER_TIMEOUT_S = 30  # gunicorn's default: a worker that hangs as a whole for that long is restarted
_draining = threading.Event()


class Worker(ThreadWorker):
    """gunicorn's threaded worker, changed: threads keep busy connections, slow requests time out, SIGTERM takes effect later."""

    request_timeout_s = 0.0
    shutdown_delay_s = 0.0

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._started_at: dict[Any, float] = {}  # connection → when a thread took it, monotonic s

    def handle(self, conn: Any) -> Any:
        """Answer a request of a connection and those that follow at once.

        Handing the connection back to the selector between two requests costs as much processor time as a request.
        """
        keep_open = self._answer(conn)
        while keep_open is True and self.alive and self.nr_conns < self.cfg.threads:
            poll = select.poll()
            poll.register(conn.sock, select.POLLIN)
            if not poll.poll(NEXT_REQUEST_WAIT_MS):
                break
            keep_open = self._answer(conn)
        return keep_open

    def _answer(self, conn: Any) -> Any:
        self._started_at[conn] = time.monotonic()
        try:
            return super().handle(conn)
        finally:
            del self._started_at[conn]

    def murder_pending(self) -> None:
        """Called by gunicorn at least once a second: end connections that waited too long for a thread, and requests over the timeout."""
        super().murder_pending()
        oldest = time.monotonic() - self.request_timeout_s
        for conn in [conn for conn, started_at in self._started_at.copy().items() if started_at < oldest]:
            with contextlib.suppress(OSError):
                conn.sock.shutdown(socket.SHUT_RD)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """On SIGTERM: make /readyz answer 503, and shut down after `shutdown_delay_s`. A second SIGTERM changes nothing."""
        if not _draining.is_set():
            _draining.set()
            timer = threading.Timer(self.shutdown_delay_s, functools.partial(super().handle_exit, sig, frame))
            timer.daemon = True
            timer.start()


class Logger:
    """Sends gunicorn's messages to the process's log. There is no access log: the application logs each request."""

    access = reopen_files = close_on_exec = staticmethod(lambda *_: None)

    def __init__(self, config: Config) -> None:
        self._log = logging.getLogger("gunicorn")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


class Server(BaseApplication):
    """gunicorn, configured by our settings alone."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's options."""
        settings = self.settings
        worker = type("Worker", (Worker,), {"request_timeout_s": settings.request_timeout_s, "shutdown_delay_s": settings.shutdown_delay_s})
        for name, value in {
            "bind": f"[{settings.host}]:{settings.port}" if ":" in settings.host else f"{settings.host}:{settings.port}",
            "worker_class": worker,
            "workers": 1,
            "threads": settings.all_threads,
            "worker_connections": MAX_CONNECTIONS,
            "keepalive": KEEP_ALIVE_S,
            "graceful_timeout": math.ceil(settings.shutdown_delay_s + settings.drain_s),
            "timeout": WORKER_TIMEOUT_S,
            "worker_tmp_dir": "/dev/shm"
            if os.access("/dev/shm", os.W_OK)
            else tempfile.gettempdir(),  # for the heartbeat: a disk may block
            "logger_class": Logger,
            "control_socket_disable": True,
            "forwarded_allow_ips": "",
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """The application; gunicorn calls this in the worker process."""
        from gateway.app import create_app
        from gateway.serving import ServingClient
        from gateway.telemetry import Telemetry

        _return_freed_memory()
        telemetry = Telemetry()
        if self.settings.metrics_port:
            telemetry.serve(self.settings.host, self.settings.metrics_port)
        return create_app(self.settings, ServingClient(self.settings), telemetry, _draining)


def _return_freed_memory() -> None:
    """Make glibc map each array of 1 MB or more on its own, so that freeing it returns the memory; else every thread keeps its largest."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(-3, 1 << 20)  # M_MMAP_THRESHOLD; 1 MB: pictures are larger, strokes smaller


def main() -> int:
    """Serve until a signal ends the process. Exit codes: 0 ended by a signal, 1 a port is in use, 2 invalid settings."""
    try:
        settings = Settings.from_env(os.environ)
    except SettingsError as exc:
        print(f"gateway: {exc}", file=sys.stderr)
        return 2
    for port in filter(None, (settings.port, settings.metrics_port)):
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        try:
            socket.create_server((settings.host, port), family=family).close()
        except OSError as exc:
            print(f"gateway: cannot listen on {settings.host}:{port}: {os.strerror(exc.errno) if exc.errno else exc}", file=sys.stderr)
            return 1
    log_as_json(settings.log_level)
    Server(settings).run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
