"""Where the gateway's processor time goes: each part of a request by itself, in this process, one call after another."""

import asyncio
import io
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from gateway.app import create_app
from gateway.drawing import parse_request
from gateway.recognise import recognise
from gateway.reply import Prediction
from gateway.routes import encode
from gateway.serving import ServingClient
from gateway.settings import Settings
from gateway.telemetry import log_as_json

JSON = "application/json"
ROUNDS, CALLS = 5, 300


class Fixed:
    """A predictor that has its prediction already."""

    def __init__(self, prediction: Prediction) -> None:
        self._prediction = prediction

    def check_room(self) -> None:
        """There is always room."""

    def predict(self, images: np.ndarray) -> list[Prediction]:
        return [self._prediction] * len(images)


def processor_ms(parts: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Of the whole process, a call of each: the least of `ROUNDS` means of `CALLS`, all in turn, as a machine's speed changes."""
    least = dict.fromkeys(parts, math.inf)
    for k in range(ROUNDS + 1):
        for name, call in parts.items():
            began = time.process_time()
            for _ in range(CALLS):
                call()
            if k:  # the first warms
                least[name] = min(least[name], (time.process_time() - began) / CALLS * 1000)
    return least


async def grpc_ms(address: str, frame: np.ndarray) -> tuple[Prediction, float]:
    """A prediction, and the processor ms of one, from frame to checked prediction: one at a time, so in a call of its own."""
    client = ServingClient(Settings(serving_address=address))
    try:
        (prediction,) = await client.predict(frame[None])
        means = []
        for _ in range(ROUNDS + 1):
            began = time.process_time()
            for _ in range(CALLS):
                await client.predict(frame[None])
            means.append((time.process_time() - began) / CALLS * 1000)
        return prediction, min(means[1:])
    finally:
        await client.close()


def shares(address: str, path: str, body: bytes) -> dict[str, float]:
    """Part → processor ms a request; Flask is what is left of the whole application."""
    drawing = parse_request(body, JSON).drawing
    prediction, own_grpc_ms = asyncio.run(grpc_ms(address, drawing.frame()))
    fixed: Any = Fixed(prediction)
    app = create_app(Settings(serving_address=address), fixed)
    answer = recognise(drawing, fixed)
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": path, "QUERY_STRING": "", "SERVER_NAME": "localhost", "SERVER_PORT": "80"}
    environ |= {"CONTENT_TYPE": JSON, "CONTENT_LENGTH": str(len(body)), "HTTP_HOST": "localhost", "SERVER_PROTOCOL": "HTTP/1.1"}
    environ |= {"wsgi.url_scheme": "http"}

    def whole() -> None:
        parts = app({**environ, "wsgi.input": io.BytesIO(body), "wsgi.errors": io.StringIO()}, lambda *_: lambda _: None)
        assert b'"digit"' in b"".join(parts)

    records: list[logging.LogRecord] = []
    logger, taken = logging.getLogger("gateway.request"), logging.Handler()
    taken.emit = records.append  # type: ignore[method-assign]
    logger.addHandler(taken)
    whole()
    logger.removeHandler(taken)
    found = processor_ms(
        {
            "parse": lambda: parse_request(body, JSON),
            "raster": lambda: (drawing.ink_problem(), drawing.frame()),
            "JSON": lambda: encode({**answer.to_json(), "model": {"name": "digits", "version": 1}, "request_id": "0" * 16}),
            "log": lambda: logger.handle(records[0]),
            "Flask": whole,
        }
    )
    found["Flask"] = 2 * found["Flask"] - sum(found.values())
    return found | {"gRPC": own_grpc_ms}


def print_shares(address: str, bodies: dict[str, tuple[str, Path]], measured_ms: dict[str, float], log: TextIO) -> None:
    """A table of shares. measured_ms: what a request of one client cost the running gateway; HTTP is what is left of that."""
    log_as_json("info", log)
    print("\nshares of the gateway's processor ms a request, one client; HTTP (with loop and greenlet) is what is left of the whole")
    for name, (path, file) in bodies.items():
        found = shares(address, path, file.read_bytes())
        found = {"HTTP": measured_ms[name] - sum(found.values()), **found}
        parts = "  ".join(f"{part} {ms:.3f} ({ms / measured_ms[name]:.0%})" for part, ms in found.items())
        print(f"{name:24} whole {measured_ms[name]:.3f}: {parts}", flush=True)
    for handler in logging.getLogger().handlers:
        handler.flush()  # before the file is closed
