"""Drawings by people as JSON: one in each line of a file (`.jsonl`, `.jsonl.gz`), or one in each file of a folder of golden cases."""

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pynumdraw import ink
from trainer.errors import DataError


@dataclass(frozen=True)
class Drawings:
    """Frames, and what is known about each."""

    frames: np.ndarray
    """uint8[N, 28, 28], through the rasteriser."""
    rows: Sequence[dict[str, Any]]
    """The JSON objects: label, kind, writer, ambiguous, …; for golden cases `expect`."""

    def of(self, **fields: object) -> "Drawings":
        """The drawings with these values of the fields; a field that a drawing lacks counts as False."""
        return self.apart(**fields)[0]

    def apart(self, **fields: object) -> tuple["Drawings", "Drawings"]:
        """(the drawings with these values of the fields, all others)."""
        chosen = [all(row.get(name, False) == value for name, value in fields.items()) for row in self.rows]
        return self._at([k for k, these in enumerate(chosen) if these]), self._at([k for k, these in enumerate(chosen) if not these])

    def _at(self, at: list[int]) -> "Drawings":
        return Drawings(self.frames[at], [self.rows[k] for k in at])

    @property
    def labels(self) -> np.ndarray:
        """uint8[N], of drawings of digits."""
        return np.array([int(row["label"]) for row in self.rows], np.uint8)

    def __len__(self) -> int:
        return len(self.rows)


def load_drawings(paths: Sequence[Path]) -> Drawings:
    """The drawings in these files. Raises DataError naming file and line for a line that is no drawing."""
    rows = []
    for path in paths:
        try:
            with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
                rows += [_row(line, f"{path}, line {number}") for number, line in enumerate(file, 1) if line.strip()]
        except (EOFError, gzip.BadGzipFile, UnicodeDecodeError) as exc:
            raise DataError(f"{path}: wanted JSON lines, found {exc}") from exc
    return _rasterise(rows)


def load_golden(folder: Path) -> Drawings:
    """The golden cases `<case>.json` in the folder that expect a digit or not_a_digit; the field `case` has the name."""
    rows = [{**_row(path.read_text(encoding="utf-8"), str(path)), "case": path.stem} for path in sorted(folder.glob("*.json"))]
    return _rasterise([row for row in rows if "digit" in row.get("expect", {}) or row.get("expect") == {"reason": "not_a_digit"}])


def _row(text: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except ValueError as exc:
        raise DataError(f"{where}: wanted a JSON object, found {exc}") from exc
    missing = [field for field in ("width", "height", "strokes") if not isinstance(row, dict) or field not in row]
    if missing:
        raise DataError(f"{where}: wanted a drawing with width, height and strokes, found none of {', '.join(missing)}")
    return row


def _rasterise(rows: Sequence[dict[str, Any]]) -> Drawings:
    frames = [ink.rasterise(ink.clip_strokes(row["strokes"], row["width"], row["height"])) for row in rows]
    return Drawings(np.array(frames, np.uint8).reshape(-1, ink.FRAME_PX, ink.FRAME_PX), rows)
