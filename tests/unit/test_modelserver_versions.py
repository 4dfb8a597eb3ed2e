"""Versions are found, loaded and swapped as TensorFlow Serving does it. The models are doubles; the folders are real."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from modelserver.errors import StatusError
from modelserver.versions import Versions
from pynumdraw.wire import model_spec, serving_pb2
from tests.stack import wait_until


class Double:
    """A model that knows its folder and whether it is closed."""

    def __init__(self, folder: str) -> None:
        self.folder, self.closed = folder, False

    def close(self) -> None:
        self.closed = True


class Server:
    """Versions over a folder whose loads fail as often as `failures` says."""

    def __init__(self, base: Path, retries: int = 2, retry_s: float = 0.0) -> None:
        self.base = base
        self.loaded: list[int] = []
        self.made: list[Double] = []
        self.failures: dict[int, int] = {}
        self.during_load: Callable[[int], object] = lambda version: None
        self.versions = Versions("m", str(base), self.load, retries=retries, retry_s=retry_s)

    def load(self, folder: str) -> Double:
        version = int(Path(folder).name)
        self.loaded.append(version)
        self.during_load(version)
        if self.failures.get(version, 0) > 0:
            self.failures[version] -= 1
            raise StatusError(serving_pb2.NOT_FOUND, f"no model in {version}")
        self.made.append(Double(folder))
        return self.made[-1]

    def put(self, *names: str) -> None:
        for name in names:
            (self.base / name).mkdir()

    def settle(self) -> None:
        """One look at the disk, then every decision that follows from it."""
        self.versions.poll()
        while self.versions.step():
            wait_until("the load has ended", lambda: "LOADING" not in self.states().values())

    def states(self) -> dict[int, str]:
        return {number: serving_pb2.ModelVersionStatus.State.Name(state) for number, state, _ in self.versions.states()}

    def served(self) -> int | None:
        """The version that a request without one gets; None where there is none."""
        try:
            with self.versions.use(model_spec("m")) as (number, _):
                return number
        except StatusError:
            return None


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


@pytest.mark.parametrize(
    ("names", "loaded"),
    [
        (["1", "2", "10"], "10"),
        (["00000123"], "00000123"),
        ([".staging-4", "..data", "5.tmp", "v6", "3"], "3"),
        (["-1"], "-1"),
        (["+5", "4"], "+5"),
        (["1", "001"], "1"),  # of two names for one version the last in byte order
    ],
    ids=str,
)
def test_the_newest_folder_with_a_number_for_a_name_is_served(server: Server, names: list[str], loaded: str) -> None:
    server.put(*names)
    server.settle()
    assert [Path(model.folder).name for model in server.made] == [loaded]
    assert server.served() == int(loaded)


def test_the_new_version_is_loaded_if_only_at_the_last_try_before_the_old_one_goes(server: Server) -> None:
    server.put("1")
    server.settle()
    with server.versions.use(model_spec("m")) as (_, first):
        pass
    server.put("2")
    server.failures = {2: 2}
    seen = []
    server.during_load = lambda version: seen.append((version, server.served(), first.closed))
    server.settle()
    assert seen == [(2, 1, False)] * 3
    assert (server.served(), first.closed) == (2, True)
    assert server.states() == {2: "AVAILABLE", 1: "END"}


def test_a_corrupt_version_is_tried_and_ends_and_only_a_higher_one_is_tried_after_it(server: Server) -> None:
    server.put("1")
    server.settle()
    (server.base / "2").touch()  # a plain file is tried too
    server.failures = {2: 3}
    during = []
    server.during_load = lambda version: during.append((server.states()[version], server.served()))
    server.settle()
    number, state, error = server.versions.states()[0]
    assert (number, state, str(error)) == (2, serving_pb2.ModelVersionStatus.END, "NOT_FOUND: no model in 2")
    server.settle()  # by now it would load
    (server.base / "2").unlink()
    server.settle()
    server.put("2")
    server.settle()
    assert server.loaded == [1, 2, 2, 2]
    assert during == [("LOADING", 1)] * 3
    server.put("3")
    server.settle()
    assert server.served() == 3
    assert server.states() == {3: "AVAILABLE", 2: "END", 1: "END"}


def test_an_unload_waits_for_the_requests_in_flight_and_then_the_version_may_come_back(server: Server) -> None:
    server.put("1")
    server.settle()
    server.put("2")
    with server.versions.use(model_spec("m")) as (_, first):
        swap = threading.Thread(target=server.settle)
        swap.start()
        wait_until("version 1 is being unloaded", lambda: server.states()[1] == "UNLOADING")
        (server.base / "2").rmdir()
        server.versions.poll()
        assert not server.versions.step()
        assert server.served() == 2
        assert not first.closed
    swap.join(10)
    assert first.closed
    server.settle()
    assert server.served() == 1
    assert server.states() == {2: "END", 1: "AVAILABLE"}


def test_an_empty_folder_unloads_all_and_a_missing_one_nothing(server: Server) -> None:
    server.put("1")
    server.settle()
    away = server.base.rename(server.base.with_name("away"))
    server.settle()
    assert server.served() == 1
    away.rename(server.base)
    (server.base / "1").rmdir()
    server.settle()
    assert server.served() is None
    assert server.states() == {1: "END"}
    server.put("1")  # the same number may come back
    server.settle()
    assert server.served() == 1


def test_a_version_that_is_no_longer_the_newest_is_not_tried_again(server: Server) -> None:
    server.put("1")
    server.failures = {1: 99}

    def a_newer_one_appears(version: int) -> None:
        if version == 1:
            server.put("2")
            server.versions.poll()

    server.during_load = a_newer_one_appears
    server.settle()
    assert server.loaded == [1, 2]
    assert server.states() == {2: "AVAILABLE", 1: "END"}


def test_an_unexpected_exception_ends_that_version_alone(server: Server) -> None:
    server.put("1")

    def fail(version: int) -> None:
        raise RuntimeError("oops")

    server.during_load = fail
    server.settle()
    assert str(server.versions.states()[0][2]) == "INTERNAL: RuntimeError: oops"
    server.during_load = lambda version: None
    server.put("2")
    server.settle()
    assert server.served() == 2


def test_a_newer_version_passes_one_whose_load_hangs_and_which_is_closed_once_it_is_loaded(tmp_path: Path) -> None:
    server = Server(tmp_path, retries=0)
    server.put("1")
    server.versions.start()
    server.versions.wait_until_served()
    let_go, begun = threading.Event(), threading.Event()

    def hang(version: int) -> None:
        if version == 2:
            begun.set()
            let_go.wait(20)

    server.during_load = hang
    server.put("2")
    assert begun.wait(10)
    server.put("3")
    try:
        wait_until("version 3 serves", lambda: server.served() == 3)
        assert server.states()[2] == "LOADING"
    finally:
        let_go.set()
    wait_until("the others have ended", lambda: server.states() == {3: "AVAILABLE", 2: "END", 1: "END"})
    assert str(server.versions.states()[1][2]) == "CANCELLED: Loading of servable cancelled"
    assert {Path(model.folder).name: model.closed for model in server.made} == {"1": True, "3": False, "2": True}


def test_the_longest_retry_interval_is_waited_for_and_not_an_error(tmp_path: Path) -> None:
    server = Server(tmp_path, retries=1, retry_s=(2**63 - 1) / 1e6)
    server.put("1")
    server.failures = {1: 1}
    server.versions.poll()
    server.versions.step()
    wait_until("the first try has failed", lambda: server.failures == {1: 0})
    time.sleep(0.2)  # an OverflowError would have ended the load by now
    assert server.states() == {1: "LOADING"}
