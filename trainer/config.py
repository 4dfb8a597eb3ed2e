"""The recipes: all that a training run does, in one frozen value each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """How a model is made."""

    name: str
    """As `--recipe` names it."""
    layers: tuple[tuple[int, int, int], ...]
    """Convolutions in order: channels, kernel size px, stride px."""
    steps: int
    """Optimiser steps, each on one batch."""
    mnist_batch: int
    """MNIST's digits in a batch."""
    synthetic_batch: int
    """Digits drawn as strokes in a batch."""
    non_digit_batch: int
    """Non-digits in a batch."""
    synthetic_digits: int
    """Digits drawn as strokes in all; they recur, each time warped anew."""
    non_digits: int
    """Non-digits in all."""
    fit_images: int | None
    """Only so many of MNIST's images; None for all but the validation part."""
    learning_rate: float
    """The learning rate at its highest."""
    min_validation_accuracy: float
    """Accuracy on the validation part below which the images and labels cannot belong together: refused."""
    ema_decay: float = 0.995
    """Of the averaged weights, per step."""
    weight_decay: float = 0.01
    """Decoupled, times the learning rate."""
    dropout: float = 0.2
    """Share of the features left out before the outputs."""
    label_smoothing: float = 0.0
    """Label smoothing of the ten digits; the temperature, fitted afterwards, takes back what it does to the confidence."""
    ood_weight: float = 0.5
    """Weight of the digit-or-not loss beside that of which digit."""
    mnist_ood_weight: float = 1.0
    """Weight of a digit of MNIST within the digit-or-not loss; a drawn one's is 1. No non-digit looks like MNIST's scans, so a network that
    learns for long tells those by their looks, and thinks less of a pen's lines."""
    sam_rho: float = 0.0
    """How far up the loss the weights are moved (2-norm over all that decay) before the gradient is taken; 0: not moved."""
    validation_synthetic: int = 4_000
    """Digits, and as many non-digits, drawn anew for temperature and threshold."""
    threads: int = 2
    """Of TensorFlow's operations. The same seed on the same machine with the same threads gives the same weights."""


QUICK = Recipe(
    name="quick",
    layers=((32, 4, 2), (32, 3, 1), (64, 3, 2), (64, 3, 1), (96, 3, 2)),
    steps=1_600,
    mnist_batch=136,
    synthetic_batch=48,
    non_digit_batch=72,
    synthetic_digits=16_000,
    non_digits=24_000,
    fit_images=None,
    learning_rate=6e-3,
    min_validation_accuracy=0.97,
    label_smoothing=0.03,
)
TINY = Recipe(
    name="tiny",
    layers=((16, 4, 2), (32, 3, 2), (32, 3, 2)),
    steps=150,
    mnist_batch=64,
    synthetic_batch=16,
    non_digit_batch=32,
    synthetic_digits=400,
    non_digits=800,
    fit_images=2_000,
    learning_rate=1e-2,
    min_validation_accuracy=0.5,
    ema_decay=0.95,
    validation_synthetic=200,
)
BEST = Recipe(
    name="best",
    layers=((16, 3, 1), (32, 3, 2), (32, 3, 1), (64, 3, 2), (64, 3, 1), (96, 3, 2), (96, 3, 1)),
    steps=6_000,
    mnist_batch=240,
    synthetic_batch=60,
    non_digit_batch=60,
    synthetic_digits=100_000,
    non_digits=200_000,
    fit_images=None,
    learning_rate=5e-3,
    min_validation_accuracy=0.98,
    ema_decay=0.998,
    weight_decay=0.4,
    dropout=0.3,
    label_smoothing=0.03,
    ood_weight=0.4,
    mnist_ood_weight=0.1,
    sam_rho=0.1,
)
RECIPES = {recipe.name: recipe for recipe in (QUICK, BEST, TINY)}
