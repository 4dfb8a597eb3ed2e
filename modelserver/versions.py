"""Which versions of the model are on disk, loaded and served: found by polling, the newest one loaded before the one before it is unloaded.

Follows tensorflow_serving/{sources/storage_path/file_system_storage_path_source,core/aspired_versions_manager,core/basic_manager,
core/availability_preserving_policy,core/loader_harness,util/retrier}.cc. In their words a version is *aspired* while the last poll
wanted it. `poll` looks at the disk, `step` takes one decision and acts on it; `start` runs both in threads of their own.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from modelserver.errors import StatusError, invalid, not_found
from modelserver.integers import integer
from pynumdraw.wire import serving_pb2

log = logging.getLogger(__name__)

Status = serving_pb2.ModelVersionStatus


class Servable(Protocol):
    """What a loader makes of a version's folder."""

    def close(self) -> None: ...


S = TypeVar("S", bound=Servable)


@dataclass(eq=False)
class _Version(Generic[S]):
    number: int
    folder: str
    aspired: bool = True
    phase: str = "new"  # new → loading → ready → unloading → gone; loading → failed
    servable: S | None = None
    in_flight: int = 0


@dataclass(frozen=True)
class LoadPolicy:
    """How versions are looked for, loaded and unloaded; the defaults are TensorFlow Serving's."""

    poll_s: int = 1  # 0 = look once, negative = never
    load_threads: int = 0  # 0 = in the thread that takes the decisions, which then takes none
    unload_threads: int = 0
    max_retries: int = 5
    retry_interval_s: float = 60.0


