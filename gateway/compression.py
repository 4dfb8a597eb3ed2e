"""gzip for text: the page's files compressed once at start, answers of 1 kB and more as they are made."""

import gzip
from collections.abc import Iterable

from flask import Response, request

MIN_BYTES = 1024  # shorter bodies fit into one packet as they are
_LEVEL = 4  # of what is compressed for each request: 0.05 ms for an answer; the page's files get 9
_TEXT = ("text/", "application/json", "application/manifest+json", "image/svg+xml")


class Compressor:
    """Compresses responses for clients that accept gzip. bodies: those that are sent often and never change."""

    def __init__(self, bodies: Iterable[bytes]) -> None:
        self._compressed = {body: gzip.compress(body, 9, mtime=0) for body in bodies if len(body) >= MIN_BYTES}

    def compress(self, response: Response) -> Response:
        """The same response, its body compressed where that is worth it and the client accepts it. For Flask's after_request."""
        if response.content_length is None or response.content_length < MIN_BYTES or not response.content_type.startswith(_TEXT):
            return response
        response.vary.add("Accept-Encoding")
        if "HTTP_ACCEPT_ENCODING" in request.environ and request.accept_encodings["gzip"] > 0:
            body = response.get_data()
            response.set_data(self._compressed.get(body) or gzip.compress(body, _LEVEL, mtime=0))
            response.content_encoding = "gzip"
        return response
