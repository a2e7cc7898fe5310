"""Corrections from simulation: exact where a point was played, between played points in between, and late ones go."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from joulemill.fleet.corrections import Corrections, PlayedRatios, PointRatios
from joulemill.fleet.plan_file import load_plan
from joulemill.fleet.study import PlanStudy, study
from tests.support.plan_files import plan_file


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> PlanStudy:
    return study(load_plan(plan_file(tmp_path_factory.mktemp("plan"))), extras=False)


def sample(plan: PlanStudy, group: int, concurrency: float, **ratios: float) -> PlayedRatios:
    return PlayedRatios(
        option=plan.options[group], demand="chat", concurrency_req=concurrency, ratios=PointRatios(**ratios)
    )


def test_factors_of_points_played_between_them_and_of_deployments_that_were_not(plan: PlanStudy) -> None:
    learned = Corrections().learned(
        [sample(plan, 0, 8.0, rate_ratio=1.0, power_ratio=1.1), sample(plan, 0, 32.0, rate_ratio=0.8)], {}
    )
    before, after = plan.predicted.points, learned.columns(plan.predicted, plan.classes).points
    assert after.count == before.count
    serving = before.demand >= 0
    rate = after.rate_tok_s / np.where(serving, before.rate_tok_s, 1.0)
    power = after.power_w / before.power_w
    for group in (0, 1):  # the second was not played: it has the first one's
        of = {float(c): i for i, c in enumerate(before.concurrency) if before.group[i] == group and c > 0}
        assert rate[of[8.0]] == pytest.approx(1.0) and rate[of[32.0]] == pytest.approx(0.8)
        assert rate[of[64.0]] == pytest.approx(0.8) and power[of[8.0]] == pytest.approx(1.1)
    assert (power[~serving] == 1.0).all()
    newer = learned.learned([sample(plan, 0, 32.0, rate_ratio=0.9)], {})
    assert len(newer.samples) == 2 and newer.samples[1].ratios.rate_ratio == 0.9


def test_points_that_miss_their_target_as_played_are_left_out_and_a_class_without_any_is_short(plan: PlanStudy) -> None:
    points = plan.predicted.points
    serving = np.flatnonzero(points.demand == 0)
    slack = 0.040 / points.tpot_s[serving]
    some = Corrections().learned([sample(plan, 0, 8.0, tpot_ratio=float(np.median(slack)))], {})
    kept = some.columns(plan.predicted, plan.classes).points
    assert 0 < (kept.demand == 0).sum() < serving.size and kept.tpot_s[kept.demand == 0].max() <= 0.040
    ratio = 2.0 * float(slack.max())
    none = study(
        plan.file,
        extras=False,
        columns=plan.predicted,
        corrections=Corrections().learned([sample(plan, 0, 8.0, tpot_ratio=ratio)], {}),
    )
    (short,) = none.shortages
    assert none.status == "shortage" and short.name == "slo_tpot"
    assert short.amount == pytest.approx(ratio * points.tpot_s[serving].min() - 0.040)


def test_room_for_peaks_lowers_what_a_limit_carries_and_not_the_limit(plan: PlanStudy) -> None:
    roomy = study(plan.file, extras=False, columns=plan.predicted, corrections=Corrections(peak_ratio={"lab": 1.25}))
    assert plan.use is not None and roomy.use is not None
    assert roomy.use.sites[0].it_w[0] == pytest.approx(plan.use.sites[0].it_w[0] / 1.25, rel=1e-6)
    price = {p.name: p for p in roomy.prices}["it_power"]
    assert price.value == 6000.0 and price.active
    assert any("20 % of the power limits are kept for peaks" in note for note in roomy.notes)
    looser = replace(plan.file, tables=plan.file.tables)
    assert study(looser, extras=False, columns=plan.predicted).value == pytest.approx(plan.value)
