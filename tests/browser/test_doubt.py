"""What the page says and does not say: about doubt, about ink that is not read yet, about half a digit. The answers are recorded ones."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from tests import stack
from tests.browser.conftest import NewPage
from tests.browser.pen import SEVEN, draw, on_screen, open_page, press, smooth
from tests.browser.recorded import DRAWINGS, answer_with, recorded

WATCH_WORDS = """() => {
    window.words = [];
    new MutationObserver(() => words.push(`${reading.dataset.kind}|${big.textContent}|${title.textContent}|${note.textContent}`))
        .observe(reading, { subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: ["data-kind"] });
}"""
ACCENT = "getComputedStyle(pad).color"


def accent_is_shown(page: Page) -> bool:
    """Whether a digit, a bar or the gauge stands in the ink's colour."""
    return page.evaluate(
        f"""() => [big, ...document.querySelectorAll(".is-chosen :is(.bar-fill, .percent, .gauge-fill)")].some((element) => {{
            const {{ color, backgroundColor, visibility }} = getComputedStyle(element);
            return visibility === "visible" && element.getClientRects().length > 0 && [color, backgroundColor].includes({ACCENT});
        }})"""
    )


def in_next_frame(page: Page, look: str) -> object:
    """What the expression gives once the browser has drawn one more frame."""
    return page.evaluate(f"new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done({look}))))")


DOUBTFUL = [
    pytest.param(name, share, id=f"{name}, {share}")
    for name in ("question mark", "g", "line")
    for share in (None, 0.51, 0.89)
    if share or name != "g"
]


@pytest.mark.parametrize(("name", "share"), DOUBTFUL)
def test_what_may_be_no_digit_is_never_called_sure(page: Page, page_url: str, name: str, share: float | None):
    """As the model answered it, and as models have answered it that were surer which digit than whether one."""
    fields = (
        {}
        if share is None
        else {"is_digit_probability": share, "confidence": 0.998, "digit": 9, "candidates": [9], "is_digit": True, "reason": None}
    )
    open_page(page, page_url)
    answer_with(page, name, **fields)
    page.evaluate(WATCH_WORDS)
    draw(page, DRAWINGS[name])
    expect(page.locator("#reading")).to_have_attribute("data-kind", re.compile("doubtful|not_a_digit"))
    words = page.evaluate("words")
    assert words
    assert not [text for text in words if re.search(r"\d+\s%\ssure", text)]
    if share:
        expect(page.locator("#title")).to_have_text("If it is a digit, a 9")
        expect(page.get_by_role("meter", name="A digit?")).to_have_attribute("aria-valuenow", str(round(100 * share)))
    assert not accent_is_shown(page)


def test_a_sure_answer_has_two_numbers_and_the_ink_s_colour(page: Page, page_url: str):
    open_page(page, page_url)
    answer_with(page, "seven", is_digit_probability=0.93, confidence=0.91)
    draw(page, SEVEN)
    expect(page.locator("#title")).to_have_text(re.compile(r"^91\s%\ssure$"))
    expect(page.get_by_role("meter", name="A digit?")).to_have_attribute("aria-valuetext", re.compile(r"^93\s%$"))
    assert accent_is_shown(page)


def hold(page: Page) -> list[Route]:
    """From now on requests for an answer wait here."""
    held: list[Route] = []
    page.unroute("**/api/v1/predict")
    page.route("**/api/v1/predict", lambda route: held.append(route))
    return held


