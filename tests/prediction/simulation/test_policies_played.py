"""Policies played by the engine: limits are kept, the same requests are asked, nothing is lost that is not refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from joulemill.catalog.idle_states import idle_ladder
from joulemill.errors import InputError
from joulemill.prediction.simulation.comparing import PolicyRun, compare_policies
from joulemill.prediction.simulation.fleet import rest_policy
from joulemill.prediction.simulation.playing import run_scene
from joulemill.prediction.simulation.scenarios import play_scenarios, scores
from joulemill.simulation.events import SiteEvents
from joulemill.simulation.timeline import ReplicaState
from tests.support.scenes import CUT, POLICIES, scene


@pytest.fixture(scope="module")
def runs() -> dict[str, PolicyRun]:
    return {r.policy: r for r in compare_policies(scene())}


def test_all_policies_are_played_on_the_same_requests_for_as_long(runs: dict[str, PolicyRun]) -> None:
    assert tuple(runs) == ("none", *POLICIES)
    assert len({round(r.run.duration_s, 6) for r in runs.values()}) == 1
    assert len({r.run.traffic.requests_count for r in runs.values()}) == 1
    for r in runs.values():
        o = r.run.outcomes
        assert int(o.completed.sum()) + int(o.rejected.sum()) == r.run.traffic.requests_count
        assert abs(r.run.closure_j) < 1e-9 * (r.run.energy_j("site") or 0.0)


def test_a_limit_is_kept_by_every_policy_that_says_so(runs: dict[str, PolicyRun]) -> None:
    drawn = runs["none"].window
    assert drawn is not None
    assert drawn[1] == pytest.approx(0.85 * drawn[0])
    assert not runs["none"].kept
    for policy, r in runs.items():
        assert r.window is not None
        assert r.kept == (r.window[0] <= 1.01 * drawn[1]), policy
        assert r.cut_ratio == pytest.approx(1.0 - r.window[0] / drawn[0]), policy
    assert runs["cap"].kept and runs["admission"].kept and runs["shift+shed"].kept
    # A lower clock makes steps longer, and boards wait less: at little load it cannot save much.
    assert runs["clock"].window is not None and runs["clock"].window[0] < drawn[0]


def test_each_policy_costs_what_it_takes(runs: dict[str, PolicyRun]) -> None:
    rows = {name: r.row(runs["none"].run) for name, r in runs.items()}
    assert rows["none"]["lost_tok"] == 0.0
    for policy in ("cap", "clock", "shed", "shift"):
        assert rows[policy]["lost_tok"] == 0.0
    assert rows["admission"]["rejected_req"] and rows["admission"]["lost_tok"]
    refused = np.flatnonzero(runs["admission"].run.outcomes.rejected)
    assert set(runs["admission"].run.traffic.output_tok[refused]) == {32}
    assert rows["admission"]["lost_tok"] == 32.0 * len(refused)
    for policy in ("cap", "clock"):
        assert rows[policy]["tpot_p99_s"] > rows["none"]["tpot_p99_s"]
    assert rows["shift"]["deferred_req"] and rows["shift"]["deferred_s"]


def test_before_the_event_a_policy_changes_nothing(runs: dict[str, PolicyRun]) -> None:
    free = runs["none"].run
    early = free.outcomes.finish_ns < 29e9
    for policy in ("cap", "clock", "admission"):
        own = runs[policy].run
        assert np.array_equal(own.outcomes.finish_ns[early], free.outcomes.finish_ns[early])


def test_a_night_with_states_of_rest() -> None:
    night = scene(rate_req_s=0.05, events=SiteEvents(policies=("boost-off", "sleep-1:5s", "unload:5s")), until_s=240.0)
    played = compare_policies(night)
    none = played[0].row(played[0].run)
    assert (none["kept"], none["limit_w"], none["about"]) == (None, None, "no limit is set, and no policy acts")
    rows = {r.policy: r.run for r in played}
    joules = {name: run.energy_j("device") or 0.0 for name, run in rows.items()}
    assert joules["boost-off"] < joules["none"]
    assert joules["unload:5s"] < joules["none"]
    # By the ladder, sleeping keeps the context open: it saves memory, not watts.
    assert joules["sleep-1:5s"] == pytest.approx(joules["none"], rel=0.05)
    assert np.any(rows["unload:5s"].timeline.state == ReplicaState.BARE)
    slow = rows["unload:5s"].latencies.ttft_s
    wake = next(s for s in idle_ladder("h100-sxm") if s.name == "bare").wake_s.value
    assert np.nanmax(slow) > (wake or 0.0)


def test_watts_of_rest_come_from_the_catalog() -> None:
    deployment = scene().played.deployment
    ladder = {s.name: s for s in idle_ladder("h100-sxm")}
    loaded = rest_policy(deployment, "loaded")
    assert loaded.states[ReplicaState.LOADED_IDLE].power_w == ladder["loaded"].power_w.value
    unload = rest_policy(deployment, "unload:10min")
    assert unload.ladder[-1] == (600.0, ReplicaState.BARE)
    bare = unload.states[ReplicaState.BARE]
    assert (bare.power_w, bare.wake_s, bare.wake_j) == (
        ladder["bare"].power_w.value,
        ladder["bare"].wake_s.value,
        ladder["bare"].wake_j.value,
    )
    with pytest.raises(InputError, match="rest"):
        rest_policy(deployment, "hibernate")


def test_shift_without_deferrable_requests_is_refused() -> None:
    with pytest.raises(InputError, match="deferrable"):
        compare_policies(scene(events=SiteEvents(events=(CUT,), policies=("shift",))))


def test_scenarios_bracket_the_run_and_share_its_requests() -> None:
    small = replace(scene(rate_req_s=4.0), events=SiteEvents())
    spread = play_scenarios(small, 3)
    assert spread.time_ratios[1] == pytest.approx(1.0)
    own = float(np.nanmean(run_scene(small).run.latencies.e2e_s))
    assert spread.values["e2e_s", "mean"][1] == pytest.approx(own)
    interval = spread.interval("e2e_s", "mean")
    assert interval is not None
    assert interval[0] < own < interval[1]
    # Steps err by one factor, and little waits at this load: the interval is about that of a step's time.
    width = np.log(spread.time_ratios[-1]) * 1.2816 / scores(3)[-1]
    assert np.log(interval[1] / interval[0]) / 2 == pytest.approx(width, rel=0.25)


def test_a_slower_resolution_changes_no_energy() -> None:
    run = run_scene(replace(scene(rate_req_s=4.0), events=SiteEvents())).run
    fine, coarse = run.power, run.power.coarser(15.0)
    for scope in ("device", "node", "site"):
        whole, summed = fine.at_scope(scope), coarse.at_scope(scope)
        assert whole is not None and summed is not None
        assert summed.sum() == pytest.approx(whole.sum(), rel=1e-12)
