"""A machine's coefficients come back from runs made with known ones."""

from __future__ import annotations

import numpy as np
import pytest

from joulemill.catalog.devices import find_device
from joulemill.catalog.models import find_model
from joulemill.catalog.serving import coefficients
from joulemill.errors import InputError
from joulemill.physics.serving.calibration import fit_machine
from joulemill.physics.serving.coefficients import rates_of
from joulemill.physics.serving.continuous_batching import Demand, steady
from joulemill.physics.serving.deployment import Parallelism
from joulemill.physics.serving.shard import shard, shard_table

MODEL = find_model("Qwen/Qwen3-0.6B")


def machine(values):
    batch = np.array([1.0, 4.0, 16.0, 64.0])
    one = np.ones(4)
    table = shard_table([shard(MODEL.architecture, MODEL.precision, find_device("h100"), Parallelism())] * 4)
    demand = Demand(
        concurrency=batch,
        input_tok=one * 500,
        computed_tok=one * 500,
        output_tok=one * 300,
        spread_ratio=one * 0,
        max_batched_tok=one * 8192,
        memory_use_ratio=one * 0.9,
        limit_w=table.tdp_w,
        running=one,
        domain_evenness_ratio=one,
    )
    found = steady(table, rates_of(values), demand)
    return {"rate_tok_s": found.rate_tok_s, "power_w": found.power_w, "tpot_s": found.tpot_s}


def test_known_coefficients_come_back() -> None:
    prior = {c.name: c.value for c in coefficients("vllm")}
    true = prior | {"step": prior["step"] * 3, "memory": prior["memory"] * 0.6, "wait_power": prior["wait_power"] * 1.3}
    fit = fit_machine(prior, machine(true), machine)
    assert fit.coefficients["step"] == pytest.approx(true["step"], rel=0.15)
    assert fit.coefficients["wait_power"] == pytest.approx(true["wait_power"], rel=0.1)
    assert max(float(np.abs(e).max()) for e in fit.residuals.values()) < 0.03
    assert fit.stderr["step"] < 1.5


def test_nothing_measured_is_an_error() -> None:
    prior = {c.name: c.value for c in coefficients("vllm")}
    with pytest.raises(InputError, match="no measured"):
        fit_machine(prior, {"rate_tok_s": np.array([np.nan])}, machine)
