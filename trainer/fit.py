"""From the MNIST files to a published version: draw, train, calibrate, score, export, publish."""

import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from pynumdraw import ink
from pynumdraw.signature import SIGNATURE_VERSION
from pynumdraw.store import ModelStore
from trainer import metrics
from trainer.calibrate import Calibration, calibrate
from trainer.config import Recipe
from trainer.dataset import Digits, Mnist, split
from trainer.errors import TrainingError
from trainer.export import export
from trainer.mixture import NON_DIGIT_SHARES, PRIOR_SHIFT, Mixture
from trainer.model import Weights
from trainer.non_digits import scanned
from trainer.report import as_text, write_report
from trainer.synthetic import SyntheticSet, draw
from trainer.train import train

CONFIDENCE_EDGES = [0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0]  # finer where most predictions are; arbitrary
_SCANNED_SHARE = 0.12  # frames made of MNIST's digits for each non-digit that is drawn; arbitrary
_VALIDATION_SEED = 1_000_003  # of the drawings for validation, the same for every run; arbitrary, but never a training seed
_TEST_SEED = 1_000_033  # of the non-digits beside the test digits; arbitrary, but none of the seeds before


def fit(recipe: Recipe, mnist: Mnist, store: ModelStore, seed: int, only_if_empty: bool = False, commit: str | None = None) -> int | None:
    """Make and publish one version.

    commit: the source code's, for the manifest; None: that of the repository which holds this file, if one does.
    Returns: the version, or None where `only_if_empty` and another trainer published first.
    Raises Refused or StoreError where it cannot be made; then no version was written.
    """
    begin = time.monotonic()
    fit_part, validation = split(mnist.train)
    fit_part = fit_part[: recipe.fit_images]
    _log(f"drawing {recipe.synthetic_digits} digits and {recipe.non_digits} non-digits")
    synthetic = _training_set(recipe, fit_part, seed)
    fresh = recipe.validation_synthetic
    validation_synthetic = draw(fresh, fresh, (_VALIDATION_SEED,), recipe.threads, unambiguous=True)
    test_non_digits = draw(0, fresh, (_TEST_SEED,), recipe.threads, unambiguous=True).non_digits
    _log(f"training {recipe.name!r} on {len(fit_part)} MNIST digits; {len(validation)} are kept for validation")
    weights = train(recipe, fit_part, synthetic, seed)
    calibration = calibrate(weights, validation, validation_synthetic, recipe.prior, seed)
    validation_accuracy = _checked_accuracy(weights, validation, recipe)
    digits, non_digits = (calibration.outputs(*weights.score(images)) for images in (mnist.test.images, test_non_digits))
    scores = metrics.score(digits["probabilities"], mnist.test.labels)
    made = {
        "recipe": recipe.name,
        "ink_version": ink.INK_VERSION,
        "signature_version": SIGNATURE_VERSION,
        "threshold": calibration.threshold,
        "metrics": {**scores.fields(), "validation_accuracy": validation_accuracy},
    }
    with store.next_version() as draft:
        if only_if_empty and store.versions():
            return None
        card = {"model": store.name, "version": draft.number, **made, **_card_fields(calibration, digits, mnist.test.labels, non_digits)}
        export(weights, calibration, card, draft.folder, validation_synthetic.digits.images[:64])
        title = f"{store.name} version {draft.number}, recipe {recipe.name}, seed {seed}, on the MNIST test split"
        write_report(draft.folder / "report", title, scores)
        draft.publish(
            {
                **made,
                "settings": asdict(recipe),
                "seed": seed,
                "threads": recipe.threads,
                "parameters": weights.parameter_count,
                "tensorflow": tf.__version__,
                "source_commit": commit or _repository_commit(),
                "data": mnist.sums,
                "calibration": calibration.fields(),
                "seconds": round(time.monotonic() - begin, 1),
            }
        )
    _log(as_text(title, scores))
    _log(f"published {store.path(draft.number)} after {time.monotonic() - begin:.0f} s")
    return draft.number


def _training_set(recipe: Recipe, fit_part: Digits, seed: int) -> SyntheticSet:
    """What is drawn for training; what is made of MNIST's digits is added to the non-digits."""
    drawn = draw(recipe.synthetic_digits, recipe.non_digits, (seed, 5), recipe.threads)
    rng = np.random.default_rng([seed, 6])
    of_mnist = [scanned(fit_part, rng) for _ in range(round(recipe.non_digits * _SCANNED_SHARE))]
    return SyntheticSet(drawn.digits, np.concatenate([drawn.non_digits, np.stack(of_mnist)]))


def _checked_accuracy(weights: Weights, validation: Digits, recipe: Recipe) -> float:
    """The accuracy on the validation part. Raises TrainingError where it is below what the recipe wants at least."""
    accuracy = float((weights.score(validation.images)[0].argmax(axis=1) == validation.labels).mean())
    if accuracy < recipe.min_validation_accuracy:
        raise TrainingError(
            f"accuracy on the validation part is {accuracy:.2%}, wanted at least {recipe.min_validation_accuracy:.0%}: "
            "do the labels belong to the images? Nothing was published"
        )
    return accuracy


def _card_fields(calibration: Calibration, digits: metrics.Outputs, labels: np.ndarray, non_digits: metrics.Outputs) -> dict[str, Any]:
    """The card's fields that the manifest lacks, from the outputs for the test digits and for synthetic non-digits."""
    as_served, *mixtures = (
        Mixture.of(digits, labels, non_digits, calibration.prior, share) for share in (1 - calibration.prior, *NON_DIGIT_SHARES)
    )
    counts, _ = np.histogram(digits["confidence"], CONFIDENCE_EDGES)
    return {
        "prior": calibration.prior,
        "prior_shift": PRIOR_SHIFT,
        "ambiguous": {"max_probability": calibration.max_probability, "min_pair": calibration.min_pair},
        "reliability": as_served.reliability(CONFIDENCE_EDGES),
        "mixes": [
            {
                "non_digit_share": share,
                "digits": len(labels),
                "non_digits": len(non_digits["accepted"]),
                "ece": mixture.ece(),
                "ece_interval": mixture.ece_interval(),
                "nll": mixture.nll(),
            }
            for share, mixture in zip(NON_DIGIT_SHARES, mixtures, strict=True)
        ],
        "confidence_histogram": {"edges": CONFIDENCE_EDGES, "counts": counts.tolist()},
    }


def _repository_commit() -> str | None:
    """The commit that is checked out here; None where there is no repository or no git."""
    try:
        command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _log(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
