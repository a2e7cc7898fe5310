"""How long a large plan takes: build, solve, memory, and how these grow.

    python benchmarks/plan_scale.py            # growth of fractional and of whole plans, some minutes on two cores
    python benchmarks/plan_scale.py --sites 5  # one size; with --whole in whole replicas

A fleet of ``sites`` sites with two pools each, a class of demand a model, and 2,000 operating points a site: every pool
may run every model at 25 points, five of each of five deployments. They lie on a curve of devices against watts per
token, with 2 % of noise, so that several of each 25 stay after pruning. The goal is the least energy for demands that
take about half of what the fleet can do.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import dataclass, replace

import numpy as np

from joulemill.fleet.highs import HighsSolver
from joulemill.planning.building import fleet_program
from joulemill.planning.problem import DemandClass, DevicePool, FacilityLimits, FleetProblem, OperatingPoints
from joulemill.planning.pruning import efficient
from joulemill.planning.solving import Goal, optimize

DEPLOYMENTS, POINTS = 5, 5


@dataclass(frozen=True, kw_only=True)
class Size:
    """What a fleet is made of."""

    sites: int = 20
    hours: int = 24
    models: int = 40
    whole: bool = False

    @property
    def columns(self) -> int:
        """Operating points a site."""
        return 2 * self.models * DEPLOYMENTS * POINTS


def drawn(size: Size, seed: int = 0) -> FleetProblem:
    """A fleet of a size."""
    rng = np.random.default_rng(seed)
    pools, hours = 2 * size.sites, np.arange(size.hours)
    shape = (pools, size.models, DEPLOYMENTS, POINTS)
    index = np.indices(shape).reshape(4, -1)
    devices = np.array([1.0, 1.0, 2.0, 4.0, 8.0])[index[2]]
    load = (index[2] * POINTS + index[3] + 1.0) / (DEPLOYMENTS * POINTS)
    best = rng.lognormal(np.log(2000.0), 0.3, shape[:2])[index[0], index[1]]  # tok/s of a device at full power
    rate = devices * best * load**0.5 * rng.uniform(0.98, 1.02, load.size)
    watts = devices * (250.0 + 850.0 * load) * rng.uniform(0.98, 1.02, load.size)
    group = (index[0] * size.models + index[1]) * DEPLOYMENTS + index[2]
    groups = pools * size.models * DEPLOYMENTS
    nothing = np.zeros(rate.size)
    points = OperatingPoints(
        pool=index[0],
        demand=index[1],
        group=group,
        device_count=devices,
        rate_tok_s=rate,
        power_w=watts,
        ttft_s=nothing,
        tpot_s=nothing,
        concurrency=load,
        rate_low_tok_s=rate,
        power_high_w=watts,
        ttft_high_s=nothing,
        tpot_high_s=nothing,
        start_j=np.zeros(groups),
        start_s=np.zeros(groups),
    )
    day = 1.0 + 0.4 * np.sin((hours - 9.0) * 2.0 * np.pi / 24.0)
    total = 2000.0 * 4000.0 * size.sites  # tok/s of half of all devices
    return FleetProblem(
        sites=[
            FacilityLimits(
                name=f"site-{s}",
                it_limit_w=8e6 * rng.uniform(0.8, 1.2),
                cooling_limit_w=9e6,
                feed_limit_w=12e6,
                facility_lines=((1.15, 2e5), (1.25, 0.0)),
                shape_ratio=np.ones(size.hours),
                carbon_gco2e_j=rng.uniform(1e-5, 2e-4, size.hours),
                price_currency_j=rng.uniform(1e-8, 8e-8, size.hours),
            )
            for s in range(size.sites)
        ],
        pools=[
            DevicePool(name=f"pool-{p}", site=p // 2, owned_count=4000, idle_states=(("bare", 150.0), ("off", 0.0)))
            for p in range(pools)
        ],
        demands=[
            DemandClass(
                name=f"model-{m}",
                rate_tok_s=total / size.models * rng.uniform(0.7, 1.3) * np.roll(day, m % 24),
                shift_ratio=0.2 if m % 4 == 0 else 0.0,
                home=m % size.sites,
                move_ratio=0.5,
            )
            for m in range(size.models)
        ],
        points=points,
        hour_s=np.full(size.hours, 3600.0),
        whole=size.whole,
        serve_all=True,
    )


def measured(size: Size, *, prune: bool, method: str, gap: float) -> dict[str, float | str]:
    """CPU seconds of building and solving, and the program's size."""
    problem = drawn(size)
    began = time.process_time()
    if prune:
        keep = efficient(problem.points, problem.pools, whole=size.whole)
        problem = replace(problem, points=problem.points.taken(keep))
    fleet = fleet_program(problem)
    built = time.process_time()
    optimum = optimize(fleet, [Goal({"energy": 1.0})], HighsSolver(method=method, gap_ratio=gap))
    solved = time.process_time()
    return {
        "columns": size.columns,
        "points": problem.points.count,
        "variables": fleet.program.low.size,
        "rows": fleet.program.row_low.size,
        "build_s": built - began,
        "solve_s": solved - built,
        "memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "status": optimum.status,
        "value_mw": optimum.values.get("energy", float("nan")) / 1e6,
        "gap": optimum.plan.gap_ratio,
    }


#: (sites, models) of the tables.
FRACTIONAL = ((1, 40), (2, 40), (5, 40), (10, 40), (20, 40))
WHOLE = ((1, 10), (1, 20), (2, 10), (2, 20))
COLUMNS = (
    "sites",
    "hours",
    "models",
    "columns",
    "variables",
    "rows",
    "build_s",
    "solve_s",
    "memory_gb",
    "gap",
    "status",
)


def row_of(size: Size, figures: dict[str, float | str]) -> str:
    """A line of the table; seconds are of the processor."""
    shown = {"sites": size.sites, "hours": size.hours, "models": size.models, **figures}
    cells = [
        f"{v:,.3g}" if isinstance(v, float) else f"{v:,}" if isinstance(v, int) else v for v in map(shown.get, COLUMNS)
    ]
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Print a table of each kind, or of one size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--models", type=int, default=40)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--all-points", action="store_true", help="without pruning")
    parser.add_argument("--method", default="choose", help="simplex, ipm, or HiGHS's choice")
    parser.add_argument("--gap", type=float, default=0.01, help="of whole numbers")
    args = parser.parse_args()
    if args.sites:
        sizes = [Size(sites=args.sites, hours=args.hours, models=args.models, whole=args.whole)]
    else:
        kinds = ((False, FRACTIONAL), (True, WHOLE))
        sizes = [Size(sites=s, models=m, hours=args.hours, whole=w) for w, kind in kinds for s, m in kind]
    for before, size in zip([None, *sizes], sizes, strict=False):
        if before is None or before.whole != size.whole:
            print(f"\n{'whole replicas' if size.whole else 'fractional replicas'}\n\n| {' | '.join(COLUMNS)} |")
            print(f"|{'--:|' * len(COLUMNS)}", flush=True)
        figures = measured(size, prune=not args.all_points, method=args.method, gap=args.gap)
        print(row_of(size, figures), flush=True)


if __name__ == "__main__":
    main()
