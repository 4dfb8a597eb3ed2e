"""`make up`'s program: the whole path on one machine, and its end."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import stack

SEVEN = {"width": 280, "height": 280, "strokes": [[[70, 60], [140, 58], [210, 60], [180, 130], [140, 230]]]}


@contextmanager
def up(store: Path, log: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    environ = {**os.environ, "PORT": str(port), "STORE": str(store)}
    with log.open("wb") as output:
        program = subprocess.Popen([sys.executable, "up.py"], cwd=stack.ROOT, env=environ, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield program
    finally:
        if program.poll() is None:
            program.send_signal(signal.SIGINT)
            program.wait(30)


def children(parent: int) -> list[int]:
    found = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout.split()
    return [int(pid) for pid, ppid in zip(found[::2], found[1::2], strict=True) if int(ppid) == parent]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_up_answers_a_drawing_and_one_interrupt_ends_all_of_it(tiny_store: Path, tmp_path: Path) -> None:
    port, log = stack.free_port(), tmp_path / "up.log"
    with up(tiny_store, log, port) as program:
        address = stack.wait_until(
            "the address is printed", lambda: re.search(r"Draw a digit:\s+(\S+)", log.read_text()) or program.poll() is not None, 90
        )
        assert not isinstance(address, bool), log.read_text()
        request = urllib.request.Request(
            f"{address[1]}api/v1/predict", json.dumps(SEVEN).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=10) as reply:
            assert json.load(reply)["digit"] == 7
        programs = children(program.pid)
        assert len(programs) == 2, programs
        commands = [Path(f"/proc/{pid}/cmdline").read_text().split("\0") for pid in programs]
        (model_server,) = [command for command in commands if "modelserver" in command]
        assert "--port=0" in model_server
        assert not any(flag.startswith("--rest_api_port") for flag in model_server), "the model server opens no TCP port"
        program.send_signal(signal.SIGINT)
        assert program.wait(30) == 0
        assert not any(map(alive, programs))
    assert "have ended" in log.read_text()
    assert "nothing to do" in log.read_text(), "a store with a version is not trained again"


def test_up_names_a_port_that_is_in_use(tiny_store: Path, tmp_path: Path) -> None:
    log = tmp_path / "up.log"
    with stack.Program("http.server", "--bind", "127.0.0.1", str(port := stack.free_port())) as other:
        other.wait_until("the port is taken", lambda: stack.get(f"http://127.0.0.1:{port}/")[0])
        with up(tiny_store, log, port) as program:
            assert program.wait(30) == 1
    assert f"port {port} cannot be used" in log.read_text()
    assert f"make up PORT={port + 1}" in log.read_text()
