"""The model store: whole, verified, immutable versions of a SavedModel, in a folder that TensorFlow Serving can read.

    <root>/<name>/
        1/ 2/ …              published versions: a SavedModel's files and manifest.json, never changed again
        .staging-<random>/   a version, or a copy of one, while it is written; TensorFlow Serving passes over names that are no integers
        .removed-<random>/   a version while it is deleted
        .lock                held by the one who writes; flock, so that a killed process frees it
        .highest             the highest number ever published: no number is used twice, not even after prune

Reading takes no lock and writes nothing. Whoever writes next sweeps up what a killed process left. Every failure is a `StoreError`.

`python -m pynumdraw.store list|verify|place|prune --store ROOT --name NAME`; a refusal is exit code 2 and one sentence on stderr.
"""

import argparse
import errno
import fcntl
import hashlib
import json
import math
import os
import re
import shutil
import signal
import socket
import stat
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

MANIFEST = "manifest.json"
_OWN_FIELDS = ("model", "version", "created", "files")  # of the manifest; all others are the publisher's
_STAGING, _REMOVED, _LOCK, _HIGHEST = ".staging-", ".removed-", ".lock", ".highest"
_FOLDER_MODE, _FILE_MODE = 0o755, 0o644  # TensorFlow Serving runs as another user
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_SAY_EVERY_S = 10


class StoreError(Exception):
    """The store cannot do what was asked, or holds a version that is not whole; the message says which and why."""


def say_on_stderr(sentence: str) -> None:
    """Progress for people and pod logs."""
    print(sentence, file=sys.stderr, flush=True)


