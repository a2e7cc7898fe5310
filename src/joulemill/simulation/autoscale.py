"""How many replicas are to serve, by what they have to do. Pure values, and their use."""

from __future__ import annotations

import math
from dataclasses import dataclass

from joulemill.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Autoscale:
    """A rule that looks every ``period_s``: as many replicas as hold what is there at ``target_req`` each.

    More serve at once, and are there when they have loaded (the time and joules of the state that they rest in); fewer
    once fewer would have done for ``patience_s``. Requests that a replica has are finished before it rests.
    """

    target_req: float
    least_count: int = 1
    period_s: float = 10.0
    patience_s: float = 300.0

    def __post_init__(self) -> None:
        if not (self.target_req > 0.0 and self.period_s > 0.0 and self.patience_s >= 0.0 and self.least_count >= 0):
            raise InputError("autoscaling needs a target above 0 req, a period above 0 s, and no negative patience")

    def wanted_count(self, load_req: int) -> int:
        """Replicas for ``load_req`` requests."""
        return max(self.least_count, math.ceil(load_req / self.target_req))


class Scaler:
    """The rule at work: remembers since when fewer would do."""

    def __init__(self, rule: Autoscale, most_count: int) -> None:
        self.rule, self.most_count = rule, most_count
        self.count = most_count
        self._fewer_s = 0.0
        self._peak = 0

    def look(self, load_req: int) -> int:
        """Replicas that are to serve from now on."""
        wanted = min(self.rule.wanted_count(load_req), self.most_count)
        if wanted >= self.count:
            self.count, self._fewer_s, self._peak = wanted, 0.0, 0
            return self.count
        self._fewer_s += self.rule.period_s
        self._peak = max(self._peak, wanted)
        if self._fewer_s > self.rule.patience_s:
            self.count, self._fewer_s, self._peak = self._peak, 0.0, 0
        return self.count
