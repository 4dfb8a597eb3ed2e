"""Publish versions that must never reach a user. Runs in the trainer's image: corrupt_version.py ROOT NAME PRIVATE_KEY

corrupt: a file is shorter than its manifest says. unloadable: signed and checked, but TensorFlow cannot load it. bad_warmup: so are its
warm-up requests. forbidden: signed by the trainer's key, with an operation that writes a file. tampered: files and manifest rewritten
together. unsigned; stranger: signed by another key. renamed: version 1 in a folder of another number. Prints their numbers as JSON.
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from pynumdraw.store import ModelStore, SigningKey
from pynumdraw.store.files import seal
from pynumdraw.store.graph import GRAPH, WARMUP
from pynumdraw.store.manifest import MANIFEST, OWN_FIELDS, SIGNATURE, write_manifest
from pynumdraw.store.saved_model_pb2 import FunctionDef, NodeDef, OpDef, SavedModel
from pynumdraw.store.signing import make_key

Change = Callable[[Path], object]


def truncate_warmup(folder: Path) -> None:
    """Cut the warm-up requests in the middle."""
    os.truncate(folder / WARMUP, (folder / WARMUP).stat().st_size // 2)


def break_warmup(folder: Path) -> None:
    """Replace the warm-up requests by something that is none."""
    (folder / WARMUP).write_bytes(b"no TFRecord" * 9)


def break_graph(folder: Path) -> None:
    """Add an operation that TensorFlow cannot load, though it is on the list: it lacks its input."""
    model = SavedModel.FromString((folder / GRAPH).read_bytes())
    model.meta_graphs[0].graph_def.node.append(NodeDef(name="broken", op="Relu"))
    (folder / GRAPH).write_bytes(model.SerializeToString())


def hide_a_thief(folder: Path) -> None:
    """Add a function that writes a file."""
    model = SavedModel.FromString((folder / GRAPH).read_bytes())
    loot = FunctionDef(signature=OpDef(name="loot"), node_def=[NodeDef(name="thief", op="WriteFile")])
    model.meta_graphs[0].graph_def.library.function.append(loot)
    (folder / GRAPH).write_bytes(model.SerializeToString())


def copy_of_first(store: ModelStore, folder: Path) -> dict[str, object]:
    """The files of version 1 in a folder, without the store's own; what its publisher wrote into the manifest."""
    manifest = store.manifest(1)
    for file in manifest["files"]:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(store.path(1) / file, folder / file)
    return {field: value for field, value in manifest.items() if field not in OWN_FIELDS}


def publish(store: ModelStore, before: Change = lambda folder: None, after: Change = lambda folder: None) -> int:
    """Publish version 1 once more, changed before it is published or after; returns its number."""
    with store.next_version() as draft:
        fields = copy_of_first(store, draft.folder)
        before(draft.folder)
        draft.publish(fields)
    after(store.path(draft.number))
    return draft.number


def smuggle(store: ModelStore, change: Change) -> int:
    """What somebody does who can write the store and has the key, but not our publisher, which would refuse the change."""
    number = publish(store)
    folder = store.path(number)
    fields = {field: value for field, value in store.manifest(number).items() if field not in OWN_FIELDS}
    (folder / MANIFEST).unlink()
    (folder / SIGNATURE).unlink()
    change(folder)
    write_manifest(folder, store.name, number, fields)
    assert store.signing_key is not None
    store.signing_key.sign(folder)
    seal(folder)
    return number


def tamper(store: ModelStore, number: int) -> int:
    """Rewrite files and manifest together; the signature stays."""
    folder = store.path(number)
    fields = {field: value for field, value in store.manifest(number).items() if field not in OWN_FIELDS}
    signature = (folder / SIGNATURE).read_bytes()
    (folder / MANIFEST).unlink()
    (folder / SIGNATURE).unlink()
    (folder / WARMUP).write_bytes((folder / WARMUP).read_bytes()[::-1])
    write_manifest(folder, store.name, number, fields)
    (folder / SIGNATURE).write_bytes(signature)
    seal(folder)
    return number


def rename(store: ModelStore, number: int) -> int:
    """Put version 1, signed as it is, where another version was."""
    shutil.rmtree(store.path(number))
    shutil.copytree(store.path(1), store.path(number))
    return number


def main() -> None:
    """One of each kind, made of version 1."""
    root, name, key = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    store = ModelStore(root, name, signing_key=SigningKey(key))
    folder = Path(tempfile.mkdtemp(dir=root))  # the only place that this pod may write to
    stranger = SigningKey(make_key(folder)[0])
    numbers = {
        "corrupt": publish(store, after=truncate_warmup),
        "unloadable": publish(store, before=break_graph),
        "bad_warmup": publish(store, before=break_warmup),
        "forbidden": smuggle(store, hide_a_thief),
        "tampered": tamper(store, publish(store)),
        "unsigned": publish(ModelStore(root, name)),
        "stranger": publish(ModelStore(root, name, signing_key=stranger)),
        "renamed": rename(store, publish(store)),
    }
    shutil.rmtree(folder)
    print(json.dumps(numbers))


if __name__ == "__main__":
    main()
