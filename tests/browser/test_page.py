"""The page around the drawing: what it says when something is wrong, whom it serves, where it fits."""

import http.client
import itertools
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from tests import stack
from tests.browser.conftest import NewPage
from tests.browser.pen import SCRIBBLE, SEVEN, draw, ink_share, on_screen, open_page, press
from tests.browser.states import PROBLEMS, SETTLED, STATES
from tests.browser.test_drawing import expect_seven, pixel

NOT_READY = "The model is still being trained or loaded; drawing works, answers come as soon as it is ready."


def test_without_a_model_the_page_says_so_and_answers_by_itself_once_it_is_there(new_page: NewPage, tiny_store: Path):
    port = stack.free_port()
    with ExitStack() as programs:
        gateway, url = stack.gateway(f"127.0.0.1:{port}")
        programs.enter_context(gateway)
        page = new_page(failures=True)
        page.goto(url)
        expect(page.locator("#note")).to_have_text(NOT_READY)
        expect(page.locator("#status")).to_have_text("model not ready")
        draw(page, SEVEN)
        expect(page.locator("#when")).to_have_text(re.compile("by itself in|trying"))
        drawn = ink_share(page)

        first, *_ = stack.model_server(tiny_store, port=port)
        with first:
            expect_seven(page)  # nobody touched the page
            expect(page.locator("#retry")).to_be_hidden()
        draw(page, [[(0.35, 0.52), (0.65, 0.5)]])
        expect(page.locator("#note")).to_have_text(NOT_READY)
        expect(page.locator(".is-chosen")).to_have_count(0)  # no answer of before stands beside another drawing

        page.keyboard.press("Control+z")
        programs.enter_context(stack.model_server(tiny_store, port=port)[0])
        expect_seven(page)
        assert ink_share(page) == pytest.approx(drawn)


SIGN_IN = "Something in front of the page wants you to sign in"
BROKEN = "Something went wrong on the server"
WORDS = {
    "a bug": (BROKEN, "request 5f1c2a9e", "button"),
    "a model that does not fit": (BROKEN, "The model does not fit.", "waiting"),
    "a model that is away": ("The model is not ready yet", NOT_READY, "waiting"),
    "a slow model": ("The model is taking long", "asking again", "waiting"),
    "a busy gateway": ("A moment, please", "yours is next", "button"),
    "a break of an hour": ("The server asks for a long break", "Yours is kept", "button"),
    "a drawing too large": ("The server cannot read this drawing", "at most 1000", "drawing"),
    "a proxy alone": ("The server is not answering", "is kept", "waiting"),
    "a sign-in": (SIGN_IN, "in this tab", "button"),
    "a sign-in page": (SIGN_IN, "in this tab", "button"),
    "a slow proxy": ("The server is taking long", "asking again", "waiting"),
    "a proxy that refuses": ("Something in front of the server refused the drawing", "The server answered 413.", "button"),
    "no connection": ("No connection to the server", "is kept", "waiting"),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_problem_is_named_plainly_and_nothing_drawn_is_lost(new_page: NewPage, page_url: str, problem: str):
    title, note, mended_by = WORDS[problem]
    page = new_page(failures=True)
    open_page(page, page_url)
    page.route("**/api/v1/predict", PROBLEMS[problem])
    draw(page, SEVEN)
    expect(page.locator("#title")).to_have_text(title)
    expect(page.locator("#note")).to_contain_text(note)
    expect(page.locator("#big")).to_be_empty()
    expect(page.locator("#pad")).to_have_attribute("aria-label", "Your drawing: 1 stroke")
    expect(page.locator("#again")).to_be_visible(visible=mended_by != "drawing")
    page.unroute("**/api/v1/predict")
    if mended_by == "button":
        page.locator("#again").click()
    elif mended_by == "drawing":
        page.keyboard.press("Control+z")
        page.keyboard.press("Control+Shift+z")
    expect_seven(page)


def test_a_late_answer_never_replaces_a_newer_one(page: Page, page_url: str):
    open_page(page, page_url)
    held: list[Route] = []
    page.route("**/api/v1/predict", lambda route: held.append(route) if not held else route.continue_())
    press(page, SEVEN[0])
    stack.wait_until("a request while drawing", lambda: page.evaluate("1") and held)
    page.mouse.up()
    expect_seven(page)
    late = {
        "digit": 3,
        "reason": None,
        "candidates": [3],
        "confidence": 0.99,
        "probabilities": [0.1] * 10,
        "model": {"name": "digits", "version": 1},
    }
    held[0].fulfill(json={**late, "model": {"name": "digits", "version": 1}})
    page.evaluate("fetch('healthz').then(() => new Promise(requestAnimationFrame))")  # the late one has arrived before this
    assert page.locator("#big").text_content() == "7"


@contextmanager
def proxy(target: str, prefix: str) -> Iterator[str]:
    """A reverse proxy that shows target's pages under prefix and nothing else, as an Ingress with a path does."""
    where = urlsplit(target).netloc

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(prefix):
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with closing(http.client.HTTPConnection(where, timeout=10)) as upstream:
                upstream.request(self.command, self.path[len(prefix) - 1 :], body, {"Content-Type": self.headers.get("Content-Type", "")})
                reply = upstream.getresponse()
                content = reply.read()
            self.send_response(reply.status)
            for name in ("Content-Type", "Content-Security-Policy", "Cache-Control"):
                if value := reply.headers.get(name):
                    self.send_header(name, value)
            with suppress(ConnectionError):  # a page that is closed no longer wants it
                self.end_headers()
                self.wfile.write(content)

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}{prefix}"
    server.shutdown()
    server.server_close()


