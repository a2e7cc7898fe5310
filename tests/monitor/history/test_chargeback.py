"""Attribution closes: whatever is asked for, the parts are the metered whole, and idle joules are nobody's tokens."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulemill.cli import main
from joulemill.monitor.history.chargeback import IDLE, NO_ROUTE, BucketSpending, attributed, rates
from joulemill.monitor.history.store import History
from joulemill.monitor.snapshot import Interval, ScopeEnergy, TargetFacts, TokenKind

names = st.sampled_from(["a", "b", "c"])
rows = st.builds(
    lambda target, day, joules, idle, tokens, routes, tenant: BucketSpending(
        target=target,
        model=f"m-{target}",
        site="hall" if target != "c" else "lab",
        start_s=day * 86_400.0,
        energy_j=joules,
        idle_j=idle * joules,
        output_tok=tokens,
        basis="measured",
        scope="node",
        half_width_j=0.05 * joules,
        labels={"tenant": tenant} if tenant else {},
        route_tok={r: share * tokens / len(routes) for r, share in routes.items()} if routes else {},
    ),
    names,
    st.integers(0, 3),
    st.floats(0, 1e6),
    st.floats(0, 1),
    st.floats(0, 1e6),
    st.dictionaries(st.sampled_from(["gold", "free"]), st.floats(0, 1)),
    st.sampled_from(["", "x", "y"]),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(rows, max_size=20),
    st.sampled_from(["model", "site", "target", "route", "tenant", "nothing"]),
    st.booleans(),
)
def test_parts_close_to_the_whole(spent: list[BucketSpending], by: str, idle_apart: bool) -> None:
    at = {"hall": rates(1.2, 300.0, 0.1)}
    found = attributed(spent, by, at, idle_apart=idle_apart)
    whole = sum(s.energy_j for s in spent)
    assert sum(s.energy_j for s in found.values()) == pytest.approx(whole, rel=1e-9, abs=1e-6)
    assert sum(s.output_tok for s in found.values()) == pytest.approx(
        sum(s.output_tok for s in spent), rel=1e-9, abs=1e-6
    )
    if all(s.site == "hall" for s in spent):
        carbon = sum(s.carbon_g or 0.0 for s in found.values())
        assert carbon == pytest.approx(whole * 1.2 * 300.0 / 3.6e6, rel=1e-9, abs=1e-9)
    if idle_apart:
        idle = sum(s.energy_j for (_, key), s in found.items() if key == IDLE)
        assert idle == pytest.approx(sum(s.idle_j for s in spent), rel=1e-9, abs=1e-6)


def test_by_hand() -> None:
    row = BucketSpending(
        target="t",
        model="m",
        site="hall",
        start_s=0.0,
        energy_j=1000.0,
        idle_j=100.0,
        output_tok=400.0,
        basis="modelled",
        scope="node",
        half_width_j=50.0,
        labels={},
        route_tok={"gold": 100.0, "free": 200.0},
    )
    found = attributed([row], "route", {"hall": rates(1.5, 360.0, None)}, idle_apart=True)
    assert {k: s.energy_j for (_, k), s in found.items()} == {
        "gold": pytest.approx(225.0),
        "free": pytest.approx(450.0),
        NO_ROUTE: pytest.approx(225.0),
        IDLE: 100.0,
    }
    gold = found[0, "gold"]
    assert gold.carbon_g == pytest.approx(225.0 * 1.5 * 360.0 / 3.6e6) and gold.cost is None
    assert gold.half_width_j == pytest.approx(11.25) and gold.output_tok == pytest.approx(100.0)


def test_without_a_pue_carbon_and_money_are_unknown() -> None:
    row = BucketSpending(
        target="t",
        model="m",
        site="hall",
        start_s=0.0,
        energy_j=1000.0,
        idle_j=0.0,
        output_tok=400.0,
        basis="measured",
        scope="node",
    )
    share = attributed([row], "model", {"hall": rates(None, 300.0, 0.1)})[0, "m"]
    assert share.carbon_g is None and share.cost is None and share.half_width_j is None


@pytest.fixture
def store(tmp_path: Path) -> Path:
    kept = History.open(tmp_path / "h.db")
    at = time.time() // 86_400 * 86_400 - 86_400 + 7200
    for n in range(360):
        for name, joules in (("one", 50.0), ("two", 30.0)):
            start = at + 10 * n
            node = ScopeEnergy("node", joules, 1.0, "measured", 1.0)
            device = ScopeEnergy("device", 0.7 * joules, 1.0, "measured", 1.0)
            busy = n % 2
            kept.append(
                [
                    Interval(
                        target=name,
                        start_s=start,
                        end_s=start + 10,
                        observed=True,
                        reason=None,
                        tokens={TokenKind.OUTPUT: 100.0 * busy},
                        energy={"node": node, "device": device},
                        idle_ratio=float(not busy),
                    )
                ],
                {name: TargetFacts(name, "m", "hall", labels={"tenant": name})},
            )
    kept.close()
    (tmp_path / "c.toml").write_text(
        '[[site]]\nname = "hall"\npue_ratio = 1.25\ncarbon_g_kwh = 400\nprice_kwh = 0.2\ncurrency = "EUR"\n'
        '[[target]]\nname = "one"\nmodel = "m"\nsite = "hall"\nmetrics_url = "http://h/metrics"\n'
    )
    return tmp_path / "h.db"


def test_the_csv_closes_and_counts_no_scope_twice(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    asked = ["chargeback", str(store), "--by", "tenant", "--config", str(tmp_path / "c.toml"), "--csv", str(out)]
    assert main(asked) == 0
    lines = list(csv.DictReader(out.open()))
    assert [r["key"] for r in lines] == ["one", "two", "total"]
    joules = [float(r["energy_j"]) for r in lines]
    assert joules == [pytest.approx(18_000.0), pytest.approx(10_800.0), pytest.approx(28_800.0)]
    assert float(lines[0]["j_tok"]) == pytest.approx(1.0) and lines[0]["currency"] == "EUR"
    assert float(lines[2]["carbon_g"]) == pytest.approx(28_800 * 1.25 * 400 / 3.6e6)


def test_a_label_that_others_write_is_no_formula_of_the_bill(tmp_path: Path) -> None:
    tenant, now = "=cmd|' /C calc'!A0", time.time()
    kept = History.open(tmp_path / "h.db")
    kept.append(
        [
            Interval(
                target="one",
                start_s=now - 20,
                end_s=now - 10,
                observed=True,
                reason=None,
                tokens={TokenKind.OUTPUT: 100.0},
                energy={"node": ScopeEnergy("node", 300.0, 1.0, "measured", 10.0)},
                idle_ratio=0.0,
            )
        ],
        {"one": TargetFacts("one", "m", "hall", labels={"tenant": tenant})},
    )
    kept.close()
    assert main(["chargeback", str(tmp_path / "h.db"), "--by", "tenant", "--csv", str(tmp_path / "out.csv")]) == 0
    lines = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [r["key"] for r in lines] == [f"'{tenant}", "total"]


def test_idle_apart_and_json(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chargeback", str(store), "--idle-apart", "--json"]) == 0
    found = {r["key"]: r for r in json.loads(capsys.readouterr().out)["rows"]}
    assert found["(idle)"]["energy_j"] == pytest.approx(14_400.0) and found["m"]["energy_j"] == pytest.approx(14_400.0)
    assert found["m"]["carbon_g"] is None and found["(idle)"]["j_tok"] is None


def test_wrong_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chargeback", str(tmp_path / "gone.db")]) == 2 and "there is no history" in capsys.readouterr().err


def test_a_label_that_no_target_has_is_a_slip(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chargeback", str(store), "--by", "tennant"]) == 2
    assert "did you mean tenant?" in capsys.readouterr().err


def test_the_table_is_for_people(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chargeback", str(store), "--by", "tenant", "--config", str(tmp_path / "c.toml")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["day", "tenant", "kWh", "Mtok", "J/tok", "kg", "CO2e", "EUR", "share"]
    assert lines[1].split()[1:] == [
        "one",
        "0.00500",
        "0.0180",
        "1.00",
        "0.00250",
        "0.00125",
        *("62.5", "%"),
    ]
    assert max(map(len, lines)) <= 80 and lines[-1] == "scope: node; basis: measured"


def test_boards_alone_are_billed_as_boards_and_cost_nothing_that_is_known() -> None:
    row = BucketSpending(
        target="t",
        model="m",
        site="hall",
        start_s=0.0,
        energy_j=1000.0,
        idle_j=0.0,
        output_tok=400.0,
        basis="measured",
        scope="device",
    )
    share = attributed([row], "model", {"hall": rates(1.3, 300.0, 0.1)})[0, "m"]
    assert share.carbon_g is None and share.cost is None and share.scopes == {"device"} and share.energy_j == 1000.0


def test_what_was_carried_to_the_site_is_billed_as_it_was() -> None:
    row = BucketSpending(
        target="t",
        model="m",
        site="hall",
        start_s=0.0,
        energy_j=1000.0,
        idle_j=0.0,
        output_tok=400.0,
        basis="measured",
        scope="node",
        site_j=1210.0,
    )
    share = attributed([row], "model", {"hall": rates(1.5, 360.0, 0.1)})[0, "m"]
    assert share.carbon_g == pytest.approx(1210.0 * 360.0 / 3.6e6)
