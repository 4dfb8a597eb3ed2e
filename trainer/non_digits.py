"""What is no digit: drawn as strokes and rasterised like the digits, so that nothing but the shape tells them apart, or made of scans.

Letters (`glyphs/`), signs and what else `signs` draws, invented characters, figures, scribbles, several digits at once, crossed-out,
extended, turned and overlaid digits; and frames that no pen draws. Some letters may be read as a digit, as in real alphabets: so the model
is a little less sure of a B than of a 4.

The spreads and shares in this module are arbitrary: meant to vary each kind without drawing a digit.
"""

import numpy as np

from pynumdraw import ink
from trainer.dataset import Digits
from trainer.glyphs import FIGURES, LETTERS, LOOKALIKES
from trainer.signs import arrow, bare_line, cross, face, heart, polygon, sign, tick
from trainer.strokes import Strokes, any_digit, curve, draw_digit, random_slant, to_frame, write, write_glyph

_NONE_WHEN_TURNED, _NONE_WHEN_MIRRORED = (2, 3, 4, 5, 7), (3, 4, 6, 7, 9)  # digits that are none when turned by a quarter, or mirrored


def draw_unambiguous(rng: np.random.Generator) -> Strokes | np.ndarray:
    """A non-digit of any kind but those that have a digit's shape."""
    while (kind := rng.choice(len(KINDS), p=_PROBABILITIES)) == _LOOKALIKE:
        pass
    return plain_sign(rng, clear=True) if kind == _PLAIN_SIGN else KINDS[kind][1](rng)


def draw_non_digit(rng: np.random.Generator) -> Strokes | np.ndarray:
    """One drawing that shows no digit, as strokes or as a frame."""
    kind = rng.choice(len(KINDS), p=_PROBABILITIES)
    return KINDS[kind][1](rng)


def letter(rng: np.random.Generator) -> Strokes:
    """A letter that is no digit's shape."""
    return write_glyph(LETTERS[rng.integers(len(LETTERS))], rng)


def lookalike(rng: np.random.Generator) -> Strokes:
    """A letter that may be read as a digit."""
    return write_glyph(LOOKALIKES[rng.integers(len(LOOKALIKES))], rng)


