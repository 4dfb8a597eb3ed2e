"""Drawings as strokes, and the ways to draw them on the real page: mouse and fingers."""

from collections.abc import Mapping, Sequence
from typing import Any

from playwright.sync_api import Page, expect

Stroke = Sequence[tuple[float, float]]  # (x, y) as shares of the canvas's side

SEVEN: list[Stroke] = [
    [
        (0.29, 0.25),
        (0.37, 0.23),
        (0.48, 0.24),
        (0.6, 0.235),
        (0.705, 0.225),
        (0.69, 0.3),
        (0.61, 0.44),
        (0.54, 0.58),
        (0.5, 0.7),
        (0.475, 0.83),
    ]
]
SCRIBBLE: list[Stroke] = [
    [(0.12, 0.3), (0.85, 0.2), (0.2, 0.5), (0.8, 0.42), (0.15, 0.75), (0.88, 0.68), (0.3, 0.12), (0.42, 0.9), (0.6, 0.1), (0.75, 0.88)],
    [(0.1, 0.6), (0.9, 0.9), (0.1, 0.12), (0.9, 0.5), (0.12, 0.9), (0.5, 0.5), (0.9, 0.1)],
]
DOT: list[Stroke] = [[(0.5, 0.5)]]
MOVES = 3  # of the pointer from one point of a stroke to the next; each waits for the browser, up to 0.1 s where it is busy


def open_page(page: Page, url: str) -> None:
    """The page at url, ready to be drawn on and, as its status says, in touch with a model."""
    page.goto(url)
    expect(page.locator("#status")).to_have_attribute("data-state", "ready")


def smooth(stroke: Stroke, between: int = 6) -> list[tuple[float, float]]:
    """The stroke as people draw it: a Catmull-Rom curve through its points, `between` points from one to the next."""
    points = [stroke[0], *stroke, stroke[-1]]
    curve = [
        tuple(
            0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
            for p0, p1, p2, p3 in zip(*points[k : k + 4], strict=True)
        )
        for k in range(len(stroke) - 1)
        for t in (step / between for step in range(between))
    ]
    return [*curve, stroke[-1]]


def on_screen(page: Page, stroke: Stroke) -> list[tuple[float, float]]:
    """Where the stroke's points are in the window, CSS px."""
    box = page.locator("#pad").bounding_box()
    assert box, "the pad is not shown"
    return [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]


def draw(page: Page, strokes: Sequence[Stroke]) -> None:
    """Draw with the mouse."""
    for stroke in strokes:
        press(page, stroke)
        page.mouse.up()


def press(page: Page, stroke: Stroke) -> None:
    """Draw one stroke with the mouse and keep the button down."""
    first, *others = on_screen(page, smooth(stroke, MOVES))
    page.mouse.move(*first)
    page.mouse.down()
    for point in others:
        page.mouse.move(*point)


class Fingers:
    """Touches by the browser's own input pipeline, so that scrolling happens where the page allows it."""

    def __init__(self, page: Page):
        self._page = page
        self._send = page.context.new_cdp_session(page).send

    def event(self, kind: str, *points: tuple[float, float]) -> None:
        """kind: touchStart, touchMove, touchEnd or touchCancel; points in the window, CSS px."""
        self.send(kind, dict(enumerate(points)))

    def send(self, kind: str, points: Mapping[int, tuple[float, float]]) -> None:
        """As `event`, for fingers by number. points: all that are on the screen; of touchEnd those that lift."""
        touches: list[Any] = [{"x": x, "y": y, "id": finger} for finger, (x, y) in points.items()]
        self._send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    def drag(self, points: Sequence[tuple[float, float]]) -> None:
        self.event("touchStart", points[0])
        for point in points[1:]:
            self.event("touchMove", point)
        self.event("touchEnd")

    def draw(self, strokes: Sequence[Stroke]) -> None:
        for stroke in strokes:
            self.drag(on_screen(self._page, smooth(stroke, MOVES)))


def ink_share(page: Page) -> float:
    """The share of the canvas's pixels that hold ink."""
    return page.evaluate(
        """() => {
            const { width, height } = pad;
            const copy = new OffscreenCanvas(width, height).getContext("2d");
            copy.drawImage(pad, 0, 0);
            const { data } = copy.getImageData(0, 0, width, height);
            let inked = 0;
            for (let k = 3; k < data.length; k += 4) inked += data[k] > 127;
            return inked / (width * height);
        }"""
    )


def watch_pointer(page: Page) -> None:
    """From now on the page remembers where the pointer was."""
    page.evaluate("window.visited = []; pad.addEventListener('pointermove', (event) => visited.push([event.clientX, event.clientY]))")


def ink_lay_under_pointer(page: Page) -> bool:
    """Whether the canvas holds ink wherever the pointer was while it drew, and there were such places."""
    return page.evaluate(
        """() => visited.length > 0 && visited.every(([x, y]) => {
            const { left, top, width } = pad.getBoundingClientRect();
            const copy = new OffscreenCanvas(1, 1).getContext("2d");
            copy.drawImage(pad, ((left - x) * pad.width) / width, ((top - y) * pad.width) / width);
            return copy.getImageData(0, 0, 1, 1).data[3] > 0;
        })"""
    )
