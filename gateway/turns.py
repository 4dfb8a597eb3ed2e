"""One thread computes at a time, and lets another one compute while it waits.

Python runs one thread at a time anyway. But threads that all want the interpreter pass it on at every system call, from core to core,
and that cost 15 % of the gateway's processor time (mean of 7 runs without and 4 with turns: wrk with 8 connections, the model server on
the same 2 cores and its processor time as the measure of how fast the machine was; Python 3.11, gunicorn 27.0).
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from gateway.serving import Card, Prediction, Predictor, ServedVersion

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]  # a WSGI application


class Turns:
    """A lock that a thread holds while it computes an answer."""

    def __init__(self) -> None:
        self._turn = threading.Lock()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Wait until no other thread computes, and compute within the block."""
        with self._turn:
            yield

    @contextmanager
    def released(self) -> Iterator[None]:
        """Inside `taken`: let other threads compute while the block waits for something."""
        self._turn.release()
        try:
            yield
        finally:
            self._turn.acquire()


class TurnMiddleware:
    """A WSGI application whose answers are computed one at a time."""

    def __init__(self, turns: Turns, app: App) -> None:
        self._turns, self._app = turns, app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with self._turns.taken():
            parts = self._app(environ, start_response)
            try:
                return [b"".join(parts)]
            finally:
                parts.close()  # type: ignore[attr-defined]


class TurnPredictor:
    """A predictor that lets other threads compute while it waits for the model server."""

    def __init__(self, turns: Turns, predictor: Predictor) -> None:
        self._turns, self._predictor = turns, predictor

    def predict(self, images: np.ndarray) -> list[Prediction]:
        """As `Predictor.predict`."""
        with self._turns.released():
            return self._predictor.predict(images)

    def card(self, version: int | None) -> Card:
        """As `Predictor.card`."""
        with self._turns.released():
            return self._predictor.card(version)

    def versions(self) -> list[ServedVersion]:
        """As `Predictor.versions`."""
        with self._turns.released():
            return self._predictor.versions()
