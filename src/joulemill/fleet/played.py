"""A plan as played in simulation: its points and sites, planned against simulated, and whether it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: Share of the planned tokens below which a point has fallen behind: what is still in flight at the end is less.
LEAST_RATIO = 0.97
#: Share by which a site's peak may pass its limit: below what a meter tells (assumed).
PEAK_ROOM_RATIO = 0.005


@dataclass(frozen=True, kw_only=True)
class PlayedPoint:
    """One point of the plan. Latencies are at the class's ``percentile``; None: not defined, or no target.

    backlog       requests were waiting all the time (``concurrency_req`` in flight); else they came at random
    planned_…, played_…   of one replica: tokens a second, and mean power of its nodes; ``peak_power_w``: of a second
    replicas_count   of the plan;  copies_count   of them that were played
    """

    site: str
    pool: str
    model: str
    deployment: str
    demand: str
    concurrency_req: float
    backlog: bool
    replicas_count: float
    copies_count: int
    requests_count: int
    planned_tok_s: float
    played_tok_s: float
    percentile: float
    ttft_s: float | None
    ttft_limit_s: float | None
    tpot_s: float | None
    tpot_limit_s: float | None
    planned_power_w: float
    played_power_w: float | None
    peak_power_w: float | None

    @property
    def misses(self) -> tuple[float, ...]:
        """By which factors targets and tokens are missed, below 1 each; empty where it holds."""
        shares = [self.played_tok_s / self.planned_tok_s / LEAST_RATIO]
        for limit_s, value_s in ((self.ttft_limit_s, self.ttft_s), (self.tpot_limit_s, self.tpot_s)):
            shares += [] if limit_s is None or value_s is None else [limit_s / value_s]
        return tuple(s for s in shares if s < 1.0)

    @property
    def holds(self) -> bool:
        """Whether it serves what is planned, in time."""
        return not self.misses


@dataclass(frozen=True, kw_only=True)
class PlayedSite:
    """A site in its fullest hour: IT power planned, played (mean), and its peak; and the limit (None: not stated).

    ``peak_power_w``: a second in some 700 is above it, where replicas vary independently of one another.
    """

    site: str
    hour: int
    planned_power_w: float
    played_power_w: float
    peak_power_w: float
    limit_w: float | None

    @property
    def holds(self) -> bool:
        """Whether the limit carries the peak."""
        return self.limit_w is None or self.peak_power_w <= self.limit_w * (1.0 + PEAK_ROOM_RATIO)


@dataclass(frozen=True, kw_only=True)
class PlayedPlan:
    """The last plan that was played, and the objective before and after each round of corrections (None: no plan)."""

    points: Sequence[PlayedPoint]
    sites: Sequence[PlayedSite]
    values: tuple[float | None, ...]

    @property
    def holds(self) -> bool:
        """Whether every point and every site of the plan holds."""
        return self.values[-1] is not None and all(p.holds for p in self.points) and all(s.holds for s in self.sites)

    @property
    def planned_tok_s(self) -> float:
        """Of all that was played, with the replicas of the plan."""
        return sum(p.replicas_count * p.planned_tok_s for p in self.points)

    @property
    def played_tok_s(self) -> float:
        """The same as played."""
        return sum(p.replicas_count * p.played_tok_s for p in self.points)
