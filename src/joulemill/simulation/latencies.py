"""Latencies of simulated requests, what met its targets, and whether the means of a queue can be trusted. Pure.

TTFT counts from the request's arrival; TPOT = (last − first token) ÷ (tokens − 1), of requests with two tokens or more.
Means over requests near saturation settle slowly: waits are correlated over a busy period, which grows with 1/(1 − ρ)².
So the interval of a mean is taken from means of batches of neighboring requests, not from single ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from joulemill.arrays import Array
from joulemill.simulation.columns import Flags, Whole
from joulemill.simulation.outcomes import Outcomes
from joulemill.simulation.traffic import NS_IN_S, Traffic
from joulemill.wording import percent

#: Batches of neighboring requests for the interval of a mean, and Student's t of 95 % for one less of them.
BATCHES, T_95 = 20, 2.093
#: A mean whose 95 % interval is wider than this, or a backlog of more than this share at the end, is not stable.
UNSTABLE_RATIO, BACKLOG_RATIO = 0.25, 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulatedLatency:
    """One latency over requests: mean, percentiles, and of how many; NaN where there are none.

    mean_half_s   half-width of the mean's 95 % interval from batches; NaN with fewer than two requests a batch
    """

    mean_s: float
    p50_s: float
    p90_s: float
    p99_s: float
    requests: int
    mean_half_s: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Latencies:
    """TTFT, TPOT, end to end and wait for admission by request [s]; NaN where it never came to that."""

    ttft_s: Array
    tpot_s: Array
    e2e_s: Array
    queue_s: Array


def latencies(outcomes: Outcomes) -> Latencies:
    """Latencies of all requests."""
    first, finish = outcomes.first_token_ns >= 0, outcomes.finish_ns >= 0
    several = finish & first & (outcomes.generated_tok > 1)
    return Latencies(
        ttft_s=_between(outcomes.arrival_ns, outcomes.first_token_ns, first),
        tpot_s=_between(outcomes.first_token_ns, outcomes.finish_ns, several)
        / np.maximum(outcomes.generated_tok - 1, 1),
        e2e_s=_between(outcomes.arrival_ns, outcomes.finish_ns, finish),
        queue_s=_between(outcomes.arrival_ns, outcomes.admitted_ns, outcomes.admitted_ns >= 0),
    )


def _between(start_ns: Whole, end_ns: Whole, known: Flags) -> Array:
    return np.where(known, (end_ns - start_ns) / NS_IN_S, np.nan)


def summary(values_s: Array) -> SimulatedLatency:
    """Summary of ``values_s``, in the order of arrival; NaN left out."""
    known = values_s[~np.isnan(values_s)]
    if not len(known):
        return SimulatedLatency(
            mean_s=math.nan, p50_s=math.nan, p90_s=math.nan, p99_s=math.nan, requests=0, mean_half_s=math.nan
        )
    p50, p90, p99 = (float(q) for q in np.quantile(known, (0.5, 0.9, 0.99)))
    return SimulatedLatency(
        mean_s=float(known.mean()),
        p50_s=p50,
        p90_s=p90,
        p99_s=p99,
        requests=len(known),
        mean_half_s=_half_width_s(known),
    )


def _half_width_s(values: Array) -> float:
    each = len(values) // BATCHES
    if each < 2:
        return math.nan
    means = values[: each * BATCHES].reshape(BATCHES, each).mean(axis=1)
    return float(T_95 * means.std(ddof=1) / math.sqrt(BATCHES))


def good(lat: Latencies, ttft_limit_s: float | None, tpot_limit_s: float | None) -> Flags:
    """Requests that completed and met the stated targets; one without a TPOT meets it."""
    met = ~np.isnan(lat.e2e_s)
    if ttft_limit_s is not None:
        met &= lat.ttft_s <= ttft_limit_s
    if tpot_limit_s is not None:
        met &= ~(lat.tpot_s > tpot_limit_s)
    return np.asarray(met)


def doubts_of_queue(traffic: Traffic, outcomes: Outcomes, lat: Latencies) -> tuple[str, ...]:
    """Why means of this run should not be trusted as those of a long one; empty where nothing speaks against it."""
    doubts = []
    came = outcomes.arrival_ns >= 0
    if not came.any():
        return ()
    last_ns = outcomes.arrival_ns[came].max()
    open_at_end = came & ~outcomes.rejected & ((outcomes.first_token_ns < 0) | (outcomes.first_token_ns > last_ns))
    backlog = np.count_nonzero(open_at_end & (outcomes.arrival_ns < last_ns)) / traffic.requests_count
    if backlog > BACKLOG_RATIO and traffic.requests_count >= BATCHES:
        doubts.append(
            f"when the last request came, {percent(backlog)} of all had no token yet: the load exceeds what is served, "
            "and waits grow with the length of the run"
        )
    ttft = summary(lat.ttft_s)
    if ttft.mean_half_s > UNSTABLE_RATIO * ttft.mean_s:
        doubts.append(
            f"the mean TTFT is known to ± {percent(ttft.mean_half_s / ttft.mean_s)} only: they differ much, and those "
            "of requests that come together move together; simulate a longer time"
        )
    return tuple(doubts)
