"""Publishing: a draft becomes a version by one rename, under a number that was never used before."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pynumdraw.store.files import FILE_MODE, STAGING, StoreError, seal, sync, translate_os_errors
from pynumdraw.store.manifest import OWN_FIELDS, write_manifest

HIGHEST = ".highest"


class Draft:
    """A version while it is written: fill `folder`, then `publish` once."""

    def __init__(self, number: int, folder: Path, model: str) -> None:
        self.number = number
        self.folder = folder
        self.published = False
        self._model = model

    def publish(self, fields: Mapping[str, Any]) -> Path:
        """Make the folder's content a version: write its manifest, sync it to disk, make it readable to every user, rename it once.

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
            seal(self.folder)
            os.rename(self.folder, target)  # fails on a folder that holds anything, so nothing is ever overwritten
            self.published = True
            sync(store)
            record_high_water_mark(store)
        return target


def highest_number(store: Path) -> int:
    """The highest number ever used, 0 for none: the high-water mark, or any name that TensorFlow Serving would read as a version."""
    return max(high_water_mark(store), *(int(name) for name in os.listdir(store) if re.fullmatch(r"[0-9]+", name)), 0)


def high_water_mark(store: Path) -> int:
    """The highest number ever published, as recorded; 0 where nothing is. Raises StoreError for a damaged record."""
    mark = store / HIGHEST
    text = mark.read_text(encoding="utf-8", errors="replace").strip() if mark.exists() else "0"
    if not re.fullmatch(r"[0-9]+", text):
        raise StoreError(f"{mark} holds {text[:20]!r}, the highest version number ever published was wanted")
    return int(text)


def record_high_water_mark(store: Path) -> None:
    """Record the highest number ever used, by one rename. Only for the holder of the lock."""
    highest = highest_number(store)
    if highest == high_water_mark(store):
        return  # so that prune needs no space on a full disk
    fresh = store / f"{STAGING}highest"
    fresh.write_text(f"{highest}\n", encoding="ascii")
    fresh.chmod(FILE_MODE)
    sync(fresh)
    os.replace(fresh, store / HIGHEST)
    sync(store)
