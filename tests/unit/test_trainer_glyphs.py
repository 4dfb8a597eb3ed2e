"""The glyph files, and how a line that is no glyph is refused."""

import numpy as np
import pytest

from trainer.glyphs import DIGITS, FIGURES, LETTERS, LOOKALIKES, SIGNS, load_glyphs


def test_a_line_gives_name_points_and_corners_of_each_stroke(tmp_path):
    path = tmp_path / "table.txt"
    path.write_text("# a comment\n\nplus sign: 0,50! -8.5,50 / 40,10! 40,90!\n")
    (glyph,) = load_glyphs(path)
    assert glyph.name == "plus sign"
    np.testing.assert_array_equal(glyph.strokes[0], [[0, 50], [-8.5, 50]])
    np.testing.assert_array_equal(glyph.strokes[1], [[40, 10], [40, 90]])
    assert [corner.tolist() for corner in glyph.corners] == [[True, False], [True, True]]


@pytest.mark.parametrize(
    "line",
    ["no name", "A: ", "A: 0,0 / ", "A: 0,0! 1", "A: 0,0 1,2,3", "A: 0,0 1,x", "A: 0,0!! 1,1"],
    ids=["no name", "no stroke", "an empty stroke", "one coordinate", "three coordinates", "no number", "two marks"],
)
def test_a_line_that_is_no_glyph_is_refused_with_file_and_line(tmp_path, line):
    path = tmp_path / "table.txt"
    path.write_text(f"A: 0,0 1,1\n{line}\n")
    with pytest.raises(ValueError, match=r"table\.txt, line 2: wanted `name: "):
        load_glyphs(path)


def test_every_digit_has_styles_and_no_style_is_listed_twice():
    assert list(DIGITS) == list(range(10))
    assert all(DIGITS.values())
    for table in (*DIGITS.values(), LETTERS, LOOKALIKES, SIGNS, FIGURES):
        styles = [
            b"/".join(stroke.tobytes() + corner.tobytes() for stroke, corner in zip(g.strokes, g.corners, strict=True)) for g in table
        ]
        assert len(set(styles)) == len(styles)
