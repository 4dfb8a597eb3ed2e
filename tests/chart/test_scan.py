"""A security scan of what the chart renders and of the Dockerfiles; each exception with its reason in checkov.yaml."""

import json
import re
import subprocess

import pytest
import yaml

from tests.chart import tools
from tests.chart.conftest import template

pytestmark = pytest.mark.timeout(400)
EXCEPTIONS = tools.ROOT / "tests" / "chart" / "checkov.yaml"


@pytest.fixture(scope="module")
def findings(tmp_path_factory):
    """(check, resource) pairs that checkov finds in the renders and the Dockerfiles, and how many checks passed."""
    try:
        checkov = tools.checkov()
    except tools.Missing as missing:
        pytest.fail(str(missing))
    folder = tmp_path_factory.mktemp("scan")
    for name in ("default", "everything"):
        (folder / f"{name}.yaml").write_text(template("--values", str(tools.CHART / "ci" / f"{name}-values.yaml")))
    for path in tools.ROOT.glob("Dockerfile.*"):
        (folder / path.name).write_text(path.read_text())
    done = subprocess.run(
        [
            checkov,
            "--directory",
            str(folder),
            "--framework",
            "kubernetes",
            "dockerfile",
            "--output",
            "json",
            "--quiet",
            "--compact",
            "--skip-download",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode in (0, 1), done.stderr
    reports = json.loads(done.stdout)
    reports = reports if isinstance(reports, list) else [reports]
    failed = {(check["check_id"], check["resource"]) for report in reports for check in report["results"]["failed_checks"]}
    return failed, {report["check_type"]: report["summary"]["passed"] for report in reports}


@pytest.fixture(scope="module")
def exceptions():
    return yaml.safe_load(EXCEPTIONS.read_text())


def excused(found, exception):
    return found[0] == exception["check"] and re.fullmatch(exception["resources"], found[1]) is not None


def test_nothing_is_found_but_the_exceptions(findings, exceptions):
    failed, passed = findings
    assert passed["kubernetes"] > 100 and passed["dockerfile"] > 10, "the scan looked at too little"
    assert [found for found in failed if not any(excused(found, exception) for exception in exceptions)] == []


def test_each_exception_is_still_needed_and_has_its_reason(findings, exceptions):
    failed, _ = findings
    for exception in exceptions:
        assert any(excused(found, exception) for found in failed), exception
        assert len(exception["reason"]) > 20, exception
