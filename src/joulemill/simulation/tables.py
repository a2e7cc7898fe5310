"""A simulated run as a table of its requests. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulemill.simulation.columns import Whole
from joulemill.simulation.run import PlayedTraffic
from joulemill.simulation.traffic import NS_IN_S


def request_columns(run: PlayedTraffic) -> dict[str, NDArray[Any]]:
    """One row a request, by name; NaN and −1 are what never came about."""
    t, o, lat = run.traffic, run.outcomes, run.latencies
    n = t.requests_count

    def seconds(at_ns: Whole) -> NDArray[np.float64]:
        return np.where(at_ns >= 0, at_ns / NS_IN_S, np.nan)

    return {
        "request": np.arange(n),
        "session": np.full(n, -1) if t.session is None else t.session,
        "arrival_s": seconds(o.arrival_ns),
        "admitted_s": seconds(o.admitted_ns),
        "first_token_s": seconds(o.first_token_ns),
        "finish_s": seconds(o.finish_ns),
        "input_tok": t.input_tok,
        "cached_tok": o.cached_tok,
        "output_tok": o.generated_tok,
        "ttft_s": lat.ttft_s,
        "tpot_s": lat.tpot_s,
        "e2e_s": lat.e2e_s,
        "replica": o.replica,
        "preemptions": o.preemptions_count,
        "rejected": o.rejected,
        "active_device_j": o.energy_j,
    }
