"""The network, its augmentation and calibration, in TensorFlow but in seconds: a few small batches."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer import non_digits, strokes
from trainer.augment import augment
from trainer.calibrate import Calibration, calibrate
from trainer.card import table
from trainer.config import RECIPES, TINY
from trainer.dataset import Digits
from trainer.errors import TrainingError
from trainer.evaluate import ErrorSheet, Evaluation
from trainer.metrics import auroc, nll, percent, softmax
from trainer.mixture import Mixture
from trainer.model import Network, Weights
from trainer.optimizer import Optimizer, orthogonal
from trainer.synthetic import SyntheticSet
from trainer.train import one_cycle, train


@pytest.fixture(scope="module")
def synthetic() -> SyntheticSet:
    rng = np.random.default_rng(0)
    images = np.stack([strokes.to_frame(strokes.draw_digit(k % 10, rng)) for k in range(200)])
    return SyntheticSet(Digits(images, (np.arange(200) % 10).astype(np.uint8)), strokes.draw_many(non_digits.draw_non_digit, 100, (1,)))


def test_augmentation_repeats_with_its_seed_keeps_shape_and_range_and_moves_the_ink(synthetic):
    images = tf.constant(synthetic.digits.images)
    one, again, other = (augment(images, tf.constant(seed, tf.int32)).numpy() for seed in ((1, 2), (1, 2), (1, 3)))
    assert one.shape == (200, 28, 28, 1)
    assert one.min() >= 0 and one.max() <= 1
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).mean() > 0.01


def test_augmentation_of_strength_zero_changes_nothing(synthetic):
    still = augment(tf.constant(synthetic.digits.images), tf.constant((1, 2), tf.int32), 0.0).numpy()[..., 0]
    np.testing.assert_allclose(still, synthetic.digits.images / 255, atol=1e-4)


def every(groups) -> list:
    """The tensors of all parameter groups, in the groups' order."""
    return [tensor for group in groups.values() for tensor in group]


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_the_network_gives_features_for_its_head_and_stays_small(recipe):
    network = Network(recipe, seed=0)
    features, moments = network(tf.zeros((3, 28, 28, 1)))
    assert features.shape == (3, network.head.shape[0])
    assert len(moments) == len(recipe.layers)
    assert sum(int(np.prod(v.shape)) for v in every(network.parameters)) < 300_000


def test_folding_keeps_the_outputs(synthetic):
    network = Network(TINY, seed=3)
    rng = np.random.default_rng(3)
    for scale, offset in zip(network.scales, network.offsets, strict=True):
        scale.assign(rng.uniform(0.5, 2, scale.shape))
        offset.assign(rng.normal(0, 1, offset.shape))
    ink = synthetic.digits.images[..., None].astype(np.float32) / 255
    features, moments = network(tf.constant(ink))
    wanted = (features @ network.head + network.head_bias).numpy()
    count = [
        np.prod(shape) for shape in ((200, 14, 14), (200, 7, 7), (200, 4, 4))
    ]  # the layer reports the unbiased variance, it uses the other
    weights = network.fold([m.numpy() for m, _ in moments], [v.numpy() * (n - 1) / n for (_, v), n in zip(moments, count, strict=True)])
    logits, scores = weights.score(synthetic.digits.images)
    np.testing.assert_allclose(logits, wanted[:, :10], atol=1e-3)
    np.testing.assert_allclose(scores, wanted[:, 10], atol=1e-3)


@pytest.mark.parametrize("changed", [{}, {"sam_rho": 0.1, "mnist_ood_weight": 0.1}], ids=["plain", "sharpness-aware, MNIST counts less"])
def test_a_few_steps_learn_and_repeat(synthetic, changed):
    recipe = dataclasses.replace(TINY, steps=40, mnist_batch=32, synthetic_batch=16, non_digit_batch=16, **changed)
    first, second = (train(recipe, synthetic.digits, synthetic, seed=4) for _ in range(2))
    for one, other in zip(first.kernels, second.kernels, strict=True):
        np.testing.assert_array_equal(one, other)
    right = first.score(synthetic.digits.images)[0].argmax(axis=1) == synthetic.digits.labels
    assert right.mean() > 0.5
    other = train(recipe, synthetic.digits, synthetic, seed=5)
    assert (other.head != first.head).any()


@pytest.mark.parametrize("rate", [float("nan"), 1e30], ids=["a rate of NaN", "a rate far too high"])
def test_training_that_ends_in_nan_is_refused(synthetic, rate):
    recipe = dataclasses.replace(TINY, steps=20, learning_rate=rate, mnist_batch=16, synthetic_batch=8, non_digit_batch=8)
    with pytest.raises(TrainingError, match="nothing was published"):
        train(recipe, synthetic.digits, synthetic, seed=0)


