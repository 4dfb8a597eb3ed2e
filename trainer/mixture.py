"""How far `confidence` can be believed where a share of what people draw is no digit: calibration error, likelihood, risk and coverage.

Digits and non-digits are measured apart and weighted to the mix, so a set of any size stands for any share. Figures are over the answers,
that is over the drawings that the model accepts as a digit; an answer is right if the drawing is a digit and that digit.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from trainer.metrics import ECE_BINS, Outputs

PRIOR_SHIFT = "odds of is_digit_probability at another share of digits = its odds * odds(that share) / odds(prior)"
"""How to shift the odds to another mix, in words for the card. Bayes' rule; `shift_prior` does it."""

NON_DIGIT_SHARES = (0.05, 0.2, 0.5)  # of the drawings: few, as the default prior has it, and every second one

_DRAWS = 200  # of the bootstrap: the ends of a 95 % interval are then known to about a tenth of its width


def shift_prior(probability: np.ndarray, prior: float, share: float) -> np.ndarray:
    """P(digit at all) where another share of the drawings are digits: its odds times the ratio of the two shares' odds (Bayes).

    probability: float[N], at the prior `prior`. share: that of digits there. Both between 0 and 1.
    """
    if share == prior:
        return probability
    limit = np.finfo(np.float64).tiny
    return expit(logit(np.clip(probability.astype(np.float64), limit, 1 - np.finfo(np.float64).epsneg)) + logit(share) - logit(prior))


@dataclass(frozen=True)
class Mixture:
    """The answers to drawings of which a share are no digits."""

    confidence: np.ndarray
    """float64[N] of each answer."""
    right: np.ndarray
    """bool[N]."""
    weight: np.ndarray
    """float64[N]; those of all drawings, answered or not, sum to 1."""

    @classmethod
    def of(cls, digits: Outputs, labels: np.ndarray, non_digits: Outputs, prior: float, non_digit_share: float) -> "Mixture":
        """The answers among a model's outputs for digits with these labels and for non-digits, at least one of each.

        prior: the share of digits that the model's probabilities assume; where the mix has another, their odds are shifted to it.
        """
        digit_share, counts = 1 - non_digit_share, (len(labels), len(non_digits["accepted"]))
        outputs = {name: np.concatenate([digits[name], non_digits[name]]) for name in ("probabilities", "is_digit_probability", "accepted")}
        is_digit = shift_prior(outputs["is_digit_probability"], prior, digit_share)
        right = np.concatenate([digits["probabilities"].argmax(axis=1) == labels, np.zeros(counts[1], bool)])
        weight = np.repeat([digit_share / counts[0], non_digit_share / counts[1]], counts)
        answered = outputs["accepted"]
        return cls((is_digit * outputs["probabilities"].max(axis=1))[answered], right[answered], weight[answered])

    def reliability(self, edges: np.ndarray | list[float]) -> list[dict[str, float]]:
        """For each bin of confidence between two edges: low, high, count of drawings, mean confidence and accuracy (0 in an empty one)."""
        at = np.clip(np.searchsorted(edges, self.confidence, "right") - 1, 0, len(edges) - 2)
        count = np.bincount(at, minlength=len(edges) - 1)
        weight, confidence, right = (
            np.bincount(at, self.weight * values, len(edges) - 1) for values in (np.ones(len(at)), self.confidence, self.right)
        )
        held = np.where(weight > 0, weight, 1.0)
        return [
            {"low": float(low), "high": float(high), "count": int(n), "confidence": float(c), "accuracy": float(a)}
            for low, high, n, c, a in zip(edges[:-1], edges[1:], count, confidence / held, right / held, strict=True)
        ]

    def ece(self) -> float:
        """Expected calibration error over 15 bins of equal width (Guo et al. 2017)."""
        return _ece(self.confidence, self.right, self.weight)

    def ece_interval(self, seed: int = 0) -> list[float]:
        """A 95 % interval of the ECE by the bootstrap: the answers drawn anew with replacement, `_DRAWS` times."""
        rng = np.random.default_rng(seed)
        drawn = (rng.integers(len(self.confidence), size=len(self.confidence)) for _ in range(_DRAWS))
        values = [_ece(self.confidence[rows], self.right[rows], self.weight[rows]) for rows in drawn]
        return np.quantile(values, (0.025, 0.975)).tolist()

    def nll(self) -> float:
        """Mean negative log likelihood, nats, of "this answer is right" under its confidence."""
        likelihood = np.where(self.right, self.confidence, 1 - self.confidence)
        return float(np.average(-np.log(np.maximum(likelihood, 1e-12)), weights=self.weight)) if len(likelihood) else 0.0

    def accuracy_from(self, least: float) -> float:
        """Share of right answers among those of at least this confidence; 1 where there are none."""
        sure = self.confidence >= least
        return float(np.average(self.right[sure], weights=self.weight[sure])) if sure.any() else 1.0

    def risk_coverage(self) -> tuple[np.ndarray, np.ndarray]:
        """(coverage float[N], risk float[N]): the share of all drawings that the surest k answers cover, and the share wrong among them."""
        order = np.argsort(-self.confidence, kind="stable")
        coverage = np.cumsum(self.weight[order])
        return coverage, np.cumsum(self.weight[order] * ~self.right[order]) / coverage


def _ece(confidence: np.ndarray, right: np.ndarray, weight: np.ndarray) -> float:
    if not len(confidence):
        return 0.0  # nothing was answered, so nothing was claimed
    at = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    return float(np.abs(np.bincount(at, weight * (confidence - right), ECE_BINS)).sum() / weight.sum())
