"""The rasteriser's properties: what must not change a frame does not, and every frame is one that MNIST could hold.

A line is drawn from samples at most `_SAMPLE_STEP_PX` apart and grey is rounded, so "the same frame" means within `NOISE` of 255. A frame
whose centre of mass lies between two pixels may move to either: such drawings are let off where two frames are compared.
"""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pynumdraw import ink
from pynumdraw.ink import BOX_PX, FRAME_PEN_PX, FRAME_PX, clip_strokes, draw, frame_from_picture, ink_box, ink_problem, rasterise

WIDTH, HEIGHT = 300, 400
NOISE = 8  # between two samples sqrt(0.7² + 0.2²) - 0.7 px are lost where grey begins, and rounding is half a grey
CENTRE = 14

Strokes = list[list[list[float]]]

coordinates = st.tuples(st.floats(60, 240, width=32), st.floats(60, 340, width=32)).map(list)
strokes_on_canvas = st.lists(st.lists(coordinates, min_size=1, max_size=9), min_size=1, max_size=4)
coordinates_anywhere = st.tuples(st.floats(-400, 700, width=32), st.floats(-400, 800, width=32)).map(list)
strokes_anywhere = st.lists(st.lists(coordinates_anywhere, max_size=12), max_size=4)


def holds_for(*strategies, examples: int = 100):
    """As hypothesis's `given`, the same examples every time."""
    return lambda test: settings(max_examples=examples, deadline=None, derandomize=True)(given(*strategies)(test))


def frame_of(strokes, width: float = WIDTH, height: float = HEIGHT) -> np.ndarray:
    """The frame of strokes that may leave the canvas, as the gateway makes it."""
    return rasterise(clip_strokes(strokes, width, height))


def every_point(strokes: Strokes) -> np.ndarray:
    return np.array([point for stroke in strokes for point in stroke], np.float64).reshape(-1, 2)


def extent(strokes: Strokes) -> float:
    return float(np.ptp(every_point(strokes), axis=0).max())


def moved(strokes: Strokes, by: tuple[float, float] = (0, 0), scale: float = 1.0) -> Strokes:
    return [[[x * scale + by[0], y * scale + by[1]] for x, y in stroke] for stroke in strokes]


def centre_of_mass(frame: np.ndarray) -> np.ndarray:
    """(x, y), as indices of pixels."""
    mass = frame.astype(np.float64)
    return np.array([mass.sum(axis=0) @ np.arange(FRAME_PX), mass.sum(axis=1) @ np.arange(FRAME_PX)]) / mass.sum()


def between_two_pixels(frame: np.ndarray) -> bool:
    return bool((np.abs(np.abs(centre_of_mass(frame) - CENTRE) - 0.5) < 0.02).any())


def assert_same(one: np.ndarray, other: np.ndarray) -> None:
    assume(not between_two_pixels(one))
    difference = np.abs(one.astype(int) - other)
    assert difference.max() <= NOISE, f"{difference.max()} at {np.argwhere(difference == difference.max()).tolist()}"


# What must not change a frame


@holds_for(strokes_on_canvas, st.floats(-60, 60), st.floats(-60, 60))
def test_moving_a_drawing_keeps_its_frame(strokes, dx, dy):
    assume(extent(strokes) > 1)
    assert_same(frame_of(strokes), frame_of(moved(strokes, (dx, dy))))


@holds_for(strokes_on_canvas, st.floats(0.1, 20))
def test_scaling_a_drawing_with_or_without_its_canvas_keeps_its_frame(strokes, scale):
    assume(extent(strokes) > 1)
    frame = frame_of(strokes)
    larger = moved(strokes, scale=scale)
    assert_same(frame, frame_of(larger, WIDTH * scale, HEIGHT * scale))
    assert_same(frame, frame_of(larger, 6001, 8001))


