"""The three plans of examples/plan: each has an optimum, and its plan holds when it is played."""

from __future__ import annotations

from pathlib import Path

import pytest

import joulemill as jm
from joulemill.api import playing_points

EXAMPLES = Path(__file__).parent.parent / "examples" / "plan"


@pytest.mark.parametrize("name", ["lab", "enterprise", "campus"])
def test_the_plan_holds_in_simulation(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fewer requests than the command plays, to spare time: what holds is then a plan of its own."""
    monkeypatch.setattr(playing_points, "LEAST_REQUESTS", 600)
    monkeypatch.setattr(playing_points, "MOST_REQUESTS", 3000)
    plan = jm.plan(EXAMPLES / f"{name}.toml", extras=False, simulate=True)
    assert plan.status == "optimal" and plan.played is not None and plan.played.holds
    for limit in plan.constraints:  # no price is the solver's dust
        assert not limit.shadow_price or abs(limit.shadow_price * limit.value) > 1e-9 * plan.value
    for point in plan.played.points:
        assert point.played_tok_s >= 0.97 * point.planned_tok_s
        for value_s, limit_s in ((point.ttft_s, point.ttft_limit_s), (point.tpot_s, point.tpot_limit_s)):
            assert limit_s is None or value_s is None or value_s <= limit_s
    for site in plan.played.sites:
        assert site.limit_w is None or site.peak_power_w <= 1.005 * site.limit_w
