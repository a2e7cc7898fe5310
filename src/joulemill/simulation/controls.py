"""What is set from outside while the simulation runs: caps, clocks, admission, replicas. Pure values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from joulemill.arrays import Array
from joulemill.errors import InputError
from joulemill.simulation.columns import Whole, put, real, whole

#: In ``max_running_req`` and ``replicas_active``: as the deployment has it.
UNSET = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class Controls:
    """Settings that hold from ``at_ns`` until the next; the first entry is at 0. Engines honour them between steps.

    power_cap_w       of a device; NaN: the deployment's own
    clock_ratio       core clock over the highest
    admission_ratio   share of arrivals that are let in; the rest is refused
    max_running_req   most requests that run at once in a replica; −1: the engine's own limit
    replicas_active   replicas that are to serve; −1: all. The rest drains, then rests as the policy of the fleet says
    """

    at_ns: Whole
    power_cap_w: Array
    clock_ratio: Array
    admission_ratio: Array
    max_running_req: Whole
    replicas_active: Whole

    def __post_init__(self) -> None:
        at = whole(self.at_ns, "at_ns", least=0)
        n = at.size
        if n == 0 or at[0] != 0 or np.any(at[1:] <= at[:-1]):
            raise InputError("at_ns: settings must start at 0 and follow each other")
        cap = real(self.power_cap_w, "power_cap_w", n)
        if np.any(cap <= 0.0):
            raise InputError("power_cap_w: a cap must be above 0 W; NaN is none")
        ratios = {m: real(getattr(self, m), m, n, 0.0) for m in ("clock_ratio", "admission_ratio")}
        for name, column in ratios.items():
            if column.max() > 1.0:
                raise InputError(f"{name}: {column.max()} is above 1")
        if ratios["clock_ratio"].min() <= 0.0:
            raise InputError("clock_ratio: a clock must be above 0")
        limits = {m: whole(getattr(self, m), m, n, UNSET) for m in ("max_running_req", "replicas_active")}
        put(self, at_ns=at, power_cap_w=cap, **ratios, **limits)


def uncontrolled() -> Controls:
    """Nothing is set: the deployment runs as it is."""
    one = np.ones(1)
    unset = np.array([UNSET])
    return Controls(
        at_ns=np.zeros(1, dtype=np.int64),
        power_cap_w=one * np.nan,
        clock_ratio=one,
        admission_ratio=one,
        max_running_req=unset,
        replicas_active=unset,
    )
