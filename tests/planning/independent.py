"""The program of a fleet written a second time: hour by hour, dense, by nothing of the package. No shift, no starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import optimize

from joulemill.planning.problem import FleetProblem

Terms = Mapping[int, float]
Rows = list[tuple[Terms, float]]


class DenseFleet:
    """Variables by name, rows as dictionaries."""

    def __init__(self, problem: FleetProblem) -> None:
        self.problem = problem
        self.names: dict[tuple[object, ...], int] = {}
        self.upper: Rows = []
        self.equal: Rows = []
        for hour in range(problem.hour_count):
            self._sites(hour)
            self._pools(hour)
            self._classes(hour)
        prices = {self._at("bought", k): p.price_currency or 0.0 for k, p in enumerate(problem.pools)}
        self.upper.append((prices, float(problem.budget_currency or 0.0)))

    def optimum(self, goal: str) -> float:
        """The least cost, or minus the most tokens."""
        p, share = self.problem, self.problem.hour_s / self.problem.span_s
        cost = np.zeros(len(self.names))
        for key, at in self.names.items():
            if goal == "tokens" and key[0] == "served":
                cost[at] = -p.demands[key[1]].weight_ratio * share[key[2]]  # type: ignore[call-overload]
            if goal == "cost" and key[0] == "feed":
                cost[at] = p.sites[key[1]].price_currency_j[key[2]] * share[key[2]]  # type: ignore[call-overload,index]
            if goal == "cost" and key[0] == "bought":
                cost[at] = p.pools[key[1]].capital_currency_s or 0.0  # type: ignore[call-overload]
        size = float(np.abs(cost).max())
        bounds = [
            (0.0, p.pools[k[1]].purchasable_count if k[0] == "bought" else None)  # type: ignore[call-overload]
            for k in self.names
        ]
        answer = optimize.linprog(
            cost / size, *self._dense(self.upper), *self._dense(self.equal), bounds, method="highs"
        )
        assert answer.status == 0
        return size * float(answer.fun)

    def _at(self, *key: object) -> int:
        return self.names.setdefault(key, len(self.names))

    def _sites(self, hour: int) -> None:
        p = self.problem
        for s, where in enumerate(p.sites):
            at = [i for i in range(p.points.count) if p.pools[p.points.pool[i]].site == s]
            watts = {self._at("x", i, hour): float(p.points.power_w[i]) for i in at}
            for k in [k for k, pool in enumerate(p.pools) if pool.site == s]:
                watts |= {self._at("idle", k, name, hour): w for name, w in p.pools[k].idle_states}
            feed = self._at("feed", s, hour)
            self.upper += [(watts, float(where.it_limit_w or 0.0)), (watts, float(where.cooling_limit_w or 0.0))]
            for slope, base in where.facility_lines:
                self.upper.append(({v: slope * w for v, w in watts.items()} | {feed: -1.0}, -base))
            self.upper.append(({feed: 1.0}, float(where.feed_limit_w or 0.0)))

    def _pools(self, hour: int) -> None:
        points = self.problem.points
        for k, pool in enumerate(self.problem.pools):
            at = np.flatnonzero(points.pool == k).tolist()
            use = {self._at("x", i, hour): float(points.device_count[i]) for i in at}
            use |= {self._at("idle", k, name, hour): 1.0 for name, _ in pool.idle_states}
            self.equal.append((use | {self._at("bought", k): -1.0}, pool.owned_count))

    def _classes(self, hour: int) -> None:
        points = self.problem.points
        for d, demand in enumerate(self.problem.demands):
            served = self._at("served", d, hour)
            at = np.flatnonzero(points.demand == d).tolist()
            made = {self._at("x", i, hour): -float(points.rate_tok_s[i]) for i in at}
            self.upper.append((made | {served: 1.0}, 0.0))
            rows = self.equal if self.problem.serve_all else self.upper
            rows.append(({served: 1.0}, float(demand.rate_tok_s[hour])))

    def _dense(self, rows: Sequence[tuple[Terms, float]]) -> tuple[np.ndarray, np.ndarray]:
        matrix = np.zeros((len(rows), len(self.names)))
        for r, (terms, _) in enumerate(rows):
            for v, value in terms.items():
                matrix[r, v] += value
        return matrix, np.array([b for _, b in rows])
