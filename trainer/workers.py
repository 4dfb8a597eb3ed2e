"""Work shared among processes that begin, and are stopped, without a word.

Nothing here imports TensorFlow, so that the processes start at once.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from typing import Any, TypeVar

Result = TypeVar("Result")

_STOPS = (signal.SIGINT, signal.SIGTERM)


def in_processes(call: Callable[..., Result], tasks: Sequence[tuple[Any, ...]], processes: int) -> list[Result]:
    """`call(*task)` for each of the tasks, in their order, by so many processes at once. Raises what the first that fails raises.

    Of the main thread only, which alone may hold signals back.
    """
    context = multiprocessing.get_context("spawn")  # TensorFlow's threads do not survive a fork
    resource_tracker.ensure_running()  # now, since where the tracker begins it unblocks the signals that are to be blocked below
    with ExitStack() as ends:
        with _stopped_later():
            pool = ProcessPoolExecutor(processes, context, _start)
            ends.callback(pool.shutdown, cancel_futures=True)  # waited for, or the interpreter's end would race with the pool's
            results = [pool.submit(call, *task) for task in tasks]
        return [result.result() for result in results]


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


def _start() -> None:
    """Ctrl-C is the parent's to handle; a worker never outlives it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)

    def follow() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
