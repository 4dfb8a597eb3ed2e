"""Training: MNIST's digits, drawn digits and non-digits in every batch, a one-cycle learning rate, averaged weights."""

import sys
import time
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from trainer.augment import augment
from trainer.config import Recipe
from trainer.dataset import CLASSES, Digits
from trainer.errors import TrainingError
from trainer.model import Network, Weights
from trainer.optimizer import Optimizer
from trainer.synthetic import SyntheticSet

_MOMENT_BATCHES = 40  # over which the normalisation of the averaged weights is measured


def train(recipe: Recipe, fit: Digits, drawn: SyntheticSet, seed: int) -> Weights:
    """Fit the network and return the averaged weights, folded. Raises TrainingError where the loss is no number any more."""
    network = Network(recipe, seed)
    optimizer = Optimizer(network, recipe)
    mnist, own, other = tf.constant(fit.images), tf.constant(drawn.digits.images), tf.constant(drawn.non_digits)
    digit_count = recipe.mnist_batch + recipe.synthetic_batch
    is_digit = tf.concat([tf.ones(digit_count), tf.zeros(recipe.non_digit_batch)], 0)
    share = tf.concat([tf.fill([recipe.mnist_batch], recipe.mnist_ood_weight), tf.ones(recipe.synthetic_batch + recipe.non_digit_batch)], 0)

    def batch(rows: list[tf.Tensor], seed_pair: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
        images = tf.concat([tf.gather(pool, row) for pool, row in zip((mnist, own, other), rows, strict=True)], 0)
        return augment(images, seed_pair, strength)

    def gradient(part: slice, images: tf.Tensor, labels: tf.Tensor, seed_pair: tf.Tensor) -> tuple:
        """Of the loss over a part of the batch's rows; that loss; and the accuracy."""
        labels = labels[part]
        with tf.GradientTape() as tape:
            features, _ = network(images[part])
            features = tf.nn.experimental.stateless_dropout(features, recipe.dropout, seed_pair + 1)
            out = features @ network.head + network.head_bias
            logits = out[: labels.shape[0], :CLASSES]
            wanted = tf.one_hot(labels, CLASSES) * (1 - recipe.label_smoothing) + recipe.label_smoothing / CLASSES
            digit_loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(wanted, logits))
            evidence = out[:, CLASSES] + tf.reduce_logsumexp(out[:, :CLASSES], 1)  # what looks like none of the ten is none
            losses = share[part] * tf.nn.sigmoid_cross_entropy_with_logits(is_digit[part], evidence)
            loss = digit_loss + recipe.ood_weight * tf.reduce_sum(losses) / tf.reduce_sum(share[part])
        accuracy = tf.reduce_mean(tf.cast(tf.argmax(logits, 1) == tf.cast(labels, tf.int64), tf.float32))
        return tape.gradient(loss, network.variables), loss, accuracy

    @tf.function(autograph=False)
    def step(rows: list[tf.Tensor], labels: tf.Tensor, seed_pair: tf.Tensor, dials: tf.Tensor) -> tuple:
        number, rate, strength = tf.unstack(dials)
        images = batch(rows, seed_pair, strength)
        moves = []
        if recipe.sam_rho > 0:
            uphill, *_ = gradient(slice(None, None, 2), images, labels, seed_pair)  # half the rows show well enough where up is
            moves = optimizer.ascend(uphill)
        gradients, loss, accuracy = gradient(slice(None), images, labels, seed_pair)
        optimizer.step(gradients, number, rate, moves)
        return loss, accuracy

    @tf.function(autograph=False)
    def moments_of(rows: list[tf.Tensor], seed_pair: tf.Tensor, strength: tf.Tensor) -> list:
        return network(batch(rows, seed_pair, strength))[1]

    rng = np.random.default_rng([seed, 3])
    streams = [
        _shuffled(len(fit), recipe.mnist_batch, rng),
        _shuffled(len(drawn.digits), recipe.synthetic_batch, rng),
        _shuffled(len(drawn.non_digits), recipe.non_digit_batch, rng),
    ]
    rows_at = [[next(stream) for stream in streams] for _ in range(recipe.steps)]
    report = _Progress(recipe.steps)
    for number, rows in enumerate(rows_at):
        done = number / recipe.steps
        labels = np.concatenate([fit.labels[rows[0]], drawn.digits.labels[rows[1]]])
        loss, accuracy = step(
            [tf.constant(row) for row in rows],
            tf.constant(labels),
            tf.constant((seed, 2 * number), tf.int32),
            tf.constant((number + 1, recipe.learning_rate * one_cycle(done), warp(done))),
        )
        if number % 10 == 9 or number + 1 == recipe.steps:
            if not np.isfinite(loss):
                raise TrainingError(f"the loss is {float(loss)} after {number + 1} steps; nothing was published")
            report(number + 1, float(loss), float(accuracy))
    report.close()
    optimizer.use_average()
    seen = [
        moments_of([tf.constant(row) for row in rows_at[k % recipe.steps]], tf.constant((seed, 2 * k), tf.int32), tf.constant(warp(1.0)))
        for k in range(_MOMENT_BATCHES)
    ]
    means, variances = ([np.mean([part[k][kind] for part in seen], axis=0) for k in range(len(network.kernels))] for kind in (0, 1))
    weights = network.fold(means, variances)
    if not weights.finite:
        raise TrainingError("the weights hold NaN or infinity; nothing was published")
    return weights


def one_cycle(done: float, warm: float = 0.15) -> float:
    """The learning rate's share of its peak: up in a straight line, down along a cosine (Smith 2018)."""
    return done / warm if done < warm else 0.5 * (1 + np.cos(np.pi * (done - warm) / (1 - warm)))


def warp(done: float, full: float = 0.6, last: float = 0.4) -> float:
    """The augmentation's strength: full for the first part, then down to `last`: at the end the network sees images nearly as they are."""
    return 1.0 if done < full else 1.0 - (1.0 - last) * (done - full) / (1.0 - full)


def _shuffled(total: int, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Rows in batches of `size`, every row once before any comes again."""
    left = np.empty(0, np.int64)
    while True:
        while len(left) < size:
            left = np.concatenate([left, rng.permutation(total)])
        yield left[:size].astype(np.int32)
        left = left[size:]


class _Progress:
    """A bar with loss, accuracy and time left; plain lines where stderr is no terminal."""

    def __init__(self, steps: int) -> None:
        self.steps, self.begin, self.said = steps, time.monotonic(), time.monotonic()
        self.bar = tqdm(total=steps, unit="step", desc="training", dynamic_ncols=True) if sys.stderr.isatty() else None

    def __call__(self, done: int, loss: float, accuracy: float) -> None:
        now = time.monotonic()
        if self.bar is not None:
            self.bar.set_postfix(loss=f"{loss:.4f}", accuracy=f"{accuracy:.3f}", refresh=False)
            self.bar.update(done - self.bar.n)
        elif now - self.said >= 10 or done == self.steps:
            self.said = now
            left = (now - self.begin) / done * (self.steps - done)
            print(f"step {done} of {self.steps}: loss {loss:.4f}, accuracy {accuracy:.3f}, {left:.0f} s left", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
