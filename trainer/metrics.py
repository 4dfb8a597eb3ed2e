"""Figures about answers, in numpy alone."""

from collections.abc import Sequence

import numpy as np

ECE_BINS = 15


def softmax(logits: np.ndarray) -> np.ndarray:
    """Logits float[N, 10] → probabilities."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def nll(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log likelihood, nats."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).mean())


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = ECE_BINS) -> list[dict[str, float]]:
    """For each bin of confidence of equal width: low, high, count, mean confidence and accuracy (0 where it is empty)."""
    at = np.minimum((confidence * bins).astype(int), bins - 1)
    rows = []
    for k in range(bins):
        inside = at == k
        count = int(inside.sum())
        mean = (float(confidence[inside].mean()), float(right[inside].mean())) if count else (0.0, 0.0)
        rows.append({"low": k / bins, "high": (k + 1) / bins, "count": count, "confidence": mean[0], "accuracy": mean[1]})
    return rows


def ece(confidence: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error over 15 bins of equal width: mean distance of confidence from accuracy (Guo et al. 2017)."""
    return sum(row["count"] * abs(row["confidence"] - row["accuracy"]) for row in reliability(confidence, right)) / len(confidence)


def ece_floor(confidence: np.ndarray, accuracy: float, seed: int = 0, draws: int = 200) -> float:
    """The ECE that a perfectly calibrated model with answers like these would show by chance at this n, mean of `draws` simulations.

    Its doubts are these (1 - confidence), scaled so that it has the accuracy given.
    """
    doubt = 1 - confidence
    true = 1 - np.clip(doubt * (1 - accuracy) / max(float(doubt.mean()), 1e-9), 0, 1)
    rng = np.random.default_rng(seed)
    return float(np.mean([ece(true, rng.random(len(true)) < true) for _ in range(draws)]))


def auroc(positive: np.ndarray, negative: np.ndarray) -> float:
    """How probable it is that a positive scores higher than a negative; a tie counts half (Mann and Whitney)."""
    negative = np.sort(negative)
    below, upto = np.searchsorted(negative, positive, "left"), np.searchsorted(negative, positive, "right")
    return float((below + upto).sum() / 2 / (len(positive) * len(negative)))


def fpr_at_tpr(positive: np.ndarray, negative: np.ndarray, tpr: float = 0.95) -> float:
    """Share of the negatives let through at the threshold that lets that share of the positives through."""
    return float((negative >= np.quantile(positive, 1 - tpr)).mean())


def share_at_accuracy(confidence: np.ndarray, right: np.ndarray, accuracy: float) -> float:
    """The largest share of answers, the surest first, that are right so often."""
    order = np.argsort(-confidence, kind="stable")
    running = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(running >= accuracy)
    return float((enough[-1] + 1) / len(order)) if len(enough) else 0.0


def confusion(labels: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """int[10, 10]: how often a true digit (row) was read as which (column)."""
    table = np.zeros((10, 10), np.int64)
    np.add.at(table, (labels, answers), 1)
    return table


def summary(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """n, accuracy, NLL, ECE and the floor beside it."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    accuracy = float(right.mean())
    return {
        "n": len(labels),
        "accuracy": accuracy,
        "nll": nll(probabilities, labels),
        "ece": ece(confidence, right),
        "ece_floor": ece_floor(confidence, accuracy),
    }


def by_digit(labels: np.ndarray, answers: np.ndarray) -> list[int]:
    """Errors for each true digit 0 to 9."""
    return [int((answers[labels == digit] != digit).sum()) for digit in range(10)]


def worst_writer(writers: Sequence[str], right: np.ndarray, least: int = 20) -> tuple[str, float] | None:
    """The writer with at least so many samples who is read worst, and the accuracy; None without any such."""
    names, at = np.unique(np.asarray(writers), return_inverse=True)
    count = np.bincount(at)
    accuracy = np.bincount(at, right) / count
    enough = np.flatnonzero(count >= least)
    return (str(names[k := enough[accuracy[enough].argmin()]]), float(accuracy[k])) if len(enough) else None
