"""Drawing on the real page, with mouse, pen and fingers, at every zoom; what it says is what the real model answers."""

import io
import math
import re
from collections.abc import Callable

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import NewPage
from tests.browser.pen import (
    DOT,
    SCRIBBLE,
    SEVEN,
    Fingers,
    draw,
    ink_lay_under_pointer,
    ink_share,
    on_screen,
    open_page,
    press,
    smooth,
    watch_pointer,
)
from tests.browser.site import zoomed_window
from tests.stack import wait_until

PHONE = {"viewport": {"width": 390, "height": 664}, "device_scale_factor": 3, "has_touch": True, "is_mobile": True}


def pixel(page: Page, x: float, y: float) -> tuple[int, int, int]:
    """The colour that the screen shows at a place of the window, CSS px."""
    around = {"x": round(x) - 4, "y": round(y) - 4, "width": 8, "height": 8}
    picture = Image.open(io.BytesIO(page.screenshot(clip=around, scale="device"))).convert("RGB")  # type: ignore[arg-type]
    return picture.getpixel((picture.width // 2, picture.height // 2))  # type: ignore[return-value]


def ink_colour(page: Page) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", page.evaluate("getComputedStyle(pad).color"))))[:3]


def strokes(page: Page) -> str | None:
    return page.locator("#pad").get_attribute("aria-label")


def expect_seven(page: Page) -> None:
    expect(page.locator("#big")).to_have_text("7")
    expect(page.locator("#title")).to_have_text(re.compile("sure"))
    expect(page.get_by_role("meter", name="Digit 7")).to_have_attribute("aria-valuetext", re.compile(r"\d\d"))


@pytest.mark.parametrize("zoom", [0.5, 1.0, 2.0], ids="{:.0%}".format)
def test_in_a_zoomed_browser_ink_lies_under_the_cursor_and_a_seven_reads_seven(browser: Browser, page_url: str, zoom: float):
    with zoomed_window(browser, zoom) as page:
        open_page(page, page_url)
        assert page.evaluate("devicePixelRatio") == pytest.approx(zoom)
        watch_pointer(page)
        press(page, SEVEN[0])
        wait_until("ink under the cursor", lambda: ink_lay_under_pointer(page))
        page.mouse.up()
        expect_seven(page)


# What the screen shows, at other ratios of CSS px to screen px. A zoomed window's screenshots are cut, so here the ratio is emulated.
RATIOS = [
    pytest.param(0.5, None, id="50 %"),
    pytest.param(2.0, None, id="200 %"),
    pytest.param(1.0, "0.5", id="50 % by CSS"),
    pytest.param(1.0, "1.25", id="125 % by CSS"),
    pytest.param(1.5, "2", id="200 % by CSS on a fine screen"),
]


@pytest.mark.parametrize(("ratio", "css_zoom"), RATIOS)
def test_the_screen_shows_ink_at_the_cursor(new_page: NewPage, page_url: str, ratio: float, css_zoom: str | None):
    page = new_page(viewport={"width": int(1280 / ratio), "height": int(960 / ratio)}, device_scale_factor=ratio)
    open_page(page, page_url)
    if css_zoom:
        page.evaluate("zoom => { document.documentElement.style.zoom = zoom; pad.scrollIntoView({ block: 'end' }); }", css_zoom)
    below_px = 0.09 * page.evaluate("pad.getBoundingClientRect().width")
    first, *others = on_screen(page, smooth(SEVEN[0]))
    page.mouse.move(*first)
    page.mouse.down()
    for k, (x, y) in enumerate(others):
        page.mouse.move(x, y)
        if k % 18 == 0:
            wait_until(f"ink at the cursor, {x}, {y}", lambda x=x, y=y: pixel(page, x, y) == ink_colour(page))
            assert pixel(page, x, y + below_px) != ink_colour(page)
    page.mouse.up()
    expect_seven(page)


def test_the_first_point_of_a_frame_is_drawn_at_once_and_the_second_with_the_next_frame(page: Page, page_url: str):
    open_page(page, page_url)
    points = on_screen(page, [(0.2, 0.2), (0.4, 0.2), (0.6, 0.2), (0.8, 0.2)])
    inked = page.evaluate(
        """async (points) => {
            const frame = () => new Promise((drawn) => requestAnimationFrame(drawn));
            const isInked = ([x, y]) => {
                const { left, top, width } = pad.getBoundingClientRect();
                const copy = new OffscreenCanvas(1, 1).getContext("2d");
                copy.drawImage(pad, ((left - x) * pad.width) / width, ((top - y) * pad.width) / width);
                return copy.getImageData(0, 0, 1, 1).data[3] > 0;
            };
            const send = (type, [x, y]) => pad.dispatchEvent(new PointerEvent(type, {
                clientX: x, clientY: y, pointerId: 1, pointerType: "mouse", isPrimary: true, button: 0, buttons: 1, bubbles: true,
            }));
            pad.setPointerCapture = () => {};
            const inked = {};
            send("pointerdown", points[0]);
            inked.down = isInked(points[0]);
            send("pointermove", points[1]);
            inked.second = isInked(points[1]);
            await frame();
            inked.secondInTheNextFrame = isInked(points[1]);
            send("pointermove", points[2]);
            inked.firstOfThatFrame = isInked(points[2]);
            send("pointermove", points[3]);
            inked.secondOfThatFrame = isInked(points[3]);
            return inked;
        }""",
        points,
    )
    assert inked == {"down": True, "second": False, "secondInTheNextFrame": True, "firstOfThatFrame": True, "secondOfThatFrame": False}


def test_zooming_the_window_keeps_the_drawing_and_sharpens_it(page: Page, page_url: str):
    open_page(page, page_url)
    draw(page, SEVEN)
    expect_seven(page)
    before = ink_share(page)
    devtools = page.context.new_cdp_session(page)
    for width, ratio in [(640, 2), (2560, 0.5), (1280, 1.25)]:
        devtools.send("Emulation.setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": ratio, "mobile": False})
        wait_until(
            "one canvas pixel a screen pixel",
            lambda: page.evaluate("Math.abs(pad.width - pad.getBoundingClientRect().width * devicePixelRatio) < 1"),
        )
        assert ink_share(page) == pytest.approx(before, rel=0.03)


def test_pinched_and_panned_the_ink_is_under_the_finger(new_page: NewPage, page_url: str):
    page = new_page(**PHONE)
    open_page(page, page_url)
    page.context.new_cdp_session(page).send("Emulation.setPageScaleFactor", {"pageScaleFactor": 2})
    wait_until("the page is pinched", lambda: page.evaluate("visualViewport.scale") == 2)
    watch_pointer(page)
    Fingers(page).drag([(60, 150), (100, 200), (160, 260), (220, 330)])
    expect(page.locator("#pad")).to_have_attribute("aria-label", "Your drawing: 1 stroke")
    assert ink_lay_under_pointer(page)


def test_the_answer_is_there_while_the_pen_is_still_down(page: Page, page_url: str):
    open_page(page, page_url)
    press(page, SEVEN[0])
    expect(page.locator("#title")).to_have_text("So far: 7")
    assert strokes(page) == "Your drawing: empty"  # the stroke is not finished
    page.mouse.up()
    expect(page.locator("#pad")).to_have_attribute("aria-label", "Your drawing: 1 stroke")
    expect_seven(page)


def test_ten_bars_sum_to_one_and_the_models_picture_and_version_are_shown(page: Page, page_url: str):
    open_page(page, page_url)
    draw(page, SEVEN)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#reading")).to_have_attribute("data-kind", "blank")
    with page.expect_response("**/api/v1/predict") as response:
        page.get_by_role("button", name="Redo").click()
    answer = response.value.json()
    expect_seven(page)
    assert sum(answer["probabilities"]) == pytest.approx(1, abs=1e-3)
    expect(page.locator("#facts")).to_have_text(re.compile(rf"^digits, version {answer['model']['version']}, in [\d.]+\sm?s$"))
    shown = page.evaluate("Array.from(frame.getContext('2d').getImageData(0, 0, 28, 28).data).filter((_, k) => k % 4 === 3)")
    wanted = [grey for row in answer["frame"] for grey in row]
    assert max(abs(a - b) for a, b in zip(shown, wanted, strict=True)) <= 2
    for digit, probability in enumerate(answer["probabilities"]):
        assert page.get_by_role("meter", name=f"Digit {digit}").get_attribute("aria-valuenow") == str(round(probability * 100))


def test_undo_redo_and_clear_by_button_and_by_key(page: Page, page_url: str):
    open_page(page, page_url)
    draw(page, SEVEN)
    draw(page, [[(0.3, 0.52), (0.7, 0.5)]])
    expect(page.locator("#pad")).to_have_attribute("aria-label", "Your drawing: 2 strokes")
    whole = ink_share(page)
    steps = [
        ("press", "Control+z", "1 stroke"),
        ("press", "Control+Shift+z", "2 strokes"),
        ("click", "Undo", "1 stroke"),
        ("click", "Redo", "2 strokes"),
        ("press", "Escape", "empty"),
        ("press", "Control+z", "2 strokes"),
        ("click", "Clear", "empty"),
        ("click", "Undo", "2 strokes"),
        ("press", "Delete", "empty"),
        ("press", "Meta+z", "2 strokes"),
    ]
    for how, what, wanted in steps:
        if how == "press":
            page.keyboard.press(what)
        else:
            page.get_by_role("button", name=what).click()
        expect(page.locator("#pad")).to_have_attribute("aria-label", f"Your drawing: {wanted}")
    wait_until("the ink is back", lambda: ink_share(page) == pytest.approx(whole))


def test_a_blank_page_shows_no_answer(page: Page, page_url: str):
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url.rpartition("/")[2]))
    open_page(page, page_url)
    draw(page, SEVEN)
    expect_seven(page)
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#reading")).to_have_attribute("data-kind", "blank")
    assert page.locator("#big").text_content() == page.locator("#title").text_content() == ""
    expect(page.locator(".evidence")).to_be_hidden()
    wait_until("no ink", lambda: ink_share(page) == 0)
    expect(page.locator("#hint")).to_be_visible()
    assert "predict" in requests


