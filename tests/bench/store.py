"""What checking a version costs: its graph, and with signing the whole command that a serving pod runs before it starts."""

import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from pynumdraw.store import ModelStore, SigningKey
from pynumdraw.store.graph import check_graph
from pynumdraw.store.signing import make_key
from tests import stack

ROUNDS = 5  # of each; the medians are printed


def costs(root: Path, name: str = "digits") -> Iterator[str]:
    """Lines about the newest version of a store."""
    number = ModelStore(root, name).versions()[-1]
    version = ModelStore(root, name).path(number)
    check_s = median(_seconds(lambda: check_graph(version, number)) for _ in range(ROUNDS))
    yield f"store     the graph of version {number} is checked in {check_s * 1000:.0f} ms"
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        private, public = make_key(Path(scratch) / "keys")
        shutil.copytree(version, Path(scratch) / "store" / name / str(number))
        SigningKey(private).sign(Path(scratch) / "store" / name / str(number))
        fetch = ["fetch", f"--store={scratch}/store", f"--name={name}", f"--version={number}", f"--to={scratch}/pod"]
        seconds: dict[str, list[tuple[float, float]]] = {"without": [], "with": []}
        for _ in range(ROUNDS):
            for signing, flags in (("without", []), ("with", [f"--trusted-keys={public}"])):
                before = _processor_s()
                whole_s = _seconds(lambda flags=flags: _run([*fetch, *flags]))
                seconds[signing].append((whole_s, _processor_s() - before))
                shutil.rmtree(f"{scratch}/pod")
    for signing, runs in seconds.items():
        whole_s, processor_s = (median(column) for column in zip(*runs, strict=True))
        yield f"store     fetch as a command, {signing} signing: {whole_s:.2f} s, of which processor {processor_s:.2f} s"


def _run(arguments: list[str]) -> None:
    subprocess.run([sys.executable, "-m", "pynumdraw.store", *arguments], cwd=stack.ROOT, check=True, stdout=subprocess.DEVNULL)


def _processor_s() -> float:
    """Processor seconds of the child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _seconds(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin
