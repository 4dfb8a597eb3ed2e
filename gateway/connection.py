"""A public connection: uvicorn's, with what it lacks: timeouts of heads and bodies, bounds on what is held, errors as JSON."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.admission import BodyBudget

MAX_HEAD_BYTES, MAX_URL_BYTES = 32 * 1024, 8 * 1024
MAX_PIPELINE = 16  # requests that a connection may send ahead of their answers
NOT_HTTP = HTTPStatus.BAD_REQUEST, "found no HTTP request"
TOO_MANY = HTTPStatus.BAD_REQUEST, f"found more than {MAX_PIPELINE} requests ahead of their answers"
TOO_LONG_HEAD = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"found a longer head, wanted at most {MAX_HEAD_BYTES} bytes"
TOO_LONG_URL = HTTPStatus.REQUEST_URI_TOO_LONG, f"found a longer address, wanted at most {MAX_URL_BYTES} bytes"


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
    """What a connection may do. connections: how many there may be. error: makes a refusal as it is on the wire."""

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
