"""How much the page weighs, and that it neither moves nor slows down. `speed.py` measures how quick it is."""

import statistics
import time

import pytest
from playwright.sync_api import Page, Response, expect

from tests.browser.conftest import NewPage
from tests.browser.pen import SEVEN, on_screen, open_page, press
from tests.browser.recorded import answer_with
from tests.browser.states import SETTLED

FIRST_LOAD_BYTES = 20_000


def test_the_first_load_is_light(page: Page, page_url: str):
    """All that comes before anything is drawn, compressed as it is on the wire; response headers, 0.5 kB each, are not counted."""
    responses: list[Response] = []
    page.on("response", lambda response: responses.append(response))
    open_page(page, page_url)
    page.wait_for_timeout(500)
    sizes = {response.url.rpartition("/")[2]: response.request.sizes()["responseBodySize"] for response in responses}
    print(sizes, sum(sizes.values()))
    assert len(sizes) >= 10
    assert "later.css" not in sizes
    assert sum(sizes.values()) <= FIRST_LOAD_BYTES


def test_an_answer_is_light(page: Page, page_url: str):
    open_page(page, page_url)
    with page.expect_response("**/api/v1/predict") as response:
        page.mouse.move(*on_screen(page, [(0.3, 0.3)])[0])
        page.mouse.down()
        page.mouse.move(*on_screen(page, [(0.5, 0.8)])[0], steps=5)
    assert response.value.headers["content-encoding"] == "gzip"
    page.mouse.up()


@pytest.mark.parametrize("size", [(1280, 800), (390, 844), (320, 640)], ids="{0[0]}x{0[1]}".format)
def test_nothing_moves_while_the_page_loads_and_is_drawn_on(new_page: NewPage, page_url: str, size: tuple[int, int]):
    """Cumulative layout shift. The server is slow, so that what comes later is not excused by the pen's coming down before."""
    page = new_page(viewport={"width": size[0], "height": size[1]})
    page.add_init_script(
        """window.shifts = [];
        const elements = ({ node }) => node?.outerHTML ?? node?.textContent ?? "";
        new PerformanceObserver((list) => list.getEntries().forEach((entry) =>
            entry.hadRecentInput || shifts.push(`${entry.value}: ${entry.sources.map(elements)}`)))
            .observe({ type: "layout-shift", buffered: true });"""
    )
    for name in ("later.css", "proof.js", "api/v1/card*"):
        page.route(f"**/{name}", lambda route: (time.sleep(0.8), route.fallback())[-1])
    answer_with(page, "seven", confidence=0.97)
    open_page(page, page_url)
    press(page, SEVEN[0])
    page.wait_for_timeout(900)
    page.mouse.up()
    expect(page.locator("#proof")).to_be_visible()
    page.evaluate(SETTLED)
    assert page.evaluate("shifts") == []


def test_an_endless_scribble_stays_smooth_and_is_read(page: Page, page_url: str):
    """21,000 points in one stroke: events and frames at its end take no longer than at its begin, and the server refuses nothing."""
    open_page(page, page_url)
    statuses: list[int] = []
    page.on("response", lambda response: statuses.append(response.status))
    box = page.locator("#pad").bounding_box()
    assert box
    costs = page.evaluate(
        """async ({ x, y, width }) => {
            const send = (type, k, buttons) => pad.dispatchEvent(new PointerEvent(type, {
                clientX: x + width * (0.5 + 0.47 * Math.sin(k / 31)), clientY: y + width * (0.5 + 0.47 * Math.sin(k / 47)),
                pointerId: 1, pointerType: "mouse", isPrimary: true, button: 0, buttons, bubbles: true, cancelable: true,
            }));
            pad.setPointerCapture = () => {};
            send("pointerdown", 0, 1);
            const costs = [];
            let begin = performance.now();
            for (let k = 1; k <= 21000; k += 1) {
                send("pointermove", k, 1);
                if (k % 100 === 0) {
                    await new Promise((drawn) => requestAnimationFrame(() => drawn()));
                    costs.push(performance.now() - begin);
                    begin = performance.now();
                }
            }
            send("pointerup", 21000, 0);
            return costs;
        }""",
        box,
    )
    first, last = (statistics.median(part) for part in (costs[5:45], costs[-40:]))
    print(f"a frame of 100 points: {first:.1f} ms at the begin, {last:.1f} ms at the end")
    assert last <= 2 * first + 10
    expect(page.locator("#reading")).not_to_have_attribute("data-kind", "refused")
    expect(page.locator("#facts")).to_be_visible()
    assert set(statuses) == {200}
