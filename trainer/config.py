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
    drawn_batch: int
    """Digits drawn as strokes in a batch."""
    outlier_batch: int
    """Non-digits in a batch."""
    drawn_digits: int
    """Digits drawn as strokes in all; they recur, each time warped anew."""
    outliers: int
    """Non-digits in all."""
    fit_images: int | None
    """Only so many of MNIST's images; None for all but the validation part."""
    peak_rate: float
    """The learning rate at its highest."""
    validation_floor: float
    """Accuracy on the validation part below which the images and labels cannot belong together: refused."""
    ema_decay: float = 0.995
    """Of the averaged weights, per step."""
    weight_decay: float = 0.01
    """Decoupled, times the learning rate."""
    dropout: float = 0.2
    """Share of the features left out before the outputs."""
    smoothing: float = 0.0
    """Label smoothing of the ten digits; the temperature, fitted afterwards, takes back what it does to the confidence."""
    outlier_weight: float = 0.5
    """Weight of the digit-or-not loss beside that of which digit."""
    mnist_share: float = 1.0
    """Weight of a digit of MNIST within the digit-or-not loss; a drawn one's is 1. No non-digit looks like MNIST's scans, so a network that
    learns for long tells those by their looks, and thinks less of a pen's lines."""
    ascent: float = 0.0
    """How far up the loss the weights are moved (2-norm over all that decay) before the gradient is taken; 0: not moved."""
    validation_drawn: int = 4_000
    """Digits, and as many non-digits, drawn anew for temperature and threshold."""
    threads: int = 2
    """Of TensorFlow's operations. The same seed on the same machine with the same threads gives the same weights."""


QUICK = Recipe(
    name="quick",
    layers=((32, 4, 2), (32, 3, 1), (64, 3, 2), (64, 3, 1), (96, 3, 2)),
    steps=1_600,
    mnist_batch=136,
    drawn_batch=48,
    outlier_batch=72,
    drawn_digits=16_000,
    outliers=24_000,
    fit_images=None,
    peak_rate=6e-3,
    validation_floor=0.97,
    smoothing=0.03,
)
TINY = Recipe(
    name="tiny",
    layers=((16, 4, 2), (32, 3, 2), (32, 3, 2)),
    steps=150,
    mnist_batch=64,
    drawn_batch=16,
    outlier_batch=32,
    drawn_digits=400,
    outliers=800,
    fit_images=2_000,
    peak_rate=1e-2,
    validation_floor=0.5,
    ema_decay=0.95,
    validation_drawn=200,
)
BEST = Recipe(
    name="best",
    layers=((16, 3, 1), (32, 3, 2), (32, 3, 1), (64, 3, 2), (64, 3, 1), (96, 3, 2), (96, 3, 1)),
    steps=6_000,
    mnist_batch=240,
    drawn_batch=60,
    outlier_batch=60,
    drawn_digits=100_000,
    outliers=200_000,
    fit_images=None,
    peak_rate=5e-3,
    validation_floor=0.98,
    ema_decay=0.998,
    weight_decay=0.4,
    dropout=0.3,
    smoothing=0.03,
    outlier_weight=0.4,
    mnist_share=0.1,
    ascent=0.1,
)
RECIPES = {recipe.name: recipe for recipe in (QUICK, BEST, TINY)}
