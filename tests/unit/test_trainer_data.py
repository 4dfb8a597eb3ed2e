"""The trainer's data, its synthetic drawings and its metrics: nothing here needs TensorFlow."""

import gzip
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer import glyphs, metrics, non_digits, signs, strokes
from trainer.dataset import Digits, check_digits, split
from trainer.drawings import load_drawings, load_golden
from trainer.errors import DataError

rng = np.random.default_rng(0)


def digits(n=60, **changed):
    images = rng.integers(0, 256, (n, 28, 28), np.uint8)
    return Digits(changed.get("images", images), changed.get("labels", (np.arange(n) % 10).astype(np.uint8)))


def constant_at(k):
    images = digits().images.copy()
    images[k] = 7
    return images


@pytest.mark.parametrize(
    ("given_digits", "message"),
    [
        (digits(labels=np.arange(59, dtype=np.uint8) % 10), "labels: wanted 60 labels, one for each image, found 59"),
        (digits(labels=np.full(60, 10, np.uint8)), "labels: wanted labels 0 to 9, found 10 at index 0"),
        (digits(labels=np.arange(60, dtype=np.uint8) % 9), "labels: wanted all ten digits, found none of 9"),
        (digits(images=constant_at(41)), "images: wanted ink on paper, found 1 constant images, the first at index 41"),
        (digits(images=np.ones((60, 20, 20), np.uint8)), "images: wanted images of 28x28, found 20x20"),
    ],
    ids=["one label too few", "label 10", "a class missing", "a constant image", "another size"],
)
def test_images_and_labels_that_cannot_belong_together_are_refused(tmp_path, given_digits, message):
    with pytest.raises(DataError, match=message):
        check_digits(given_digits, tmp_path / "images", tmp_path / "labels")


def test_the_validation_part_is_a_twelfth_always_the_same_and_shares_no_image_with_the_rest():
    everything = digits(1200)
    rest, validation = split(everything)
    again = split(everything)[1]
    assert (len(rest), len(validation)) == (1100, 100)
    np.testing.assert_array_equal(validation.images, again.images)
    seen = {image.tobytes() for image in rest.images}
    assert not any(image.tobytes() in seen for image in validation.images)


@pytest.mark.parametrize("digit", range(10))
def test_every_style_of_a_digit_is_drawn_within_the_frame_and_differs_from_draw_to_draw(digit):
    for glyph in glyphs.DIGITS[digit]:
        draw = np.random.default_rng(digit)
        one, other = (strokes.to_frame(strokes.write_glyph(glyph, draw)) for _ in range(2))
        assert one.max() == 255
        assert 20 < np.count_nonzero(one) < 400, glyph
        assert (one != other).any(), glyph


