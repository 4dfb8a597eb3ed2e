"""Calls spread over processes that Ctrl-C and SIGTERM end without a traceback.

`concurrent.futures` does the work. What surrounds it is what it lacks:

- A process that gets Ctrl-C while it starts, before an initializer ignores it, ends in a traceback. So it starts with it blocked.
- A stop that reaches this process while it starts others would leave a semaphore behind. So stops wait until all have started.
- A process whose parent is killed by SIGKILL waits forever, since it holds both ends of its queue. So each one watches its parent.

`multiprocessing.Pool` would stop more simply, but it waits forever for the result of a process that was killed, as when memory runs out;
an executor raises. Nothing here imports TensorFlow, so that the processes start quickly.
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
    """The results of `call(*task)` for each task, in their order, by so many processes. Raises what the first call that fails raises.

    To be called in the main thread, since only that one can set signal handlers.
    """
    context = multiprocessing.get_context("spawn")  # TensorFlow's threads do not survive a fork
    resource_tracker.ensure_running()  # now, since starting it unblocks the signals that are blocked below
    with ExitStack() as stack:
        with _stops_deferred():
            pool = ProcessPoolExecutor(processes, context, _start)
            stack.callback(pool.shutdown, cancel_futures=True)  # waits, since the interpreter's end would race with the pool's
            results = [pool.submit(call, *task) for task in tasks]
        return [result.result() for result in results]


@contextmanager
def _stops_deferred() -> Iterator[None]:
    """Ctrl-C and SIGTERM are handled when the block ends.

    The other handlers defer them in this process, where any thread may receive a signal; the mask is inherited by the processes it starts.
    """
    received: list[int] = []
    handlers = {number: signal.signal(number, lambda number, frame: received.append(number)) for number in _STOPS}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])


def _start() -> None:
    """Leave Ctrl-C to the parent process, and end when it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)

    def watch_parent() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch_parent, daemon=True).start()
