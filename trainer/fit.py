"""From the MNIST files to a published version: load, draw, train, calibrate, score once, export, publish."""

import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from pynumdraw import ink
from pynumdraw.store import ModelStore
from trainer import metrics
from trainer.calibrate import Calibration, calibrate
from trainer.config import Recipe
from trainer.dataset import Digits, Mnist, split
from trainer.errors import TrainingError
from trainer.export import export
from trainer.model import Weights
from trainer.non_digits import side_by_side
from trainer.report import as_text, write_report
from trainer.synthetic import SyntheticSet, draw
from trainer.train import train

CONFIDENCE_EDGES = [0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0]
_DRAWN_PER_PAIR = 20  # so many non-digits are drawn for each that is made of two of MNIST's digits
_VALIDATION_SEED = 1_000_003  # of what is drawn for validation: the same for every run, and never a training seed


def fit(recipe: Recipe, mnist: Mnist, store: ModelStore, seed: int, only_if_empty: bool = False, commit: str | None = None) -> int | None:
    """Make and publish one version; returns its number, or None where `only_if_empty` and another trainer was faster.

    commit: the source code's, for the manifest; by default that of the repository which holds this file, if one does.

    Raises Refused or StoreError where that cannot be; then no version was written.
    """
    begin = time.monotonic()
    rest, validation = split(mnist.train)
    rest = rest[: recipe.fit_images]
    _say(f"drawing {recipe.synthetic_digits} digits and {recipe.non_digits} non-digits")
    drawn = draw(recipe.synthetic_digits, recipe.non_digits, (seed, 5), recipe.threads)
    rng = np.random.default_rng([seed, 6])
    pairs = [side_by_side(rest.images, rng) for _ in range(recipe.non_digits // _DRAWN_PER_PAIR)]
    drawn = SyntheticSet(drawn.digits, np.concatenate([drawn.non_digits, np.stack(pairs)]))
    fresh = draw(recipe.validation_synthetic, recipe.validation_synthetic, (_VALIDATION_SEED,), recipe.threads)
    _say(f"training {recipe.name!r} on {len(rest)} MNIST digits; {len(validation)} are kept for validation")
    weights = train(recipe, rest, drawn, seed)
    calibration = calibrate(weights, validation, fresh, seed)
    right = weights.score(validation.images)[0].argmax(axis=1) == validation.labels
    if right.mean() < recipe.min_validation_accuracy:
        raise TrainingError(
            f"accuracy on the validation part is {right.mean():.2%}, wanted at least {recipe.min_validation_accuracy:.0%}: "
            "do the labels belong to the images? Nothing was published"
        )
    scores, reliability, confusion, histogram = score_once(weights, calibration, mnist.test)
    scores["validation_accuracy"] = float(right.mean())
    with store.next_version() as draft:
        if only_if_empty and store.versions():
            return None
        card = {
            "model": store.name,
            "version": draft.number,
            "ink_version": ink.INK_VERSION,
            "recipe": recipe.name,
            "threshold": calibration.threshold,
            "prior": calibration.prior,
            "ambiguous": {"max_confidence": calibration.max_confidence, "min_pair": calibration.min_pair},
            "metrics": scores,
            "reliability": reliability,
            "confidence_histogram": histogram,
        }
        export(weights, calibration, card, draft.folder, fresh.digits.images[:64])
        title = f"{store.name} version {draft.number}, recipe {recipe.name}, seed {seed}, on the MNIST test split"
        write_report(draft.folder / "report", title, scores, reliability, confusion)
        draft.publish(
            {
                "recipe": recipe.name,
                "settings": asdict(recipe),
                "seed": seed,
                "threads": recipe.threads,
                "parameters": weights.parameter_count,
                "ink_version": ink.INK_VERSION,
                "tensorflow": tf.__version__,
                "source_commit": commit or _repository_commit(),
                "data": mnist.sums,
                "threshold": calibration.threshold,
                "calibration": calibration.fields(),
                "metrics": scores,
                "seconds": round(time.monotonic() - begin, 1),
            }
        )
    _say(as_text(title, scores, reliability, confusion))
    _say(f"published {store.path(draft.number)} after {time.monotonic() - begin:.0f} s")
    return draft.number


def score_once(weights: Weights, calibration: Calibration, test: Digits) -> tuple[dict[str, Any], list, np.ndarray, dict[str, list]]:
    """The figures on the test split, for a model that nothing will change any more: metrics, reliability, confusion, histogram."""
    probabilities = calibration.probabilities(weights.score(test.images)[0])
    answers, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    scores = {**metrics.summary(probabilities, test.labels), "errors_by_digit": metrics.by_digit(test.labels, answers)}
    counts, _ = np.histogram(confidence, CONFIDENCE_EDGES)
    return (
        scores,
        metrics.reliability(confidence, answers == test.labels),
        metrics.confusion(test.labels, answers),
        {"edges": CONFIDENCE_EDGES, "counts": counts.tolist()},
    )


def _repository_commit() -> str | None:
    """The commit that is checked out here; None where that cannot be told."""
    try:
        command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
