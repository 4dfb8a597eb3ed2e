"""Generate the chart's reference from helm/pynumdraw/values.yaml: `python helm/reference.py readme|schema [--check]`.

A comment `# -- A sentence.` above each value becomes its row in README.md and its description in values.schema.json. A comment
`# @schema {…}` adds JSON Schema to the type of the default, and `{"as": "labels"}` the schema of that name in `_NAMED`.
A map without a sentence is a group: closed, each of its values described. A map with one is a Kubernetes type (resources, labels, …)
and stays open. Helm removes a value that is set to null: one whose default is empty may be removed, any other is required, so that
the error names it.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).resolve().parent / "pynumdraw"
BEGIN, END = "<!-- values: made by `make chart-docs` -->\n", "<!-- end of values -->\n"
_TEXT_MAP = {"additionalProperties": {"type": "string"}}
_QUANTITY = r"[0-9]+(\.[0-9]+)?(m|k|[KMGTPE]i|[MGTPE]|e[0-9]+)?"
_AMOUNTS = {"type": ["object", "null"], "additionalProperties": {"type": ["string", "number", "null"], "pattern": f"^{_QUANTITY}$"}}
_TEXT = {"type": "string", "minLength": 1}
_NAMED: dict[str, dict[str, Any]] = {
    "labels": {
        "propertyNames": {"pattern": r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$"},
        "additionalProperties": {"type": "string", "maxLength": 63, "pattern": r"^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$"},
    },
    "annotations": _TEXT_MAP,
    "resources": {"additionalProperties": False, "properties": {"requests": _AMOUNTS, "limits": _AMOUNTS, "claims": {"type": "array"}}},
    "environment": {"items": {"type": "object", "required": ["name"], "properties": {"name": _TEXT, "value": {"type": "string"}}}},
    "volumes": {"items": {"type": "object", "required": ["name"], "properties": {"name": _TEXT}}},
    "mounts": {"items": {"type": "object", "required": ["name", "mountPath"], "properties": {"name": _TEXT, "mountPath": _TEXT}}},
    "pems": {
        "propertyNames": {"pattern": r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"},
        "additionalProperties": {"type": "string", "pattern": "^-----BEGIN "},
    },
    "name": {"pattern": r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$"},
    "prefix": {"maxLength": 40, "pattern": r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?)?$"},
    "hosts": {"items": {"type": "string", "pattern": r"^(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"}},
    "digest": {"pattern": r"^(sha256:[0-9a-f]{64})?$"},
    "tag": {"pattern": r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$"},
    "quantity": {"pattern": f"^{_QUANTITY}$"},
}
_KINDS = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


class ReferenceError(ValueError):
    """A value that is not described as it should be; the message names it."""


@dataclass(frozen=True)
class Value:
    """A documented value."""

    path: tuple[str, ...]
    default: Any
    sentence: str
    schema: dict[str, Any]


def values(text: str) -> list[Value]:
    """All values of a values.yaml, in its order. Raises ReferenceError for one without a sentence, or without a type."""
    lines = text.splitlines()

    def walk(node: yaml.MappingNode, path: tuple[str, ...]) -> Iterator[Value]:
        for key, child in node.value:
            at = (*path, key.value)
            name = ".".join(at)
            sentence, extra = _comment(lines, key.start_mark.line, name)
            if sentence is None:
                if not isinstance(child, yaml.MappingNode) or not child.value:
                    raise ReferenceError(f"{name}: has no comment `# -- …`")
                yield from walk(child, at)
                continue
            default = yaml.safe_load(yaml.serialize(child))
            yield Value(at, default, sentence, {**_schema(name, default, extra), "description": sentence})

    root = yaml.compose(text)
    if not isinstance(root, yaml.MappingNode):
        raise ReferenceError("values.yaml: a map was wanted")
    return list(walk(root, ()))


def _schema(name: str, default: Any, extra: dict[str, Any]) -> dict[str, Any]:
    """The schema of one value, from its default and its comment."""
    if (chosen := extra.pop("as", None)) not in (None, *_NAMED):
        raise ReferenceError(f"{name}: its @schema is as {chosen!r}; there are: {', '.join(_NAMED)}")
    kind: dict[str, Any] = {} if default is None else {"type": _KINDS[type(default)]}
    if default in ("", [], {}):
        kind["type"] = [kind["type"], "null"]
    elif isinstance(default, str):
        kind["minLength"] = 1
    found = {**kind, **(_NAMED[chosen] if chosen else {}), **extra}
    if "type" not in found:
        raise ReferenceError(f'{name}: is null, so it needs a comment `# @schema {{"type": …}}`')
    return found


def _comment(lines: list[str], line: int, name: str) -> tuple[str | None, dict[str, Any]]:
    """The sentence and the schema in the comment right above a line."""
    sentence, schema = None, {}
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        text = lines[line].lstrip("# ")
        if text.startswith("-- "):
            sentence = text[3:]
        elif text.startswith("@schema "):
            try:
                schema = json.loads(text[8:])
            except ValueError as exc:
                raise ReferenceError(f"{name}: its @schema is not JSON: {exc}") from exc
    return sentence, schema


def schema(text: str) -> str:
    """values.schema.json: closed to unknown names, so that a misspelt value is an error."""
    root = _group("Values of the pynumdraw chart")
    root["properties"]["global"] = {"type": "object", "description": "For charts that have this one as a dependency; not used."}
    root["properties"]["enabled"] = {"type": "boolean", "description": "For the `condition` of a chart that has this one as a dependency."}
    for value in values(text):
        group = root
        for name in value.path[:-1]:
            _require(group, name)
            group = group["properties"].setdefault(name, _group(None))
        if "null" not in value.schema["type"]:
            _require(group, value.path[-1])
        group["properties"][value.path[-1]] = value.schema
    return json.dumps({"$schema": "http://json-schema.org/draft-07/schema#", **root}, indent=2, ensure_ascii=False) + "\n"


def _require(group: dict[str, Any], name: str) -> None:
    required = group.setdefault("required", [])
    if name not in required:
        required.append(name)


def _group(title: str | None) -> dict[str, Any]:
    return {**({"title": title} if title else {}), "type": "object", "additionalProperties": False, "properties": {}}


def readme(text: str, old: str) -> str:
    """README.md with a new table of values between its marks. Raises ReferenceError where it has no marks."""
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ReferenceError(f"README.md: has no lines {BEGIN.strip()} and {END.strip()}")
    rows = ["| value | default | |", "| --- | --- | --- |"]
    for value in values(text):
        default = json.dumps(value.default, ensure_ascii=False)
        rows.append(f"| `{'.'.join(value.path)}` | `{default}` | {value.sentence.replace('|', chr(92) + '|')} |")
    return before + BEGIN + "\n" + "\n".join(rows) + "\n\n" + END + after


def main(argv: list[str] | None = None) -> int:
    """Write one of the two files, or only compare; returns the exit code: 0 done or equal, 1 stale, 2 refused."""
    parser = argparse.ArgumentParser(prog="python helm/reference.py", description="The chart's README and schema from its values.yaml.")
    parser.add_argument("what", choices=("readme", "schema"))
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where the file is stale")
    args = parser.parse_args(argv)
    path = CHART / ("README.md" if args.what == "readme" else "values.schema.json")
    text = (CHART / "values.yaml").read_text()
    try:
        fresh = schema(text) if args.what == "schema" else readme(text, path.read_text())
    except ReferenceError as exc:
        print(exc, file=sys.stderr)
        return 2
    if path.exists() and path.read_text() == fresh:
        return 0
    if args.check:
        print(f"{path.name} is stale: make chart-docs chart-schema", file=sys.stderr)
        return 1
    path.write_text(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())
