"""Digits drawn as strokes, in the styles that people's pens have and MNIST hardly has, through the one rasteriser.

A style is a line of text: points `x,y` (y grows down, a digit is about 100 high), ` / ` between strokes. A smooth curve runs through
the points of a stroke; at a point marked `!` it may turn sharply. The styles are our own, after how people write: open and closed
and one-stroke 4, barred 7, flagged and footed 1, hooked 9, slashed 0.
"""

from collections.abc import Callable, Sequence

import numpy as np

from pynumdraw import ink

Strokes = list[np.ndarray]  # float64[n, 2] each

DIGITS = {
    0: (
        "30,0 10,14 0,50 10,86 30,100 52,86 62,50 52,14 32,0",
        "30,0 10,14 0,50 10,86 30,100 52,86 62,50 52,14 34,0 20,6 10,16",
        "30,0 52,12 62,50 52,88 30,100 8,88 0,50 8,12 28,0",
        "50,10 30,0 8,18 0,55 12,90 32,100 54,86 62,50 54,18 40,6",
        "45,0 12,12 0,50 14,88 48,100 84,86 95,48 80,12 48,0",
        "14,0 2,20 0,52 4,86 16,100 28,84 32,50 28,14 16,0",
        "4,20 0,50 10,86 30,100 52,86 62,50 52,14 32,0 14,6 4,22",
        "44,16 36,4 22,2 4,24 0,56 12,90 32,100 54,86 62,50 52,16 38,4 46,-6",
        "30,0 10,14 0,50 10,86 30,100 52,86 62,50 52,14 32,0 / 58,6! 4,94!",
        "30,0 10,14 0,50 10,86 30,100 52,86 62,50 52,14 32,0 / 72,-8! -10,106!",
        "45,0 12,12 0,50 14,88 48,100 84,86 95,48 80,12 48,0 / 84,10! 12,90!",
        "34,0 10,14 0,50 10,86 30,100 52,86 62,50 54,14 34,0! 10,84!",
        "20,26 6,36 2,58 10,80 22,84 34,72 36,50 30,34 20,26 / 34,0! 6,110!",
        "24,10 4,24 0,50 10,80 26,90 44,74 46,40 36,14 24,8 / 30,-12! 20,110!",
        "40,6 14,4 0,30 4,76 26,98 52,84 60,44 50,14 34,2 16,14! 50,92!",
    ),
    1: (
        "0,0! 0,100!",
        "0,18! 18,0! 18,100!",
        "0,24! 26,0! 20,100!",
        "0,45! 38,0! 38,100!",
        "0,36! 34,0! 26,100!",
        "0,60! 44,0! 36,100!",
        "0,22 12,12 20,0! 20,100!",
        "0,20! 20,0! 20,100! / 0,100! 42,100!",
        "0,34! 26,0! 26,100! / 2,100! 52,98!",
        "0,14! 14,0! 14,100! / -8,100! 36,100!",
        "0,20! 20,0! 20,100! 0,100! 44,100!",
        "15,0! 15,100! / 0,100! 32,100!",
        "0,8! 18,0! 18,100! / 0,100! 36,100!",
        "0,26 14,12 28,0! 12,100!",
        "0,48! 28,0! 10,100!",
        "0,40! 40,0! 16,100!",
        "18,0! 18,100! / -16,100! 54,98!",
        "0,30! 20,0! 20,100! / -18,100! 60,100!",
        "0,54! 30,0! 22,100!",
        "0,30 22,12 34,0! 14,100!",
        "2,44! 24,2! 24,100!",
        "0,48! 20,0! 10,100!",
        "0,40! 14,0! 10,100!",
        "0,58! 18,0! 14,100!",
        "0,44 16,10 22,0! 8,100!",
    ),
    2: (
        "2,22 12,5 32,0 54,10 58,28 45,55 20,80 0,98! 62,98!",
        "2,22 14,4 34,0 56,12 56,32 40,60 18,86 4,94 2,84 16,80 34,92 64,98",
        "6,24 16,4 36,0 54,14 50,40 28,72 8,92 2,100 0,90 10,82 26,90 50,100 70,90",
        "0,18 20,0 50,4 56,26 40,52 2,100! 64,100!",
        "4,20 20,2 44,2 56,20 46,46 22,72 6,92 14,98 38,92 66,100",
        "2,22 14,4 36,0 56,14 54,34 36,64 0,98! 40,97 62,88",
        "8,32 2,20 14,4 36,0 54,14 52,36 34,66 2,98! 34,92 64,98",
        "10,12 26,0 44,8 40,34 20,68 0,96! 30,92 60,98",
        "0,8 24,0 56,6 66,30 48,62 0,94! 44,90 84,96",
        "0,30 4,10 24,0 42,10 44,32 34,62 20,100! 60,100!",
        "8,30 16,4 40,0 44,22 26,48 6,70 0,96! 24,88 48,98 66,90",
        "4,20 14,2 34,4 40,22 30,46 6,70! 30,76 66,70",
        "0,26 14,6 36,8 36,30 10,54 0,64! 40,62 70,56",
    ),
    3: (
        "4,10 26,0 48,8 50,26 38,42 20,47! 44,54 56,74 46,94 24,100 0,90",
        "2,10 28,0 50,10 46,34 26,48 14,50 18,42 34,48 54,64 52,88 28,100 0,90",
        "0,0! 52,0! 20,40! 46,48 56,72 42,94 20,100 0,90",
        "0,2! 30,4 54,0! 26,38! 50,46 58,72 42,98 14,100 -4,88",
        "2,8 30,0 48,14 40,38 18,46 42,52 58,72 44,96 18,100 -2,88",
        "4,8 24,0 38,12 30,32 12,38! 44,42 60,68 46,94 20,100 -4,92",
        "0,14 22,0 50,8 52,36 24,56! 46,60 52,78 36,98 4,100",
        "10,16 22,2 44,6 44,34 24,46! 40,50 48,70 40,94 18,100 2,92 6,80",
        "0,10 24,4 46,0! 30,38 24,46 36,60 30,84 12,100",
        "0,16 16,2 42,0 36,30 26,46! 36,56 30,80 6,100",
        "0,14 20,0 40,8 34,34 22,44 34,54 38,74 24,94 4,100",
        "2,8! 44,0! 22,36! 34,46 38,70 20,94 0,96",
    ),
    4: (
        "14,0! 0,55! 62,55! / 44,20! 44,100!",
        "20,0! 0,50! 54,48! / 42,30! 34,100!",
        "8,0 4,30 6,52 28,56 58,48 / 56,0! 50,100!",
        "6,0! 6,48! 54,48! / 54,0! 54,100!",
        "0,0 2,34 18,50 42,44 54,26 / 56,0! 54,100!",
        "44,100! 44,0! 0,65! 64,65!",
        "44,0! 0,65! 64,65! / 44,0! 44,100!",
        "44,0! 0,65! 68,62! / 46,34! 42,100!",
        "54,0! 0,60! 70,56! / 50,24! 34,100!",
        "10,0 2,36 12,54 36,48 54,4! 48,100!",
        "12,0 4,30 4,54 24,58 48,44 58,4! 58,50 52,100",
        "30,0 12,36 0,62 20,64 50,56 60,40 50,36 42,60 36,100",
        "26,0 8,40 2,60 24,60 52,48 58,30 50,24 44,54 38,100",
        "16,0! 2,56! 40,50 54,12! 44,100!",
        "28,0! 0,48! 60,44! / 56,4! 24,100!",
        "16,0! 0,62! 46,60! / 36,38! 28,100!",
        "20,0 4,40 2,60 40,56 / 32,34! 24,100!",
        "14,0! 6,50! 34,56! / 40,30! 20,100!",
        "10,0 0,40 8,62 30,48 / 34,26! 30,100!",
        "34,2 10,16 0,44 12,58 54,54 / 42,0! 38,100!",
        "24,0! 0,60! 40,56 / 36,44! 22,96!",
        "10,0! 0,46 14,52 40,50! / 30,30! 24,100!",
        "24,0! 10,56! 60,60! / 46,20! 20,100!",
    ),
    5: (
        "54,2! 12,2! 6,44! 30,38 54,54 56,78 38,98 14,100 0,90",
        "10,2! 6,42! 30,38 56,56 54,84 32,100 4,96 / 10,2! 56,0!",
        "12,8! 8,44! 32,40 56,58 52,86 28,100 2,94 / 18,2! 62,-6!",
        "54,2 24,2 8,20 18,40 42,54 50,76 34,98 2,94",
        "8,0! 8,46! 34,42 52,62 44,92 16,100 -4,92 / 8,0! 50,0!",
        "60,0! 18,4 10,24 4,46! 34,40 50,60 44,86 22,100 -4,98",
        "6,0! 0,52! 24,50 42,66 36,92 12,100 -6,96 / 6,2! 64,2!",
        "16,10! 6,46 24,44 48,54 54,78 38,98 12,98 / 14,8! 66,0!",
        "50,0! 20,0! 10,40 36,46 46,70 34,96 0,100",
        "6,36! 4,48 36,40 56,64 40,98 0,98 / 20,10! 46,-2!",
        "8,22! 10,46 36,40 52,62 40,92 4,98 / 16,6! 54,-6!",
        "0,34 14,40 40,44 48,64 36,90 0,94 / 10,4! 52,0!",
        "10,0! 10,40! 30,40 40,60 34,88 4,100 / 10,2! 34,0!",
        "60,4! 20,0! 10,34! 36,36 52,54 40,84 8,92",
        "10,14! 10,44! 34,40 44,66 24,96 / 12,10! 60,12!",
    ),
    6: (
        "44,0 20,20 4,54 4,84 22,100 46,92 52,72 38,56 18,60 4,78",
        "36,0 12,30 0,66 10,94 34,100 52,84 44,62 22,60 6,76",
        "30,0! 4,60 2,84 18,100 42,94 48,74 32,60 8,72",
        "52,8 36,0 14,18 2,54 8,90 30,100 52,84 46,60 24,56 6,72",
        "40,0 16,32 2,70 8,96 24,100 36,88 30,76 14,78 6,88",
        "8,0 4,40 2,80 16,100 42,92 44,70 24,60 4,72",
        "18,0 4,34 0,70 12,98 40,98 56,78 42,58 16,62 2,76",
        "56,4 24,16 4,48 2,80 26,100 60,92 66,68 42,52 14,62 4,72",
        "34,0 10,30 0,70 14,98 36,96 42,76 26,64 8,74 10,90 20,94",
        "34,0 10,24 0,62 14,96 40,92 38,68 20,76",
        "30,0 6,36 0,74 16,100 36,92 32,76 14,72",
        "20,0 2,40 0,80 20,100 48,90 52,70 30,62 12,70 24,90",
    ),
    7: (
        "0,0! 56,0! 20,100!",
        "0,4 30,0 58,2! 36,40 22,100",
        "2,18! 2,0! 56,0! 24,100!",
        "0,14 10,0 28,6 56,0! 26,100!",
        "0,2! 40,0! 40,100!",
        "0,6! 64,0! 0,100!",
        "0,2 30,6 52,4 56,14 36,52 26,100",
        "0,0! 56,0! 20,100! / 12,52! 56,46!",
        "0,4 30,0 58,2! 36,46 26,100 / 12,48! 58,48!",
        "2,20! 2,0! 58,2! 26,100! / 16,50! 60,46!",
        "0,12 12,0 30,6 58,0! 28,100! / 10,56! 58,50!",
        "0,2! 44,0! 36,100! / 16,48! 64,46!",
        "0,22! 4,2! 60,6! 40,50 34,100 / 22,56! 62,52!",
        "0,0! 60,0! 40,30 20,100 / 20,44! 64,60!",
        "0,30 4,8 30,0 46,10 36,50 20,100 / 8,70! 62,64!",
        "0,24 8,4 26,8 48,0 40,36 16,100 / 14,60! 64,58!",
        "4,20 0,4 24,6 44,0 36,50 22,100 / 2,56! 54,52!",
        "4,26 0,8 20,2 40,8 52,0 46,34 26,66 20,100 / 6,66! 66,60!",
        "0,20 10,2 30,8 50,0 40,40 30,100 / 8,62! 70,64!",
        "2,24! 2,4! 44,4! 22,60 16,100 / 0,62! 50,58!",
    ),
    8: (
        "50,14 30,0 8,12 14,36 44,58 56,80 36,100 10,92 6,72 28,50 52,30 50,12",
        "28,48 8,28 14,6 34,0 52,14 44,36 22,54 4,74 16,98 42,98 56,78 42,58 28,48",
        "28,0 8,10 8,34 28,46 48,34 48,10 30,0 / 28,46 2,62 4,90 28,100 54,90 54,62 28,46",
        "56,10 36,0 10,10 14,34 42,56 54,80 34,100 8,92 8,70 30,50 50,28 44,16",
        "30,0 8,14 20,40 48,60 52,86 28,100 4,88 8,62 38,42 50,16 32,0",
        "58,2! 10,14 12,32 42,56 46,82 24,100 4,86 16,60 58,2!",
        "6,12 24,0 46,8 42,32 16,56 6,80 26,100 50,88 44,62 18,40 6,14",
        "42,8 26,0 12,14 20,34 40,48 52,74 34,100 6,94 0,72 22,50 40,34 44,12",
        "24,0 8,12 14,32 30,40 44,28 42,8 26,0 / 30,40 4,58 0,84 24,100 52,88 54,60 32,42",
        "4,40 0,16 20,0 44,10 40,36 20,70 14,94 26,100 34,80 30,50 52,10",
        "8,30 4,8 26,0 44,14 38,40 16,66 12,92 26,100 36,86 26,60 12,40 10,26",
        "40,0 10,10 6,30 30,40 40,60 34,94 20,100 14,84 26,50 46,24 44,6",
    ),
    9: (
        "48,12 26,0 4,14 6,40 28,48 46,32 50,8! 46,100!",
        "50,20 36,0 10,6 0,30 16,50 40,40 50,14 50,50 40,100",
        "50,14 28,0 4,16 8,42 32,46 48,24 50,10! 50,70 42,94 22,100 2,90",
        "48,16 28,0 4,14 6,40 30,46 48,22 52,76 36,100 6,94",
        "46,16 26,0 2,14 4,36 26,44 44,26 48,12! 48,74 30,98 4,92 0,82",
        "28,0 6,10 2,32 22,48 44,34 46,12 28,0 / 48,4! 44,100!",
        "46,6 16,4 2,28 20,46 42,34 48,8 44,46 20,100",
        "44,8 20,0 0,20 10,44 36,36 46,6! 44,60 46,100",
        "52,4 22,2 2,22 12,42 40,34 54,4! 42,100!",
        "40,12 24,0 6,10 8,28 26,32 38,16 42,8! 42,80 28,100 4,96",
        "46,10 22,0 2,20 12,46 38,40 48,10! 48,66 56,96 66,92",
        "46,6 18,0 2,20 18,38 42,28! 48,60 34,96 4,92",
        "40,10 20,4 10,20 24,34 40,22 46,50 44,84 20,100 0,88",
        "50,4 20,2 10,22 30,34 48,22! 50,60 30,98 6,96",
        "44,14 30,0 8,8 10,30 34,32 46,12! 30,60 20,100",
        "36,0 8,10 2,30 20,42 40,24 44,6! 36,56 34,80 44,100",
        "44,10 28,0 8,8 6,22 20,36 42,34 48,20! 48,60 36,92 4,96",
        "46,4 20,2 4,16 16,32 40,30! 50,50 44,84 20,100 0,90",
        "36,10 20,2 8,14 16,30 34,28 38,12! 34,60 32,100",
    ),
}


