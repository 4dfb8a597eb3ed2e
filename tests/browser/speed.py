"""How quick the page is: `make bench-page`. Prints each figure with its bar, and exits 1 where a figure is over its bar.

It is no test of `make test`: the bars are for a quiet machine, and other work on it decides the outcome. So it also prints how busy the
machine was: its load, and how long a fixed piece of work takes in the page before and after.
"""

import math
import os
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass

from playwright.sync_api import Browser, Page

from tests.browser.pen import SEVEN, on_screen, open_page, smooth
from tests.browser.site import best_store, chromium, served_page
from tests.stack import wait_until

LATENCY_MS, SLOWER = 150, 4
LOADS, STROKES, ANSWERS = 5, 3, 20  # measured of each kind
WINDOW_MS = 3000  # until a browser has made a new window, on the same cores; a visitor's is there before the address is asked for


@dataclass(frozen=True)
class Figure:
    """What was measured, in ms. bar_ms: what it may be at most, None where nothing is demanded."""

    name: str
    value_ms: float
    bar_ms: float | None
    median_ms: float

    def __str__(self) -> str:
        bar = "no bar" if self.bar_ms is None else f"bar {self.bar_ms:.0f}, {'over it' if self.is_over else 'kept'}"
        return f"{self.name}: {self.value_ms:.1f} ms ({bar}); median {self.median_ms:.1f} ms"

    @property
    def is_over(self) -> bool:
        return self.bar_ms is not None and self.value_ms > self.bar_ms


def p95(name: str, times_ms: list[float], bar_ms: float | None) -> Figure:
    ordered = sorted(times_ms)
    return Figure(f"{name}, p95 of {len(ordered)}", ordered[math.ceil(0.95 * len(ordered)) - 1], bar_ms, statistics.median(ordered))


def work_ms(page: Page) -> float:
    """How long 3 million square roots take in the page: the median of nine runs."""
    return page.evaluate(
        """() => {
            const times = [];
            for (let round = 0; round < 9; round += 1) {
                const begin = performance.now();
                let sum = 0;
                for (let k = 0; k < 3e6; k += 1) sum += Math.sqrt(k);
                times.push(performance.now() - begin);
            }
            return times.sort((a, b) => a - b)[4];
        }"""
    )


READY_SCRIPT = """document.addEventListener("DOMContentLoaded", () => {
    const status = document.getElementById("status");
    const look = () => status.dataset.state === "ready" && (window.readyAt ??= performance.now());
    new MutationObserver(look).observe(status, { attributes: true });
    look();
});"""


def until_ready(browser: Browser, url: str) -> Figure:
    """From the begin of the navigation to the status "ready", on a phone with an empty cache, a slower processor and a server far away."""
    times_ms = []
    for _ in range(LOADS):
        context = browser.new_context(viewport={"width": 390, "height": 844})
        page = context.new_page()
        devtools = context.new_cdp_session(page)
        network = {"offline": False, "latency": LATENCY_MS, "downloadThroughput": -1, "uploadThroughput": -1}
        devtools.send("Network.enable")
        devtools.send("Network.emulateNetworkConditions", network)
        devtools.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
        page.add_init_script(READY_SCRIPT)
        page.wait_for_timeout(WINDOW_MS)
        page.goto(url)
        times_ms.append(wait_until("the page is ready", lambda page=page: page.evaluate("window.readyAt")))
        context.close()
    median_ms = statistics.median(times_ms)
    loads = f"median of {LOADS} from {min(times_ms):.0f} to {max(times_ms):.0f}"
    return Figure(f"ready with {SLOWER} times slower processor and {LATENCY_MS} ms latency, {loads}", median_ms, 1000, median_ms)


