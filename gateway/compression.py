"""gzip for text: what never changes (the page, the description of the API) once at start, answers of 1 kB and more as they are made."""

import gzip
from collections.abc import Callable, Iterable

from flask import Response, request

MIN_BYTES = 1024  # of an answer: a shorter one fits into one packet as it is
_LEVEL = 4  # of what is compressed for each request: 0.05 ms for an answer; the page's files get 9
_TEXT = ("text/", "application/json", "application/manifest+json", "image/svg+xml")


class Precompressed:
    """Bodies that are sent often and never change, compressed once."""

    def __init__(self, bodies: Iterable[bytes]) -> None:
        compressed = {body: gzip.compress(body, 9, mtime=0) for body in bodies}
        self._compressed = {body: shorter for body, shorter in compressed.items() if len(shorter) < len(body)}

    def compress(self, response: Response, body: bytes) -> Response:
        """The same response, whose body is one of `bodies`, compressed where that makes text shorter and the client accepts it."""
        compressed = self._compressed.get(body)
        return response if compressed is None or not _is_text(response) else _encode(response, lambda: compressed)


def compress(response: Response) -> Response:
    """The same response, its body compressed where that is worth it and the client accepts it. For Flask's after_request."""
    if (response.calculate_content_length() or 0) < MIN_BYTES or response.content_encoding or not _is_text(response):
        return response
    return _encode(response, lambda: gzip.compress(response.get_data(), _LEVEL, mtime=0))


def _is_text(response: Response) -> bool:
    return (response.content_type or "").startswith(_TEXT)


def _encode(response: Response, compressed: Callable[[], bytes]) -> Response:
    response.vary.add("Accept-Encoding")
    if "HTTP_ACCEPT_ENCODING" in request.environ and request.accept_encodings["gzip"] > 0:
        response.set_data(compressed())
        response.content_encoding = "gzip"
    return response
