"""Answers of a real model to drawings that tell its doubts apart, kept as a file: `python -m tests.browser.recorded` records them anew.

Tests of words use these, so that they do not depend on what the small test model makes of a drawing.
"""

import json
import re
import urllib.request
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from tests.browser.pen import SCRIBBLE, SEVEN, Stroke, smooth
from tests.browser.site import best_store, served_page

FILE = Path(__file__).with_name("recorded.json")

DRAWINGS: dict[str, list[Stroke]] = {
    "seven": SEVEN,
    "question mark": [
        [(0.33, 0.3), (0.38, 0.2), (0.5, 0.15), (0.63, 0.2), (0.66, 0.32), (0.58, 0.44), (0.51, 0.53), (0.5, 0.66)],
        [(0.5, 0.84), (0.505, 0.85)],
    ],
    "g": [
        [(0.66, 0.32), (0.55, 0.24), (0.42, 0.27), (0.35, 0.4), (0.42, 0.53), (0.55, 0.53), (0.65, 0.42), (0.67, 0.3)],
        [(0.67, 0.3), (0.68, 0.5), (0.68, 0.7), (0.6, 0.84), (0.45, 0.86), (0.34, 0.78)],
    ],
    "line": [[(0.5, 0.15), (0.5, 0.5), (0.5, 0.85)]],
    "half a four": [[(0.35, 0.2), (0.32, 0.4), (0.3, 0.55), (0.5, 0.55), (0.72, 0.54)]],
    "four": [[(0.35, 0.2), (0.32, 0.4), (0.3, 0.55), (0.5, 0.55), (0.72, 0.54)], [(0.6, 0.3), (0.59, 0.6), (0.57, 0.9)]],
    "four or nine": [
        [(0.46, 0.21), (0.4125, 0.245), (0.355, 0.325), (0.345, 0.405), (0.3875, 0.465), (0.48, 0.475), (0.58, 0.44), (0.64, 0.375)],
        [(0.655, 0.21), (0.6475, 0.35), (0.635, 0.5), (0.6175, 0.655), (0.6, 0.805)],
    ],
    "scribble": SCRIBBLE,
}


CARD = {
    "model": "digits",
    "version": 1,
    "reliability": [
        {"low": k / 10, "high": (k + 1) / 10, "count": 40 * k, "confidence": k / 10 + 0.05, "accuracy": k / 10 + 0.06} for k in range(10)
    ],
}


def record(url: str) -> dict[str, dict[str, Any]]:
    """What the gateway at url answers to each of the drawings."""
    answers = {}
    for name, strokes in DRAWINGS.items():
        body = {"width": 400, "height": 400, "pen": 24, "frame": True}
        body["strokes"] = [[[round(400 * x, 1), round(400 * y, 1)] for x, y in smooth(stroke)] for stroke in strokes]
        request = urllib.request.Request(f"{url}api/v1/predict", json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as reply:
            answers[name] = json.load(reply)
    return answers


def recorded(name: str, **fields: Any) -> dict[str, Any]:
    """The recorded answer to a drawing, with some of its fields changed."""
    return {**json.loads(FILE.read_text())[name], **fields}


def answer_with(page: Page, name: str, **fields: Any) -> None:
    """From now on every drawing on the page is answered as that one was, and the version that answered has `CARD`."""
    page.unroute("**/api/v1/predict")
    page.context.route(re.compile(r"/api/v1/card\?version=1$"), lambda route: route.fulfill(json=CARD))  # a page's own route comes first
    page.route("**/api/v1/predict", lambda route: route.fulfill(json=recorded(name, **fields)))


if __name__ == "__main__":
    with served_page(best_store) as address:
        FILE.write_text(json.dumps(record(address), separators=(",", ":")) + "\n")