class Draft:
    """A version while it is written: fill `folder`, then `publish` once."""

    def __init__(self, store: "ModelStore", number: int, folder: Path) -> None:
        self.number = number
        self.folder = folder
        self.published = False
        self._store = store

    def publish(self, fields: Mapping[str, Any]) -> Path:
        """Make the folder's content a version for everybody: hashed, synced to disk, readable to all, then renamed once.

        fields: what the manifest tells besides the store's own fields (model, version, created, files); must be JSON without NaN.
        Returns: the version's folder. Raises StoreError and leaves no version behind where that cannot be done.
        """
        if self.published:
            raise StoreError(f"version {self.number} was published already")
        if taken := [field for field in _OWN_FIELDS if field in fields]:
            raise StoreError(f"the manifest's field {taken[0]!r} is written by the store, a publisher cannot give it")
        target = self._store.path(self.number)
        with _refusing(f"publish version {self.number} in {self._store.folder}"):
            files = _files(self.folder)
            if "saved_model.pb" not in files:
                raise StoreError(f"cannot publish version {self.number}: {self.folder} holds no saved_model.pb")
            if MANIFEST in files:
                raise StoreError(f"cannot publish version {self.number}: {self.folder} holds a {MANIFEST}, which is the store's to write")
            manifest = {
                "model": self._store.name,
                "version": self.number,
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                **fields,
                "files": {file: {"size": (self.folder / file).stat().st_size, "sha256": _sha256(self.folder / file)} for file in files},
            }
            try:
                text = json.dumps(manifest, indent=2, allow_nan=False)
            except (TypeError, ValueError) as exc:
                raise StoreError(f"the manifest of version {self.number} cannot be written as JSON: {exc}") from exc
            (self.folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
            _seal(self.folder)
            os.rename(self.folder, target)  # fails on a folder that holds anything, so nothing is ever overwritten
            self.published = True
            _sync(self._store.folder)
            self._store.keep_highest()
        return target


@dataclass(frozen=True)
class ModelStore:
    """The versions of one model under one root folder."""

    root: Path
    """The folder that holds a folder for each model; made when the first version is begun."""
    name: str
    """The model's name, as TensorFlow Serving knows it."""
    say: Callable[[str], None] = say_on_stderr
    """Takes a sentence of progress where something has to be waited for."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", self.name):
            raise StoreError(f"model name {self.name!r}: letters, digits, '_', '-' and '.' are wanted, not beginning with '.' or '-'")

    @property
    def folder(self) -> Path:
        """The model's folder: TensorFlow Serving's model base path."""
        return Path(self.root) / self.name

    def versions(self) -> list[int]:
        """Numbers of the published versions, in order; empty where there is no store yet. Links and names like 007 are no versions."""
        with _refusing(f"read the store {self.folder}"):
            try:
                with os.scandir(self.folder) as entries:
                    found = [e.name for e in entries if re.fullmatch(r"[1-9][0-9]*", e.name) and e.is_dir(follow_symlinks=False)]
            except FileNotFoundError:
                return []
        return sorted(map(int, found))

    def path(self, number: int) -> Path:
        """Where that version is, or would be."""
        return self.folder / str(number)

    def manifest(self, number: int) -> dict[str, Any]:
        """What that version says of itself; raises StoreError where it is missing or not such as `publish` writes."""
        self._must_hold(number)
        return self._manifest_in(self.path(number), number)

    def verify(self, number: int) -> None:
        """Raise StoreError unless every file of the manifest is there with its SHA-256, and no other."""
        self._must_hold(number)
        self._verify_in(self.path(number), number)

    @contextmanager
    def next_version(self) -> Iterator[Draft]:
        """A draft with the next number, alone in the store until the block ends (other writers wait); removed there unless published.

        The lock passes on to children that this process forks without exec: let none of them outlive it.
        """
        with self._locked():
            with _refusing(f"begin a version in {self.folder}"):
                draft = Draft(self, self._highest() + 1, Path(tempfile.mkdtemp(prefix=_STAGING, dir=self.folder)))
            try:
                yield draft
            except OSError as exc:
                if exc.errno not in _DISK_FULL:
                    raise
                raise StoreError(f"cannot write version {draft.number} in {self.folder}: {exc.strerror}") from exc
            finally:
                if not draft.published:
                    shutil.rmtree(draft.folder, ignore_errors=True)

    def place(self, number: int, into: Path, wait_s: float = 0.0) -> Path:
        """Copy one version into another root, where exactly it is to be served; wait for it at most `wait_s` seconds.

        A copy that is there and whole is the result at once, whatever became of this store; one that is torn is replaced.
        Returns: the copy's folder, whole. Raises StoreError for a version that is missing or torn; then nothing new is in `into`.
        """
        target = ModelStore(into, self.name, self.say)
        if target.folder.resolve() == self.folder.resolve():
            raise StoreError(f"cannot place a version of {self.folder} in the store it comes from")
        with target._locked():
            if torn := number in target.versions():
                try:
                    target.verify(number)
                    return target.path(number)
                except StoreError as exc:
                    self.say(f"{exc}; it is placed anew")
            self._wait_for(number, wait_s)
            self.verify(number)
            with _refusing(f"place version {number} in {target.folder}"):
                copy = Path(tempfile.mkdtemp(prefix=_STAGING, dir=target.folder))
                try:
                    for file in [*self.manifest(number)["files"], MANIFEST]:
                        (copy / file).parent.mkdir(parents=True, exist_ok=True)
                        shutil.copyfile(self.path(number) / file, copy / file, follow_symlinks=False)
                    target._verify_in(copy, number)
                    _seal(copy)
                    if torn:
                        target._remove(number)
                    os.rename(copy, target.path(number))
                    _sync(target.folder)
                finally:
                    shutil.rmtree(copy, ignore_errors=True)
        return target.path(number)

    def prune(self, keep: int, served: Collection[int] = (), dry_run: bool = False) -> list[int]:
        """Remove old versions; returns the removed numbers. Kept are:

        the `keep` newest whole versions (at least one; torn ones do not count as any of the K, or damage could push out the good ones);
        each served version, which a restarted pod must find again, and the whole version before it, which a rollback needs;
        torn versions: somebody may want to know why they are.
        """
        if keep < 1:
            raise StoreError(f"prune must keep at least 1 version, found {keep}")
        with self._locked():
            whole = [number for number in self.versions() if self.why_torn(number) is None]
            kept = {*whole[-keep:], *served}
            for number in served:
                kept.update([older for older in whole if older < number][-1:])
            removed = [number for number in whole if number not in kept]
            if removed and not dry_run:
                with _refusing(f"prune {self.folder}"):
                    self.keep_highest()
                    for number in removed:
                        self._remove(number)
        return removed

    def why_torn(self, number: int) -> str | None:
        """What `verify` says against that version; None where it is whole."""
        try:
            self.verify(number)
        except StoreError as exc:
            return str(exc)
        return None

    def keep_highest(self) -> None:
        """Write down the highest number ever published, by one rename. Only for the holder of the lock."""
        highest = self._highest()
        if highest == self._noted():
            return  # so that prune needs no room on a full disk
        fresh = self.folder / f"{_STAGING}highest"
        fresh.write_text(f"{highest}\n", encoding="ascii")
        fresh.chmod(_FILE_MODE)
        _sync(fresh)
        os.replace(fresh, self.folder / _HIGHEST)
        _sync(self.folder)

    def _highest(self) -> int:
        """The highest number ever used: noted, or the name of anything that TensorFlow Serving would read as a version."""
        return max(self._noted(), *(int(name) for name in os.listdir(self.folder) if re.fullmatch(r"[0-9]+", name)), 0)

    def _noted(self) -> int:
        mark = self.folder / _HIGHEST
        text = mark.read_text(encoding="utf-8", errors="replace").strip() if mark.exists() else "0"
        if not re.fullmatch(r"[0-9]+", text):
            raise StoreError(f"{mark} holds {text[:20]!r}, the highest version number ever published was wanted")
        return int(text)

    def _must_hold(self, number: int) -> None:
        if number not in (held := self.versions()):
            raise StoreError(f"version {number} is not in {self.folder}; {_in_words(held)}")

    def _wait_for(self, number: int, wait_s: float) -> None:
        begin = time.monotonic()
        said = -math.inf
        while number not in (held := self.versions()):
            waited = time.monotonic() - begin
            if waited >= wait_s:
                raise StoreError(f"version {number} is not in {self.folder} after {wait_s:g} s; {_in_words(held)}")
            if waited - said >= _SAY_EVERY_S:
                self.say(f"waiting for version {number} in {self.folder}: {waited:.0f} of {wait_s:g} s; {_in_words(held)}")
                said = waited
            time.sleep(min(0.5, wait_s - waited))

    def _manifest_in(self, folder: Path, number: int) -> dict[str, Any]:
        with _refusing(f"read the manifest of {folder}"):
            try:
                manifest = json.loads(_read(folder / MANIFEST))
            except FileNotFoundError:
                raise StoreError(f"{folder} is torn: it has no {MANIFEST}") from None
            except ValueError as exc:
                raise StoreError(f"{folder} is torn: its {MANIFEST} is not JSON ({exc})") from exc
        if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
            raise StoreError(f"{folder} is torn: its {MANIFEST} has no 'files'")
        for field, wanted in (("model", self.name), ("version", number)):
            if manifest.get(field) != wanted:
                raise StoreError(f"{folder} is torn: its {MANIFEST} says {field} {manifest.get(field)!r}, {wanted!r} was wanted")
        for file, told in manifest["files"].items():
            if (
                not file
                or PurePosixPath(file).is_absolute()
                or PurePosixPath(file).as_posix() != file
                or ".." in file.split("/")
                or "\0" in file
            ):
                raise StoreError(f"{folder} is refused: its {MANIFEST} names {file!r}, a plain path inside the version was wanted")
            if not isinstance(told, dict) or not isinstance(told.get("size"), int) or not isinstance(told.get("sha256"), str):
                raise StoreError(f"{folder} is torn: its {MANIFEST} has no size and sha256 for {file}")
        return manifest

    def _verify_in(self, folder: Path, number: int) -> None:
        told = self._manifest_in(folder, number)["files"]
        with _refusing(f"verify {folder}"):
            found = [file for file in _files(folder) if file != MANIFEST]
            for file in told:
                if file not in found:
                    raise StoreError(f"{folder} is torn: {file} is missing")
            for file in found:
                if file not in told:
                    raise StoreError(f"{folder} is torn: {file} is not in its {MANIFEST}")
                size = (folder / file).lstat().st_size
                if size != told[file]["size"]:
                    raise StoreError(f"{folder} is torn: {file} has {size} bytes, {told[file]['size']} were wanted")
                if (sha256 := _sha256(folder / file)) != told[file]["sha256"]:
                    raise StoreError(f"{folder} is torn: {file} has SHA-256 {sha256}, {told[file]['sha256']} was wanted")

    def _remove(self, number: int) -> None:
        """Out of the versions by one rename, then off the disk."""
        gone = self.folder / f"{_REMOVED}{number}-{uuid.uuid4().hex}"
        os.rename(self.path(number), gone)
        _sync(self.folder)
        shutil.rmtree(gone)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone among those who write to this model's folder, and nothing of a killed one left in it."""
        with _refusing(f"write to the store {self.folder}"):
            _make_folder(self.folder)
            lock = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, _FILE_MODE)
        try:
            with _refusing(f"lock the store {self.folder}"):
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    holder = os.pread(lock, 200, 0).decode(errors="replace").strip() or "another process"
                    self.say(f"waiting for {holder}, which writes to {self.folder}")
                    fcntl.flock(lock, fcntl.LOCK_EX)
                with suppress(OSError):  # only a courtesy to those who wait; on a full disk it is not to be had
                    os.ftruncate(lock, 0)
                    os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
                    os.fchmod(lock, _FILE_MODE)
                for left in self.folder.iterdir():
                    if left.name.startswith((_STAGING, _REMOVED)):
                        shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
            yield
        finally:
            os.close(lock)


