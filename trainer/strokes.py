"""Glyphs written as strokes by random hands, and rasterised as the gateway rasterises a user's drawing.

The spreads and shares in this module are arbitrary: meant to vary more than MNIST's digits do, and to stay readable.
"""

from collections.abc import Callable, Sequence

import numpy as np

from pynumdraw import ink
from trainer.glyphs import DIGITS, Glyph

Strokes = list[np.ndarray]  # float64[n, 2] each

_FEW_POINTS = 0.15  # share of the drawings, digits and non-digits alike, that have few points, joined by straight lines


def curve(points: np.ndarray, corners: np.ndarray | None = None, per_segment: int = 8) -> np.ndarray:
    """A smooth line through the points (Catmull and Rom's spline), with sharp turns at the corners: float64[m, 2]."""
    n = len(points)
    if n < 2:
        return points
    corners = np.zeros(n, bool) if corners is None else corners
    before, after = points[:-1], points[1:]  # (segments, 2)
    slope = np.empty_like(points)
    slope[1:-1] = (points[2:] - points[:-2]) / 2
    slope[0], slope[-1] = after[0] - before[0], after[-1] - before[-1]
    leave = np.where(corners[:-1, None], after - before, slope[:-1])
    arrive = np.where(corners[1:, None], after - before, slope[1:])
    t = (np.arange(per_segment) / per_segment)[None, :, None]
    h = (2 * t**3 - 3 * t**2 + 1, t**3 - 2 * t**2 + t, -2 * t**3 + 3 * t**2, t**3 - t**2)  # Hermite's basis
    line = h[0] * before[:, None] + h[1] * leave[:, None] + h[2] * after[:, None] + h[3] * arrive[:, None]
    return np.concatenate([line.reshape(-1, 2), points[-1:]])


def write_glyph(glyph: Glyph, rng: np.random.Generator, looseness: float = 1.0) -> Strokes:
    """The glyph as one person may write it."""
    return write(glyph.strokes, glyph.corners, rng, looseness)


def write(strokes: Sequence[np.ndarray], corners: Sequence[np.ndarray], rng: np.random.Generator, looseness: float = 1.0) -> Strokes:
    """The lines through these points as one person may write them.

    Points are displaced, all is bent, stretched and slanted, lines tremble, and ends are too long or too short. The lines are curves, but
    in some drawings straight between few points, as a fast pen, a slow device or a program sends them.
    strokes: float64[n, 2] each. corners: bool[n] for each stroke, where it may turn sharply. looseness: scales the spread; 0 is exact.
    """
    everything = np.concatenate(strokes)
    height = max(np.ptp(everything, axis=0).max(), 1.0)
    centre = (everything.min(axis=0) + everything.max(axis=0)) / 2
    written = []
    few = rng.random() < _FEW_POINTS
    bend = rng.normal(0, 0.035 * looseness * height, (2, 2))  # of all, along x and along y
    for points, corner in zip(strokes, corners, strict=True):
        unit = (points - centre) / height
        points = points + np.sin(3 * unit[:, :1]) * bend[0] + np.sin(3 * unit[:, 1:]) * bend[1]
        points = points + rng.normal(0, rng.uniform(0.01, 0.045) * looseness * height, points.shape)
        if len(strokes) > 1:
            points = points + rng.normal(0, 0.025 * looseness * height, 2)  # strokes do not meet exactly
        if few:
            line = _thin(points, corner, rng)
        else:
            line = curve(points, corner & (rng.random(len(corner)) > 0.15))  # some corners are rounded
        line = _vary_ends(line, rng, looseness)
        if rng.random() < 0.3:
            line = line + rng.normal(0, rng.uniform(0.002, 0.008) * height, line.shape)  # a tremble
        written.append(line)
    linear = random_slant(rng, looseness).T
    return [line @ linear for line in written]


def random_slant(rng: np.random.Generator, looseness: float = 1.0) -> np.ndarray:
    """A linear map that turns, slants and stretches: float64[2, 2]."""
    turn, slant = rng.normal(0, 0.12 * looseness), rng.normal(-0.08, 0.22 * looseness)  # radians; writing leans to the right
    wide = np.exp(rng.normal(0.05, 0.28 * looseness))
    rotate = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return rotate @ np.array([[wide, slant], [0, 1]])


def to_frame(strokes: Strokes) -> np.ndarray:
    """The frame of the strokes, wherever they lie: uint8[28, 28], by the rasteriser that the gateway uses."""
    low = np.min([stroke.min(axis=0) for stroke in strokes], axis=0)
    return ink.rasterise([stroke - low for stroke in strokes])


def draw_digit(digit: int, rng: np.random.Generator) -> Strokes:
    """The digit in one of its styles."""
    styles = DIGITS[digit]
    return write_glyph(styles[rng.integers(len(styles))], rng)


def any_digit(rng: np.random.Generator, among: Sequence[int] = range(10)) -> Strokes:
    """One of these digits in one of its styles."""
    return draw_digit(among[int(rng.integers(len(among)))], rng)


def draw_many(draw: Callable[[np.random.Generator], Strokes | np.ndarray], count: int, seed: Sequence[int]) -> np.ndarray:
    """`count` frames, uint8[count, 28, 28], of what `draw` returns: strokes, or a frame, which is kept as it is."""
    rng = np.random.default_rng(seed)
    frames = np.empty((count, ink.FRAME_PX, ink.FRAME_PX), np.uint8)
    for row in frames:
        drawing = draw(rng)
        row[:] = drawing if isinstance(drawing, np.ndarray) else to_frame(drawing)
    return frames


def _thin(points: np.ndarray, corners: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The points without some of those between the ends that are no corners, never two in a row: float64[m, 2]."""
    kept = np.ones(len(points), bool)
    share = rng.uniform(0, 0.4)
    for k in range(1, len(points) - 1):
        kept[k] = corners[k] or not kept[k - 1] or rng.random() > share
    return points[kept]


def _vary_ends(line: np.ndarray, rng: np.random.Generator, looseness: float) -> np.ndarray:
    """The line with both ends cut short, drawn out, hooked as by a pen that lands or leaves, or as they were."""
    for _ in range(2):
        line = line[::-1]
        kind = rng.random() / looseness
        length = np.hypot(*(line[-1] - line[0])) + 10
        if kind < 0.12 and len(line) > 8:
            line = line[: -rng.integers(1, 3)]
        elif kind < 0.3:
            step = line[-1] - line[-2]
            line = np.concatenate([line, [line[-1] + step / (np.hypot(*step) + 1e-6) * rng.uniform(0, 0.12) * length]])
        elif kind < 0.4:
            line = np.concatenate([line, [line[-1] + rng.normal(0, 0.05, 2) * length]])
    return line
