"""A published version, asked through a session as TensorFlow Serving asks it: every figure of the model card."""

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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
from trainer.workers import in_processes

Answers = dict[str, np.ndarray]
_SEED = 7_000_003  # of what is drawn here; no training run uses it
_SYNTHETIC = 1_000  # drawings of each kind
_ROUNDS = 30  # of measuring the session time: the lowest is then the same within 4 % from run to run on a shared machine


@dataclass
class Evaluation:
    """What was measured of one version."""

    version: int
    manifest: dict[str, Any]
    figures: dict[str, float | None]
    """By name; None: not measured."""
    conditions: dict[str, str]
    """How each figure came about."""
    reliability: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    confusion: np.ndarray = field(default_factory=lambda: np.zeros((10, 10), np.int64))
    worst: tuple[np.ndarray, list[str]] = field(default_factory=lambda: (np.zeros((0, 28, 28), np.uint8), []))


def ask(session: Session, frames: np.ndarray, batch: int = 500) -> Answers:
    """The session's outputs for uint8[N, 28, 28]."""
    if not len(frames):
        frames = np.zeros((0, 28, 28), np.uint8)
    parts = [session(frames[i : i + batch]) for i in range(0, max(len(frames), 1), batch)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def evaluate(store: ModelStore, version: int, data: Path, drawings: Drawings | None) -> Evaluation:
    """Measure one version. Raises StoreError for one that is missing or corrupt, Refused for bad data."""
    store.verify(version)
    session, _ = open_session(store.path(version))
    result = Evaluation(version, store.manifest(version), {}, {})
    test, _ = load_digits(data, "test")
    _measure_test(result, ask(session, test.images), test)
    _measure_drawings(result, session, drawings)
    _, validation = split(load_digits(data, "train")[0])
    for name, frames in synthetic(validation).items():
        _note(
            result,
            f"{name} rejected",
            float((~ask(session, frames)["accepted"]).mean()),
            f"n {len(frames)}, drawn by `trainer`, seed {_SEED}",
        )
    _measure_cost(result, store.path(version))
    return result


def synthetic(validation: Digits) -> dict[str, np.ndarray]:
    """What is to be rejected and needs no drawing by a person: frames by kind."""

    def drawn(draw: Callable[[np.random.Generator], Any], seed: int) -> np.ndarray:
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
        "doodles": drawn(lambda rng: doodles[rng.integers(len(doodles))](rng), 1),
        "noise": np.clip(noise, 0, 255).astype(np.uint8),
        "clothing-like shapes": drawn(non_digits.blob, 2),
        "blank": np.zeros((1, 28, 28), np.uint8),
        "full ink": np.full((1, 28, 28), 255, np.uint8),
        "two digits side by side, drawn": drawn(lambda rng: non_digits.several_digits(rng), 3),
        "two digits side by side, MNIST": np.stack(
            [ink.frame_from_picture(np.concatenate([left[:, 3:25], right[:, 3:25]], 1)) for left, right in pairs]
        ),
        "letters of our own design": drawn(non_digits.letter, 4),
    }


def latency(folder: Path) -> tuple[float, float]:
    """(ms an image of session time asked one by one, the same in batches of 64), on the caller's thread alone.

    The lowest of the rounds' medians: what others do on the machine only ever adds. In a process of its own, since the first session of a
    process decides on the threads of all.
    """
    return in_processes(_latency, [(folder,)], 1)[0]


def _latency(folder: Path) -> tuple[float, float]:
    session, _ = open_session(folder, threads=1)
    frames = np.random.default_rng(0).integers(0, 256, (64, 28, 28), np.uint8)
    spent = [(_median_ms(lambda: session(frames[:1]), 100), _median_ms(lambda: session(frames), 10) / 64) for _ in range(_ROUNDS)]
    one, many = np.min(spent, axis=0)
    return float(one), float(many)


def _median_ms(call: Callable[[], object], runs: int) -> float:
    spent = []
    for _ in range(runs + 3):
        begin = time.perf_counter()
        call()
        spent.append(time.perf_counter() - begin)
    return float(np.median(spent[3:]) * 1e3)


def _note(result: Evaluation, name: str, value: float | None, conditions: str) -> None:
    result.figures[name], result.conditions[name] = value, conditions


