"""Continuous integration skips nothing in silence: the rule of tests/conftest.py, in runs of pytest of its own."""

import pytest

from tests import stack
from tests.conftest import ALLOWED_SKIPS

pytest_plugins = ["pytester"]

SKIPS = {
    "in a test": "def test_it():\n    pytest.skip('no ladder here')",
    "in a fixture": "@pytest.fixture\ndef tool():\n    pytest.skip('no ladder here')\n\ndef test_it(tool): pass",
    "in a wide fixture": "@pytest.fixture(scope='module')\ndef tool():\n    pytest.skip('no ladder here')\n\ndef test_it(tool): pass",
    "by a mark": "@pytest.mark.skip(reason='no ladder here')\ndef test_it(): pass",
    "by a condition": "@pytest.mark.skipif(True, reason='no ladder here')\ndef test_it(): pass",
    "of a module": "pytest.skip('no ladder here', allow_module_level=True)",
    "of an import": "pytest.importorskip('ladder', reason='no ladder here')\n\ndef test_it(): pass",
}
WORKERS = {"one process": (), "workers": ("-n", "1")}


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Runs pytest, with the rule, on modules with these texts: run(texts by name, *arguments, CI=value)."""

    def ran(texts: dict[str, str], *arguments: str, CI: str = "") -> pytest.RunResult:
        monkeypatch.setenv("PYTHONPATH", str(stack.ROOT))  # for workers
        monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
        monkeypatch.setenv("CI", CI)
        pytester.makepyfile(**{f"test_{name.replace(' ', '_')}": "import pytest\n\n" + text for name, text in texts.items()})
        return pytester.runpytest("-p", "tests.conftest", "--continue-on-collection-errors", *arguments)

    return ran


@pytest.mark.parametrize("workers", WORKERS.values(), ids=WORKERS)
def test_a_skip_fails_where_ci_is_set_and_names_what_is_missing(run, workers):
    result = run(SKIPS, *workers, CI="true")
    assert result.ret != 0
    found = result.parseoutcomes()
    assert "skipped" not in found and found["failed"] + found["errors"] == len(SKIPS)
    for name in SKIPS:
        result.stdout.re_match_lines([rf".*test_{name.replace(' ', '_')}\.py:\d+: skipped, which is a failure here .*: no ladder here"])


@pytest.mark.parametrize("value", ["", "false"])
def test_a_skip_is_a_skip_where_ci_is_not_set(run, value):
    assert run(SKIPS, CI=value).parseoutcomes() == {"skipped": len(SKIPS)}


def test_a_reason_on_the_list_may_skip_but_not_where_no_skip_is_allowed(run):
    texts = {f"reason {n}": f"def test_it():\n    pytest.skip({reason + ': and more'!r})" for n, reason in enumerate(ALLOWED_SKIPS)}
    assert run(texts, CI="true").parseoutcomes() == {"skipped": len(ALLOWED_SKIPS)}
    assert run(texts, "--no-skips").parseoutcomes() == {"failed": len(ALLOWED_SKIPS)}


def test_an_expected_failure_is_no_skip(run):
    assert run({"fault": "@pytest.mark.xfail\ndef test_it():\n    assert False"}, CI="true").parseoutcomes() == {"xfailed": 1}


def test_each_reason_on_the_list_is_one_that_a_test_or_a_tool_gives():
    rule = (stack.ROOT / "tests" / "conftest.py", stack.ROOT / "tests" / "unit" / "test_skips.py")
    sources = "".join(path.read_text() for path in (stack.ROOT / "tests").rglob("*.py") if path not in rule)
    assert [reason for reason in ALLOWED_SKIPS if reason not in sources] == []
    assert all(len(why) > 20 for why in ALLOWED_SKIPS.values())