def test_a_dot_asks_for_more_ink(page: Page, page_url: str):
    open_page(page, page_url)
    draw(page, DOT)
    expect(page.locator("#title")).to_have_text("A little more ink, please")
    assert ink_share(page) == pytest.approx(math.pi * 0.03**2, rel=0.05)  # a dot as wide as the pen
    expect(page.locator("#big")).to_be_empty()


def test_a_scribble_is_not_a_digit(page: Page, page_url: str):
    open_page(page, page_url)
    draw(page, SCRIBBLE)
    expect(page.locator("#title")).to_have_text("That does not look like a digit")
    expect(page.locator("#big")).to_be_empty()
    expect(page.locator(".is-chosen")).to_have_count(0)


def test_a_finger_draws_and_the_page_does_not_scroll(new_page: NewPage, page_url: str):
    page = new_page(**PHONE)
    open_page(page, page_url)
    fingers = Fingers(page)
    fingers.draw([[(0.5, 0.9), (0.5, 0.5), (0.5, 0.1)]])
    expect(page.locator("#pad")).to_have_attribute("aria-label", "Your drawing: 1 stroke")
    assert page.evaluate("scrollY") == 0
    page.get_by_role("button", name="Clear").click()
    fingers.draw(SEVEN)
    expect_seven(page)
    fingers.drag([(200, 640 - step * 20) for step in range(12)])  # below the paper the same movement scrolls
    wait_until("the page scrolls where nothing is drawn", lambda: page.evaluate("scrollY") > 0)