@contextmanager
def _refusing(doing: str) -> Iterator[None]:
    """Turn what the system refuses into a StoreError of one sentence."""
    try:
        yield
    except OSError as exc:
        raise StoreError(f"cannot {doing}: {exc.strerror or exc}" + (f" ({exc.filename})" if exc.filename else "")) from exc


def _make_folder(folder: Path) -> None:
    """The folder and those above it; those that are made get their mode whatever the umask is."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        folder.chmod(_FOLDER_MODE)
        _sync(folder.parent)


def _files(folder: Path) -> list[str]:
    """All files below the folder as sorted paths with '/'; raises StoreError where there is anything but files and folders."""

    def refuse(error: OSError) -> None:
        raise error

    files = []
    for at, folders, names in os.walk(folder, onerror=refuse):
        for path in (Path(at, name) for name in folders + names):
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                files.append(path.relative_to(folder).as_posix())
            elif not stat.S_ISDIR(mode):
                raise StoreError(f"{folder} is refused: {path.relative_to(folder)} is a link or a device, a plain file was wanted")
    return sorted(files)


def _seal(folder: Path) -> None:
    """Readable to every user and safely on the disk: all files, then the folders from the innermost out."""
    for at, _, names in os.walk(folder, topdown=False):
        for name in names:
            Path(at, name).chmod(_FILE_MODE)
            _sync(Path(at, name))
        Path(at).chmod(_FOLDER_MODE)
        _sync(Path(at))


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _read(path: Path) -> bytes:
    """The file's content; a link is refused by the system."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        return file.read()