class Versions(Generic[S]):
    """The versions of one model under one folder. All methods may be called from any thread."""

    def __init__(self, name: str, base_path: str, load: Callable[[int, str], S], policy: LoadPolicy = LoadPolicy()) -> None:
        """load: makes a servable of a version's number and folder, or raises StatusError."""
        if not base_path.startswith("/"):
            raise invalid(f"Expected model {name} to have an absolute path or URI; got base_path()={base_path}")
        self.name, self._base, self._load_servable, self._policy = name, base_path, load, policy
        self._changed = threading.Condition()  # guards all below
        self._managed: dict[int, _Version[S]] = {}
        self._wanted: dict[int, str] | None = None  # what the last poll found and no decision has taken up yet
        self._states: dict[int, tuple[Status.State, StatusError | None]] = {}
        self._loader: ThreadPoolExecutor | None = ThreadPoolExecutor(4 * (os.cpu_count() or 1), "first-load")
        self._unloader = ThreadPoolExecutor(policy.unload_threads, "unload") if policy.unload_threads else None

    # What is served

    @contextmanager
    def use(self, version: int | None = None) -> Iterator[tuple[int, S]]:
        """That version, or the newest available one, kept loaded for the length of a `with`. StatusError NOT_FOUND where none serves."""
        with self._changed:
            ready = [v for v in self._managed.values() if v.phase == "ready" and version in (None, v.number)]
            if not ready:
                wanted = f"Latest({self.name})" if version is None else f"Specific({self.name}, {version})"
                raise not_found(f"Servable not found for request: {wanted}")
            used = max(ready, key=lambda v: v.number)
            used.in_flight += 1
            assert used.servable is not None
        try:
            yield used.number, used.servable
        finally:
            with self._changed:
                used.in_flight -= 1
                if not used.in_flight and used.phase == "unloading":
                    self._changed.notify_all()

    def states(self) -> list[tuple[int, Status.State, StatusError | None]]:
        """(version, state, why it failed) of every version ever seen, the highest first."""
        with self._changed:
            return [(number, *self._states[number]) for number in sorted(self._states, reverse=True)]

    # Start

    def start(self) -> None:
        """Poll and decide from now on, in threads that end with the process."""
        if self._policy.poll_s >= 0:
            threading.Thread(target=self._poll_forever, name="poll", daemon=True).start()
        threading.Thread(target=self._step_forever, name="versions", daemon=True).start()

    def wait_until_served(self) -> None:
        """Return once a version is available; StatusError UNKNOWN where the newest that came to an end failed. There is no time limit."""
        decided: tuple[int, Status.State, StatusError | None] | None = None
        with self._changed:
            while decided is None:
                decided = next((s for s in self.states() if s[1] in (Status.AVAILABLE, Status.END)), None)
                if decided is None:
                    self._changed.wait()
            first, self._loader = self._loader, None
        if first:
            first.shutdown()  # every load that was begun comes to its end first, as in TensorFlow Serving
        number, state, error = decided
        if state == Status.END:
            raise StatusError(
                serving_pb2.UNKNOWN,
                f"1 servable(s) did not become available: {{{{{self._label(number)} due to error: {error or 'it was unloaded'}}}, }}",
            )
        with self._changed:
            if self._policy.load_threads:
                self._loader = ThreadPoolExecutor(self._policy.load_threads, "load")

    def _poll_forever(self) -> None:
        self.poll()
        while self._policy.poll_s:
            time.sleep(self._policy.poll_s)
            self.poll()

    def _step_forever(self) -> None:
        while True:
            with self._changed:
                while (version := self._decide()) is None:
                    self._changed.wait()
            self._act(version)

    # Decisions

    def poll(self) -> None:
        """Look at the folder once and remember the newest version there, or that there is none."""
        try:
            names = sorted(os.listdir(self._base))
        except OSError as exc:
            log.error(
                "FileSystemStoragePathSource encountered a filesystem access error: "
                "Could not find base path %s for servable %s with error %s",
                self._base, self.name, exc,
            )  # fmt: skip
            return  # what is loaded stays
        found = {number: name for name in names if (number := integer(name)) is not None}
        if not found:
            log.warning(
                "No versions of servable %s found under base path %s. Did you forget to name your leaf directory as a number (eg. '/1/')?",
                self.name, self._base,
            )  # fmt: skip
        with self._changed:
            self._wanted = {number: os.path.join(self._base, found[number]) for number in sorted(found)[-1:]}
            self._changed.notify_all()

    def step(self) -> bool:
        """Take one decision and act on it; False where there is nothing to do."""
        with self._changed:
            version = self._decide()
        if version:
            self._act(version)
        return version is not None

    def _decide(self) -> _Version[S] | None:
        """The version to load or unload next, its phase already changed. Called with the lock held."""
        for version in list(self._managed.values()):
            if not version.aspired and version.phase in ("new", "failed", "gone"):
                del self._managed[version.number]
        # A version that is on its way out can only be wanted again once it is gone; until then the whole wish waits.
        if self._wanted is not None and not any(n in self._managed and not self._managed[n].aspired for n in self._wanted):
            for number, version in self._managed.items():
                version.aspired = number in self._wanted
            for number, folder in self._wanted.items():
                if number not in self._managed:
                    self._managed[number] = _Version(number, folder)
                    self._publish(number, Status.START)
            self._wanted = None
        managed = self._managed.values()
        unwanted = [v for v in managed if not v.aspired and v.phase == "ready"]
        served = any(v.aspired and v.phase == "ready" for v in managed)
        if unwanted and (served or len(unwanted) > 1 or not any(v.aspired for v in managed)):
            lowest = min(unwanted, key=lambda v: v.number)
            lowest.phase = "unloading"
            return lowest
        fresh = [v for v in managed if v.aspired and v.phase == "new"]
        if fresh:
            highest = max(fresh, key=lambda v: v.number)
            highest.phase = "loading"
            return highest
        return None

    def _act(self, version: _Version[S]) -> None:
        act, pool = (self._load, self._loader) if version.phase == "loading" else (self._unload, self._unloader)
        if pool:
            pool.submit(act, version)
        else:
            act(version)

    # Loading and unloading

    def _load(self, version: _Version[S]) -> None:
        what = f"Loading servable: {self._label(version.number)}"
        self._publish(version.number, Status.LOADING)
        tries, servable, error = 0, None, None
        while servable is None and tries <= self._policy.max_retries and (version.aspired or not tries):
            if tries:
                time.sleep(max(0.0, self._policy.retry_interval_s))
                log.info("Retrying of %s retry: %d", what, tries)
            try:
                servable = self._load_servable(version.number, version.folder)
            except StatusError as exc:
                error = exc
                log.error("%s failed: %s", what, exc)
            except Exception as exc:  # a fault of ours must not end the thread that decides
                error = StatusError(serving_pb2.INTERNAL, f"{type(exc).__name__}: {exc}")
                log.exception("%s failed", what)
            tries += 1
        if servable and not version.aspired:
            servable.close()
            servable, error = None, StatusError(serving_pb2.CANCELLED, "Loading of servable cancelled")
        with self._changed:
            version.servable, version.phase = servable, "ready" if servable else "failed"
            self._publish(version.number, Status.AVAILABLE if servable else Status.END, error if not servable else None)
        if not servable and version.aspired:
            log.info("Retrying of %s exhausted max_num_load_retries: %d", what, self._policy.max_retries)

    def _unload(self, version: _Version[S]) -> None:
        self._publish(version.number, Status.UNLOADING)
        with self._changed:
            self._changed.wait_for(lambda: not version.in_flight)
            servable, version.servable = version.servable, None
        if servable:
            servable.close()
        with self._changed:
            version.phase = "gone"
            self._publish(version.number, Status.END)

    def _publish(self, number: int, state: Status.State, error: StatusError | None = None) -> None:
        with self._changed:
            self._states[number] = (state, error)
            self._changed.notify_all()
        log.info("%s is %s%s", self._label(number), Status.State.Name(state), f": {error}" if error else "")

    def _label(self, number: int) -> str:
        return f"{{name: {self.name} version: {number}}}"
