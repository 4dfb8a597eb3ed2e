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
    """A model that knows its folder and whether it is loaded."""

    def __init__(self, folder: str) -> None:
        self.folder, self.closed = folder, False

    def close(self) -> None:
        self.closed = True


class Server:
    """Versions over a folder whose loads fail as often as `failures` says."""

    def __init__(self, base: Path, retries: int = 2, retry_s: float = 0.0) -> None:
        self.base = base
        self.loaded: list[int] = []
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
        return Double(folder)

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
    ("names", "served"),
    [
        (["1", "2", "10"], 10),
        (["00000123"], 123),
        ([".staging-4", "..data", "5.tmp", "v6", "3"], 3),
        (["-1"], -1),
        (["+5", "4"], 5),
        ([".staging-4", "tmp"], None),
    ],
    ids=str,
)
def test_the_newest_folder_with_a_number_for_a_name_is_served(server: Server, names: list[str], served: int | None) -> None:
    server.put(*names)
    server.settle()
    assert server.served() == served
    assert server.loaded == ([] if served is None else [served])


def test_of_two_names_for_one_version_the_last_in_byte_order_is_loaded(server: Server) -> None:
    server.put("1", "001")
    server.settle()
    with server.versions.use(model_spec("m", 1)) as (_, model):
        assert Path(model.folder).name == "1"


def test_a_plain_file_with_a_number_for_a_name_is_tried_too(server: Server) -> None:
    (server.base / "7").touch()
    server.failures = {7: 99}
    server.settle()
    assert server.loaded == [7, 7, 7]


def test_the_new_version_is_loaded_before_the_old_one_goes(server: Server) -> None:
    server.put("1")
    server.settle()
    with server.versions.use(model_spec("m")) as (_, first):
        pass
    server.put("2")
    seen = []
    server.during_load = lambda version: seen.append((version, server.served(), first.closed))
    server.settle()
    assert seen == [(2, 1, False)]
    assert (server.served(), first.closed) == (2, True)
    assert server.states() == {2: "AVAILABLE", 1: "END"}


def test_an_unload_waits_for_the_requests_in_flight(server: Server) -> None:
    server.put("1")
    server.settle()
    with server.versions.use(model_spec("m")) as (_, first):
        server.put("2")
        swap = threading.Thread(target=server.settle)
        swap.start()
        wait_until("version 1 is being unloaded", lambda: server.states()[1] == "UNLOADING")
        assert server.served() == 2
        assert not first.closed
    swap.join(10)
    assert first.closed
    assert server.states()[1] == "END"


def test_a_corrupt_new_version_is_tried_and_ends_while_the_old_one_serves(server: Server) -> None:
    server.put("1")
    server.settle()
    server.put("2")
    server.failures = {2: 99}
    during = []
    server.during_load = lambda version: during.append(server.states()[version])
    server.settle()
    assert server.loaded == [1, 2, 2, 2]
    assert during == ["LOADING"] * 3
    assert server.served() == 1
    number, state, error = server.versions.states()[0]
    assert (number, state, str(error)) == (2, serving_pb2.ModelVersionStatus.END, "NOT_FOUND: no model in 2")


def test_a_version_that_loads_at_a_later_try_serves(server: Server) -> None:
    server.put("1")
    server.failures = {1: 2}
    server.settle()
    assert server.loaded == [1, 1, 1]
    assert server.served() == 1


def test_a_version_that_ended_is_not_tried_again_but_a_higher_one_is(server: Server) -> None:
    server.put("1")
    server.settle()
    server.put("2")
    server.failures = {2: 3}
    server.settle()
    server.settle()  # by now it would load
    assert server.served() == 1
    (server.base / "2").rmdir()
    server.settle()
    server.put("2")
    server.settle()
    assert server.loaded == [1, 2, 2, 2]
    server.put("3")
    server.settle()
    assert server.served() == 3
    assert server.states() == {3: "AVAILABLE", 2: "END", 1: "END"}


def test_without_the_newest_folder_the_one_below_is_served_again(server: Server) -> None:
    server.put("1", "2")
    server.settle()
    (server.base / "2").rmdir()
    server.settle()
    assert server.served() == 1
    assert server.states() == {2: "END", 1: "AVAILABLE"}


def test_a_version_wanted_again_while_it_goes_comes_back_once_it_is_gone(server: Server) -> None:
    server.put("1")
    server.settle()
    server.put("2")
    with server.versions.use(model_spec("m")):
        swap = threading.Thread(target=server.settle)
        swap.start()
        wait_until("version 1 is being unloaded", lambda: server.states()[1] == "UNLOADING")
        (server.base / "2").rmdir()
        server.versions.poll()
        assert not server.versions.step()
        assert server.served() == 2
    swap.join(10)
    server.settle()
    assert server.served() == 1


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


def test_a_load_that_succeeds_after_a_newer_version_appeared_is_closed(server: Server) -> None:
    server.put("1")
    made: list[Double] = []
    load = server.load

    def load_and_publish(folder: str) -> Double:
        made.append(load(folder))
        if len(made) == 1:
            server.put("2")
            server.versions.poll()
        return made[-1]

    server.versions._load_model = load_and_publish
    server.settle()
    assert made[0].closed
    assert str(server.versions.states()[-1][2]) == "CANCELLED: Loading of servable cancelled"
    assert server.served() == 2


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


def test_a_version_that_does_not_serve_is_named(server: Server) -> None:
    for number, wanted in ((4, "Specific(m, 4)"), (None, "Latest(m)")):
        with pytest.raises(StatusError) as refused, server.versions.use(model_spec("m", number)):
            pass
        assert str(refused.value) == f"NOT_FOUND: Servable not found for request: {wanted}"


def test_the_start_waits_until_a_version_is_there(tmp_path: Path) -> None:
    server = Server(tmp_path / "m")
    server.versions.start()
    waiting = threading.Thread(target=server.versions.wait_until_served)
    waiting.start()
    assert server.served() is None
    (tmp_path / "m").mkdir()
    server.put("1")
    waiting.join(10)
    assert not waiting.is_alive()
    assert server.served() == 1


def test_a_corrupt_newest_version_fails_the_start_though_an_older_one_is_there(server: Server) -> None:
    server.put("1", "2")
    server.failures = {2: 99}
    server.versions.start()
    with pytest.raises(StatusError) as failed:
        server.versions.wait_until_served()
    assert str(failed.value) == (
        "UNKNOWN: 1 servable(s) did not become available: {{{name: m version: 2} due to error: NOT_FOUND: no model in 2}, }"
    )
    assert server.loaded == [2, 2, 2]


def test_a_newer_version_passes_one_whose_load_hangs(tmp_path: Path) -> None:
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


def test_the_longest_retry_interval_is_waited_for_and_not_an_error(tmp_path: Path) -> None:
    server = Server(tmp_path, retries=1, retry_s=(2**63 - 1) / 1e6)
    server.put("1")
    server.failures = {1: 1}
    server.versions.poll()
    server.versions.step()
    wait_until("the first try has failed", lambda: server.failures == {1: 0})
    time.sleep(0.2)  # an OverflowError would have ended the load by now
    assert server.states() == {1: "LOADING"}
