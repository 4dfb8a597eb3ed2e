"""gzip for text: the page's files, compressed once at start, and answers of 1 kB and more, as they are made."""

import gzip
from collections.abc import Iterable

from flask import Response, request

MIN_BYTES = 1024  # of an answer: a shorter one fits into one packet as it is
_LEVEL = 4  # of what is compressed for each request: 0.05 ms for an answer; the page's files get 9
_TEXT = ("text/", "application/json", "application/manifest+json", "image/svg+xml")


class Compressor:
    """Compresses responses for clients that accept gzip. bodies: those that are sent often and never change."""

    def __init__(self, bodies: Iterable[bytes]) -> None:
        compressed = {body: gzip.compress(body, 9, mtime=0) for body in bodies}
        self._compressed = {body: shorter for body, shorter in compressed.items() if len(shorter) < len(body)}

    def compress(self, response: Response) -> Response:
        """The same response, its body compressed where that is worth it and the client accepts it. For Flask's after_request."""
        if response.content_length is None or not response.content_type.startswith(_TEXT):
            return response
        body = response.get_data()
        compressed = self._compressed.get(body)
        if compressed is None and len(body) < MIN_BYTES:
            return response
        response.vary.add("Accept-Encoding")
        if "HTTP_ACCEPT_ENCODING" in request.environ and request.accept_encodings["gzip"] > 0:
            response.set_data(compressed or gzip.compress(body, _LEVEL, mtime=0))
            response.content_encoding = "gzip"
        return response
