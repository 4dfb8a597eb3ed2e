"""The digits and non-digits that the code draws itself, by several processes.

Nothing here imports TensorFlow, so that the processes start at once.
"""

from dataclasses import dataclass
from itertools import cycle

import numpy as np

from trainer import outliers, strokes
from trainer.dataset import CLASSES, Digits
from trainer.workers import in_processes

_CHUNK = 500  # drawings a task; arbitrary


@dataclass(frozen=True)
class Drawn:
    """What the code draws itself."""

    digits: Digits
    outliers: np.ndarray
    """uint8[N, 28, 28]."""


def draw(digits: int, non_digits: int, seed: tuple[int, ...], processes: int) -> Drawn:
    """So many digits (each as often as the others) and non-digits, in parallel; the same seed gives the same."""
    sizes = [min(_CHUNK, total - at) for total in (digits, non_digits) for at in range(0, total, _CHUNK)]
    first_outlier = -(-digits // _CHUNK)
    parts = in_processes(_draw_chunk, [(k < first_outlier, size, (*seed, k)) for k, size in enumerate(sizes)], processes)
    labels = np.concatenate([np.arange(size) % CLASSES for size in sizes[:first_outlier]]).astype(np.uint8)
    return Drawn(Digits(np.concatenate(parts[:first_outlier]), labels), np.concatenate(parts[first_outlier:]))


def _draw_chunk(digits: bool, size: int, seed: tuple[int, ...]) -> np.ndarray:
    if not digits:
        return strokes.draw_many(outliers.draw_outlier, size, seed)
    next_digit = cycle(range(CLASSES))
    return strokes.draw_many(lambda rng: strokes.draw_digit(next(next_digit), rng), size, seed)
