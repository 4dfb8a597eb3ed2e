"""Calibration: what turns the network's outputs into probabilities, fitted on the validation part alone."""

from dataclasses import asdict, dataclass

import numpy as np
import tensorflow as tf
from scipy.optimize import minimize
from scipy.special import expit, logsumexp

from trainer.augment import augment
from trainer.dataset import Digits
from trainer.errors import TrainingError
from trainer.metrics import Outputs, nll, softmax
from trainer.model import Weights
from trainer.synthetic import SyntheticSet

REJECTED = 0.03  # share of hard-warped validation digits that the threshold rejects; chosen on pen strokes: half as many of those are lost
_HARD_STRENGTH = 1.4  # of the augmentation for them, 1 being that of training; arbitrary, stands for writers unlike any in training
_MAX_PROBABILITY, _MIN_PAIR = 0.8, 0.95  # arbitrary: one digit is doubtful, and hardly any third one comes into question


@dataclass(frozen=True)
class Calibration:
    """What is applied to the network's outputs when the model is served."""

    prior: float
    """Share of digits among drawings at which `is_digit_probability` and `confidence` are calibrated, more than 0 and less than 1."""
    temperature: float
    """Logits are divided by it before the softmax."""
    digit_scale: float
    """is_digit_probability = sigmoid(digit_scale * score + energy_scale * log(sum(exp(logits))) + digit_shift), at the prior."""
    energy_scale: float
    """Factor of the logits' negative free energy, which is higher for what looks like a digit (Liu et al. 2020)."""
    digit_shift: float
    threshold: float
    """A drawing is accepted as a digit from this is_digit_probability on."""
    max_probability: float = _MAX_PROBABILITY
    """A drawing is ambiguous if it is accepted, the likeliest digit has at most this probability, and …"""
    min_pair: float = _MIN_PAIR
    """… the two likeliest together have at least this one."""
    rejected: float = REJECTED
    """Share of the hard-warped digits that the threshold was set to reject."""

    def outputs(self, logits: np.ndarray, scores: np.ndarray) -> Outputs:
        """What the signature `serving_default` answers for logits float[N, 10] and digit scores float[N], but for `ink_version`."""
        probabilities = softmax(logits / self.temperature)
        is_digit = expit(_evidence(logits, scores) @ (self.digit_scale, self.energy_scale, self.digit_shift))
        order = np.argsort(-probabilities, axis=1, kind="stable")
        likeliest, pair = probabilities.max(axis=1), np.sort(probabilities, axis=1)[:, -2:].sum(axis=1)
        accepted = is_digit >= self.threshold
        return {
            "probabilities": probabilities,
            "is_digit_probability": is_digit,
            "confidence": is_digit * likeliest,
            "digit": order[:, 0],
            "runner_up": order[:, 1],
            "accepted": accepted,
            "ambiguous": accepted & (likeliest <= self.max_probability) & (pair >= self.min_pair),
        }

    def fields(self) -> dict[str, float]:
        """As JSON."""
        return asdict(self)


def calibrate(weights: Weights, validation: Digits, synthetic: SyntheticSet, prior: float, seed: int) -> Calibration:
    """Fit temperature, digit probability and threshold to digits and non-digits to which no weight was fitted.

    Each image counts twice, as it is and warped as in training, since users' handwriting varies more than MNIST's.
    The digit probability is the logistic regression of its evidence, in which digits weigh `prior` and non-digits the rest.
    synthetic: its non-digits must be unambiguous, or a plain 1 or 0 would be doubted for the letters and signs of the same shape.
    Raises TrainingError where the digit score does not tell digits from non-digits.
    """
    images = np.concatenate([validation.images, synthetic.digits.images])
    logits, scores = _score_both_ways(weights, images, seed)
    labels = np.tile(np.concatenate([validation.labels, synthetic.digits.labels]), 2)
    temperature = float(np.exp(minimize(lambda t: nll(softmax(logits / np.exp(t[0])), labels), [0.0], method="Nelder-Mead").x[0]))

    digits, non_digits = _evidence(logits, scores), _evidence(*_score_both_ways(weights, synthetic.non_digits, seed + 2))

    def digit_loss(coefficients: np.ndarray) -> float:
        digit, non_digit = np.logaddexp(0, -(digits @ coefficients)), np.logaddexp(0, non_digits @ coefficients)
        return float(prior * digit.mean() + (1 - prior) * non_digit.mean())

    coefficients = minimize(digit_loss, [1.0, 1.0, 0.0], method="Nelder-Mead").x
    scale, energy_scale, shift = map(float, coefficients)
    if not scale > 0:
        raise TrainingError(f"the digit score does not tell digits from non-digits (slope {scale:.3g}); nothing was published")
    hard_digits = weights.score(_warped(images, seed + 3, _HARD_STRENGTH))
    cut = np.quantile(_evidence(*hard_digits) @ coefficients, REJECTED)
    return Calibration(prior, temperature, scale, energy_scale, shift, float(expit(cut)))


def _evidence(logits: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """float64[N, 3]: digit score, negative free energy of the logits, and 1."""
    return np.stack([scores, logsumexp(logits.astype(np.float64), axis=1), np.ones(len(scores))], 1)


def _score_both_ways(weights: Weights, images: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits float32[2 N, 10] and digit scores float32[2 N]: of the images as they are, then warped as in training."""
    (logits, scores), (warped_logits, warped_scores) = weights.score(images), weights.score(_warped(images, seed))
    return np.concatenate([logits, warped_logits]), np.concatenate([scores, warped_scores])


def _warped(images: np.ndarray, seed: int, strength: float = 1.0, batch: int = 1000) -> np.ndarray:
    """Ink float32[N, 28, 28, 1], 0 to 1, of uint8[N, 28, 28], augmented; at strength 1 as in training."""
    parts = [
        augment(tf.constant(images[i : i + batch]), tf.constant((seed, i), tf.int32), strength).numpy()
        for i in range(0, len(images), batch)
    ]
    return np.concatenate(parts)
