"""Strokes, or a picture of ink, to the 28x28 frame that the model reads. The one rasteriser: here a stroke becomes pixels.

MNIST's digits were scaled to a box of 20x20 px with their aspect kept, drawn with grey edges, and moved so that their centre of mass
lies at the centre of the 28x28 frame (LeCun, Cortes and Burges, The MNIST database of handwritten digits). The same is done here.
The width of the line on the canvas does not matter: every drawing is drawn with a pen as wide as MNIST's lines, `FRAME_PEN_PX`.

`INK_VERSION` changes whenever the same strokes give another frame; a gateway refuses a model that was trained with another ink version.
"""

import math
from collections.abc import Sequence

import numpy as np

INK_VERSION = 1

FRAME_PX = 28
BOX_PX = 20
FRAME_PEN_PX = 2.4  # line width in the frame: chosen to give MNIST's mean ink; accuracy on pen drawings is the same from 2.0 to 3.0
DEFAULT_PEN = 0.06  # line width on the canvas where none is given, as a share of its shorter side; that of the page's pen (web/strokes.js)
FAINT_EXTENT = 0.06  # a drawing smaller than this share of the canvas's shorter side is faint; arbitrary, about the width of the line

_SAMPLE_STEP_PX = 0.4  # distance of samples on a line: halfway between two, the line is at most 0.02 px thinner
_CENTRE_PX = 14  # index of the pixel that holds the centre of mass: 13.997 down and 14.006 across, mean of MNIST's training images
_PIXELS = np.arange(FRAME_PX)
_MAX_SAMPLES = 1500  # beyond it, samples in the same cell of 1/3 px are merged; arbitrary, bounds the work for a canvas full of scribble

Stroke = Sequence[Sequence[float]] | np.ndarray  # [[x, y, …], …] or float[n, 2 or more], in canvas px, y grows down


def clip_strokes(strokes: Sequence[Stroke], width: float, height: float) -> list[np.ndarray]:
    """The parts of the strokes that lie on the canvas, each float64[n, 2] with n >= 1, in canvas px.

    A stroke that leaves the canvas and comes back becomes two. Further columns of a point (its time) are dropped.
    """
    clipped = []
    for stroke in strokes:
        if len(stroke) == 0:
            continue
        xy = np.array([point[:2] for point in stroke], np.float64)  # (n, 2)
        if (xy >= 0).all() and (xy[:, 0] <= width).all() and (xy[:, 1] <= height).all():
            clipped.append(xy)
        else:
            clipped.extend(_clip(xy, width, height))
    return clipped


def ink_problem(strokes: Sequence[np.ndarray], width: float, height: float, pen: float | None = None) -> str | None:
    """ "blank" without ink, "faint" where the drawing is too small to be read, else None.

    strokes: from `clip_strokes`. pen: line width on the canvas, px; by default `DEFAULT_PEN` of the shorter side.
    """
    if not strokes:
        return "blank"
    low, high = _bounds(strokes)
    side = min(width, height)
    pen = DEFAULT_PEN * side if pen is None else pen
    return "faint" if float(np.maximum.reduce(high - low)) < max(FAINT_EXTENT * side, 0.5 * pen) else None


def rasterise(strokes: Sequence[np.ndarray]) -> np.ndarray:
    """Draw the strokes the way MNIST was drawn.

    strokes: from `clip_strokes`, float64[n, 2] each with n >= 1, in canvas px; the canvas's size does not matter.
    Returns: uint8[28, 28], 0 paper, 255 ink; ink fits 20x20 px, its centre of mass within half a pixel of the frame's centre unless
    ink would leave the frame. No strokes give an empty frame: blank is an answer, not an error.
    Arrays are small here, so that calls of numpy are what costs time: ufuncs are called directly, and as few as may be.
    """
    if not strokes:
        return np.zeros((FRAME_PX, FRAME_PX), np.uint8)
    low, high = _bounds(strokes)
    scale = _scale(low, high)
    shift = FRAME_PX / 2 - scale * (low + high) / 2
    return _centre(draw([stroke * scale + shift for stroke in strokes], FRAME_PEN_PX))


