"""Whether a candidate may take a baseline's place: on the validation part, which neither was fitted to, and on the golden drawings.

The test split has no say.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pynumdraw import ink
from pynumdraw.store import ModelStore
from trainer import metrics, non_digits, strokes
from trainer.dataset import Digits, load_digits, split
from trainer.drawings import Drawings, load_golden
from trainer.errors import Refused
from trainer.evaluate import Answers, ask, latency, size_mb
from trainer.export import open_session

# What a candidate may be worse by. At n = 5,000 the accuracy of one model varies by about 0.1 % from seed to seed.
_ACCURACY, _DIGIT_ACCURACY, _ECE, _REJECTED, _LET_THROUGH = 0.002, 0.01, 0.004, 0.005, 0.03
_SIZE_MB = 4.0
_LATENCY = 1.5  # times the baseline's, and nothing is said below …
_LATENCY_MS = 0.6
_SEED = 8_000_009


@dataclass(frozen=True)
class Check:
    """One thing that is asked of the candidate."""

    name: str
    passed: bool
    reason: str

    def __str__(self) -> str:
        return f"{'pass' if self.passed else 'FAIL'}  {self.name}: {self.reason}"


def gate(store: ModelStore, candidate: int, baseline: int, data: Path, golden: Path) -> list[Check]:
    """All checks, passed or not. Raises StoreError for a version that is missing or corrupt, Refused where nothing can be compared."""
    if candidate == baseline:
        raise Refused(f"the candidate must be another version than the baseline, found {candidate} for both")
    cases = load_golden(golden)
    if not len(cases):
        raise Refused(f"{golden}: wanted golden drawings (<case>.json that expects a digit or not_a_digit), found none")
    _, validation = split(load_digits(data, "train")[0])
    strangers = strokes.draw_many(non_digits.draw_non_digit, 1_000, (_SEED,))
    for version in (baseline, candidate):
        store.verify(version)
    told = [store.manifest(version).get("ink_version") for version in (baseline, candidate)]
    sessions = [open_session(store.path(version), threads=1)[0] for version in (baseline, candidate)]
    digits = [ask(session, validation.images) for session in sessions]
    others = [ask(session, strangers) for session in sessions]
    drawn = [ask(session, cases.frames) for session in sessions]
    return [
        Check("ink", told[1] == ink.INK_VERSION, f"made with ink version {told[1]}, this code's is {ink.INK_VERSION}"),
        *_on_validation(digits, validation),
        _at_most("non-digits let through", [float(a["accepted"].mean()) for a in others], _LET_THROUGH),
        _on_golden(drawn, cases),
        check_cost([store.path(version) for version in (baseline, candidate)]),
    ]


def _on_validation(answers: list[Answers], validation: Digits) -> list[Check]:
    old, new = ((a["probabilities"].argmax(axis=1) == validation.labels) for a in answers)
    eces = [metrics.ece(a["probabilities"].max(axis=1), right) for a, right in zip(answers, (old, new), strict=True)]
    lost = {digit: float(old[at].mean() - new[at].mean()) for digit in range(10) if (at := validation.labels == digit).any()}
    worst = max(lost, key=lost.__getitem__)
    return [
        _at_most("errors", [1 - float(old.mean()), 1 - float(new.mean())], _ACCURACY),
        Check("each digit", lost[worst] <= _DIGIT_ACCURACY, f"the {worst} lost most, {lost[worst]:.2%}, allowed {_DIGIT_ACCURACY:.2%}"),
        _at_most("ECE", eces, _ECE),
        _at_most("digits rejected", [float((~a["accepted"]).mean()) for a in answers], _REJECTED),
    ]


def _at_most(name: str, figures: list[float], slack: float) -> Check:
    old, new = figures
    return Check(name, new <= old + slack, f"{new:.3%}, the baseline's {old:.3%}, allowed {old + slack:.3%}")


def _on_golden(answers: list[Answers], cases: Drawings) -> Check:
    """No golden case that the baseline answers rightly may go wrong."""
    old, new = (_right(a, cases) for a in answers)
    lost = [str(row["case"]) for row, was, now in zip(cases.rows, old, new, strict=True) if was and not now]
    return Check(
        "golden drawings", not lost, f"{new.sum()} of {len(new)} right, the baseline {old.sum()}; lost: {', '.join(lost) or 'none'}"
    )


def _right(answers: Answers, cases: Drawings) -> np.ndarray:
    guess = np.where(answers["accepted"], answers["probabilities"].argmax(axis=1), -1)
    return guess == np.array([row["expect"].get("digit", -1) for row in cases.rows])


def check_cost(folders: list[Path]) -> Check:
    (old, _), (new, _) = (latency(folder) for folder in folders)
    size, allowed = size_mb(folders[1]), max(_LATENCY * old, _LATENCY_MS)
    reason = f"{size:.2f} MB, allowed {_SIZE_MB:.0f}; {new:.2f} ms an image on one thread, allowed {allowed:.2f}"
    return Check("cost", size <= _SIZE_MB and new <= allowed, reason)
