"""How many replicas are to serve, by what they have to do. Pure values, and their use."""

from __future__ import annotations

import math
from dataclasses import dataclass

from joulemill.errors import InputError
from joulemill.simulation.fields import parse_fields
from joulemill.units import parse_count, parse_quantity

KEYS = ("min", "max", "target", "every", "patience")
#: More replicas than a simulation on one machine takes (assumed).
MOST_REPLICAS = 100_000


@dataclass(frozen=True, kw_only=True)
class Autoscale:
    """A rule that looks every ``period_s``: as many replicas as hold what is there at ``target_req`` each.

    It begins with ``least_count``. More serve once they have loaded (the time and joules of the state that they rest
    in); fewer once fewer would have done for ``patience_s``. Requests that a replica has are finished before it rests.

    most_count   replicas that there are; None: as many as the fleet has
    """

    target_req: float
    least_count: int = 1
    most_count: int | None = None
    period_s: float = 10.0
    patience_s: float = 300.0

    def __post_init__(self) -> None:
        if not (self.target_req > 0.0 and self.period_s > 0.0 and self.patience_s >= 0.0 and self.least_count >= 0):
            raise InputError("autoscaling needs a target above 0 req, a period above 0 s, and no negative patience")
        if self.most_count is not None and self.most_count < max(self.least_count, 1):
            raise InputError(f"autoscaling: max is {self.most_count}; it must be at least min, {self.least_count}")

    def wanted_count(self, load_req: int) -> int:
        """Replicas for ``load_req`` requests."""
        return max(self.least_count, math.ceil(load_req / self.target_req))


class Scaler:
    """The rule at work: remembers since when fewer would do."""

    def __init__(self, rule: Autoscale, most_count: int) -> None:
        self.rule, self.most_count = rule, most_count
        self.count = min(rule.least_count, most_count)
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


def parse_autoscale(text: str, name: str = "--autoscale") -> Autoscale:
    """``min=1,max=8,target=16[,every=10s][,patience=5min]``: target: requests per replica, running and waiting."""
    f = parse_fields(text, KEYS, name, needed=("max", "target"))
    return Autoscale(
        least_count=parse_count(f.get("min", "1"), name=f"{name} min", least=1, most=MOST_REPLICAS),
        most_count=parse_count(f["max"], name=f"{name} max", least=1, most=MOST_REPLICAS),
        target_req=parse_quantity(f["target"], "", name=f"{name} target", above=0.0, most=1e6),
        period_s=parse_quantity(f.get("every", "10s"), "s", name=f"{name} every", above=0.0, most=86400.0),
        patience_s=parse_quantity(f.get("patience", "5min"), "s", name=f"{name} patience", least=0.0, most=86400.0),
    )
