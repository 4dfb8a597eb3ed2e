"""The model store: immutable, verified versions of a SavedModel, in a folder that TensorFlow Serving can read.

    <root>/<name>/
        1/ 2/ …              published versions: a SavedModel's files, manifest.json and perhaps model.sig, never changed again
        .staging-<random>/   a version, or a copy of one, while it is written; TensorFlow Serving ignores names that are no integers
        .removed-<random>/   a version while it is deleted
        .lock                locked (flock) by the process that writes, so that a killed process frees it
        .highest             the high-water mark: the highest number ever published, since no number is used twice, not even after prune

versions: list, verify, copy and prune.  publish: a new version.  manifest: what manifest.json says and whether the files agree.
graph: what a version may do when it is served.  signing: who made it.  files: the file system.
`python -m pynumdraw.store` is the command line.

Reading takes no lock and writes nothing. The next writer removes what a killed process left. Every failure is a `StoreError`, whatever
somebody put into the store: names and contents are bounded, printed with escapes, and no FIFO is waited for.
"""

from pynumdraw.store.files import StoreError
from pynumdraw.store.manifest import MANIFEST
from pynumdraw.store.publish import Draft
from pynumdraw.store.signing import SigningKey, TrustedKeys
from pynumdraw.store.versions import ModelStore, VersionMissing

__all__ = ["MANIFEST", "Draft", "ModelStore", "SigningKey", "StoreError", "TrustedKeys", "VersionMissing"]
