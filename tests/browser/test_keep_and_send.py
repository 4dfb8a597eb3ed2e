"""What stays and what can be sent: trail, reload, links, pictures, examples, and the proof behind an answer."""

import io
import re

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Page, Request, expect

from tests.browser.conftest import NewPage
from tests.browser.pen import DOT, SEVEN, draw, ink_share, open_page
from tests.browser.recorded import CARD, answer_with, recorded
from tests.browser.states import keep_trail
from tests.stack import wait_until

NINE = {"digit": 9, "candidates": [9], "confidence": 0.98}


def drawn_and_read(page: Page, name: str = "seven", **fields: object) -> None:
    """A seven on the paper, answered as that drawing was, its words settled."""
    answer_with(page, name, **fields)
    draw(page, SEVEN)
    expect(page.locator("#reading")).to_have_attribute("data-kind", re.compile("sure|doubtful|ambiguous|not_a_digit"))


def clipboard(context: BrowserContext, url: str) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=url.rstrip("/"))


def test_a_first_visit_says_in_one_sentence_what_to_do(page: Page, page_url: str):
    open_page(page, page_url)
    expect(page.locator(".lead")).to_have_text("Draw a digit. It says how sure it is, or that it is none.")
    for name in (".evidence", "#trail", "#proof", "#retry"):
        expect(page.locator(name)).to_be_hidden()
    assert page.locator(".hint path").evaluate("(path) => path.getBBox().height > 0")
    for name, content in (("og:title", "pynumdraw: draw a digit"), ("og:description", page.locator(".lead").inner_text())):
        assert page.locator(f'meta[property="{name}"]').get_attribute("content") == content


def test_the_example_seven_stands_still_for_who_wants_less_motion(new_page: NewPage, page_url: str):
    page = new_page(reduced_motion="reduce")
    open_page(page, page_url)
    assert page.evaluate("document.getAnimations().length") == 0
    assert page.locator(".hint svg").evaluate("(svg) => getComputedStyle(svg).strokeDashoffset") == "0px"


@pytest.mark.parametrize("name", ["a plain 7", "4 or 9?", "not a digit"])
def test_an_example_is_drawn_and_read_by_keyboard_alone(page: Page, page_url: str, name: str):
    open_page(page, page_url)
    page.get_by_role("button", name=name).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#title")).to_have_text(re.compile("So far|Reading"))  # drawn at a pen's speed, read as it grows
    expect(page.locator("#pad")).to_have_attribute("aria-label", re.compile(r"[12] strokes?"))
    expect(page.locator("#facts")).to_be_visible()
    page.keyboard.press("Control+z")
    expect(page.locator("#pad")).to_have_attribute("aria-label", "Your drawing: empty")


def test_who_draws_while_an_example_is_drawn_goes_on_from_there(page: Page, page_url: str):
    open_page(page, page_url)
    page.get_by_role("button", name="not a digit").click()
    wait_until("it is being drawn", lambda: ink_share(page) > 0.01)
    draw(page, DOT)
    expect(page.locator("#pad")).to_have_attribute("aria-label", "Your drawing: 2 strokes")


def test_reload_and_back_bring_paper_and_trail_again(page: Page, page_url: str):
    open_page(page, page_url)
    drawn_and_read(page)
    before = ink_share(page)
    page.reload()
    expect(page.locator("#reading")).to_have_attribute("data-kind", "sure")
    assert ink_share(page) == pytest.approx(before, rel=0.02)
    expect(page.locator("#trail-list li")).to_have_count(1)
    page.get_by_role("link", name="Model card").click()
    expect(page.get_by_role("heading", level=2).first).to_have_text(re.compile(r"^digits, version \d+$"))
    page.go_back()
    expect(page.locator("#pad")).to_have_attribute("aria-label", "Your drawing: 1 stroke")
    expect(page.locator("#trail-list li")).to_have_count(1)


