"""Publish versions that must never reach a user. Runs in the trainer's image: corrupt_version.py ROOT NAME

corrupt: a file is shorter than its manifest says. unloadable: the files are as published, but TensorFlow cannot load them.
bad_warmup: its warm-up requests cannot be read. Prints their numbers as JSON.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from pynumdraw.store import ModelStore
from pynumdraw.store.manifest import OWN_FIELDS


def truncate(path: Path) -> None:
    """Cut a file in the middle."""
    os.truncate(path, path.stat().st_size // 2)


def truncate_weights(folder: Path) -> None:
    """Damage the variables of a SavedModel."""
    truncate(next(folder.glob("variables/variables.data-*")))


def truncate_graph(folder: Path) -> None:
    """Damage the graph of a SavedModel."""
    truncate(folder / "saved_model.pb")


def break_warmup(folder: Path) -> None:
    """Replace the warm-up requests by something that is none."""
    (folder / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"no TFRecord" * 9)


def publish_damaged(store: ModelStore, source: int, damage: Callable[[Path], None], after_publishing: bool) -> int:
    """Publish a copy of a version and damage it, before it is published or after; returns its number."""
    manifest = store.manifest(source)
    with store.next_version() as draft:
        for file in manifest["files"]:
            (draft.folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(store.path(source) / file, draft.folder / file)
        if not after_publishing:
            damage(draft.folder)
        draft.publish({field: value for field, value in manifest.items() if field not in OWN_FIELDS})
    if after_publishing:
        damage(store.path(draft.number))
    return draft.number


def main() -> None:
    """One of each kind, made of version 1."""
    store = ModelStore(Path(sys.argv[1]), sys.argv[2])
    numbers = {
        "corrupt": publish_damaged(store, 1, truncate_weights, after_publishing=True),
        "unloadable": publish_damaged(store, 1, truncate_graph, after_publishing=False),
        "bad_warmup": publish_damaged(store, 1, break_warmup, after_publishing=False),
    }
    print(json.dumps(numbers))


if __name__ == "__main__":
    main()
