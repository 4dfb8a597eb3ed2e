"""The real page: gateway and model server on this machine, or wherever PAGE_URL says; and a Chromium to look at it."""

import re
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from tests.browser.site import chromium, served_page


@pytest.fixture(scope="session")
def page_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Address of a running page, with a slash at its end."""
    with served_page(lambda: request.getfixturevalue("tiny_store")) as url:
        yield url


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


expect.set_options(timeout=20_000)  # a page answers in a tenth of a second; a machine that is busy with other work may take long

NewPage = Callable[..., Page]


@pytest.fixture
def new_page(browser: Browser) -> Iterator[NewPage]:
    """Makes pages: new_page(viewport=…, device_scale_factor=…, …).

    At the end each must have loaded from its own host alone, without an error in its console. A test that breaks the page's server on
    purpose says so: new_page(failures=True) allows failed requests and what a page that did not start had preloaded, nothing else.
    """
    contexts: list[BrowserContext] = []
    errors: list[str] = []
    hosts: set[tuple[str, str]] = set()

    def make(failures: bool = False, **options: object) -> Page:
        context = browser.new_context(**options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()

        def collect(message: ConsoleMessage) -> None:
            expected = ("Failed to load resource", "The resource .* was preloaded using link preload but not used")
            if message.type in ("error", "warning") and not (failures and re.match("|".join(expected), message.text)):
                errors.append(message.text)

        page.on("console", collect)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda sent: hosts.add((urlsplit(page.url).netloc or urlsplit(sent.url).netloc, urlsplit(sent.url).netloc)))
        return page

    yield make
    for context in contexts:
        context.close()
    assert errors == []
    assert all(own == other for own, other in hosts), f"requests went to other hosts than its own: {hosts}"


@pytest.fixture
def page(new_page: NewPage) -> Page:
    """A page in a desktop window."""
    return new_page(viewport={"width": 1280, "height": 800})