def _measure_test(result: Evaluation, answers: Answers, test: Digits) -> None:
    scores = metrics.summary(answers["probabilities"], test.labels)
    conditions = f"MNIST test, n {len(test)}, one model, no test-time augmentation"
    _note(result, "MNIST accuracy", scores["accuracy"], conditions)
    _note(result, "MNIST NLL", scores["nll"], conditions)
    _note(result, "MNIST ECE", scores["ece"], f"{conditions}; 15 bins")
    _note(result, "MNIST ECE of a perfectly calibrated model", scores["ece_floor"], "the same answers, simulated 200 times")
    _note(result, "MNIST digits rejected", float((~answers["accepted"]).mean()), conditions)
    confidence, guess = answers["probabilities"].max(axis=1), answers["probabilities"].argmax(axis=1)
    result.reliability["MNIST test"] = metrics.reliability(confidence, guess == test.labels)
    result.confusion = metrics.confusion(test.labels, guess)
    wrong = np.flatnonzero(guess != test.labels)
    wrong = wrong[np.argsort(-confidence[wrong])][:40]
    words = [f"{test.labels[k]} as {guess[k]}, {confidence[k]:.2f}" for k in wrong]
    result.worst = (test.images[wrong], words)


def _measure_drawings(result: Evaluation, session: Session, drawings: Drawings | None) -> None:
    digits = drawings.of(kind="digit") if drawings else None
    others = {
        "letters": drawings.of(kind="letter", ambiguous=False) if drawings else None,
        "signs": drawings.of(kind="symbol", ambiguous=False) if drawings else None,
        "Omniglot": drawings.of(kind="omniglot") if drawings else None,
    }
    pen_rows = (
        "accuracy",
        "accuracy of the worst writer",
        "NLL",
        "ECE",
        "ECE of a perfectly calibrated model",
        "answered at 99.5 % accuracy",
        "wrongly rejected",
    )
    if not digits:
        for name in pen_rows:
            _note(result, f"pen digits: {name}", None, "no `--drawings` with digits given")
        for kind in others:
            for name in ("AUROC", "FPR at 95 % TPR", "let through"):
                _note(result, f"{kind}: {name}", None, "no `--drawings` given")
        return
    answers, labels = ask(session, digits.frames), digits.labels
    probabilities, guess = answers["probabilities"], answers["probabilities"].argmax(axis=1)
    right = guess == labels
    scores = metrics.summary(probabilities, labels)
    writers = [str(row.get("writer", "")) for row in digits.rows]
    conditions = f"n {len(digits)}, {len(set(writers))} writers, none of them MNIST's, through `pynumdraw.ink`"
    worst = metrics.worst_writer(writers, right)
    values = (
        scores["accuracy"],
        worst[1] if worst else None,
        scores["nll"],
        scores["ece"],
        scores["ece_floor"],
        metrics.share_at_accuracy(probabilities.max(axis=1), right, 0.995),
        float((~answers["accepted"]).mean()),
    )
    for name, value in zip(pen_rows, values, strict=True):
        _note(result, f"pen digits: {name}", value, "of writers with at least 20 drawings" if "writer" in name else conditions)
    result.reliability["pen digits"] = metrics.reliability(probabilities.max(axis=1), right)
    wrong = np.flatnonzero(~right)
    wrong = wrong[np.argsort(-probabilities.max(axis=1)[wrong])][:40]
    words = [f"{labels[k]} as {guess[k]}, {probabilities[k].max():.2f}" for k in wrong]
    result.worst = (np.concatenate([result.worst[0], digits.frames[wrong]]), [*result.worst[1], *words])
    for kind, held in others.items():
        asked = ask(session, held.frames) if held else None
        told = (
            f"{len(held) if held else 0} unambiguous against the pen digits"
            if kind != "Omniglot"
            else f"{len(held) if held else 0} against the pen digits"
        )
        yes, no = answers["is_digit_probability"], asked["is_digit_probability"] if asked else np.zeros(0)
        _note(result, f"{kind}: AUROC", metrics.auroc(yes, no) if asked else None, told)
        _note(result, f"{kind}: FPR at 95 % TPR", metrics.fpr_at_tpr(yes, no) if asked else None, told)
        _note(result, f"{kind}: let through", float(asked["accepted"].mean()) if asked else None, f"{told}, at the served threshold")


def _measure_cost(result: Evaluation, folder: Path) -> None:
    one, many = latency(folder)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, TensorFlow {tf.__version__}, one thread, lowest of {_ROUNDS} medians"
    _note(result, "ms an image, one by one", one, machine)
    _note(result, "throughput in batches of 64, times that of one by one", one / many, machine)
    _note(result, "SavedModel, MB", size_mb(folder), "saved_model.pb and variables/")
    _note(result, "parameters", float(result.manifest.get("parameters", 0)), "normalisation folded in")


def size_mb(folder: Path) -> float:
    """Of what a server loads, 10^6 bytes."""
    files: Sequence[Path] = [folder / "saved_model.pb", *(folder / "variables").glob("*")]
    return sum(file.stat().st_size for file in files) / 1e6
