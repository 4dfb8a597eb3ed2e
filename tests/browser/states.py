"""Every state that the page can be in, with recorded answers, so it looks the same whatever model is served."""

from collections.abc import Callable
from functools import partial
from typing import Any

from playwright.sync_api import Page, Route, expect

from tests.browser.pen import DOT, SCRIBBLE, SEVEN, Stroke, draw, open_page, press, smooth
from tests.browser.recorded import DRAWINGS, answer_with, recorded

State = Callable[[Page, str], None]  # (page, its address)
Reply = Callable[[Route], None]

# As an answer has it, confidence is is_digit_probability times the largest of the probabilities.
SURE = {"confidence": 0.97, "is_digit_probability": 0.97}
UNSURE = {**SURE, "confidence": 0.47, "probabilities": [0.02, 0.21, 0.03, 0.04, 0.01, 0.03, 0.02, 0.485, 0.035, 0.12]}
DOUBTFUL = {"is_digit": True, "is_digit_probability": 0.62, "confidence": 0.62, "digit": 1, "candidates": [1], "reason": None}


def error_reply(status: int, code: str, message: str, **headers: str) -> Reply:
    """Answers with an error of the gateway."""
    body = {"error": {"code": code, "message": message, "request_id": "5f1c2a9e"}}
    return lambda route: route.fulfill(status=status, json=body, headers=headers)


def foreign_reply(status: int) -> Reply:
    """Answers as something in front of the gateway does."""
    return lambda route: route.fulfill(status=status, body="<h1>?</h1>")


PROBLEMS: dict[str, Reply] = {
    "a bug": error_reply(500, "internal", "something went wrong in the gateway; its log has the request id"),
    "a model that does not fit": error_reply(502, "bad_model_reply", "the model does not fit"),
    "a model that is away": error_reply(503, "serving_unavailable", "no model server answers"),
    "a slow model": error_reply(504, "serving_timeout", "no answer"),
    "a busy gateway": error_reply(429, "busy", "busy", **{"Retry-After": "50"}),
    "a break of an hour": error_reply(429, "busy", "busy", **{"Retry-After": "3600"}),
    "a drawing too large": error_reply(413, "drawing_too_large", "strokes: found 1001 strokes, wanted at most 1000"),
    "a proxy alone": foreign_reply(502),
    "a sign-in": foreign_reply(401),
    "a sign-in page": foreign_reply(200),
    "a slow proxy": foreign_reply(504),
    "a proxy that refuses": foreign_reply(413),
    "no connection": lambda route: route.abort("connectionrefused"),
}


def first_visit(page: Page, url: str) -> None:
    open_page(page, url)


def answered(page: Page, url: str, name: str, drawing: list[Stroke] | None = None, **fields: Any) -> None:
    """A drawing is on the paper and answered as the one of that name was; the words have settled."""
    open_page(page, url)
    answer_with(page, name, **fields)
    draw(page, drawing or DRAWINGS[name])
    settled(page)


def settled(page: Page) -> None:
    page.wait_for_selector("#reading:not([data-kind=blank], [data-kind=drawing], [data-kind=reading])")


def sure(page: Page, url: str) -> None:
    answered(page, url, "seven", **SURE)
    expect(page.locator("#proof")).to_be_visible()


def drawing(page: Page, url: str) -> None:
    open_page(page, url)
    answer_with(page, "seven")
    press(page, SEVEN[0])
    expect(page.locator("#title")).to_have_text("So far: 7")


def pending(page: Page, url: str, note: str) -> None:
    """Other ink than the answered one, and no answer comes."""
    sure(page, url)
    page.unroute("**/api/v1/predict")
    page.route("**/api/v1/predict", lambda route: None)
    draw(page, [[(0.4, 0.55), (0.7, 0.53)]])
    expect(page.locator("#note")).to_have_text(note)


def encode(page: Page, strokes: list[Any]) -> str:
    """The strokes, [[[x, y, t_ms], …], …] in canvas units, as a link and the trail hold them."""
    module = """async (strokes) => {
        const { encode } = await import(new URL("link.js", document.querySelector('script[src$="app.js"]').src));
        return encode(strokes);
    }"""
    return page.evaluate(module, strokes)


def keep_trail(page: Page, count: int) -> None:
    """The page with a trail of so many entries, of all kinds."""
    kinds: list[tuple[str, dict[str, Any]]] = [("seven", {}), ("question mark", {}), ("four or nine", {}), ("line", DOUBTFUL)]
    entries = []
    for k in range(count):
        name, fields = kinds[k % 4]
        strokes = [[[round(400 * x + k), round(400 * y), 0] for x, y in smooth(stroke)] for stroke in DRAWINGS[name]]
        entries.append({"drawing": encode(page, strokes), "answer": recorded(name, frame=None, **fields), "before": None})
    page.evaluate("(entries) => localStorage.setItem('pynumdraw.trail', JSON.stringify(entries))", entries)
    page.reload()