def test_the_last_twelve_drawings_are_kept_and_can_be_forgotten(new_page: NewPage, page_url: str):
    page = new_page(reduced_motion="reduce")
    open_page(page, page_url)
    keep_trail(page, 12)
    expect(page.locator("#trail-list li")).to_have_count(12)
    oldest = page.locator("#trail-list li").last.inner_html()
    drawn_and_read(page, confidence=0.96)
    page.keyboard.press("Escape")
    items = page.locator("#trail-list li")
    expect(items).to_have_count(12)
    expect(items.first.get_by_role("button")).to_have_accessible_name(re.compile(r"^Draw it again: 7 96\s%, v\d$"))
    assert items.last.inner_html() != oldest
    items.last.get_by_role("button").click()
    expect(page.locator("#pad")).to_have_attribute("aria-label", "Your drawing: 2 strokes")
    page.get_by_role("button", name="Forget all").click()
    expect(page.locator("#trail")).to_be_hidden()
    assert page.evaluate("localStorage.length") == 0


def test_asking_again_shows_what_a_new_version_changed(page: Page, page_url: str):
    open_page(page, page_url)
    drawn_and_read(page, digit=4, candidates=[4], model={"name": "digits", "version": 1})
    answer_with(page, "seven", **NINE, model={"name": "digits", "version": 2})
    page.get_by_role("button", name="Ask again").click()
    expect(page.locator("#trail-list .sure")).to_have_text("v1: 4 → v2: 9")
    expect(page.locator("#trail-status")).to_have_text("1 of 1 read differently by version 2")


def test_a_link_replays_the_drawing_and_no_server_sees_it(new_page: NewPage, page_url: str):
    page = new_page()
    clipboard(page.context, page_url)
    open_page(page, page_url)
    drawn_and_read(page)
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator("#notice")).to_have_text("Link copied")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == page.url
    assert link.startswith(f"{page_url}#d=")
    assert len(link) - len(page_url) <= 2048
    before = ink_share(page)

    other, seen = new_page(), list[Request]()
    other.on("request", lambda request: seen.append(request))
    other.goto(link)
    expect(other.locator("#title")).to_have_text(re.compile("So far|Reading"))
    expect(other.locator("#pad")).to_have_attribute("aria-label", "Your drawing: 1 stroke")
    wait_until("the same ink", lambda: ink_share(other) == pytest.approx(before, rel=0.05))
    fragment = link.partition("#d=")[2]
    assert seen
    assert not [
        request.url for request in seen if fragment[:20] in request.url or fragment[:20] in str(request.headers) + (request.post_data or "")
    ]
    draw(other, DOT)
    assert other.url == page_url  # the address names a drawing only as long as it is the one on the paper


def test_a_damaged_link_says_so(page: Page, page_url: str):
    page.goto(f"{page_url}#d=damaged")
    expect(page.locator("#notice")).to_have_text("The link is damaged: it holds no drawing.")


def test_a_picture_to_send_shows_ink_answer_and_version(new_page: NewPage, page_url: str):
    page = new_page()
    clipboard(page.context, page_url)
    open_page(page, page_url)
    drawn_and_read(page)
    page.get_by_role("button", name="Copy picture").click()
    expect(page.locator("#notice")).to_have_text("Picture copied")
    data = page.evaluate(
        """async () => {
            const [item] = await navigator.clipboard.read();
            return [...new Uint8Array(await (await item.getType("image/png")).arrayBuffer())];
        }"""
    )
    picture = Image.open(io.BytesIO(bytes(data))).convert("RGB")
    assert picture.size == (1200, 630)

    def dark(*box: int) -> int:
        return int((np.asarray(picture.crop(box)).sum(axis=2) < 450).sum())

    assert dark(60, 60, 570, 570) > 5000  # the ink
    assert dark(640, 60, 1160, 350) > 1000  # the digit
    assert dark(640, 360, 1190, 500) > 500  # how sure
    assert dark(640, 540, 1190, 580) > 200  # the version