def test_a_second_finger_does_not_draw(new_page: NewPage, page_url: str):
    page = new_page(**PHONE)
    open_page(page, page_url)
    (first, second), fingers = on_screen(page, [(0.2, 0.5), (0.8, 0.5)]), Fingers(page)
    fingers.event("touchStart", first)
    fingers.event("touchStart", first, second)
    fingers.event("touchMove", first, (second[0], second[1] + 60))
    fingers.event("touchEnd", first)
    fingers.event("touchEnd")
    expect(page.locator("#pad")).to_have_attribute("aria-label", "Your drawing: 1 stroke")
    wait_until("one dot", lambda: 0 < ink_share(page) < 0.005)


def test_the_palm_beside_a_pen_does_not_draw(new_page: NewPage, page_url: str):
    page = new_page(**PHONE)
    open_page(page, page_url)
    (palm, *_), fingers, devtools = on_screen(page, [(0.8, 0.9)]), Fingers(page), page.context.new_cdp_session(page)
    points = on_screen(page, smooth(SEVEN[0]))

    def pen(kind: str, at: tuple[float, float]) -> None:
        pressed = {"type": kind, "x": at[0], "y": at[1], "button": "left", "buttons": 1, "clickCount": 1, "pointerType": "pen"}
        devtools.send("Input.dispatchMouseEvent", pressed)

    fingers.event("touchStart", palm)  # the palm lies down first
    pen("mousePressed", points[0])
    for point in points[1:]:
        pen("mouseMoved", point)
    fingers.event("touchMove", (palm[0] - 40, palm[1] - 40))
    pen("mouseReleased", points[-1])
    fingers.event("touchEnd")
    fingers.draw([[(0.2, 0.9), (0.8, 0.9)]])  # and the palm again, right after
    expect(page.locator("#pad")).to_have_attribute("aria-label", "Your drawing: 1 stroke")
    expect_seven(page)


