"""`python -m tests.kills --times N`: publishers of signed versions that are killed (-9) at N moments; prints what became of the store.

Each is a forked process that publishes, and is killed after a random share of the time that publishing takes, wherever it is then: in our
code, in the signing library, in a system call. After each kill every version must be valid and signed, none may have changed, and no
number may come back; now and then old versions are pruned, and an undisturbed publisher follows. Exit code 1 where that does not hold.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from pynumdraw.store import ModelStore, SigningKey, TrustedKeys
from pynumdraw.store.files import sha256
from pynumdraw.store.manifest import SIGNATURE
from pynumdraw.store.signing import make_key
from tests.saved_model import saved_model

KEPT = 5  # versions that pruning leaves
PRUNE_EVERY = 20  # kills


def publish(store: ModelStore) -> int:
    """Publish a version of a few files; returns its number."""
    with store.next_version() as draft:
        (draft.folder / "saved_model.pb").write_bytes(saved_model())
        (draft.folder / "report").mkdir()
        for number in range(5):
            (draft.folder / "report" / f"{number}.txt").write_bytes(os.urandom(50_000))
        draft.publish({})
    return draft.number


def seconds_to_publish(store: ModelStore) -> float:
    """How long one takes that nobody disturbs."""
    begin = time.monotonic()
    publish(store)
    return time.monotonic() - begin


def killed(store: ModelStore, after_s: float) -> bool:
    """Publish in a forked process that is killed after so many seconds; whether it had not ended before."""
    process = os.fork()
    if process == 0:
        try:
            publish(store)
        finally:
            os._exit(0)
    time.sleep(after_s)
    os.kill(process, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(process, 0)[1])


def play(store: ModelStore, times: int, seed: int) -> dict[str, int]:
    """Kill so many publishers; returns counts. Raises StoreError for an invalid version, AssertionError for a number that is used twice."""
    rng, seen, counts = random.Random(seed), {}, {"kills": 0, "too late to kill": 0, "published all the same": 0}
    usual_s = min(seconds_to_publish(store) for _ in range(5))
    while counts["kills"] < times:
        before = store.versions()
        in_time = killed(store, rng.uniform(0, usual_s))
        usual_s *= 1.02 if in_time else 0.92  # so that one in five ends first, however fast the machine is now: no moment is left out
        counts["kills" if in_time else "too late to kill"] += 1
        for number in store.versions():
            if number not in before:
                assert number > max(seen), f"number {number} was used before"
                counts["published all the same"] += in_time
            if number not in seen:
                store.verify(number)
                seen[number] = sha256(store.path(number) / SIGNATURE)
        if counts["kills"] % PRUNE_EVERY == 0:
            store.prune(KEPT)
            number = publish(store)
            assert number > max(seen), f"number {number} was used before"
            seen[number] = sha256(store.path(number) / SIGNATURE)
            for number in store.versions():
                store.verify(number)
                assert sha256(store.path(number) / SIGNATURE) == seen[number], f"version {number} has changed"
    leftovers = [name for name in os.listdir(store.folder) if not name.isdigit() and name not in (".lock", ".highest")]
    publish(store)
    rest = [name for name in os.listdir(store.folder) if not name.isdigit() and name not in (".lock", ".highest")]
    assert not rest, f"the next writer left {rest}"
    return counts | {"leftovers of the last": len(leftovers), "versions": len(seen)}


def main() -> int:
    """Play it in a fresh store; print the counts."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description="Kill publishers of signed versions at random moments.")
    parser.add_argument("--times", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        private, public = make_key(Path(folder) / "keys")
        store = ModelStore(Path(folder) / "store", "digits", lambda _: None, TrustedKeys(public), SigningKey(private))
        counts = play(store, args.times, args.seed)
    print(", ".join(f"{what} {count}" for what, count in counts.items()) + "; every version is valid and signed, no number was used twice")
    return 0


if __name__ == "__main__":
    sys.exit(main())
