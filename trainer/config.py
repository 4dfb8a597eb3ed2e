"""The recipes: named settings of a training run, one frozen value each.

Where a field gives no reason for its value, the value was tuned by trial and the trials are not on record.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """The settings of a training run."""

    name: str
    """As `--recipe` names it."""
    layers: tuple[tuple[int, int, int], ...]
    """Convolutions in order: channels, kernel size px, stride px."""
    steps: int
    """Optimiser steps, each on one batch."""
    mnist_batch: int
    """Digits of MNIST in a batch."""
    synthetic_batch: int
    """Synthetic digits in a batch."""
    non_digit_batch: int
    """Non-digits in a batch."""
    synthetic_digits: int
    """Synthetic digits in the training set; each is used many times, augmented anew each time."""
    non_digits: int
    """Non-digits in the training set."""
    fit_images: int | None
    """Number of MNIST's images in the training set; None: all but the validation part."""
    learning_rate: float
    """The highest of the one-cycle schedule."""
    min_validation_accuracy: float
    """Below this accuracy on the validation part the images and labels cannot belong together, and the model is refused.
    Far below what the recipe reaches, far above chance."""
    ema_decay: float = 0.995
    """Of the exponential moving average of the weights, per step. Its memory of 1 / (1 - decay) steps is short beside the run's."""
    weight_decay: float = 0.01
    """Decoupled from the gradient, times the learning rate (Loshchilov and Hutter 2019); 0.01 is the default of AdamW."""
    dropout: float = 0.2
    """Share of the features that are dropped before the output layer."""
    label_smoothing: float = 0.0
    """Of the ten digits' labels. The temperature, which is fitted afterwards, undoes its effect on the confidence."""
    ood_weight: float = 0.5
    """Weight of the digit-or-not loss (out of distribution or not); the weight of the loss over the ten digits is 1."""
    mnist_ood_weight: float = 1.0
    """Weight of a digit of MNIST in the digit-or-not loss; a synthetic digit's and a non-digit's is 1. No non-digit looks like MNIST's
    scans, so a network that trains for long takes that look for the sign of a digit, and trusts the lines of a pen less."""
    sam_rho: float = 0.0
    """Distance by which the weights are moved up the loss before the gradient is taken (2-norm over all that decay), as in
    sharpness-aware minimisation (Foret et al. 2021); 0: not moved."""
    sam_from: float = 0.6
    """Share of the steps after which they are moved: the late steps find the flat minimum (Zhou et al. 2024), and each costs half as much
    again."""
    prior: float = 0.8
    """Share of digits among what people draw, at which `is_digit_probability` and `confidence` are calibrated; more than 0, less than 1.
    Nobody knows the users' share: 0.8 is a page that asks for digits and gets one drawing in five that is none. At 0.9 a question mark,
    which is hard to tell from a 7, would get a confidence of 0.9."""
    validation_synthetic: int = 4_000
    """Synthetic digits, and as many non-digits, that are drawn to fit temperature and threshold; about as many as MNIST's 5,000."""
    threads: int = 2
    """Threads of TensorFlow and processes that draw. The same seed, machine and threads give the same weights."""


# Minutes on two cores: good enough for a first model on a laptop.
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
# Seconds: the model that the tests use. Every number is as small as the tests bear.
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
# The model card's model: as many steps as fit into half an hour on two slow cores, a network within the gate's size and latency.
BEST = Recipe(
    name="best",
    layers=((16, 3, 1), (32, 3, 2), (32, 3, 1), (64, 3, 2), (64, 3, 1), (96, 3, 2), (96, 3, 1)),
    steps=4_800,
    mnist_batch=184,
    synthetic_batch=72,
    non_digit_batch=104,
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
    mnist_ood_weight=0.3,
    sam_rho=0.1,
)
RECIPES = {recipe.name: recipe for recipe in (QUICK, BEST, TINY)}