def _sha256(path: Path) -> str:
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _in_words(held: list[int]) -> str:
    return f"it holds {', '.join(map(str, held))}" if held else "it holds no version"


def _rows(store: ModelStore) -> list[dict[str, Any]]:
    """One row for each version, as `list` prints it."""
    rows = []
    for number in store.versions():
        why_torn = store.why_torn(number)
        try:
            manifest = store.manifest(number)
        except StoreError:
            manifest = {"files": {}}
        metrics = manifest.get("metrics")
        rows.append(
            {
                "version": number,
                "created": manifest.get("created"),
                "recipe": manifest.get("recipe"),
                "accuracy": metrics.get("accuracy") if isinstance(metrics, dict) else None,
                "bytes": sum(file["size"] for file in manifest["files"].values()),
                "state": "whole" if why_torn is None else "torn",
                "reason": why_torn,
            }
        )
    return rows


def _list(store: ModelStore, as_json: bool) -> None:
    rows = _rows(store)
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    line = "{:>7}  {:<25}  {:<8}  {:>8}  {:>9}  {}".format
    print(line("version", "created", "recipe", "accuracy", "size", "state"))
    for row in rows:
        accuracy = f"{row['accuracy']:.2%}" if isinstance(row["accuracy"], float) else "-"
        state = row["reason"] or row["state"]
        print(line(row["version"], row["created"] or "-", row["recipe"] or "-", accuracy, f"{row['bytes'] / 1e6:.2f} MB", state))


