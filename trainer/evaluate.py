"""Every metric of the model card, of a published version that runs in a session as in TensorFlow Serving."""

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from pynumdraw import ink
from pynumdraw.store import ModelStore
from trainer import metrics, non_digits, strokes
from trainer.dataset import Digits, load_digits, split
from trainer.drawings import Drawings
from trainer.export import Session, open_session
from trainer.metrics import Metric, Outputs, Scores, percent
from trainer.mixture import NON_DIGIT_SHARES, Mixture
from trainer.workers import in_processes

_SEED = 7_000_003  # of the drawings that are made here; arbitrary, but that of no training run
_SYNTHETIC = 1_000  # drawings of each kind: one is 0.1 %; arbitrary
_ROUNDS = 30  # of measuring the session time: the lowest is then the same within 4 % from run to run on a shared machine
_LISTED_ERRORS = 40  # on the model card's contact sheet, five rows of eight; arbitrary


@dataclass(frozen=True)
class ErrorSheet:
    """Frames that were read wrongly."""

    frames: np.ndarray
    """uint8[N, 28, 28]."""
    captions: list[str]
    """True digit, the digit it was read as, that one's probability."""


@dataclass(frozen=True)
class Evaluation:
    """What was measured of one version."""

    version: int
    manifest: dict[str, Any]
    metrics: list[Metric]
    scores: dict[str, Scores]
    """By the name of the set of digits: "MNIST test" and, where there are any, "pen digits"."""
    mixtures: dict[str, list[Mixture]]
    """By the name of the digits and non-digits: the answers at each of `NON_DIGIT_SHARES`."""
    errors: ErrorSheet
    """The surest errors of each set."""


@dataclass(frozen=True)
class _Predicted:
    """Digits, a version's outputs for them, and their scores."""

    digits: Digits
    outputs: Outputs
    scores: Scores

    @property
    def guess(self) -> np.ndarray:
        return self.outputs["probabilities"].argmax(axis=1)

    @property
    def confidence(self) -> np.ndarray:
        return self.outputs["probabilities"].max(axis=1)

    @property
    def correct(self) -> np.ndarray:
        return self.guess == self.digits.labels