# Sends events of a pen, and after each looks whether the canvas around it has changed: when its handlers have returned, else in the next
# frame. Looking takes time too, which is not counted.
INK_SCRIPT = """([points, every_ms]) => new Promise((done, fail) => {
    const late_ms = [];
    const side_px = 64;
    const copy = new OffscreenCanvas(side_px, side_px).getContext("2d", { willReadFrequently: true });
    const around = ([x, y]) => {
        const { left, top, width } = pad.getBoundingClientRect();
        const ratio = pad.width / width;
        copy.clearRect(0, 0, side_px, side_px);
        copy.drawImage(pad, side_px / 2 - (x - left) * ratio, side_px / 2 - (y - top) * ratio);
        return copy.getImageData(0, 0, side_px, side_px).data.join();
    };
    const send = (type, [x, y], buttons) => pad.dispatchEvent(new PointerEvent(type, {
        clientX: x, clientY: y, pointerId: 1, pointerType: "mouse", isPrimary: true, button: 0, buttons, bubbles: true, cancelable: true,
    }));
    pad.setPointerCapture = () => {};
    let k = 0;
    const timer = setInterval(() => {
        if (k >= points.length) {
            clearInterval(timer);
            send("pointerup", points.at(-1), 0);
            return setTimeout(() => done(late_ms), 100);
        }
        const point = points[k];
        const before = around(point);
        const began_ms = performance.now();
        send(k === 0 ? "pointerdown" : "pointermove", point, 1);
        const returned_ms = performance.now();
        k += 1;
        if (around(point) !== before) return late_ms.push(returned_ms - began_ms);
        requestAnimationFrame(() => {
            late_ms.push(performance.now() - began_ms);
            if (around(point) === before) fail(new Error(`no ink at ${point}`));
        });
    }, every_ms);
})"""


def event_to_ink(browser: Browser, url: str) -> Figure:
    """From a pointer event to its ink on the canvas, while answers come; 125 events a second."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    open_page(page, url)
    points = on_screen(page, smooth(SEVEN[0], 12))
    late_ms: list[float] = []
    for _ in range(STROKES):
        late_ms += page.evaluate(INK_SCRIPT, [points, 8])
        page.keyboard.press("Escape")
    page.close()
    return p95("event to ink on the canvas", late_ms, 16)


def event_to_frame(browser: Browser, url: str) -> Figure:
    """From an input event's timeStamp to the end of the frame that shows it; contains the browser's own wait for that frame."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    open_page(page, url)
    page.evaluate(
        """() => {
            window.shownAfter_ms = [];
            pad.addEventListener("pointermove", (event) => requestAnimationFrame(() => {
                const { port1, port2 } = new MessageChannel(); // its message comes when the frame is done
                port1.onmessage = () => shownAfter_ms.push(performance.now() - event.timeStamp);
                port2.postMessage(null);
            }));
        }"""
    )
    points = on_screen(page, smooth(SEVEN[0], 12))
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point)
    page.mouse.up()
    late_ms = page.evaluate("shownAfter_ms")
    page.close()
    return p95("input's time to the end of its frame", late_ms, None)


def stroke_end_to_answer(browser: Browser, url: str) -> Figure:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    open_page(page, url)
    took_ms = []
    for _ in range(ANSWERS):
        points = on_screen(page, smooth(SEVEN[0], 2))
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point)
        page.evaluate(
            """() => {
                window.answeredAfter = new Promise((done) => {
                    addEventListener("pointerup", (event) => {
                        const begin = performance.now();
                        new PerformanceObserver((list, observer) => {
                            const mine = list.getEntries().find((entry) => entry.name.endsWith("predict") && entry.startTime >= begin);
                            if (mine) (observer.disconnect(), done(mine.responseEnd - begin));
                        }).observe({ type: "resource" });
                    }, { once: true, capture: true });
                });
            }"""
        )
        page.mouse.up()
        took_ms.append(page.evaluate("answeredAfter"))
        page.keyboard.press("Escape")
    page.close()
    return p95("stroke end to answer", took_ms, 100)


def main() -> int:
    measures: list[Callable[[Browser, str], Figure]] = [until_ready, event_to_ink, event_to_frame, stroke_end_to_answer]
    figures = []
    load = os.getloadavg()[0]
    with served_page(best_store) as url, chromium() as browser:
        blank = browser.new_page()
        before_ms = work_ms(blank)
        for measure in measures:
            figures.append(measure(browser, url))
            print(figures[-1], flush=True)
        after_ms = work_ms(blank)
    work = f"3 million square roots took {before_ms:.1f} ms before, {after_ms:.1f} after"
    print(f"machine: {os.cpu_count()} cores, load {load:.1f} before; {work}")
    return int(any(figure.is_over for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
