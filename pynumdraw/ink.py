"""Ink to tensor: strokes, or a picture of ink, to the 28x28 frame that the model reads. The one rasteriser.

MNIST's digits were scaled to a box of 20x20 px with their aspect kept, drawn with grey edges, and moved so that their centre of mass
lies at the centre of the 28x28 frame (LeCun, Cortes and Burges, The MNIST database of handwritten digits). The same is done here.
The line's width does not come from the canvas: every drawing is drawn anew with the pen that MNIST's writers had, `FRAME_PEN_PX`.

`INK_VERSION` changes whenever the same strokes give another frame; a model is only asked by a gateway of the version it was trained with.
"""

import math
from collections.abc import Sequence

import numpy as np

INK_VERSION = 1

FRAME_PX = 28
BOX_PX = 20
FRAME_PEN_PX = 2.4  # line width in the frame: at 2.4 a pen's drawing has MNIST's mean ink; accuracy on pens is the same from 2.0 to 3.0
DEFAULT_PEN = 0.06  # line width on the canvas where none is told, as a share of its shorter side
FAINT_EXTENT = 0.06  # a drawing that is smaller than this share of the canvas's shorter side is too little to read

_STATION_PX = 0.4  # stations on the line: the line between two is at most 0.02 px thinner than at one
_CENTRE_PX = 14  # index of the pixel that holds the centre of mass: 13.997 down and 14.006 across, mean of MNIST's training images
_MAX_STATIONS = 1500  # beyond it, stations that share a cell of 1/3 px are merged: bounds the work for a canvas full of scribble

Stroke = Sequence[Sequence[float]] | np.ndarray  # [[x, y, …], …] or float[n, 2 or more], in canvas px, y grows down


def strokes_inside(strokes: Sequence[Stroke], width: float, height: float) -> list[np.ndarray]:
    """The parts of the strokes that lie on the canvas, each float64[n, 2] with n >= 1, in canvas px.

    A stroke that leaves the canvas and comes back becomes two. Anything behind x and y (a time) is dropped.
    """
    inside = []
    for stroke in strokes:
        if len(stroke) == 0:
            continue
        xy = np.array([point[:2] for point in stroke], np.float64)  # (n, 2)
        if (xy >= 0).all() and (xy[:, 0] <= width).all() and (xy[:, 1] <= height).all():
            inside.append(xy)
        else:
            inside.extend(_clip(xy, width, height))
    return inside


def too_little_ink(strokes: Sequence[np.ndarray], width: float, height: float, pen: float | None = None) -> str | None:
    """ "blank" without ink, "faint" where it is too small to be read, else None.

    strokes: as `strokes_inside` gives them. pen: line width on the canvas, px; by default `DEFAULT_PEN` of the shorter side.
    """
    if not strokes:
        return "blank"
    xy = np.concatenate(strokes)
    extent = float(np.ptp(xy, axis=0).max())
    side = min(width, height)
    pen = DEFAULT_PEN * side if pen is None else pen
    return "faint" if extent < max(FAINT_EXTENT * side, 0.5 * pen) else None


def rasterise(strokes: Sequence[Stroke], width: float, height: float) -> np.ndarray:
    """Draw the strokes the way MNIST was drawn.

    Returns: uint8[28, 28], 0 paper, 255 ink; ink fits 20x20 px, its centre of mass within half a pixel of the frame's centre unless
    ink would leave the frame. No ink inside the canvas gives an empty frame: blank is an answer, not an error.
    """
    inside = strokes_inside(strokes, width, height)
    if not inside:
        return np.zeros((FRAME_PX, FRAME_PX), np.uint8)
    xy = np.concatenate(inside)
    low, high = xy.min(axis=0), xy.max(axis=0)
    scale = (BOX_PX - FRAME_PEN_PX) / max(float((high - low).max()), 1e-9 * max(width, height, 1.0))
    shift = FRAME_PX / 2 - scale * (low + high) / 2
    return _centred(draw([stroke * scale + shift for stroke in inside], FRAME_PEN_PX))


