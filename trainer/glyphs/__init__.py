"""The glyphs that the trainer draws, as data: one style of one glyph a line in `<table>.txt`.

    4: 14,0! 0,55! 62,55! / 44,20! 44,100!

The name comes first; a name may have several lines, one for each style. After the colon are the points `x,y` of the strokes, ` / ` between
two strokes. y grows downwards, and a glyph is about 100 high. A smooth curve runs through the points of a stroke; at a point marked `!` it
may turn sharply. Lines that begin with `#` are comments. Training draws styles by their place in the file, so another order of the lines
gives another model.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Glyph:
    """One style of one glyph."""

    name: str
    strokes: tuple[np.ndarray, ...]
    """float64[n, 2] for each stroke: its points."""
    corners: tuple[np.ndarray, ...]
    """bool[n] for each stroke: where it may turn sharply."""


def load_glyphs(path: Path) -> tuple[Glyph, ...]:
    """The glyphs of a file, in its order. Raises ValueError naming file and line for one that is no glyph."""
    glyphs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line and not line.startswith("#"):
            try:
                glyphs.append(_parse(line))
            except ValueError as exc:
                raise ValueError(f"{path}, line {number}: wanted `name: x,y x,y! … / x,y …`, found {line!r}") from exc
    return tuple(glyphs)


def _parse(line: str) -> Glyph:
    name, separator, style = line.partition(": ")
    if not separator:
        raise ValueError("no name")
    strokes, corners = [], []
    for stroke in style.split(" / "):
        points = stroke.split()
        coordinates = np.array([[float(value) for value in point.removesuffix("!").split(",")] for point in points])
        if coordinates.shape != (len(points), 2) or not points:
            raise ValueError("not two coordinates for each point")
        strokes.append(coordinates)
        corners.append(np.array([point.endswith("!") for point in points]))
    return Glyph(name, tuple(strokes), tuple(corners))


_FOLDER = Path(__file__).parent
_DIGITS = load_glyphs(_FOLDER / "digits.txt")

DIGITS = {digit: tuple(glyph for glyph in _DIGITS if glyph.name == str(digit)) for digit in range(10)}
LETTERS = load_glyphs(_FOLDER / "letters.txt")
LOOKALIKES = load_glyphs(_FOLDER / "lookalikes.txt")
SIGNS = load_glyphs(_FOLDER / "signs.txt")
FIGURES = load_glyphs(_FOLDER / "figures.txt")
