"""Plans played as traffic: what holds on average and not at the percentile is corrected until it holds."""

from __future__ import annotations

from pathlib import Path

import pytest

import joulemill as jm
from joulemill.api import playing_plans
from joulemill.api.playing_plans import PlayedDeployment, played_lines
from tests.support.plan_files import plan_file


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playing_plans, "PLAYED_REQUESTS", 400)


def test_a_plan_that_is_tight_on_average_is_corrected_until_its_percentile_holds(tmp_path: Path) -> None:
    """The target is what a token takes on average at 32 requests in flight, so that every second request misses it."""
    mean_s = jm.predict(
        "Qwen/Qwen3-32B", "h100", devices=2, tp=2, concurrency=32, input_tokens=800, output_tokens=250, precision="bf16"
    ).tpot_s.value
    changes = (
        ('precisions = ["bf16", "fp8"]\n', ""),
        ('power_caps = ["500 W"]\n', ""),
        ("[8, 32, 64]", "[4, 8, 12, 16, 20, 24, 28, 32]"),
        ('"40 ms"', f'"{1001 * mean_s:.3f} ms"'),
    )
    path = plan_file(tmp_path, *changes)
    naive, plan = jm.plan(path, extras=False), jm.plan(path, simulate=True)
    assert plan.played is not None and plan.played.holds
    assert plan.played.values[0] == pytest.approx(naive.value) and len(plan.played.values) > 1
    assert plan.value < naive.value and list(plan.played.values) == sorted(plan.played.values, reverse=True)
    (deployment,) = plan.played.deployments
    assert deployment.tpot_s <= deployment.tpot_limit_s == pytest.approx(1.001 * mean_s, rel=1e-4)
    assert deployment.played_tok_s == pytest.approx(deployment.planned_tok_s, rel=0.1)
    assert deployment.peak_power_w >= deployment.power_w * 0.8
    document = plan.to_dict()["simulation"]
    assert document["holds"] and len(document["objective_by_round"]) == len(plan.played.values)
    assert "it holds" in played_lines(plan.played)[0] and "TPOT p99" in played_lines(plan.played)[1]


def test_what_counts_as_missed() -> None:
    def of(**values: float | None) -> PlayedDeployment:
        stated = {
            "planned_tok_s": 1000.0,
            "played_tok_s": 990.0,
            "ttft_s": 0.5,
            "ttft_limit_s": 1.0,
            "tpot_s": 0.02,
            "tpot_limit_s": None,
        }
        names = {"pool": "p", "deployment": "tp1", "demand": "chat", "copies_count": 1, "requests_count": 9}
        return PlayedDeployment(**names, percentile=99.0, power_w=1.0, peak_power_w=None, **(stated | values))

    assert of().holds
    assert of(ttft_s=2.0).misses == (0.5,)
    assert of(played_tok_s=485.0).misses == pytest.approx((0.5,))
    assert of(tpot_limit_s=0.016).misses == pytest.approx((0.8,))


def test_a_shortage_is_not_played(tmp_path: Path) -> None:
    plan = jm.plan(plan_file(tmp_path, ('"40 ms"', '"2 ms"')), simulate=True)
    assert plan.played is None and not plan.feasible and plan.to_dict()["simulation"] is None
