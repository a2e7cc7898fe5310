"""An SRE's afternoon, end to end: three nodes of eight boards, eleven servers, a real Prometheus with our rules.

Watts and tokens are made up and exact, so that J/token has a truth: the boards' joules over the tokens, and for the
node what ``physics.node`` says of those boards. Every query of the dashboard must show something, and no alert fire.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.paths import ROOT

pytest.importorskip("fastapi", reason="the monitor extra is not installed")
import yaml

from joulemill.catalog.nodes import node_of
from joulemill.physics.hardware.node import node_power
from tests.support.fleet import Fleet, Replica, served
from tests.support.lateness import asked_beside

PROMETHEUS = shutil.which("prometheus")
pytestmark = [
    pytest.mark.skipif(PROMETHEUS is None, reason="no Prometheus is installed (Debian: prometheus)"),
    pytest.mark.slow,
]
#: Watts of each board by node, and by replica (node, boards, model, output tok/s). One replica of a board is idle.
NODES = {
    "n1": [510.0] * 4 + [300.0] * 4,
    "n2": [420.0] * 8,
    "n3": [650.0, 600.0, 500.0, 450.0, 400.0, 350.0, 300.0, 90.0],
}
REPLICAS = {
    "a-70b-0": ("n1", [0, 1, 2, 3], "llama3.3:70b", 1400.0),
    "a-70b-1": ("n1", [4, 5, 6, 7], "llama3.3:70b", 700.0),
    "b-70b-0": ("n2", list(range(8)), "llama3.3:70b", 2500.0),
    **{f"c-8b-{i}": ("n3", [i], "Qwen/Qwen3-8B", 2000.0 - 250.0 * i) for i in range(7)},
    "c-8b-7": ("n3", [7], "Qwen/Qwen3-8B", 0.0),
}  # fmt: skip
SETTLED_S = 240.0
PERIOD_S = 2.0


@dataclass(frozen=True)
class Scenario:
    """Where the monitor and Prometheus answer; how late a page came at worst, and for how long both have run."""

    here: str
    prometheus: str
    late_s: float
    running_s: float

    def missed_ratio(self, of_s: float | None = None) -> float:
        """How far a rate over ``of_s`` (None: since both began) may be from the truth: 2 %, and what came late.

        A page is dated by its arrival. A busy machine lets it arrive late, by as much as the test's own asking beside
        shows, at each end of the time that a rate is of.
        """
        return 0.02 + 2.0 * self.late_s / (of_s or self.running_s)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def configuration(url: str) -> str:
    text = f"period_s = {PERIOD_S:g}\nmeter_period_s = 1\n" + (
        '[[site]]\nname = "hall"\npue = 1.3\ncarbon_gco2e_kwh = 320\nprice_currency_kwh = 0.11\ncurrency = "EUR"\n'
        'it_power_limit = "40 kW"\n'
    )
    for name, (node, boards, model, _) in REPLICAS.items():
        spec = f"prometheus:{url}/node/{node},via=scrape,gpus={'+'.join(map(str, boards))}"
        text += (
            f'[[target]]\nname = "{name}"\nmodel = "{model}"\nsite = "hall"\ndevice = "h100"\n'
            f'devices_count = {len(boards)}\nmetrics_url = "{url}/vllm/{name}"\nmeters = ["{spec}"]\nnode = "{node}"\n'
        )
    return text


@contextmanager
def process(*command: str) -> Iterator[subprocess.Popen[str]]:
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            running.kill()
            running.communicate()


def asked(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def query(prometheus: str, text: str) -> list[dict[str, Any]]:
    return list(asked(f"{prometheus}/api/v1/query?query={urllib.parse.quote(text)}")["data"]["result"])


def until(condition: Any, limit_s: float, what: str) -> Any:
    """Ask again until something true is answered."""
    end_s = time.monotonic() + limit_s
    while time.monotonic() < end_s:
        try:
            if found := condition():
                return found
        except OSError:
            pass
        time.sleep(0.25)
    raise AssertionError(f"{what}: not within {limit_s:g} s")


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenario]:
    """A monitor and a Prometheus that have both run for a while."""
    folder = tmp_path_factory.mktemp("sre")
    rules = yaml.safe_load((ROOT / "rules" / "joulemill.rules.yml").read_text())
    for group in rules["groups"]:
        group["interval"] = "1s"
    (folder / "rules.yml").write_text(yaml.safe_dump(rules))
    port, prometheus_port = free_port(), free_port()
    scrape = {"job_name": "joulemill", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
    (folder / "prometheus.yml").write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": ["rules.yml"],
                "scrape_configs": [scrape],
            }
        )
    )
    fleet = Fleet(NODES, {name: Replica(rate) for name, (_, _, _, rate) in REPLICAS.items()})
    with served(fleet) as url:
        (folder / "monitor.toml").write_text(configuration(url))
        command = (sys.executable, "-m", "joulemill", "monitor", str(folder / "monitor.toml"))
        prometheus = (
            str(PROMETHEUS),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{prometheus_port}",
            "--log.level=error",
        )
        with process(*command, "--listen", f"127.0.0.1:{port}"), process(*prometheus):
            here, there = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{prometheus_port}"
            known = "count(count_over_time(target:joulemill_joules_per_output_token:ratio_rate5m[1h]) >= 20)"
            began_s = time.monotonic()
            with asked_beside(f"{url}/node/n1") as late:
                until(lambda: [r for r in query(there, known) if float(r["value"][1]) >= 10], SETTLED_S, "J/token")
            yield Scenario(here, there, late.worst_s, time.monotonic() - began_s)


def truth_j_tok(name: str) -> tuple[float, float]:
    """(boards', node's) joules per token by hand; a node's overhead is split as its targets' shares are."""
    node, boards, _, rate = REPLICAS[name]
    own_w, all_w = sum(NODES[node][i] for i in boards), sum(NODES[node])
    whole, bare = (float(node_power(w, node_of("h100")).node_w) for w in (all_w, 0.0))
    share_w = own_w + bare * len(boards) / 8 + (whole - all_w - bare) * own_w / all_w
    return own_w / rate, share_w / rate


def test_joules_per_token_of_every_target_are_true(scenario: Scenario) -> None:
    prometheus, missed_ratio = scenario.prometheus, scenario.missed_ratio()
    found = {
        r["metric"]["target"]: (r["metric"]["scope"], float(r["value"][1]))
        for r in query(prometheus, "target:joulemill_joules_per_output_token:ratio_rate5m")
    }
    busy = [name for name, (*_, rate) in REPLICAS.items() if rate]
    assert set(found) == set(busy)
    assert {scope for scope, _ in found.values()} == {"node"}
    for name in busy:
        assert found[name][1] == pytest.approx(truth_j_tok(name)[1], rel=missed_ratio), name
    boards = {
        r["metric"]["target"]: float(r["value"][1])
        for r in query(
            prometheus,
            'sum by (target) (rate(joulemill_energy_joules_total{scope="device"}[5m])) '
            '/ (sum by (target) (rate(joulemill_metered_tokens_total{scope="device"}[5m])) > 0)',
        )
    }
    for name in busy:
        assert boards[name] == pytest.approx(truth_j_tok(name)[0], rel=missed_ratio), name


def test_no_panel_of_the_dashboard_is_empty(scenario: Scenario) -> None:
    prometheus = scenario.prometheus
    dashboard = json.loads((ROOT / "dashboards" / "joulemill.json").read_text())
    empty = []
    for panel in dashboard["panels"]:
        texts = [t["expr"] for t in panel["targets"]]
        for name in ("site", "model", "target"):
            texts = [t.replace(f"${name}", ".*") for t in texts]
        if not any(query(prometheus, text) for text in texts):
            empty.append(panel["title"])
    assert empty == []


def test_no_alert_is_raised_by_a_healthy_fleet(scenario: Scenario) -> None:
    here, prometheus = scenario.here, scenario.prometheus
    assert query(prometheus, "ALERTS") == []  # pending ones included
    kinds = {a["kind"] for a in asked(f"{here}/api/snapshot")["alerts"]}
    assert kinds <= {"idle"}  # the one that is


def test_the_page_knows_what_prometheus_does(scenario: Scenario) -> None:
    now = asked(f"{scenario.here}/api/snapshot")
    missed_ratio = scenario.missed_ratio(PERIOD_S)
    by_name = {t["name"]: t for t in now["targets"]}
    assert by_name["a-70b-0"]["energy"]["node"]["basis"] == "modelled"
    assert by_name["a-70b-0"]["energy"]["device"]["basis"] == "measured"
    assert by_name["c-8b-7"]["phi"] is None and "idle" in by_name["c-8b-7"]["phi_reason"]
    phis = {n: t["phi"] for n, t in by_name.items() if t["phi"] is not None}
    assert len(phis) == 10 and len(set(phis.values())) == 10 and all(0 < x < 1 + missed_ratio for x in phis.values())
    hall = now["sites"][0]
    drawn = sum(float(node_power(sum(w), node_of("h100")).node_w) for w in NODES.values())
    assert hall["it_now"]["w"] == pytest.approx(drawn, rel=missed_ratio) and hall["power_limit_w"] == 40e3
