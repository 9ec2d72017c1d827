"""Alert rules and the Grafana dashboard: they parse, they fire, and they name metrics that exist."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from app.diagnosis.trouble import CODES
from app.telemetry.metrics import Metrics
from tests.support.tools import required_tool

ROOT: Final = Path(__file__).parents[3]
RULES: Final = ROOT / "k8s" / "alerts" / "sfu-gateway.rules.yml"
RULE_TESTS: Final = RULES.with_name("sfu-gateway.test.yml")
DASHBOARDS: Final = sorted((ROOT / "k8s" / "grafana").glob("*.json"))
RUNBOOKS: Final = (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8")
HEADINGS: Final = re.findall(r"^## (\w+)$", RUNBOOKS, re.M)


def alerts() -> list[dict[str, Any]]:
    """All alert rules."""
    document = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def names_in(expression: str) -> set[str]:
    """Metrics that an expression reads."""
    return set(re.findall(r"\b(?:sfu_gateway|process)_[a-z_]+", expression))


@pytest.fixture(scope="module")
def existing() -> set[str]:
    """Every name that can be queried."""
    names = set()
    for family in Metrics().registry.collect():
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
        names |= {family.name + suffix for suffix in suffixes}
    return names


def test_alerts_read_metrics_that_exist(existing: set[str]) -> None:
    for alert in alerts():
        assert names_in(alert["expr"]), alert["alert"]
        assert names_in(alert["expr"]) <= existing, alert["alert"]


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_has_a_severity_a_summary_and_a_runbook(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("critical", "warning", "info")
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    [heading] = [each for each in HEADINGS if each.lower() == anchor]
    section = RUNBOOKS.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert page == "docs/runbooks.md"
    assert heading == alert["alert"] or f"Alert: {alert['alert']}." in section


def test_every_section_belongs_to_a_trouble_or_an_alert() -> None:
    named = {alert["alert"] for alert in alerts()} | set(CODES)
    assert [heading for heading in HEADINGS if heading not in named] == ["States"]
    assert set(re.findall(r"^Alert: (\w+)\.", RUNBOOKS, re.M)) | set(HEADINGS) > {
        a["alert"] for a in alerts()
    }


def test_every_trouble_has_a_runbook_in_the_order_of_the_codes() -> None:
    assert [heading for heading in HEADINGS if heading in CODES] == list(CODES)


def test_each_alert_is_tested_firing_and_silent() -> None:
    tested = yaml.safe_load(RULE_TESTS.read_text(encoding="utf-8"))["tests"]
    cases = [case for test in tested for case in test["alert_rule_test"]]
    names = {alert["alert"] for alert in alerts()}
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == names
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == names


@pytest.fixture(scope="module")
def promtool() -> str:
    """Prometheus' tool; without it, skip at home and fail in CI."""
    return str(required_tool("promtool", "apt-get install prometheus"))


@pytest.mark.parametrize(("command", "file"), [("check", RULES), ("test", RULE_TESTS)])
def test_promtool_agrees(promtool: str, command: str, file: Path) -> None:
    done = subprocess.run(
        [promtool, command, "rules", file.name], cwd=file.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def expressions(dashboard: Any) -> Iterator[str]:
    """Every query of a dashboard: of panels, variables and annotations."""
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel.get("targets", []))
    for variable in dashboard["templating"]["list"]:
        yield variable.get("definition", "")
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["expr"]


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.name)
def test_a_dashboard_reads_metrics_that_exist(file: Path, existing: set[str]) -> None:
    dashboard = json.loads(file.read_text(encoding="utf-8"))
    asked = set().union(*map(names_in, expressions(dashboard)))
    assert asked <= existing
    unseen = {name for name in existing if name.startswith("sfu_gateway_")} - asked
    assert not {name for name in unseen if not name.endswith(("_sum", "_count"))}, "no panel shows these"


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.name)
def test_the_queries_of_a_dashboard_parse(file: Path, promtool: str, tmp_path: Path) -> None:
    dashboard = json.loads(file.read_text(encoding="utf-8"))
    queries = [text for text in expressions(dashboard) if text and not text.startswith("label_values")]
    plain = [text.replace("$__rate_interval", "5m").replace("$region", ".*") for text in queries]
    rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(plain)]
    record = tmp_path / "panels.yml"
    record.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", record], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.name)
def test_panels_of_a_dashboard_have_ids_of_their_own_and_do_not_overlap(file: Path) -> None:
    panels = json.loads(file.read_text(encoding="utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
