"""Alerts and dashboard: right by Prometheus' own tool, and every metric in them exists."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Iterator

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from kserve_wrapper.core.errors import (
    BadGateway,
    DeadlineExceeded,
    InternalError,
    OutOfResources,
    QueueFull,
    Unavailable,
)
from kserve_wrapper.rest.metrics import UP
from kserve_wrapper.rpc.server import status_code
from kserve_wrapper.settings import Settings
from kserve_wrapper.telemetry.metrics import Metrics
from tests.unit.deploy.manifests import CONFIG

RULES = CONFIG / "monitoring" / "alerts.yaml"
DASHBOARD = json.loads((CONFIG / "monitoring" / "dashboard.json").read_text(encoding="utf-8"))


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed (Debian's package prometheus has it)")
    return subprocess.run([tool, *arguments], capture_output=True, text=True, timeout=60, check=False)


def torchserve_metrics() -> set[str]:
    """The names that TorchServe makes known: its own list, or config/metrics.yaml, which then stands in its place."""
    own = CONFIG / "metrics.yaml"
    package = importlib.util.find_spec("ts")
    if not own.is_file() and (package is None or package.origin is None):
        pytest.skip("TorchServe is not installed, and it has the list of its metrics")
    file = own if own.is_file() else Path(str(package and package.origin)).parent / "configs" / "metrics.yaml"
    lists = yaml.safe_load(file.read_text(encoding="utf-8"))
    groups = [group for part in ("ts_metrics", "model_metrics") for group in (lists.get(part) or {}).values()]
    return {metric["name"] for group in groups for metric in group}


def wrapper_metrics() -> set[str]:
    """The names of every series on the wrapper's own part of the page."""
    registry = CollectorRegistry()
    Metrics(registry)
    endings = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
    found = {metric.name + ending for metric in registry.collect() for ending in endings[metric.type]}
    return found | {family.name for family in text_string_to_metric_families((UP % 1).decode())}


def names(expression: str) -> set[str]:
    """The metric names of an expression: words that carry capitals or belong to a family of ours."""
    return set(
        re.findall(r"\b(?:kserve_wrapper_\w+|ts_\w+|[A-Z][A-Za-z0-9]*(?:Utilization|Time|Used|XX))\b", expression)
    )


def panels() -> Iterator[dict[str, Any]]:
    yield from DASHBOARD["panels"]


def expressions() -> dict[str, str]:
    found = {f"{p['title']} {t['refId']}": t["expr"] for p in panels() for t in p["targets"]}
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]:
        found.update({rule.get("alert") or rule["record"]: rule["expr"] for rule in group["rules"]})
    return found


def test_the_rules_are_right_by_promtool() -> None:
    ran = promtool("check", "rules", str(RULES))
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_each_alert_fires_on_what_it_is_for_and_none_on_a_healthy_service(tmp_path: Path) -> None:
    text = Path(__file__).with_name("alerts_test.yaml").read_text(encoding="utf-8")
    (tmp_path / "test.yaml").write_text(text.replace("RULES", str(RULES)), encoding="utf-8")
    ran = promtool("test", "rules", str(tmp_path / "test.yaml"))
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_alert_is_tested() -> None:
    text = Path(__file__).with_name("alerts_test.yaml").read_text(encoding="utf-8")
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text(encoding="utf-8"))
    assert len(alerts) == len(set(alerts)) >= 8
    for alert in alerts:
        assert f"alertname: {alert}," in text
        assert f'alertname="{alert}"' in text


@pytest.mark.parametrize("where", expressions())
def test_every_metric_exists(where: str) -> None:
    expression = expressions()[where]
    used = names(expression)
    assert used or "kserve_wrapper:" in expression
    assert used <= wrapper_metrics() | torchserve_metrics()


def test_the_dashboards_expressions_are_right_by_promtool(tmp_path: Path) -> None:
    """promtool checks rule files alone, so each expression becomes a recording rule."""
    rules = [
        {"record": f"panel:{i}", "expr": expression.replace("$__rate_interval", "5m")}
        for i, expression in enumerate(t["expr"] for p in panels() for t in p["targets"])
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    ran = promtool("check", "rules", str(file))
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_dashboard_is_well_formed() -> None:
    identifiers = [panel["id"] for panel in panels()]
    assert len(set(identifiers)) == len(identifiers) >= 8
    cells = [
        (x, y)
        for panel in panels()
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells), "panels overlap"
    assert max(x for x, _ in cells) == 23
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$(\w+)", json.dumps(DASHBOARD["panels"]))) - {"__rate_interval"}
    assert used <= variables


def test_the_alerts_thresholds_and_codes_are_the_codes() -> None:
    text = RULES.read_text(encoding="utf-8")
    assert f"--queued_requests ({Settings().queued_requests})" in text
    ours = (InternalError, BadGateway, Unavailable, DeadlineExceeded, OutOfResources, QueueFull)
    known = {status_code(error("")).name for error in ours}
    (pattern,) = re.findall(r'code=~"5\.\.\|([A-Z_|]+)"', text)
    assert set(pattern.split("|")) == known
    monitor = yaml.safe_load((CONFIG / "monitoring" / "podmonitor.yaml").read_text(encoding="utf-8"))
    ports = {e["relabelings"][-1]["replacement"] for e in monitor["spec"]["podMetricsEndpoints"]}
    assert ports == {f"$1:{Settings().http_port}"}
