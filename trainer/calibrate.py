"""What turns the network's numbers into probabilities that can be believed, chosen on the validation part alone."""

from dataclasses import asdict, dataclass

import numpy as np
import tensorflow as tf
from scipy.optimize import minimize

from trainer.augment import augment
from trainer.dataset import Digits
from trainer.drawn import Drawn
from trainer.errors import TrainingError
from trainer.metrics import nll, softmax
from trainer.model import Weights

PRIOR = 0.5  # share of digits among the drawings for which is_digit_probability is calibrated
REJECTED = 0.018  # share of the validation's digits, warped harder than for training, that the threshold turns away
_MAX_CONFIDENCE, _MIN_PAIR = 0.8, 0.95


@dataclass(frozen=True)
class Calibration:
    """All that is applied to the network's numbers when it serves."""

    temperature: float
    """Logits are divided by it before the softmax."""
    digit_scale: float
    """is_digit_probability = sigmoid(digit_scale * score + digit_shift), at the prior."""
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

    def is_digit(self, scores: np.ndarray) -> np.ndarray:
        """float[N] of the digit scores."""
        return 1 / (1 + np.exp(-(self.digit_scale * scores + self.digit_shift)))

    def fields(self) -> dict[str, float]:
        """As JSON."""
        return asdict(self)


def calibrate(weights: Weights, validation: Digits, drawn: Drawn, seed: int) -> Calibration:
    """Temperature, digit probability and threshold from digits and non-digits that no weight was fitted to.

    Half of what it looks at is as it is, half warped like the training data: people's hands differ more than MNIST's.
    """
    mnist, warped = weights.score(validation.images), weights.score(_warped(validation.images, seed))
    own, own_warped = weights.score(drawn.digits.images), weights.score(_warped(drawn.digits.images, seed + 1))
    others = [weights.score(drawn.outliers)[1], weights.score(_warped(drawn.outliers, seed + 2))[1]]
    logits = np.concatenate([part[0] for part in (mnist, warped, own, own_warped)])
    labels = np.concatenate([validation.labels, validation.labels, drawn.digits.labels, drawn.digits.labels])
    temperature = float(np.exp(minimize(lambda t: nll(softmax(logits / np.exp(t[0])), labels), [0.0], method="Nelder-Mead").x[0]))

    digits, non_digits = np.concatenate([part[1] for part in (mnist, warped, own, own_warped)]), np.concatenate(others)

    def digit_loss(line: np.ndarray) -> float:
        yes, no = line[0] * digits + line[1], line[0] * non_digits + line[1]
        return float(PRIOR * np.logaddexp(0, -yes).mean() + (1 - PRIOR) * np.logaddexp(0, no).mean())

    scale, shift = map(float, minimize(digit_loss, [1.0, 0.0], method="Nelder-Mead").x)
    if not scale > 0:
        raise TrainingError(f"the digit score does not tell digits from non-digits (slope {scale:.3g}); nothing was published")
    strangers = [weights.score(_warped(images, seed + 3, strength=1.4))[1] for images in (validation.images, drawn.digits.images)]
    cut = float(np.quantile(np.concatenate(strangers), REJECTED))
    threshold = float(1 / (1 + np.exp(-(scale * cut + shift))))
    return Calibration(temperature, scale, shift, threshold)


def _warped(images: np.ndarray, seed: int, strength: float = 1.0, batch: int = 1000) -> np.ndarray:
    """float32[N, 28, 28, 1], warped as for training."""
    parts = [
        augment(tf.constant(images[i : i + batch]), tf.constant((seed, i), tf.int32), strength).numpy()
        for i in range(0, len(images), batch)
    ]
    return np.concatenate(parts)