def _verify(store: ModelStore, number: int | None) -> None:
    numbers = store.versions() if number is None else [number]
    if not numbers:
        raise StoreError(f"nothing to verify in {store.folder}; {_in_words(numbers)}")
    reasons = []
    for each in numbers:
        if why := store.why_torn(each):
            reasons.append(why)
        else:
            print(f"version {each} is whole")
    if reasons:
        raise StoreError("; ".join(reasons))


def _prune(store: ModelStore, keep: int, served: list[int], dry_run: bool) -> None:
    removed = store.prune(keep, served, dry_run)
    print(f"{'would remove' if dry_run else 'removed'} {', '.join(map(str, removed)) or 'nothing'}; {_in_words(store.versions())}")


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part.strip()]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pynumdraw.store", description="List, verify, place and prune the versions of a model.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--store", type=Path, required=True, metavar="ROOT", help="folder that holds the model's folder")
    common.add_argument("--name", required=True, help="the model's name")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("list", parents=[common], help="what the store holds")
    command.add_argument("--json", action="store_true", help="for programs")
    command = commands.add_parser("verify", parents=[common], help="check every file against its manifest")
    command.add_argument("--version", type=int, help="only this version")
    command = commands.add_parser("place", parents=[common], help="copy one verified version into another root")
    command.add_argument("--version", type=int, required=True)
    command.add_argument("--to", type=Path, required=True, metavar="ROOT", help="root that gets the copy, as ROOT/NAME/VERSION")
    command.add_argument("--wait-s", type=float, default=0.0, metavar="SECONDS", help="how long to wait for the version (default 0)")
    command.add_argument("--termination-log", type=Path, metavar="PATH", help="gets the reason too (default: $TERMINATION_LOG)")
    command = commands.add_parser("prune", parents=[common], help="remove old versions; never one that is served, nor the one before it")
    command.add_argument("--keep", type=int, required=True, metavar="K", help="how many of the newest whole versions stay")
    command.add_argument("--served", type=_numbers, default=[], metavar="N,N", help="versions that are served now")
    command.add_argument("--dry-run", action="store_true", help="only say what would go")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 2 refused."""
    asked = _parser().parse_args(argv)
    termination_log = None
    try:
        store = ModelStore(asked.store, asked.name)
        match asked.command:
            case "list":
                _list(store, asked.json)
            case "verify":
                _verify(store, asked.version)
            case "place":
                termination_log = asked.termination_log or os.environ.get("TERMINATION_LOG")
                print(f"version {asked.version} is whole in {store.place(asked.version, asked.to, asked.wait_s)}")
            case "prune":
                _prune(store, asked.keep, asked.served, asked.dry_run)
    except StoreError as exc:
        say_on_stderr(str(exc))
        if termination_log:
            try:
                Path(termination_log).write_text(f"{exc}\n", encoding="utf-8")
            except OSError as unwritable:
                say_on_stderr(f"cannot write the termination log: {unwritable}")
        return 2
    return 0


def _stopped(*_: object) -> None:
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stopped)  # as process 1 of a container nothing stops us otherwise
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