def test_a_browser_without_a_clipboard_gets_a_file(new_page: NewPage, page_url: str):
    page = new_page(accept_downloads=True)
    page.add_init_script("delete window.ClipboardItem")
    open_page(page, page_url)
    drawn_and_read(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Copy picture").click()
    assert download.value.suggested_filename == "pynumdraw.png"
    expect(page.locator("#notice")).to_have_text("Picture saved as a file")


def test_the_proof_of_a_confidence_is_one_click_away(page: Page, page_url: str):
    open_page(page, page_url)
    page.route("**/api/v1/card*", lambda route: route.fulfill(json=CARD))
    drawn_and_read(page, confidence=0.97)
    page.get_by_role("button", name="Of 100 test drawings answered this surely, 96 were right").click()
    dialog = page.get_by_role("dialog", name="How true the confidence is")
    expect(dialog.get_by_role("img", name=re.compile("Reliability diagram"))).to_be_visible()
    expect(dialog.locator(".is-marked")).to_have_count(1)
    expect(dialog.locator(".bin")).to_have_count(9)  # one bin is empty
    expect(dialog.locator(".explanation")).to_have_text(re.compile(r"97\s%.*360 were answered 90 to 100\s%.*96\s% of those"))
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.locator("#pad")).to_have_attribute("aria-label", "Your drawing: 1 stroke")  # Escape closed the dialog, no more


def test_the_model_card_is_a_page_to_read(page: Page, page_url: str):
    open_page(page, page_url)
    page.get_by_role("link", name="Model card").click()
    expect(page.get_by_role("row", name=re.compile(r"^Read right 9\d\.\d\d\s%"))).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("Reliability diagram"))).to_be_visible()
    page.get_by_role("link", name="Draw a digit").click()
    expect(page.locator("#status")).to_have_attribute("data-state", "ready")


def test_the_model_card_leaves_out_what_it_lacks_and_shows_what_it_does_not_know_under_its_own_name(page: Page, page_url: str):
    metrics = {"accuracy": 0.991, "brand_new": 0.25, "errors_by_digit": [1, 2], "note": {}}
    page.route(
        "**/api/v1/card*", lambda route: route.fulfill(json={"model": "digits", "version": 3, "recipe": "quick", "metrics": metrics})
    )
    open_page(page, page_url)
    page.get_by_role("link", name="Model card").click()
    expect(page.locator("#title")).to_have_text("digits, version 3")
    rows = [row.inner_text().replace("\u202f", " ").split("\t") for row in page.get_by_role("row").all()]
    assert rows == [["Recipe", "quick"], ["Read right", "99.10 %"], ["Errors for the digits 0 to 9", "1, 2"], ["brand new", "0.25"]]
    expect(page.locator(".diagram")).to_be_hidden()


def test_a_card_that_cannot_be_had_is_said(new_page: NewPage, page_url: str):
    page = new_page(failures=True)
    open_page(page, page_url)
    error = {"code": "version_not_served", "message": "version: found 9", "request_id": "5f1c2a9e"}
    page.route("**/api/v1/card*", lambda route: route.fulfill(status=404, json={"error": error}))
    page.get_by_role("link", name="Model card").click()
    expect(page.get_by_role("status")).to_have_text("The card cannot be shown. Version: found 9.")


def test_every_link_of_the_page_leads_somewhere(page: Page, page_url: str):
    open_page(page, page_url)
    links = page.eval_on_selector_all("footer a", "(links) => links.map((link) => link.href)")
    assert len(links) == 3
    assert [page.request.get(link).status for link in links] == [200, 200, 200]


def test_recorded_answers_are_those_of_the_api_of_today():
    assert {"digit", "is_digit_probability", "probabilities", "confidence", "candidates", "reason", "model"} <= set(recorded("seven"))
