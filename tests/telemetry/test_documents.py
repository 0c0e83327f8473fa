"""The page, the dashboard and the alerts in docs/operations use the names of metrics in the code."""

import json
import re
from pathlib import Path

from recipe_api.telemetry.aggregates import Description
from recipe_api.telemetry.metrics import ALL

FOLDER = Path(__file__).parents[2] / "docs" / "operations"
PAGE = (FOLDER / "telemetry.md").read_text(encoding="utf-8")
_ROW = re.compile(
    r"^\| `(?P<name>[a-z_.]+)` \| (?P<kind>[a-z -]+) \| (?P<unit>\S+) \| (?P<attributes>[^|]+) \| [^|]+ \|$",
    re.MULTILINE,
)


def test_every_metric_is_listed_with_its_unit_and_attributes() -> None:
    listed = {
        row["name"]: (row["kind"], row["unit"], tuple(re.findall(r"`([^`]+)`", row["attributes"])))
        for row in _ROW.finditer(PAGE)
    }
    assert listed == {each.name: (each.kind, each.unit, each.attributes) for each in ALL}


DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))
ALERTS = (FOLDER / "alerts.yaml").read_text(encoding="utf-8")
_SUFFIXES = {"s": "_seconds", "By": "_bytes"}
_WORD = re.compile(r"\b(?:http|url|recipe_api|db|process|service|error|cpu)_[a-z0-9_]+")


def prometheus_names() -> set[str]:
    """Return the names that Prometheus gives to the metrics and to their attributes."""
    metrics = {name for each in ALL for name in _series(each)}
    labels = {name.replace(".", "_") for each in ALL for name in (*each.attributes, "service.instance.id")}
    return metrics | labels


def _series(metric: Description) -> set[str]:
    name = metric.name.replace(".", "_") + _SUFFIXES.get(metric.unit, "")
    if metric.kind == "histogram":
        return {f"{name}_bucket", f"{name}_count", f"{name}_sum"}
    return {f"{name}_total"} if metric.kind == "counter" else {name}


def queries() -> list[tuple[str, str]]:
    """Return the queries of the dashboard, each with the title of its panel."""
    return [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]]


def alerts() -> dict[str, str]:
    """Return the expressions of the alerts, by name."""
    found = re.findall(r"- alert: (\w+)\n +expr: (?:\|\n)?(.+?)\n +(?:for|labels):", ALERTS, re.DOTALL)
    return dict(found)


def test_the_dashboard_and_the_alerts_use_names_that_exist() -> None:
    found = {title: set(_WORD.findall(expression)) for title, expression in (*queries(), *alerts().items())}
    assert all(found.values())
    assert {title: names - prometheus_names() for title, names in found.items() if names - prometheus_names()} == {}


def test_every_metric_is_on_the_dashboard() -> None:
    shown = set(_WORD.findall(" ".join(target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"])))
    # The maximum number of connections is a constant; only an alert uses it.
    assert [each.name for each in ALL if not _series(each) & shown] == ["db.client.connection.max"]


def test_every_alert_says_what_to_do() -> None:
    rules = ALERTS.split("- alert: ")[1:]
    assert len(rules) == len(re.findall("alert:", ALERTS))
    assert [rule.partition("\n")[0] for rule in rules if "summary: " not in rule or "runbook: " not in rule] == []
