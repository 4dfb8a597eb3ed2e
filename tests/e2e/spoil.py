"""Versions that must never reach a user, put into the store on purpose. Runs in the trainer's image: spoil.py ROOT NAME

torn: a file is shorter than its manifest says. corrupt: published as it is, but TensorFlow cannot load it. warmup: its warm-up requests are
no such. Prints their numbers as JSON.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from pynumdraw.store import ModelStore

OWN = ("model", "version", "created", "files")


def halve(path: Path) -> None:
    """Cut a file in the middle."""
    os.truncate(path, path.stat().st_size // 2)


def spoilt(store: ModelStore, source: int, spoil: Callable[[Path], None], after: bool) -> int:
    """Publish a copy of a version, spoilt before it is published or after."""
    manifest = store.manifest(source)
    with store.next_version() as draft:
        for file in manifest["files"]:
            (draft.folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(store.path(source) / file, draft.folder / file)
        if not after:
            spoil(draft.folder)
        draft.publish({field: value for field, value in manifest.items() if field not in OWN})
    if after:
        spoil(store.path(draft.number))
    return draft.number


def main() -> None:
    """One of each, made of version 1."""
    store = ModelStore(Path(sys.argv[1]), sys.argv[2])
    ways: dict[str, tuple[Callable[[Path], None], bool]] = {
        "torn": (lambda folder: halve(next(folder.glob("variables/variables.data-*"))), True),
        "corrupt": (lambda folder: halve(folder / "saved_model.pb"), False),
        "warmup": (lambda folder: (folder / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"no TFRecord" * 9) and None, False),
    }
    print(json.dumps({name: spoilt(store, 1, *way) for name, way in ways.items()}))


if __name__ == "__main__":
    main()
