"""The file system under the store: a lock, file modes, syncs and sums. No link is ever followed."""

import fcntl
import hashlib
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

STAGING, REMOVED, LOCK = ".staging-", ".removed-", ".lock"
FOLDER_MODE, FILE_MODE = 0o755, 0o644  # TensorFlow Serving runs as another user


class StoreError(Exception):
    """The store cannot do what it is asked to, or holds a corrupt version; the message says which and why."""


@contextmanager
def translate_os_errors(action: str) -> Iterator[None]:
    """Raise an OSError of the block as a StoreError: `cannot <action>: <reason> (<path>)`."""
    try:
        yield
    except OSError as exc:
        raise StoreError(f"cannot {action}: {exc.strerror or exc}" + (f" ({exc.filename})" if exc.filename else "")) from exc


@contextmanager
def writer_lock(folder: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Make the folder and hold its lock, so that no other process writes to it; remove what a killed writer left there.

    Waits for as long as another process holds the lock, and reports which one does.
    """
    with translate_os_errors(f"write to the store {folder}"):
        make_folder(folder)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, FILE_MODE)
    try:
        with translate_os_errors(f"lock the store {folder}"):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(lock, 200, 0).decode(errors="replace").strip() or "another process"
                report(f"waiting for {holder}, which writes to {folder}")
                fcntl.flock(lock, fcntl.LOCK_EX)
            with suppress(OSError):  # the holder's name only helps those who wait, and a full disk does not take it
                os.ftruncate(lock, 0)
                os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
                os.fchmod(lock, FILE_MODE)
            for path in folder.iterdir():
                if path.name.startswith((STAGING, REMOVED)):
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        yield
    finally:
        os.close(lock)


def make_folder(folder: Path) -> None:
    """Make the folder and its parents; those that are new get `FOLDER_MODE` under every umask."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        folder.chmod(FOLDER_MODE)
        sync(folder.parent)


def list_files(folder: Path) -> list[str]:
    """All files below the folder as sorted paths with '/'. Raises StoreError for anything but files and folders, OSError."""

    def raise_error(error: OSError) -> None:
        raise error

    files = []
    for parent, folders, names in os.walk(folder, onerror=raise_error):
        for path in (Path(parent, name) for name in folders + names):
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                files.append(path.relative_to(folder).as_posix())
            elif not stat.S_ISDIR(mode):
                raise StoreError(f"{folder}: {path.relative_to(folder)} is a link or a device, a plain file was wanted")
    return sorted(files)


def seal(folder: Path) -> None:
    """Make everything below the folder readable to every user and sync it to disk: files first, then folders from the innermost out."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            Path(parent, name).chmod(FILE_MODE)
            sync(Path(parent, name))
        Path(parent).chmod(FOLDER_MODE)
        sync(Path(parent))


def sync(path: Path) -> None:
    """Write a file, or a folder's list of names, to disk (fsync)."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def read(path: Path) -> bytes:
    """The file's content; OSError for a link."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        return file.read()


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal; OSError for a link."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
