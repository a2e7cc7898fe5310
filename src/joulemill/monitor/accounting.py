"""Intervals into a target's running totals. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from joulemill.ledger.record import ServerSample
from joulemill.monitor.counters import idle_ratio, mean_s, token_increases
from joulemill.monitor.history import StoredTotals
from joulemill.monitor.snapshot import Interval, SiteFacts, TargetFacts, TargetState, TokenKind

_J_KWH = 3.6e6


def observed(target: str, before: ServerSample, after: ServerSample) -> Interval:
    """The interval between two good scrapes, without its joules.

    Its length is of the monotonic clock, so a clock step adds no time.
    """
    gauges = after.values
    return Interval(
        target,
        after.t_wall_s - (after.t_mono_s - before.t_mono_s),
        after.t_wall_s,
        observed=True,
        tokens=token_increases(before, after),
        running_count=gauges.get("running_req"),
        waiting_count=gauges.get("waiting_req"),
        kv_use_ratio=gauges.get("kv_use_ratio"),
        idle_ratio=idle_ratio(before, after),
        ttft_s=mean_s(before, after, "ttft"),
        tpot_s=mean_s(before, after, "tpot"),
    )


def gap(target: str, since_mono_s: float, sample: ServerSample) -> Interval:
    """The time since ``since_mono_s`` that no pair of scrapes covers."""
    length = max(0.0, sample.t_mono_s - since_mono_s)
    return Interval(target, sample.t_wall_s - length, sample.t_wall_s, observed=False, reason=sample.error)


@dataclass(slots=True)
class Totals:
    """Sums of a target's intervals since ``since_s``; none ever falls."""

    facts: TargetFacts
    since_s: float
    unobserved_s: float = 0.0
    latest: Interval | None = None
    tokens: dict[TokenKind, float] = field(default_factory=dict)
    energy_j: dict[tuple[str, str, str], float] = field(default_factory=dict)

    def restore(self, stored: StoredTotals) -> None:
        """Go on from what an earlier monitor kept."""
        self.since_s, self.unobserved_s = stored.since_s, stored.unobserved_s
        self.tokens, self.energy_j = dict(stored.tokens), dict(stored.energy_j)

    def stored(self, now_s: float) -> StoredTotals:
        """The sums as they would stand in a history."""
        return StoredTotals(self.since_s, now_s, self.unobserved_s, dict(self.tokens), dict(self.energy_j))

    def add(self, interval: Interval) -> None:
        """Take one interval in: an unobserved one adds its length alone."""
        self.latest = interval
        if not interval.observed:
            self.unobserved_s += interval.duration_s
        for kind, count in interval.tokens.items():
            self.tokens[kind] = self.tokens.get(kind, 0.0) + count
        for scope, energy in interval.energy.items():
            key = (scope, "", energy.basis)
            self.energy_j[key] = self.energy_j.get(key, 0.0) + energy.energy_j

    def state(self, site: SiteFacts, *, up: bool, reason: str | None) -> TargetState:
        """The target now. Carbon and cost are of its joules at the site: node times PUE, where both are known."""
        state = TargetState(
            self.facts, up, reason, self.latest, self.since_s, self.unobserved_s, dict(self.tokens), dict(self.energy_j)
        )
        joules = [j for (scope, _, _), j in self.energy_j.items() if scope == "site"]
        if not joules:
            return state
        kwh = sum(joules) / _J_KWH
        carbon = None if site.carbon_g_kwh is None else kwh * site.carbon_g_kwh
        return replace(
            state,
            carbon_g=carbon,
            cost=None if site.price_kwh is None else kwh * site.price_kwh,
            currency=site.currency,
        )
