"""Training: MNIST's digits, synthetic digits and non-digits in every batch, a one-cycle learning rate, averaged weights."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from trainer.augment import augment
from trainer.config import Recipe
from trainer.dataset import CLASSES, Digits
from trainer.errors import TrainingError
from trainer.model import Network, Weights
from trainer.optimizer import Gradients, Optimizer
from trainer.synthetic import SyntheticSet

_MOMENT_BATCHES = 40  # to measure the normalisation of the averaged weights on; arbitrary
_CHECK_EVERY = 10  # steps between two looks at the loss, which wait for the step to end; arbitrary
_REPORT_EVERY_S = 10  # where stderr is no terminal; arbitrary


def train(recipe: Recipe, fit: Digits, synthetic: SyntheticSet, seed: int) -> Weights:
    """Fit a network and return its averaged weights, folded. Raises TrainingError where the loss or a weight is not finite."""
    batches = _batches(recipe, fit, synthetic, seed)
    training = TrainingStep(recipe, fit, synthetic, seed)
    with closing(_Progress(recipe.steps)) as progress:
        for number, rows in enumerate(batches):
            done = number / recipe.steps
            labels = np.concatenate([fit.labels[rows[0]], synthetic.digits.labels[rows[1]]])
            loss, accuracy = training.step(
                [tf.constant(row) for row in rows],
                tf.constant(labels),
                tf.constant((seed, 2 * number), tf.int32),
                step=tf.constant(number + 1, tf.float32),
                learning_rate=tf.constant(recipe.learning_rate * one_cycle(done), tf.float32),
                strength=tf.constant(augmentation_strength(done), tf.float32),
                uphill_first=recipe.sam_rho > 0 and done >= recipe.sam_from,
            )
            if number % _CHECK_EVERY == _CHECK_EVERY - 1 or number + 1 == recipe.steps:
                if not np.isfinite(loss):
                    raise TrainingError(f"the loss is {float(loss)} after {number + 1} steps; nothing was published")
                progress.report(number + 1, float(loss), float(accuracy))
    training.optimizer.use_average()
    weights = _fold(training, batches, seed)
    if not weights.finite:
        raise TrainingError("the weights hold NaN or infinity; nothing was published")
    return weights


class TrainingStep:
    """A network, its optimiser and the training images, with one compiled step over a batch of them."""

    def __init__(self, recipe: Recipe, fit: Digits, synthetic: SyntheticSet, seed: int) -> None:
        self.recipe = recipe
        self.network = Network(recipe, seed)
        self.optimizer = Optimizer(self.network.parameters, recipe)
        self._images = [tf.constant(images) for images in (fit.images, synthetic.digits.images, synthetic.non_digits)]
        digits = recipe.mnist_batch + recipe.synthetic_batch
        self._is_digit = tf.concat([tf.ones(digits), tf.zeros(recipe.non_digit_batch)], 0)
        self._ood_weights = tf.concat(
            [tf.fill([recipe.mnist_batch], recipe.mnist_ood_weight), tf.ones(recipe.synthetic_batch + recipe.non_digit_batch)], 0
        )

    @tf.function(autograph=False)
    def step(
        self,
        rows: list[tf.Tensor],
        labels: tf.Tensor,
        seed: tf.Tensor,
        step: tf.Tensor,
        learning_rate: tf.Tensor,
        strength: tf.Tensor,
        uphill_first: bool,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Move the network along the gradient of one batch. Returns: the loss and the accuracy over the batch's digits.

        rows: int32, the batch's rows among MNIST's digits, the synthetic digits and the non-digits. labels: uint8, of the digits.
        seed: int32[2], of augmentation and dropout. step: float32, from 1. strength: float32, of the augmentation.
        uphill_first: take the gradient `sam_rho` up the loss.
        """
        images = self._augmented(rows, seed, strength)
        if uphill_first:
            uphill, *_ = self._gradients(slice(None, None, 2), images, labels, seed)  # half the batch is enough for a direction
            moves = self.optimizer.ascend(uphill)
            gradients, loss, accuracy = self._gradients(slice(None), images, labels, seed)
            self.optimizer.take_back(moves)
        else:
            gradients, loss, accuracy = self._gradients(slice(None), images, labels, seed)
        self.optimizer.step(gradients, step, learning_rate)
        return loss, accuracy

    @tf.function(autograph=False)
    def moments(self, rows: list[tf.Tensor], seed: tf.Tensor, strength: tf.Tensor) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """The mean and variance of each layer over one batch."""
        return self.network(self._augmented(rows, seed, strength))[1]

    def _augmented(self, rows: list[tf.Tensor], seed: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
        images = tf.concat([tf.gather(pool, row) for pool, row in zip(self._images, rows, strict=True)], 0)
        return augment(images, seed, strength)

    def _gradients(self, part: slice, images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> tuple[Gradients, tf.Tensor, tf.Tensor]:
        """The gradients of the loss over a part of the batch's rows, by parameter group; that loss; and the accuracy."""
        labels = labels[part]
        network, recipe, weights = self.network, self.recipe, self._ood_weights[part]
        with tf.GradientTape() as tape:
            features, _ = network(images[part])
            features = tf.nn.experimental.stateless_dropout(features, recipe.dropout, seed + 1)
            outputs = features @ network.head + network.head_bias
            logits = outputs[: labels.shape[0], :CLASSES]
            targets = tf.one_hot(labels, CLASSES) * (1 - recipe.label_smoothing) + recipe.label_smoothing / CLASSES
            digit_loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, logits))
            # The score and the negative free energy (Liu et al. 2020): what looks like none of the ten digits is no digit.
            evidence = outputs[:, CLASSES] + tf.reduce_logsumexp(outputs[:, :CLASSES], 1)
            ood_losses = weights * tf.nn.sigmoid_cross_entropy_with_logits(self._is_digit[part], evidence)
            loss = digit_loss + recipe.ood_weight * tf.reduce_sum(ood_losses) / tf.reduce_sum(weights)
        accuracy = tf.reduce_mean(tf.cast(tf.argmax(logits, 1) == tf.cast(labels, tf.int64), tf.float32))
        return tape.gradient(loss, network.parameters), loss, accuracy


