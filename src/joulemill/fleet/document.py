"""A plan as one JSON document; also its rows, for tables and dataframes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from joulemill.arrays import Array
from joulemill.fleet.problems import goal_names
from joulemill.fleet.study import PlanStudy
from joulemill.planning.problem import WAITING
from joulemill.planning.readout import DeploymentUse

#: Goal's value → its name in the document; means over the plan's span.
VALUES = {
    "tokens": "rate_tok_s",
    "energy": "site_power_w",
    "carbon": "carbon_gco2e_s",
    "cost": "cost_currency_s",
    "devices": "devices_count",
}
#: Value → its name by token.
PER_TOKEN = {
    "energy": "site_j_tok",
    "carbon": "carbon_gco2e_tok",
    "cost": "cost_currency_tok",
    "water": "water_l_tok",
}


def plan_document(plan: PlanStudy) -> dict[str, Any]:
    """All of it, JSON types only. Unknown is null."""
    goal = plan.goals[0]
    return {
        "name": plan.file.tables.name,
        "status": plan.status,
        "basis": "modelled",
        "hours": plan.problem.hour_count,
        "objective": {"name": goal_name(plan), "value": plan.value, "unit": goal.unit},
        "means": means(plan),
        "replicas": replica_rows(plan),
        "output": _output(plan),
        "power": power_rows(plan),
        "pools": _pools(plan),
        "constraints": constraint_rows(plan),
        "latency_targets": [vars(t) for t in plan.targets],
        "shortage": [vars(s) for s in plan.shortages],
        "frontier": [vars(p) for p in plan.frontier],
        "levers": lever_rows(plan),
        "worse_cases": [
            {
                **vars(x.scenario),
                "asked_tok_s": x.asked_tok_s,
                "asked_served_tok_s": x.asked_served_tok_s,
                "served_tok_s": x.served_tok_s,
                "lost_ratio": x.lost_ratio,
            }
            for x in plan.losses
        ],
        "nominal_value": plan.robust_from,
        "notes": list(plan.notes),
    }


def goal_name(plan: PlanStudy) -> str:
    """The first goal as the file calls it."""
    objective = plan.file.tables.objective
    return "weighted" if objective.weights else goal_names(plan.file.tables)[0]


def means(plan: PlanStudy) -> dict[str, float | None]:
    """Values of all goals at the plan, and joules, carbon and cost a token; null where a site does not state it."""
    values: dict[str, float | None] = {} if plan.optimum is None else dict(plan.optimum.values)
    if not all(pue_stated(plan)):
        values = {k: v for k, v in values.items() if k not in ("energy", "carbon", "cost")}
    shown: dict[str, float | None] = {name: values.get(key) for key, name in VALUES.items()}
    rate = None if plan.use is None else plan.use.rate_tok_s
    shown["rate_tok_s"] = rate
    shown["water_l_s"] = values["water"] = _water_l_s(plan)
    for key, name in PER_TOKEN.items():
        value = values.get(key)
        shown[name] = value / rate if rate and value is not None else None
    return shown


def _water_l_s(plan: PlanStudy) -> float | None:
    """Water that the sites take, by their IT energy; None where one of them does not state it."""
    if plan.use is None or any(s.water_l_j is None for s in plan.problem.sites):
        return None
    share = plan.problem.hour_s / plan.problem.span_s
    sites = zip(plan.use.sites, plan.problem.sites, strict=True)
    return sum(float((use.it_w * share).sum()) * (stated.water_l_j or 0.0) for use, stated in sites)


def pue_stated(plan: PlanStudy) -> Sequence[bool]:
    """Of each site, whether its PUE is stated."""
    return [s.states_pue for s in plan.file.tables.site]


def replica_rows(plan: PlanStudy) -> list[dict[str, Any]]:
    """One row a deployment: ``count`` in the hour that has most, rate and power as means over the plan's span."""
    return [] if plan.use is None else [_replica(plan, d) for d in plan.use.deployments]


def _replica(plan: PlanStudy, d: DeploymentUse) -> dict[str, Any]:
    option, points = plan.options[d.group], plan.problem.points
    site = plan.problem.sites[plan.problem.pools[d.pool].site].name
    names = [c.name for c in plan.problem.demands]
    return {
        "site": site,
        "pool": option.pool,
        "model": option.model,
        "deployment": option.label,
        "count": round(d.replica_count, 9),
        "concurrency": d.concurrency,
        "power_cap_w": option.power_cap_w,
        "rate_tok_s": d.rate_tok_s,
        "power_w": d.power_w,
        "device": option.device,
        "devices_per_replica": option.devices,
        "precision": option.precision,
        "kv_dtype": option.kv_dtype or None,
        "engine": option.engine,
        "max_num_seqs": _most_in_flight(plan, d),
        "levers": list(option.levers),
        "count_by_hour": _listed(d.count_by_hour),
        "classes": {n: float(v) for n, v in zip(names, d.rate_by_class_tok_s, strict=True) if v > 0.0},
        "points": [
            {
                "class": None if points.demand[i] == WAITING else names[int(points.demand[i])],
                "concurrency": float(points.concurrency[i]),
                "count": float(n),
                "rate_tok_s": float(points.rate_tok_s[i]),
                "power_w": float(points.power_w[i]),
                "ttft_s": _known(points.ttft_s[i]),
                "tpot_s": _known(points.tpot_s[i]),
            }
            for i, n in zip(d.points.tolist(), d.point_count.tolist(), strict=True)
        ],
    }


