"""What is measured of predictions, in numpy alone; and `Metric`, a measured value with its unit and conditions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Outputs = dict[str, np.ndarray]
"""What a model answers for N frames: outputs by name, as the signature `serving_default` has them; each leads with N."""

ECE_BINS = 15  # as in Guo et al. 2017
_DECIMALS = {"%": 2, "nats": 4, "": 4, "ms": 2, "MB": 2, "times": 2, "parameters": 0}
"""For each unit that a metric may have; "" is that of probabilities and of differences of them."""


@dataclass(frozen=True)
class Metric:
    """One measured value."""

    name: str
    value: float | None
    """In `unit`; None: not measured."""
    unit: str
    """One of the keys of `_DECIMALS`."""
    conditions: str = ""
    """What it was measured on, and how."""
    interval: tuple[float, float] | None = None
    """That holds `value` in 95 % of cases."""

    def __str__(self) -> str:
        return format_mean([self])


def percent(name: str, share: float | None, conditions: str = "") -> Metric:
    """The metric in % of a share from 0 to 1."""
    return Metric(name, None if share is None else 100 * share, "%", conditions)


def format_mean(metrics: Sequence[Metric]) -> str:
    """The mean ± standard deviation of one metric of several models, with its unit; the value alone where there is one model.

    In brackets the interval of the one that has one; of several models, its outermost ends.
    """
    values = [metric.value for metric in metrics if metric.value is not None]
    if len(values) < len(metrics):
        return "not measured"
    unit = metrics[0].unit
    numbers = [float(np.mean(values)), float(np.std(values, ddof=1))] if len(values) > 1 else values
    decimals = _DECIMALS[unit]
    text = " ± ".join(f"{number:,.{decimals}f}" for number in numbers) + (f" {unit}" if unit else "")
    if intervals := [metric.interval for metric in metrics if metric.interval]:
        text += f" ({min(low for low, _ in intervals):,.{decimals}f} to {max(high for _, high in intervals):,.{decimals}f})"
    return text


@dataclass(frozen=True)
class Scores:
    """How well probabilities fit the labels of n frames."""

    n: int
    accuracy: float
    """0 to 1."""
    nll: float
    """Nats."""
    ece: float
    """0 to 1."""
    ece_floor: float
    """The ECE of a perfectly calibrated model with such predictions, 0 to 1."""
    reliability: list[dict[str, float]]
    """As `reliability` returns it."""
    confusion: np.ndarray
    """As `confusion` returns it."""

    def fields(self) -> dict[str, Any]:
        """As JSON, for the manifest and the card: all but the tables."""
        values = {"n": self.n, "accuracy": self.accuracy, "nll": self.nll, "ece": self.ece, "ece_floor": self.ece_floor}
        return {**values, "errors_by_digit": self.errors_by_digit}

    @property
    def errors_by_digit(self) -> list[int]:
        """Errors for each true digit 0 to 9."""
        return (self.confusion.sum(axis=1) - np.diag(self.confusion)).tolist()


def score(probabilities: np.ndarray, labels: np.ndarray) -> Scores:
    """The scores of probabilities float[N, 10] against labels int[N]."""
    confidence, guess = probabilities.max(axis=1), probabilities.argmax(axis=1)
    correct = guess == labels
    accuracy = float(correct.mean())
    return Scores(
        len(labels),
        accuracy,
        nll(probabilities, labels),
        ece(confidence, correct),
        ece_floor(confidence, accuracy),
        reliability(confidence, correct),
        confusion(labels, guess),
    )


def softmax(logits: np.ndarray) -> np.ndarray:
    """Logits float[N, 10] → probabilities."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def nll(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log likelihood, nats."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).mean())


def reliability(confidence: np.ndarray, correct: np.ndarray, bins: int = ECE_BINS) -> list[dict[str, float]]:
    """For each bin of confidence of equal width: low, high, count, mean confidence and accuracy (0 where it is empty)."""
    at = np.minimum((confidence * bins).astype(int), bins - 1)
    rows = []
    for k in range(bins):
        inside = at == k
        count = int(inside.sum())
        mean = (float(confidence[inside].mean()), float(correct[inside].mean())) if count else (0.0, 0.0)
        rows.append({"low": k / bins, "high": (k + 1) / bins, "count": count, "confidence": mean[0], "accuracy": mean[1]})
    return rows


def ece(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Expected calibration error over 15 bins of equal width: mean distance of confidence from accuracy (Guo et al. 2017)."""
    return sum(row["count"] * abs(row["confidence"] - row["accuracy"]) for row in reliability(confidence, correct)) / len(confidence)


def ece_floor(confidence: np.ndarray, accuracy: float, seed: int = 0, draws: int = 200) -> float:
    """The ECE that a perfectly calibrated model would show by chance at this n: the mean of `draws` simulations.

    Its doubt (1 - confidence) is that given, scaled so that the mean agrees with the accuracy. 200 draws are arbitrary.
    """
    doubt = 1 - confidence
    true = 1 - np.clip(doubt * (1 - accuracy) / max(float(doubt.mean()), 1e-9), 0, 1)
    rng = np.random.default_rng(seed)
    return float(np.mean([ece(true, rng.random(len(true)) < true) for _ in range(draws)]))


def auroc(positive: np.ndarray, negative: np.ndarray) -> float:
    """The probability that a positive scores higher than a negative; a tie counts half (Mann and Whitney)."""
    negative = np.sort(negative)
    below, upto = np.searchsorted(negative, positive, "left"), np.searchsorted(negative, positive, "right")
    return float((below + upto).sum() / 2 / (len(positive) * len(negative)))


def fpr_at_tpr(positive: np.ndarray, negative: np.ndarray, tpr: float = 0.95) -> float:
    """The share of the negatives that is accepted at the threshold that accepts the share `tpr` of the positives."""
    return float((negative >= np.quantile(positive, 1 - tpr)).mean())


def coverage_at_accuracy(confidence: np.ndarray, correct: np.ndarray, accuracy: float) -> float:
    """The largest share of the predictions, the surest first, that has this accuracy."""
    order = np.argsort(-confidence, kind="stable")
    running = np.cumsum(correct[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(running >= accuracy)
    return float((enough[-1] + 1) / len(order)) if len(enough) else 0.0


def confusion(labels: np.ndarray, guesses: np.ndarray) -> np.ndarray:
    """int64[10, 10]: how often a true digit (row) was read as each digit (column)."""
    table = np.zeros((10, 10), np.int64)
    np.add.at(table, (labels, guesses), 1)
    return table


def worst_writer(writers: Sequence[str], correct: np.ndarray, least: int = 20) -> tuple[str, float] | None:
    """The writer with the lowest accuracy, of those with at least `least` drawings (arbitrary), and that accuracy; None: no such writer."""
    names, at = np.unique(np.asarray(writers), return_inverse=True)
    count = np.bincount(at)
    accuracy = np.bincount(at, correct) / count
    enough = np.flatnonzero(count >= least)
    return (str(names[k := enough[accuracy[enough].argmin()]]), float(accuracy[k])) if len(enough) else None