def test_a_curve_runs_through_its_points_and_turns_sharply_only_at_corners():
    points = np.array([[0, 0], [50, 0], [50, 50]], float)
    smooth, sharp = strokes.curve(points), strokes.curve(points, np.array([False, True, False]))
    for line in (smooth, sharp):
        assert all(np.abs(line - point).sum(axis=1).min() < 1e-9 for point in points)
    assert smooth[:, 0].max() > 51  # it swings out
    assert sharp[:, 0].max() <= 50 + 1e-9
    np.testing.assert_allclose(sharp[: len(sharp) // 2, 1], 0, atol=1e-9)


def test_some_drawings_have_few_points_and_the_same_share_of_digits_and_letters():
    draw = np.random.default_rng(2)
    for glyph in (glyphs.DIGITS[2][0], glyphs.LETTERS[3]):  # each one curve of many points
        points = np.array([len(strokes.write_glyph(glyph, draw)[0]) for _ in range(400)])
        few = points <= len(glyph.strokes[0]) + 2  # both ends may be drawn out
        assert points[~few].min() > 4 * len(glyph.strokes[0])
        assert 0.08 < few.mean() < 0.25


@pytest.mark.parametrize(
    ("line", "digit"),
    [
        ([(30, 0), (30, 50), (30, 100)], True),
        ([(30, 100), (0, 0)], True),
        ([(0, 50), (30, 0), (30, 100)], True),
        ([(0, 100), (30, 50), (0, 0)], True),
        ([(0, 0), (60, 0), (30, 100)], True),
        ([(0, 0), (60, 0), (0, 100), (60, 100)], True),
        ([(60, 0), (0, 0), (60, 100), (0, 100)], True),
        ([(0, 50), (60, 50)], False),
        ([(0, 0), (60, 100)], False),
        ([(0, 0), (0, 100), (60, 100)], False),
        ([(0, 0), (30, 100), (60, 0)], False),
    ],
    ids=["1", "1 upwards", "flagged 1", "bowed 1", "7", "2", "5", "level", "diagonal", "L", "V"],
)
def test_a_short_line_alone_is_no_plain_sign_where_it_reads_as_a_digit(line, digit):
    for points in (line, line[::-1]):
        assert non_digits._reads_as_digit(np.array(points, float)) == digit


def test_a_bare_line_is_not_steep():
    draw = np.random.default_rng(3)
    for _ in range(300):
        (line,) = signs.bare_line(draw)
        right, down = line[-1] - line[0]
        assert right > 0
        assert -1.2 < down / right < 3  # down to the right it may be steeper: hardly anybody's 1 leans that way


@pytest.mark.parametrize("kind", [kind for _, kind in non_digits.KINDS], ids=lambda kind: kind.__name__)
def test_every_kind_of_non_digit_gives_frames_and_the_same_seed_gives_the_same(kind):
    frames = strokes.draw_many(kind, 30, (5,))
    assert frames.shape == (30, 28, 28)
    np.testing.assert_array_equal(frames, strokes.draw_many(kind, 30, (5,)))
    assert (frames != strokes.draw_many(kind, 30, (6,))).any()
    assert len({frame.tobytes() for frame in frames}) > 15


def bars() -> Digits:
    """Each of the ten digits, all an upright bar."""
    images = np.zeros((10, 28, 28), np.uint8)
    images[:, 4:24, 12:16] = 255
    return Digits(images, np.arange(10, dtype=np.uint8))


def test_scanned_digits_make_frames_that_are_none_of_them():
    bar_digits, rng = bars(), np.random.default_rng(1)
    frames = [non_digits.scanned(bar_digits, rng) for _ in range(200)]
    assert {(frame.shape, frame.dtype.name) for frame in frames} == {((28, 28), "uint8")}
    assert len({frame.tobytes() for frame in frames}) > 100
    columns = [np.count_nonzero(np.diff((frame >= 128).any(axis=0).astype(int)) == 1) for frame in frames]
    assert 0.3 < np.mean(np.array(columns) == 2) < 0.6, "two in five are two digits side by side, with paper between them"


@pytest.mark.parametrize(("label", "turned", "mirrored"), [(2, True, False), (6, False, True), (4, True, True), (8, False, False)])
def test_only_what_is_no_digit_then_is_turned_or_mirrored(label, turned, mirrored):
    bar_digits = bars()
    one = bar_digits.images[label]
    one[4:8, 12:22] = 255  # lopsided, so that it shows
    rng = np.random.default_rng(2)
    found = {non_digits.scanned(bar_digits, rng).tobytes() for _ in range(500)}
    assert (np.rot90(one).tobytes() in found, np.fliplr(one).tobytes() in found) == (turned, mirrored)


def test_processes_draw_the_number_wanted_each_digit_equally_often_and_the_same_again():
    script = (
        "from trainer.synthetic import draw\n"
        "if __name__ == '__main__':\n"
        "    d = draw(620, 130, (3,), 2)\n"
        "    import hashlib, sys, numpy as np\n"
        "    assert 'tensorflow' not in sys.modules\n"
        "    print(len(d.digits), len(d.non_digits), np.bincount(d.digits.labels).tolist(), hashlib.sha256(d.digits.images).hexdigest())\n"
    )
    runs = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        runs.append(done.stdout)
    assert runs[0] == runs[1]
    assert runs[0].startswith("620 130 [62, 62, 62, 62, 62, 62, 62, 62, 62, 62]")


def test_a_worker_that_gets_ctrl_c_while_it_starts_leaves_it_to_its_parent(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import math, os, signal\n"
        "from trainer.workers import in_processes\n"
        "if __name__ == '__main__':\n"
        "    print(in_processes(math.sqrt, [(4,), (9,), (16,)], 2))\n"
        "else:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert (done.stdout, done.stderr) == ("[2.0, 3.0, 4.0]\n", "")


def test_ece_is_near_its_floor_for_calibrated_confidence_and_far_from_it_for_overconfidence():
    draw = np.random.default_rng(1)
    confidence = draw.beta(8, 1, 20_000)
    right = draw.random(20_000) < confidence
    floor = metrics.ece_floor(confidence, float(right.mean()))
    assert metrics.ece(confidence, right) < 2 * floor
    assert metrics.ece(np.sqrt(confidence), right) > 5 * floor


def test_ece_agrees_with_a_table_computed_by_hand():
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    right = np.array([True, True, True, False, True, False])
    assert metrics.ece(confidence, right) == pytest.approx(4 / 6 * 0.2 + 2 / 6 * 0.05)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_auroc_is_the_share_of_pairs_in_order(positive, negative):
    pairs = [(p > n) + (p == n) / 2 for p in positive for n in negative]
    assert metrics.auroc(np.array(positive, float), np.array(negative, float)) == pytest.approx(np.mean(pairs))


def test_scores_count_the_errors_of_each_digit():
    probabilities = np.eye(10)[[7, 7, 1, 2, 2]]
    scores = metrics.score(probabilities, np.array([7, 1, 1, 2, 3]))
    assert (scores.n, scores.accuracy) == (5, 0.6)
    assert scores.errors_by_digit == [0, 1, 0, 1, 0, 0, 0, 0, 0, 0]
    assert scores.confusion[1, 7] == scores.confusion[3, 2] == 1
    assert set(scores.fields()) == {"n", "accuracy", "nll", "ece", "ece_floor", "errors_by_digit"}


@pytest.mark.parametrize(
    ("metrics_of_versions", "text"),
    [
        ([metrics.percent("accuracy", 0.99684)], "99.68 %"),
        ([metrics.percent("accuracy", share) for share in (0.99, 0.98)], "98.50 ± 0.71 %"),
        ([metrics.Metric("AUROC", 0.5, "")], "0.5000"),
        ([metrics.Metric("size", 224_811, "parameters")], "224,811 parameters"),
        ([metrics.Metric("ECE", 0.5, "", "", (0.4, 0.61))], "0.5000 (0.4000 to 0.6100)"),
        ([metrics.Metric("ECE", 0.5, "", "", ends) for ends in ((0.4, 0.6), (0.3, 0.5))], "0.5000 ± 0.0000 (0.3000 to 0.6000)"),
        ([metrics.Metric("time", value, "ms") for value in (1.0, None)], "not measured"),
    ],
    ids=["one", "mean and standard deviation", "no unit", "a count", "an interval", "intervals", "not measured everywhere"],
)
def test_a_metric_is_written_with_its_unit(metrics_of_versions, text):
    assert metrics.format_mean(metrics_of_versions) == text


def test_coverage_at_accuracy_counts_the_surest_predictions():
    confidence = np.array([0.9, 0.8, 0.7, 0.6])
    assert metrics.coverage_at_accuracy(confidence, np.array([True, True, False, True]), 0.75) == 1.0
    assert metrics.coverage_at_accuracy(confidence, np.array([True, True, False, False]), 0.75) == 0.5
    assert metrics.coverage_at_accuracy(confidence, np.array([False, False, False, False]), 0.75) == 0.0


def test_the_worst_writer_is_one_with_enough_samples():
    writers = ["few"] * 3 + ["many"] * 20 + ["best"] * 20
    right = np.array([False] * 3 + [True] * 15 + [False] * 5 + [True] * 20)
    assert metrics.worst_writer(writers, right) == ("many", 0.75)
    assert metrics.worst_writer(["few"], np.array([True])) is None


LINE = {"width": 100, "height": 100, "strokes": [[[10, 10], [20, 90]]], "label": "1", "kind": "digit"}


def test_drawings_are_read_plain_or_gzipped_and_chosen_by_field(tmp_path):
    plain, packed = tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz"
    plain.write_text(json.dumps(LINE) + "\n\n")
    packed.write_bytes(gzip.compress((json.dumps({**LINE, "kind": "letter", "label": "l", "ambiguous": True}) + "\n").encode()))
    drawings = load_drawings([plain, packed])
    assert drawings.frames.shape == (2, 28, 28)
    assert drawings.of(kind="digit").labels.tolist() == [1]
    assert len(drawings.of(kind="letter", ambiguous=False)) == 0
    assert len(drawings.of(kind="digit", ambiguous=False)) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "a.jsonl, line 1: wanted a JSON object"),
        (b'{"width": 1, "height": 1}', "found none of strokes"),
        (b"[]", "found none of width"),
    ],
    ids=["no JSON", "no strokes", "a list"],
)
def test_a_file_without_drawings_is_refused_with_file_and_line(tmp_path, content, message):
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_drawings([tmp_path / "a.jsonl"])


def test_golden_cases_are_those_that_the_model_answers(tmp_path):
    cases = {"7-plain": {"digit": 7}, "scribble": {"reason": "not_a_digit"}, "empty": {"reason": "blank"}}
    for name, expect in cases.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({**LINE, "expect": expect}))
    assert [row["case"] for row in load_golden(tmp_path).rows] == ["7-plain", "scribble"]