@holds_for(strokes_on_canvas, st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_points_added_on_the_line_keep_the_frame(strokes, shares):
    assume(extent(strokes) > 1)
    finer = []
    for stroke in strokes:
        finer.append(stroke[:1])
        for (x0, y0), (x1, y1) in itertools.pairwise(stroke):
            finer[-1] += [[x0 + share * (x1 - x0), y0 + share * (y1 - y0)] for share in sorted(shares)] + [[x1, y1]]
    assert_same(frame_of(strokes), frame_of(finer))


@holds_for(strokes_on_canvas, st.randoms(use_true_random=False))
def test_order_and_direction_of_strokes_do_not_matter(strokes, random):
    assume(extent(strokes) > 1)
    other = [stroke[::-1] if random.random() < 0.5 else stroke for stroke in strokes]
    random.shuffle(other)
    assert_same(frame_of(strokes), frame_of(other))


@holds_for(strokes_on_canvas)
def test_times_repeated_points_and_empty_strokes_do_not_matter(strokes):
    assume(extent(strokes) > 1)
    other = [[], *([[x, y, 17 * index] for index, (x, y) in enumerate(stroke) for _ in range(2)] for stroke in strokes), []]
    assert_same(frame_of(strokes), frame_of(other))


@holds_for(strokes_on_canvas, st.lists(st.lists(coordinates_anywhere, min_size=1, max_size=6), max_size=4))
def test_strokes_outside_the_canvas_have_no_influence(strokes, others):
    beyond = [[[WIDTH + 1 + abs(x), y] for x, y in stroke] for stroke in others[:2]]
    above = [[[x, -1 - abs(y)] for x, y in stroke] for stroke in others[2:]]
    assert np.array_equal(frame_of(strokes), frame_of([*above, *strokes, *beyond]))


@holds_for(strokes_on_canvas, st.lists(st.floats(1, 500), min_size=1, max_size=5))
def test_how_a_stroke_goes_on_outside_has_no_influence(strokes, far):
    """It leaves at the right edge at one height; what it does beyond is not to be seen."""
    out = [[*stroke, [WIDTH, 200.0]] for stroke in strokes]
    further = [[*stroke, [WIDTH + far[0], stroke[-1][1]]] for stroke in out]
    wild = [[*stroke, *([WIDTH + x, 200.0 + (-1) ** index * x] for index, x in enumerate(far))] for stroke in further]
    assert_same(frame_of(out), frame_of(wild))


# What every frame is


@holds_for(strokes_anywhere)
def test_every_frame_is_one_that_mnist_could_hold(strokes):
    frame = frame_of(strokes)
    assert (frame.shape, frame.dtype) == ((FRAME_PX, FRAME_PX), np.uint8)
    inside = clip_strokes(strokes, WIDTH, HEIGHT)
    if not inside:
        assert not frame.any()
        return
    assert frame.max() > 200, "the middle of a line is ink"
    rows, columns = np.flatnonzero(frame.any(axis=1)), np.flatnonzero(frame.any(axis=0))
    # half a pixel of grey on each side of the box, and a box that does not begin at a pixel's edge
    assert max(np.ptp(rows), np.ptp(columns)) + 1 <= BOX_PX + 2
    top, bottom, left, right = ink_box(frame)
    assert max(bottom - top, right - left) <= BOX_PX
    for centre, held in zip(centre_of_mass(frame), (columns, rows), strict=True):
        pressed = (held[0] == 0 and centre > CENTRE) or (held[-1] == FRAME_PX - 1 and centre < CENTRE)
        assert abs(centre - CENTRE) <= 0.5 + 1e-9 or pressed


@holds_for(strokes_anywhere)
def test_what_lies_inside_is_kept_and_nothing_else(strokes):
    parts = clip_strokes(strokes, WIDTH, HEIGHT)
    bound = np.array([WIDTH, HEIGHT])
    for part in parts:
        assert part.dtype == np.float64
        assert part.shape == (len(part), 2)
        assert len(part) >= 1
        assert ((part >= 0) & (part <= bound)).all()
        assert distance_to(strokes, *along(part)).max() < 1e-6, "each part lies on a stroke"
    for stroke in filter(None, strokes):
        x, y = along(np.array(stroke))
        held = (x > 1e-6) & (y > 1e-6) & (x < WIDTH - 1e-6) & (y < HEIGHT - 1e-6)
        if held.any():
            assert distance_to(parts, x[held], y[held]).max() < 1e-6, "each place of a stroke that is inside lies on a part"


def along(stroke: np.ndarray) -> np.ndarray:
    """(x, y) of many places on a stroke."""
    at = np.linspace(0, len(stroke) - 1, 1 + 40 * (len(stroke) - 1))
    return np.array([np.interp(at, np.arange(len(stroke)), stroke[:, axis]) for axis in (0, 1)])


places = st.tuples(st.floats(-6, 34), st.floats(-6, 34))


@holds_for(st.lists(st.lists(places, min_size=1, max_size=2), min_size=1, max_size=4), st.floats(2, 6))
def test_grey_is_the_depth_inside_a_straight_line(strokes, pen_px):
    assert off_by(strokes, pen_px) <= 255 * (math.hypot(0.5, 0.2) - 0.5) + 1


@holds_for(st.lists(st.lists(places, min_size=1, max_size=6), min_size=1, max_size=3), st.floats(2, 6))
def test_a_sharp_corner_loses_at_most_half_a_sample_step(strokes, pen_px):
    assert off_by(strokes, pen_px) <= 255 * ink._SAMPLE_STEP_PX / 2 + 1


def off_by(strokes, pen_px: float) -> float:
    """Of the grey, from the exact distance of every pixel to every segment; lines may leave the frame."""
    exact = np.clip(pen_px / 2 + 0.5 - distance_to(strokes, *pixels(FRAME_PX, FRAME_PX)), 0, 1) * 255
    return float(np.abs(draw([np.array(stroke) for stroke in strokes], pen_px) - exact).max())


def pixels(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y of each pixel's centre."""
    y, x = np.mgrid[:height, :width] + 0.5
    return x, y


def distance_to(strokes, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """From each (x, y) to the nearest place of a stroke."""
    nearest = np.full(x.shape, np.inf)
    for stroke in strokes:
        for (x0, y0), (x1, y1) in itertools.pairwise(stroke if len(stroke) > 1 else [*stroke, *stroke]):
            dx, dy = x1 - x0, y1 - y0
            squared = dx * dx + dy * dy
            share = np.clip(((x - x0) * dx + (y - y0) * dy) / squared, 0, 1) if squared > 0 else 0.0
            nearest = np.minimum(nearest, np.hypot(x - x0 - share * dx, y - y0 - share * dy))
    return nearest


# Corners


@pytest.mark.parametrize(
    "strokes",
    [[], [[]], [[], []], [[[-1, 5]]], [[[5, HEIGHT + 1, 0]]], [[[-9, -9], [-9, 500], [500, 500]]], [[[-10, 5], [5, -10]]]],
    ids=["nothing", "an empty stroke", "empty strokes", "a dot left", "a dot below", "around the canvas", "across a corner's outside"],
)
def test_no_ink_on_the_canvas_is_an_empty_frame_and_blank(strokes):
    assert not frame_of(strokes).any()
    assert ink_problem(clip_strokes(strokes, WIDTH, HEIGHT), WIDTH, HEIGHT) == "blank"


@pytest.mark.parametrize("at", [(150, 200), (0, 0), (WIDTH, HEIGHT), (0.3, 399.7)], ids=str)
def test_a_dot_is_a_dot_in_the_middle_wherever_it_is(at):
    frame = frame_of([[list(at)]])
    assert ink_box(frame) in ((13, 15, 13, 15), (12, 15, 12, 15), (13, 16, 13, 16))
    assert np.abs(centre_of_mass(frame) - CENTRE).max() <= 0.5
    assert ink_problem(clip_strokes([[list(at)]], WIDTH, HEIGHT), WIDTH, HEIGHT) == "faint"


@pytest.mark.parametrize(
    ("size", "pen", "expected"),
    [(17.9, None, "faint"), (18.1, None, None), (24.9, 50, "faint"), (25.1, 50, None), (17.9, 1, "faint"), (0, None, "faint")],
    ids=["under the share", "over the share", "under half a pen", "over half a pen", "thin pen", "dot"],
)
def test_faint_is_smaller_than_a_share_of_the_canvas_or_than_half_the_pen(size, pen, expected):
    inside = clip_strokes([[[100, 100], [100 + size, 100 + size / 2]]], WIDTH, HEIGHT)
    assert ink_problem(inside, WIDTH, HEIGHT, pen) == expected


@pytest.mark.parametrize("size", [1e-9, 1e-7, 1e-4], ids=str)
def test_a_drawing_next_to_nothing_gives_a_frame_without_warnings(size):
    frame = frame_of([[[100, 100], [100 + size, 100]]])
    assert frame.max() > 200


def test_a_stroke_that_leaves_and_comes_back_is_two():
    left, right = clip_strokes([[[100, 100], [100, -50], [200, -50], [200, 100]]], WIDTH, HEIGHT)
    assert left.tolist() == [[100, 100], [100, 0]]
    assert right.tolist() == [[200, 0], [200, 100]]


def test_a_stroke_through_the_whole_canvas_is_cut_at_both_edges():
    (part,) = clip_strokes([[[-100, 200], [500, 200]]], WIDTH, HEIGHT)
    assert part.tolist() == [[0, 200], [WIDTH, 200]]


def test_steps_of_next_to_nothing_at_the_edge_give_no_warning():
    strokes = [[[-50, 20], [-50, np.nextafter(20, 21)], [-50 + 1e-300, 20]], [[-1e-310, 5], [0, 5]]]
    (part,) = clip_strokes(strokes, WIDTH, HEIGHT)
    assert part.tolist() == [[0, 5], [0, 5]]


def test_a_stroke_along_the_edge_is_inside():
    (part,) = clip_strokes([[[0, 0], [WIDTH, 0], [WIDTH, HEIGHT]]], WIDTH, HEIGHT)
    assert part.tolist() == [[0, 0], [WIDTH, 0], [WIDTH, HEIGHT]]


@pytest.mark.parametrize(
    "strokes",
    [
        np.random.default_rng(0).uniform((0, 0), (WIDTH, HEIGHT), (1, 20_000, 2)).tolist(),
        np.random.default_rng(0).uniform((0, 0), (WIDTH, HEIGHT), (5_000, 1, 2)).tolist(),
        np.random.default_rng(0).uniform((-WIDTH, -HEIGHT), (2 * WIDTH, 2 * HEIGHT), (1, 20_000, 2)).tolist(),
    ],
    ids=["20,000 points", "5,000 dots", "20,000 points in and out"],
)
def test_a_scribble_over_the_whole_canvas_fills_the_box(strokes):
    frame = frame_of(strokes)
    top, bottom, left, right = ink_box(frame)
    assert (bottom - top, right - left) in [(20, 16), (20, 15)]
    assert frame[top:bottom, left:right].mean() > 240


# Pictures


def picture_of(strokes, pen: float) -> np.ndarray:
    """Ink as a browser paints it: uint8[HEIGHT, WIDTH]."""
    return (np.clip(pen / 2 + 0.5 - distance_to(strokes, *pixels(WIDTH, HEIGHT)), 0, 1) * 255).astype(np.uint8)


def spread(frame: np.ndarray) -> np.ndarray:
    """The most ink within a pixel of each."""
    return np.max([np.roll(frame, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)], axis=0)


def is_about(one: np.ndarray, other: np.ndarray) -> bool:
    """All ink of each has ink of the other within a pixel, after a move by at most one (both are centred, to half a pixel)."""
    moves = [np.roll(other, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    return any((spread(move)[one >= 128] >= 64).all() and (spread(one)[move >= 128] >= 64).all() for move in moves)


@holds_for(strokes_on_canvas, examples=50)
def test_a_picture_of_strokes_gives_about_the_frame_of_the_strokes(strokes):
    assume(extent(strokes) > 60)
    pen = extent(strokes) * FRAME_PEN_PX / (BOX_PX - FRAME_PEN_PX)
    frame, of_strokes = frame_from_picture(picture_of(strokes, pen)), frame_of(strokes)
    assert (frame.shape, frame.dtype) == ((FRAME_PX, FRAME_PX), np.uint8)
    assert is_about(frame, of_strokes)
    assert frame.sum(dtype=int) == pytest.approx(of_strokes.sum(dtype=int), rel=0.25), "an upright line of 2.4 px becomes 2 columns"


@holds_for(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0.01, 1))
def test_any_picture_gives_a_frame_whose_ink_fits_the_box(height, width, seed, share):
    random = np.random.default_rng(seed)
    picture = np.where(random.random((height, width)) < share, random.integers(0, 256, (height, width)), 0).astype(np.uint8)
    frame = frame_from_picture(picture)
    assert (frame.shape, frame.dtype) == ((FRAME_PX, FRAME_PX), np.uint8)
    assert frame.any() == (picture >= 128).any()
    if frame.any():
        assert frame.max() == 255
        rows, columns = np.flatnonzero(frame.any(axis=1)), np.flatnonzero(frame.any(axis=0))
        assert max(np.ptp(rows), np.ptp(columns)) + 1 <= BOX_PX
        assert np.abs(centre_of_mass(frame) - CENTRE).max() <= 0.5 or rows[0] == 0 or columns[0] == 0 or 27 in (rows[-1], columns[-1])


@pytest.mark.parametrize("grey", [0, 127], ids=["white", "grey below ink"])
def test_a_picture_without_ink_is_an_empty_frame(grey):
    assert ink_box(np.full((50, 60), grey, np.uint8)) is None
    assert not frame_from_picture(np.full((50, 60), grey, np.uint8)).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (5, 5), (2000, 1500)], ids=str)
def test_a_picture_full_of_ink_fills_its_box_with_its_aspect(shape):
    frame = frame_from_picture(np.full(shape, 255, np.uint8))
    top, bottom, left, right = ink_box(frame)
    wanted = [max(1, round(side * BOX_PX / max(shape))) for side in shape]
    assert [bottom - top, right - left] == wanted
    assert frame[top:bottom, left:right].min() == 255


def test_a_picture_keeps_its_frame_when_moved_on_its_paper():
    picture = picture_of([[[80, 90], [180, 90], [120, 260]]], 20)
    assert np.array_equal(frame_from_picture(picture), frame_from_picture(np.roll(picture, (70, -40), (0, 1))))


def test_constants_agree_with_each_other():
    assert math.isclose(ink._CENTRE_PX, CENTRE)
    assert ink._SAMPLE_STEP_PX < FRAME_PEN_PX / 4
