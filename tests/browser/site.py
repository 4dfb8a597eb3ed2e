"""The page to look at and the browser to look with: gateway and model server on this machine, and the machine's Chromium."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests import stack


def model_store() -> Path:
    """A model store that holds a version: MODEL_STORE, else models/."""
    root = Path(os.environ.get("MODEL_STORE") or stack.ROOT / "models")
    if not any(path.name.isdigit() for path in (root / "digits").glob("*")):
        wanted = "wanted one to read drawings; `make train` makes one, MODEL_STORE names another store"
        raise LookupError(f"{root / 'digits'}: found no version of the model, {wanted}")
    return root


@contextmanager
def served_page() -> Iterator[str]:
    """The address of a running page, with a slash at its end: PAGE_URL, else programs started here and stopped at the end."""
    if given := os.environ.get("PAGE_URL"):
        yield given.rstrip("/") + "/"
        return
    server, address, _ = stack.model_server(model_store())
    with server:
        gateway, url = stack.gateway(address)
        with gateway:
            yield f"{url}/"


@contextmanager
def chromium() -> Iterator[Browser]:
    """The machine's Chromium, else Playwright's own (`ensure-chromium` brings either), without the requests that it makes for itself."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    executable = next(filter(None, map(shutil.which, names)), None)
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield browser
        browser.close()
