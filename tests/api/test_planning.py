"""``joulemill.plan``: files, mappings and dataframes in, tables and dataframes out, what-ifs from what is known."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import joulemill as jm
from tests.support.plan_files import PLAN, plan_file


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> jm.FleetPlan:
    return jm.plan(plan_file(tmp_path_factory.mktemp("plan")), extras=False)


def test_a_file_a_mapping_and_dataframes_plan_alike(plan: jm.FleetPlan) -> None:
    import polars  # long to import, and used here only

    tables = tomllib.loads(PLAN)
    assert jm.plan(tables, extras=False).value == pytest.approx(plan.value)
    frames = tables | {"site": polars.DataFrame(tables["site"]), "pool": polars.DataFrame(tables["pool"])}
    assert jm.plan(frames, extras=False).value == pytest.approx(plan.value)
    with pytest.raises(jm.InputError, match="unknown key 'piu'"):
        jm.plan(tables | {"site": [{"name": "lab", "piu": 1.2}]})


def test_what_if_is_the_plan_of_the_changed_file_and_quick(plan: jm.FleetPlan, tmp_path: Path) -> None:
    more = plan.what_if("site.lab.it_power_limit=7 kW")
    assert more.study.columns is plan.study.columns
    again = jm.plan(plan_file(tmp_path, ('"6 kW"', '"7 kW"')), extras=False)
    assert more.value == pytest.approx(again.value) and more.value > plan.value
    price = next(p for p in plan.active if p.name == "it_power")
    gain = more.value - plan.value
    assert gain <= price.shadow_price * 1000.0 * (
        1 + 1e-9
    )  # concave: a whole kilowatt is worth no more than its first watt
    faster = plan.what_if("demand.chat.slo_tpot=20 ms")
    assert faster.study.columns is not plan.study.columns and faster.value < plan.value
    assert faster.what_if("site.lab.it_power_limit=7 kW").notes[:2] == (
        "set: demand chat: slo_tpot = 20 ms",
        "set: site lab: it_power_limit = 7 kW",
    )


def test_tables_and_dataframes(plan: jm.FleetPlan) -> None:
    frame = plan.to_frame("replicas", "polars")
    assert frame["rate_tok_s"].sum() == pytest.approx(plan.rate_tok_s, rel=1e-6)
    assert plan.to_frame("constraints", "pandas")["name"].tolist() == [p.name for p in plan.constraints]
    assert plan.to_frame("hours", "pyarrow").num_rows == 1
    with pytest.raises(jm.InputError, match="use one of replicas"):
        plan.rows("replica")
    assert plan.feasible and plan.status == "optimal" and plan.unit == "tok/s"
    assert "IT power" in repr(plan) and "<table>" in plan._repr_html_()


def test_a_shortage_is_no_error(plan: jm.FleetPlan) -> None:
    short = plan.what_if("demand.chat.rate=50 ktok/s", "objective.goal=least_energy")
    assert not short.feasible and short.status == "shortage" and short.value is None
    assert {s.name for s in short.shortages} >= {"demand"}
    assert short.to_dict()["replicas"] == [] and short.to_dict()["objective"]["value"] is None
