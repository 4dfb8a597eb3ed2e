"""The file system under the store: a lock, file modes, syncs and sums. No link is ever followed, no FIFO waited for.

Whoever can write the store chooses names and contents, so both are bounded, and none reaches a terminal or a log unescaped.
"""

import fcntl
import hashlib
import io
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

STAGING, REMOVED, LOCK = ".staging-", ".removed-", ".lock"
FOLDER_MODE, FILE_MODE = 0o755, 0o644  # TensorFlow Serving runs as another user
_MAX_ENTRIES = 1000  # files and folders of a version; arbitrary, ours has about ten
_QUOTED_CHARACTERS = 80  # arbitrary: of a value that a message quotes


class StoreError(Exception):
    """The store cannot do what it is asked to, or holds a corrupt version; the message says which and why, in printable characters."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def printable(text: str) -> str:
    """The text with escapes (as `repr` has them) for control characters, lone surrogates and all else that a terminal might obey."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def quoted(value: Any) -> str:
    """A value that the store holds, as a message quotes it: `repr`, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _QUOTED_CHARACTERS else f"{text[:_QUOTED_CHARACTERS]}…"


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
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, FILE_MODE)
    try:
        _check_plain(lock, folder / LOCK)
        with translate_os_errors(f"lock the store {folder}"):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(lock, 200, 0).decode(errors="replace").strip() or "another process"
                report(printable(f"waiting for {holder}, which writes to {folder}"))
                fcntl.flock(lock, fcntl.LOCK_EX)
            with suppress(OSError):  # the holder's name only helps those who wait, and a full disk does not take it
                os.ftruncate(lock, 0)
                os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
                os.fchmod(lock, FILE_MODE)
            for path in folder.iterdir():
                if path.name.startswith((STAGING, REMOVED)):
                    delete(path, report)
        yield
    finally:
        os.close(lock)


def delete(path: Path, report: Callable[[str], None]) -> None:
    """Delete a file or folder that is no version; what cannot be deleted is reported and stays, as it hinders nobody.

    A client of NFS that has a file open keeps it as .nfs…, and a mount point is busy; the next writer tries again.
    """
    try:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    except (OSError, RecursionError) as exc:
        reason = exc.strerror or exc if isinstance(exc, OSError) else "its folders are nested too deeply"
        report(printable(f"cannot delete {path}, a leftover that is no version: {reason}; it stays"))


def make_folder(folder: Path) -> None:
    """Make the folder and its parents; those that are new get `FOLDER_MODE` under every umask."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        folder.chmod(FOLDER_MODE)
        sync(folder.parent)


def list_files(folder: Path) -> list[str]:
    """All files below the folder as sorted paths with '/'. Raises StoreError for anything but files and folders, or too many; OSError."""
    files = []
    folders, entries = [folder], 0
    while folders:
        with os.scandir(folders.pop()) as found:
            for entry in found:
                path, entries = Path(entry.path), entries + 1
                if entries > _MAX_ENTRIES:
                    raise StoreError(f"{folder} holds more than {_MAX_ENTRIES} files and folders")
                if entry.is_dir(follow_symlinks=False):
                    folders.append(path)
                elif entry.is_file(follow_symlinks=False):
                    files.append(path.relative_to(folder).as_posix())
                else:
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


def open_file(path: Path) -> io.BufferedReader:
    """A plain file, opened for reading. StoreError for a FIFO or a device, whose other end is not waited for; OSError for a link."""
    opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        _check_plain(opened, path)
    except StoreError:
        os.close(opened)
        raise
    return open(opened, "rb")


def read(path: Path, max_bytes: int) -> bytes:
    """The content of a plain file. Raises StoreError for one that is longer, OSError for a link."""
    with open_file(path) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise StoreError(f"{path} has more than the {max_bytes} bytes that it may have")
    return content


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal; OSError for a link."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_file(source: Path, target: Path) -> None:
    """Copy the content of a plain file to a new file."""
    with open_file(source) as reader, open(target, "xb") as writer:
        shutil.copyfileobj(reader, writer)


def _check_plain(opened: int, path: Path) -> None:
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        raise StoreError(f"{path} is a folder, a FIFO or a device, a plain file was wanted")
