"""One thread computes at a time; it steps aside while it waits.

Python runs one thread at a time anyway. But threads that all want the interpreter pass it on at every system call, from core to core,
and that cost 15 % of the gateway's processor time (mean of 7 runs without and 4 with turns: wrk with 8 connections, the model server on
the same 2 cores and its processor time as the measure of how fast the machine was; Python 3.11, gunicorn 27.0).
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Turns:
    """Gives turns to the threads that answer requests."""

    def __init__(self) -> None:
        self._turn = threading.Lock()

    def taken_by(self, app: App) -> App:
        """The WSGI application, each of its answers made within a turn."""

        def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            with self._turn:
                parts = app(environ, start_response)
                try:
                    return [b"".join(parts)]
                finally:
                    parts.close()  # type: ignore[attr-defined]

        return answer

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Within a turn: let others have it for as long as the block waits."""
        self._turn.release()
        try:
            yield
        finally:
            self._turn.acquire()
