"""`python -m gateway`: the gateway behind gunicorn, set by the GATEWAY_* variables of the environment.

One process answers, by threads: what takes time waits for the model server, and more processes are more pods. gunicorn's own process
watches it and starts another should it die. SIGTERM: /readyz says 503 while all else works for `linger_s`, so that load balancers turn
away; then the listener closes, requests in flight get `drain_s` to finish, and the exit code is 0. SIGINT (Ctrl-C) does not linger.
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

KEEP_ALIVE_S = 120  # longer than proxies keep an idle connection (Traefik 90, nginx 60): they close it, not we under their request
STAY_MS = 5  # that a thread waits for the next request of a connection before it takes another
_draining = threading.Event()


class Worker(ThreadWorker):
    """gunicorn's threads, which stay with a busy connection, do not wait for ever for a slow one, and on SIGTERM serve a while longer."""

    receive_s = 0.0
    linger_s = 0.0

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._begun: dict[Any, float] = {}  # connection → when a thread took it

    def handle(self, conn: Any) -> Any:
        """Answer a request of a connection, and the next ones that come at once: the way through the selector costs as much again."""
        keep = self._answer(conn)
        while keep is True and self.alive and self.nr_conns < self.cfg.threads:
            soon = select.poll()
            soon.register(conn.sock, select.POLLIN)
            if not soon.poll(STAY_MS):
                break
            keep = self._answer(conn)
        return keep

    def _answer(self, conn: Any) -> Any:
        self._begun[conn] = time.monotonic()
        try:
            return super().handle(conn)
        finally:
            del self._begun[conn]

    def murder_pending(self) -> None:
        """Once a second or more often: cut off those who wait too long, and those who make a thread wait too long."""
        super().murder_pending()
        oldest = time.monotonic() - self.receive_s
        for conn in [conn for conn, begun in self._begun.copy().items() if begun < oldest]:
            with contextlib.suppress(OSError):
                conn.sock.shutdown(socket.SHUT_RD)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """On SIGTERM: say so at /readyz, and end after `linger_s`. A group that is told to end sends it twice: once is enough."""
        if not _draining.is_set():
            _draining.set()
            timer = threading.Timer(self.linger_s, functools.partial(super().handle_exit, sig, frame))
            timer.daemon = True
            timer.start()


class Log:
    """gunicorn's words to the process's log; each request has its line from the application."""

    access = reopen_files = close_on_exec = staticmethod(lambda *_: None)

    def __init__(self, config: Config) -> None:
        self._log = logging.getLogger("gunicorn")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


class Server(BaseApplication):
    """gunicorn, told by our settings alone."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        super().__init__()

    def load_config(self) -> None:
        """What gunicorn is to do."""
        settings = self.settings
        for name, value in {
            "bind": f"[{settings.host}]:{settings.port}" if ":" in settings.host else f"{settings.host}:{settings.port}",
            "worker_class": type("Worker", (Worker,), {"receive_s": settings.receive_s, "linger_s": settings.linger_s}),
            "workers": 1,
            "threads": settings.all_threads,
            "worker_connections": 1000,
            "keepalive": KEEP_ALIVE_S,
            "graceful_timeout": math.ceil(settings.linger_s + settings.drain_s),
            "timeout": 30,  # a process that is stuck as a whole is started anew
            "worker_tmp_dir": "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir(),  # a sign of life on a disk may block
            "logger_class": Log,
            "control_socket_disable": True,
            "forwarded_allow_ips": "",
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """The application, made in the process that answers."""
        from gateway.app import create_app
        from gateway.serving import Serving
        from gateway.telemetry import Telemetry

        _give_memory_back()
        telemetry = Telemetry()
        if self.settings.metrics_port:
            telemetry.serve(self.settings.host, self.settings.metrics_port)
        return create_app(self.settings, Serving(self.settings), telemetry, _draining)


def _give_memory_back() -> None:
    """Have glibc map arrays of a megabyte and more each on its own, so that they go when freed: else every thread keeps its largest."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(-3, 1 << 20)  # M_MMAP_THRESHOLD


def main() -> int:
    """Serve until told to end."""
    try:
        settings = Settings.from_env(os.environ)
    except SettingsError as exc:
        print(f"gateway: {exc}", file=sys.stderr)
        return 2
    for port in filter(None, (settings.port, settings.metrics_port)):
        try:
            socket.create_server((settings.host, port), family=socket.AF_INET6 if ":" in settings.host else socket.AF_INET).close()
        except OSError as exc:
            print(f"gateway: cannot listen on {settings.host}:{port}: {os.strerror(exc.errno) if exc.errno else exc}", file=sys.stderr)
            return 1
    log_as_json(settings.log_level)
    Server(settings).run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
