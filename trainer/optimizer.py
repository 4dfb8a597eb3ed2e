"""Muon for the convolutions, Adam for the rest, both with decoupled weight decay; and the average of the weights that is served.

Muon (Jordan et al. 2024) moves a matrix along its momentum with every singular value made nearly 1, so that rare directions learn as fast
as common ones. Its step is scaled to the size that Adam's has (Liu et al. 2025), so both take the same learning rate and decay.
"""

from collections.abc import Sequence

import tensorflow as tf

from trainer.config import Recipe
from trainer.model import Network

_ADAM_MOMENTUM, _ADAM_SQUARES, _ADAM_EPSILON = 0.9, 0.99, 1e-8
_MUON_MOMENTUM = 0.95
_MUON_RMS = 0.3  # of a step's entries; Adam's are 0.2 to 0.4 (Liu et al. 2025)
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # a, b, c of x → ax + b(xxᵀ)x + c(xxᵀ)²x, steep at 0 (Jordan et al. 2024)
_NEWTON_SCHULZ_ROUNDS = 5


class Optimizer:
    """Moves a network's variables; `use_average` leaves the average of their last values in their place."""

    def __init__(self, network: Network, recipe: Recipe) -> None:
        self._recipe = recipe
        self._variables = network.variables
        self._convolutions, self._decaying = len(network.kernels), len(network.kernels) + 1
        self._first = [tf.Variable(tf.zeros_like(v)) for v in self._variables]
        self._second = [tf.Variable(tf.zeros_like(v)) for v in self._variables[self._convolutions :]]
        self._average = [tf.Variable(v) for v in self._variables]

    def ascend(self, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
        """Move what decays up the loss by the recipe's `sam_rho` in all, and return the moves, for `step` to take back.

        A gradient from there leads to where the loss is low all around, not only at one point: sharpness-aware (Foret et al. 2021).
        """
        gradients = gradients[: self._decaying]
        scale = self._recipe.sam_rho / (tf.linalg.global_norm(gradients) + 1e-12)
        moves = [scale * gradient for gradient in gradients]
        for variable, move in zip(self._variables, moves, strict=False):
            variable.assign_add(move)
        return moves

    def step(self, gradients: list[tf.Tensor], number: tf.Tensor, rate: tf.Tensor, ascended: Sequence[tf.Tensor] = ()) -> None:
        """One step, the first being number 1.0, along the gradients (one for each of the network's variables, in that order).

        ascended: the moves of `ascend`, to be taken back first.
        """
        for variable, move in zip(self._variables, ascended, strict=False):
            variable.assign_sub(move)
        keep = tf.minimum(self._recipe.ema_decay, number / (9 + number))
        for k, (variable, momentum, gradient, average) in enumerate(
            zip(self._variables, self._first, gradients, self._average, strict=True)
        ):
            if k < self._convolutions:
                momentum.assign_add((1 - _MUON_MOMENTUM) * (gradient - momentum))
                move = orthogonal((1 - _MUON_MOMENTUM) * gradient + _MUON_MOMENTUM * momentum)  # Nesterov's look ahead
            else:
                squares = self._second[k - self._convolutions]
                momentum.assign_add((1 - _ADAM_MOMENTUM) * (gradient - momentum))
                squares.assign_add((1 - _ADAM_SQUARES) * (gradient * gradient - squares))
                move = momentum / (1 - _ADAM_MOMENTUM**number) / (tf.sqrt(squares / (1 - _ADAM_SQUARES**number)) + _ADAM_EPSILON)
            variable.assign_sub(rate * (move + (self._recipe.weight_decay * variable if k < self._decaying else 0.0)))
            average.assign_add((1 - keep) * (variable - average))

    def use_average(self) -> None:
        """Set the variables to their averages."""
        for variable, average in zip(self._variables, self._average, strict=True):
            variable.assign(average)


def orthogonal(kernel: tf.Tensor) -> tf.Tensor:
    """float32[y, x, in, out] → the same shape: as a matrix of (y x in) by out, its singular values made alike (0.7 to 1.2, by
    Newton-Schulz), scaled so that the root of the mean square of its entries is about 0.3."""
    matrix = tf.reshape(kernel, (-1, kernel.shape[-1]))
    high = matrix.shape[0] > matrix.shape[1]
    x = tf.transpose(matrix) if high else matrix
    x /= tf.norm(x) + 1e-7
    a, b, c = _NEWTON_SCHULZ
    for _ in range(_NEWTON_SCHULZ_ROUNDS):
        square = tf.matmul(x, x, transpose_b=True)
        x = a * x + tf.matmul(b * square + c * tf.matmul(square, square), x)
    x *= _MUON_RMS * float(max(x.shape)) ** 0.5
    return tf.reshape(tf.transpose(x) if high else x, kernel.shape)
