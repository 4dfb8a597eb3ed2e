"""Publishing: a draft becomes a version by one rename, under a number that was never used before."""

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pynumdraw.store.files import FILE_MODE, STAGING, StoreError, quoted, read, seal, sync, translate_os_errors
from pynumdraw.store.graph import check_graph
from pynumdraw.store.manifest import OWN_FIELDS, write_manifest
from pynumdraw.store.signing import SigningKey

HIGHEST = ".highest"
MAX_NUMBER = 2**63 - 1  # TensorFlow Serving's versions are of type int64
_MAX_HIGHEST_BYTES = 100  # arbitrary, more than a number needs


class Draft:
    """A version while it is written: fill `folder`, then `publish` once."""

    def __init__(self, number: int, folder: Path, model: str, signing_key: SigningKey | None) -> None:
        self.number = number
        self.folder = folder
        self.published = False
        self._model = model
        self._signing_key = signing_key

    def publish(self, fields: Mapping[str, Any]) -> Path:
        """Make the folder's content a version: write its manifest, check its graph, sign and sync it, rename it once.

        fields: what the manifest says besides the store's own fields (model, version, created, files); must be JSON without NaN.
        Returns: the version's folder. Raises StoreError and leaves no version behind where that fails.
        """
        if self.published:
            raise StoreError(f"version {self.number} was published already")
        if reserved := [field for field in OWN_FIELDS if field in fields]:
            raise StoreError(f"the manifest's field {reserved[0]!r} is written by the store, a publisher cannot give it")
        store = self.folder.parent
        target = store / str(self.number)
        with translate_os_errors(f"publish version {self.number} in {store}"):
            write_manifest(self.folder, self._model, self.number, fields)
            check_graph(self.folder, self.number)
            if self._signing_key:
                self._signing_key.sign(self.folder)
            seal(self.folder)
            os.rename(self.folder, target)  # fails on a folder that holds anything, so nothing is ever overwritten
            self.published = True
            sync(store)
            record_high_water_mark(store)
        return target


def served_number(name: str) -> int | None:
    """The version that TensorFlow Serving takes a name for, as absl::SimpleAtoi reads it (007, +5 and -1 are some); or None."""
    match = re.fullmatch(r"[ \t\n\v\f\r]*([+-]?[0-9]+)[ \t\n\v\f\r]*", name)
    number = int(match[1]) if match else MAX_NUMBER + 1
    return number if -MAX_NUMBER - 1 <= number <= MAX_NUMBER else None


def next_number(store: Path) -> int:
    """A number that was never used. Raises StoreError where none is left, or the record of the highest is damaged."""
    highest = highest_number(store)
    if highest == MAX_NUMBER:
        raise StoreError(f"no number is left in {store}: {highest} is there, the highest that TensorFlow Serving reads")
    return highest + 1


def highest_number(store: Path) -> int:
    """The highest number ever used, 0 for none: the high-water mark, or any name that TensorFlow Serving would read as a version."""
    return max(high_water_mark(store), *(number for name in os.listdir(store) if (number := served_number(name)) is not None), 0)


def high_water_mark(store: Path) -> int:
    """The highest number ever published, as recorded; 0 where nothing is. Raises StoreError for a damaged record."""
    mark = store / HIGHEST
    try:
        text = read(mark, _MAX_HIGHEST_BYTES).decode(errors="replace").strip()
    except FileNotFoundError:
        return 0
    if not re.fullmatch(r"[0-9]+", text) or int(text) > MAX_NUMBER:
        raise StoreError(f"{mark} holds {quoted(text)}, the highest version number ever published was wanted")
    return int(text)


def record_high_water_mark(store: Path) -> None:
    """Record the highest number ever used, by one rename. Only for the holder of the lock."""
    highest = highest_number(store)
    if highest == high_water_mark(store):
        return  # so that prune needs no space on a full disk
    opened, fresh = tempfile.mkstemp(prefix=STAGING, dir=store)
    with open(opened, "w", encoding="ascii") as file:
        file.write(f"{highest}\n")
    os.chmod(fresh, FILE_MODE)
    sync(Path(fresh))
    os.replace(fresh, store / HIGHEST)
    sync(store)