def _most_in_flight(plan: PlanStudy, d: DeploymentUse) -> int:
    """Requests that the engine may run at once."""
    points = plan.problem.points
    serving = [i for i in d.points.tolist() if points.demand[i] != WAITING]
    most = [plan.classes[points.demand[i]].most_in_flight(float(points.concurrency[i])) for i in serving]
    return max(most, default=1)


def _output(plan: PlanStudy) -> dict[str, Any]:
    if plan.use is None:
        return {"rate_tok_s": None, "classes": []}
    share = plan.problem.hour_s / plan.problem.span_s
    return {
        "rate_tok_s": plan.use.rate_tok_s,
        "classes": [
            {
                "name": c.name,
                "served_tok_s": float((c.served_tok_s * share).sum()),
                "asked_tok_s": _known(float((c.asked_tok_s * share).sum())),
                "served_by_hour_tok_s": _listed(c.served_tok_s),
                "asked_by_hour_tok_s": _listed(c.asked_tok_s),
            }
            for c in plan.use.classes
        ],
    }


def power_rows(plan: PlanStudy) -> list[dict[str, Any]]:
    """One row a site: IT and facility power in its fullest hour, and the IT power that it may draw."""
    if plan.use is None:
        return []
    return [
        {
            "site": s.name,
            "it_w": float(s.it_w.max()),
            "facility_w": float(s.facility_w.max()) if known else None,
            "limit_w": s.limit_w,
            "it_by_hour_w": _listed(s.it_w),
            "facility_by_hour_w": _listed(s.facility_w) if known else None,
        }
        for s, known in zip(plan.use.sites, pue_stated(plan), strict=True)
    ]


def _pools(plan: PlanStudy) -> list[dict[str, Any]]:
    if plan.use is None:
        return []
    rows = []
    for pool, stated in zip(plan.use.pools, plan.problem.pools, strict=True):
        price = stated.price_currency
        rows.append(
            {
                "pool": pool.name,
                "site": plan.problem.sites[stated.site].name,
                "owned_count": pool.owned_count,
                "bought_count": pool.bought_count,
                "cost_currency": None if price is None else price * pool.bought_count,
                "busy_count": float(pool.busy_count.max()),
                "busy_by_hour_count": _listed(pool.busy_count),
                "unused": {name: _listed(count) for name, count in pool.idle_count},
            }
        )
    return rows


def constraint_rows(plan: PlanStudy) -> list[dict[str, Any]]:
    """One row a stated limit: what is left of it, and what one more unit is worth."""
    at = {p.name: plan.problem.sites[p.site].name for p in plan.problem.pools}
    sites = {s.name for s in plan.problem.sites}
    return [
        {
            "name": p.name,
            "site": p.subject if p.subject in sites else at.get(p.subject),
            "subject": p.subject,
            "value": p.value,
            "active": p.active,
            "slack": p.slack,
            "unit": p.unit,
            "shadow_price": p.shadow_price,
            "price_unit": p.price_unit,
            "valid_from": p.valid_from,
            "valid_to": p.valid_to,
            "replicas_held": p.held_whole,
        }
        for p in plan.prices
    ]


def lever_rows(plan: PlanStudy) -> list[dict[str, Any]]:
    """The levers in the order of their benefit, with what their models' tables say they cost once."""
    costs: dict[str, float] = {}
    for model in plan.file.tables.model:
        for name, cost in model.lever_cost_currency.items():
            costs[name] = costs.get(name, 0.0) + cost
    return [{**vars(s), "lever": s.lever or None, "cost_currency": costs.get(s.lever)} for s in plan.steps]


def site_hours(plan: PlanStudy) -> list[dict[str, Any]]:
    """One row a site and hour, as load series for other tools have them."""
    if plan.use is None:
        return []
    return [
        {"site": s.name, "hour": h, "it_w": float(s.it_w[h]), "facility_w": float(s.facility_w[h]) if known else None}
        for s, known in zip(plan.use.sites, pue_stated(plan), strict=True)
        for h in range(plan.problem.hour_count)
    ]


def _listed(values: Array) -> list[float | None]:
    return [_known(v) for v in np.asarray(values).tolist()]


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
