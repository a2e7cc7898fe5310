"""What a plan loses where the prediction or the demand turns out worse, and the plan that would not. Pure.

The nominal plan's replicas and purchases are held; how they are run may change. What is not served then is lost. The
worst case has every rate at the low and every power and latency at the high end of its interval, and more demand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from joulemill.planning.building import fleet_program
from joulemill.planning.problem import FleetProblem
from joulemill.planning.program import Solver
from joulemill.planning.readout import PlanUse, plan_use
from joulemill.planning.solving import Goal, optimize

#: Worth of a token of a class that states a rate over one of a class that takes all there is: first the former.
PREFERRED_RATIO = 1e4
#: Share by which replicas may exceed the nominal plan's, for the solver's rounding.
ROUNDING_RATIO = 1e-9


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A worse case: demand times ``demand_ratio``; ``at_worst``: the prediction at the end of its interval."""

    name: str
    demand_ratio: float = 1.0
    at_worst: bool = False


@dataclass(frozen=True, kw_only=True)
class ScenarioLoss:
    """What the nominal plan serves in a scenario. None where it cannot be run at all.

    asked_tok_s   of the classes that state a rate;  asked_served_tok_s  what these are served, before all others
    served_tok_s  of all classes, those of unlimited rate too
    """

    scenario: Scenario
    asked_tok_s: float
    asked_served_tok_s: float | None
    served_tok_s: float | None

    @property
    def lost_ratio(self) -> float | None:
        """Share of the stated demand that is not served."""
        if self.asked_served_tok_s is None:
            return None
        return max(0.0, 1.0 - self.asked_served_tok_s / self.asked_tok_s) if self.asked_tok_s else 0.0


SCENARIOS = (
    Scenario(name="as predicted"),
    Scenario(name="prediction at its worst", at_worst=True),
    Scenario(name="1.3 × demand", demand_ratio=1.3),
    Scenario(name="1.5 × demand", demand_ratio=1.5),
    Scenario(name="1.5 × demand, prediction at its worst", demand_ratio=1.5, at_worst=True),
)


def in_scenario(problem: FleetProblem, scenario: Scenario) -> FleetProblem:
    """The problem as it is in a scenario."""
    demands = [replace(d, rate_tok_s=d.rate_tok_s * scenario.demand_ratio) for d in problem.demands]
    points = problem.points.at_worst() if scenario.at_worst else problem.points
    return replace(problem, demands=demands, points=points)


def losses(
    problem: FleetProblem, plan: PlanUse, solver: Solver, scenarios: Sequence[Scenario] = SCENARIOS
) -> Sequence[ScenarioLoss]:
    """What ``plan`` of ``problem`` serves in each scenario."""
    most = plan.replica_count * (1.0 + ROUNDING_RATIO) + ROUNDING_RATIO
    held = replace(
        problem,
        most_replicas=most,
        whole=False,
        serve_all=False,
        start_count=None,
        demands=[replace(d, least_ratio=0.0) for d in problem.demands],
        bought_count=np.array([p.bought_count for p in plan.pools]),
    )
    return [_loss(in_scenario(held, s), s, solver) for s in scenarios]


def _loss(problem: FleetProblem, scenario: Scenario, solver: Solver) -> ScenarioLoss:
    stated = [bool(np.isfinite(d.rate_tok_s).all()) for d in problem.demands]
    worths = [PREFERRED_RATIO if known else 1.0 for known in stated]
    demands = [replace(d, weight_ratio=worth) for d, worth in zip(problem.demands, worths, strict=True)]
    program = fleet_program(replace(problem, demands=demands))
    optimum = optimize(program, [Goal({"tokens": 1.0})], solver)
    share = problem.hour_s / problem.span_s
    asked = sum(float((d.rate_tok_s * share).sum()) for d, known in zip(demands, stated, strict=True) if known)
    if not optimum.values:
        return ScenarioLoss(scenario=scenario, asked_tok_s=asked, asked_served_tok_s=None, served_tok_s=None)
    use = plan_use(program, optimum.plan)
    of_stated = [float((c.served_tok_s * share).sum()) for c, known in zip(use.classes, stated, strict=True) if known]
    return ScenarioLoss(
        scenario=scenario, asked_tok_s=asked, asked_served_tok_s=sum(of_stated), served_tok_s=use.rate_tok_s
    )
