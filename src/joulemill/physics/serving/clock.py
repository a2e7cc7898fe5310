"""A deployment under a locked core clock: peaks, bandwidth and power coefficients at that clock. Pure."""

from __future__ import annotations

from dataclasses import replace

from joulemill.physics.serving.continuous_batching import Rates
from joulemill.physics.serving.deployment import Deployment
from joulemill.physics.serving.power import MEMORY_CLOCK, voltage_squared_ratio


def at_locked_clock(deployment: Deployment, rates: Rates) -> tuple[Deployment, Rates]:
    """The same at its locked clock f, as a deployment of slower boards that are not locked.

    Peaks go as f; the memory's bandwidth stays until the core cannot ask for it all (``power.MEMORY_CLOCK``); energy
    of an operation goes as v², the draw of busy processors as f·v².
    """
    f = deployment.clock_ratio
    if f == 1.0:
        return deployment, rates
    device = deployment.device
    slower = replace(
        device,
        peak_flop_s={k: v * f for k, v in device.peak_flop_s.items()},
        memory_bandwidth_byte_s=device.memory_bandwidth_byte_s * min(f / MEMORY_CLOCK, 1.0),
    )
    p, busy = rates.power, f * float(voltage_squared_ratio(f))
    # flop_ratio counts from rated power over the peak, which fell by f: f·v² of it makes v² of a flop's energy.
    power = replace(p, busy_ratio=p.busy_ratio * busy, flop_ratio=tuple(x * busy for x in p.flop_ratio), clock_ratio=f)
    return replace(deployment, device=slower, clock_ratio=1.0), replace(rates, power=power)
