"""The digits and non-digits that the code draws itself, by several processes.

Nothing here imports TensorFlow, so that the processes start at once.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import cycle

import numpy as np

from trainer import outliers, strokes
from trainer.dataset import CLASSES, Digits

_CHUNK = 500  # drawings a task; arbitrary
_STOPS = (signal.SIGINT, signal.SIGTERM)


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
    context = multiprocessing.get_context("spawn")  # TensorFlow's threads do not survive a fork
    with ExitStack() as ends:
        with _stopped_later():
            pool = ends.enter_context(ProcessPoolExecutor(processes, context, start_worker))
            tasks = [pool.submit(_draw_chunk, k < first_outlier, size, (*seed, k)) for k, size in enumerate(sizes)]
        try:
            parts = [task.result() for task in tasks]
        except BaseException:
            pool.shutdown(cancel_futures=True)  # waited for, or the interpreter's end would race with the pool's
            raise
    labels = np.concatenate([np.arange(size) % CLASSES for size in sizes[:first_outlier]]).astype(np.uint8)
    return Drawn(Digits(np.concatenate(parts[:first_outlier]), labels), np.concatenate(parts[first_outlier:]))


@contextmanager
def _stopped_later() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until the block ends: a process that loses its parent while it begins would end in a traceback, and a
    semaphore that is half made would be left behind.

    Only the handlers' change holds this process, since any thread may take a signal; the mask is what the begun processes inherit.
    """
    came: list[int] = []
    handlers = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in _STOPS}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def _draw_chunk(digits: bool, size: int, seed: tuple[int, ...]) -> np.ndarray:
    if not digits:
        return strokes.draw_many(outliers.draw_outlier, size, seed)
    next_digit = cycle(range(CLASSES))
    return strokes.draw_many(lambda rng: strokes.draw_digit(next(next_digit), rng), size, seed)


def start_worker() -> None:
    """Ctrl-C is the parent's to handle; a worker never outlives it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)

    def follow() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
