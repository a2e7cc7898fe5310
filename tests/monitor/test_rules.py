"""Rules and dashboard: promtool checks and tries them; every metric they name is exposed or recorded."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.paths import ROOT

pytest.importorskip("prometheus_client", reason="the monitor extra is not installed")
import yaml
from prometheus_client.parser import text_string_to_metric_families

from joulemill.monitor.web.metrics import page
from tests.support.synthetic import fleet

RULES = ROOT / "rules" / "joulemill.rules.yml"
DASHBOARD = ROOT / "dashboards" / "joulemill.json"
METRIC = re.compile(r"(?:\w+:)?joulemill_\w+(?::\w+)?")
SELECTOR = re.compile(r"((?:\w+:)?joulemill_\w+(?::\w+)?)\{([^}]*)\}")


def exposed() -> dict[str, set[str]]:
    """Every metric of a fleet that shows all there is, with its labels; and every recorded name."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(page(fleet(30, 5)).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        found |= {rule["record"]: {"target", "model", "site"} for rule in group["rules"] if "record" in rule}
    return found


def expressions() -> list[str]:
    dashboard = json.loads(DASHBOARD.read_text())
    asked = [t["expr"] for p in dashboard["panels"] for t in p["targets"]]
    asked += [v["query"]["query"] for v in dashboard["templating"]["list"] if v["type"] == "query"]
    return asked + [rule["expr"] for g in yaml.safe_load(RULES.read_text())["groups"] for rule in g["rules"]]


def promtool(*arguments: str) -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool (Debian's prometheus) is not installed")
    told = subprocess.run([tool, *arguments], capture_output=True, text=True)
    assert told.returncode == 0, told.stdout + told.stderr


def test_promtool_reads_the_rules() -> None:
    promtool("check", "rules", str(RULES))


@pytest.mark.parametrize("path", sorted((ROOT / "rules" / "tests").glob("*.yml")), ids=lambda p: p.stem)
def test_the_rules_do_what_they_say(path: Path) -> None:
    promtool("test", "rules", str(path))


def test_every_metric_that_is_named_exists() -> None:
    known = exposed()
    named = {m for text in expressions() for m in METRIC.findall(text)}
    assert len(named) > 20 and named <= set(known), named - set(known)


def test_every_label_that_is_asked_for_exists() -> None:
    known = exposed()
    for text in expressions():
        for metric, inside in SELECTOR.findall(text):
            asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside))
            assert asked <= known[metric], (metric, asked - known[metric])


def test_each_alert_that_is_asked_for_is_there() -> None:
    alerts = {r["alert"] for g in yaml.safe_load(RULES.read_text())["groups"] for r in g["rules"] if "alert" in r}
    assert alerts >= {
        "JoulesPerTokenRegression",
        "BindingConstraintChanged",
        "IdleBurn",
        "PowerHeadroomShort",
        "ThermalOrPowerThrottling",
        "PueDrift",
        "MeterDead",
        "TokensWithoutJoules",
    }


def test_the_dashboard_has_no_two_panels_in_one_place() -> None:
    taken: set[tuple[int, int]] = set()
    for p in json.loads(DASHBOARD.read_text())["panels"]:
        at = p["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken and at["x"] + at["w"] <= 24
        taken |= cells
