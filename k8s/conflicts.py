"""Fields of our manifests that another manager holds, from what the API server says to a server-side apply that is not carried out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_CAUSE = re.compile(r'conflict with "(?P<manager>[^"]+)"(?: with subresource "(?P<subresource>[^"]+)")?(?P<updated> using )?')
_STEP = re.compile(r'\.([^.\[\]]+)|\[([^=\]]+)="([^"]*)"\]')


@dataclass(frozen=True)
class Conflict:
    """A field whose value another manager set and ours would change."""

    resource: str
    """Kind and name."""
    field: str
    """Path of the field, as the API server prints it."""
    manager: str
    """Who holds the field, with the subresource that it went through: `kubectl (scale)`."""
    applied: bool
    """Whether the manager applies manifests of its own, as Argo CD and Flux do, and would set the field again."""
    live: Any
    """The field's value now; None where the path leads to nothing."""
    ours: Any
    """The value that our manifest has; None likewise."""

    def __str__(self) -> str:
        values = f"; it is {self.live}, this sets {self.ours}" if self.live is not None and self.ours is not None else ""
        return f"{self.resource}: {self.field} is held by {self.manager}{values}"


def conflicts(status: Mapping[str, Any], manifest: Mapping[str, Any], live: Mapping[str, Any]) -> list[Conflict]:
    """The conflicts that a Status object of HTTP 409 names; empty where it is about something else."""
    causes = (status.get("details") or {}).get("causes") or []
    matches = [(cause["field"], _CAUSE.match(cause["message"])) for cause in causes if cause.get("reason") == "FieldManagerConflict"]
    return [
        Conflict(
            resource=f"{manifest['kind']} {manifest['metadata']['name']}",
            field=field,
            manager=match["manager"] + (f" ({match['subresource']})" if match["subresource"] else ""),
            applied=match["updated"] is None,
            live=_value(live, field),
            ours=_value(manifest, field),
        )
        for field, match in matches
        if match
    ]


def _value(node: Any, path: str) -> Any:
    """What is at a path such as `.spec.containers[name="gateway"].image`; None where nothing is."""
    for name, key, value in _STEP.findall(path):
        if name:
            node = node.get(name) if isinstance(node, Mapping) else None
        else:
            node = next((each for each in node or [] if isinstance(each, Mapping) and each.get(key) == value), None)
    return node
