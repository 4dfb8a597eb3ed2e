"""`python -m pynumdraw.store list|verify|fetch|prune --store ROOT --name NAME`, `keygen FOLDER`: the model store from the command line.

Exit codes: 0 done, 2 refused, with one sentence on stderr.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pynumdraw.store.files import StoreError, printable, quoted
from pynumdraw.store.signing import TrustedKeys, make_key
from pynumdraw.store.versions import ModelStore, VersionMissing, describe, report_on_stderr

_MAX_CELL = 40  # characters of a publisher's field in the list; arbitrary


def rows(store: ModelStore) -> list[dict[str, Any]]:
    """One row for each version, as `list --json` prints it; then one, without a number, for each name of `foreign`."""
    found: list[dict[str, Any]] = []
    for number in store.versions():
        try:
            reason, signer = store.examine(number)
            manifest = store.manifest(number)
        except VersionMissing:
            continue
        except StoreError:
            manifest = {"files": {}}
        metrics = manifest.get("metrics")
        found.append(
            {
                "version": number,
                "created": _as_text(manifest.get("created")),
                "recipe": _as_text(manifest.get("recipe")),
                "accuracy": _as_fraction(metrics.get("accuracy")) if isinstance(metrics, dict) else None,
                "bytes": sum(file["size"] for file in manifest["files"].values()),
                "signer": signer,
                "state": "valid" if reason is None else "corrupt",
                "reason": reason,
            }
        )
    for name, number in store.foreign().items():
        reason = f"{quoted(name)} is no version of the store, but TensorFlow Serving would serve it as version {number}"
        found.append(
            dict.fromkeys(("version", "created", "recipe", "accuracy", "bytes", "signer")) | {"state": "foreign", "reason": reason}
        )
    return found


def _as_text(value: Any) -> str | None:
    """A publisher's field as one short line; None where it is no text."""
    return printable(value[:_MAX_CELL]) if isinstance(value, str) else None


def _as_fraction(value: Any) -> float | None:
    """A publisher's field as a number from 0 to 1; None where it is none."""
    return value if isinstance(value, float) and 0 <= value <= 1 else None


def list_versions(store: ModelStore, as_json: bool) -> None:
    """Print the versions as a table, or as JSON."""
    found = rows(store)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    line = "{:>7}  {:<25}  {:<8}  {:>8}  {:>9}  {:<34}  {}".format
    print(line("version", "created", "recipe", "accuracy", "size", "signed by", "state"))
    for row in found:
        accuracy = "-" if row["accuracy"] is None else f"{row['accuracy']:.2%}"
        size = "-" if row["bytes"] is None else f"{row['bytes'] / 1e6:.2f} MB"
        text = [row[column] or "-" for column in ("version", "created", "recipe", "signer")]
        print(line(*text[:3], accuracy, size, text[3], row["reason"] or row["state"]))


def verify(store: ModelStore, number: int | None) -> None:
    """Check one version, or all of them. Raises StoreError with every reason where one is corrupt, or where there is none."""
    numbers = store.versions() if number is None else [number]
    if not numbers:
        raise StoreError(f"nothing to verify in {store.folder}; {describe(numbers)}")
    reasons = []
    for each in numbers:
        try:
            reason, signer = store.examine(each)
        except VersionMissing:
            if number is None:
                continue
            raise
        if reason:
            reasons.append(reason)
        else:
            print(printable(f"version {each} is valid, " + (f"signed by {signer}" if signer else "not signed")))
    if reasons:
        raise StoreError("; ".join(reasons))


def prune(store: ModelStore, keep: int, served: Sequence[int], dry_run: bool) -> None:
    """Remove old versions and print which."""
    removed = store.prune(keep, served, dry_run)
    print(f"{'would remove' if dry_run else 'removed'} {', '.join(map(str, removed)) or 'nothing'}; {describe(store.versions())}")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m pynumdraw.store", description="List, verify, fetch and prune the versions of a model.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--store", type=Path, required=True, metavar="ROOT", help="folder that holds the model's folder")
    common.add_argument("--name", required=True, help="the model's name")
    common.add_argument(
        "--trusted-keys",
        type=Path,
        metavar="PATH",
        help="PEM file of a public key or certificates, or a folder of such: signatures are checked",
    )
    commands = made.add_subparsers(dest="command", required=True)
    command = commands.add_parser("list", parents=[common], help="print the versions of the store")
    command.add_argument("--json", action="store_true", help="print JSON")
    command = commands.add_parser("verify", parents=[common], help="check every file against its manifest")
    command.add_argument("--version", type=int, help="check only this version")
    command = commands.add_parser("fetch", parents=[common], help="copy one verified version under another root")
    command.add_argument("--version", type=int, required=True)
    command.add_argument("--to", type=Path, required=True, metavar="ROOT", help="root for the copy, which becomes ROOT/NAME/VERSION")
    command.add_argument("--wait-s", type=float, default=0.0, metavar="SECONDS", help="how long to wait for the version (default 0)")
    command.add_argument("--termination-log", type=Path, metavar="PATH", help="write the reason there too (default: $TERMINATION_LOG)")
    command = commands.add_parser("prune", parents=[common], help="remove old versions; never one that is served, nor the one before it")
    command.add_argument("--keep", type=int, required=True, metavar="K", help="how many of the newest valid versions to keep")
    command.add_argument("--served", type=int, nargs="*", default=[], metavar="N", help="versions that are served now")
    command.add_argument("--dry-run", action="store_true", help="remove nothing, only print what would be removed")
    command = commands.add_parser("keygen", help="make a key pair that signs versions: key.pem, to be kept secret, and key.pub")
    command.add_argument("folder", type=Path, metavar="FOLDER")
    return made


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 2 refused."""
    args = parser().parse_args(argv)
    termination_log = (args.termination_log or os.environ.get("TERMINATION_LOG")) if args.command == "fetch" else None
    try:
        if args.command == "keygen":
            private, public = make_key(args.folder)
            print(printable(f"{private} signs: give it to the trainer alone. {public} verifies: it is no secret"))
            return 0
        store = ModelStore(args.store, args.name, trusted_keys=TrustedKeys(args.trusted_keys) if args.trusted_keys else None)
        match args.command:
            case "list":
                list_versions(store, args.json)
            case "verify":
                verify(store, args.version)
            case "fetch":
                print(printable(f"version {args.version} is valid in {store.copy_version(args.version, args.to, args.wait_s)}"))
            case "prune":
                prune(store, args.keep, args.served, args.dry_run)
    except StoreError as exc:
        report_on_stderr(str(exc))
        if termination_log:
            try:
                Path(termination_log).write_text(f"{exc}\n", encoding="utf-8")
            except OSError as write_error:
                report_on_stderr(f"cannot write the termination log: {write_error}")
        return 2
    return 0


def _exit_on_sigterm(*_: object) -> None:
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _exit_on_sigterm)  # process 1 of a container ignores SIGTERM unless it has a handler
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
