"""What is no digit, drawn as strokes and rasterised like the digits, so that nothing but the shape tells them apart.

Letters and signs of our own design (the notation of `strokes`), characters that no alphabet has, figures, scribbles, several digits at
once, crossed-out, cut, turned and mixed digits; and pictures that no pen draws. Some of the letters and plain signs may be read as a
digit, as in real alphabets: so a ring is a little less sure to be a digit than an 8, and a shape that only looks like a digit ranks
below the digits that nothing else looks like.
"""

import numpy as np

from pynumdraw import ink
from trainer.strokes import Strokes, any_digit, curve, draw_digit, frame, hand, handwrite, write

LETTERS = (  # none that could be read as a digit
    "0,100! 30,0! 60,100! / 12,62! 48,62!",  # A
    "0,100! 26,0 40,0 60,100! / 8,60! 54,60!",
    "0,100 20,30 32,0! 44,40 52,100! 30,60 6,64",
    "62,14 36,0 8,20 0,54 12,88 38,100 64,84",  # C
    "54,20 34,4 10,22 4,52 16,88 44,98 66,80",
    "56,0! 2,0! 2,100! 58,100! / 2,48! 48,48!",  # E
    "0,0! 0,100! / 0,0! 54,0! / 0,48! 44,48! / 0,100! 56,100!",
    "54,10 22,0 4,20 26,44! 2,66 8,94 34,100 56,86",
    "56,0! 0,0! 0,100! / 0,46! 42,46!",  # F
    "0,0! 4,100! / -4,0! 60,-4! / 2,44! 46,42!",
    "0,0! 0,100! / 58,0! 58,100! / 0,50! 58,50!",  # H
    "0,0! 0,100! / 50,0! 52,100! / 0,54! 52,44!",
    "0,0! 0,100! / 54,0! 2,52! / 16,42! 58,100!",  # K
    "0,0! 0,100! / 56,4! 4,54! 60,98!",
    "0,0! 0,100! 54,100!",  # L
    "4,0! 0,96! 30,100 60,92",
    "0,100! 6,0! 38,70! 70,0! 78,100!",  # M
    "0,100! 0,0! 34,50! 70,0! 70,100!",
    "0,100 8,10 18,0 30,30 38,80! 50,10 62,0 74,100",
    "0,100! 0,0! 58,100! 58,0!",  # N
    "0,0! 0,100! / 0,4! 54,96! / 56,0! 54,100!",
    "0,100! 0,0! 40,2 54,22 40,48 2,50",  # P
    "2,0! 0,100! / -4,6 30,-4 56,18 40,46 0,52",
    "0,100! 0,0! 40,2 54,22 40,46 4,50! 58,100!",  # R
    "2,0! 0,100! / -2,6 30,-2 54,20 36,46 6,50! 54,98!",
    "0,0! 70,0! / 34,0! 34,100!",  # T
    "0,4! 66,0! / 36,2! 28,100!",
    "0,0! 2,70 28,100 54,72 58,0!",  # U
    "0,0! 4,80 30,100 54,70 58,0! 60,100!",
    "0,0! 28,100! 58,0!",  # V
    "0,4 12,30 28,100! 46,30 62,0 72,4",
    "0,0! 20,100! 42,30! 64,100! 86,0!",  # W
    "0,0 8,90 26,98 42,30! 48,90 68,98 84,0",
    "0,0! 58,100! / 58,0! 0,100!",  # X
    "4,0 24,40 56,98 / 60,4 30,52 -2,100",
    "0,0! 28,46! 58,0! / 28,46! 28,100!",  # Y
    "2,0! 30,46! / 62,0! 14,100!",
    "46,36 24,26 2,50 6,90 26,100 46,70 50,28! 50,90 62,100",  # a
    "44,24 16,22 0,56 10,96 34,90 48,30! 48,96! 60,92",
    "46,30 22,20 0,50 12,92 48,88",  # c
    "46,50 22,40 0,66 10,98 36,92 50,50! 52,0! 50,100!",  # d
    "44,44 16,40 0,70 10,100 34,96 48,60 54,0! 56,90 66,98",
    "0,60 48,50 40,22 16,18 0,56 14,96 52,88",  # e
    "4,56! 50,52 38,16 10,22 0,64 16,100 54,90",
    "50,16 34,0 22,14 20,100! / 0,44! 46,42!",  # f
    "54,10 38,0 28,30 24,130 / 4,52! 52,50!",
    "0,0! 0,100! / 0,64 24,44 42,56 44,100!",  # h
    "2,0! 0,100! 2,70 26,46 42,60 44,92 56,98",
    "0,0! 0,100! / 42,40! 4,70! 46,100!",  # k
    "2,0! 0,100! 2,72 26,44 38,58 8,72! 44,100!",
    "0,40! 0,100! 2,60 18,42 32,54 32,100! 34,60 52,42 66,54 66,100!",  # m
    "0,100 6,44 18,40 26,100! 32,52 48,40 56,100! 62,52 78,40 88,98",
    "0,40! 0,100! 2,64 24,40 42,54 44,100!",  # n
    "0,100 4,44! 4,90 30,40 46,46 48,94 60,100",
    "0,40! 0,140! 0,70 26,38 46,60 36,92 2,92",  # p
    "4,40! 0,140! / 2,56 30,36 50,64 30,96 4,88",
    "0,40! 0,100! 2,64 20,42 42,44",  # r
    "0,60 14,36 20,56! 44,50 40,100",
    "22,0! 22,88 38,100 52,92 / 0,34! 46,32!",  # t
    "24,0! 20,100! / 0,36! 50,34!",
    "0,40! 2,84 22,100 44,76 46,40! 46,100!",  # u
    "0,40! 22,100! 46,38!",  # v
    "0,40! 16,100! 34,56! 50,100! 68,38!",  # w
    "0,40! 48,100! / 46,38! 0,102!",  # x
    "18,0! 12,100! / 48,0! 42,100! / 0,34! 64,32! / -4,68! 60,66!",  # number sign
    "54,16 30,4 8,20 26,46 52,64 46,88 20,96 0,80 / 28,-10! 26,110!",  # dollar
    "14,0 0,14 12,30 26,14 14,0 / 62,0! 6,100! / 54,70 42,84 54,100 66,84 54,70",  # per cent
    "60,100! 12,30 20,4 40,10 34,36 4,64 8,96 36,96 60,58",  # ampersand
    "30,0! 30,60! / 2,14! 58,46! / 58,14! 2,46!",  # asterisk
    "0,50! 80,50! / 40,10! 40,90!",  # plus
    "60,0! 0,40! 60,80!",  # less
    "0,0! 60,40! 0,80!",  # greater
    "0,0! 70,0! / 0,30! 70,30!",  # equals
    "58,40 40,30 28,50 40,66 56,56 60,34! 66,70 84,40 64,4 20,6 0,50 20,94 70,94",  # at
    "4,16 20,0 44,8 44,30 24,50! 24,72! / 24,92! 25,98!",  # question mark
    "26,0 8,20 14,50! 0,54! 14,58! 8,90 26,104",  # brace
    "60,0! 0,0! 60,100! 0,100!",  # sum
    "0,100! 40,0! 80,100! 0,100!",  # delta
    "0,60! 16,60! 30,100! 46,0! 100,0!",  # root
    "0,100! 24,100! 24,70 0,30 30,0 60,0 84,34 60,70 60,100! 84,100!",  # omega
    "0,10 20,0 34,40 40,100! / 76,0 44,100 20,130 30,100 44,80",  # gamma
    "0,0! 60,0! / 10,0! 8,100! / 48,0! 52,100!",  # pi
    "0,0 6,50 40,60 76,50 80,0 / 40,0! 40,110!",  # psi
)