def test_a_palm_that_lies_down_and_lifts_elsewhere_does_not_stop_the_finger_that_draws(new_page: NewPage, page_url: str):
    """By the browser's own pipeline: it calls the palm primary where that came first."""
    page = new_page(**PHONE)
    open_page(page, page_url)
    fingers, points = Fingers(page), on_screen(page, smooth(SEVEN[0]))
    palm = (195.0, 600.0)  # below the paper and its tools
    half = len(points) // 2
    fingers.event("touchStart", palm)
    fingers.event("touchStart", palm, points[0])
    for point in points[1:half]:
        fingers.event("touchMove", palm, point)
    fingers.send("touchEnd", {0: palm})
    for point in points[half:-3]:
        fingers.send("touchMove", {1: point})
    fingers.send("touchStart", {1: points[-4], 2: palm})  # and lies down again
    for point in points[-3:]:
        fingers.send("touchMove", {1: point, 2: palm})
    fingers.send("touchEnd", {1: points[-1]})
    fingers.send("touchEnd", {2: palm})
    expect(page.locator("#pad")).to_have_attribute("aria-label", "Your drawing: 1 stroke")
    expect_seven(page)


def test_from_right_to_left_the_ink_is_under_the_pointer(page: Page, page_url: str):
    open_page(page, page_url)
    page.evaluate("document.documentElement.dir = 'rtl'")
    watch_pointer(page)
    draw(page, SEVEN)
    wait_until("ink under the pointer", lambda: ink_lay_under_pointer(page))
    expect_seven(page)
    pad, reading = page.locator("#pad").bounding_box(), page.locator("#reading").bounding_box()
    assert pad
    assert reading
    assert pad["x"] > reading["x"] + reading["width"]


def test_a_touch_that_the_system_takes_away_leaves_its_ink(new_page: NewPage, page_url: str):
    page = new_page(**PHONE)
    open_page(page, page_url)
    (begin, end), fingers = on_screen(page, [(0.3, 0.3), (0.6, 0.6)]), Fingers(page)
    fingers.event("touchStart", begin)
    fingers.event("touchMove", end)
    fingers.event("touchCancel")
    expect(page.locator("#pad")).to_have_attribute("aria-label", "Your drawing: 1 stroke")


