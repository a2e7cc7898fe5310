"""Kernels and serving are one model of energy: what serving spends is what its kernels do, and more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from joulemill.catalog.serving import rates
from joulemill.physics.serving.continuous_batching import steady
from joulemill.physics.serving.power import PowerRates
from tests.physics.laws.deployments import sample
from tests.physics.laws.energies import least_j

#: Tables of kernels (aiconfigurator 095f58a5), shares of rated power: H200 waits at 135 of 700 W and B200 at 251 of
#: 1,000 W; a 16-bit FLOP takes 0.49 and 0.42 pJ; in 8 bits 0.45 of it, with a scale a block 2.1 times that, in 4 bits
#: 0.45, on unpacked weights 1.8; a byte 52 pJ on B200, 60 on H200.
H200_WAIT, B200_WAIT = 135.0 / 700.0, 251.0 / 1000.0
H200_FLOP, B200_FLOP = 0.49e-12 * 989e12 / 700.0, 0.42e-12 * 2250e12 / 1000.0
BY_CLASS = (1.0, 0.45, 0.45 * 2.1, 0.45, 1.8)
BYTE_J = 52e-12


def kernels(p: PowerRates) -> PowerRates:
    """What the tables say, in the terms of the law."""
    return replace(
        p,
        wait_ratio=H200_WAIT,
        newest_wait_ratio=B200_WAIT / H200_WAIT,
        flop_ratio=tuple(H200_FLOP * ratio for ratio in BY_CLASS),
        newest_flop_ratio=B200_FLOP / H200_FLOP,
        energy_j_byte=BYTE_J,
        link_j_byte=1e-15,
    )


@pytest.mark.parametrize("engine", ["vllm", "trtllm"])
def test_serving_never_spends_less_than_its_kernels(engine: str) -> None:
    """On every device of the catalog that a deployment was drawn for, measured in serving or not."""
    used, at = rates(engine), sample(4)
    free = steady(at.table, used, replace(at.demand, limit_w=np.full(at.table.tdp_w.size, np.inf)))
    least = least_j(at.table, kernels(used.power), free)
    assert least.size >= 2000
    assert np.all(free.power_w * free.step_s >= least * (1.0 - 1e-9))
