"""A cap conserves: whatever the limit, floor, bytes and arithmetic at the clock it allows are paid for."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from joulemill.catalog.serving import rates
from joulemill.decisions.levers.case import Settings
from joulemill.physics.serving.continuous_batching import steady
from joulemill.physics.serving.power import LEAST_CLOCK
from joulemill.prediction.levers import levers_answer
from joulemill.prediction.predict import answer
from joulemill.prediction.question import PredictionRequest
from tests.physics.laws.deployments import sample
from tests.physics.laws.energies import arithmetic_j, floor_w, kernels_w, least_j

RATES = rates("vllm")


def test_energy_at_any_cap_pays_for_floor_bytes_and_arithmetic() -> None:
    at = sample(1)
    t, p = at.table, RATES.power
    floor = floor_w(t, p)
    cap = at.random.uniform(1.02 * floor / p.ceiling_ratio, np.maximum(t.tdp_w, 1.1 * floor))
    free, held = (steady(t, RATES, replace(at.demand, limit_w=w)) for w in (np.full(cap.size, np.inf), cap))
    bound = held.slowdown_ratio > 1.0 + 1e-9
    assert np.mean(bound) > 0.3
    energy = held.power_w * held.step_s
    assert np.all(energy >= least_j(t, p, held) * (1 - 1e-9))
    assert np.all(held.power_w <= cap * p.ceiling_ratio * (1 + 1e-6))
    assert np.allclose(held.power_w[bound], (cap * p.ceiling_ratio)[bound], rtol=1e-5)
    assert np.all(held.rate_tok_s <= free.rate_tok_s * (1 + 1e-9))
    assert np.all((held.clock_ratio >= LEAST_CLOCK) & (held.clock_ratio <= 1.0))
    assert np.all(~bound | (held.clock_ratio < 1.0))
    # Arithmetic is all that a cap can save, and time costs floor.
    saved = free.power_w * free.step_s - energy
    operations = arithmetic_j(t, p, free.decode) + arithmetic_j(t, p, free.mixed)
    assert np.all(saved <= operations + kernels_w(t, p) * free.step_s * (1 + 1e-9))


def test_a_lower_cap_never_has_a_higher_rate_or_clock() -> None:
    at = sample(2, 2000)
    share = np.linspace(0.35, 1.0, 6)
    found = [steady(at.table, RATES, replace(at.demand, limit_w=at.table.tdp_w * s)) for s in share]
    for low, high in pairwise(found):
        assert np.all(low.rate_tok_s <= high.rate_tok_s * (1 + 1e-9))
        assert np.all(low.clock_ratio <= high.clock_ratio + 1e-7)


def test_a_clock_that_a_cap_settles_at_takes_as_long_when_it_is_locked() -> None:
    """A cap solves for the clock in closed form; a lock computes every part again at that clock."""
    question = PredictionRequest(
        model="Qwen/Qwen3-32B", device="h100", devices=2, input_tokens=2048.0, output_tokens=256.0
    )
    for batch, cap in ((1.0, 400.0), (32.0, 550.0), (128.0, 450.0), (256.0, 600.0)):
        capped = answer(replace(question, concurrency=batch, power_cap_w=cap)).prediction
        locked = answer(replace(question, concurrency=batch, clock_ratio=capped.clock_ratio)).prediction
        assert capped.clock_ratio < 1.0
        if capped.clock_ratio > LEAST_CLOCK * 1.01:
            assert locked.rate_tok_s.value == pytest.approx(capped.rate_tok_s.value, rel=0.05)
            assert locked.device_j_tok.value == pytest.approx(capped.device_j_tok.value, rel=0.05)


def test_70b_at_batch_1_pays_for_its_bytes_under_any_cap() -> None:
    """Its bytes and the floor alone need more than 500 W a board: a cap of 250 W costs time, and hides no joules."""
    question = PredictionRequest(model="meta-llama/Llama-3.1-70B-Instruct", device="h200", devices=2, concurrency=1.0)
    free = answer(question).prediction
    held = answer(replace(question, power_cap_w=250.0)).prediction
    assert held.device_j_tok.value is not None and free.device_j_tok.value is not None
    assert held.device_j_tok.value >= 0.9 * free.device_j_tok.value
    assert held.rate_tok_s.value is not None and free.rate_tok_s.value is not None
    assert held.rate_tok_s.value < 0.5 * free.rate_tok_s.value


@pytest.mark.parametrize("batch", [1.0, 4.0, 16.0])
def test_a_clock_lock_ranks_above_a_cap_for_decode(batch: float) -> None:
    """Measured: a locked clock dominates a cap for decode, which draws by its bytes (arXiv:2605.11999). A cap that
    binds is a lock at the clock that it settles at: where that is the lever's own, the two save the same."""
    question = PredictionRequest(
        model="meta-llama/Llama-3.1-70B-Instruct", device="h200", devices=2, concurrency=batch, input_tokens=16.0
    )
    effects = levers_answer(question, {}, Settings(), frozenset(), together=False).study.effects
    change = {e.lever.name: e.energy_change for e in effects}
    rate = {e.lever.name: e.rate_change for e in effects}
    lock, cap = change["clock-lock"], change["power-cap"]
    assert lock is not None and cap is not None and lock.value is not None and cap.value is not None
    assert lock.value < 0.0 and lock.value < cap.value + 0.005
    slower, held = rate["clock-lock"], rate["power-cap"]
    assert slower is not None and held is not None and slower.value is not None and held.value is not None
    assert slower.value > -0.02 and slower.value >= held.value - 0.001
