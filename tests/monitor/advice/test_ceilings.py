"""Φ is a measurement over a ceiling at today's load; what is not known says why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from joulemill.monitor.advice.ceilings import Context, explained
from joulemill.monitor.snapshot import Interval, TargetFacts, TokenKind
from joulemill.prediction.predict import answer
from joulemill.prediction.question import PredictionRequest

FACTS = TargetFacts("a", "Qwen/Qwen3-8B", "s", "h100", 1)
KNOWN = Context((512.0, 256.0), running_before=20.0)


def interval(rate_tok_s: float, running: float | None = 20.0, waiting: float | None = 0.0, **more: Any) -> Interval:
    tokens = {TokenKind.OUTPUT: 10 * rate_tok_s}
    return Interval(
        target="a",
        start_s=0.0,
        end_s=10.0,
        observed=True,
        tokens=tokens,
        running_count=running,
        waiting_count=waiting,
        **more,
    )


def ceiling_tok_s(concurrency: float) -> float:
    question = PredictionRequest(
        model="Qwen/Qwen3-8B", device="h100", input_tokens=512, output_tokens=256, concurrency=concurrency
    )
    hardware = ("compute", "memory_bandwidth", "kv_capacity", "interconnect")
    found = answer(question).prediction.ceilings
    return min(c.rate_tok_s.value for c in found if c.name in hardware and c.rate_tok_s.value)


@pytest.mark.parametrize("concurrency", [3.0, 17.0, 20.0, 111.0])
@pytest.mark.parametrize("share", [0.2, 0.6, 1.7])
def test_phi_is_the_measured_rate_over_the_lowest_hardware_ceiling_at_this_load(
    concurrency: float, share: float
) -> None:
    rate = share * ceiling_tok_s(concurrency)
    found = explained(interval(rate, concurrency), FACTS, replace(KNOWN, running_before=concurrency))
    assert found.phi_ratio == pytest.approx(share, rel=0.07)  # lengths are rounded
    assert found.phi_low_ratio is not None and found.phi_high_ratio is not None
    assert found.phi_low_ratio < found.phi_ratio < found.phi_high_ratio
    assert found.phi_low_ratio <= share <= found.phi_high_ratio
    assert (found.phi_reason is None) == (share < 1)  # above 1 it is shown, and told


def test_a_load_that_moved_widens_phi() -> None:
    steady = explained(interval(500.0), FACTS, KNOWN)
    moved = explained(interval(500.0, 40.0), FACTS, replace(KNOWN, running_before=10.0))
    width = [i.phi_high_ratio / i.phi_low_ratio for i in (steady, moved)]  # type: ignore[operator]
    assert width[1] > 1.5 * width[0]


@pytest.mark.parametrize(
    ("i", "facts", "context", "says"),
    [
        (interval(0.0, 0.0, idle_ratio=1.0), FACTS, KNOWN, "idle"),
        (interval(500.0), replace(FACTS, device=None), KNOWN, "state this target's device"),
        (interval(500.0), replace(FACTS, model="none-such"), KNOWN, "none-such"),
        (interval(500.0, None), FACTS, KNOWN, "does not say how many requests it runs"),
        (interval(500.0, 0.0), FACTS, KNOWN, "did not run all of the interval"),
        (interval(500.0), FACTS, replace(KNOWN, running_before=0.0), "did not run all of the interval"),
        (replace(interval(1.0), tokens={}), FACTS, KNOWN, "no counter of output tokens"),
    ],
)
def test_where_phi_is_not_known_it_says_why(i: Interval, facts: TargetFacts, context: Context, says: str) -> None:
    found = explained(i, facts, context)
    assert found.phi_ratio is None and found.phi_low_ratio is None and says in (found.phi_reason or "")


def test_what_binds_is_the_demand_where_nothing_waits_and_else_says_why_it_is_not_known() -> None:
    assert explained(interval(500.0), FACTS, KNOWN).binding == "demand"
    assert explained(interval(0.0, 0.0, idle_ratio=1.0), FACTS, KNOWN).binding == "demand"
    queued = explained(interval(500.0, waiting=30.0), FACTS, KNOWN)
    assert queued.binding is None and "undecided between" in (queued.binding_reason or "")
    bare = explained(interval(500.0, waiting=30.0), replace(FACTS, device=None), KNOWN)
    assert bare.binding is None and "state this target's device" in (bare.binding_reason or "")


def test_a_stated_latency_target_is_a_ceiling() -> None:
    found = explained(interval(500.0), FACTS, replace(KNOWN, slo_s=(None, 0.02)))
    assert next(c.ceiling_tok_s for c in found.ceilings if c.name == "latency")
