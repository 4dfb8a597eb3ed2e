"""The commands in docs/: each fence says where it runs.

```sh              runs anywhere, without a cluster: tests/chart runs it
```sh cluster=ID   needs a cluster: tests/e2e runs it, by that ID
```sh elsewhere    cannot run here; the text around it says "not run by our tests", or it is part of what the suite does by itself
"""

import re
from dataclasses import dataclass

from tests.chart.tools import ROOT

DOCUMENTS = (ROOT / "docs" / "deploy.md", ROOT / "docs" / "upgrade.md")


@dataclass(frozen=True)
class Command:
    """A fence with commands. where: "", "cluster" or "elsewhere"."""

    document: str
    where: str
    name: str
    text: str


def commands() -> list[Command]:
    """All of them, in order."""
    found = []
    for path in DOCUMENTS:
        for where, name, text in re.findall(r"^```sh *(\w*)=?([\w-]*)\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL):
            found.append(Command(path.name, where, name, text.strip()))
    return found


def command(name: str) -> str:
    """The documented command for a cluster that has this ID."""
    (found,) = [each.text for each in commands() if each.where == "cluster" and each.name == name]
    return found