def draw(strokes: Sequence[np.ndarray], pen_px: float) -> np.ndarray:
    """Lines with round ends in frame coordinates: strokes of float[n, 2] in frame px → uint8[28, 28].

    A pixel's grey is how far it lies inside the line, from half a pixel outside (0) to half a pixel inside (255): the share of the
    pixel that a straight edge at that distance covers.
    """
    xy = np.concatenate([_stations(stroke) for stroke in strokes])
    if len(xy) > _MAX_STATIONS:
        _, kept = np.unique(np.floor(xy * 3).astype(np.int64) @ (1, 1 << 20), return_index=True)
        xy = xy[kept]
    xy = xy.astype(np.float32)
    reach = pen_px / 2 + 0.5  # a pixel farther than that from every station is paper, so each station looks at those around it only
    near = np.ceil(xy - (reach + 0.5)).astype(np.intp)[:, :, None] + np.arange(math.ceil(2 * reach))  # (stations, x and y, pixels)
    gap2 = (near.astype(np.float32) + np.float32(0.5) - xy[:, :, None]) ** 2
    side = FRAME_PX + 2  # with a rim that takes what lies outside the frame
    near = np.clip(near, -1, FRAME_PX) + 1
    distance2 = np.full(side * side, np.inf, np.float32)
    cells, values = near[:, 1, :, None] * side + near[:, 0, None, :], gap2[:, 1, :, None] + gap2[:, 0, None, :]
    np.minimum.at(distance2, cells.ravel(), values.ravel())
    distance = np.sqrt(distance2.reshape(side, side)[1:-1, 1:-1])  # (y, x)
    return (np.clip(reach - distance, 0, 1) * 255 + 0.5).astype(np.uint8)


def frame_from_picture(ink: np.ndarray) -> np.ndarray:
    """A picture of ink to a frame: uint8[height, width], 0 paper, 255 ink → uint8[28, 28] as `rasterise` gives it.

    The ink's box is averaged down to 20x20 px. Lines thinner than MNIST's lose grey by that, so the grey is stretched to full ink.
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
    return _centred(frame)


def ink_box(ink: np.ndarray) -> tuple[int, int, int, int] | None:
    """(top, bottom, left, right) of the pixels of uint8[height, width] that hold ink (128 and more), ends excluded; None without any."""
    held = ink >= 128
    rows, columns = np.flatnonzero(held.any(axis=1)), np.flatnonzero(held.any(axis=0))
    return (int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1) if len(rows) else None


def _stations(stroke: np.ndarray) -> np.ndarray:
    """Points along a line, float[n, 2], at most `_STATION_PX` apart, ends included."""
    if len(stroke) == 1:
        return stroke
    step = np.diff(stroke, axis=0)
    along = np.concatenate([[0.0], np.cumsum(np.hypot(step[:, 0], step[:, 1]))])
    at = np.linspace(0.0, along[-1], 1 + max(1, math.ceil(along[-1] / _STATION_PX - 1e-6)))
    return np.array([np.interp(at, along, stroke[:, 0]), np.interp(at, along, stroke[:, 1])]).T


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
    kept = np.flatnonzero(enter <= leave)
    joined = (np.diff(kept) == 1) & (leave[kept[:-1]] == 1) & (enter[kept[1:]] == 0)
    cuts = np.flatnonzero(~joined) + 1  # between segments that do not follow each other inside
    entries, exits = (np.split(begin[kept] + at[kept, None] * step[kept], cuts) for at in (enter, leave))
    parts = (np.concatenate([entry[:1], exit_]) for entry, exit_ in zip(entries, exits, strict=True) if len(entry))
    return [np.clip(part, 0, bound) for part in parts]


def _averaging(size: int, count: int) -> np.ndarray:
    """float32[count, size]: row k averages the k-th of `count` equal parts of `size` pixels, by the share that each pixel has in it."""
    edge = np.linspace(0, size, count + 1)
    pixel = np.arange(size)
    share = np.minimum(edge[1:, None], pixel + 1) - np.maximum(edge[:-1, None], pixel)
    return (np.clip(share, 0, 1) * (count / size)).astype(np.float32)


def _centred(frame: np.ndarray) -> np.ndarray:
    """The frame moved by whole pixels so that its centre of mass is nearest MNIST's, and no ink leaves it."""
    moves = []
    for axis in (0, 1):
        mass = frame.sum(axis=1 - axis, dtype=np.int64)
        held = np.flatnonzero(mass)
        centre = float(mass @ np.arange(FRAME_PX)) / float(mass.sum())
        move = round(_CENTRE_PX - centre)
        moves.append(min(max(move, -int(held[0])), FRAME_PX - 1 - int(held[-1])))
    moved = np.zeros_like(frame)
    (to_y, from_y), (to_x, from_x) = ((slice(max(m, 0), FRAME_PX + min(m, 0)), slice(max(-m, 0), FRAME_PX - max(m, 0))) for m in moves)
    moved[to_y, to_x] = frame[from_y, from_x]
    return moved
