"""Ceilings by hand, and the binding one against a plain minimum."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.figure import Basis, Figure, unknown
from joulemill.physics.production.ceilings import (
    CeilingValue,
    binding,
    compute_ceiling,
    cooling_ceiling,
    demand_ceiling,
    interconnect_ceiling,
    kv_capacity_ceiling,
    latency_ceiling,
    memory_bandwidth_ceiling,
    power_ceiling,
)


def exact(value: float, unit: str = "u") -> Figure:
    return Figure(value, unit, Basis.MODELLED)


def rate(name: str, value: float, factor: float = 1.0) -> CeilingValue:
    return CeilingValue(name, Figure(value, "tok/s", Basis.MODELLED, low=value / factor, high=value * factor))


def test_an_8b_model_on_one_h100_by_hand() -> None:
    """Llama-3.1-8B in BF16, batch 32, mean context 2048: 16 GFLOP, 16 GB of weights over 32 tokens, 128 KiB of KV."""
    compute = compute_ceiling(exact(989.4e12, "flop/s"), exact(16e9, "flop/tok"))
    traffic = 16e9 / 32 + 2048 * 131072
    memory = memory_bandwidth_ceiling(exact(3.35e12, "byte/s"), exact(traffic, "byte/tok"))
    kv = kv_capacity_ceiling(exact(60e9, "byte"), exact(2048 * 131072, "byte"), exact(0.01, "s/tok"))
    assert compute.rate_tok_s.value == pytest.approx(61837.5)
    assert memory.rate_tok_s.value == pytest.approx(4359.507, rel=1e-4)
    assert kv.rate_tok_s.value == pytest.approx(60e9 / (2048 * 131072) / 0.01)
    result = binding([compute, memory, kv], exact(3000.0, "tok/s"))
    assert (result.name, result.next_name) == ("memory_bandwidth", "kv_capacity")
    assert dict(result.slack)["memory_bandwidth"].value == pytest.approx(4359.507 / 3000 - 1, rel=1e-4)


def test_power_cooling_and_demand_by_hand() -> None:
    """40 kW at 0.5 J/tok make 80,000 tok/s; 30 kW of heat 60,000; 100 requests of 200 tokens a second 20,000."""
    assert power_ceiling(exact(40e3, "W"), exact(0.5, "J/tok")).rate_tok_s.value == 80e3
    assert cooling_ceiling(exact(30e3, "W"), exact(0.5, "J/tok")).rate_tok_s.value == 60e3
    assert demand_ceiling(exact(100.0), exact(200.0)).rate_tok_s.value == 20e3


@given(limit=st.floats(1.0, 1e7), e=st.floats(1e-3, 1e3), k=st.floats(0.01, 100.0))
def test_scaling_joules_by_k_scales_the_power_ceiling_by_one_over_k(limit: float, e: float, k: float) -> None:
    one, scaled = (power_ceiling(exact(limit, "W"), exact(x, "J/tok")).rate_tok_s.value for x in (e, k * e))
    assert one is not None and scaled == pytest.approx(one / k)


def test_one_device_has_no_interconnect_ceiling() -> None:
    c = interconnect_ceiling(exact(450e9, "byte/s"), exact(0.0, "byte/tok"))
    assert c.rate_tok_s.value is None and "no limit" in str(c.rate_tok_s.reason)


def test_unknown_never_binds_and_is_listed() -> None:
    result = binding([rate("compute", 100.0), power_ceiling(unknown("W", "no limit stated"), exact(1.0))])
    assert result.name == "compute" and result.unknown == ("power",) and "Unknown: power" in result.explanation
    nothing = binding([power_ceiling(unknown("W", "no limit stated"), exact(1.0))])
    assert nothing.name == "unknown" and nothing.rate_tok_s.value is None


@given(st.lists(st.floats(1.0, 1e6), min_size=2, max_size=8, unique=True))
def test_binding_is_the_minimum(values: list[float]) -> None:
    result = binding([rate(str(i), v) for i, v in enumerate(values)])
    ordered = sorted(values)
    assert values[int(result.name)] == ordered[0] == result.rate_tok_s.value
    assert result.margin_ratio.value == pytest.approx(ordered[1] / ordered[0] - 1)
    assert result.probability_ratio == 1.0


def test_overlapping_intervals_are_undecided() -> None:
    close = binding([rate("compute", 100.0, 1.3), rate("memory_bandwidth", 105.0, 1.3)])
    assert close.name == "undecided" and close.probability_ratio is not None and 0.5 < close.probability_ratio < 0.8
    assert close.would_decide == "narrower intervals for compute and memory bandwidth"
    assert binding([rate("compute", 100.0, 1.3), rate("memory_bandwidth", 200.0, 1.3)]).name == "compute"
    assert binding([rate("a", 100.0), rate("b", 100.0)]).name == "undecided"


def test_a_ceiling_that_was_broken_through_is_refuted() -> None:
    """Quantised dot products can run above a float32 ceiling: then it was stated too low, and nothing is decided."""
    result = binding([rate("compute", 100.0, 1.1), rate("memory_bandwidth", 300.0)], exact(150.0, "tok/s"))
    assert result.name == "undecided" and result.refuted == ("compute",)
    assert "better capacity" in str(result.would_decide)
    slack = dict(result.slack)["compute"].value
    assert slack is not None and slack < 0


LIKE = Figure(1.0, "s", Basis.MEASURED, source="sweep")


def test_latency_ceiling_lies_where_the_target_is_crossed() -> None:
    c = latency_ceiling([(100.0, 0.1), (300.0, 0.5), (200.0, 0.2)], 0.35, LIKE)
    assert c.rate_tok_s.value == pytest.approx(250.0)
    assert (c.rate_tok_s.low, c.rate_tok_s.high, c.rate_tok_s.basis) == (200.0, 300.0, Basis.MEASURED)


def test_latency_met_everywhere_or_nowhere() -> None:
    met = latency_ceiling([(100.0, 0.1)], 0.35, LIKE).rate_tok_s
    assert met.value is None and "met at every load seen, up to 100" in str(met.reason)
    missed = latency_ceiling([(100.0, 0.4), (200.0, 0.9)], 0.35, LIKE)
    assert (missed.rate_tok_s.low, missed.rate_tok_s.high) == (0.0, 100.0) and "upper bound" in str(missed.evidence)
    assert binding([missed, rate("compute", 1e4)]).name == "latency"
    assert latency_ceiling([], 1.0, LIKE).rate_tok_s.value is None


@given(
    targets=st.tuples(st.floats(0.05, 2.0), st.floats(0.05, 2.0)),
    latencies=st.lists(st.floats(0.01, 3.0), min_size=1, max_size=8),
)
def test_a_laxer_target_never_lowers_the_ceiling(targets: tuple[float, float], latencies: list[float]) -> None:
    points = [(100.0 * (i + 1), s) for i, s in enumerate(latencies)]
    strict, lax = (latency_ceiling(points, t, LIKE).rate_tok_s.value for t in sorted(targets))
    assert (float("inf") if lax is None else lax) >= (float("inf") if strict is None else strict) - 1e-6