def predict(session: Session, frames: np.ndarray, batch: int = 500) -> Outputs:
    """The session's outputs, by name, for uint8[N, 28, 28]."""
    if not len(frames):
        frames = np.zeros((0, 28, 28), np.uint8)
    parts = [session(frames[i : i + batch]) for i in range(0, max(len(frames), 1), batch)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def evaluate(store: ModelStore, version: int, data: Path, drawings: Drawings | None) -> Evaluation:
    """Measure one version. Raises StoreError for one that is missing or corrupt, Refused for bad data."""
    store.verify(version)
    session, _ = open_session(store.path(version))
    manifest = store.manifest(version)
    test = _predicted(session, load_digits(data, "test")[0])
    by_hand, drawings = drawings.apart(source="hand-made") if drawings else (None, None)
    pen_drawings = drawings.of(kind="digit") if drawings else None
    pens = _predicted(session, Digits(pen_drawings.frames, pen_drawings.labels)) if pen_drawings else None
    _, validation = split(load_digits(data, "train")[0])
    sets = {"MNIST test": test} | ({"pen digits": pens} if pens else {})
    pairs = {"MNIST test and synthetic non-digits": (test, strokes.draw_many(non_digits.draw_unambiguous, _SYNTHETIC, (_SEED, 5)))}
    if drawings and pens and len(others := _letters_and_signs(drawings)):
        pairs["pen digits and unambiguous letters and signs"] = (pens, others)
    prior = float(manifest["calibration"]["prior"])
    mixed = {name: (digits, predict(session, frames)) for name, (digits, frames) in pairs.items()}
    mixtures = {
        name: [Mixture.of(digits.outputs, digits.digits.labels, outputs, prior, share) for share in NON_DIGIT_SHARES]
        for name, (digits, outputs) in mixed.items()
    }
    return Evaluation(
        version,
        manifest,
        [
            *_mnist_metrics(test),
            *_pen_metrics(pens, [str(row.get("writer", "")) for row in pen_drawings.rows] if pen_drawings else []),
            *_non_digit_metrics(session, pens, drawings),
            *_hand_made_metrics(session, by_hand),
            *(
                row
                for name, pair in mixed.items()
                for row in _confidence_metrics(name, *pair, mixtures[name], "MNIST" if pair[0] is test else "pen digits")
            ),
            *_rejection_metrics(session, validation),
            *_cost_metrics(store.path(version), manifest),
        ],
        {name: each.scores for name, each in sets.items()},
        mixtures,
        _surest_errors(list(sets.values())),
    )


def rejection_sets(validation: Digits) -> dict[str, np.ndarray]:
    """Frames uint8[N, 28, 28] that are to be rejected and need no drawing by a person, by kind."""

    def drawings(draw: Callable[[np.random.Generator], Any], seed: int) -> np.ndarray:
        return strokes.draw_many(draw, _SYNTHETIC, (_SEED, seed))

    doodles = (non_digits.figure, non_digits.scribble, non_digits.one_stroke, non_digits.invented_character)
    rng = np.random.default_rng(_SEED)
    grain = rng.choice([20, 60, 120], (_SYNTHETIC, 1, 1))
    noise = np.where(
        np.arange(_SYNTHETIC)[:, None, None] % 2,
        rng.integers(0, 256, (_SYNTHETIC, 28, 28)),
        np.abs(rng.normal(0, grain, (_SYNTHETIC, 28, 28))),
    )
    pairs = validation.images[: 2 * _SYNTHETIC].reshape(-1, 2, 28, 28)
    return {
        "doodles": drawings(lambda rng: doodles[rng.integers(len(doodles))](rng), 1),
        "noise": np.clip(noise, 0, 255).astype(np.uint8),
        "clothing-like shapes": drawings(non_digits.blob, 2),
        "blank": np.zeros((1, 28, 28), np.uint8),
        "full ink": np.full((1, 28, 28), 255, np.uint8),
        "two digits side by side, drawn": drawings(non_digits.several_digits, 3),
        "two digits side by side, MNIST": np.stack(
            [ink.frame_from_picture(np.concatenate([left[:, 3:25], right[:, 3:25]], 1)) for left, right in pairs]
        ),
        "letters of our own design": drawings(non_digits.letter, 4),
    }


def latency_ms(*folders: Path) -> list[tuple[float, float]]:
    """For each version, session time per image on one thread: ms for one image a call, and ms with 64 images a call.

    The lowest of the rounds' medians, since other programs on the machine only ever add. In a process of its own, since the first session
    of a process decides how many threads all have.
    """
    return in_processes(_latency_ms, [(folder,) for folder in folders], 1)


def size_mb(folder: Path) -> float:
    """Size of the file that a server loads, 10^6 bytes."""
    return (folder / "saved_model.pb").stat().st_size / 1e6


def _predicted(session: Session, digits: Digits) -> _Predicted:
    outputs = predict(session, digits.images)
    return _Predicted(digits, outputs, metrics.score(outputs["probabilities"], digits.labels))


def _mnist_metrics(test: _Predicted) -> list[Metric]:
    scores, conditions = test.scores, f"MNIST test, n {test.scores.n}, one model, no test-time augmentation"
    return [
        percent("MNIST accuracy", scores.accuracy, conditions),
        Metric("MNIST NLL", scores.nll, "nats", conditions),
        Metric("MNIST ECE", scores.ece, "", f"{conditions}; {metrics.ECE_BINS} bins"),
        Metric("MNIST ECE of a perfectly calibrated model", scores.ece_floor, "", "the same predictions, simulated 200 times"),
        percent("MNIST digits rejected", _rejected(test.outputs), conditions),
    ]


def _worst_digit(pens: _Predicted) -> float:
    return min(float(pens.correct[pens.digits.labels == digit].mean()) for digit in np.unique(pens.digits.labels))


def _pen_metrics(pens: _Predicted | None, writers: Sequence[str]) -> list[Metric]:
    def of(measure: Callable[[_Predicted], float]) -> float | None:
        return measure(pens) if pens else None

    conditions = "no `--drawings` with digits given"
    worst_conditions, worst = conditions, None
    if pens:
        conditions = f"n {pens.scores.n}, {len(set(writers))} writers, none of them MNIST's, through `pynumdraw.ink`"
        worst_conditions, worst = "of writers with at least 20 drawings", metrics.worst_writer(writers, pens.correct)
    return [
        percent("pen digits: accuracy", of(lambda p: p.scores.accuracy), conditions),
        percent("pen digits: accuracy of the worst digit", of(_worst_digit), conditions if pens is None else "of the ten digits"),
        percent("pen digits: accuracy of the worst writer", worst[1] if worst else None, worst_conditions),
        Metric("pen digits: NLL", of(lambda p: p.scores.nll), "nats", conditions),
        Metric("pen digits: ECE", of(lambda p: p.scores.ece), "", conditions),
        Metric("pen digits: ECE of a perfectly calibrated model", of(lambda p: p.scores.ece_floor), "", conditions),
        percent(
            "pen digits: answered at 99.5 % accuracy",
            of(lambda p: metrics.coverage_at_accuracy(p.confidence, p.correct, 0.995)),
            conditions,
        ),
        percent("pen digits: wrongly rejected", of(lambda p: _rejected(p.outputs)), conditions),
    ]


def _non_digit_metrics(session: Session, pens: _Predicted | None, drawings: Drawings | None) -> list[Metric]:
    """How well the version tells each kind of non-digits from digits, both drawn by people."""
    kinds: dict[str, dict[str, object]] = {
        "letters": {"kind": "letter", "ambiguous": False},
        "signs": {"kind": "symbol", "ambiguous": False},
        "Omniglot": {"kind": "omniglot"},
    }
    rows = []
    for name, fields in kinds.items():
        frames, conditions = np.zeros((0, 28, 28), np.uint8), "no `--drawings` given"
        if drawings and pens:
            frames = drawings.of(**fields).frames
            conditions = f"{len(frames)}{' unambiguous' if 'ambiguous' in fields else ''} against the pen digits"
        auroc = fpr = accepted = None
        if pens and len(frames):
            outputs = predict(session, frames)
            digit, non_digit = pens.outputs["is_digit_probability"], outputs["is_digit_probability"]
            auroc, fpr, accepted = metrics.auroc(digit, non_digit), metrics.fpr_at_tpr(digit, non_digit), 1 - _rejected(outputs)
        rows += [
            Metric(f"{name}: AUROC", auroc, "", conditions),
            percent(f"{name}: FPR at 95 % TPR", fpr, conditions),
            percent(f"{name}: let through", accepted, f"{conditions}, at the served threshold" if pens else conditions),
        ]
    return rows


def _hand_made_metrics(session: Session, drawings: Drawings | None) -> list[Metric]:
    """Of the drawings of the source "hand-made", digits and other things: how many are answered rightly or refused."""
    names = ("hand-made: right or refused", "hand-made digits: right", "hand-made non-digits: rejected")
    digits, others = drawings.apart(kind="digit") if drawings else (None, None)
    if not (digits and others):
        return [percent(name, None, "no hand-made `--drawings` given") for name in names]
    read, rejected = _predicted(session, Digits(digits.frames, digits.labels)), ~predict(session, others.frames)["accepted"]
    correct, accepted = read.correct, read.outputs["accepted"]
    shares = (np.concatenate([correct | ~accepted, rejected]).mean(), (correct & accepted).mean(), rejected.mean())
    conditions = (
        f"n {len(digits) + len(others)}, made by hand, not by `trainer`; a digit is right if read as labelled, another thing if refused",
        f"n {len(digits)}, of few points each; read as labelled, not refused",
        f"n {len(others)}: signs, ticks, arrows, smileys, hearts, bare lines",
    )
    return [percent(name, float(share), condition) for name, share, condition in zip(names, shares, conditions, strict=True)]


def _letters_and_signs(drawings: Drawings) -> np.ndarray:
    return np.concatenate([drawings.of(kind=kind, ambiguous=False).frames for kind in ("letter", "symbol")])


def _confidence_metrics(name: str, digits: _Predicted, non_digits: Outputs, mixtures: Sequence[Mixture], prefix: str) -> list[Metric]:
    """What `confidence` is worth among digits and non-digits, at each mix and as served. prefix: of the metrics' names."""
    counts = f"{name}: {digits.scores.n} and {len(non_digits['accepted'])}"
    rows = []
    for share, mixture in zip(NON_DIGIT_SHARES, mixtures, strict=True):
        low, high = mixture.ece_interval()
        mix = f"{prefix}: confidence, {share:.0%} non-digits"
        how = f"{counts}, weighted to the mix, odds shifted to it; in brackets the 95 % interval by bootstrap"
        rows += [
            Metric(f"{mix}: ECE", mixture.ece(), "", how, (low, high)),
            Metric(f"{mix}: NLL", mixture.nll(), "nats", f"{counts}; of the answers, each right or wrong"),
            percent(f"{mix}: right from 0.99 on", mixture.accuracy_from(0.99), f"{counts}; of the answers with that confidence"),
        ]
    for title, outputs in (("digits", digits.outputs), ("non-digits", non_digits)):
        sure = float((outputs["accepted"] & (outputs["confidence"] >= 0.9)).mean())
        rows.append(percent(f"{prefix}: confidence as served, {title} answered with 0.9 or more", sure, counts))
    return rows


def _rejection_metrics(session: Session, validation: Digits) -> list[Metric]:
    return [
        percent(f"{kind} rejected", _rejected(predict(session, frames)), f"n {len(frames)}, drawn by `trainer`, seed {_SEED}")
        for kind, frames in rejection_sets(validation).items()
    ]


def _cost_metrics(folder: Path, manifest: dict[str, Any]) -> list[Metric]:
    ((one, many),) = latency_ms(folder)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, TensorFlow {tf.__version__}, one thread, lowest of {_ROUNDS} medians"
    return [
        Metric("session time of an image, one by one", one, "ms", machine),
        Metric("throughput in batches of 64 against one by one", one / many, "times", machine),
        Metric("size of the SavedModel", size_mb(folder), "MB", "saved_model.pb"),
        Metric("size of the network", manifest.get("parameters"), "parameters", "normalisation folded in"),
    ]


def _rejected(outputs: Outputs) -> float:
    return float((~outputs["accepted"]).mean())


def _surest_errors(sets: Sequence[_Predicted]) -> ErrorSheet:
    frames, captions = [], []
    for predicted in sets:
        wrong = np.flatnonzero(~predicted.correct)
        wrong = wrong[np.argsort(-predicted.confidence[wrong])][:_LISTED_ERRORS]
        labels, guess, confidence = predicted.digits.labels, predicted.guess, predicted.confidence
        frames.append(predicted.digits.images[wrong])
        captions += [f"{labels[k]} as {guess[k]}, {confidence[k]:.2f}" for k in wrong]
    return ErrorSheet(np.concatenate(frames), captions)


def _latency_ms(folder: Path) -> tuple[float, float]:
    session, _ = open_session(folder, threads=1)
    frames = np.random.default_rng(0).integers(0, 256, (64, 28, 28), np.uint8)
    rounds = [(_median_ms(lambda: session(frames[:1]), 100), _median_ms(lambda: session(frames), 10) / 64) for _ in range(_ROUNDS)]
    one, many = np.min(rounds, axis=0)
    return float(one), float(many)


def _median_ms(call: Callable[[], object], runs: int) -> float:
    """Of so many runs, after three that are not counted."""
    times = []
    for _ in range(runs + 3):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return float(np.median(times[3:]) * 1e3)
