"""The alert rules, by Prometheus' own promtool: alerts.yaml has the series and what must come of them."""

import shutil
import subprocess

import pytest
import yaml

from tests.chart import tools

CASES = tools.ROOT / "tests" / "chart" / "alerts.yaml"


@pytest.fixture
def rules(render, tmp_path):
    """A folder with the chart's rules as Prometheus reads them."""
    spec = render(**{"metrics.rules.enabled": True, "model.version": 2}).of("PrometheusRule")["spec"]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(spec))
    shutil.copy(CASES, tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", [("check", "rules", "rules.yaml"), ("test", "rules", CASES.name)], ids=["check", "test"])
def test_promtool_accepts_the_rules(rules, command):
    try:
        program = tools.promtool()
    except tools.Missing as missing:
        pytest.skip(str(missing))
    done = subprocess.run([program, *command], cwd=rules, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_seen_to_fire_and_to_keep_quiet(render):
    spec = render(**{"metrics.rules.enabled": True}).of("PrometheusRule")["spec"]
    cases = [case for group in yaml.safe_load(CASES.read_text())["tests"] for case in group["alert_rule_test"]]
    for rule in spec["groups"][0]["rules"]:
        fires = [bool(case.get("exp_alerts")) for case in cases if case["alertname"] == rule["alert"]]
        assert True in fires and False in fires, rule["alert"]


def test_an_alert_on_the_wanted_version_needs_a_wanted_version(render):
    spec = render(**{"metrics.rules.enabled": True, "model.policy": "latest"}).of("PrometheusRule")["spec"]
    assert "PynumdrawOtherVersionAnswers" not in [rule["alert"] for rule in spec["groups"][0]["rules"]]
