"""One release for the whole suite, load on it, and a table at the end of what every step cost its users."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.browser.site import launch_options
from tests.e2e.load import Load, Tally, tally
from tests.e2e.release import PATH, Release, Site
from tests.golden.__main__ import DRAWINGS
from tests.stack import ROOT

FOLDER = ROOT / "build" / "e2e" / time.strftime("%Y%m%d-%H%M%S")


@dataclass
class Report:
    """The rows of the table: step, what came of its requests, and a remark."""

    rows: list[tuple[str, Tally, str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    failed_in: Path | None = None

    def timed(self, what: str, seconds: float, aim_s: float) -> None:
        """Remark how long `what` took beside the aim; a busy machine is late, so nothing fails by it."""
        late = " (LATE)" if seconds > aim_s else ""
        self.remarks.append(f"{what} in {seconds:.0f} s, aim {aim_s:g} s{late}")

    def table(self) -> str:
        """As text."""
        cells = [("step", "seconds", "sent", "failed", "wrong", "versions that answered", "slowest")]
        for name, each, remark in self.rows:
            versions = ", ".join(f"{version}: {count}" for version, count in each.versions.items()) or "-"
            slowest = f"{each.slowest_s * 1000:.0f} ms" if each.sent else "-"
            cells.append(
                (
                    name + (f" ({remark})" if remark else ""),
                    f"{each.seconds:.0f}",
                    str(each.sent),
                    str(each.failed),
                    str(each.wrong),
                    versions,
                    slowest,
                )
            )
        total = [sum(getattr(each, column) for _, each, _ in self.rows) for column in ("seconds", "sent", "failed", "wrong")]
        cells.append(("all", f"{total[0]:.0f}", *map(str, total[1:]), "", ""))
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells)


_REPORT = pytest.StashKey[Report]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_REPORT] = Report()


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> Report:
    """What the table is made of."""
    return pytestconfig.stash[_REPORT]


@pytest.fixture(scope="session")
def release() -> Iterator[Release]:
    """The release, not installed yet; its namespace goes at the end, unless KEEP says otherwise."""
    try:
        site = Site.from_env(dict(os.environ))
    except LookupError as exc:
        pytest.exit(str(exc), returncode=2)
    made = Release(site, FOLDER)
    if len(made.nodes()) > 1:
        made = Release(site, FOLDER, store={"accessMode": "ReadWriteMany"})  # so that serving pods run on several
    made.start()
    yield made
    if not os.environ.get("KEEP"):
        made.end()


@pytest.fixture(scope="session")
def load(release: Release) -> Iterator[Load]:
    """Drawings at a steady rate; a step starts it."""
    made = Load(release.site.ingress_url, release.host, PATH, plain_drawings())
    yield made
    made.stop()


def plain_drawings() -> list[tuple[str, dict[str, Any], int]]:
    """Golden drawings of digits that leave no doubt: name, drawing, digit."""
    cases = [(path.stem, json.loads(path.read_text())) for path in sorted(DRAWINGS.glob("*-plain.json"))]
    plain = [(name, {key: value for key, value in case.items() if key != "expect"}, case["expect"]["digit"]) for name, case in cases]
    assert len(plain) >= 5, "too few plain drawings"
    return plain


@pytest.fixture(autouse=True)
def step(request: pytest.FixtureRequest, load: Load, release: Release, report: Report) -> Iterator[None]:
    """Each test is a step: a row in the table, and for one that fails a folder with all that may tell why."""
    begin = time.monotonic()
    yield
    counted = tally(load.outcomes, begin, time.monotonic())
    name = request.node.name.removeprefix("test_").replace("_", " ")
    report.rows.append((name, counted, "; ".join(report.remarks)))
    report.remarks.clear()
    if request.node.stash.get(_FAILED, False) or counted.failed or counted.wrong:
        report.failed_in = FOLDER / request.node.name
        release.explain(report.failed_in)
        bad = [outcome for outcome in load.outcomes if outcome.at >= begin and (outcome.failed or outcome.wrong)]
        lines = [f"{outcome.at - begin:8.3f} s  took {outcome.took_s:.3f} s  {outcome.failed or outcome.wrong}" for outcome in bad]
        (report.failed_in / "requests.txt").write_text("\n".join(lines) + "\n")
    assert (counted.failed, counted.wrong) == (0, 0), (
        f"{counted.failed} requests failed, {counted.wrong} were answered wrongly; see {report.failed_in}"
    )


_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    found = yield
    if found.failed:
        item.stash[_FAILED] = True
    return found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    report = config.stash[_REPORT]
    if report.rows:
        terminalreporter.section("end to end")
        terminalreporter.write_line(report.table())
        (FOLDER / "table.txt").write_text(report.table() + "\n")
    if report.failed_in:
        terminalreporter.write_line(f"\nLogs, events and descriptions of what failed: {report.failed_in.relative_to(ROOT)}/")


@pytest.fixture(scope="session")
def new_page(release: Release) -> Iterator[Page]:
    """A page of the machine's Chromium, to which the release's host name is the ingress controller."""
    options = launch_options()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**options | {"args": [*options["args"], release.resolver_rule()]})
        yield browser.new_page(viewport={"width": 1280, "height": 800})
        browser.close()
