"""The attacks: each a coroutine that opens its connections, does harm until a time, and ends.

They run in a process of their own (`python -m tests.attack.attacks NAME HOST PORT CONNECTIONS SECONDS`), so that the probes and the
ordinary client, which measure, do not wait for the attacker's own work. Only addresses of loopback are attacked.
"""

import asyncio
import base64
import contextlib
import ipaddress
import json
import random
import struct
import sys
import time
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

BODY_BYTES = 8 * 1024 * 1024 - 64


@dataclass(frozen=True)
class Target:
    """Whom to attack, with how many connections, until when (`time.monotonic`)."""

    host: str
    port: int
    connections: int
    until: float


@contextlib.asynccontextmanager
async def connected(target: Target):
    reader, writer = await asyncio.open_connection(target.host, target.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def post(path: str, body: bytes, length: str | None = None) -> bytes:
    """A request. length: its framing header where it is not the body's own length."""
    framing = length or f"Content-Length: {len(body)}"
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{framing}\r\n\r\n".encode() + body


async def again_and_again(target: Target, requests: list[bytes]) -> None:
    """Every connection sends its request, waits for the answer, and begins anew on another connection."""

    async def one(request: bytes) -> None:
        while time.monotonic() < target.until:
            with contextlib.suppress(OSError, TimeoutError):
                async with connected(target) as (reader, writer), asyncio.timeout(max(0.1, target.until - time.monotonic())):
                    writer.write(request)
                    await reader.read(65536)
            await asyncio.sleep(0.01)

    await asyncio.gather(*(one(requests[k % len(requests)]) for k in range(target.connections)))


async def held(target: Target, first: bytes, drip: bytes = b"", every_s: float = 1.0) -> None:
    """Every connection sends something, then a little from time to time, and never an end. One that is closed is opened anew."""

    async def one() -> None:
        while time.monotonic() < target.until:
            with contextlib.suppress(OSError, TimeoutError):
                async with connected(target) as (reader, writer), asyncio.timeout(max(0.1, target.until - time.monotonic())):
                    writer.write(first)
                    gone = asyncio.ensure_future(reader.read(65536))
                    while not gone.done():
                        await asyncio.wait([gone], timeout=every_s)
                        writer.write(drip)
            await asyncio.sleep(0.1)

    await asyncio.gather(*(one() for _ in range(target.connections)))


def greys() -> bytes:
    """8 MiB in which every number is as short as it can be: as many Python objects as such a body can become."""
    return b'{"new_data": [' + b",".join([b"0.5"] * (BODY_BYTES // 4)) + b"]}"


def empty_objects() -> bytes:
    """8 MiB of empty objects: each of three bytes becomes one of seventy."""
    return b'{"new_data": [' + b",".join([b"{}"] * (BODY_BYTES // 3)) + b"]}"


def picture(side: int = 2048) -> bytes:
    """A PNG of one bit a pixel: a few hundred bytes that become four million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + b"\xff" * (side // 8)) * (side // 2) + (b"\0" + b"\0" * (side // 8)) * (side // 2)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    png += chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return json.dumps({"image": "data:image/png;base64," + base64.b64encode(png).decode()}).encode()


def scribble(points: int = 20_000) -> bytes:
    """Points that cross a canvas of 9x9 again and again: a line of the length that so many points can have."""
    stroke = [[9 * (k % 2), 9 * (k // 2 % 2)] for k in range(points)]
    return json.dumps({"width": 9, "height": 9, "strokes": [stroke]}, separators=(",", ":")).encode()


async def large_bodies(target: Target) -> None:
    """Bodies of 8 MiB, and among them pictures of 2048x2048."""
    large, small = post("/predict_number/", greys()), post("/api/v1/predict", picture())
    await again_and_again(target, [large] * 8 + [small])


async def objects(target: Target) -> None:
    await again_and_again(target, [post("/predict_number/", empty_objects()), post("/api/v1/predict", empty_objects())])


async def scribbles(target: Target) -> None:
    await again_and_again(target, [post("/api/v1/predict", scribble())])


async def pictures(target: Target) -> None:
    await again_and_again(target, [post("/api/v1/predict", picture())])


async def stalled_bodies(target: Target) -> None:
    """Bodies of 8 MiB of which the last bytes do not come."""
    await held(target, post("/predict_number/", greys()[:-20], f"Content-Length: {BODY_BYTES}"))


async def dripped_heads(target: Target) -> None:
    await held(target, b"GET / HTTP/1.1\r\nHost: x\r\n", b"X-More: 1\r\n")


async def dripped_bodies(target: Target) -> None:
    await held(target, post("/api/v1/predict", b'{"width": 300', "Content-Length: 4000"), b" ")


async def idle(target: Target) -> None:
    """Connections that never say anything."""
    await held(target, b"")


async def versions(target: Target) -> None:
    await again_and_again(target, [b"GET /api/v1/versions HTTP/1.1\r\nHost: x\r\n\r\n"])


async def cards(target: Target) -> None:
    await again_and_again(target, [b"GET /api/v1/card HTTP/1.1\r\nHost: x\r\n\r\n"])


async def broken_bodies(target: Target) -> None:
    """Chunked bodies with a bad size, cut off, and reset; and requests that are no HTTP."""
    chunked = post("/api/v1/predict", b"", "Transfer-Encoding: chunked")
    whole = post("/api/v1/predict", b'{"width": 300', "Content-Length: 4000")
    sent = [
        chunked + b"zz\r\n{}\r\n",
        chunked + b"5\r\n{",
        chunked + b"5\r\n{}xxxxxx\r\n",
        whole,
        b"GET / HTTP/9\r\n\r\n",
        b"\x16\x03\x01\0\xff" * 9,
    ]
    sent += [
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
        b"GET http://x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /%ff%00%zz HTTP/1.1\r\nHost: x\r\n\r\n",
    ]
    sent += [post("/api/v1/predict", body) for body in (b"[" * 60_000, b'{"width":' + b"9" * 5000 + b"}", b"\xff", b"null")]

    async def one(k: int) -> None:
        while time.monotonic() < target.until:
            with contextlib.suppress(OSError, TimeoutError):
                async with connected(target) as (reader, writer), asyncio.timeout(2):
                    writer.write(sent[k % len(sent)])
                    await writer.drain()
                    if k % 3 == 0:
                        writer.write_eof()
                    if k % 3:
                        await asyncio.wait([asyncio.ensure_future(reader.read(65536))], timeout=0.05)
            k += 1

    await asyncio.gather(*(one(k) for k in range(target.connections)))


async def methods(target: Target) -> None:
    """Methods that nobody has heard of, each another one."""

    async def one(k: int) -> None:
        words = random.Random(k)
        while time.monotonic() < target.until:
            with contextlib.suppress(OSError, TimeoutError):
                async with connected(target) as (reader, writer), asyncio.timeout(2):
                    while time.monotonic() < target.until:
                        writer.write(f"M{words.randrange(1 << 40):X} / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
                        if not await reader.read(65536):
                            break

    await asyncio.gather(*(one(k) for k in range(target.connections)))


async def newcomers(target: Target) -> None:
    """Ordinary drawings, each on a connection of its own, while the gateway ends. Prints how many were answered, refused and lost."""
    counts = dict.fromkeys(("answered", "refused", "lost"), 0)
    request = post("/api/v1/predict", json.dumps({"width": 9, "height": 9, "strokes": [[[2, 2], [7, 2], [4, 8]]]}).encode())

    async def one() -> None:
        while time.monotonic() < target.until:
            try:
                async with connected(target) as (reader, writer):
                    writer.write(request)
                    answer = await reader.readline()
                counts["answered" if answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 429 ")) else "lost"] += 1
            except ConnectionRefusedError:
                counts["refused"] += 1
                await asyncio.sleep(0.05)
            except OSError:
                counts["lost"] += 1

    await asyncio.gather(*(one() for _ in range(target.connections)))
    print(json.dumps(counts))


async def pipelines(target: Target) -> None:
    """Many requests at once on each connection, and nobody who reads the answers."""
    await held(target, b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 5000)


ATTACKS: dict[str, Callable[[Target], Awaitable[None]]] = {
    each.__name__: each
    for each in (
        *(large_bodies, objects, scribbles, pictures, stalled_bodies, dripped_heads, dripped_bodies, idle),
        *(versions, cards, broken_bodies, methods, newcomers, pipelines),
    )
}


def main() -> None:
    name, host, port, connections, seconds = sys.argv[1:]
    if not ipaddress.ip_address(host).is_loopback:
        raise SystemExit(f"attack: {host} is not an address of loopback")
    target = Target(host, int(port), int(connections), time.monotonic() + float(seconds))
    asyncio.run(ATTACKS[name](target))


if __name__ == "__main__":
    main()
