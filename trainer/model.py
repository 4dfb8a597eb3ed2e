"""The network: convolutions with batch normalisation, then a linear head of eleven outputs: ten logits and a digit score.

A `Network` of variables is trained. `Weights` are served: plain arrays, with the normalisation folded into the convolutions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import tensorflow as tf

from trainer.config import Recipe
from trainer.dataset import CLASSES

_EPSILON = 1e-3  # added to the variance; the default of Keras


@dataclass(frozen=True, repr=False)
class Weights:
    """A trained network as plain arrays."""

    kernels: list[np.ndarray]
    """float32[y, x, in, out] for each convolution; the first takes ink 0 to 1."""
    biases: list[np.ndarray]
    """float32[out]."""
    strides: list[int]
    """px."""
    head: np.ndarray
    """float32[features, 11]."""
    head_bias: np.ndarray
    """float32[11]."""

    @property
    def parameter_count(self) -> int:
        """How many numbers it has."""
        return sum(array.size for array in (*self.kernels, *self.biases, self.head, self.head_bias))

    @property
    def finite(self) -> bool:
        """Whether it has no NaN and no infinity."""
        return all(np.isfinite(array).all() for array in (*self.kernels, *self.biases, self.head, self.head_bias))

    def __call__(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Ink float32[N, 28, 28, 1], 0 to 1 → logits float32[N, 10] and digit scores float32[N]."""
        for kernel, bias, stride in zip(self.kernels, self.biases, self.strides, strict=True):
            images = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(images, tf.constant(kernel), stride, "SAME"), tf.constant(bias)))
        features = tf.reshape(images, (-1, self.head.shape[0]))
        out = tf.matmul(features, tf.constant(self.head)) + tf.constant(self.head_bias)
        return out[:, :CLASSES], out[:, CLASSES]

    @cached_property
    def _run(self) -> Callable[[np.ndarray], tuple[tf.Tensor, tf.Tensor]]:
        return tf.function(self.__call__, autograph=False, input_signature=[tf.TensorSpec((None, 28, 28, 1), tf.float32)])

    def score(self, images: np.ndarray, batch: int = 1000) -> tuple[np.ndarray, np.ndarray]:
        """Logits float32[N, 10] and digit scores float32[N] of frames uint8[N, 28, 28], or of ink float32[N, 28, 28, 1], 0 to 1."""
        scale = np.float32(255 if images.dtype == np.uint8 else 1)
        parts = [self._run(images[i : i + batch].reshape(-1, 28, 28, 1) / scale) for i in range(0, len(images), batch)]
        return np.concatenate([logits.numpy() for logits, _ in parts]), np.concatenate([score.numpy() for _, score in parts])


class Network:
    """The network in training."""

    def __init__(self, recipe: Recipe, seed: int) -> None:
        rng = np.random.default_rng([seed, 2])
        self.strides = [stride for _, _, stride in recipe.layers]
        self.kernels, self.scales, self.offsets = [], [], []
        before, size = 1, 28
        for channels, kernel, stride in recipe.layers:
            spread = np.sqrt(2 / (kernel * kernel * before))  # He et al. 2015
            self.kernels.append(tf.Variable(rng.normal(0, spread, (kernel, kernel, before, channels)).astype(np.float32)))
            self.scales.append(tf.Variable(tf.ones(channels)))
            self.offsets.append(tf.Variable(tf.zeros(channels)))
            before, size = channels, -(-size // stride)
        features = before * size * size
        self.head = tf.Variable(rng.normal(0, np.sqrt(1 / features), (features, CLASSES + 1)).astype(np.float32))
        self.head_bias = tf.Variable(tf.zeros(CLASSES + 1))

    @property
    def parameters(self) -> dict[str, list[tf.Variable]]:
        """All that the optimiser moves, by the name of the group; `optimizer.RULES` says how."""
        return {"convolutions": self.kernels, "head": [self.head], "scales and biases": [*self.scales, *self.offsets, self.head_bias]}

    def __call__(self, images: tf.Tensor) -> tuple[tf.Tensor, list[tuple[tf.Tensor, tf.Tensor]]]:
        """Ink float32[N, 28, 28, 1] → features float32[N, F], normalised by this batch, and the mean and variance of each layer."""
        moments = []
        for kernel, scale, offset, stride in zip(self.kernels, self.scales, self.offsets, self.strides, strict=True):
            images = tf.nn.conv2d(images, kernel, stride, "SAME")
            images, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
                x=images, scale=scale, offset=offset, mean=[], variance=[], epsilon=_EPSILON, is_training=True
            )
            moments.append((mean, variance))
            images = tf.nn.relu(images)
        return tf.reshape(images, (-1, self.head.shape[0])), moments

    def fold(self, means: Sequence[np.ndarray], variances: Sequence[np.ndarray]) -> Weights:
        """The weights, with the normalisation by these means and variances of each layer folded into the convolutions."""
        kernels, biases = [], []
        for kernel, scale, offset, mean, variance in zip(self.kernels, self.scales, self.offsets, means, variances, strict=True):
            factor = scale.numpy() / np.sqrt(variance + _EPSILON)
            kernels.append((kernel.numpy() * factor).astype(np.float32))
            biases.append((offset.numpy() - mean * factor).astype(np.float32))
        return Weights(kernels, biases, self.strides, self.head.numpy(), self.head_bias.numpy())
