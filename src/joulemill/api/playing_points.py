"""One operating point of a plan played through ``joulemill.simulate``: tokens, latencies at a percentile, and watts.

A class that takes all there is, or that states no latency target, has a backlog: as many requests as the point counts
on are kept in flight. Requests of any other class come at random, at the rate that the plan counts on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from joulemill.api.simulation import SimulatedDeployment, simulate
from joulemill.arrays import Array
from joulemill.fleet.study import PlanStudy
from joulemill.fleet.tables import DemandTable
from joulemill.importers.asked_traffic import lengths_of
from joulemill.simulation.closed_loop import closed_loop

#: Requests played of a point, at least and at most: a 99th percentile of the former has 30 beyond it.
LEAST_REQUESTS, MOST_REQUESTS = 3000, 12_000
#: Copies of a replica that are played; requests by which each place in flight is filled anew.
MOST_COPIES, TURNS_COUNT = 2, 8
#: Share of the requests until which a run has settled.
SETTLED_RATIO = 0.25
#: Width of the stretches [s] of which a peak is one: supplies carry what is shorter (assumed).
PEAK_S = 1.0


@dataclass(frozen=True, kw_only=True)
class PointPlay:
    """What came of a point; per replica. ``spread_power_w``: standard deviation of its power by the second."""

    copies_count: int
    requests_count: int
    rate_tok_s: float
    ttft_s: float | None
    tpot_s: float | None
    power_w: float | None
    spread_power_w: float
    peak_power_w: float | None


def play_point(plan: PlanStudy, row: int, count: float) -> PointPlay:
    """Play point ``row`` of the plan's problem, of which ``count`` replicas run."""
    points = plan.problem.points
    d = int(points.demand[row])
    backlog = plan.classes[d].is_backlog
    copies = 1 if backlog else int(min(max(np.ceil(count - 1e-6), 1), MOST_COPIES))
    result = _simulated(plan, row, copies)
    requests, planned_tok_s = result.requests(), float(points.rate_tok_s[row])
    window_s = _window_s(requests, int(points.concurrency[row]) if backlog else 0)
    late = np.asarray(requests["arrival_s"], float) >= window_s[0]
    rate = _made_tok_s(requests, window_s) if backlog else planned_tok_s * served_ratio(requests)
    percentile = plan.file.tables.demand[d].percentile
    power = _power_w(result, window_s) / copies
    return PointPlay(
        copies_count=copies,
        requests_count=len(late),
        rate_tok_s=rate,
        ttft_s=_percentile(np.asarray(requests["ttft_s"], float)[late], percentile),
        tpot_s=_percentile(np.asarray(requests["tpot_s"], float)[late], percentile),
        power_w=float(power.mean()) if power.size else None,
        spread_power_w=float(power.std() * np.sqrt(copies)) if power.size else 0.0,
        peak_power_w=float(power.max()) if power.size else None,
    )


def _simulated(plan: PlanStudy, row: int, copies: int) -> SimulatedDeployment:
    points = plan.problem.points
    d, group = int(points.demand[row]), int(points.group[row])
    c, option = plan.classes[d], plan.options[group]
    concurrency = int(points.concurrency[row])
    prefix_tok = round(max(c.cached_ratio, option.cached_ratio) * c.input_tok)
    output = _lengths(plan.file.tables.demand[d], c.output_tok)
    traffic: dict[str, Any]
    if c.is_backlog:
        turns = int(min(max(TURNS_COUNT, np.ceil(LEAST_REQUESTS / concurrency)), max(MOST_REQUESTS // concurrency, 2)))
        answers, rng = lengths_of(output, "`output_tokens`"), np.random.default_rng(0)
        loop = closed_loop(concurrency, turns, round(c.input_tok), answers, rng, prefix_tok=prefix_tok)
        traffic = {"trace": loop}
    else:
        rate_req_s = copies * float(points.rate_tok_s[row]) / c.output_tok
        count = int(np.clip(TURNS_COUNT * copies * concurrency, LEAST_REQUESTS, MOST_REQUESTS))
        traffic = {"rate_req_s": rate_req_s, "requests": count, "input_tokens": c.input_tok, "output_tokens": output}
        traffic["shared_prefix_tok"] = prefix_tok or None
    return simulate(
        *plan.names_of(group),
        devices=option.devices,
        tp=option.devices,
        replicas=copies,
        precision=option.precision or None,
        kv_dtype=option.kv_dtype or None,
        engine=option.engine,
        power_cap_w=option.power_cap_w,
        max_num_seqs=c.most_in_flight(concurrency),
        scenarios=0,
        **traffic,
    )


def _lengths(demand: DemandTable, mean_tok: float) -> float | str:
    """Output lengths: lognormal where the class states their spread."""
    spread = demand.output_spread_ratio
    return f"lognormal:{mean_tok:.1f}:{spread * mean_tok:.1f}" if spread else mean_tok


def _window_s(requests: dict[str, Any], users: int) -> tuple[float, float]:
    """From when on a run has settled, until its traffic ends: of a backlog until its first user has no more to ask."""
    finish = np.asarray(requests["finish_s"], float)
    if users:
        settled = float(np.nanmax(finish[:users]))
        return settled, max(float(np.nanmin(finish[-users:])), settled + PEAK_S)
    arrival = np.asarray(requests["arrival_s"], float)
    return float(arrival[int(SETTLED_RATIO * arrival.size)]), float(arrival[-1])


def _made_tok_s(requests: dict[str, Any], window_s: tuple[float, float]) -> float:
    """Tokens made in a window over its length; those of a request lie evenly from its first token to its last."""
    first, finish = (np.asarray(requests[name], float) for name in ("first_token_s", "finish_s"))
    inside = np.clip(np.minimum(finish, window_s[1]) - np.maximum(first, window_s[0]), 0.0, None)
    share = np.where(
        finish > first, inside / np.maximum(finish - first, 1e-12), (first >= window_s[0]) & (first < window_s[1])
    )
    return float(np.nansum(share * np.asarray(requests["output_tok"], float))) / (window_s[1] - window_s[0])


def served_ratio(requests: dict[str, Any]) -> float:
    """Tokens done when the last request arrives over those asked for a request's stay before: below 1 where it lags.

    The stay is that of the first quarter of requests, before any queue has grown. Both are of the same requests, so the
    chance of their number is not in it.
    """
    arrival, finish = (np.asarray(requests[name], float) for name in ("arrival_s", "finish_s"))
    tokens = np.asarray(requests["output_tok"], float)
    first = max(int(SETTLED_RATIO * arrival.size), 1)
    stay_s = float(np.nanmedian((finish - arrival)[:first]))
    end_s = float(arrival.max())
    asked = float(tokens[arrival <= end_s - stay_s].sum())
    done = float(tokens[finish <= end_s].sum())
    return min(done / asked, 1.0) if asked else 1.0


def _power_w(result: SimulatedDeployment, window_s: tuple[float, float]) -> Array:
    """Power of all nodes by the second, within a window; empty where the node is not known."""
    power = result.run.power.coarser(PEAK_S)
    watts, edges = power.power_w("node"), power.bins.edges_s
    if watts is None:
        return np.empty(0)
    return watts[(edges[:-1] >= window_s[0]) & (edges[1:] <= window_s[1])]


def _percentile(values_s: Array, percentile: float) -> float | None:
    """None where no request has such a latency."""
    known = values_s[np.isfinite(values_s)]
    return float(np.percentile(known, percentile)) if known.size else None
