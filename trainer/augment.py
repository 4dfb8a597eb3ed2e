"""The augmentation of all training images, digits and non-digits alike: turn, stretch, slant, bend, pen width and ink, in the graph.

Non-digits that pass through another augmentation than the digits teach a model "sharp means no digit"; so there is only this one.
Its spreads are arbitrary.
"""

import numpy as np
import tensorflow as tf

_SIZE = 28
_PAD = 2  # px of paper around the image, so that what is outside it is 0
_KNOTS = 5  # of the elastic field along each axis; arbitrary, bends of a quarter of the frame


def _bumps() -> np.ndarray:
    """float32[784, 25]: how much each knot of a coarse grid bends each pixel (Gaussian, normalised)."""
    pixel, knot = np.linspace(0, 1, _SIZE), np.linspace(0, 1, _KNOTS)
    weight = np.exp(-(((pixel[:, None] - knot) * (_KNOTS - 1)) ** 2))  # (28, 5)
    weight /= weight.sum(axis=1, keepdims=True)
    return np.einsum("yk,xl->yxkl", weight, weight).reshape(_SIZE**2, _KNOTS**2).astype(np.float32)


_GRID = np.stack(np.meshgrid(np.arange(_SIZE), np.arange(_SIZE)), -1).reshape(-1, 2).astype(np.float32) - (_SIZE - 1) / 2  # (784, [x, y])
_BUMPS = _bumps()


def augment(images: tf.Tensor, seed: tf.Tensor, strength: float | tf.Tensor = 1.0) -> tf.Tensor:
    """uint8[N, 28, 28] → float32[N, 28, 28, 1], ink 0 to 1, each image warped by random numbers of its own. seed: int32[2]."""
    n = tf.shape(images)[0]
    draw = tf.random.experimental.stateless_split(seed, 3)
    turn, slant, wide, high, right, down, thick, gain = tf.unstack(tf.random.stateless_normal((8, n), draw[0]) * strength)
    turn, slant = 0.13 * turn, 0.16 * slant  # radians
    wide, high = tf.exp(-0.09 * wide), tf.exp(-0.07 * high)
    cos, sin = tf.cos(turn), tf.sin(turn)
    linear = tf.stack([tf.stack([cos * wide, sin * wide], 1), tf.stack([(slant * cos - sin) * high, (slant * sin + cos) * high], 1)], 1)
    at = tf.einsum("pc,ncd->npd", tf.constant(_GRID), linear) + tf.stack([right, down], 1)[:, None] * 0.7
    bend = tf.random.stateless_normal((n, _KNOTS**2, 2), draw[1]) * (1.0 * strength)
    at += tf.einsum("pk,nkd->npd", tf.constant(_BUMPS), bend)
    warped = tf.reshape(_sample(images, at + (_SIZE - 1) / 2), (n, _SIZE, _SIZE, 1))
    return _pen(warped, 0.3 * thick, tf.exp(0.1 * gain))


def _sample(images: tf.Tensor, at: tf.Tensor) -> tf.Tensor:
    """The images' grey between pixels: at float32[N, 784, [x, y]] → float32[N, 784], 0 outside."""
    side = _SIZE + 2 * _PAD
    ink = tf.pad(tf.cast(images, tf.float32) / 255, ((0, 0), (_PAD, _PAD + 1), (_PAD, _PAD + 1)))
    quads = tf.stack([ink[:, :-1, :-1], ink[:, :-1, 1:], ink[:, 1:, :-1], ink[:, 1:, 1:]], -1)  # one gather for four corners is faster
    at = tf.clip_by_value(at + _PAD, 0, side - 1)
    low = tf.floor(at)
    x, y = tf.unstack(at - low, axis=-1)
    cell = tf.cast(low[..., 1] * side + low[..., 0], tf.int32)
    corner = tf.unstack(tf.gather(tf.reshape(quads, (-1, side * side, 4)), cell, batch_dims=1), axis=-1)
    upper, lower = corner[0] + x * (corner[1] - corner[0]), corner[2] + x * (corner[3] - corner[2])
    return upper + y * (lower - upper)


def _pen(images: tf.Tensor, thicker: tf.Tensor, gain: tf.Tensor) -> tf.Tensor:
    """The images with thicker lines (thicker > 0) or thinner ones, by part of a grey dilation or erosion, and with more or less ink."""
    thicker, gain = tf.clip_by_value(thicker, -0.45, 0.8)[:, None, None, None], gain[:, None, None, None]
    wide = tf.nn.max_pool2d(images, 3, 1, "SAME")
    thin = -tf.nn.max_pool2d(-images, 3, 1, "SAME")
    images = tf.where(thicker > 0, images + thicker * (wide - images), images - thicker * (thin - images))
    return tf.clip_by_value(images * gain, 0, 1)