LOOKALIKES = (
    "50,0 14,14 0,50 14,86 50,100 86,86 100,50 86,14 48,0",  # O
    "0,0! 0,100!",  # I
    "0,0 8,60 6,100",  # l
    "56,12 30,0 6,20 28,46 54,70 36,98 0,90",  # S
    "0,0! 60,0! 0,100! 62,100!",  # Z
    "0,0! 0,100! / 0,0 40,4 46,26 34,44 2,48! 48,56 54,80 40,98 0,100!",  # B
    "0,0! 0,100! / 0,0 44,10 60,50 44,92 0,100",  # D
    "0,0! 0,90! 4,60 28,48 50,68 40,94 0,92",  # b
    "44,10 16,0 0,24 16,48 42,36 46,6! 46,80 28,104 2,92",  # g
    "46,12 20,0 0,26 18,50 42,38 46,4! 46,110!",  # q
    "0,0 6,34 26,40 44,28 48,0! 46,60 28,98 2,90",  # y
    "0,0! 28,50! / 58,0! 10,106!",
    "0,0 2,34 20,50 50,40 / 52,0! 52,100!",  # che
    "0,0! 60,0! 58,100!",  # giyeok
    "0,0 46,4 60,24 58,100",  # resh
)

FIGURES = (
    "0,0! 100,0! 100,100! 0,100! 0,0!",  # square
    "0,0! 100,0! 100,50! 0,50! 0,0!",
    "50,0! 100,90! 0,90! 50,0!",  # triangle
    "50,0! 100,50! 50,100! 0,50! 50,0!",
    "50,0! 80,100! 0,36! 100,36! 20,100! 50,0!",  # star
    "50,30! 24,0 0,24 14,60 50,100! 86,60 100,24 76,0 50,30!",  # heart
    "0,50! 100,50! / 70,24! 100,50! 70,76!",  # arrows
    "50,100! 50,0! / 22,32! 50,0! 78,32!",
    "0,50! 100,50! / 24,30! 0,50! 24,70! / 76,30! 100,50! 76,70!",
    "50,0 10,14 0,50 14,88 50,100 88,86 100,50 86,12 50,0 / 30,34! 30,42! / 70,34! 70,42! / 26,66 50,80 74,66",  # faces
    "50,0 10,14 0,50 14,88 50,100 88,86 100,50 86,12 50,0 / 32,36! 36,40! / 66,36! 68,40! / 26,78 50,64 74,78",
    "0,100! 0,40! 50,0! 100,40! 100,100! 0,100! / 40,100! 40,64! 60,64! 60,100!",  # house
    "50,30 38,16 50,0 62,16 50,30! 50,70! 26,110! / 50,70! 74,110! / 20,44! 80,44!",  # person
    "0,0! 100,100! / 100,0! 0,100! / 50,-10! 50,110!",
    "0,30 20,10 40,30 60,50 80,30 100,10",  # waves
    "0,50! 16,0! 32,100! 48,0! 64,100! 80,0! 96,50!",
    "50,50 58,40 66,54 48,68 30,48 48,22 82,40 76,86 36,94 8,60 16,16 60,0",  # spiral
    "0,60! 30,100! 90,0!",  # tick
    "0,0! 100,0! 100,70! 60,70! 40,100! 40,70! 0,70! 0,0!",  # bubble
    "30,0 0,30 30,60 60,30 30,0 / 60,36 100,36 110,70 70,80 56,50",
    "0,0! 100,0! 100,100! 0,100! 0,0! / 0,33! 100,33! / 0,66! 100,66! / 33,0! 33,100! / 66,0! 66,100!",  # grid
    "20,50 0,20 40,0 70,10 110,20 120,50 90,60 20,50",  # cloud
    "50,40 20,0 10,30 50,40 80,0 96,30 50,40 84,70 60,96 50,40 20,90 6,60 50,40",  # flower
)