def one_cycle(done: float, warm_up: float = 0.15) -> float:
    """The learning rate as a share of its highest, after this share of the steps: up in a straight line, down a cosine (Smith 2018).

    warm_up: the share of the steps that go up; arbitrary.
    """
    return done / warm_up if done < warm_up else 0.5 * (1 + np.cos(np.pi * (done - warm_up) / (1 - warm_up)))


def augmentation_strength(done: float, full: float = 0.6, last: float = 0.4) -> float:
    """The strength of the augmentation after this share of the steps: 1 for the share `full`, then down to `last` in a straight line.

    In the end the network is trained on images nearly as they are. Both numbers are arbitrary.
    """
    return 1.0 if done < full else 1.0 - (1.0 - last) * (done - full) / (1.0 - full)


def _batches(recipe: Recipe, fit: Digits, synthetic: SyntheticSet, seed: int) -> list[list[np.ndarray]]:
    """For each step the rows, int32, of MNIST's digits, the synthetic digits and the non-digits."""
    rng = np.random.default_rng([seed, 3])
    streams = [
        _shuffled(len(fit), recipe.mnist_batch, rng),
        _shuffled(len(synthetic.digits), recipe.synthetic_batch, rng),
        _shuffled(len(synthetic.non_digits), recipe.non_digit_batch, rng),
    ]
    return [[next(stream) for stream in streams] for _ in range(recipe.steps)]


def _shuffled(total: int, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Rows in batches of `size`, every row once before any comes again."""
    pending = np.empty(0, np.int64)
    while True:
        while len(pending) < size:
            pending = np.concatenate([pending, rng.permutation(total)])
        yield pending[:size].astype(np.int32)
        pending = pending[size:]


def _fold(training: TrainingStep, batches: Sequence[list[np.ndarray]], seed: int) -> Weights:
    """The network's weights, normalised by what its layers show over some batches."""
    strength = tf.constant(augmentation_strength(1.0), tf.float32)
    measured = [
        training.moments([tf.constant(row) for row in batches[k % len(batches)]], tf.constant((seed, 2 * k), tf.int32), strength)
        for k in range(_MOMENT_BATCHES)
    ]
    layers = range(len(training.network.kernels))
    means, variances = ([np.mean([batch[layer][kind] for batch in measured], axis=0) for layer in layers] for kind in (0, 1))
    return training.network.fold(means, variances)


class _Progress:
    """A bar with loss, accuracy and time left; plain lines where stderr is no terminal."""

    def __init__(self, steps: int) -> None:
        self._steps, self._begin, self._last_line = steps, time.monotonic(), time.monotonic()
        self._bar = tqdm(total=steps, unit="step", desc="training", dynamic_ncols=True) if sys.stderr.isatty() else None

    def report(self, done: int, loss: float, accuracy: float) -> None:
        now = time.monotonic()
        if self._bar is not None:
            self._bar.set_postfix(loss=f"{loss:.4f}", accuracy=f"{accuracy:.3f}", refresh=False)
            self._bar.update(done - self._bar.n)
        elif now - self._last_line >= _REPORT_EVERY_S or done == self._steps:
            self._last_line = now
            left_s = (now - self._begin) / done * (self._steps - done)
            print(
                f"step {done} of {self._steps}: loss {loss:.4f}, accuracy {accuracy:.3f}, {left_s:.0f} s left", file=sys.stderr, flush=True
            )

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
