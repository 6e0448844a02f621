"""Prometheus and Grafana files against the metrics the gateway really has and the services that compose starts."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from policies.records import STATUSES
from router.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
NAME = re.compile(r"\bgearshift_\w+")
SELECTOR = re.compile(r"\b(gearshift_\w+?)(?:_bucket)?\{([^}]*)\}")
GROUPING = re.compile(r"\bby \(([^)]*)\)")


def read_yaml(path: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / path).read_text())
    return loaded


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DEPLOY / "grafana/dashboards/gearshift.json").read_text())
    return loaded


def expressions() -> list[str]:
    """Every query of the dashboard and every alert's condition."""
    alerts = [rule["expr"] for group in read_yaml("prometheus/alerts.yml")["groups"] for rule in group["rules"]]
    panels = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", [])]
    return alerts + panels


@pytest.fixture(scope="module")
def exposed() -> dict[str, set[str]]:
    """Series the gateway exposes, by name, with their labels."""
    series: dict[str, set[str]] = {}
    for metric in vars(Metrics()).values():
        if isinstance(metric, MetricWrapperBase):
            described = next(iter(metric.describe()))
            suffix = {"counter": "_total", "histogram": "_bucket"}.get(described.type, "")
            series[described.name + suffix] = set(metric._labelnames)
    return series


def test_every_query_names_a_series_the_gateway_exposes(exposed: dict[str, set[str]]) -> None:
    named = {name for expression in expressions() for name in NAME.findall(expression)}
    assert len(named) >= 15
    assert named - set(exposed) == set()


def test_every_label_of_a_query_belongs_to_its_series(exposed: dict[str, set[str]]) -> None:
    unknown = []
    for expression in expressions():
        known = {"le", "instance", "job"}.union(*(exposed.get(name, set()) for name in NAME.findall(expression)))
        matched = {label for _, body in SELECTOR.findall(expression) for label in re.findall(r"(\w+)[!=~]=?", body)}
        grouped = {label.strip() for labels in GROUPING.findall(expression) for label in labels.split(",")}
        unknown += [f"{label}: {expression}" for label in (matched | grouped) - known]
    assert unknown == []


def test_every_status_a_query_selects_is_one_that_requests_end_with() -> None:
    selected = {
        value for e in expressions() for text in re.findall(r'status!?[=~]+"([^"]*)"', e) for value in text.split("|")
    }
    assert selected
    assert selected <= set(STATUSES)


def test_parentheses_and_braces_of_every_query_close() -> None:
    pairs = ("()", "{}", "[]")
    assert [e for e in expressions() if any(e.count(opening) != e.count(closing) for opening, closing in pairs)] == []


def test_prometheus_scrapes_every_gateway_and_loads_mounted_rules() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    settings = read_yaml("prometheus/prometheus.yml")
    gateways = {
        f"{name}:4000" for name, service in compose["services"].items() if "gearshift" in service.get("image", "")
    }
    targets = settings["scrape_configs"][0]["static_configs"][0]["targets"]
    mounted = {mount.split(":")[1] for mount in compose["services"]["prometheus"]["volumes"]}
    assert set(targets) == gateways
    assert set(settings["rule_files"]) <= mounted


def test_every_alert_says_what_happened_and_what_to_do() -> None:
    rules = [rule for group in read_yaml("prometheus/alerts.yml")["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    assert all(rule["annotations"]["summary"] and rule["annotations"]["description"] for rule in rules)
    assert {rule["labels"]["severity"] for rule in rules} <= {"page", "warn"}


def test_panels_have_their_own_place_and_the_provisioned_source() -> None:
    panels = dashboard()["panels"]
    source = read_yaml("grafana/provisioning/datasources/prometheus.yaml")["datasources"][0]["uid"]
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {target["datasource"]["uid"] for panel in panels for target in panel.get("targets", [])} == {source}


def test_grafana_reads_the_folder_that_compose_mounts() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    provider = read_yaml("grafana/provisioning/dashboards/gearshift.yaml")["providers"][0]
    mounts = dict(mount.split(":")[:2] for mount in compose["services"]["grafana"]["volumes"])
    assert mounts["./deploy/grafana/dashboards"] == provider["options"]["path"]
