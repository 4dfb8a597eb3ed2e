"""The synthetic digits and non-digits of a training run, drawn by several processes.

Nothing here imports TensorFlow, so that the processes start quickly.
"""

from dataclasses import dataclass
from itertools import cycle

import numpy as np

from trainer import non_digits, strokes
from trainer.dataset import CLASSES, Digits
from trainer.workers import in_processes

_CHUNK = 500  # drawings a task; arbitrary, but another number gives another random stream, and so another model


@dataclass(frozen=True)
class SyntheticSet:
    """Synthetic digits and non-digits."""

    digits: Digits
    non_digits: np.ndarray
    """uint8[N, 28, 28]."""


def draw(digits: int, non_digits: int, seed: tuple[int, ...], processes: int) -> SyntheticSet:
    """A set of so many digits, each class equally often, and so many non-digits. The same seed gives the same set."""
    sizes = [min(_CHUNK, total - start) for total in (digits, non_digits) for start in range(0, total, _CHUNK)]
    first_non_digit = -(-digits // _CHUNK)
    parts = in_processes(_draw_chunk, [(k < first_non_digit, size, (*seed, k)) for k, size in enumerate(sizes)], processes)
    labels = np.concatenate([np.arange(size) % CLASSES for size in sizes[:first_non_digit]]).astype(np.uint8)
    return SyntheticSet(Digits(np.concatenate(parts[:first_non_digit]), labels), np.concatenate(parts[first_non_digit:]))


def _draw_chunk(digits: bool, size: int, seed: tuple[int, ...]) -> np.ndarray:
    if not digits:
        return strokes.draw_many(non_digits.draw_non_digit, size, seed)
    next_digit = cycle(range(CLASSES))
    return strokes.draw_many(lambda rng: strokes.draw_digit(next(next_digit), rng), size, seed)
