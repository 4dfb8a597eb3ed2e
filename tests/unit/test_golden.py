"""Golden drawings: each gives the frame beside it, and is what its expectation says as far as ink alone can tell."""

import json
from pathlib import Path

import numpy as np
import pytest

from pynumdraw.ink import strokes_inside, too_little_ink
from tests.golden.__main__ import DRAWINGS, as_text, text_of

CASES = sorted(DRAWINGS.glob("*.json"))
each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)


@each
def test_the_frame_is_the_golden_one(case: Path):
    assert text_of(case) == case.with_suffix(".txt").read_text(), "if that is meant: make golden, and read the diff"


@each
def test_blank_and_faint_are_told_by_ink_alone_and_all_else_is_for_the_model(case: Path):
    drawing = json.loads(case.read_text())
    expected = drawing["expect"].get("reason")
    inside = strokes_inside(drawing["strokes"], drawing["width"], drawing["height"])
    found = too_little_ink(inside, drawing["width"], drawing["height"], drawing.get("pen"))
    assert found == (expected if expected in ("blank", "faint") else None)


@each
def test_the_expectation_is_one_that_an_answer_can_meet(case: Path):
    expected = json.loads(case.read_text())["expect"]
    if "digit" in expected:
        assert case.stem.startswith(f"{expected['digit']}-")
    else:
        assert expected["reason"] in ("blank", "faint", "not_a_digit")


def test_every_frame_has_its_drawing_and_every_digit_several_hands():
    assert {path.stem for path in DRAWINGS.glob("*.txt")} == {case.stem for case in CASES}
    hands = [json.loads(case.read_text())["expect"].get("digit") for case in CASES]
    assert all(hands.count(digit) >= 3 for digit in range(10))
    assert len(list(DRAWINGS.iterdir())) == 2 * len(CASES)


def test_text_has_five_greys_from_paper_to_ink():
    frame = np.zeros((28, 28), np.uint8)
    frame[0, :5] = (0, 64, 128, 191, 255)
    assert as_text(frame).startswith(".:+#@...")
    assert as_text(frame).splitlines()[1:] == ["." * 28] * 27
