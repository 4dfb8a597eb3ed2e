"""Frames that wait at the same time leave together in one call; a lone one leaves at once.

While a call is out, frames gather; they leave when it comes back, when the oldest of them has waited `AGE_S`, or when they are as many as
a call may carry. So a busy model server gets few large calls, several model servers get one each, and nobody waits for long.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from gateway.errors import BadModelReply

MAX_FRAMES = 64  # in a call: the largest that a version is warmed at (trainer/export.py)
AGE_S = 0.005

Answer = TypeVar("Answer")


@dataclass(eq=False)
class _Waiting(Generic[Answer]):
    """frames: uint8[N, 28, 28]. deadline: of the loop's clock."""

    frames: np.ndarray
    deadline: float
    answers: "asyncio.Future[list[Answer]]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def fail(self, exc: BaseException) -> None:
        if not self.answers.done():
            self.answers.set_exception(exc)


class Batcher(Generic[Answer]):
    """Gathers frames into calls. Used by the loop's thread alone."""

    def __init__(self, call: Callable[[np.ndarray, float], Awaitable[Sequence[Answer | BadModelReply]]]) -> None:
        """call: uint8[N, 28, 28] and a deadline → N answers; one that cannot be read is a BadModelReply in its place."""
        self._call = call
        self._queue: deque[_Waiting[Answer]] = deque()
        self._frames = self._out = 0  # frames in the queue, calls that are out
        self._next: asyncio.Handle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def predict(self, frames: np.ndarray, deadline: float) -> list[Answer]:
        """uint8[N, 28, 28] → N answers. Raises what the call raises, for these frames alone where it is about what was sent."""
        if len(frames) > MAX_FRAMES:
            raise ValueError(f"found {len(frames)} frames, wanted at most {MAX_FRAMES} at a time")
        waiting: _Waiting[Answer] = _Waiting(frames, deadline)
        self._queue.append(waiting)
        self._frames += len(frames)
        if self._frames >= MAX_FRAMES:
            self._leave(self._gather())
        elif not self._out:
            self._leave()
        elif self._next is None:
            self._next = asyncio.get_running_loop().call_later(AGE_S, self._leave)
        return await waiting.answers

    def _leave(self, group: "list[_Waiting[Answer]] | None" = None) -> None:
        """Send these, or what waits when the loop turns next."""
        self._out += 1
        task = asyncio.get_running_loop().create_task(self._send(group))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _gather(self) -> list[_Waiting[Answer]]:
        """Take what waits, as far as it fits into one call; who has left meanwhile is dropped."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        group, size = [], 0
        while self._queue and size + len(self._queue[0].frames) <= MAX_FRAMES:
            waiting = self._queue.popleft()
            self._frames -= len(waiting.frames)
            if not waiting.answers.done():
                group.append(waiting)
                size += len(waiting.frames)
        if self._queue:
            self._next = asyncio.get_running_loop().call_later(AGE_S, self._leave)
        return group

    async def _send(self, group: list[_Waiting[Answer]] | None) -> None:
        try:
            if group := self._gather() if group is None else group:
                await self._answer(group)
        finally:
            self._out -= 1
            if self._queue and not self._out:
                self._leave()

    async def _answer(self, group: list[_Waiting[Answer]]) -> None:
        """One call for the group. Where the model server refuses it as a whole, each is asked alone: the fault may be in one of them."""
        frames = group[0].frames if len(group) == 1 else np.concatenate([waiting.frames for waiting in group])
        try:
            answers = await self._call(frames, min(waiting.deadline for waiting in group))
        except BadModelReply as exc:
            if len(group) == 1:
                group[0].fail(exc)
            else:
                await asyncio.gather(*(self._answer([waiting]) for waiting in group if not waiting.answers.done()))
            return
        except BaseException as exc:
            for waiting in group:
                waiting.fail(exc)
            if not isinstance(exc, Exception):
                raise
            return
        begin = 0
        for waiting in group:
            own = answers[begin : begin + len(waiting.frames)]
            begin += len(waiting.frames)
            bad = next((answer for answer in own if isinstance(answer, BadModelReply)), None)
            if bad is not None:
                waiting.fail(bad)
            elif not waiting.answers.done():
                waiting.answers.set_result(list(own))  # type: ignore[arg-type]
