"""The versions of one model: which there are, whether they are valid, a copy of one, and removing old ones."""

import errno
import math
import os
import re
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pynumdraw.store.files import REMOVED, STAGING, StoreError, copy_file, delete, printable, seal, sync, translate_os_errors, writer_lock
from pynumdraw.store.graph import check_graph
from pynumdraw.store.manifest import MANIFEST, SIGNATURE, check_files, read_manifest
from pynumdraw.store.publish import Draft, next_number, record_high_water_mark, served_number
from pynumdraw.store.signing import SigningKey, TrustedKeys, claimed_signer

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_POLL_S = 0.5  # arbitrary: between two looks for a version that is waited for
_REPORT_EVERY_S = 10  # arbitrary: between two lines of a log that say what is waited for


def report_on_stderr(sentence: str) -> None:
    """Progress for people and pod logs."""
    print(printable(sentence), file=sys.stderr, flush=True)


class VersionMissing(StoreError):
    """The store does not hold the version, or no longer: prune or somebody removed it while it was read. It was not corrupt."""


def describe(versions: Sequence[int]) -> str:
    """What a store holds, as a part of a sentence."""
    return f"it holds {', '.join(map(str, versions))}" if versions else "it holds no version"


@dataclass(frozen=True)
class ModelStore:
    """The versions of one model under one root folder."""

    root: Path
    """The folder that holds a folder for each model; made when the first version is begun."""
    name: str
    """The model's name, as TensorFlow Serving knows it."""
    report: Callable[[str], None] = report_on_stderr
    """Takes a sentence of progress whenever the store has to wait."""
    trusted_keys: TrustedKeys | None = None
    """Of which one must have signed a version for it to be valid; None: nobody need have, and who did is not checked."""
    signing_key: SigningKey | None = None
    """Signs what is published; None: versions are not signed."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", self.name):
            raise StoreError(f"model name {self.name!r}: letters, digits, '_', '-' and '.' are wanted, not beginning with '.' or '-'")

    @property
    def folder(self) -> Path:
        """The model's folder: TensorFlow Serving's model base path."""
        return Path(self.root) / self.name

    def versions(self) -> list[int]:
        """Numbers of the published versions, in order; empty where there is no store yet."""
        return sorted(int(name) for name, is_version in self._numbered().items() if is_version)

    def foreign(self) -> dict[str, int]:
        """Names that are no version, but TensorFlow Serving would take for one (007, +5, links, files), with the number that it reads."""
        names = sorted(name for name, is_version in self._numbered().items() if not is_version)
        return {name: number for name in names if (number := served_number(name)) is not None}

    def _numbered(self) -> dict[str, bool]:
        """The names in the model's folder that TensorFlow Serving reads as numbers; true for a folder, no link, named by `publish`."""
        with translate_os_errors(f"read the store {self.folder}"):
            try:
                with os.scandir(self.folder) as entries:
                    return {
                        entry.name: re.fullmatch(r"[1-9][0-9]*", entry.name) is not None and entry.is_dir(follow_symlinks=False)
                        for entry in entries
                        if served_number(entry.name) is not None
                    }
            except FileNotFoundError:
                return {}

    def path(self, number: int) -> Path:
        """Where that version is, or would be."""
        return self.folder / str(number)

    def manifest(self, number: int) -> dict[str, Any]:
        """The version's manifest. Raises VersionMissing, or StoreError where it is not such as `publish` writes."""
        with self._reading(number):
            return read_manifest(self.path(number), self.name, number)

    def verify(self, number: int) -> str | None:
        """Who signed the version: the trusted key, or who the signature says, which nobody checked; None for an unsigned one.

        Raises StoreError unless every file of the manifest is there with its SHA-256, no other is, the graph only computes, and one of
        the trusted keys, where there are any, signed it. Raises VersionMissing as `manifest`.
        """
        with self._reading(number):
            return self._check(self.path(number), number)

    def examine(self, number: int) -> tuple[str | None, str | None]:
        """(why `verify` refuses that version, None for a valid one; who signed a valid one, as `verify` says it).

        Raises VersionMissing for one that is not there, or no longer.
        """
        try:
            return None, self.verify(number)
        except VersionMissing:
            raise
        except StoreError as exc:
            return str(exc), None

    def corruption_reason(self, number: int) -> str | None:
        """Why `verify` refuses that version; None for a valid one. Raises VersionMissing for one that is not there, or no longer."""
        return self.examine(number)[0]

    @contextmanager
    def next_version(self) -> Iterator[Draft]:
        """A draft with the next number. Other writers wait until the block ends; then the draft is removed unless it was published.

        Child processes that are forked without exec inherit the lock: let none of them outlive the block.
        """
        with self._locked():
            with translate_os_errors(f"begin a version in {self.folder}"):
                draft = Draft(
                    next_number(self.folder), Path(tempfile.mkdtemp(prefix=STAGING, dir=self.folder)), self.name, self.signing_key
                )
            try:
                yield draft
            except OSError as exc:
                if exc.errno not in _DISK_FULL:
                    raise
                raise StoreError(f"cannot write version {draft.number} in {self.folder}: {exc.strerror}") from exc
            finally:
                if not draft.published:
                    shutil.rmtree(draft.folder, ignore_errors=True)

    def copy_version(self, number: int, target_root: Path, wait_s: float = 0.0) -> Path:
        """Copy one version under another root; wait at most `wait_s` seconds until this store holds it.

        A valid copy that is there already is returned at once, whatever became of this store; a corrupt one is replaced.
        Returns: the copy's folder. Raises StoreError for a version that is missing or corrupt; then nothing new is under `target_root`.
        """
        target = ModelStore(target_root, self.name, self.report, self.trusted_keys)
        if target.folder.resolve() == self.folder.resolve():
            raise StoreError(f"cannot copy a version of {self.folder} into the store it comes from")
        with target._locked():
            replace = number in target.versions()
            if replace:
                reason = target.corruption_reason(number)
                if reason is None:
                    return target.path(number)
                self.report(f"{reason}; copying it again")
            self._wait_for(number, wait_s)
            with self._reading(number):
                self._check(self.path(number), number)
                with translate_os_errors(f"copy version {number} to {target.folder}"):
                    self._copy_files(number, target, replace)
        return target.path(number)

    def prune(self, keep: int, served: Collection[int] = (), dry_run: bool = False) -> list[int]:
        """Remove old versions; returns the removed numbers. Kept are:

        the `keep` newest valid versions (at least one; corrupt ones do not count, or damage could push out the good ones);
        each served version, which a restarted pod must find again, and the valid version before it, which a rollback needs;
        corrupt versions, so that somebody can find out what happened to them.
        """
        if keep < 1:
            raise StoreError(f"prune must keep at least 1 version, found {keep}")
        with self._locked():
            valid = [number for number in self.versions() if self._is_valid(number)]
            kept = {*valid[-keep:], *served}
            for number in served:
                kept.update([older for older in valid if older < number][-1:])
            removed = [number for number in valid if number not in kept]
            if removed and not dry_run:
                with translate_os_errors(f"prune {self.folder}"):
                    record_high_water_mark(self.folder)
                    for number in removed:
                        self._remove(number)
        return removed

    def _check(self, folder: Path, number: int) -> str | None:
        """Who signed the version in the folder, as `verify` says it. Raises StoreError unless it is a valid version of that number."""
        check_files(folder, self.name, number)
        with translate_os_errors(f"verify {folder}"):
            check_graph(folder, number)
            if self.trusted_keys:
                return self.trusted_keys.check(folder, number)
            claimed = claimed_signer(folder, number)
            return f"{claimed} (not checked)" if claimed else None

    def _is_valid(self, number: int) -> bool:
        try:
            return self.corruption_reason(number) is None
        except VersionMissing:
            return False

    def _locked(self) -> AbstractContextManager[None]:
        return writer_lock(self.folder, self.report)

    @contextmanager
    def _reading(self, number: int) -> Iterator[None]:
        """Around the reading of a version: VersionMissing where it is not there, or has vanished when the block fails."""
        if number not in (versions := self.versions()):
            raise VersionMissing(f"version {number} is not in {self.folder}; {describe(versions)}")
        try:
            yield
        except StoreError as exc:
            if number not in (versions := self.versions()):
                raise VersionMissing(f"version {number} was removed from {self.folder} while it was read; {describe(versions)}") from exc
            raise

    def _wait_for(self, number: int, wait_s: float) -> None:
        start = time.monotonic()
        last_report_s = -math.inf
        while number not in (versions := self.versions()):
            waited_s = time.monotonic() - start
            if waited_s >= wait_s:
                raise StoreError(f"version {number} is not in {self.folder} after {wait_s:g} s; {describe(versions)}")
            if waited_s - last_report_s >= _REPORT_EVERY_S:
                self.report(f"waiting for version {number} in {self.folder}: {waited_s:.0f} of {wait_s:g} s; {describe(versions)}")
                last_report_s = waited_s
            time.sleep(min(_POLL_S, wait_s - waited_s))

    def _copy_files(self, number: int, target: "ModelStore", replace: bool) -> None:
        """Copy and check under a name that is no version, then rename once."""
        copy = Path(tempfile.mkdtemp(prefix=STAGING, dir=target.folder))
        try:
            for file in [*read_manifest(self.path(number), self.name, number)["files"], MANIFEST, SIGNATURE]:
                if file == SIGNATURE and not (self.path(number) / file).exists():
                    continue
                (copy / file).parent.mkdir(parents=True, exist_ok=True)
                copy_file(self.path(number) / file, copy / file)
            self._check(copy, number)  # again: what is served is the copy, and the store may have changed meanwhile
            seal(copy)
            if replace:
                target._remove(number)
            os.rename(copy, target.path(number))
            sync(target.folder)
        finally:
            shutil.rmtree(copy, ignore_errors=True)

    def _remove(self, number: int) -> None:
        """Rename the version so that it is none any more, then delete it."""
        removed = self.folder / f"{REMOVED}{number}-{uuid.uuid4().hex}"
        os.rename(self.path(number), removed)
        sync(self.folder)
        delete(removed, self.report)
