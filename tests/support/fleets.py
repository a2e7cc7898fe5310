"""Small fleets for tests of planning: stated point by point, or drawn at random so that a plan exists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from joulemill.fleet.highs import HighsSolver
from joulemill.planning.building import FleetProgram, fleet_program
from joulemill.planning.problem import DemandClass, DevicePool, FacilityLimits, FleetProblem, OperatingPoints
from joulemill.planning.solving import Goal, Optimum, optimize

TOKENS, ENERGY = Goal({"tokens": 1.0}), Goal({"energy": 1.0})


def points(rows: Sequence[Sequence[float]], *, start_j: float = 0.0, start_s: float = 0.0) -> OperatingPoints:
    """Points from rows of (pool, class, group, devices, tok/s, W); intervals are −20 % and +20 %."""
    table = np.array(rows, dtype=float).reshape(-1, 6)
    index = [table[:, k].astype(np.intp) for k in range(3)]
    groups = int(index[2].max()) + 1
    latency = np.zeros(len(table))
    return OperatingPoints(
        pool=index[0],
        demand=index[1],
        group=index[2],
        device_count=table[:, 3],
        rate_tok_s=table[:, 4],
        power_w=table[:, 5],
        ttft_s=latency,
        tpot_s=latency,
        concurrency=np.ones(len(table)),
        rate_low_tok_s=0.8 * table[:, 4],
        power_high_w=1.2 * table[:, 5],
        ttft_high_s=latency,
        tpot_high_s=latency,
        start_j=np.full(groups, start_j),
        start_s=np.full(groups, start_s),
    )


def site(name: str = "oslo", hours: int = 1, **more: Any) -> FacilityLimits:
    """A site with a price and carbon."""
    stated: dict[str, Any] = {
        "shape_ratio": np.ones(hours),
        "carbon_gco2e_j": np.full(hours, 1e-4),
        "price_currency_j": np.full(hours, 1e-8),
    }
    return FacilityLimits(name=name, **(stated | more))


def problem(rows: Sequence[Sequence[float]], hours: int = 1, **more: Any) -> FleetProblem:
    """One site and one pool of 100 devices, an unlimited class; whatever is given stands instead."""
    stated: dict[str, Any] = {
        "sites": [site(hours=hours)],
        "pools": [DevicePool(name="h100", site=0, owned_count=100)],
        "demands": [DemandClass(name="chat", rate_tok_s=np.full(hours, np.inf))],
        "hour_s": np.full(hours, 3600.0),
    }
    return FleetProblem(points=points(rows), **(stated | more))


def best(fleet: FleetProgram, goal: Goal = TOKENS, solver: Any = None) -> Optimum:
    """The best plan."""
    return optimize(fleet, [goal], solver or HighsSolver())


def drawn(seed: int, *, serve_all: bool) -> FleetProblem:
    """A random fleet that has a plan: demands are below what its devices and power allow."""
    rng = np.random.default_rng(seed)
    hours, sites, pools, classes = (int(rng.integers(1, n)) for n in (4, 3, 4, 3))
    rows = [
        (p, d, p * 3 + g, rng.integers(1, 5), rng.uniform(100, 3000), rng.uniform(500, 4000))
        for p in range(pools)
        for d in range(classes)
        for g in range(3)
    ]
    most = 20.0 * min(row[4] for row in rows)  # what 20 replicas of the slowest point make
    demand = [
        DemandClass(
            name=f"class-{d}",
            rate_tok_s=rng.uniform(0.1, 0.9, hours) * most / classes,
            shift_ratio=float(rng.choice([0.0, 0.3])),
            home=int(rng.integers(sites)) if sites > 1 else None,
            weight_ratio=float(rng.uniform(0.5, 2.0)),
        )
        for d in range(classes)
    ]
    where = [
        site(
            f"site-{s}",
            hours,
            it_limit_w=float(rng.uniform(2e5, 6e5)),
            cooling_limit_w=float(rng.uniform(2e5, 5e5)),
            feed_limit_w=float(rng.uniform(3e5, 9e5)),
            facility_lines=((1.1, 1000.0), (1.3, 0.0)),
            carbon_gco2e_j=rng.uniform(1e-5, 2e-4, hours),
            price_currency_j=rng.uniform(1e-8, 1e-7, hours),
        )
        for s in range(sites)
    ]
    stock = [
        DevicePool(
            name=f"pool-{p}",
            site=int(rng.integers(sites)),
            owned_count=float(rng.integers(100, 200)),
            purchasable_count=float(rng.integers(0, 20)),
            price_currency=1000.0,
            capital_currency_s=1e-5,
            idle_states=(("off", 0.0), ("bare", 50.0)),
        )
        for p in range(pools)
    ]
    return FleetProblem(
        sites=where,
        pools=stock,
        demands=demand,
        points=points(rows),
        hour_s=np.full(hours, 3600.0),
        serve_all=serve_all,
        budget_currency=float(rng.uniform(0, 2e4)),
    )


def program_of(seed: int, *, serve_all: bool) -> FleetProgram:
    """The program of a drawn fleet."""
    return fleet_program(drawn(seed, serve_all=serve_all))
