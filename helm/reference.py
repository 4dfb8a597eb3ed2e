"""Generate the chart's reference from helm/pynumdraw/values.yaml: `python helm/reference.py readme|schema [--check]`.

A comment `# -- A sentence.` above each value becomes its row in README.md and its description in values.schema.json. A comment
`# @schema {…}` adds JSON Schema to the type of the default. A map without a sentence is a group: closed,
each of its values described. A map with one is a Kubernetes type (resources, labels, …) and stays open.
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
            schema = {} if default is None else {"type": _KINDS[type(default)]}
            schema = {**schema, **extra, "description": sentence}
            if "type" not in schema:
                raise ReferenceError(f'{name}: is null, so it needs a comment `# @schema {{"type": …}}`')
            yield Value(at, default, sentence, schema)

    root = yaml.compose(text)
    if not isinstance(root, yaml.MappingNode):
        raise ReferenceError("values.yaml: a map was wanted")
    return list(walk(root, ()))


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
    for value in values(text):
        group = root
        for name in value.path[:-1]:
            group = group["properties"].setdefault(name, _group(None))
        group["properties"][value.path[-1]] = value.schema
    return json.dumps({"$schema": "http://json-schema.org/draft-07/schema#", **root}, indent=2, ensure_ascii=False) + "\n"


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
