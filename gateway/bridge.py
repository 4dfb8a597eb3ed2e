"""ASGI to Flask: every request is a greenlet in the loop's own thread.

Flask's code is written as if it could wait. Where it does (`wait`), its greenlet gives the thread back to the loop and goes on when the
awaited is there; so a thousand requests wait at the price of their memory. Each greenlet has its own context variables, which keep
Flask's `request` and `g` apart.
"""

import asyncio
import io
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

import numpy as np
from greenlet import getcurrent, greenlet

from gateway.admission import SlowLane
from gateway.errors import ClientLeft
from gateway.reply import Prediction
from gateway.serving import ServedVersion, ServingClient

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Result = TypeVar("Result")
_CLOSE = (b"connection", b"close")


def wait(awaited: Awaitable[Result]) -> Result:
    """Within a request's greenlet: the result, others run meanwhile. Raises ClientLeft where the client has left."""
    loop = getcurrent().parent
    assert loop is not None, "only a request's greenlet may wait"
    return loop.switch(awaited)


def off_loop(lane: SlowLane) -> Callable[[Callable[[], Result]], Result]:
    """How a request has slow work done: in the lane, while others run. Raises Busy."""
    return lambda work: wait(asyncio.wrap_future(lane.submit(work)))


class Waiting:
    """The model server's client as a request's code calls it: its greenlet waits, others run. See serving.Predictor."""

    def __init__(self, client: ServingClient) -> None:
        self._client = client
        self.check_room = client.check_room

    def predict(self, images: np.ndarray) -> list[Prediction]:
        """uint8[N, 28, 28], 0 paper, 255 ink → N predictions of one version. Raises GatewayError."""
        return wait(self._client.predict(images))

    def card(self, version: int | None) -> dict[str, Any]:
        """The fields of a version's card, of the one that answers now for None. Raises GatewayError."""
        return wait(self._client.card(version))

    def versions(self) -> list[ServedVersion]:
        """What every address reports."""
        return wait(self._client.versions())


class Bridge:
    """A WSGI application as an ASGI one."""

    def __init__(self, app: WsgiApp, max_body_bytes: int, draining: threading.Event) -> None:
        """draining: once set, every answer ends its connection, so that clients go elsewhere before the listener closes."""
        self._app, self._most, self._draining = app, max_body_bytes, draining

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request. Its connection says whether the body is wanted, and cancels this task when it is lost."""
        connection = scope["state"]["connection"]
        connection.task = asyncio.current_task()
        try:
            refused = scope["state"]["refused"]
            body = b"" if refused else await self._body(receive)
            if body is None:
                return
            status, headers, answer = await self._run(_environ(scope, body, refused))
            if self._draining.is_set():
                headers.append(_CLOSE)
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": answer})
        except asyncio.CancelledError:  # the client has left before its request was whole
            pass
        finally:
            connection.task = None

    async def _body(self, receive: Any) -> bytes | None:
        """The request's body, of one that is too long a byte more than is allowed; None where the client has left."""
        parts, size = [], 0
        while size <= self._most:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            parts.append(message["body"])
            size += len(parts[-1])
            if not message["more_body"]:
                break
        return (parts[0] if len(parts) == 1 else b"".join(parts))[: self._most + 1]

    async def _run(self, environ: dict[str, Any]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Run the application in a greenlet, and await for it what it waits for."""
        runner = greenlet(self._call)
        result = runner.switch(environ)
        while not runner.dead:
            try:
                value = await result
            except asyncio.CancelledError:
                result = runner.throw(ClientLeft("the client has left"))
            except Exception as exc:
                result = runner.throw(exc)
            else:
                result = runner.switch(value)
        return result

    def _call(self, environ: dict[str, Any]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        status, headers = 500, []

        def start_response(line: str, fields: list[tuple[str, str]], exc_info: Any = None) -> None:
            nonlocal status, headers
            status, headers = int(line[:3]), [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]

        parts = self._app(environ, start_response)
        try:
            return status, headers, b"".join(parts)
        finally:
            if close := getattr(parts, "close", None):
                close()


def _environ(scope: Any, body: bytes, refused: bool) -> dict[str, Any]:
    """The request as WSGI wants it (PEP 3333). gateway.refused: there was no room for the body, which is empty therefore."""
    server, path = scope["server"] or ("", 0), scope["raw_path"]
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": (unquote_to_bytes(path) if b"%" in path else path).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "gateway.refused": refused,
    }
    for raw, value in scope["headers"]:
        if b"_" in raw:  # it would pass for another name: Content_Length
            continue
        name = raw.decode("latin-1").upper().replace("-", "_")
        key = name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    return environ