def test_only_the_left_button_draws(page: Page, page_url: str):
    open_page(page, page_url)
    ((x, y),) = on_screen(page, [(0.5, 0.5)])
    page.mouse.move(x, y)
    page.mouse.down(button="middle")
    page.mouse.move(x + 80, y + 80)
    page.mouse.up(button="middle")
    assert strokes(page) == "Your drawing: empty"


def test_a_line_that_leaves_the_paper_goes_on_when_it_comes_back(page: Page, page_url: str):
    open_page(page, page_url)
    draw(page, [[(0.2, 0.3), (0.5, -0.2), (0.8, 0.3), (1.2, 0.5), (0.5, 0.8)]])
    expect(page.locator("#pad")).to_have_attribute("aria-label", "Your drawing: 1 stroke")
    expect(page.locator("#reading")).not_to_have_attribute("data-kind", "refused")
    expect(page.locator("#facts")).to_be_visible()


# The pen never locks up. The browser's events are made here where its input pipeline would never lose one.

EVENT = """([type, x, y, id, kind, primary, buttons, target]) => {
    pad.setPointerCapture = () => {};
    const { left, top, width } = pad.getBoundingClientRect();
    document.querySelector(target).dispatchEvent(new PointerEvent(type, {
        clientX: left + x * width, clientY: top + y * width, pointerId: id, pointerType: kind, isPrimary: primary, button: 0, buttons,
        bubbles: true, cancelable: true,
    }));
}"""


def pointer(
    page: Page, kind: str, x: float, y: float, *, id: int = 1, of: str = "touch", primary: bool = True, buttons: int = 1, at: str = "#pad"
):
    page.evaluate(EVENT, [kind, x, y, id, of, primary, buttons, at])


def test_a_finger_that_is_not_the_first_on_the_screen_draws(page: Page, page_url: str):
    """The browser calls only the first finger primary, here a palm that rests beside the paper."""
    open_page(page, page_url)
    pointer(page, "pointerdown", 0.5, 1.2, id=1, at="body")
    for k, (x, y) in enumerate(smooth(SEVEN[0])):
        pointer(page, "pointermove" if k else "pointerdown", x, y, id=2, primary=False)
    pointer(page, "pointerup", *SEVEN[0][-1], id=2, primary=False, buttons=0)
    expect(page.locator("#pad")).to_have_attribute("aria-label", "Your drawing: 1 stroke")
    expect_seven(page)


LOST = {
    "a mouse that comes back without a button": ("mouse", lambda page: pointer(page, "pointermove", 0.5, 0.5, of="mouse", buttons=0)),
    "the same pen comes down elsewhere": ("pen", lambda page: pointer(page, "pointerdown", 0.5, 1.1, of="pen", at="#clear")),
    "another finger, the only one": ("touch", lambda page: pointer(page, "pointerdown", 0.5, 1.1, id=2, at="#clear")),
    "a mouse after a finger": ("touch", lambda page: pointer(page, "pointerdown", 0.5, 1.1, id=9, of="mouse", at="#clear")),
    "Escape": ("mouse", lambda page: page.keyboard.press("Escape")),
}


@pytest.mark.parametrize(("kind", "proof"), LOST.values(), ids=LOST)
def test_a_stroke_whose_end_was_lost_ends_with_what_proves_it(page: Page, page_url: str, kind: str, proof: Callable[[Page], None]):
    open_page(page, page_url)
    pointer(page, "pointerdown", 0.2, 0.3, of=kind)
    pointer(page, "pointermove", 0.6, 0.4, of=kind)
    assert strokes(page) == "Your drawing: empty"
    proof(page)
    assert strokes(page) == "Your drawing: 1 stroke"  # its ink is kept
    draw(page, SEVEN)
    assert strokes(page) == "Your drawing: 2 strokes"
    page.get_by_role("button", name="Clear").click()
    assert strokes(page) == "Your drawing: empty"