def test_it_works_under_a_sub_path(page: Page, page_url: str):
    with proxy(page_url, "/some/where/") as url:
        open_page(page, url)
        draw(page, SEVEN)
        expect_seven(page)
        page.close()


WINDOWS = {
    "small phone": (320, 568, "below"),
    "phone": (390, 844, "below"),
    "large phone": (430, 932, "below"),
    "phone on its side": (844, 390, "beside"),
    "small phone on its side": (740, 320, "beside"),
    "tablet": (768, 1024, "below"),
    "tablet on its side": (1024, 768, "beside"),
    "low laptop": (1366, 620, "beside"),
    "desktop": (1280, 800, "beside"),
    "large desktop": (1920, 1080, "beside"),
    "4K": (3840, 2160, "beside"),
    "desktop at 200 %": (640, 400, "beside"),
    "desktop at 400 %": (320, 200, "below"),
}
LEAST_PAPER_PX = {(3840, 2160): 1400, (768, 1024): 600, (1280, 800): 600, (844, 390): 280, (740, 320): 240, (390, 844): 350}


@pytest.mark.parametrize(("width", "height", "place"), WINDOWS.values(), ids=WINDOWS)
def test_it_fits_the_window_without_scrolling_sideways(new_page: NewPage, page_url: str, width: int, height: int, place: str):
    page = new_page(viewport={"width": width, "height": height})
    open_page(page, page_url)
    draw(page, [[(0.4, 0.1), (0.5, 0.3)]])
    expect(page.locator("#facts")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = page.evaluate(
        """() => [...document.querySelectorAll("main *, header *")].filter((element) => {
            const { left, right, width } = element.getBoundingClientRect();
            return width > 0 && (left < 0 || right > innerWidth) && !element.closest("svg");
        }).map((element) => element.outerHTML.slice(0, 80))"""
    )
    assert outside == []
    paper, tools, reading = (page.locator(name).bounding_box() for name in (".paper", ".tools", ".reading"))
    assert paper and tools and reading
    assert paper["height"] == pytest.approx(paper["width"], abs=1)
    if place == "beside":
        assert reading["x"] > max(box["x"] + box["width"] for box in (paper, tools))
    else:
        assert reading["y"] > tools["y"] + tools["height"]
    if height >= 300:
        assert max(box["y"] + box["height"] for box in (paper, tools)) <= height  # the paper and its tools are in sight at once
    assert paper["width"] >= LEAST_PAPER_PX.get((width, height), 0)
    for name in ("Undo", "Redo", "Clear"):
        box = page.get_by_role("button", name=name).bounding_box()
        assert box
        assert min(box["width"], box["height"]) >= 44  # a finger's size
        assert box["x"] + box["width"] <= reading["x"] or place == "below"


@pytest.mark.parametrize("size", [(320, 568), (390, 844), (768, 1024), (1280, 800)], ids="{0[0]}x{0[1]}".format)
@pytest.mark.parametrize("state", ["sure", "unsure", "ambiguous"])
def test_no_label_of_a_bar_lies_on_another(new_page: NewPage, page_url: str, size: tuple[int, int], state: str):
    page = new_page(viewport={"width": size[0], "height": size[1]})
    STATES[state](page, page_url)
    page.evaluate(SETTLED)
    labels = page.evaluate(
        """() => [...document.querySelectorAll("#bars .percent")].map((label) => label.getBoundingClientRect().toJSON())
            .filter(({ width }) => width > 0)"""
    )
    assert labels
    for a, b in itertools.combinations(labels, 2):
        assert a["right"] <= b["left"] or a["bottom"] <= b["top"] or b["bottom"] <= a["top"]


@pytest.mark.parametrize("size", [(320, 568), (844, 390), (740, 320)], ids="{0[0]}x{0[1]}".format)
def test_the_proof_and_its_sentence_are_in_sight_at_once(new_page: NewPage, page_url: str, size: tuple[int, int]):
    page = new_page(viewport={"width": size[0], "height": size[1]})
    STATES["proof"](page, page_url)
    dialog = page.get_by_role("dialog")
    assert dialog.evaluate("({ scrollHeight, clientHeight }) => scrollHeight <= clientHeight")
    for part in (".diagram svg", ".explanation", "button"):
        box = dialog.locator(part).bounding_box()
        assert box
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= size[1]


CONTRAST = """() => {
    const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
        context.clearRect(0, 0, 1, 1);
        context.fillStyle = colour;
        context.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
        return { rgb: [r, g, b], a: a / 255 };
    };
    const ground = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const { rgb, a } = rgba(getComputedStyle(at).backgroundColor);
            if (a > 0.99) return rgb;
        }
        return [255, 255, 255];
    };
    const light = (rgb) => rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!walker.currentNode.textContent.trim() || element.closest("[aria-disabled=true], .unseen, noscript, [hidden]")) continue;
        const style = getComputedStyle(element);
        const [a, b] = [light(rgba(style.color).rgb), light(ground(element))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        found.push([walker.currentNode.textContent.trim(), ratio, parseFloat(style.fontSize) >= 24 ? 3 : 4.5]);
    }
    return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_word_has_enough_contrast(new_page: NewPage, page_url: str, scheme: str):
    page = new_page(color_scheme=scheme, reduced_motion="reduce")
    open_page(page, page_url)
    words = page.evaluate(CONTRAST)
    for strokes in (SEVEN, SCRIBBLE):
        draw(page, strokes)
        expect(page.locator("#title")).not_to_be_empty()
        words += page.evaluate(CONTRAST)
        page.keyboard.press("Escape")
    assert len(words) > 60
    assert [(text, round(ratio, 2)) for text, ratio, wanted in words if ratio < wanted] == []


def test_the_ink_follows_the_colour_scheme(page: Page, page_url: str):
    open_page(page, page_url)
    draw(page, SEVEN)
    expect_seven(page)
    x, y = on_screen(page, [SEVEN[0][2]])[0]
    assert max(pixel(page, x, y)) < 200  # ink on paper
    page.emulate_media(color_scheme="dark")
    stack.wait_until("chalk on slate", lambda: min(pixel(page, x, y)) > 150)


def test_everything_has_a_name_and_keys_reach_it_in_order(page: Page, page_url: str):
    open_page(page, page_url)
    draw(page, SEVEN)
    expect_seven(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("pynumdraw")
    expect(page.get_by_role("img", name=re.compile("^Your drawing: 1 stroke"))).to_be_visible()
    expect(page.get_by_role("img", name="Your drawing as 28 by 28 grey pixels")).to_be_visible()
    expect(page.get_by_role("meter")).to_have_count(11)
    expect(page.get_by_role("meter", name="A digit?")).to_have_attribute("aria-valuetext", re.compile(r"\d\d"))
    for button in page.get_by_role("button").all():
        expect(button).to_have_accessible_name(re.compile(r"\w"))
    assert page.evaluate("document.documentElement.lang") == "en"
    reached = []
    for _ in range(3):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.querySelector('span').textContent"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert reached == ["Undo", "Redo", "Clear"]
    page.keyboard.press("Enter")
    expect(page.locator("#pad")).to_have_attribute("aria-label", "Your drawing: empty")
    assert page.evaluate("document.activeElement.id") == "clear"  # what has nothing to do keeps the focus


def test_a_screen_reader_hears_the_settled_answer_once(page: Page, page_url: str):
    open_page(page, page_url)
    page.evaluate(
        "window.announced = []; new MutationObserver(() => announced.push(spoken.textContent)).observe(spoken, { childList: true })"
    )
    press(page, SEVEN[0])
    expect(page.locator("#title")).to_have_text("So far: 7")  # answered many times by now
    page.mouse.up()
    stack.wait_until("the answer is announced", lambda: page.evaluate("announced.length"))
    page.get_by_role("button", name="Undo").click()
    stack.wait_until("a blank page is silent", lambda: page.evaluate("announced.length === 2"))
    first, second = page.evaluate("announced")
    assert re.fullmatch(r"7, .*sure", first)
    assert second == ""
    expect(page.locator("#spoken")).to_have_role("status")


def test_shortcuts_stand_in_tooltips_and_not_in_the_buttons_names(page: Page, page_url: str):
    open_page(page, page_url)
    assert page.locator(".tip").all_text_contents() == ["Ctrl+Z", "Ctrl+Shift+Z", "Esc"]
    for name in ("Undo", "Redo", "Clear"):
        expect(page.get_by_role("button", name=name, exact=True)).to_have_accessible_name(name)


def test_without_javascript_a_sentence_says_what_is_needed(new_page: NewPage, page_url: str):
    page = new_page(java_script_enabled=False)
    page.goto(page_url)
    expect(page.locator(".noscript")).to_contain_text("Drawing needs JavaScript")


def test_who_wants_less_motion_gets_none(new_page: NewPage, page_url: str):
    page = new_page(reduced_motion="reduce")
    open_page(page, page_url)
    draw(page, SEVEN)
    expect_seven(page)
    assert page.evaluate("document.getAnimations().length") == 0


@pytest.mark.parametrize("missing", ["app.js", "ink.js", "vendor/perfect-freehand.js"])
def test_a_module_that_does_not_load_is_named_within_seconds(new_page: NewPage, page_url: str, missing: str):
    page = new_page(failures=True)
    page.route(f"**/{missing}", lambda route: route.abort())
    page.goto(page_url)
    expect(page.locator(".stuck")).to_be_visible()
    expect(page.locator(".stuck")).to_contain_text("A part of the page has not loaded.")
    page.unroute(f"**/{missing}")
    page.get_by_role("link", name="Load it again").click()
    expect(page.locator("#status")).to_have_attribute("data-state", "ready")
    expect(page.locator(".stuck")).to_be_hidden()


def test_a_later_module_that_does_not_load_leaves_the_answer_standing(new_page: NewPage, page_url: str):
    page = new_page(failures=True)
    open_page(page, page_url)
    page.route("**/trail.js", lambda route: route.abort())
    draw(page, SEVEN)
    expect_seven(page)
    expect(page.locator("#notice")).to_have_text("A part of the page did not load. Try again, or load the page anew.")


def test_a_break_of_an_hour_is_kept_and_said(new_page: NewPage, page_url: str):
    page = new_page(failures=True)
    open_page(page, page_url)
    page.route("**/api/v1/predict", PROBLEMS["a break of an hour"])
    draw(page, SEVEN)
    expect(page.locator("#title")).to_have_text("The server asks for a long break")
    expect(page.locator("#when")).to_have_text(re.compile(r"^or by itself at .*, in 60\sminutes$"))
    page.unroute("**/api/v1/predict")
    page.locator("#again").click()
    expect_seven(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_print_shows_dark_ink_and_the_bars_on_white(new_page: NewPage, page_url: str, scheme: str):
    page = new_page(color_scheme=scheme)
    open_page(page, page_url)
    draw(page, SEVEN)
    expect_seven(page)
    page.emulate_media(media="print", color_scheme=scheme)
    stack.wait_until("the bars are on the page", lambda: page.locator(".bars").is_visible())
    x, y = on_screen(page, [SEVEN[0][2]])[0]
    assert max(pixel(page, x, y)) < 130  # ink
    x, y = on_screen(page, [(0.86, 0.9)])[0]
    assert min(pixel(page, x, y)) > 240  # paper
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('.is-chosen .bar-fill')).printColorAdjust") == "exact"
    for name in (".tools", "footer", ".share", "#trail"):
        expect(page.locator(name)).to_be_hidden()


def test_with_forced_colours_the_chosen_bar_has_the_system_s_highlight(new_page: NewPage, page_url: str):
    page = new_page(forced_colors="active")
    open_page(page, page_url)
    draw(page, SEVEN)
    expect_seven(page)
    colours = "[...document.querySelectorAll('.bars .bar-fill')].map((bar) => getComputedStyle(bar).backgroundColor)"
    chosen, others = page.evaluate(colours)[7], {*page.evaluate(colours)[:7]}
    assert len(others) == 1
    assert chosen not in others


def test_with_forced_colours_no_bar_is_highlighted_beside_other_ink(new_page: NewPage, page_url: str):
    page = new_page(forced_colors="active")
    STATES["pending"](page, page_url)
    colour = "getComputedStyle({}).backgroundColor"
    system = "Object.assign(document.body.appendChild(document.createElement('i')), {{ style: 'background: {}' }})"
    highlight, grey = (page.evaluate(colour.format(system.format(name))) for name in ("Highlight", "GrayText"))
    fills = page.evaluate("[...document.querySelectorAll('.bar-fill, .gauge-fill')].map((fill) => getComputedStyle(fill).backgroundColor)")
    assert highlight not in fills
    assert {*fills} == {grey}
    page.unroute_all(behavior="ignoreErrors")
