"""The public listener: uvicorn with limits that it lacks (timeouts of heads and bodies, a bound on connections), and the end in order.

SIGTERM: /readyz says 503 and every answer ends its connection while all else works for `shutdown_delay_s`, so that load balancers turn
away; then the listener closes, requests in flight get `drain_s` to finish, and the exit code is 0. SIGINT (Ctrl-C) does not wait.
"""

import asyncio
import contextlib
import json
import logging
import math
import resource
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway import management
from gateway.admission import BodyBudget, SlowLane
from gateway.app import create_app
from gateway.bridge import Bridge, Waiting, off_loop
from gateway.management import Heartbeat
from gateway.serving import ServingClient
from gateway.settings import Settings
from gateway.telemetry import Telemetry

ACCEPTED_AT_A_TIME = 32  # connections, each time the loop turns; their descriptors are free again two or three turns after they are closed
MAX_CONNECTIONS = 1000
MAX_HEAD_BYTES, MAX_URL_BYTES = 32 * 1024, 8 * 1024
MAX_PIPELINE = 16  # requests that a connection may send ahead of their answers
ON_THE_WAY_S = 1.0  # that a request which was sent before the listener closed may take to us
NOT_HTTP = HTTPStatus.BAD_REQUEST, "found no HTTP request"
TOO_MANY = HTTPStatus.BAD_REQUEST, f"found more than {MAX_PIPELINE} requests ahead of their answers"
TOO_LONG_HEAD = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"found a longer head, wanted at most {MAX_HEAD_BYTES} bytes"
TOO_LONG_URL = HTTPStatus.REQUEST_URI_TOO_LONG, f"found a longer address, wanted at most {MAX_URL_BYTES} bytes"
_OTHER_FILES = 64  # descriptors that are no connections: the channel, the log, the management port, files that are read


class Connection(HttpToolsProtocol):
    """uvicorn's, with a time for heads, bodies and answers, bounds on what a client may have us hold, and errors as JSON.

    stage: what is awaited, "idle" (a request), "head", "body" or "answer"; since: when that began, monotonic; held: bytes reserved.
    """

    limits: "Limits"
    stage, since, head_bytes, held, wrong = "idle", 0.0, 0, 0, NOT_HTTP
    task: asyncio.Task[None] | None = None  # that answers

    def enter(self, stage: str) -> None:
        self.stage, self.since, self.head_bytes = stage, time.monotonic(), 0

    def connection_made(self, transport: Any) -> None:
        self.enter("idle")
        super().connection_made(transport)
        self.limits.make_room(self.connections)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.task is not None:
            self.task.cancel()
        self.held = self.limits.budget.give_back(self.held)

    def eof_received(self) -> None:
        if self.stage in ("head", "body"):
            self.send_400_response("")

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.head_bytes += len(data) if self.stage == "head" else 0
        if self.head_bytes > MAX_HEAD_BYTES:
            self.wrong = TOO_LONG_HEAD
            self.send_400_response("")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.enter("head")

    def on_headers_complete(self) -> None:
        self.limits.admit(self)
        super().on_headers_complete()
        self.enter("body")
        if self.scope["state"]["refused"] and self.expect_100_continue:
            self.cycle.keep_alive = False  # its body will not come

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.enter("idle" if self.cycle.response_complete else "answer")

    def on_response_complete(self) -> None:
        if self.cycle.response_complete:  # there is no request behind this one
            self.held, self.cycle.body = self.limits.budget.give_back(self.held), bytearray()
            self.enter("idle" if self.stage == "answer" else self.stage)
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        if not self.transport.is_closing() and (self.stage != "body" or not self.cycle.response_complete):
            self.transport.write(self.limits.error(*self.wrong))
        self.transport.close()


@dataclass(frozen=True)
class Limits:
    """What a connection may do, and how it is told. connections: how many there may be. error: a refusal as it is on the wire."""

    connections: int
    timeout_s: float
    keep_alive_s: float
    budget: BodyBudget
    error: Callable[[HTTPStatus, str], bytes]

    def make_room(self, open_connections: set[Any]) -> None:
        """Beyond the limit, close the connection that has kept us waiting longest."""
        if len(open_connections) > self.connections:
            waited_for = [each for each in open_connections if isinstance(each, Connection) and each.stage != "answer"]
            longest = min(waited_for, key=lambda each: each.since)
            open_connections.discard(longest)
            longest.transport.abort()

    def admit(self, connection: Connection) -> None:
        """Reserve the body that a head announces, or have it refused. Raises OverflowError, for the parser, where the head is too long."""
        head_bytes = sum(len(name) + len(value) for name, value in connection.headers)
        for is_beyond, wrong in (
            (len(connection.pipeline) >= MAX_PIPELINE, TOO_MANY),
            (len(connection.url) > MAX_URL_BYTES, TOO_LONG_URL),
            (head_bytes > MAX_HEAD_BYTES, TOO_LONG_HEAD),
        ):
            if is_beyond:
                connection.wrong = wrong
                raise OverflowError(wrong[1])
        reserved = self.budget.take(dict(connection.headers))
        connection.held += reserved or 0
        connection.scope["state"].update(connection=connection, refused=reserved is None)

    def watch(self, connection: Connection, now: float) -> None:
        """Cut off who keeps us waiting too long: for a request, for the rest of one, or for the answer's way out."""
        waited_s, transport = now - connection.since, connection.transport
        if connection.stage == "idle" and connection.cycle is not None and not transport.get_write_buffer_size():
            if waited_s > self.keep_alive_s:
                transport.close()
        elif waited_s > self.timeout_s:
            if connection.stage in ("head", "body") and not transport.is_closing():
                connection.wrong = HTTPStatus.REQUEST_TIMEOUT, f"found no whole request after {self.timeout_s:g} s"
                connection.send_400_response("")
                connection.since = now - self.timeout_s + 1.0  # to read it
            else:
                transport.abort()


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
        """Close the listener; whom the kernel has accepted already is answered, and so is a request that was on its way by then."""
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
        """Begin to end. A group that is told to end sends it twice: once is enough; a second Ctrl-C does not wait for anyone."""
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
        content = json.dumps({"error": {"code": code, "message": message, "request_id": request_id}}).encode()
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
