"""What turns the network's numbers into probabilities that can be believed, chosen on the validation part alone."""

from dataclasses import asdict, dataclass

import numpy as np
import tensorflow as tf
from scipy.optimize import minimize
from scipy.special import expit, logsumexp

from trainer.augment import augment
from trainer.dataset import Digits
from trainer.errors import TrainingError
from trainer.metrics import nll, softmax
from trainer.model import Weights
from trainer.synthetic import SyntheticSet

PRIOR = 0.5  # share of digits among the drawings for which is_digit_probability is calibrated
REJECTED = 0.02  # share of the validation's digits, warped harder than for training, that the threshold turns away
_MAX_CONFIDENCE, _MIN_PAIR = 0.8, 0.95


@dataclass(frozen=True)
class Calibration:
    """All that is applied to the network's numbers when it serves."""

    temperature: float
    """Logits are divided by it before the softmax."""
    digit_scale: float
    """is_digit_probability = sigmoid(digit_scale * score + energy_scale * log(sum(exp(logits))) + digit_shift), at the prior."""
    energy_scale: float
    """The ten logits' negative free energy is higher for what looks like a digit, too (Liu et al. 2020)."""
    digit_shift: float
    threshold: float
    """A drawing is accepted as a digit from this is_digit_probability on."""
    max_confidence: float = _MAX_CONFIDENCE
    """Ambiguous: accepted, at most this sure of one digit, and …"""
    min_pair: float = _MIN_PAIR
    """… at least this sure of the two likeliest together."""
    prior: float = PRIOR
    rejected: float = REJECTED
    """Share of the hard-warped digits that the threshold was set to turn away."""

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """float[N, 10] of the logits."""
        return softmax(logits / self.temperature)

    def is_digit(self, logits: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """float[N] of the logits and digit scores."""
        return expit(_evidence(logits, scores) @ (self.digit_scale, self.energy_scale, self.digit_shift))

    def fields(self) -> dict[str, float]:
        """As JSON."""
        return asdict(self)


def calibrate(weights: Weights, validation: Digits, drawn: SyntheticSet, seed: int) -> Calibration:
    """Temperature, digit probability and threshold from digits and non-digits that no weight was fitted to.

    Half of what it looks at is as it is, half warped like the training data: people's hands differ more than MNIST's.
    """
    images = np.concatenate([validation.images, drawn.digits.images])
    logits, scores = _score_both_ways(weights, images, seed)
    labels = np.tile(np.concatenate([validation.labels, drawn.digits.labels]), 2)
    temperature = float(np.exp(minimize(lambda t: nll(softmax(logits / np.exp(t[0])), labels), [0.0], method="Nelder-Mead").x[0]))

    digits, non_digits = _evidence(logits, scores), _evidence(*_score_both_ways(weights, drawn.non_digits, seed + 2))

    def digit_loss(line: np.ndarray) -> float:
        return float(PRIOR * np.logaddexp(0, -(digits @ line)).mean() + (1 - PRIOR) * np.logaddexp(0, non_digits @ line).mean())

    line = minimize(digit_loss, [1.0, 1.0, 0.0], method="Nelder-Mead").x
    scale, energy_scale, shift = map(float, line)
    if not scale > 0:
        raise TrainingError(f"the digit score does not tell digits from non-digits (slope {scale:.3g}); nothing was published")
    strangers = weights.score(_warped(images, seed + 3, strength=1.4))
    cut = np.quantile(_evidence(*strangers) @ line, REJECTED)
    return Calibration(temperature, scale, energy_scale, shift, float(expit(cut)))


def _evidence(logits: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """float64[N, 3]: digit score, negative free energy of the logits, and 1."""
    return np.stack([scores, logsumexp(logits.astype(np.float64), axis=1), np.ones(len(scores))], 1)


def _score_both_ways(weights: Weights, images: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits float32[2 N, 10] and digit scores float32[2 N]: of the images as they are, then warped as for training."""
    (logits, scores), (warped_logits, warped_scores) = weights.score(images), weights.score(_warped(images, seed))
    return np.concatenate([logits, warped_logits]), np.concatenate([scores, warped_scores])


def _warped(images: np.ndarray, seed: int, strength: float = 1.0, batch: int = 1000) -> np.ndarray:
    """float32[N, 28, 28, 1], warped as for training."""
    parts = [
        augment(tf.constant(images[i : i + batch]), tf.constant((seed, i), tf.int32), strength).numpy()
        for i in range(0, len(images), batch)
    ]
    return np.concatenate(parts)
