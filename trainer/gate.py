"""Whether a candidate may replace a baseline: on the validation part, to which neither was fitted, and on the golden drawings.

The test split has no part in it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pynumdraw import ink
from pynumdraw.signature import SIGNATURE_VERSION
from pynumdraw.store import ModelStore
from trainer import metrics, non_digits, strokes
from trainer.dataset import Digits, load_digits, split
from trainer.drawings import Drawings, load_golden
from trainer.errors import Refused
from trainer.evaluate import latency_ms, predict, size_mb
from trainer.export import open_session
from trainer.metrics import Metric, Outputs
from trainer.mixture import NON_DIGIT_SHARES, Mixture

# What a candidate may be worse by.
_ERRORS_PERCENT = 0.2  # on 5,000 images the accuracy of one recipe varies by about 0.1 % from seed to seed
_DIGIT_ACCURACY_PERCENT = 1.0  # five of a digit's 500 images; arbitrary
_ECE = 0.004  # arbitrary; the model card's ECE is 0.0012
_JOINT_ECE = 0.01  # of `confidence` among digits and non-digits; its 95 % interval on so many drawings is about as wide
_JOINT_NLL = 0.03  # nats; arbitrary
_REJECTED_PERCENT = 0.5  # arbitrary
_LET_THROUGH_PERCENT = 3.0  # arbitrary; of 1,000 non-digits, a standard deviation is at most 1.6 %

# What a candidate may cost.
_SIZE_MB = 4.0  # arbitrary; about four times the size of the recipe `best`
_LATENCY_FACTOR = 1.5  # times the baseline's; arbitrary …
_LATENCY_MS = 0.6  # … but below this no difference counts; arbitrary

_SEED = 8_000_009  # of the non-digits; arbitrary, but that of no training run


@dataclass(frozen=True)
class Check:
    """One condition that the candidate must meet."""

    name: str
    passed: bool
    reason: str

    def __str__(self) -> str:
        return f"{'pass' if self.passed else 'FAIL'}  {self.name}: {self.reason}"


def gate(store: ModelStore, candidate: int, baseline: int, data: Path, golden: Path) -> list[Check]:
    """All checks of two valid versions, passed or not. Raises Refused where nothing can be compared."""
    cases = load_golden(golden)
    if not len(cases):
        raise Refused(f"{golden}: wanted golden drawings (<case>.json that expects a digit or not_a_digit), found none")
    _, validation = split(load_digits(data, "train")[0])
    frames = strokes.draw_many(non_digits.draw_unambiguous, 1_000, (_SEED,))
    versions = (baseline, candidate)
    manifests = [store.manifest(version) for version in versions]
    for version, manifest in zip(versions, manifests, strict=True):
        if (found := manifest.get("signature_version")) != SIGNATURE_VERSION:
            raise Refused(f"version {version} has signature version {found}, wanted {SIGNATURE_VERSION}, which this code compares")
    sessions = [open_session(store.path(version), threads=1)[0] for version in versions]
    digits = [predict(session, validation.images) for session in sessions]
    others = [predict(session, frames) for session in sessions]
    return [
        check_ink(manifests[1].get("ink_version")),
        *check_validation(digits, validation),
        _at_most("non-digits let through", "%", [100 * float(each["accepted"].mean()) for each in others], _LET_THROUGH_PERCENT),
        *check_confidence(digits, validation, others, [float(manifest["calibration"]["prior"]) for manifest in manifests]),
        check_golden([predict(session, cases.frames) for session in sessions], cases),
        check_cost(*(store.path(version) for version in versions)),
    ]


def check_ink(version: object) -> Check:
    """The candidate must have been trained on frames of this code's rasteriser."""
    return Check("ink", version == ink.INK_VERSION, f"made with ink version {version}, this code's is {ink.INK_VERSION}")


def check_validation(outputs: list[Outputs], validation: Digits) -> list[Check]:
    """On the validation part. outputs: the baseline's and the candidate's, as in the other checks."""
    correct = [each["probabilities"].argmax(axis=1) == validation.labels for each in outputs]
    eces = [metrics.ece(each["probabilities"].max(axis=1), right) for each, right in zip(outputs, correct, strict=True)]
    rejected = [100 * float((~each["accepted"]).mean()) for each in outputs]
    old, new = correct
    rows = {digit: validation.labels == digit for digit in range(10)}
    lost = {digit: 100 * float(old[at].mean() - new[at].mean()) for digit, at in rows.items() if at.any()}
    worst = max(lost, key=lost.__getitem__)
    loss, allowed = Metric("accuracy lost", lost[worst], "%"), Metric("accuracy lost", _DIGIT_ACCURACY_PERCENT, "%")
    return [
        _at_most("errors", "%", [100 * (1 - float(each.mean())) for each in correct], _ERRORS_PERCENT),
        Check("each digit", lost[worst] <= _DIGIT_ACCURACY_PERCENT, f"the {worst} lost most accuracy, {loss}, allowed {allowed}"),
        _at_most("ECE", "", eces, _ECE),
        _at_most("digits rejected", "%", rejected, _REJECTED_PERCENT),
    ]


def check_confidence(digits: list[Outputs], validation: Digits, non_digits: list[Outputs], priors: list[float]) -> list[Check]:
    """Of `confidence` among digits and non-digits, at several mixes of them. Each list has the baseline's and the candidate's."""
    checks = []
    for share in NON_DIGIT_SHARES:
        mixtures = [Mixture.of(*pair, share) for pair in zip(digits, [validation.labels] * 2, non_digits, priors, strict=True)]
        name = f"confidence with {share:.0%} non-digits"
        checks += [
            _at_most(f"{name}, ECE", "", [mixture.ece() for mixture in mixtures], _JOINT_ECE),
            _at_most(f"{name}, NLL", "nats", [mixture.nll() for mixture in mixtures], _JOINT_NLL),
        ]
    return checks


def check_golden(outputs: list[Outputs], cases: Drawings) -> Check:
    """No golden case that the baseline answers correctly may go wrong."""
    old, new = (_correct(each, cases) for each in outputs)
    lost = [str(row["case"]) for row, before, after in zip(cases.rows, old, new, strict=True) if before and not after]
    reason = f"{new.sum()} of {len(new)} right, the baseline {old.sum()}; lost: {', '.join(lost) or 'none'}"
    return Check("golden drawings", not lost, reason)


def check_cost(baseline: Path, candidate: Path) -> Check:
    """The candidate's SavedModel, in its folder, must be small and fast."""
    (old, _), (new, _) = latency_ms(baseline, candidate)
    size, allowed = size_mb(candidate), max(_LATENCY_FACTOR * old, _LATENCY_MS)
    reason = f"{size:.2f} MB, allowed {_SIZE_MB:.0f}; {new:.2f} ms an image on one thread, allowed {allowed:.2f}"
    return Check("cost", size <= _SIZE_MB and new <= allowed, reason)


def _at_most(name: str, unit: str, values: list[float], slack: float) -> Check:
    """values: the baseline's and the candidate's, in `unit`; slack: what the candidate's may be higher by."""
    old, new = values
    shown = {key: Metric(name, value, unit) for key, value in (("new", new), ("old", old), ("allowed", old + slack))}
    return Check(name, new <= old + slack, f"{shown['new']}, the baseline's {shown['old']}, allowed {shown['allowed']}")


def _correct(outputs: Outputs, cases: Drawings) -> np.ndarray:
    guess = np.where(outputs["accepted"], outputs["probabilities"].argmax(axis=1), -1)
    return guess == np.array([row["expect"].get("digit", -1) for row in cases.rows])
