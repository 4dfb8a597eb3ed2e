"""gzip: for whom, from which size, and that the body stays the same."""

import gzip

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient

from gateway.compression import MIN_BYTES, Precompressed, compress

LONG = "strokes and ink, " * 200


@pytest.fixture
def client() -> FlaskClient:
    """An application that gives the text of the query in the type of the query."""
    app = Flask("compressed")
    app.after_request(compress)
    precompressed = Precompressed([LONG.encode(), b"a" * 99])
    bodies = {
        "page": (LONG, "text/html"),
        "short page": ("a" * 99, "text/html"),
        "answer": ("7" * MIN_BYTES, "application/json"),
        "short": ("7" * (MIN_BYTES - 1), "application/json"),
    }
    bodies["font"] = (LONG, "font/woff2")

    def get(name: str) -> Response:
        body, mimetype = bodies[name]
        response = Response(body, mimetype=mimetype)
        return response if name == "answer" else precompressed.compress(response, body.encode())

    app.add_url_rule("/<name>", "get", get)
    return app.test_client()


@pytest.mark.parametrize("name", ["page", "short page", "answer"])
@pytest.mark.parametrize("accepted", ["gzip", "gzip, deflate, br, zstd", "*", "br;q=1, gzip;q=0.5"])
def test_text_is_compressed_for_who_accepts_gzip(client: FlaskClient, name: str, accepted: str):
    plain, compressed = client.get(f"/{name}"), client.get(f"/{name}", headers={"Accept-Encoding": accepted})
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert int(compressed.headers["Content-Length"]) == len(compressed.data) < len(plain.data) / 2
    assert gzip.decompress(compressed.data) == plain.data
    assert plain.headers["Vary"] == compressed.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        pytest.param("short", "gzip", id="a body that fits into a packet"),
        pytest.param("font", "gzip", id="what is compressed already"),
        pytest.param("page", "br", id="another encoding"),
        pytest.param("page", "gzip;q=0", id="gzip refused"),
        pytest.param("page", "", id="an empty header"),
    ],
)
def test_all_else_stays_as_it_is(client: FlaskClient, name: str, accepted: str):
    response = client.get(f"/{name}", headers={"Accept-Encoding": accepted})
    assert "Content-Encoding" not in response.headers
    assert response.data == client.get(f"/{name}").data
