"""Figures of `confidence` among digits and non-digits, against tables computed by hand and made-up models that are calibrated."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer import non_digits
from trainer.dataset import Digits
from trainer.gate import check_confidence
from trainer.metrics import Outputs
from trainer.mixture import NON_DIGIT_SHARES, Mixture, shift_prior


def outputs(likeliest: np.ndarray, is_digit: np.ndarray, accepted: np.ndarray | None = None) -> Outputs:
    """A model's outputs that always names 0, with these probabilities."""
    probabilities = np.concatenate([likeliest[:, None], np.repeat((1 - likeliest[:, None]) / 9, 9, axis=1)], axis=1)
    return {
        "probabilities": probabilities,
        "is_digit_probability": is_digit,
        "accepted": np.ones(len(likeliest), bool) if accepted is None else accepted,
    }


def calibrated(prior: float, count: int, seed: int = 0) -> tuple[Outputs, np.ndarray, Outputs]:
    """Of a model that is right as often as it says, at the prior: outputs for digits, their labels, outputs for non-digits."""
    rng = np.random.default_rng(seed)
    evidence = np.concatenate([rng.normal(1, 1, count), rng.normal(-1, 1, count)])  # log likelihood ratio 2 x evidence
    is_digit = 1 / (1 + (1 - prior) / prior * np.exp(-2 * evidence))
    likeliest = rng.uniform(0.5, 1, 2 * count)
    labels = (rng.random(count) >= likeliest[:count]).astype(int)
    return outputs(likeliest[:count], is_digit[:count]), labels, outputs(likeliest[count:], is_digit[count:])


@pytest.mark.parametrize("share", NON_DIGIT_SHARES)
@pytest.mark.parametrize("prior", [0.5, 0.8])
def test_a_calibrated_model_is_calibrated_at_every_mix_once_its_odds_are_shifted(prior, share):
    digits, labels, others = calibrated(prior, 50_000)
    assert Mixture.of(digits, labels, others, prior, share).ece() < 0.01
    unshifted = Mixture.of(digits, labels, others, 1 - share, share)  # the prior that needs no shift, which is not its own
    assert (unshifted.ece() < 0.01) == (prior == pytest.approx(1 - share))


def test_ece_nll_and_accuracy_agree_with_a_table_computed_by_hand():
    """Digits with weight 0.4 each, one of them read wrongly; a non-digit with weight 0.2; all with another confidence."""
    digits = outputs(np.array([0.9, 0.8]), np.array([1.0, 0.75]))
    mixture = Mixture.of(digits, np.array([0, 3]), outputs(np.array([0.5]), np.array([0.5])), 0.8, 0.2)
    assert mixture.confidence == pytest.approx([0.9, 0.6, 0.25])
    assert mixture.right.tolist() == [True, False, False]
    assert mixture.ece() == pytest.approx(0.4 * 0.1 + 0.4 * 0.6 + 0.2 * 0.25)
    assert mixture.nll() == pytest.approx(-0.4 * np.log(0.9) - 0.4 * np.log(0.4) - 0.2 * np.log(0.75))
    assert mixture.accuracy_from(0.9) == 1
    assert mixture.accuracy_from(0.6) == pytest.approx(0.5)
    assert mixture.accuracy_from(0.0) == pytest.approx(0.4)
    assert mixture.accuracy_from(0.95) == 1
    coverage, risk = mixture.risk_coverage()
    assert coverage == pytest.approx([0.4, 0.8, 1.0])
    assert risk == pytest.approx([0, 0.5, 0.6])
    low, high = mixture.reliability([0.0, 0.5, 1.0])
    assert (low["count"], low["confidence"], low["accuracy"]) == (1, pytest.approx(0.25), 0)
    assert (high["count"], high["confidence"], high["accuracy"]) == (2, pytest.approx(0.75), pytest.approx(0.5))


def test_what_is_not_accepted_is_no_answer_but_counts_among_the_drawings():
    digits = outputs(np.array([0.9, 0.9]), np.array([1.0, 1.0]), np.array([True, False]))
    mixture = Mixture.of(digits, np.array([0, 0]), outputs(np.array([0.5]), np.array([0.5]), np.array([False])), 0.8, 0.2)
    assert len(mixture.confidence) == 1
    assert mixture.risk_coverage()[0] == pytest.approx([0.4])


def test_no_answers_claim_nothing():
    none = outputs(np.array([0.5]), np.array([0.5]), np.array([False]))
    mixture = Mixture.of(none, np.array([0]), none, 0.8, 0.2)
    assert (mixture.ece(), mixture.nll(), mixture.accuracy_from(0.9)) == (0, 0, 1)
    assert mixture.ece_interval() == [0, 0]


def test_the_bootstrap_interval_is_narrower_for_more_drawings():
    widths = []
    for count in (200, 20_000):
        low, high = Mixture.of(*calibrated(0.8, count), 0.8, 0.2).ece_interval()
        assert 0 <= low < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 3


@given(st.floats(0, 1), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_a_shift_multiplies_the_odds_and_back_again_undoes_it(probability, prior, share):
    shifted = shift_prior(np.array([probability]), prior, share)
    assert 0 <= shifted[0] <= 1
    assert shift_prior(shifted, share, prior)[0] == pytest.approx(probability, abs=1e-6)
    if 0.001 < probability < 0.999:
        odds = probability / (1 - probability) * share / (1 - share) * (1 - prior) / prior
        assert shifted[0] / (1 - shifted[0]) == pytest.approx(odds)


def test_the_gate_refuses_a_candidate_that_claims_too_much_and_takes_an_equal_one():
    digits, labels, others = calibrated(0.8, 5_000)
    boast = [{**each, "is_digit_probability": np.sqrt(each["is_digit_probability"])} for each in (digits, others)]
    validation = Digits(np.zeros((5_000, 28, 28), np.uint8), labels.astype(np.uint8))
    assert all(check.passed for check in check_confidence([digits, digits], validation, [others, others], [0.8, 0.8]))
    refused = check_confidence([digits, boast[0]], validation, [others, boast[1]], [0.8, 0.8])
    assert [check.name for check in refused if not check.passed] != []
    assert "confidence with 50% non-digits, ECE" in [check.name for check in refused if not check.passed]


def test_unambiguous_non_digits_are_drawn_as_the_others_but_for_those_of_a_digits_shape():
    draws = [
        [pickle.dumps(draw(np.random.default_rng(seed))) for draw in (non_digits.draw_non_digit, non_digits.draw_unambiguous)]
        for seed in range(600)
    ]
    shares = {draw.__name__: share / sum(share for share, _ in non_digits.KINDS) for share, draw in non_digits.KINDS}
    assert shares["lookalike"] < np.mean([one != other for one, other in draws]) <= shares["lookalike"] + shares["plain_sign"] + 0.04


def test_a_clear_sign_is_never_a_ring_or_a_line_alone():
    signs = {clear: [len(non_digits.plain_sign(np.random.default_rng(seed), clear)) for seed in range(200)] for clear in (False, True)}
    assert set(signs[True]) == {2}
    assert set(signs[False]) == {1, 2}