def line_px(strokes: Sequence[np.ndarray]) -> float:
    """How long the line is in the frame, px, with the ways from stroke to stroke: a bound on the work of `rasterise`.

    strokes: from `clip_strokes`.
    """
    if not strokes:
        return 0.0
    xy = _joined(strokes)
    step = xy[1:] - xy[:-1]
    return float(np.add.reduce(np.hypot(step[:, 0], step[:, 1]))) * _scale(*_bounds(strokes))


def _joined(strokes: Sequence[np.ndarray]) -> np.ndarray:
    return strokes[0] if len(strokes) == 1 else np.concatenate(strokes)


def _bounds(strokes: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest x and y, float64[2] each."""
    xy = _joined(strokes)
    return np.minimum.reduce(xy), np.maximum.reduce(xy)


def _scale(low: np.ndarray, high: np.ndarray) -> float:
    """Frame px a canvas px for a drawing within these bounds, so that it fits the box with the pen's width."""
    furthest = max(float(np.maximum.reduce(np.maximum(np.abs(low), np.abs(high)))), 1.0)
    rounding = 1e-9 * furthest  # a smaller extent is a dot: scaled up, it would show the rounding of coordinates
    return (BOX_PX - FRAME_PEN_PX) / max(float(np.maximum.reduce(high - low)), rounding)


def draw(strokes: Sequence[np.ndarray], pen_px: float) -> np.ndarray:
    """Lines with round ends in frame coordinates: strokes of float[n, 2] in frame px → uint8[28, 28].

    A pixel's grey grows with the depth of its centre inside the line, from half a pixel outside (0) to half a pixel inside (255): the
    share of the pixel that a straight edge at that depth covers.
    """
    xy = _joined([_sample(stroke) for stroke in strokes])
    if len(xy) > _MAX_SAMPLES:
        _, first_of_cell = np.unique(np.floor(xy * 3).astype(np.int64) @ (1, 1 << 20), return_index=True)
        xy = xy[first_of_cell]
    xy = xy.astype(np.float32)
    reach = pen_px / 2 + 0.5  # a pixel farther than that from every sample is paper, so only pixels near a sample are computed
    near = np.ceil(xy - (reach + 0.5)).astype(np.intp)[:, :, None] + np.arange(math.ceil(2 * reach))  # (samples, x and y, pixels)
    gap2 = near.astype(np.float32)
    gap2 += np.float32(0.5)
    gap2 -= xy[:, :, None]
    gap2 *= gap2
    side = FRAME_PX + 2  # with a rim of one pixel for what lies outside the frame
    np.maximum(near, -1, out=near)
    np.minimum(near, FRAME_PX, out=near)
    near += 1
    distance2 = np.full(side * side, np.inf, np.float32)
    cells, values = near[:, 1, :, None] * side + near[:, 0, None, :], gap2[:, 1, :, None] + gap2[:, 0, None, :]
    np.minimum.at(distance2, cells.ravel(), values.ravel())
    depth = reach - np.sqrt(distance2.reshape(side, side)[1:-1, 1:-1])  # (y, x)
    grey = np.minimum(np.maximum(depth, 0), 1)
    grey *= 255
    grey += 0.5
    return grey.astype(np.uint8)


def frame_from_picture(ink: np.ndarray) -> np.ndarray:
    """A picture of ink to a frame: uint8[height, width], 0 paper, 255 ink → uint8[28, 28], centred as by `rasterise`.

    The ink's box is averaged down to 20x20 px. Averaging makes lines thinner than MNIST's paler, so the darkest pixel is stretched to 255.
    """
    frame = np.zeros((FRAME_PX, FRAME_PX), np.uint8)
    box = ink_box(ink)
    if box is None:
        return frame
    top, bottom, left, right = box
    cut = ink[top:bottom, left:right].astype(np.float32)
    scale = BOX_PX / max(cut.shape)
    rows, columns = (max(1, round(n * scale)) for n in cut.shape)
    small = _averaging(cut.shape[0], rows) @ cut @ _averaging(cut.shape[1], columns).T
    small *= 255 / max(float(small.max()), 1.0)
    y, x = (FRAME_PX - rows) // 2, (FRAME_PX - columns) // 2
    frame[y : y + rows, x : x + columns] = (small + 0.5).astype(np.uint8)
    return _centre(frame)


def ink_box(ink: np.ndarray) -> tuple[int, int, int, int] | None:
    """(top, bottom, left, right) of the ink (128 or more) in uint8[height, width], bottom and right excluded; None without ink."""
    is_ink = ink >= 128
    rows, columns = np.flatnonzero(is_ink.any(axis=1)), np.flatnonzero(is_ink.any(axis=0))
    return (int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1) if len(rows) else None


def _sample(stroke: np.ndarray) -> np.ndarray:
    """Points along a line, float[n, 2], at most `_SAMPLE_STEP_PX` apart, both ends included."""
    if len(stroke) == 1:
        return stroke
    x, y = stroke[:, 0], stroke[:, 1]
    along = np.zeros(len(stroke))
    np.add.accumulate(np.hypot(x[1:] - x[:-1], y[1:] - y[:-1]), out=along[1:])
    length = float(along[-1])
    count = 1 + max(1, math.ceil(length / _SAMPLE_STEP_PX - 1e-6))
    at = np.arange(count) * (length / (count - 1))
    at[-1] = length
    samples = np.empty((count, 2))
    samples[:, 0], samples[:, 1] = np.interp(at, along, x), np.interp(at, along, y)
    return samples


def _clip(xy: np.ndarray, width: float, height: float) -> list[np.ndarray]:
    """The parts of one line that lie in [0, width] x [0, height] (Liang and Barsky's parametric clipping, all segments at once)."""
    bound = np.array([width, height], np.float64)
    if len(xy) == 1:
        return [xy] if ((xy >= 0) & (xy <= bound)).all() else []
    begin, step = xy[:-1], np.diff(xy, axis=0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        low, high = -begin / step, (bound - begin) / step
    parallel = step == 0
    outside = parallel & ((begin < 0) | (begin > bound))
    enter = np.where(parallel, 0.0, np.minimum(low, high)).max(axis=1, initial=0.0)
    leave = np.where(parallel, 1.0, np.maximum(low, high)).min(axis=1, initial=1.0)
    leave[outside.any(axis=1)] = -1.0
    visible = np.flatnonzero(enter <= leave)  # segments with a part on the canvas
    joined = (np.diff(visible) == 1) & (leave[visible[:-1]] == 1) & (enter[visible[1:]] == 0)
    cuts = np.flatnonzero(~joined) + 1  # between segments that are not joined on the canvas
    entries, exits = (np.split(begin[visible] + at[visible, None] * step[visible], cuts) for at in (enter, leave))
    parts = (np.concatenate([entry[:1], exit_]) for entry, exit_ in zip(entries, exits, strict=True) if len(entry))
    return [np.clip(part, 0, bound) for part in parts]


def _averaging(size: int, count: int) -> np.ndarray:
    """float32[count, size]: row k averages the k-th of `count` equal parts of `size` pixels, weighted by each pixel's share in the part."""
    edge = np.linspace(0, size, count + 1)
    pixel = np.arange(size)
    share = np.minimum(edge[1:, None], pixel + 1) - np.maximum(edge[:-1, None], pixel)
    return (np.clip(share, 0, 1) * (count / size)).astype(np.float32)


def _centre(frame: np.ndarray) -> np.ndarray:
    """Move the frame's ink by whole pixels so that its centre of mass is nearest MNIST's; no ink leaves the frame."""
    moves = []
    for axis in (0, 1):
        mass = np.add.reduce(frame, axis=1 - axis, dtype=np.int64)
        inked = mass.nonzero()[0]
        centre = float(mass @ _PIXELS) / float(np.add.reduce(mass))
        move = round(_CENTRE_PX - centre)
        moves.append(min(max(move, -int(inked[0])), FRAME_PX - 1 - int(inked[-1])))
    if moves == [0, 0]:
        return frame
    moved = np.zeros_like(frame)
    (to_y, from_y), (to_x, from_x) = ((slice(max(m, 0), FRAME_PX + min(m, 0)), slice(max(-m, 0), FRAME_PX - max(m, 0))) for m in moves)
    moved[to_y, to_x] = frame[from_y, from_x]
    return moved
