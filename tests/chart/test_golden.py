"""What a few templates render, as files that a reviewer reads; `make golden` rewrites them."""

import pytest

from tests.chart.golden.__main__ import CASES, render


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_the_render_is_the_golden_one(case):
    assert render(case) == case.read_text()


def test_there_are_golden_renders():
    assert len(CASES) >= 4