@pytest.mark.parametrize("shape", [(3, 3, 1, 16), (4, 4, 16, 32), (3, 3, 8, 96)], ids=["flat", "high", "almost square"])
def test_an_orthogonal_step_keeps_the_singular_directions_of_its_momentum_and_evens_their_sizes(shape):
    kernel = np.random.default_rng(7).normal(0, 1e-3, shape).astype(np.float32)
    step = orthogonal(tf.constant(kernel)).numpy().reshape(-1, shape[-1])
    assert np.sqrt((step**2).mean()) == pytest.approx(0.3, rel=0.2)
    left, _, right = np.linalg.svd(kernel.reshape(-1, shape[-1]), full_matrices=False)
    within = left.T @ step @ right.T / (0.3 * np.sqrt(max(step.shape)))
    np.testing.assert_allclose(within - np.diag(np.diag(within)), 0, atol=2e-3)
    assert np.diag(within).min() > 0.6 and np.diag(within).max() < 1.3


def test_a_zero_gradient_gives_a_zero_step():
    assert not orthogonal(tf.zeros((3, 3, 4, 8))).numpy().any()


def random_gradients(network: Network) -> dict[str, list[tf.Tensor]]:
    rng = np.random.default_rng(1)
    return {
        group: [tf.constant(rng.normal(0, 1, v.shape), tf.float32) for v in variables] for group, variables in network.parameters.items()
    }


def values(network: Network) -> dict[str, list[np.ndarray]]:
    return {group: [v.numpy() for v in variables] for group, variables in network.parameters.items()}


def test_the_optimizer_descends_decays_only_kernels_and_head_and_keeps_the_average():
    recipe = dataclasses.replace(TINY, ema_decay=0.5, weight_decay=0.1)
    network = Network(recipe, seed=1)
    optimizer = Optimizer(network.parameters, recipe)
    before, gradients, after = values(network), random_gradients(network), []
    for step in (1.0, 2.0):
        optimizer.step(gradients, tf.constant(step), tf.constant(0.01))
        after.append(values(network))
    for start, one, gradient in zip(before["convolutions"], after[0]["convolutions"], gradients["convolutions"], strict=True):
        assert ((start - one - 0.01 * 0.1 * start) * gradient.numpy()).sum() > 0
    (head,), (head_gradient,) = before["head"], gradients["head"]
    np.testing.assert_allclose(after[0]["head"][0], head - 0.01 * (np.sign(head_gradient) + 0.1 * head), atol=1e-5)
    rest = "scales and biases"
    for start, one, gradient in zip(before[rest], after[0][rest], gradients[rest], strict=True):
        np.testing.assert_allclose(one, start - 0.01 * np.sign(gradient), atol=1e-5)
    optimizer.use_average()
    # The first steps count for more: 1/10, 2/11.
    for start, one, two, average in zip(every(before), every(after[0]), every(after[1]), every(values(network)), strict=True):
        expected = 2 / 11 * (1 / 10 * start + 9 / 10 * one) + 9 / 11 * two
        np.testing.assert_allclose(average, expected, atol=1e-6)


def test_the_ascent_is_as_long_as_the_recipe_says_moves_what_decays_and_is_taken_back():
    network, other = Network(TINY, seed=1), Network(TINY, seed=1)
    optimizer = Optimizer(network.parameters, dataclasses.replace(TINY, sam_rho=0.3))
    before, gradients = values(network), random_gradients(network)
    moves = optimizer.ascend(gradients)
    moved = {group: [now - start for now, start in zip(values(network)[group], before[group], strict=True)] for group in before}
    assert np.sqrt(sum((move**2).sum() for move in every(moved))) == pytest.approx(0.3, rel=1e-4)
    for group in ("convolutions", "head"):
        for move, gradient in zip(moved[group], gradients[group], strict=True):
            assert (move * gradient.numpy()).sum() == pytest.approx(np.linalg.norm(move) * np.linalg.norm(gradient), rel=1e-4)
    assert not any(move.any() for move in moved["scales and biases"])
    optimizer.take_back(moves)
    optimizer.step(gradients, tf.constant(1.0), tf.constant(0.01))
    Optimizer(other.parameters, TINY).step(gradients, tf.constant(1.0), tf.constant(0.01))
    for one, expected in zip(every(values(network)), every(values(other)), strict=True):
        np.testing.assert_allclose(one, expected, atol=1e-6)


def test_the_learning_rate_rises_and_falls_to_zero():
    rates = [one_cycle(done) for done in np.linspace(0, 1, 101)]
    assert rates[0] == 0 and max(rates) == pytest.approx(1) and rates[-1] == pytest.approx(0)
    assert rates.index(max(rates)) == 15


@settings(max_examples=50)
@given(st.floats(0.05, 20), st.integers(0, 1000))
def test_temperature_keeps_the_likeliest_digit(temperature, seed):
    logits = np.random.default_rng(seed).normal(0, 5, (20, 10))
    calibration = Calibration(0.8, temperature, 1.0, 0.0, 0.0, 0.5)
    outputs = calibration.outputs(logits, np.zeros(20))
    np.testing.assert_array_equal(outputs["probabilities"].argmax(axis=1), logits.argmax(axis=1))
    np.testing.assert_array_equal(outputs["digit"], logits.argmax(axis=1))


