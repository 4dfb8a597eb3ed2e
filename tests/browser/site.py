"""The page to look at and the browser to look with: gateway and model server on this machine, and the machine's Chromium."""

import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests import stack


def best_store() -> Path:
    """A model store that holds a version worth a picture: MODEL_STORE, else models/."""
    root = Path(os.environ.get("MODEL_STORE") or stack.ROOT / "models")
    if not any(path.name.isdigit() for path in (root / "digits").glob("*")):
        wanted = "wanted one to read drawings; `make train` makes one, MODEL_STORE names another store"
        raise LookupError(f"{root / 'digits'}: found no version of the model, {wanted}")
    return root


@contextmanager
def served_page(store: Callable[[], Path]) -> Iterator[str]:
    """The address of a running page, with a slash at its end: PAGE_URL, else programs started here on that store and stopped at the end."""
    if given := os.environ.get("PAGE_URL"):
        yield given.rstrip("/") + "/"
        return
    server, address, _ = stack.model_server(store())
    with server:
        gateway, url = stack.gateway(address)
        with gateway:
            yield f"{url}/"


def launch_options(with_window: bool = False) -> dict[str, Any]:
    """The machine's Chromium, else Playwright's own (`ensure-chromium` brings either), without the requests that it makes for itself.

    with_window: the whole browser. Else Chromium's shell where there is one: it shows a page the same, and makes no window for it, which
    would cost a second of both cores.
    """
    names: tuple[str, ...] = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    if not with_window:
        names = ("chromium-headless-shell", *names)
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    return {"executable_path": next(filter(None, map(shutil.which, names)), None), "args": arguments}


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**launch_options())
        yield browser
        browser.close()


@contextmanager
def zoomed_window(browser: Browser, zoom: float) -> Iterator[Page]:
    """A page in a browser of its own whose user has zoomed to `zoom`, as by Ctrl and +: a setting that no emulation reaches."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        preferences = Path(profile, "Default", "Preferences")
        preferences.parent.mkdir()
        preferences.write_text(
            json.dumps({"partition": {"default_zoom_level": {"x": math.log(zoom, 1.2)}}})
        )  # a step of Chromium's is 20 %
        options = launch_options(with_window=True)
        options["args"].append("--window-size=1280,960")
        context = browser.browser_type.launch_persistent_context(profile, no_viewport=True, **options)
        yield context.pages[0]
        context.close()
