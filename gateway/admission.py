"""What a request may cost is settled before it is read: how much body may be held in memory, and how much slow work may wait.

Small bodies have a budget of their own: there are at most as many as there are connections, and each is at most `SMALL_BYTES`. Large ones
share `LARGE_BODIES` times the largest. Work of milliseconds (pictures, large bodies, long lines) is done by one thread, so that it never
holds the loop, and few may wait for it. What is beyond is answered 429 at once; nothing here waits.
"""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from gateway.errors import Busy

SMALL_BYTES = 16 * 1024
LARGE_BODIES = 2
WAITING_JOBS = 16

Result = TypeVar("Result")


class BodyBudget:
    """Bytes of large bodies that may be in memory at a time. Used by the loop's thread alone."""

    def __init__(self, max_body_bytes: int) -> None:
        self._most = max_body_bytes
        self._left = LARGE_BODIES * max_body_bytes

    def take(self, headers: Mapping[bytes, bytes]) -> int | None:
        """Reserve the body that a request's head speaks of: so many bytes are to be given back, None where there is no room."""
        if b"transfer-encoding" in headers:
            size = self._most  # nobody knows yet
        else:
            size = int(headers.get(b"content-length", 0))
            if size <= SMALL_BYTES:
                return 0
        if size > min(self._left, self._most):
            return None
        self._left -= size
        return size

    def give_back(self, size: int) -> int:
        """The end of what `take` reserved. Returns what is held then: nothing."""
        self._left += size
        return 0


class SlowLane:
    """One thread for work of milliseconds, a few jobs waiting for it."""

    def __init__(self, waiting: int = WAITING_JOBS) -> None:
        self._pool = ThreadPoolExecutor(1, "slow-lane")
        self._places = threading.BoundedSemaphore(waiting + 1)
        self._begun: float | None = None

    def submit(self, work: Callable[[], Result]) -> Future[Result]:
        """Have it done. A job that is cancelled while it waits is never begun. Raises Busy where too many wait."""
        if not self._places.acquire(blocking=False):
            raise Busy("as much slow work (pictures, large bodies, long lines) waits as this gateway allows; try again shortly")
        job = self._pool.submit(self._timed, work)
        job.add_done_callback(lambda _: self._places.release())
        return job

    def stuck_s(self) -> float:
        """Seconds that the job of the moment has taken; 0 where there is none."""
        begun = self._begun
        return 0.0 if begun is None else time.monotonic() - begun

    def close(self) -> None:
        """Drop what waits, and do not wait for what is being done."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _timed(self, work: Callable[[], Result]) -> Result:
        self._begun = time.monotonic()
        try:
            return work()
        finally:
            self._begun = None
