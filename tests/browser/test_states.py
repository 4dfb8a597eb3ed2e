"""In every state of the page axe finds nothing, and nothing leaves the window or lies on something else, in either direction of writing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.states import SETTLED, STATES

AXE = Path(__file__).with_name("node_modules") / "axe-core" / "axe.min.js"
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 320, "height": 640}
NARROW_RULES = ["color-contrast", "target-size", "scrollable-region-focusable"]
MODES: dict[str, tuple[Any, Any, list[str]]] = {  # window, media, rules that can find something new there (none named: all of them)
    "light": (WIDE, {"color_scheme": "light", "forced_colors": "none"}, []),
    "dark": (WIDE, {"color_scheme": "dark", "forced_colors": "none"}, ["color-contrast"]),
    "forced colours": (WIDE, {"color_scheme": "dark", "forced_colors": "active"}, ["color-contrast"]),
    "320 px": (NARROW, {"color_scheme": "light", "forced_colors": "none"}, NARROW_RULES),
}
SIZES = [(320, 640), (768, 1024), (844, 390), (1280, 800)]


@pytest.fixture(scope="module", params=STATES)
def page(request: pytest.FixtureRequest, browser: Browser, page_url: str) -> Iterator[Page]:
    """The page in one of its states, for all tests here."""
    context = browser.new_context(viewport=WIDE)  # type: ignore[arg-type]
    page = context.new_page()
    STATES[request.param](page, page_url)
    yield page
    context.close()


def violations(page: Page, rules: list[str]) -> list[str]:
    """What axe finds on the page as it is, by these rules, or by all."""
    found = page.evaluate(
        """async (rules) => (await axe.run(document, {
            resultTypes: ["violations"], ...(rules.length > 0 && { runOnly: { type: "rule", values: rules } }),
        })).violations""",
        rules,
    )
    return [f"{each['id']}: {node['html'][:120]} {node['failureSummary']}" for each in found for node in each["nodes"]]


def test_axe_finds_nothing(page: Page):
    page.evaluate(AXE.read_text())
    found = {}
    for mode, (viewport, media, rules) in MODES.items():
        page.set_viewport_size(viewport)
        page.emulate_media(**media)
        page.evaluate(SETTLED)
        found[mode] = violations(page, rules)
    assert found == {mode: [] for mode in MODES}


LAYOUT = """() => {
    const isVisible = (element) => element?.checkVisibility({ visibilityProperty: true });
    const over = [...document.querySelectorAll("dialog, .stuck")].find(isVisible); // lies over the page
    const root = over ?? document.body;
    const isSeen = (element) => isVisible(element) && !element.closest(".unseen, .tip, svg, .bars > li, .hint");
    const hasText = (element) => [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
    const seen = [...root.querySelectorAll("*")].filter(isSeen);
    const name = (element) => element.outerHTML.slice(0, 90);
    const leaves = seen.filter((element) => hasText(element) || element.matches("canvas, button, .bars, .gauge-plot, .diagram"));
    const apart = (a, b) => a.right <= b.left + 1 || b.right <= a.left + 1 || a.bottom <= b.top + 1 || b.bottom <= a.top + 1;
    const boxes = leaves.map((element) => [element, element.getBoundingClientRect()]).filter(([, { width }]) => width > 0);
    return {
        wide: Math.max(document.documentElement.scrollWidth - innerWidth, document.documentElement.scrollLeft),
        outside: seen.filter((element) => {
            const { left, right, width } = element.getBoundingClientRect();
            return width > 0 && (left < -0.5 || right > innerWidth + 0.5);
        }).map(name),
        overlapping: boxes.flatMap(([one, a], k) => boxes.slice(k + 1)
            .filter(([other, b]) => !one.contains(other) && !other.contains(one) && !apart(a, b))
            .map(([other]) => `${name(one)} and ${name(other)}`)),
    };
}"""


@pytest.mark.parametrize("direction", ["ltr", "rtl"])
def test_nothing_leaves_the_window_or_lies_on_something_else(page: Page, direction: str):
    page.emulate_media(color_scheme="light", forced_colors="none")
    page.evaluate("(direction) => { document.documentElement.dir = direction; }", direction)
    found = {}
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate(SETTLED)
        found[width, height] = page.evaluate(LAYOUT)
    assert found == {size: {"wide": 0, "outside": [], "overlapping": []} for size in SIZES}
