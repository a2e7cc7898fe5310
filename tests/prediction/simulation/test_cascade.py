"""A smaller model before the larger one: requests, tokens and joules of both stages, and what users wait for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from joulemill.errors import InputError
from joulemill.prediction.simulation.cascade import parse_cascade, play_scene
from joulemill.prediction.simulation.comparing import compare_policies
from joulemill.prediction.simulation.playing import Scene, run_scene
from joulemill.simulation.demand import Sessions, TrafficDemand, traffic_of
from joulemill.simulation.events import SiteEvents
from joulemill.simulation.quality import AnswerQuality
from joulemill.simulation.run import PlayedTraffic
from joulemill.statistics.arrivals import ramp
from joulemill.statistics.lengths import Lengths
from tests.support.scenes import scene


def cascade(text: str = "escalate=30%,accuracy=70%") -> Scene:
    plain = scene(events=SiteEvents(), quality=AnswerQuality(accuracy_ratio=0.9))
    return replace(plain, first=parse_cascade(f"model=Qwen/Qwen3-0.6B,{text}", plain.question))


@pytest.fixture(scope="module")
def run() -> PlayedTraffic:
    return play_scene(cascade()).run


def test_a_share_of_the_answers_is_asked_again(run: PlayedTraffic) -> None:
    effect, n = run.quality.cascade, run.traffic.requests_count
    assert effect is not None
    assert effect.escalated_req == pytest.approx(0.3 * n, abs=4 * np.sqrt(0.21 * n))
    assert run.outcomes.completed.all()
    # The smaller model is one replica, number 0; the larger one's two replicas follow.
    assert (run.outcomes.replica > 0).sum() == effect.escalated_req
    assert run.output_tok == 32 * n
    assert effect.discarded_tok == 32 * effect.escalated_req
    assert run.timeline.output_tok.sum() == run.output_tok + effect.discarded_tok


def test_joules_of_requests_are_those_of_both_stages_and_close(run: PlayedTraffic) -> None:
    line, effect = run.timeline, run.quality.cascade
    assert effect is not None
    assert run.outcomes.energy_j.sum() == pytest.approx(float((line.prefill_j + line.decode_j).sum()), rel=1e-9)
    assert effect.first_j + effect.second_j == pytest.approx(run.energy_j("device"), rel=1e-9)
    assert abs(run.closure_j) < 1e-9 * (run.energy_j("site") or 0.0)
    again = run.outcomes.replica > 0
    assert run.outcomes.energy_j[again].mean() > 2 * run.outcomes.energy_j[~again].mean()
    ends = [line.end_ns[line.replica == i].max() for i in range(3)]
    assert len(set(ends)) == 1


def test_who_escalates_waits_for_both_models(run: PlayedTraffic) -> None:
    again, ttft = run.outcomes.replica > 0, run.latencies.ttft_s
    assert ttft[again].min() > np.median(run.latencies.e2e_s[~again])


def test_full_load_is_that_of_the_stage_that_is_short() -> None:
    both = cascade("escalate=30%")
    run, alone = play_scene(both).run, run_scene(replace(both, first=None)).run
    share = float((run.outcomes.replica > 0).mean())
    full, larger = run.around.limits.full_load_tok_s, alone.around.limits.full_load_tok_s
    assert full is not None and larger is not None
    # Either the larger model, of which only a share is asked, or the smaller one is at its limit first.
    assert full <= larger / share * (1 + 1e-9)
    few = play_scene(cascade("escalate=100%")).run.around.limits.full_load_tok_s
    assert few == pytest.approx(larger)


def test_accuracy_is_the_mean_of_what_is_declared_of_both(run: PlayedTraffic) -> None:
    share = float((run.outcomes.replica > 0).mean())
    assert run.quality.accuracy_ratio == pytest.approx(0.7 * (1 - share) + 0.9 * share)
    silent = play_scene(cascade("escalate=30%")).run
    assert silent.quality.accuracy_ratio is None


def test_all_that_escalates_is_the_larger_model_after_the_smaller() -> None:
    both = cascade("escalate=100%")
    run, alone = play_scene(both).run, run_scene(replace(both, first=None)).run
    effect = run.quality.cascade
    assert effect is not None and effect.escalated_req == alone.traffic.requests_count
    assert run.output_tok == alone.output_tok
    late = run.outcomes.first_token_ns - run.outcomes.arrival_ns
    assert late.mean() > (alone.outcomes.first_token_ns - alone.outcomes.arrival_ns).mean()


def test_what_a_cascade_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="no request escalates"):
        play_scene(cascade("escalate=0%"))
    with pytest.raises(InputError, match="policies and a cascade"):
        compare_policies(cascade(), ("cap",))
    demand = TrafficDemand(
        ramp(1.0, 1.0, 20.0),
        Lengths("fixed", 64),
        Lengths("fixed", 8),
        sessions=Sessions(Lengths("fixed", 3), Lengths("fixed", 8), 1.0),
    )
    with pytest.raises(InputError, match="does not support sessions"):
        play_scene(replace(cascade(), traffic=traffic_of(demand, np.random.default_rng(1))))
    for text, says in (("escalate=30%", "model must be given"), ("model=a", "escalate must be given")):
        with pytest.raises(InputError, match=says):
            parse_cascade(text, scene().question)
