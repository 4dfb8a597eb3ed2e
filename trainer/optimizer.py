"""Muon for the convolutions, Adam for the rest, both with decoupled weight decay; and the moving average of the weights.

Muon (Jordan et al. 2024) moves a matrix along its momentum with every singular value made nearly 1, so that rare directions are learned as
fast as common ones. Its step is scaled to the size of Adam's (Liu et al. 2025), so both take the same learning rate and weight decay.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import tensorflow as tf

from trainer.config import Recipe

_ADAM_BETA_1, _ADAM_BETA_2, _ADAM_EPSILON = 0.9, 0.99, 1e-8  # beta 2 is below Adam's own 0.999, since the runs are short
_MUON_MOMENTUM = 0.95  # Jordan et al. 2024
_MUON_RMS = 0.3  # of a step's entries; Adam's are 0.2 to 0.4 (Liu et al. 2025)
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # a, b, c of x → ax + b(xxᵀ)x + c(xxᵀ)²x, steep at 0 (Jordan et al. 2024)
_NEWTON_SCHULZ_ROUNDS = 5  # Jordan et al. 2024
_EMA_WARMUP = 9  # the average's decay is at most step / (9 + step), so that the first steps are soon forgotten (TensorFlow's own formula)

Parameters = Mapping[str, Sequence[tf.Variable]]
Gradients = Mapping[str, Sequence[tf.Tensor]]


@dataclass(frozen=True)
class Rule:
    """How the parameters of one group are moved."""

    muon: bool
    """By Muon, else by Adam."""
    decays: bool
    """Weight decay and the move up the loss of sharpness-aware minimisation apply."""


RULES = {
    "convolutions": Rule(muon=True, decays=True),
    "head": Rule(muon=False, decays=True),
    "scales and biases": Rule(muon=False, decays=False),
}
"""For each group of `Network.parameters`."""


class _Slot:
    """A variable, and what the optimiser remembers about it."""

    def __init__(self, variable: tf.Variable) -> None:
        self.variable = variable
        self.momentum, self.squares = (tf.Variable(tf.zeros_like(variable)) for _ in range(2))  # Muon leaves the squares at 0
        self.average = tf.Variable(variable)


class Optimizer:
    """Moves the parameters of a network, each group by its rule."""

    def __init__(self, parameters: Parameters, recipe: Recipe) -> None:
        self._recipe = recipe
        self._slots = {group: [_Slot(variable) for variable in variables] for group, variables in parameters.items()}

    def ascend(self, gradients: Gradients) -> dict[str, list[tf.Tensor]]:
        """Move the parameters that decay up the loss by the recipe's `sam_rho` in all. Returns the moves, for `take_back`.

        A gradient taken there leads to where the loss is low all around: sharpness-aware minimisation (Foret et al. 2021).
        """
        uphill = {group: gradients[group] for group, rule in RULES.items() if rule.decays}
        scale = self._recipe.sam_rho / (tf.linalg.global_norm([gradient for group in uphill.values() for gradient in group]) + 1e-12)
        moves = {group: [scale * gradient for gradient in group_gradients] for group, group_gradients in uphill.items()}
        for group, group_moves in moves.items():
            for slot, move in zip(self._slots[group], group_moves, strict=True):
                slot.variable.assign_add(move)
        return moves

    def take_back(self, moves: Mapping[str, Sequence[tf.Tensor]]) -> None:
        """Take back the moves of `ascend`."""
        for group, group_moves in moves.items():
            for slot, move in zip(self._slots[group], group_moves, strict=True):
                slot.variable.assign_sub(move)

    def step(self, gradients: Gradients, step: tf.Tensor, learning_rate: tf.Tensor) -> None:
        """Move every parameter once. step: float32, 1.0 for the first step of the run."""
        ema_decay = tf.minimum(self._recipe.ema_decay, step / (_EMA_WARMUP + step))
        for group, slots in self._slots.items():
            rule = RULES[group]
            for slot, gradient in zip(slots, gradients[group], strict=True):
                move = _muon(slot, gradient) if rule.muon else _adam(slot, gradient, step)
                if rule.decays:
                    move += self._recipe.weight_decay * slot.variable
                slot.variable.assign_sub(learning_rate * move)
                slot.average.assign_add((1 - ema_decay) * (slot.variable - slot.average))

    def use_average(self) -> None:
        """Set the parameters to their moving averages."""
        for slots in self._slots.values():
            for slot in slots:
                slot.variable.assign(slot.average)


def _muon(slot: _Slot, gradient: tf.Tensor) -> tf.Tensor:
    slot.momentum.assign_add((1 - _MUON_MOMENTUM) * (gradient - slot.momentum))
    return orthogonal((1 - _MUON_MOMENTUM) * gradient + _MUON_MOMENTUM * slot.momentum)  # Nesterov's momentum


def _adam(slot: _Slot, gradient: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    slot.momentum.assign_add((1 - _ADAM_BETA_1) * (gradient - slot.momentum))
    slot.squares.assign_add((1 - _ADAM_BETA_2) * (gradient * gradient - slot.squares))
    mean, mean_square = slot.momentum / (1 - _ADAM_BETA_1**step), slot.squares / (1 - _ADAM_BETA_2**step)
    return mean / (tf.sqrt(mean_square) + _ADAM_EPSILON)


def orthogonal(kernel: tf.Tensor) -> tf.Tensor:
    """The kernel, float32[y, x, in, out], with the singular values of its matrix of (y x in) by out made nearly equal (0.7 to 1.2).

    By five rounds of a Newton-Schulz iteration; then scaled so that the root of the mean square of its entries is about 0.3.
    """
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
