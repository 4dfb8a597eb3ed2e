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


def draw(digits: int, non_digits: int, seed: tuple[int, ...], processes: int, *, unambiguous: bool = False) -> SyntheticSet:
    """A set of so many digits, each class equally often, and so many non-digits. The same seed gives the same set.

    unambiguous: no non-digit is of a kind that has a digit's shape.
    """
    sizes = [min(_CHUNK, total - start) for total in (digits, non_digits) for start in range(0, total, _CHUNK)]
    first_non_digit = -(-digits // _CHUNK)
    kinds = ["digits" if k < first_non_digit else "unambiguous non-digits" if unambiguous else "non-digits" for k in range(len(sizes))]
    parts = in_processes(
        _draw_chunk, [(kind, size, (*seed, k)) for k, (kind, size) in enumerate(zip(kinds, sizes, strict=True))], processes
    )
    labels = [np.arange(size) % CLASSES for size in sizes[:first_non_digit]]
    none = np.zeros((0, 28, 28), np.uint8)
    digit_frames, non_digit_frames = (np.concatenate([none, *some]) for some in (parts[:first_non_digit], parts[first_non_digit:]))
    return SyntheticSet(Digits(digit_frames, np.concatenate([[], *labels]).astype(np.uint8)), non_digit_frames)


def _draw_chunk(kind: str, size: int, seed: tuple[int, ...]) -> np.ndarray:
    next_digit = cycle(range(CLASSES))
    draw_one = {
        "digits": lambda rng: strokes.draw_digit(next(next_digit), rng),
        "non-digits": non_digits.draw_non_digit,
        "unambiguous non-digits": non_digits.draw_unambiguous,
    }[kind]
    return strokes.draw_many(draw_one, size, seed)
