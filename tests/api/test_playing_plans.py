"""Plans played as traffic: what holds on average and not at the percentile is corrected until it holds."""

from __future__ import annotations

from pathlib import Path

import pytest

import joulemill as jm
from joulemill.api import playing_points
from joulemill.fleet.played import PlayedPlan, PlayedPoint, PlayedSite
from joulemill.reports.played_wording import lines
from tests.support.plan_files import plan_file

ONE = (('precisions = ["bf16", "fp8"]\n', ""), ('power_caps = ["500 W"]\n', ""))


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playing_points, "LEAST_REQUESTS", 400)


def mean_tpot_s() -> float:
    work = {"concurrency": 32, "input_tokens": 800, "output_tokens": 250, "precision": "bf16"}
    value = jm.predict("Qwen/Qwen3-32B", "h100", devices=2, tp=2, **work).tpot_s.value
    assert value is not None
    return value


def test_a_plan_that_is_tight_on_average_is_corrected_until_its_percentile_holds(tmp_path: Path) -> None:
    """The target is what a token takes on average at 32 requests in flight, so that every second request misses it."""
    changes = (
        *ONE,
        ("[8, 32, 64]", "[4, 8, 12, 16, 20, 24, 28, 32]"),
        ('"40 ms"', f'"{1001 * mean_tpot_s():.3f} ms"'),
        ('"unlimited"', '"8 ktok/s"'),
    )
    path = plan_file(tmp_path, *changes)
    naive, plan = jm.plan(path, extras=False), jm.plan(path, simulate=True)
    assert plan.played is not None and plan.played.holds
    assert plan.played.values[0] == pytest.approx(naive.value) and len(plan.played.values) > 1
    assert plan.value < naive.value
    (point,) = plan.played.points
    assert not point.backlog and point.tpot_s <= point.tpot_limit_s == pytest.approx(1.001 * mean_tpot_s(), rel=1e-4)
    assert point.played_tok_s == pytest.approx(point.planned_tok_s, rel=0.1)
    assert point.peak_power_w >= point.played_power_w
    (site,) = plan.played.sites
    assert site.played_power_w == pytest.approx(site.planned_power_w, rel=0.02)  # as corrected
    document = plan.to_dict()["simulation"]
    assert document["holds"] and len(document["objective_by_round"]) == len(plan.played.values)
    assert plan.study.frontier and plan.what_if("site.lab.it_power_limit=5 kW").value < plan.value
    plan.to_html(tmp_path / "page.html")
    assert "Planned against simulated" in (tmp_path / "page.html").read_text("utf-8")
    again = jm.plan(path, simulate=True, extras=False)
    assert again.value == plan.value and again.played.points == plan.played.points  # nothing is left to chance


def test_a_class_that_takes_all_there_is_is_played_as_a_backlog_whose_rate_becomes_the_plans(tmp_path: Path) -> None:
    """So many requests in flight all the time: what they make is what the corrected plan counts on."""
    path = plan_file(tmp_path, *ONE, ("[8, 32, 64]", "[32]"), ('"6 kW"', '"3 kW"'), ('"40 ms"', '"400 ms"'))
    plan = jm.plan(path, simulate=True, extras=False)
    (point,) = plan.played.points
    assert point.backlog and point.concurrency_req == 32.0 and plan.played.holds
    assert plan.value == pytest.approx(point.replicas_count * point.planned_tok_s)
    assert point.planned_tok_s == pytest.approx(point.played_tok_s, rel=0.03)
    assert plan.to_frame("played", "polars")["backlog"].to_list() == [True]
    assert plan.played.sites[0].peak_power_w <= 3000.0 * 1.005


def test_what_counts_as_missed() -> None:
    assert point().holds
    assert point(ttft_s=2.0).misses == (0.5,)
    assert point(played_tok_s=485.0).misses == pytest.approx((0.5,))
    assert point(tpot_limit_s=0.016).misses == pytest.approx((0.8,))
    plan = PlayedPlan(points=[point()], sites=[site(1001.0), site(1010.0)], values=(9.0, 8.0))
    assert [s.holds for s in plan.sites] == [True, False] and not plan.holds
    text = "\n".join(lines(plan, "tok/s"))
    assert "corrected once: IT DOES NOT HOLD" in text and "TPOT p99 20.0 ms" in text and "limit 1.00 kW: MISSED" in text
    short = PlayedPlan(points=[point()], sites=[], values=(9.0, None))
    assert not short.holds and "no plan is feasible" in lines(short, "tok/s")[0]


def point(**values: float | None) -> PlayedPoint:
    stated = {
        **{"concurrency_req": 8.0, "backlog": False, "replicas_count": 2.0, "copies_count": 2, "requests_count": 9},
        **{"planned_tok_s": 1000.0, "played_tok_s": 990.0, "percentile": 99.0, "ttft_s": 0.5, "ttft_limit_s": 1.0},
        **{"tpot_s": 0.02, "tpot_limit_s": None, "planned_power_w": 1.0, "played_power_w": 1.0, "peak_power_w": 1.0},
    }
    names = {"site": "s", "pool": "p", "model": "m", "deployment": "tp1", "demand": "chat"}
    return PlayedPoint(**names, **(stated | values))


def site(peak_w: float) -> PlayedSite:
    return PlayedSite(
        site="s", hour=0, planned_power_w=900.0, played_power_w=900.0, peak_power_w=peak_w, limit_w=1000.0
    )


def test_a_shortage_is_not_played(tmp_path: Path) -> None:
    plan = jm.plan(plan_file(tmp_path, ('"40 ms"', '"2 ms"')), simulate=True)
    assert plan.played is None and not plan.feasible and plan.to_dict()["simulation"] is None
