"""manifest.json of a version: which model and version it is, size and SHA-256 of every other file, and what the publisher adds."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from pynumdraw.store.files import StoreError, list_files, quoted, read, sha256, translate_os_errors

MANIFEST, SIGNATURE = "manifest.json", "model.sig"  # the store's own files of a version, beside those that the manifest lists
OWN_FIELDS = ("model", "version", "created", "files")  # all others are the publisher's
_MAX_MANIFEST_BYTES = 1 << 20  # ours has about 3,000
_MAX_VERSION_BYTES = 1 << 30  # ours has a few millions; hashing more would keep a pod waiting


def write_manifest(folder: Path, model: str, version: int, fields: Mapping[str, Any]) -> None:
    """Write the manifest of the SavedModel in the folder. Raises StoreError where it is none or `fields` cannot be JSON."""
    files = list_files(folder)
    if "saved_model.pb" not in files:
        raise StoreError(f"cannot publish version {version}: {folder} holds no saved_model.pb")
    for file in (MANIFEST, SIGNATURE):
        if file in files:
            raise StoreError(f"cannot publish version {version}: {folder} holds a {file}, which only the store may write")
    for file in files:
        if not _is_plain_path(file):
            raise StoreError(f"cannot publish version {version}: {folder} holds {file!r}, a name of printable UTF-8 was wanted")
    manifest = {
        "model": model,
        "version": version,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **fields,
        "files": {file: {"size": (folder / file).stat().st_size, "sha256": sha256(folder / file)} for file in files},
    }
    try:
        text = json.dumps(manifest, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError, RecursionError) as exc:
        raise StoreError(f"the manifest of version {version} cannot be written as JSON: {exc}") from exc
    (folder / MANIFEST).write_text(text, encoding="ascii")
    read_manifest(folder, model, version)  # so that nothing is published that cannot be read


def read_manifest(folder: Path, model: str, version: int) -> dict[str, Any]:
    """The manifest in the folder. Raises StoreError where it is missing, of another model or version, or malformed."""
    with translate_os_errors(f"read the manifest of {folder}"):
        try:
            text = read(folder / MANIFEST, _MAX_MANIFEST_BYTES)
        except FileNotFoundError:
            raise StoreError(f"{folder} is corrupt: it has no {MANIFEST}") from None
        except StoreError as exc:
            raise StoreError(f"{folder} is corrupt: {exc}") from None
    try:
        manifest = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise StoreError(f"{folder} is corrupt: its {MANIFEST} is not JSON (nested too deeply)") from None
    except ValueError as exc:
        raise StoreError(f"{folder} is corrupt: its {MANIFEST} is not JSON ({exc})") from exc
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise StoreError(f"{folder} is corrupt: its {MANIFEST} has no 'files'")
    for field, wanted in (("model", model), ("version", version)):
        if (found := manifest.get(field)) != wanted or type(found) is not type(wanted):  # to Python, true is 1
            raise StoreError(f"{folder} is corrupt: its {MANIFEST} says {field} {quoted(found)}, {wanted!r} was wanted")
    if not isinstance(manifest.get("created"), str):
        raise StoreError(f"{folder} is corrupt: its {MANIFEST} says created {quoted(manifest.get('created'))}, a date was wanted")
    for file, entry in manifest["files"].items():
        if not _is_plain_path(file):
            raise StoreError(f"{folder} is corrupt: its {MANIFEST} names {quoted(file)}, a plain path inside the version was wanted")
        if not isinstance(entry, dict) or not _is_size(entry.get("size")) or not _is_sha256(entry.get("sha256")):
            raise StoreError(f"{folder} is corrupt: its {MANIFEST} has no size and sha256 for {file:.200}")
    if (size := sum(entry["size"] for entry in manifest["files"].values())) > _MAX_VERSION_BYTES:
        raise StoreError(f"{folder} is corrupt: its files have {size} bytes, at most {_MAX_VERSION_BYTES} were wanted")
    return manifest


def check_files(folder: Path, model: str, version: int) -> None:
    """Raise StoreError unless every file of the manifest is there with its size and SHA-256, and no other file is."""
    wanted = read_manifest(folder, model, version)["files"]
    with translate_os_errors(f"verify {folder}"):
        found = [file for file in list_files(folder) if file not in (MANIFEST, SIGNATURE)]
        for file in wanted:
            if file not in found:
                raise StoreError(f"{folder} is corrupt: {file} is missing")
        for file in found:
            if file not in wanted:
                raise StoreError(f"{folder} is corrupt: {file:.200} is not in its {MANIFEST}")
            size = (folder / file).lstat().st_size
            if size != wanted[file]["size"]:
                raise StoreError(f"{folder} is corrupt: {file} has {size} bytes, {wanted[file]['size']} were wanted")
            if (digest := sha256(folder / file)) != wanted[file]["sha256"]:
                raise StoreError(f"{folder} is corrupt: {file} has SHA-256 {digest}, {wanted[file]['sha256']} was wanted")


def _is_plain_path(file: str) -> bool:
    """Whether a manifest may name it: relative, normal, inside the version, and printable UTF-8."""
    path = PurePosixPath(file)
    return bool(file) and not path.is_absolute() and path.as_posix() == file and ".." not in path.parts and file.isprintable()


def _is_size(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
