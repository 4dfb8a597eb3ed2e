"""Signs, ticks, crosses, arrows, faces, hearts, polygons and bare lines: what people draw to see whether a reader of digits says no.

Signs are glyphs (`glyphs/signs.txt`); a few random numbers describe each other kind better than a list would. All are written by `write`,
as digits and letters are, so that neither few points nor straight edges tell anything.
"""

import numpy as np

from trainer.glyphs import SIGNS
from trainer.strokes import Strokes, write, write_glyph


def sign(rng: np.random.Generator) -> Strokes:
    """Punctuation, or a sign of arithmetic or money."""
    return write_glyph(SIGNS[rng.integers(len(SIGNS))], rng)


def tick(rng: np.random.Generator) -> Strokes:
    """A tick: a short line down, a long one up, and a turn between them that is sharp or round."""
    down, up = rng.uniform(0.6, 1.3), rng.uniform(-1.2, -0.5)  # radians below the horizontal
    points = np.stack([-rng.uniform(20, 45) * _direction(down), np.zeros(2), rng.uniform(60, 120) * _direction(up)])
    return write([points], [np.array([True, rng.random() < 0.7, True])], rng)


def cross(rng: np.random.Generator) -> Strokes:
    """Two lines that cross, upright or diagonal, near their middles or not."""
    angle = rng.choice([0, np.pi / 4]) + rng.normal(0, 0.12)
    headings = (_direction(angle + rng.normal(0, 0.1)), _direction(angle + np.pi / 2 + rng.normal(0, 0.1)))
    strokes = [np.stack([-rng.uniform(35, 60) * heading, rng.uniform(35, 60) * heading]) for heading in headings]
    return write(strokes, [np.ones(2, bool)] * 2, rng)


def arrow(rng: np.random.Generator) -> Strokes:
    """A straight or bent shaft and a head of two barbs: open, closed, or in one stroke with the shaft; some have a head at both ends."""
    heading = rng.choice([0, np.pi / 2, np.pi, -np.pi / 2]) + rng.normal(0, 0.35)
    bend = rng.normal(0, 25) if rng.random() < 0.3 else 0.0
    start, tip = np.zeros(2), 100 * _direction(heading)
    middle = tip / 2 + bend * _direction(heading + np.pi / 2)
    size, spread = rng.uniform(22, 50), rng.uniform(0.4, 0.95)

    def barbs(end: np.ndarray) -> list[np.ndarray]:
        back = np.arctan2(*(middle - end)[::-1])
        return [end + size * _direction(back + turn) for turn in (-spread, spread)]

    left, right = barbs(tip)
    shaft = [start, middle, tip] if bend else [start, tip]
    kind = rng.random()
    if kind < 0.45:
        strokes = [shaft, [left, tip, right]]
    elif kind < 0.6:
        strokes = [shaft, [tip, left], [tip, right]]
    elif kind < 0.8:
        strokes = [[*shaft, left, tip, right]]
    else:
        strokes = [shaft, [left, tip, right, left]]
    if rng.random() < 0.15:
        one, other = barbs(start)
        strokes.append([one, start, other])
    corners = [np.array([point is not middle for point in stroke]) for stroke in strokes]
    return write([np.stack(stroke) for stroke in strokes], corners, rng)


def face(rng: np.random.Generator) -> Strokes:
    """Two eyes and a mouth, most in a round outline, some with a nose."""
    smooth, sharp = [], []
    if rng.random() < 0.9:
        smooth.append(_arc(50, rng.uniform(0, 2 * np.pi), rng.choice([-1, 1]) * 2 * np.pi * rng.uniform(0.92, 1.08), 10))
    apart, level = rng.uniform(12, 22), rng.uniform(-22, -8)
    eye_kind = rng.integers(3)
    for eye in (np.array([-apart, level]), np.array([apart, level])):
        if eye_kind == 0:  # a dot
            sharp.append(np.stack([eye, eye + rng.uniform(1, 4, 2)]))
        elif eye_kind == 1:  # a line
            sharp.append(eye + np.array([[0, -1], [0, 1]]) * rng.uniform(4, 10))
        else:  # a ring
            smooth.append(eye + _arc(rng.uniform(4, 8), 0, 2 * np.pi, 7))
    wide, low, smile = rng.uniform(14, 30), rng.uniform(10, 26), rng.uniform(-14, 18)
    smooth.append(np.array([[-wide, low - smile / 2], [0, low + smile / 2], [wide, low - smile / 2]]))
    if rng.random() < 0.25:
        sharp.append(np.array([[0, level + 4], [rng.uniform(-6, 6), low - 10]]))
    return write([*smooth, *sharp], [np.zeros(len(line), bool) for line in smooth] + [np.ones(len(line), bool) for line in sharp], rng)


def heart(rng: np.random.Generator) -> Strokes:
    """A heart, round or of straight lines, in one stroke from the notch or from the tip, or in two halves."""
    notch, tip = np.array([50, rng.uniform(14, 36)]), np.array([50.0, 100])
    straight = rng.random() < 0.25
    right = np.array([[74, 0], [100, 30]] if straight else [[64, 4], [84, 2], [100, 24], [88, 58]])
    left = right * (-1, 1) + (100, 0)
    strokes = (
        [[notch, *right, tip, *left[::-1], notch]],
        [[tip, *left[::-1], notch, *right, tip]],
        [[notch, *left, tip], [notch, *right, tip]],
    )[rng.integers(3)]
    corners = [np.array([straight or point is notch or point is tip for point in stroke]) for stroke in strokes]
    return write([np.stack(stroke) for stroke in strokes], corners, rng)


def polygon(rng: np.random.Generator) -> Strokes:
    """A triangle turned at will, a rectangle, upright or on a corner, or a star of five or six points."""
    kind = rng.integers(4)
    turn = rng.uniform(0, 2 * np.pi)
    if kind == 0:
        strokes = [_arc(50, turn, 2 * np.pi, 4)]
    elif kind == 1:
        turn = rng.choice([0, np.pi / 4]) + rng.normal(0, 0.1)
        strokes = [_arc(50, turn, 2 * np.pi, 5) * (rng.uniform(0.8, 2.2), 1)]
    elif kind == 2:  # five points, every second one next
        strokes = [_arc(50, turn, 4 * np.pi, 6)]
    else:  # two triangles
        strokes = [_arc(50, turn, 2 * np.pi, 4), _arc(50, turn + np.pi, 2 * np.pi, 4)]
    return write(strokes, [np.ones(len(stroke), bool) for stroke in strokes], rng)


def bare_line(rng: np.random.Generator) -> Strokes:
    """A single line or shallow arc, more level than steep: a steep one is a 1."""
    angle = rng.uniform(-0.6, 0.95)  # radians below the horizontal; less far up to the right, since many people's 1 leans that way
    bow = rng.normal(0, 8) if rng.random() < 0.5 else 0.0
    end, middle = 50 * _direction(angle), bow * _direction(angle + np.pi / 2)
    points = np.stack([-end, middle, end] if bow else [-end, end])
    return write([points], [np.zeros(len(points), bool)], rng, looseness=0.3)


def _direction(angle: float) -> np.ndarray:
    """The unit vector so many radians below the horizontal: float64[2]."""
    return np.array([np.cos(angle), np.sin(angle)])


def _arc(radius: float, start: float, length: float, points: int) -> np.ndarray:
    """Points at equal distances on a circle about 0, from the angle `start` on, `length` radians further in all: float64[points, 2]."""
    angle = start + np.linspace(0, length, points)
    return radius * np.stack([np.cos(angle), np.sin(angle)], 1)