_NO_WEIGHTS = ([], [], [], np.zeros((1, 11), np.float32), np.zeros(11, np.float32))  # of models whose numbers are made up


class _Overconfident(Weights):
    """A model whose numbers are known: its logits are three times the calibrated ones, and mean ink alone tells it digits."""

    def score(self, images, batch=1000):
        draw = np.random.default_rng(abs(int(np.asarray(images, np.float64).sum())) % 2**32)
        n = len(images)
        rows, labels = np.arange(n), np.arange(n) % 10
        logits = draw.normal(0, 3, (n, 10))
        drawn = (logits + draw.gumbel(size=(n, 10))).argmax(axis=1)  # a label with the probability that a softmax of the logits gives it
        logits[rows, drawn], logits[rows, labels] = logits[rows, labels], logits[rows, drawn]  # and that one is the true label
        digit = np.asarray(images).reshape(n, -1).mean(axis=1) / (255 if images.dtype == np.uint8 else 1)
        return (3 * logits).astype(np.float32), (8 * (digit < 0.3) - 4 + draw.normal(0, 2, n)).astype(np.float32)


@pytest.fixture
def overconfident() -> Weights:
    return _Overconfident(*_NO_WEIGHTS)


def test_calibration_lowers_the_confidence_of_an_overconfident_model_and_its_threshold_rejects_few_digits(synthetic, overconfident):
    black = SyntheticSet(synthetic.digits, np.full_like(synthetic.non_digits, 255))
    calibration = calibrate(overconfident, synthetic.digits, black, 0.8, seed=0)
    logits, scores = overconfident.score(synthetic.digits.images)
    assert calibration.temperature > 1.2
    outputs = calibration.outputs(logits, scores)
    assert nll(outputs["probabilities"], synthetic.digits.labels) < nll(softmax(logits), synthetic.digits.labels)
    assert (~outputs["accepted"]).mean() < 0.05
    assert 0 < calibration.threshold < 1


class _Flat(_Overconfident):
    """Its digit score tells little; but no digit stands out among the logits of what is none."""

    def score(self, images, batch=1000):
        logits, scores = super().score(images)
        digit = scores > 0
        noise = np.random.default_rng(len(images)).normal(0, 8, len(images))
        return logits * np.where(digit, 1, 0.1)[:, None].astype(np.float32), (scores + noise).astype(np.float32)


def test_the_free_energy_of_the_logits_improves_the_digit_probability(synthetic):
    black = SyntheticSet(synthetic.digits, np.full_like(synthetic.non_digits, 255))
    model = _Flat(*_NO_WEIGHTS)
    calibration = calibrate(model, synthetic.digits, black, 0.8, seed=0)
    digits, others = (model.score(images) for images in (synthetic.digits.images, black.non_digits))
    assert calibration.energy_scale > 0
    assert auroc(*(calibration.outputs(*each)["is_digit_probability"] for each in (digits, others))) > auroc(digits[1], others[1]) + 0.05


def test_a_score_that_does_not_tell_digits_from_non_digits_is_refused(synthetic, overconfident):
    backwards = SyntheticSet(Digits(np.full_like(synthetic.digits.images, 255), synthetic.digits.labels), synthetic.digits.images)
    with pytest.raises(TrainingError, match="does not tell digits from non-digits"):
        calibrate(overconfident, backwards.digits, backwards, 0.8, seed=0)


@pytest.mark.parametrize("prior", [0.5, 0.8, 0.95])
def test_confidence_is_calibrated_among_digits_and_non_digits_at_the_prior(synthetic, overconfident, prior):
    """The made-up model doubts some digits and non-digits alike, so that every confidence occurs."""
    many = Digits(np.tile(synthetic.digits.images, (10, 1, 1)), np.tile(synthetic.digits.labels, 10))  # of 200 the accuracy is known to 4 %
    black = SyntheticSet(many, np.full((1_000, 28, 28), 255, np.uint8))
    calibration = calibrate(overconfident, many, black, prior, seed=0)
    digits, others = (calibration.outputs(*overconfident.score(np.tile(images, (2, 1, 1)))) for images in (many.images, black.non_digits))
    labels = np.arange(len(digits["digit"])) % 10
    for share in (0.05, 0.2, 0.5):
        mixture = Mixture.of(digits, labels, others, prior, share)
        assert np.average(mixture.confidence, weights=mixture.weight) == pytest.approx(
            np.average(mixture.right, weights=mixture.weight), abs=0.03
        )


def test_the_card_has_a_column_for_each_recipe_and_a_mean_of_several_versions():
    def version(recipe, accuracy):
        return Evaluation(
            1, {"recipe": recipe}, [percent("accuracy", accuracy, "n 3")], {}, {}, ErrorSheet(np.zeros((0, 28, 28), np.uint8), [])
        )

    heads, rows = table([version("best", 0.98), version("best", 0.99), version("quick", 0.97)])
    assert heads == ["metric", "best", "quick", "conditions"]
    assert rows == [["accuracy", "98.50 ± 0.71 %", "97.00 %", "n 3"]]
