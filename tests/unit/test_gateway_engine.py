"""The engine's parts: batches, the slow lane, the budget of large bodies, and the heartbeat behind the management port's /healthz."""

import asyncio
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from gateway import management
from gateway.admission import LARGE_BODIES, SMALL_BYTES, BodyBudget, SlowLane
from gateway.batching import MAX_FRAMES, Batcher
from gateway.errors import BadModelReply, Busy
from gateway.server import listen, refuse_handshakes
from gateway.telemetry import Telemetry
from tests.stack import get, wait_until


def frames(value: int, count: int = 1) -> np.ndarray:
    return np.full((count, 28, 28), value, np.uint8)


class Model:
    """Answers each frame with its first pixel, and refuses a call that holds a 13; 14 is refused alone."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    async def __call__(self, images: np.ndarray, deadline: float) -> list[Any]:
        self.calls.append(len(images))
        await asyncio.sleep(0.001)
        if 13 in images[:, 0, 0]:
            raise BadModelReply("a 13")
        return [BadModelReply("a 14") if value == 14 else int(value) for value in images[:, 0, 0]]


def ask_all(model: Model, *asked: np.ndarray) -> list[Any]:
    async def ask() -> list[Any]:
        batcher: Batcher[int] = Batcher(model)
        return await asyncio.gather(*(batcher.predict(each, time.monotonic() + 5) for each in asked), return_exceptions=True)

    with ThreadPoolExecutor(1) as thread:  # a loop may run in this one: Playwright leaves its own, where the browser's tests ran before
        return thread.submit(asyncio.run, ask()).result()


def test_frames_that_wait_at_the_same_time_leave_together_and_each_gets_its_own_answer() -> None:
    model = Model()
    assert ask_all(model, *(frames(value) for value in range(20, 60))) == [[value] for value in range(20, 60)]
    assert model.calls == [40]


def test_a_lone_frame_leaves_alone_and_a_call_is_never_larger_than_the_model_was_warmed_at() -> None:
    from trainer.export import WARMUP_BATCHES

    model = Model()
    assert ask_all(model, frames(1)) == [[1]]
    ask_all(model, *(frames(20) for _ in range(150)))
    assert max(model.calls) <= MAX_FRAMES == max(WARMUP_BATCHES)


def test_more_frames_than_a_call_may_carry_are_refused() -> None:
    (refused,) = ask_all(Model(), frames(1, MAX_FRAMES + 1))
    assert isinstance(refused, ValueError) and str(refused) == f"found {MAX_FRAMES + 1} frames, wanted at most {MAX_FRAMES} at a time"


def test_what_is_wrong_with_one_frame_fails_nobody_else() -> None:
    one, bad, refused, several = ask_all(Model(), frames(1), frames(13), frames(14), frames(5, 3))
    assert (one, several) == ([1], [5, 5, 5])
    assert [str(each) for each in (bad, refused)] == ["a 13", "a 14"]


def test_the_slow_lane_refuses_what_would_wait_too_long_and_drops_what_nobody_wants() -> None:
    lane, free, done = SlowLane(waiting=1), threading.Event(), []
    running = lane.submit(lambda: free.wait(20))
    waiting = lane.submit(lambda: done.append("waited"))
    with pytest.raises(Busy):
        lane.submit(lambda: None)
    assert waiting.cancel()
    wait_until("it is seen to be busy", lambda: lane.stuck_s() > 0)
    free.set()
    assert running.result() is True
    assert lane.submit(lambda: "next").result() == "next"
    assert done == []
    lane.close()


def test_large_bodies_share_a_budget_and_small_ones_need_none() -> None:
    budget = BodyBudget(1_000_000)
    taken = [budget.take({b"content-length": b"1000000"}) for _ in range(LARGE_BODIES)]
    assert taken == [1_000_000] * LARGE_BODIES
    assert budget.take({b"content-length": b"1000000"}) is budget.take({b"transfer-encoding": b"chunked"}) is None
    assert budget.take({b"content-length": b"%d" % SMALL_BYTES}) == budget.take({}) == 0
    budget.give_back(1_000_000)
    assert budget.take({b"transfer-encoding": b"chunked"}) == 1_000_000


@pytest.mark.parametrize("host", ["::", "[::]"])
def test_all_addresses_are_ipv6_and_ipv4_and_ipv4_alone_where_the_kernel_has_no_other(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with listen(host, 0) as listener:
        assert listener.family is socket.AF_INET6
        with socket.create_connection(("127.0.0.1", listener.getsockname()[1])), socket.create_connection(listener.getsockname()[:2]):
            pass
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)  # such a kernel is not to be had in a test
    with listen(host, 0) as listener:
        assert listener.family is socket.AF_INET
        assert listener.getsockname()[0] == "0.0.0.0"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such filters")
def test_a_listener_that_is_about_to_close_takes_nobody_new_and_ends_nothing_that_has_begun() -> None:
    with listen("::", 0) as listener:
        for host in ("127.0.0.1", "::1"):
            address = (host, listener.getsockname()[1])
            with socket.create_connection(address) as begun:
                refuse_handshakes(listener)
                with pytest.raises(TimeoutError):
                    socket.create_connection(address, timeout=0.2)
                begun.sendall(b"begun")
                accepted, _ = listener.accept()
                with accepted:
                    assert accepted.recv(5) == b"begun"
            listener.setsockopt(socket.SOL_SOCKET, 27, 0)  # SO_DETACH_FILTER


def test_a_slow_lane_that_does_not_end_a_job_is_stuck() -> None:
    lane, free, heartbeat = SlowLane(), threading.Event(), management.Heartbeat(stuck_s=0.2)
    heartbeat.others.append(lane.stuck_s)
    job = lane.submit(lambda: free.wait(20))

    def alive() -> bool:
        heartbeat.beat()  # the loop turns
        return heartbeat.alive()

    wait_until("it is stuck", lambda: not alive())
    free.set()
    assert job.result() is True
    wait_until("it goes on", alive)
    lane.close()
    assert management.STUCK_S == 10


def test_the_management_port_says_when_the_loop_is_stuck_and_when_it_drains() -> None:
    heartbeat, draining, listener = management.Heartbeat(stuck_s=0.5), threading.Event(), listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    end = management.serve(listener, heartbeat, draining, Telemetry().registry)
    try:

        async def block() -> None:
            heartbeat.beat()
            assert (await asyncio.to_thread(get, f"{url}/healthz"))[0] == 200
            time.sleep(1)  # nothing else runs on this loop, and the port answers all the same

        thread = threading.Thread(target=lambda: asyncio.run(block()))
        thread.start()
        wait_until("the blocked loop is seen", lambda: get(f"{url}/healthz")[0] == 503, 5)
        thread.join()
        heartbeat.beat()
        assert [get(f"{url}/{path}")[0] for path in ("healthz", "readyz", "metrics", "other")] == [200, 200, 200, 404]
        draining.set()
        assert get(f"{url}/readyz")[0] == 503
    finally:
        end()
