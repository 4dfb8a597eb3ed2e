"""The public listener: uvicorn, whose connections are ours (connection.py), and the end in order.

SIGTERM: /readyz says 503 and every answer ends its connection while all else works for `shutdown_delay_s`, so that load balancers turn
away; then the listener closes, requests in flight get `drain_s` to finish, and the exit code is 0. SIGINT (Ctrl-C) does not wait.
"""

import asyncio
import contextlib
import ctypes
import json
import logging
import math
import resource
import secrets
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from types import FrameType

import uvicorn

from gateway import management
from gateway.admission import BodyBudget, SlowLane
from gateway.app import create_app
from gateway.bridge import Bridge, Waiting, off_loop
from gateway.connection import Connection, Limits
from gateway.errors import error_body
from gateway.management import Heartbeat
from gateway.serving import ServingClient
from gateway.settings import Settings
from gateway.telemetry import Telemetry

ACCEPTED_AT_A_TIME = 32  # connections, each time the loop turns; their descriptors are free again two or three turns after they are closed
MAX_CONNECTIONS = 1000
HANDSHAKE_S = 0.1  # that a handshake which has begun may take to end
ON_THE_WAY_S = 1.0  # that a request which was sent before the listener closed may take to us
SO_ATTACH_FILTER = 26  # Linux's include/uapi/asm-generic/socket.h; the filter's form: include/uapi/linux/filter.h
_NO_SYN = (0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFF)  # load TCP's flags; is it SYN? drop; take
_OTHER_FILES = 64  # descriptors that are no connections: the channel, the log, the management port, files that are read


class Server(uvicorn.Server):
    """uvicorn's, which ends in our order and watches over its connections."""

    def __init__(self, config: uvicorn.Config, limits: Limits, heartbeat: Heartbeat, draining: threading.Event, shutdown_delay_s: float):
        super().__init__(config)
        self._limits, self._heartbeat, self._draining, self._delay_s = limits, heartbeat, draining, shutdown_delay_s
        self._loop = asyncio.get_running_loop()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, with room for those who come at once: how many are taken each time the loop turns is another number."""
        await super().startup(sockets)
        for listener in sockets or []:
            listener.listen(1024)
        self._watching = self._loop.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            self._heartbeat.beat()
            now = time.monotonic()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    self._limits.watch(connection, now)
            await asyncio.sleep(0.5)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listener: first nobody new, then whom the kernel has accepted already; a request that is on its way is answered."""
        for listener in sockets or []:
            refuse_handshakes(listener)
        await asyncio.sleep(HANDSHAKE_S)
        accepted = []
        for listener in sockets or []:
            with contextlib.suppress(OSError):  # BlockingIOError: that was the last
                while True:
                    accepted.append(listener.accept()[0])
        for server in self.servers:
            server.close()
        make: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        for late in accepted:
            await self._loop.connect_accepted_socket(
                partial(make, config=self.config, server_state=self.server_state, app_state=self.lifespan.state), late
            )
        end = time.monotonic() + ON_THE_WAY_S
        while self.server_state.connections and time.monotonic() < end and not self.force_exit:
            await asyncio.sleep(0.05)
        await super().shutdown()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end. A process group's signal may come twice: a second SIGTERM changes nothing, a second Ctrl-C waits for nobody."""
        if sig == signal.SIGINT:
            self.force_exit = self.should_exit
            self.should_exit = True
        elif not self._draining.is_set():
            self._loop.call_soon_threadsafe(self._loop.call_later, self._delay_s, setattr, self, "should_exit", True)
        self._draining.set()


def listen(host: str, port: int) -> socket.socket:
    """A listener. `::` is every address of the machine, IPv6 and IPv4, or IPv4 alone where the kernel has no IPv6; brackets round an
    address are as good. Raises OSError."""
    host = host.strip("[]")
    dual = host == "::" and socket.has_dualstack_ipv6()
    if host == "::" and not dual:
        host = "0.0.0.0"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=128, dualstack_ipv6=dual)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # its connections inherit it: a head and its body are two writes
    return listener


def refuse_handshakes(listener: socket.socket) -> None:
    """Have the kernel drop what would begin a connection, so that none comes between the last accept and the close, which would reset it:
    a client asks again after a second and is refused. Those that have begun go on. Nothing is done where there is no Linux below."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in _NO_SYN))
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a sandbox whose kernel is its own, as gVisor
            listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(_NO_SYN), ctypes.addressof(code)))


def most_connections() -> int:
    """As many as there are file descriptors for, with some to spare."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = soft - 4 * ACCEPTED_AT_A_TIME - _OTHER_FILES if soft != resource.RLIM_INFINITY else MAX_CONNECTIONS
    return max(16, min(MAX_CONNECTIONS, free))


def refusals(telemetry: Telemetry) -> Callable[[HTTPStatus, str], bytes]:
    """How a request that never became one is refused: as JSON like every error, counted and logged."""

    def error(status: HTTPStatus, message: str) -> bytes:
        request_id, code = secrets.token_hex(8), status.name.lower()
        telemetry.request_refused(status, code, request_id)
        content = json.dumps(error_body(code, message, request_id)).encode()
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        return f"{head}X-Request-ID: {request_id}\r\nConnection: close\r\n\r\n".encode() + content

    return error


async def serve(
    settings: Settings, listener: socket.socket, management_listener: socket.socket | None, stuck_s: float = management.STUCK_S
) -> None:
    """Answer on these listeners until a signal ends it. stuck_s: how long the loop may stand still before /healthz says 503."""
    telemetry, draining, lane, heartbeat = Telemetry(), threading.Event(), SlowLane(), Heartbeat(stuck_s)
    heartbeat.others.append(lane.stuck_s)
    client = ServingClient(settings)
    app = create_app(settings, Waiting(client), telemetry, draining, run_slow=off_loop(lane))
    budget = BodyBudget(settings.max_body_bytes)
    limits = Limits(most_connections(), settings.request_timeout_s, settings.keep_alive_s, budget, refusals(telemetry))
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # what it warns of are requests, which have a line of ours
    config = uvicorn.Config(
        Bridge(app.wsgi_app, settings.max_body_bytes, draining),
        http=type("Connection", (Connection,), {"limits": limits}),
        ws="none",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=ACCEPTED_AT_A_TIME,
        timeout_keep_alive=math.ceil(settings.keep_alive_s),
        timeout_graceful_shutdown=math.ceil(settings.drain_s),
    )
    server = Server(config, limits, heartbeat, draining, settings.shutdown_delay_s)
    end = management.serve(management_listener, heartbeat, draining, telemetry.registry) if management_listener else None
    try:
        await server.serve([listener])
    finally:
        if end is not None:
            end()
        lane.close()
        await client.close()
