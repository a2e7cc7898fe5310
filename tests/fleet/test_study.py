"""Plans from files: columns are predictions, limits bind as predicted, what is short is named."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import joulemill as jm
from joulemill.errors import InputError
from joulemill.fleet.document import plan_document
from joulemill.fleet.plan_file import load_plan
from joulemill.fleet.scipy_highs import ScipySolver
from joulemill.fleet.study import PlanStudy, changed_study, study
from tests.support.plan_files import plan_file

ONE_COLUMN = (('precisions = ["bf16", "fp8"]\n', ""), ('power_caps = ["500 W"]\n', ""), ("[8, 32, 64]", "[32]"))
WORK = {"devices": 2, "tp": 2, "concurrency": 32, "input_tokens": 800, "output_tokens": 250}


def made(folder: Path, *changes: tuple[str, str], extras: bool = False) -> PlanStudy:
    return study(load_plan(plan_file(folder, *changes)), extras=extras)


def test_a_plan_of_one_column_is_the_prediction(tmp_path: Path) -> None:
    """Ample power: four replicas of two boards, each what ``predict`` and ``predict_many`` say."""
    plan = made(tmp_path, *ONE_COLUMN, ('"6 kW"', '"60 kW"'))
    one = jm.predict("Qwen/Qwen3-32B", "h100", **WORK)
    many = jm.predict_many({"model": "Qwen/Qwen3-32B", "device": "h100", **WORK, "concurrency": [32]})
    assert plan.use is not None and plan.value == pytest.approx(4 * one.rate_tok_s.value, rel=1e-8)
    assert plan.value == pytest.approx(4 * float(many["rate_tok_s"][0]), rel=1e-8)
    (deployment,) = plan.use.deployments
    assert deployment.replica_count == pytest.approx(4.0) and deployment.concurrency == 32.0
    assert deployment.power_w == pytest.approx(4 * one.power.node.value, rel=1e-8)
    assert plan.use.sites[0].facility_w[0] == pytest.approx(1.3 * 4 * one.power.node.value, rel=1e-8)


def test_power_bound_up_to_the_crossing_that_joules_and_flop_per_token_predict(tmp_path: Path) -> None:
    """The two ceilings of the source: token = min(K / c, θP / e).

    A replica is K of compute and gives rate r at power p: c = K/r per token, e = p/r joules. So with K_eff = 4 replicas
    the crossing is where P = K_eff · e/c = 4p. From 0 on a watt is worth 1/e; past the crossing nothing.
    """
    one = jm.predict("Qwen/Qwen3-32B", "h100", **WORK)
    joules = one.power.node.value / one.rate_tok_s.value
    crossing_w = 4 * one.rate_tok_s.value * joules
    base = made(tmp_path, *ONE_COLUMN)
    for share in (0.001, 0.25, 0.5, 0.99, 1.01, 1.5, 4.0):
        plan = changed_study(
            base, load_plan(plan_file(tmp_path, *ONE_COLUMN), [f"site.lab.it_power_limit={share * crossing_w} W"])
        )
        price = {p.name: p for p in plan.prices}
        assert plan.value == pytest.approx(min(share, 1.0) * crossing_w / joules, rel=1e-8)
        assert price["it_power"].shadow_price == pytest.approx(1 / joules if share < 1 else 0.0, rel=1e-8)
        if share < 1:
            assert price["it_power"].valid_to == pytest.approx(crossing_w, rel=1e-6)
        assert price["devices"].active == (share > 1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> PlanStudy:
    changes = (('"unlimited"', '"6 ktok/s"'), ("[[demand]]", "[objective]\nwhole = true\n\n[[demand]]"))
    return made(tmp_path_factory.mktemp("plan"), *changes, extras=True)


def test_whole_replicas_and_all_that_is_asked_beside(whole: PlanStudy) -> None:
    assert whole.use is not None and whole.status == "optimal"
    counts = np.concatenate([d.count_by_hour for d in whole.use.deployments])
    assert counts == pytest.approx(np.round(counts), abs=1e-6)
    assert all(p.held_whole for p in whole.prices)
    assert any("whole numbers" in note for note in whole.notes)
    rates = [p.rate_tok_s for p in whole.frontier if p.rate_tok_s is not None]
    assert len(rates) > 5 and all(b >= a - 1e-6 for a, b in pairwise(rates))
    assert whole.steps[0].lever == "" and {s.lever for s in whole.steps[1:]} == {"fp8", "power_cap"}
    values = [s.value for s in whole.steps if s.value is not None]
    assert all(b >= a - 1e-6 for a, b in pairwise(values))
    assert whole.losses[0].lost_ratio == pytest.approx(0.0, abs=1e-6)
    assert max(x.lost_ratio or 0.0 for x in whole.losses) > 0.2


def test_the_document_has_what_readers_are_promised(whole: PlanStudy) -> None:
    document = plan_document(whole)
    assert document["objective"].keys() == {"name", "value", "unit"} and document["objective"]["unit"] == "tok/s"
    for row in document["replicas"]:
        assert {
            "site",
            "pool",
            "model",
            "deployment",
            "count",
            "concurrency",
            "power_cap_w",
            "rate_tok_s",
            "power_w",
        } <= row.keys()
    for row in document["constraints"]:
        promised = {"name", "site", "active", "slack", "unit", "shadow_price", "price_unit", "valid_from", "valid_to"}
        assert promised <= row.keys()
    assert {"site", "it_w", "facility_w", "limit_w"} <= document["power"][0].keys()
    assert document["output"]["rate_tok_s"] == pytest.approx(
        sum(r["rate_tok_s"] for r in document["replicas"]), rel=1e-6
    )
    assert document["shortage"] == [] and document["notes"]


def test_both_solvers_agree(tmp_path: Path) -> None:
    file = load_plan(plan_file(tmp_path))
    ours, scipys = study(file, extras=False), study(file, extras=False, solver=ScipySolver())
    assert ours.value == pytest.approx(scipys.value, rel=1e-7)
    for a, b in zip(ours.prices, scipys.prices, strict=True):
        assert a.shadow_price == pytest.approx(b.shadow_price, rel=1e-6, abs=1e-9)
        if a.active and a.valid_to is not None and b.valid_to is not None:
            assert a.valid_to == pytest.approx(b.valid_to, rel=1e-4)


def test_a_target_that_nothing_meets_is_a_shortage_in_milliseconds(tmp_path: Path) -> None:
    plan = made(tmp_path, ('"40 ms"', '"2 ms"'))
    (short,) = plan.shortages
    best = min(
        jm.predict("Qwen/Qwen3-32B", "h100", **(WORK | {"concurrency": 8, "precision": p})).tpot_s.value
        for p in ("bf16", "fp8")
    )
    assert (short.name, short.unit, short.subject) == ("slo_tpot", "s", "chat") and plan.status == "shortage"
    assert short.amount == pytest.approx(best - 2e-3, rel=1e-6)


def test_too_little_power_for_a_demand_is_named_in_watts(tmp_path: Path) -> None:
    plan = made(
        tmp_path,
        ('"unlimited"', '"4 ktok/s"'),
        ("[[demand]]", '[objective]\ngoal = "least_energy"\n\n[[demand]]'),
        ('"6 kW"', '"2 kW"'),
    )
    short = {s.name: s for s in plan.shortages}
    assert set(short) == {"it_power", "demand"} and short["demand"].less
    enough = load_plan(
        plan.file.folder / "plan.toml",
        [f"site.lab.it_power_limit={2e3 + 1.0001 * (short['it_power'].amount or 0.0)} W"],
    )
    assert changed_study(plan, enough).status == "optimal"
    less = load_plan(
        plan.file.folder / "plan.toml", [f"site.lab.it_power_limit={2e3 + 0.999 * (short['it_power'].amount or 0.0)} W"]
    )
    assert changed_study(plan, less).status == "shortage"


def test_a_model_that_no_device_holds(tmp_path: Path) -> None:
    plan = made(
        tmp_path,
        ("tp = [2]", "tp = [1]"),
        ('precisions = ["bf16", "fp8"]', 'precisions = ["bf16"]'),
        ('power_caps = ["500 W"]\n', ""),
        ('h100"\nsite', 'l4"\nsite'),
        ('device = "h100"', 'device = "l4"'),
    )
    assert plan.status == "shortage" and plan.shortages[0].subject == "chat"
    assert any("do not fit" in note or "hold" in note for note in plan.notes) or plan.shortages[0].name == "deployment"


def test_a_cap_that_no_device_can_keep_is_refused_as_a_prediction_refuses_it(tmp_path: Path) -> None:
    least = r"draws about 1[56]\d W while it waits; raise it"
    for cap, words in (("1 W", least), ("900 W", "draws at most; give less")):
        with pytest.raises(InputError, match=f"model 'Qwen/Qwen3-32B': power_caps: power cap is {cap}.*{words}"):
            made(tmp_path, ('["500 W"]', f'["500 W", "{cap}"]'))


def test_a_cap_that_one_of_two_devices_cannot_keep_is_left_out_there_and_said(tmp_path: Path) -> None:
    """An L40S takes 350 W at most."""
    pool = '[[pool]]\nname = "l40s"\nsite = "lab"\ndevice = "l40s"\nowned_count = 8\n\n[[model]]'
    plan = made(tmp_path, ("[[model]]", pool))
    assert any("above the 350 W that NVIDIA L40S" in note for note in plan.notes)
    assert {o.power_cap_w for o in plan.options if o.pool == "h100"} == {None, 500.0}
    assert {o.power_cap_w for o in plan.options if o.pool == "l40s"} == {None}


def test_a_cap_that_binds_nowhere_is_no_deployment(tmp_path: Path) -> None:
    """At concurrency 1 a board draws far less than 690 W; at 1,024 more than 350 W."""
    alone = made(tmp_path, ('["500 W"]', '["690 W"]'), ("[8, 32, 64]", "[1]"))
    assert {o.power_cap_w for o in alone.options} == {None}
    full = made(tmp_path, ('["500 W"]', '["350 W"]'), ("[8, 32, 64]", "[1, 1024]"), ('slo_tpot = "40 ms"\n', ""))
    assert {o.power_cap_w for o in full.options} == {None, 350.0}


def test_quality_by_precision(tmp_path: Path) -> None:
    """bf16 scores 0.82, fp8 0.80: a target of 0.81 leaves bf16."""
    quality = ("tp = [2]", "tp = [2]\nquality = {bf16 = 0.82, fp8 = 0.80}")
    plan = made(tmp_path, quality, ('model = "Qwen/Qwen3-32B"', "quality_target = 0.81"))
    assert plan.use is not None and {plan.options[d.group].precision for d in plan.use.deployments} == {"bf16"}


def test_pue_is_asked_for_where_the_feed_counts(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs the PUE"):
        made(
            tmp_path,
            ("pue = 1.3\n", ""),
            ('"unlimited"', '"1 ktok/s"'),
            ("[[demand]]", '[objective]\ngoal = "least_carbon"\n\n[[demand]]'),
        )
    plan = made(tmp_path, ("pue = 1.3\n", ""))
    assert plan_document(plan)["power"][0]["facility_w"] is None


def test_pue_by_load(tmp_path: Path) -> None:
    """1.5 at a third of 6 kW, 1.2 at all of it: facility power is linear between 3 and 7.2 kW."""
    plan = made(tmp_path, ("pue = 1.3", "pue_curve = [[0.3333333333, 1.5], [1.0, 1.2]]"))
    assert plan.use is not None
    it_w, facility_w = plan.use.sites[0].it_w[0], plan.use.sites[0].facility_w[0]
    assert facility_w == pytest.approx(3000 + (it_w - 2000) * 4200 / 4000, rel=1e-6)
    with pytest.raises(InputError, match="grow at least as fast"):
        made(tmp_path, ("pue = 1.3", "pue_curve = [[0.5, 1.8], [1.0, 1.1]]"))


def test_starts_from_an_inventory(tmp_path: Path) -> None:
    (tmp_path / "fleet.csv").write_text(
        "pool,model,deployment,count\nh100,Qwen/Qwen3-32B,tp2 bf16,2\n", encoding="utf-8"
    )
    objective = (
        "[[demand]]",
        '[objective]\ninventory = "fleet.csv"\ngoal = "least_energy"\nstart_energy_kwh = 5.0\n\n[[demand]]',
    )
    plan = made(tmp_path, ('"unlimited"', '"1 ktok/s"'), objective)
    assert plan.use is not None  # starting anything costs 5 kWh an hour, so what runs today serves
    assert {plan.options[d.group].precision for d in plan.use.deployments} == {"bf16"}
    (tmp_path / "fleet.csv").write_text(
        "pool,model,deployment,count\nh100,Qwen/Qwen3-32B,tp3 bf16,2\n", encoding="utf-8"
    )
    with pytest.raises(InputError, match=r"line 2: no deployment h100 / Qwen/Qwen3-32B / tp3 bf16"):
        made(tmp_path, objective, ('"unlimited"', '"1 ktok/s"'))


def test_a_robust_plan_loses_nothing_in_its_own_case(tmp_path: Path) -> None:
    demand = ('"unlimited"', '"2 ktok/s"')
    cautious = ("[[demand]]", '[objective]\ngoal = "least_energy"\nrobust = {demand_ratio = 1.3}\n\n[[demand]]')
    plan = made(tmp_path, demand, cautious, extras=True)
    lost = {x.scenario.name: x.lost_ratio or 0.0 for x in plan.losses}
    assert lost["1.3 × demand"] == pytest.approx(0.0, abs=1e-6) and lost["1.5 × demand"] > 0.05
    assert plan.robust_from is not None and plan.value is not None and plan.robust_from < plan.value