def draw_non_digit(rng: np.random.Generator) -> Strokes | np.ndarray:
    """One drawing, or one frame, that shows no digit."""
    kind = rng.choice(len(KINDS), p=_PROBABILITIES)
    return KINDS[kind][1](rng)


def letter(rng: np.random.Generator) -> Strokes:
    """A letter or a sign that is no digit."""
    return handwrite(LETTERS[rng.integers(len(LETTERS))], rng)


def lookalike(rng: np.random.Generator) -> Strokes:
    """A letter that may be read as a digit."""
    return handwrite(LOOKALIKES[rng.integers(len(LOOKALIKES))], rng)


def plain_sign(rng: np.random.Generator) -> Strokes:
    """A ring, perhaps with a tail, or one or two short lines, as alphabets everywhere have; now and then what a digit looks like."""
    if rng.random() < 0.2:
        angle = rng.uniform(0, 2 * np.pi) + rng.choice([-1, 1]) * np.linspace(0, 2 * np.pi * rng.uniform(0.85, 1.1), 9)
        strokes = [rng.uniform(15, 50, 2) * np.stack([np.cos(angle), np.sin(angle)], 1)]
        corners = [np.zeros(9, bool)]
        if rng.random() < 0.5:
            start, heading = strokes[0][rng.integers(9)], rng.uniform(0, 2 * np.pi)
            end = start + rng.uniform(20, 80) * np.array([np.cos(heading), np.sin(heading)])
            strokes.append(np.stack([start, end]))
            corners.append(np.ones(2, bool))
        return write(strokes, corners, rng)
    lengths = [rng.integers(2, 5)] if rng.random() < 0.5 else rng.integers(2, 4, 2)
    at = [rng.choice(9, length, replace=False) for length in lengths]
    return write([np.stack([30.0 * (k % 3), 50.0 * (k // 3)], 1) for k in at], [rng.random(len(k)) < 0.5 for k in at], rng)


def figure(rng: np.random.Generator) -> Strokes:
    """An arrow, a face, a house, a star, …"""
    return handwrite(FIGURES[rng.integers(len(FIGURES))], rng)


def character(rng: np.random.Generator) -> Strokes:
    """A character that no alphabet has: a few lines, arcs and bends about each other, or between the knots of a coarse grid."""
    strokes: Strokes = []
    if rng.random() < 0.5:
        knots = np.stack(np.meshgrid([0, 30, 60], [0, 50, 100]), -1).reshape(-1, 2) + rng.normal(0, 7, (9, 2))
        for _ in range(rng.integers(3, 6)):
            points = knots[rng.choice(9, int(rng.integers(2, 5)), replace=False)] + rng.normal(0, 3, 2)
            strokes.append(curve(points, rng.random(len(points)) < 0.6))
        linear = hand(rng).T
        return [stroke @ linear for stroke in strokes]
    for _ in range(rng.integers(2, 6)):
        start = strokes[-1][rng.integers(len(strokes[-1]))] if strokes and rng.random() < 0.5 else rng.uniform(0, 100, 2)
        strokes.append(_line(start, rng, int(rng.integers(2, 5)), rng.uniform(20, 70)))
    return strokes


def one_stroke(rng: np.random.Generator) -> Strokes:
    """One line with many turns, as no digit has."""
    return [_line(rng.uniform(0, 100, 2), rng, int(rng.integers(7, 12)), rng.uniform(40, 80))]


def scribble(rng: np.random.Generator) -> Strokes:
    """A pen that goes to and fro, or round and round."""
    kind = rng.integers(3)
    n = rng.integers(6, 24)
    if kind == 0:
        return [curve(rng.uniform(0, 100, (n, 2)), rng.random(n) < rng.random())]
    along = np.linspace(0, 1, 8 * n)
    if kind == 1:  # hatching
        x = 100 * along * rng.uniform(0.3, 1.5)
        return [np.stack([x + rng.normal(0, 3, len(x)), 50 * np.sin(np.pi * n * along + rng.normal(0, 0.3, len(x)))], 1) @ hand(rng).T]
    turns = 2 * np.pi * along * rng.uniform(2, 6)  # loops
    spiral = rng.random() < 0.4
    size = 50 * (1 - rng.uniform(0.7, 1) * along) if spiral else rng.uniform(10, 30)
    drift = 100 * along[:, None] * rng.normal(0, 1 - 0.9 * spiral, 2)
    return [np.stack([size * np.cos(turns), size * np.sin(turns)], 1) @ hand(rng).T + drift]


def several_digits(rng: np.random.Generator) -> Strokes:
    """Two, now and then three digits in a row or one above the other."""
    strokes: Strokes = []
    down = rng.random() < 0.15
    edge = 0.0
    for _ in range(3 if rng.random() < 0.25 else 2):
        part = any_digit(rng)
        low, high = _box(part)
        size = 100 / max(high[1] - low[1], 0.6 * (high[0] - low[0])) * rng.uniform(0.8, 1.1)
        offset = np.array([0, edge] if down else [edge, rng.normal(0, 8)])
        strokes += [(stroke - low) * size + offset for stroke in part]
        edge += float((high - low)[int(down)] * size + rng.uniform(-4, 35))
    return strokes


def side_by_side(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two pictures of digits out of uint8[N, 28, 28], one beside the other, framed as one drawing."""
    left, right = images[rng.integers(len(images), size=2)]
    (after, before), drop = rng.integers(0, 7, 2), rng.integers(-4, 5)  # px of the margins between them; one may stand lower
    return ink.frame_from_picture(np.concatenate([left[:, : 28 - after], np.roll(right[:, before:], drop, 0)], 1))


def crossed_out(rng: np.random.Generator) -> Strokes:
    """A digit with a cross, a zigzag or several lines over it. (One line over it may be a slashed 0 or a barred 7.)"""
    strokes = any_digit(rng)
    low, high = _box(strokes)
    size = np.maximum(high - low, 30)
    kind = rng.integers(3)
    if kind == 0:
        over = [np.array([[0, 0], [1, 1]]), np.array([[1, 0], [0, 1]])]
    elif kind == 1:
        n = rng.integers(5, 10)
        over = [np.stack([np.arange(n) % 2, np.linspace(0.1, 0.9, n)], 1)]
    else:
        over = [np.array([[-0.1, y], [1.1, y]]) for y in np.linspace(0.15, 0.85, rng.integers(3, 5))]
    return strokes + [low + size * (stroke + rng.normal(0, 0.08, stroke.shape)) for stroke in over]


def turned_digit(rng: np.random.Generator) -> Strokes:
    """A digit on its side or in a mirror, none that is a digit again."""
    if rng.random() < 0.5:
        strokes, linear = any_digit(rng, (2, 3, 4, 5, 7)), np.array([[0, 1], [-1, 0]]) * rng.choice([-1, 1])
    else:
        strokes, linear = any_digit(rng, (3, 4, 6, 7, 9)), np.array([[-1, 0], [0, 1]])
    return [stroke @ linear for stroke in strokes]


def digit_with_more(rng: np.random.Generator) -> Strokes:
    """A digit and one or two strokes too many. (A 0, 1, 4 or 7 with one may be a style of its own.)"""
    strokes = any_digit(rng, (2, 3, 5, 6, 8, 9))
    low, high = _box(strokes)
    for _ in range(rng.integers(1, 3)):
        start = low + (high - low) * rng.uniform(-0.6, 1.6, 2)
        strokes.append(_line(start, rng, int(rng.integers(3, 6)), rng.uniform(0.7, 1.2) * max(high - low)))
    return strokes


def overlaid_digits(rng: np.random.Generator) -> Strokes:
    """Two digits one over the other. (Half of one and half of another is too often a digit again.)"""
    one, other = rng.choice(10, 2, replace=False)
    return draw_digit(int(one), rng) + [stroke + rng.normal(0, 12, 2) for stroke in draw_digit(int(other), rng)]


def blob(rng: np.random.Generator) -> np.ndarray:
    """A filled shape, as clothes or a thick brush make: even, shaded or striped, with or without sleeves and legs."""
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
    """Noise of any grain and density, stripes, chequers, nothing but paper or ink, a digit in reverse."""
    kind = rng.integers(7)
    if kind == 0:
        return 255 - frame(any_digit(rng))
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


KINDS = (
    (0.32, letter),
    (0.05, lookalike),
    (0.07, plain_sign),
    (0.30, character),
    (0.03, one_stroke),
    (0.06, figure),
    (0.05, scribble),
    (0.09, several_digits),
    (0.03, crossed_out),
    (0.04, turned_digit),
    (0.02, digit_with_more),
    (0.015, overlaid_digits),
    (0.03, blob),
    (0.05, texture),
)
_PROBABILITIES = np.array([share for share, _ in KINDS]) / sum(share for share, _ in KINDS)


def _line(start: np.ndarray, rng: np.random.Generator, points: int, length: float) -> np.ndarray:
    """A line of so many turns from `start`: straight and curved parts, about inside 100x100."""
    at, heading, walked = np.asarray(start, float), rng.uniform(0, 2 * np.pi), []
    bend = rng.normal(0, 1.2)
    for _ in range(points):
        walked.append(at)
        at = at + length * rng.uniform(0.5, 1.2) * np.array([np.cos(heading), np.sin(heading)])
        heading += bend if rng.random() < 0.5 else rng.normal(0, 1.8)
        if np.abs(at - 50).max() > 55:  # back to the middle
            heading = np.arctan2(*(50 - at)[::-1]) + rng.normal(0, 0.5)
    return curve(np.array(walked), rng.random(points) < rng.choice([0.1, 0.5, 1.0]))


def _box(strokes: Strokes) -> tuple[np.ndarray, np.ndarray]:
    everything = np.concatenate(strokes)
    return everything.min(axis=0), everything.max(axis=0)
