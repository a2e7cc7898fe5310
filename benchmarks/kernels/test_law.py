"""The kernel law: limits that follow from physics, and work counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.kernels.law import (
    KernelEnergy,
    KernelRate,
    KernelWork,
    busy_s,
    cached_share_ratio,
    compute_s,
    dynamic_j,
    memory_s,
    power_w,
    rescaled,
    soft_max_s,
)
from benchmarks.kernels.work import (
    attended_pairs,
    decode_attention,
    experts_touched,
    gemm,
    latent_decode,
    linear_decode,
    moe,
    prefill_attention,
    sparse_attention,
    windowed_context,
)
from hypothesis import given
from hypothesis import strategies as st

PEAK, BANDWIDTH = 1e15, 4e12
RATE = KernelRate(
    compute_ratio=0.7,
    memory_ratio=0.85,
    launch_s=3e-6,
    compute_grain_count=(1.0, 1e5, 100.0),
    memory_grain_count=(5.0, 5.0),
)
sizes = st.integers(1, 65536).map(float)


def product(m: float, n: float, k: float) -> KernelWork:
    return gemm(m, n, k, 2.0, 2.0)


def test_a_product_by_hand() -> None:
    work = product(4, 8, 16)
    assert work.flop == 2 * 4 * 8 * 16
    assert work.byte == 8 * 16 * 2 + 4 * 16 * 2 + 4 * 8 * 2


@given(sizes, sizes, sizes)
def test_a_kernel_is_never_faster_than_its_roofline(m: float, n: float, k: float) -> None:
    work = product(m, n, k)
    roof = max(work.flop / (0.7 * PEAK), work.byte / (0.85 * BANDWIDTH))
    assert busy_s(work, RATE, PEAK, BANDWIDTH) >= roof * (1 - 1e-12)


@given(sizes, sizes, sizes, st.floats(1.01, 8.0))
def test_more_rows_take_longer_and_faster_devices_less(m: float, n: float, k: float, factor: float) -> None:
    now = busy_s(product(m, n, k), RATE, PEAK, BANDWIDTH)
    assert busy_s(product(m * factor, n, k), RATE, PEAK, BANDWIDTH) > now
    twice = busy_s(product(m, n, k), RATE, PEAK * factor, BANDWIDTH * factor)
    assert twice == pytest.approx(now / factor)


def test_large_products_reach_the_fitted_share_of_the_peak() -> None:
    work = product(1e6, 1e6, 1e6)
    assert work.flop / busy_s(work, RATE, PEAK, BANDWIDTH) == pytest.approx(0.7 * PEAK, rel=1e-3)


def test_one_row_is_bound_by_the_weights() -> None:
    work = product(1.0, 65536.0, 65536.0)
    assert work.byte / busy_s(work, RATE, PEAK, BANDWIDTH) == pytest.approx(0.85 * BANDWIDTH, rel=1e-3)


def test_a_kernel_of_the_half_speed_size_runs_at_half_speed() -> None:
    work = KernelWork(np.array(1e12), np.array(0.0), (np.array(64.0),))
    rate = KernelRate(compute_ratio=1.0, memory_ratio=1.0, launch_s=0.0, compute_grain_count=(64.0,))
    assert compute_s(work, rate, PEAK) == pytest.approx(2 * 1e12 / PEAK)


@given(st.floats(0, 10), st.floats(1e-6, 10), st.sampled_from([1.0, 2.0, 3.0, 4.0, 8.0]))
def test_soft_maximum_lies_between_the_larger_and_the_sum(a: float, b: float, p: float) -> None:
    soft = float(soft_max_s(np.array(a), np.array(b), p))
    assert max(a, b) * (1 - 1e-9) <= soft <= (a + b) * (1 + 1e-9)


def test_soft_maximum_closed_form() -> None:
    assert soft_max_s(np.array(3.0), np.array(4.0), 2.0) == pytest.approx(5.0)
    assert soft_max_s(np.array(1.0), np.array(1.0), 4.0) == pytest.approx(2**0.25)
    assert soft_max_s(np.array(1.0), np.array(1.0), 3.0) == pytest.approx(2 ** (1 / 3))
    assert soft_max_s(np.array(0.0), np.array(0.0), 3.0) == pytest.approx(0.0)


def test_cached_bytes_take_their_share() -> None:
    work = KernelWork(np.array(0.0), np.array(4e9))
    rate = KernelRate(compute_ratio=1.0, memory_ratio=1.0, launch_s=0.0, cache_ratio=0.25)
    assert memory_s(work, rate, BANDWIDTH, 0.0) == pytest.approx(1e-3)
    assert memory_s(work, rate, BANDWIDTH, 1.0) == pytest.approx(0.25e-3)
    assert cached_share_ratio(np.array(50e6), 50e6) == pytest.approx(0.5)


def test_passes_overlap_with_nothing() -> None:
    alone = KernelWork(np.array(1e12), np.array(0.0))
    passed = KernelWork(np.array(1e12), np.array(0.0), pass_byte=np.array(4e9))
    rate = KernelRate(compute_ratio=1.0, memory_ratio=1.0, launch_s=0.0, pass_ratio=0.5)
    gap = busy_s(passed, rate, PEAK, BANDWIDTH) - busy_s(alone, rate, PEAK, BANDWIDTH)
    assert gap == pytest.approx(4e9 / (0.5 * BANDWIDTH))


def test_energy_adds_up() -> None:
    energy = KernelEnergy(100.0, 50.0, 1e-12, 1e-10, cache_ratio=0.5)
    work = KernelWork(np.array(1e12), np.array(1e10), pass_byte=np.array(1e10))
    assert dynamic_j(work, energy, 0.02) == pytest.approx(50 * 0.02 + 1.0 + 2.0)
    assert dynamic_j(work, energy, 0.02, 1.0) == pytest.approx(50 * 0.02 + 1.0 + 1.5)
    assert power_w(4.0, 0.02, 100.0) == pytest.approx(300.0)
    assert power_w(4.0, 0.02, 100.0, 250.0) == pytest.approx(250.0)


def test_twice_the_power_for_twice_the_peak_costs_the_same_a_flop() -> None:
    energy = rescaled(KernelEnergy(100.0, 50.0, 1e-12, 1e-10, 0.3, 0.3), 2.0, 2.0, 0.4)
    assert (energy.static_w, energy.active_w) == (200.0, 100.0)
    assert energy.energy_j_flop == pytest.approx(1e-12)
    assert energy.spread_ratio == pytest.approx(0.5)


@given(st.integers(1, 60), st.integers(0, 60), st.integers(1, 80))
def test_attended_pairs_is_the_sum(new: int, past: int, window: int) -> None:
    assert attended_pairs(new, past, window) == pytest.approx(sum(min(past + i, window) for i in range(1, new + 1)))
    assert attended_pairs(new, past, 0) == pytest.approx(sum(past + i for i in range(1, new + 1)))


def test_windows_cost_a_block_more() -> None:
    assert list(windowed_context([100, 200, 5000, 5000], [128, 128, 128, 0])) == [100, 200, 256, 5000]


@given(st.integers(1, 4000), st.sampled_from([(8, 2), (128, 8), (256, 8)]))
def test_experts_touched_against_the_closed_form(tokens: int, shape: tuple[int, int]) -> None:
    experts, k = shape
    even = float(experts_touched(tokens, experts, k))
    assert even == pytest.approx(experts * (1 - (1 - k / experts) ** tokens))
    skewed = float(experts_touched(tokens, experts, k, 1.0))
    assert min(k, experts) * (1 - 1e-9) <= skewed <= min(experts, tokens * k) * (1 + 1e-9)


def test_experts_touched_against_a_draw() -> None:
    rng = np.random.default_rng(0)
    draws = [len(np.unique([rng.choice(64, 4, replace=False) for _ in range(20)])) for _ in range(400)]
    assert experts_touched(20, 64, 4) == pytest.approx(np.mean(draws), rel=0.02)


def test_experts_by_hand() -> None:
    work = moe(choices=10.0, touched=5.0, hidden=8.0, inner=4.0, weight_byte=2.0, slots=20.0)
    assert work.flop == 2 * 3 * 10 * 8 * 4
    assert work.byte == 3 * 5 * 8 * 4 * 2 + 2 * 10 * 8
    assert work.pass_byte == 20 * (4 * 3 * 4 + 4 * 8)
    assert work.compute_measures[0] == 2.0


def test_attention_by_hand() -> None:
    decode = decode_attention(2, 100, 8, 2, 64, 2.0)
    assert decode.flop == 2 * 2 * 2 * 100 * 8 * 64
    assert decode.byte == 2 * 2 * 100 * 2 * 64 * 2 + 4 * 2 * 8 * 64
    prefill = prefill_attention(2, 10, attended_pairs(10), 8, 2, 64)
    assert prefill.flop == 4 * 2 * 55 * 8 * 64


def test_latent_attention_intensity_is_twice_its_heads() -> None:
    work = latent_decode(64, 1e6, 128, 1.0)
    assert work.flop / work.byte == pytest.approx(2 * 128 * (2 * 512 + 64) / 576, rel=1e-3)


def test_sparse_attention_stops_growing_but_for_its_index() -> None:
    short, long = (sparse_attention(1, s, 128, 2.0) for s in (1e4, 1e5))
    assert long.flop - short.flop == pytest.approx(9e4 * 2 * 64 * 128)
    assert long.byte - short.byte == pytest.approx(9e4 * 132)


def test_linear_attention_moves_its_state_twice() -> None:
    assert linear_decode(3, 32, 128, 128).byte == 2 * 3 * 32 * 128 * 128 * 4