def plain_sign(rng: np.random.Generator, clear: bool = False) -> Strokes:
    """A ring with a tail, or one or two short lines, as many alphabets have; no line alone that most people read as a digit.

    clear: no line alone at all, since written loosely some look like a 1 or a 7.
    """
    if rng.random() < 0.1:
        angle = rng.uniform(0, 2 * np.pi) + rng.choice([-1, 1]) * np.linspace(0, 2 * np.pi * rng.uniform(0.85, 1.1), 9)
        ring = rng.uniform(15, 50, 2) * np.stack([np.cos(angle), np.sin(angle)], 1)
        start, heading = ring[rng.integers(9)], rng.uniform(0, 2 * np.pi)
        end = start + rng.uniform(20, 80) * np.array([np.cos(heading), np.sin(heading)])
        return write([ring, np.stack([start, end])], [np.zeros(9, bool), np.ones(2, bool)], rng)
    while True:
        lengths = [rng.integers(2, 5)] if not clear and rng.random() < 0.5 else rng.integers(2, 4, 2)
        at = [rng.choice(9, length, replace=False) for length in lengths]
        lines = [np.stack([30.0 * (k % 3), 50.0 * (k // 3)], 1) for k in at]
        if len(lines) > 1 or not _reads_as_digit(lines[0]):
            return write(lines, [rng.random(len(line)) < 0.5 for line in lines], rng)


def figure(rng: np.random.Generator) -> Strokes:
    """An arrow, a face, a house, a star or another of the figures."""
    return write_glyph(FIGURES[rng.integers(len(FIGURES))], rng)


def invented_character(rng: np.random.Generator) -> Strokes:
    """A character that no alphabet has: a few straight and curved lines, from each other or between the points of a coarse grid."""
    strokes: Strokes = []
    if rng.random() < 0.5:
        grid = np.stack(np.meshgrid([0, 30, 60], [0, 50, 100]), -1).reshape(-1, 2) + rng.normal(0, 7, (9, 2))
        for _ in range(rng.integers(3, 6)):
            points = grid[rng.choice(9, int(rng.integers(2, 5)), replace=False)] + rng.normal(0, 3, 2)
            strokes.append(curve(points, rng.random(len(points)) < 0.6))
        linear = random_slant(rng).T
        return [stroke @ linear for stroke in strokes]
    for _ in range(rng.integers(2, 6)):
        start = strokes[-1][rng.integers(len(strokes[-1]))] if strokes and rng.random() < 0.5 else rng.uniform(0, 100, 2)
        strokes.append(_random_line(start, rng, int(rng.integers(2, 5)), rng.uniform(20, 70)))
    return strokes


def one_stroke(rng: np.random.Generator) -> Strokes:
    """One line with many turns, as no digit has."""
    return [_random_line(rng.uniform(0, 100, 2), rng, int(rng.integers(7, 12)), rng.uniform(40, 80))]


def scribble(rng: np.random.Generator) -> Strokes:
    """Random lines, hatching or loops."""
    kind = rng.integers(3)
    n = rng.integers(6, 24)
    if kind == 0:
        return [curve(rng.uniform(0, 100, (n, 2)), rng.random(n) < rng.random())]
    along = np.linspace(0, 1, 8 * n)
    if kind == 1:  # hatching
        x = 100 * along * rng.uniform(0.3, 1.5)
        x, y = x + rng.normal(0, 3, len(x)), 50 * np.sin(np.pi * n * along + rng.normal(0, 0.3, len(x)))
        return [np.stack([x, y], 1) @ random_slant(rng).T]
    turns = 2 * np.pi * along * rng.uniform(2, 6)  # loops
    spiral = rng.random() < 0.4
    size = 50 * (1 - rng.uniform(0.7, 1) * along) if spiral else rng.uniform(10, 30)
    drift = 100 * along[:, None] * rng.normal(0, 1 - 0.9 * spiral, 2)
    return [np.stack([size * np.cos(turns), size * np.sin(turns)], 1) @ random_slant(rng).T + drift]


def several_digits(rng: np.random.Generator) -> Strokes:
    """Two or three digits in a row or one above the other."""
    strokes: Strokes = []
    down = rng.random() < 0.15
    edge = 0.0
    for _ in range(3 if rng.random() < 0.25 else 2):
        part = any_digit(rng)
        low, high = _bounding_box(part)
        size = 100 / max(high[1] - low[1], 0.6 * (high[0] - low[0])) * rng.uniform(0.8, 1.1)
        offset = np.array([0, edge] if down else [edge, rng.normal(0, 8)])
        strokes += [(stroke - low) * size + offset for stroke in part]
        edge += float((high - low)[int(down)] * size + rng.uniform(-4, 35))
    return strokes


def scanned(digits: Digits, rng: np.random.Generator) -> np.ndarray:
    """A frame, uint8[28, 28], that shows no digit, of these scanned digits: two side by side or overlaid, one turned or crossed out.

    Without such, whatever looks scanned would be a digit.
    """
    kind = rng.choice(4, p=(0.4, 0.3, 0.15, 0.15))
    if kind == 0:
        return _side_by_side(_some(digits, rng), _some(digits, rng), rng)
    if kind == 1:
        if rng.random() < 0.5:
            return np.rot90(_some(digits, rng, _NONE_WHEN_TURNED), rng.choice((1, 3)))
        return np.fliplr(_some(digits, rng, _NONE_WHEN_MIRRORED))
    if kind == 2:
        one, other = rng.choice((0, 2, 3, 4, 5, 6, 7, 8, 9), 2, replace=False)  # 0 with 1 is another 0
        return np.maximum(_some(digits, rng, (one,)), np.roll(_some(digits, rng, (other,)), rng.integers(-3, 4, 2), (0, 1)))
    frame = _some(digits, rng)
    inked = [np.flatnonzero(frame.max(axis=axis))[[0, -1]] for axis in (0, 1)]  # columns, rows
    return np.maximum(frame, ink.draw(_lines_over([np.stack(inked, 1).astype(float)], rng), ink.FRAME_PEN_PX))


def _some(digits: Digits, rng: np.random.Generator, labels: tuple[int, ...] = tuple(range(10))) -> np.ndarray:
    while digits.labels[row := rng.integers(len(digits))] not in labels:
        pass
    return digits.images[row]


def _side_by_side(left: np.ndarray, right: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    (after, before), drop = rng.integers(0, 7, 2), rng.integers(-4, 5)  # px of the margins between them; one may be lower
    return ink.frame_from_picture(np.concatenate([left[:, : 28 - after], np.roll(right[:, before:], drop, 0)], 1))


def crossed_out(rng: np.random.Generator) -> Strokes:
    """A digit with a cross, a zigzag or three or four lines over it. (With one line it may be a slashed 0 or a barred 7.)"""
    strokes = any_digit(rng)
    return strokes + _lines_over(strokes, rng)


def _lines_over(strokes: Strokes, rng: np.random.Generator) -> Strokes:
    low, high = _bounding_box(strokes)
    size = np.maximum(high - low, 0.3 * max(high - low))
    kind = rng.integers(3)
    if kind == 0:
        over = [np.array([[0, 0], [1, 1]]), np.array([[1, 0], [0, 1]])]
    elif kind == 1:
        n = rng.integers(5, 10)
        over = [np.stack([np.arange(n) % 2, np.linspace(0.1, 0.9, n)], 1)]
    else:
        over = [np.array([[-0.1, y], [1.1, y]]) for y in np.linspace(0.15, 0.85, rng.integers(3, 5))]
    return [low + size * (stroke + rng.normal(0, 0.08, stroke.shape)) for stroke in over]


def turned_digit(rng: np.random.Generator) -> Strokes:
    """A digit turned by a quarter or mirrored, of those that are no digit then."""
    if rng.random() < 0.5:
        strokes, linear = any_digit(rng, _NONE_WHEN_TURNED), np.array([[0, 1], [-1, 0]]) * rng.choice([-1, 1])
    else:
        strokes, linear = any_digit(rng, _NONE_WHEN_MIRRORED), np.array([[-1, 0], [0, 1]])
    return [stroke @ linear for stroke in strokes]


def extended_digit(rng: np.random.Generator) -> Strokes:
    """A digit with one or two strokes too many. (A 0, 1, 4 or 7 with one more may be another style of it.)"""
    strokes = any_digit(rng, (2, 3, 5, 6, 8, 9))
    low, high = _bounding_box(strokes)
    for _ in range(rng.integers(1, 3)):
        start = low + (high - low) * rng.uniform(-0.6, 1.6, 2)
        strokes.append(_random_line(start, rng, int(rng.integers(3, 6)), rng.uniform(0.7, 1.2) * max(high - low)))
    return strokes


def overlaid_digits(rng: np.random.Generator) -> Strokes:
    """Two digits one over the other, both complete. (Half of one with half of another is too often a digit.)"""
    one, other = rng.choice(10, 2, replace=False)
    return draw_digit(int(one), rng) + [stroke + rng.normal(0, 12, 2) for stroke in draw_digit(int(other), rng)]


def blob(rng: np.random.Generator) -> np.ndarray:
    """A filled shape such as clothing: plain, shaded or striped, round or of boxes. uint8[28, 28]."""
    y, x = np.mgrid[-1:1:28j, -1:1:28j]
    if rng.random() < 0.5:
        angle = np.arctan2(y, x)
        edge = rng.uniform(0.4, 0.9) + sum(rng.normal(0, 0.12) * np.cos(k * angle + rng.uniform(0, 6.3)) for k in range(1, 6))
        inside = np.hypot(x / rng.uniform(0.5, 1.2), y) < edge
    else:  # boxes, the same left and right
        inside = np.zeros((28, 28), bool)
        for _ in range(rng.integers(1, 5)):
            top, left, bottom, right = *rng.uniform(-0.95, 0.4, 2), *rng.uniform(0, 0.95, 2)
            slope = rng.normal(0, 0.3)
            inside |= (y > top) & (y < bottom) & (np.abs(x) > max(left, 0) - 0.05) & (np.abs(x) < right + slope * y)
    shade = rng.uniform(0.4, 1) + rng.uniform(0, 0.5) * np.sin(rng.uniform(2, 20) * (x * np.cos(k := rng.uniform(0, 3.2)) + y * np.sin(k)))
    grey = inside * np.clip(shade + rng.normal(0, rng.uniform(0, 0.2), (28, 28)), 0.15, 1)
    return (255 * grey).astype(np.uint8)


def texture(rng: np.random.Generator) -> np.ndarray:
    """Noise of any grain and density, stripes, chequers, a frame of one grey, or an inverted digit. uint8[28, 28]."""
    kind = rng.integers(7)
    if kind == 0:
        return 255 - to_frame(any_digit(rng))
    if kind == 1:
        return np.full((28, 28), (0, 255, rng.integers(256))[rng.integers(3)], np.uint8)
    grain = int(rng.choice([1, 1, 2, 4, 7]))
    noise = np.kron(rng.random((28 // grain, 28 // grain)), np.ones((grain, grain)))
    if kind == 2:
        return (255 * noise).astype(np.uint8)
    if kind == 3:
        return (255 * (noise < rng.uniform(0.03, 0.95))).astype(np.uint8)
    if kind == 4:
        y, x = np.mgrid[:28, :28]
        wave = np.sin(rng.uniform(0.3, 2) * x + rng.uniform(0, 6.3)) * np.sin(rng.uniform(0, 2) * y + rng.uniform(0, 6.3))
        return (255 * (wave > rng.uniform(-0.5, 0.5))).astype(np.uint8)
    spread = np.exp(rng.uniform(np.log(4), np.log(120)))  # faint grain as often as strong
    return np.clip(np.abs(rng.normal(rng.choice([0, rng.uniform(0, 160)]), spread, (28, 28))), 0, 255).astype(np.uint8)


# Each kind, and its weight: how often it is drawn, in proportion to the others. They need not sum to 1. Arbitrary.
KINDS = (
    (0.30, letter),
    (0.13, sign),
    (0.05, lookalike),
    (0.06, plain_sign),
    (0.36, invented_character),
    (0.04, one_stroke),
    (0.08, figure),
    (0.04, scribble),
    (0.08, several_digits),
    (0.025, crossed_out),
    (0.035, turned_digit),
    (0.02, extended_digit),
    (0.015, overlaid_digits),
    (0.015, tick),
    (0.01, cross),
    (0.03, arrow),
    (0.02, face),
    (0.015, heart),
    (0.015, polygon),
    (0.02, bare_line),
    (0.025, blob),
    (0.045, texture),
)
_LOOKALIKE, _PLAIN_SIGN = ([draw for _, draw in KINDS].index(kind) for kind in (lookalike, plain_sign))
_PROBABILITIES = np.array([weight for weight, _ in KINDS]) / sum(weight for weight, _ in KINDS)


def _reads_as_digit(line: np.ndarray) -> bool:
    """Whether a line of 2 to 4 points is, drawn either way, a steep stroke (1), runs right and then down (1, 7), or is a Z or S (2, 5)."""
    for points in (line, line[::-1]):
        step = np.diff(points, axis=0)
        right, steep = step[:, 0] > 0, (step[:, 1] > 0) & (step[:, 1] > np.abs(step[:, 0]))
        if steep.all() and np.ptp(points[:, 0]) <= 30:
            return True
        if len(step) > 1 and right[0] and step[0, 1] <= 0 and steep[1:].all() and (step[1:, 0] <= 0).all():
            return True
        if len(step) == 3 and step[0, 1] == step[2, 1] == 0 and right[0] == right[2] and step[1, 1] > 0:
            return True
    return False


def _random_line(start: np.ndarray, rng: np.random.Generator, points: int, length: float) -> np.ndarray:
    """A line from `start` of straight and curved parts with so many points, about inside 100x100: float64[m, 2]."""
    at, heading, visited = np.asarray(start, float), rng.uniform(0, 2 * np.pi), []
    bend = rng.normal(0, 1.2)
    for _ in range(points):
        visited.append(at)
        at = at + length * rng.uniform(0.5, 1.2) * np.array([np.cos(heading), np.sin(heading)])
        heading += bend if rng.random() < 0.5 else rng.normal(0, 1.8)
        if np.abs(at - 50).max() > 55:  # turn back to the middle
            heading = np.arctan2(*(50 - at)[::-1]) + rng.normal(0, 0.5)
    return curve(np.array(visited), rng.random(points) < rng.choice([0.1, 0.5, 1.0]))


def _bounding_box(strokes: Strokes) -> tuple[np.ndarray, np.ndarray]:
    everything = np.concatenate(strokes)
    return everything.min(axis=0), everything.max(axis=0)