def parse(style: str) -> tuple[Strokes, list[np.ndarray]]:
    """A style's points and which of them are corners: float64[n, 2] and bool[n] for each stroke."""
    strokes, corners = [], []
    for part in style.split("/"):
        points = part.split()
        strokes.append(np.array([[float(v) for v in point.rstrip("!").split(",")] for point in points]))
        corners.append(np.array([point.endswith("!") for point in points]))
    return strokes, corners


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


def handwrite(style: str, rng: np.random.Generator, looseness: float = 1.0) -> Strokes:
    """The style as one hand may write it."""
    return write(*parse(style), rng, looseness)


def write(strokes: Strokes, corners: Sequence[np.ndarray], rng: np.random.Generator, looseness: float = 1.0) -> Strokes:
    """The lines through these points as one hand may write them: points astray, parts stretched, ends too long or short, slanted,
    trembling. corners: bool[n] for each stroke, where it may turn sharply."""
    everything = np.concatenate(strokes)
    height = max(np.ptp(everything, axis=0).max(), 1.0)
    centre = (everything.min(axis=0) + everything.max(axis=0)) / 2
    drawn = []
    wander = rng.normal(0, 0.035 * looseness * height, (3, 2))  # a slow bend of the whole: constant, along x, along y
    for points, corner in zip(strokes, corners, strict=True):
        unit = (points - centre) / height
        points = points + np.sin(3 * unit[:, :1]) * wander[1] + np.sin(3 * unit[:, 1:]) * wander[2]
        points = points + rng.normal(0, rng.uniform(0.01, 0.045) * looseness * height, points.shape)
        if len(strokes) > 1:
            points = points + rng.normal(0, 0.025 * looseness * height, 2)
        corner = corner & (rng.random(len(corner)) > 0.15)
        line = _ends(curve(points, corner), rng, looseness)
        if rng.random() < 0.3:
            line = line + rng.normal(0, rng.uniform(0.002, 0.008) * height, line.shape)
        drawn.append(line)
    linear = hand(rng, looseness).T
    return [line @ linear for line in drawn]


