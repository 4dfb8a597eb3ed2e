"""Golden drawings: each gives the frame in the file beside it, and is blank or faint only where its expectation says so."""

import json
from pathlib import Path

import numpy as np
import pytest

from pynumdraw.ink import clip_strokes, ink_problem
from tests.golden.__main__ import DRAWINGS, HAND_MADE, as_text, text_of
from trainer.drawings import load_drawings

CASES = sorted(DRAWINGS.glob("*.json"))
each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)


@each
def test_the_frame_is_the_golden_one(case: Path):
    assert text_of(case) == case.with_suffix(".txt").read_text(), "if that is intended: run make golden and read the diff"


@each
def test_only_the_cases_that_expect_blank_or_faint_have_an_ink_problem(case: Path):
    drawing = json.loads(case.read_text())
    expected = drawing["expect"].get("reason")
    clipped = clip_strokes(drawing["strokes"], drawing["width"], drawing["height"])
    problem = ink_problem(clipped, drawing["width"], drawing["height"], drawing.get("pen"))
    assert problem == (expected if expected in ("blank", "faint") else None)


@each
def test_each_expectation_is_valid(case: Path):
    expected = json.loads(case.read_text())["expect"]
    if "digit" in expected:
        assert case.stem.startswith(f"{expected['digit']}-")
    else:
        assert expected["reason"] in ("blank", "faint", "not_a_digit")


def test_every_frame_has_a_drawing_and_every_digit_three_or_more():
    assert {path.stem for path in DRAWINGS.glob("*.txt")} == {case.stem for case in CASES}
    digits = [json.loads(case.read_text())["expect"].get("digit") for case in CASES]
    assert all(digits.count(digit) >= 3 for digit in range(10))
    assert len(list(DRAWINGS.iterdir())) == 2 * len(CASES)


def test_the_text_of_a_frame_has_five_greys():
    frame = np.zeros((28, 28), np.uint8)
    frame[0, :5] = (0, 64, 128, 191, 255)
    assert as_text(frame).startswith(".:+#@...")
    assert as_text(frame).splitlines()[1:] == ["." * 28] * 27


def test_the_set_made_by_hand_has_200_different_drawings_of_every_kind_with_ink_enough():
    drawings = load_drawings([HAND_MADE])
    digits, others = drawings.apart(kind="digit")
    assert (len(digits), len(others)) == (44, 156)
    assert set(digits.labels.tolist()) == set(range(10))
    assert {str(row["label"]) for row in others.rows} >= {*"?!%&@#+=*()[]{}<>$€", "tick", "arrow", "smiley", "heart", "line"}
    assert len({row["id"] for row in drawings.rows}) == len({frame.tobytes() for frame in drawings.frames}) == 200
    for row in drawings.rows:
        assert (row["kind"], row["source"]) in (("digit", "hand-made"), ("symbol", "hand-made"))
        clipped = clip_strokes(row["strokes"], row["width"], row["height"])
        assert sum(map(len, clipped)) == sum(map(len, row["strokes"])), f"{row['id']} lies partly outside of its canvas"
        assert ink_problem(clipped, row["width"], row["height"], None) is None, row["id"]
    points = [sum(map(len, row["strokes"])) for row in drawings.rows]
    assert min(points) == 2
    assert max(points) > 200
    assert all(sum(map(len, row["strokes"])) <= 12 for row in digits.rows)
