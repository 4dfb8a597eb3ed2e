"""What every suite may use, and the rule that continuous integration skips nothing in silence.

Where the variable CI is set, a skipped test fails, unless `ALLOWED_SKIPS` has its reason. With `--no-skips` every skipped test fails.
"""

import os
import re
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

from tests import stack

ALLOWED_SKIPS = {
    r"no helm3 on this machine": "nobody packages helm 3; .ci/run runs these tests a second time, once the cluster has brought it",
    r"only root can become another user": "hosted runners are no root; .ci/run is",
    r"a volume cannot be mounted here": "mounting a volume takes root in a container that may; .ci/run's is one",
    r"the cluster has no metrics API": "kind has none; .ci/run's cluster has, and allows no skip",
    r"pods may run on": "k8s/kind.yaml has one node for pods, so none can be drained; .ci/run's cluster has two, and allows no skip",
}
"""What a skip may say where CI is set (the beginning of its reason, a regular expression), and why that is no gap."""


@pytest.fixture(scope="session")
def tiny_store() -> Path:
    """A store root with digits/1 and digits/2, really trained; nothing may be changed in it."""
    return stack.tiny_store()


def pytest_configure() -> None:
    """A shell starts what it puts in the background with SIGINT ignored, and the programs that tests send it to would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="a skipped test fails, whatever its reason")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that skips, or whose fixture or mark does."""
    report = yield
    if not hasattr(report, "wasxfail"):  # an expected failure counts as skipped too
        _refuse_a_skip(report, item.config)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A module that skips as a whole, such as by `importorskip`."""
    report = yield
    _refuse_a_skip(report, collector.config)
    return report


def _refuse_a_skip(report: pytest.TestReport | pytest.CollectReport, config: pytest.Config) -> None:
    """Make a skip a failure that gives the skip's reason, where the rule holds."""
    strict = config.getoption("--no-skips")
    if not report.skipped or not (strict or os.environ.get("CI", "").lower() not in ("", "0", "false")):
        return
    assert isinstance(report.longrepr, tuple)  # (path, line, "Skipped: " and the reason), as pytest documents it
    path, line, text = report.longrepr
    reason = text.removeprefix("Skipped: ")
    if strict or not any(re.match(allowed, reason) for allowed in ALLOWED_SKIPS):
        report.outcome = "failed"
        rule = "--no-skips is given" if strict else "CI is set, and ALLOWED_SKIPS in tests/conftest.py has no such reason"
        report.longrepr = f"{path}:{line}: skipped, which is a failure here ({rule}): {reason}"