def hand(rng: np.random.Generator, looseness: float = 1.0) -> np.ndarray:
    """A linear map that slants, turns and stretches: float64[2, 2]."""
    turn, slant = rng.normal(0, 0.12 * looseness), rng.normal(-0.08, 0.22 * looseness)  # radians; writing leans to the right
    wide = np.exp(rng.normal(0.05, 0.28 * looseness))
    rotate = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return rotate @ np.array([[wide, slant], [0, 1]])


def frame(strokes: Strokes) -> np.ndarray:
    """The strokes, wherever they lie, through the rasteriser that the gateway has: uint8[28, 28]."""
    low = np.min([stroke.min(axis=0) for stroke in strokes], axis=0)
    size = np.max([stroke.max(axis=0) for stroke in strokes], axis=0) - low
    return ink.rasterise([stroke - low for stroke in strokes], *np.maximum(size, 1.0))


def draw_digit(digit: int, rng: np.random.Generator) -> Strokes:
    """One digit in one of its styles."""
    styles = DIGITS[digit]
    return handwrite(styles[rng.integers(len(styles))], rng)


def any_digit(rng: np.random.Generator, among: Sequence[int] = range(10)) -> Strokes:
    """One of these digits in one of its styles."""
    return draw_digit(among[int(rng.integers(len(among)))], rng)


def draw_many(draw: Callable[[np.random.Generator], Strokes | np.ndarray], count: int, seed: Sequence[int]) -> np.ndarray:
    """`count` frames of what `draw` draws (strokes, or a frame as it is): uint8[count, 28, 28]."""
    rng = np.random.default_rng(seed)
    frames = np.empty((count, ink.FRAME_PX, ink.FRAME_PX), np.uint8)
    for row in frames:
        drawn = draw(rng)
        row[:] = drawn if isinstance(drawn, np.ndarray) else frame(drawn)
    return frames


def _ends(line: np.ndarray, rng: np.random.Generator, looseness: float) -> np.ndarray:
    """Both ends a little too long, too short, or with the small hook of a pen that lands and leaves."""
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