CHANGES: dict[str, Callable[[Page], None]] = {
    "another stroke begins": lambda page: press(page, [(0.3, 0.5), (0.5, 0.5)]),
    "another stroke": lambda page: draw(page, [[(0.3, 0.5), (0.7, 0.5)]]),
    "undo": lambda page: (draw(page, [[(0.3, 0.5), (0.7, 0.5)]]), page.keyboard.press("Control+z")),  # type: ignore[func-returns-value]
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_no_answer_stands_as_a_fact_beside_other_ink(page: Page, page_url: str, change: Callable[[Page], None]):
    open_page(page, page_url)
    answer_with(page, "seven")
    draw(page, SEVEN)
    expect(page.locator("#reading")).to_have_attribute("data-kind", "sure")
    held = hold(page)
    change(page)
    assert in_next_frame(page, "title.textContent") == "Reading …"
    assert not accent_is_shown(page)
    stack.wait_until("a request is held", lambda: page.evaluate("1") and held)
    expect(page.locator("#title")).to_have_text("Reading …")
    assert not accent_is_shown(page)


def test_a_first_answer_that_takes_long_says_so(page: Page, page_url: str):
    open_page(page, page_url)
    hold(page)
    draw(page, SEVEN)
    assert in_next_frame(page, "title.textContent") == "Reading …"
    expect(page.locator("#note")).to_have_text("This takes longer than usual. Your drawing is kept.")


def test_a_four_in_two_strokes_is_never_called_no_digit(page: Page, page_url: str):
    """Its first stroke alone is none; the pen is up for half a second before the second."""
    first, second = DRAWINGS["four"]
    open_page(page, page_url)
    none = {"digit": None, "is_digit": False, "is_digit_probability": 0.02, "confidence": None, "candidates": [], "reason": "not_a_digit"}
    answer_with(page, "half a four", **none)
    page.evaluate(WATCH_WORDS)
    press(page, first)
    expect(page.locator("#title")).to_have_text("So far: …")
    page.mouse.up()
    page.wait_for_timeout(500)
    press(page, second)
    answer_with(page, "four", is_digit_probability=0.99)
    page.mouse.move(*on_screen(page, [(0.57, 0.95)])[0])
    page.mouse.up()
    expect(page.locator("#reading")).to_have_attribute("data-kind", "sure")
    words = page.evaluate("words")
    assert any("So far" in text for text in words)
    assert not [text for text in words if "not_a_digit" in text or "not look like" in text]


def test_half_a_digit_gets_neither_percent_nor_proof(page: Page, page_url: str):
    open_page(page, page_url)
    answer_with(page, "seven")
    press(page, SEVEN[0])
    expect(page.locator("#title")).to_have_text("So far: 7")
    assert "%" not in page.locator("#reading").inner_text()
    expect(page.locator("#proof")).to_be_hidden()
    page.mouse.up()
    assert in_next_frame(page, "title.textContent") == "So far: 7"  # the next stroke may follow
    expect(page.locator("#title")).to_have_text(re.compile("sure"))


def test_a_resting_pen_sends_nothing_new_however_it_trembles(page: Page, page_url: str):
    open_page(page, page_url)
    press(page, SEVEN[0])
    expect(page.locator("#title")).to_have_text("So far: 7")
    page.wait_for_timeout(500)  # the stroke's last points have been sent by then
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    x, y = on_screen(page, smooth(SEVEN[0]))[-1]
    for k in range(60):
        page.mouse.move(x + (k % 2), y)
    page.wait_for_timeout(1000)
    assert sent == []
    assert page.locator("#title").text_content() == "So far: 7"  # nothing is being read: the answer is about all the ink
    page.mouse.up()


def test_the_recorded_answers_tell_the_drawings_apart():
    assert recorded("seven")["digit"] == 7
    assert recorded("four")["digit"] == 4
    assert recorded("scribble")["reason"] == "not_a_digit"
    assert sorted(recorded("four or nine")["candidates"]) == [4, 9]


def test_without_a_card_s_figures_there_is_no_sentence_and_no_link(new_page: NewPage, page_url: str):
    page = new_page(failures=True)
    open_page(page, page_url)
    page.route("**/api/v1/card*", lambda route: route.fulfill(json={"model": "digits", "version": 1}))
    answer_with(page, "seven")
    with page.expect_response("**/api/v1/card*"):
        draw(page, SEVEN)
    expect(page.locator("#reading")).to_have_attribute("data-kind", "sure")
    expect(page.locator("#proof")).to_be_hidden()
