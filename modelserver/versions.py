"""Which version of the model is on disk, loaded and served: the newest one, loaded before the one before it is unloaded.

Follows tensorflow_serving/{sources/storage_path/file_system_storage_path_source,core/aspired_versions_manager,
core/availability_preserving_policy,core/loader_harness,util/retrier}.cc under the policy `latest { num_versions: 1 }`. In their words a
version is *aspired* while the last poll wanted it. `poll` looks at the disk, `step` takes one decision and acts on it; `start` runs both
in a thread. Each load has a thread of its own, as with `--num_load_threads` there: a version that is tried again holds up no other.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from modelserver.errors import StatusError, invalid, not_found
from modelserver.integers import integer
from modelserver.runtime import SavedModel
from pynumdraw.wire import serving_pb2

log = logging.getLogger(__name__)

Status = serving_pb2.ModelVersionStatus


@dataclass(eq=False)
class Version:
    """A version that was ever seen. END without an error: it was unloaded."""

    number: int
    folder: str
    state: Status.State = Status.START
    error: StatusError | None = None
    model: SavedModel | None = None
    in_flight: int = 0  # calls that use the model now


class Versions:
    """The versions of one model under one folder. All methods may be called from any thread."""

    def __init__(
        self, name: str, base_path: str, load: Callable[[str], SavedModel], poll_s: float = 1.0, retries: int = 5, retry_s: float = 60.0
    ) -> None:
        """load: makes a model of a version's folder, or raises StatusError. retries: further tries to load, one each `retry_s`."""
        self.name, self._base, self._load_model = name, base_path, load
        self._poll_s, self._retries, self._retry_s = poll_s, retries, retry_s
        self._changed = threading.Condition()  # guards all below
        self._seen: dict[int, Version] = {}
        self._aspired: Version | None = None

    @contextmanager
    def use(self, spec: serving_pb2.ModelSpec) -> Iterator[tuple[int, SavedModel]]:
        """The version that `spec` names, or the newest available one, kept loaded for the length of a `with`. StatusError where none is."""
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        if spec.HasField("version_label"):  # labels come from a model_config_file, which the stand-in refuses
            raise invalid(f"Unrecognized servable version label: {spec.version_label}")
        number = spec.version.value if spec.HasField("version") else None
        with self._changed:
            available = [v for v in self._seen.values() if v.state == Status.AVAILABLE and number in (None, v.number)]
            version = max(available, key=lambda v: v.number, default=None)
            if spec.name != self.name or version is None or version.model is None:
                wanted = f"Latest({spec.name})" if number is None else f"Specific({spec.name}, {number})"
                raise not_found(f"Servable not found for request: {wanted}")
            version.in_flight += 1
        try:
            yield version.number, version.model
        finally:
            with self._changed:
                version.in_flight -= 1
                if version.state == Status.UNLOADING:  # which waits for the last call
                    self._changed.notify_all()

    def states(self) -> list[tuple[int, Status.State, StatusError | None]]:
        """(version, state, why it failed) of every version ever seen, the highest first."""
        with self._changed:
            return [(v.number, v.state, v.error) for v in sorted(self._seen.values(), key=lambda v: -v.number)]

    def start(self) -> None:
        """Poll and decide from now on, in a thread that ends with the process."""
        threading.Thread(target=self._run, name="versions", daemon=True).start()

    def wait_until_served(self) -> None:
        """Return once a version is available; StatusError UNKNOWN where the newest that came to an end failed. There is no time limit."""
        with self._changed:
            while not (decided := [each for each in self.states() if each[1] in (Status.AVAILABLE, Status.END)]):
                self._changed.wait()
        number, state, error = decided[0]
        if state == Status.END:
            raise StatusError(
                serving_pb2.UNKNOWN,
                f"1 servable(s) did not become available: {{{{{self._label(number)} due to error: {error or 'it was unloaded'}}}, }}",
            )

    def _run(self) -> None:
        while True:
            self.poll()
            next_poll = time.monotonic() + self._poll_s
            while self.step() or time.monotonic() < next_poll:
                with self._changed:
                    if self._next() is None:
                        self._changed.wait(max(0.0, next_poll - time.monotonic()))

    def poll(self) -> None:
        """Look at the folder once: the newest version there becomes the aspired one."""
        try:
            names = sorted(os.listdir(self._base))
        except OSError as exc:
            log.error("Could not find base path %s for servable %s with error %s", self._base, self.name, exc)
            return  # what is loaded stays
        found = {number: name for name in names if (number := integer(name)) is not None}
        if not found:
            log.warning("No versions of servable %s found under base path %s: no folder's name is a number", self.name, self._base)
        newest = max(found, default=None)
        with self._changed:
            if self._aspired is not None and newest == self._aspired.number:
                return  # seen before; if its load failed, it is not tried again
            if newest in self._seen and self._seen[newest].state != Status.END:
                return  # it is on its way out and can only come back once it is gone
            self._aspired = None
            if newest is not None:
                self._aspired = self._seen[newest] = Version(newest, os.path.join(self._base, found[newest]))
                self._set(self._aspired, Status.START)

    def step(self) -> bool:
        """Take one decision and act on it; False where there is nothing to do."""
        with self._changed:
            version = self._next()
            if version is None:
                return False
            loads = version.state == Status.START
            self._set(version, Status.LOADING if loads else Status.UNLOADING)
        if loads:
            threading.Thread(target=self._load, args=(version,), name=f"load-{version.number}", daemon=True).start()
        else:
            self._unload(version)
        return True

    def _next(self) -> Version | None:
        """The version to unload or to load next. Called with the lock held."""
        aspired = self._aspired
        unwanted = [v for v in self._seen.values() if v.state == Status.AVAILABLE and v is not aspired]
        if unwanted and (aspired is None or aspired.state == Status.AVAILABLE or len(unwanted) > 1):
            return min(unwanted, key=lambda v: v.number)
        return aspired if aspired is not None and aspired.state == Status.START else None

    def _load(self, version: Version) -> None:
        """Try until it loads, the tries are used up, or another version is aspired."""
        model, error = None, None
        for attempt in range(self._retries + 1):
            if attempt:
                time.sleep(min(max(0.0, self._retry_s), 1e9))  # 31 years; sleep refuses to count 2**63 ns
            try:
                model, error = self._load_model(version.folder), None
            except Exception as exc:  # a fault of ours, too, is that version's end
                error = exc if isinstance(exc, StatusError) else StatusError(serving_pb2.INTERNAL, f"{type(exc).__name__}: {exc}")
                log.error(
                    "Loading servable: %s failed (try %d of %d): %s", self._label(version.number), attempt + 1, self._retries + 1, error
                )
            if model or version is not self._aspired:
                break
        if model and version is not self._aspired:
            model.close()
            model, error = None, StatusError(serving_pb2.CANCELLED, "Loading of servable cancelled")
        with self._changed:
            version.model = model
            self._set(version, Status.AVAILABLE if model else Status.END, error)

    def _unload(self, version: Version) -> None:
        """Close the model once no call uses it."""
        with self._changed:
            self._changed.wait_for(lambda: not version.in_flight)
            model, version.model = version.model, None
        if model:
            model.close()
        self._set(version, Status.END)

    def _set(self, version: Version, state: Status.State, error: StatusError | None = None) -> None:
        with self._changed:
            version.state, version.error = state, error
            self._changed.notify_all()
        log.info("%s is %s%s", self._label(version.number), Status.State.Name(state), f": {error}" if error else "")

    def _label(self, number: int) -> str:
        return f"{{name: {self.name} version: {number}}}"
