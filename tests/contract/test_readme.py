"""What the README shows is true: its requests are answered as it says, by paths that the gateway has."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import stack

README = (stack.ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.S)
CURLS = [text for language, text in BLOCKS if language == "sh" and text.startswith("curl")]


@pytest.fixture(scope="module")
def url(tiny_store: Path) -> Iterator[str]:
    server, address, _ = stack.model_server(tiny_store)
    with server:
        gateway, url = stack.gateway(address)
        with gateway:
            yield url


@pytest.mark.parametrize("command", CURLS, ids=lambda command: command.split()[2])
def test_each_request_is_answered(url: str, command: str) -> None:
    local = command.replace("http://127.0.0.1:8080", url).replace("curl -s", "curl --fail-with-body -sS")
    assert local.count(url) == 1
    done = subprocess.run(local, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    shown = next((json.loads(text) for language, text in BLOCKS if language == "json"), {})
    if "/predict" in command:
        assert answer.keys() == shown.keys()
        assert (answer["digit"], answer["candidates"], answer["reason"]) == (shown["digit"], shown["candidates"], shown["reason"])


def test_there_is_a_request_to_copy() -> None:
    assert CURLS


def test_each_path_of_the_api_is_one_of_the_gateway(url: str) -> None:
    document = json.loads(stack.get(f"{url}/api/v1/openapi.json")[1])
    for method, path in re.findall(r"`(GET|POST) (/[\w/.]*)`", README):
        assert method.lower() in document["paths"].get(path, {}), f"{method} {path}"