def trail(page: Page, url: str) -> None:
    """Twelve entries, as many as are kept, the last of them on the paper."""
    open_page(page, url)
    keep_trail(page, 11)
    sure(page, url)
    expect(page.locator("#trail-list li")).to_have_count(12)


def asked_again(page: Page, url: str) -> None:
    """Two entries, of which another version reads one differently."""
    open_page(page, url)
    for name in ("four", "seven"):
        answer_with(page, name, **SURE)
        draw(page, DRAWINGS[name])
        settled(page)
        if name == "four":
            page.keyboard.press("Escape")
    answer_with(page, "seven", model={"name": "digits", "version": 12})
    page.get_by_role("button", name="Ask again").click()
    expect(page.locator("#trail-list li.is-changed")).to_have_count(1)


def link_replay(page: Page, url: str) -> None:
    """Under way: the link's drawing draws itself slowly."""
    open_page(page, url)
    answer_with(page, "seven")
    slow = [[[round(400 * x, 1), round(400 * y, 1), 250 * k] for k, (x, y) in enumerate(SEVEN[0])]]
    slow[0][6:] = [[x, y, t_ms + 100_000] for x, y, t_ms in slow[0][6:]]
    fragment = encode(page, slow)
    page.evaluate("(fragment) => { location.hash = `d=${fragment}`; }", fragment)
    expect(page.locator("#title")).to_have_text("So far: 7")


def damaged_link(page: Page, url: str) -> None:
    page.goto(f"{url}#d=damaged")
    expect(page.locator("#status")).to_have_attribute("data-state", "ready")
    expect(page.locator("#notice")).not_to_be_empty()


def link_copied(page: Page, url: str) -> None:
    sure(page, url)
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator("#notice")).not_to_be_empty()


def proof(page: Page, url: str) -> None:
    sure(page, url)
    page.locator("#proof").click()
    expect(page.get_by_role("dialog")).to_be_visible()


def problem(page: Page, url: str, reply: Reply) -> None:
    open_page(page, url)
    page.route("**/api/v1/predict", reply)
    draw(page, SEVEN)
    settled(page)


def not_ready(page: Page, url: str) -> None:
    """Before anything is drawn."""
    page.route("**/api/v1/versions", PROBLEMS["a model that is away"])
    page.goto(url)
    expect(page.locator("#note")).not_to_be_empty()


def module_missing(page: Page, url: str) -> None:
    page.route("**/ink.js", lambda route: route.abort())
    page.goto(url)
    expect(page.locator(".stuck")).to_be_visible()


def later_module_missing(page: Page, url: str) -> None:
    page.route("**/trail.js", lambda route: route.abort())
    answered(page, url, "seven")
    expect(page.locator("#notice")).not_to_be_empty()


def card(page: Page, url: str) -> None:
    open_page(page, url)
    page.get_by_role("link", name="Model card").click()
    expect(page.get_by_role("heading", level=2).first).to_be_visible()


def card_missing(page: Page, url: str) -> None:
    page.route("**/api/v1/card*", error_reply(404, "version_not_served", "version: found 9, which no model server has now"))
    open_page(page, url)
    page.get_by_role("link", name="Model card").click()
    expect(page.get_by_role("status")).to_contain_text(".")


STATES: dict[str, State] = {
    "first visit": first_visit,
    "drawing": drawing,
    "pending": partial(pending, note=""),
    "pending for long": partial(pending, note="This takes longer than usual. Your drawing is kept."),
    "sure": sure,
    "unsure": partial(answered, name="seven", **UNSURE),
    "doubtful": partial(answered, name="line", **DOUBTFUL),
    "ambiguous": partial(answered, name="four or nine"),
    "doubtful and ambiguous": partial(answered, name="four or nine", is_digit_probability=0.7, confidence=0.36),
    "not a digit": partial(answered, name="scribble", drawing=SCRIBBLE),
    "faint": lambda page, url: (open_page(page, url), draw(page, DOT), settled(page))[-1],
    "trail": trail,
    "asked again": asked_again,
    "link replay": link_replay,
    "damaged link": damaged_link,
    "link copied": link_copied,
    "proof": proof,
    **{
        name: partial(problem, reply=PROBLEMS[name])
        for name in ("a bug", "a slow model", "a busy gateway", "a break of an hour", "a drawing too large", "a sign-in", "no connection")
    },
    "not ready": not_ready,
    "module missing": module_missing,
    "later module missing": later_module_missing,
    "card": card,
    "card missing": card_missing,
}

# Awaits the end of all animations that end
SETTLED = """Promise.all(document.getAnimations()
    .filter(({ effect }) => effect.getTiming().iterations === 1).map(({ finished }) => finished.catch(() => null)))"""
