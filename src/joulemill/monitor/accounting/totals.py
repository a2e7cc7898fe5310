"""Intervals into a target's running totals. Pure.

Every interval passes :func:`believable` before it is added, kept or shown: joules and tokens that cannot be (the rule
is ``ledger.plausibility``) are left out and told, so that no total can be spoiled by one reading.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from joulemill.ledger.plausibility import rise_fault, token_fault
from joulemill.ledger.record import Scope, ServerSample
from joulemill.monitor.accounting.counters import idle_ratio, mean_s, token_increases
from joulemill.monitor.snapshot import (
    HistogramPercentiles,
    Interval,
    MeterFinding,
    ScopeEnergy,
    SiteFacts,
    SiteStretch,
    StoredTotals,
    TargetFacts,
    TargetState,
    TokenKind,
)
from joulemill.units import JOULE_PER_KWH

#: A target may be a router before many nodes: its scopes are held against the bound of what they may be parts of.
_BOUND_OF = {Scope.RACK: Scope.SITE, Scope.SITE: Scope.SITE}
#: A counter may have gathered joules for so much longer than the interval [s] (assumed: a slow meter's update).
_LATE_S = 60.0
#: An absence that is longer, or that begins or ends before 2020, is a clock's fault: how long it was is not known [s].
MOST_AWAY_S, LEAST_WALL_S = 400 * 86_400.0, 1_577_836_800.0
#: Gauges and means of an interval that are shown and kept.
_PLAIN = ("running_count", "waiting_count", "kv_use_ratio", "ttft_s", "tpot_s", "idle_ratio")


def away_s(last_s: float, now_s: float) -> float:
    """How long nobody watched [s], by a clock that may have been wrong at either end: 0 where that is not known."""
    length_s = now_s - last_s
    known = last_s >= LEAST_WALL_S and now_s >= LEAST_WALL_S and 0.0 <= length_s <= MOST_AWAY_S
    return length_s if known else 0.0


def believable(interval: Interval) -> Interval:
    """``interval`` without what cannot be; what was left out is told in its reason and findings."""
    length_s = interval.duration_s
    wrong = {kind for kind, count in interval.tokens.items() if _token_fault(kind, count, length_s)}
    routes_sum_tok = sum(interval.route_tokens.values())
    if TokenKind.OUTPUT in wrong or _token_fault(TokenKind.OUTPUT, routes_sum_tok, length_s):
        interval = replace(interval, route_tokens={})
    if wrong:
        what = ", ".join(sorted(kind.value for kind in wrong))
        reason = f"{what} tokens are left out: no server makes so many in {length_s:.3g} s"
        tokens = {k: v for k, v in interval.tokens.items() if k not in wrong}
        interval = replace(interval, tokens=tokens, reason=reason, idle_ratio=None)
    faults = _energy_faults(interval.energy, length_s)
    if faults:
        text = "these joules are left out: nothing takes so much in that time"
        findings = tuple(MeterFinding(scope, code, text, refused=True) for scope, code in faults.items())
        energy = {s: e for s, e in interval.energy.items() if s not in faults}
        interval = replace(interval, energy=energy, findings=(*interval.findings, *findings))
    return _finite(interval)


def believable_stretch(stretch: SiteStretch) -> SiteStretch:
    """``stretch`` without joules that cannot be."""
    faults = _energy_faults(stretch.energy, stretch.duration_s)
    return replace(stretch, energy={s: e for s, e in stretch.energy.items() if s not in faults}) if faults else stretch


def _token_fault(kind: TokenKind, count_tok: float, length_s: float) -> bool:
    of = "output" if kind is TokenKind.OUTPUT else "prompt"
    return token_fault(count_tok, length_s, kind=of) is not None


def _energy_faults(energy: Mapping[str, ScopeEnergy], length_s: float) -> dict[str, str]:
    """Reason codes by scope."""
    faults: dict[str, str] = {}
    for scope, e in energy.items():
        bound_of = _BOUND_OF.get(Scope(scope), Scope.RACK)
        for joules in (e.energy_j, e.half_width_j or 0.0):
            if (fault := rise_fault(joules, length_s, scope=bound_of, late_s=_LATE_S)) is not None:
                faults[scope] = fault.value
    return faults


def _finite(interval: Interval) -> Interval:
    """Without gauges and latencies that are no numbers."""
    gone = {n: None for n in _PLAIN if (v := getattr(interval, n)) is not None and not math.isfinite(v)}
    latency: Mapping[str, HistogramPercentiles] = {w: p for w, p in interval.latency.items() if _whole(p)}
    if not gone and len(latency) == len(interval.latency):
        return interval
    return replace(interval, latency=latency, **gone)  # type: ignore[arg-type]


def _whole(p: HistogramPercentiles) -> bool:
    return all(x is None or math.isfinite(x) for x in (p.p50_s, p.p90_s, p.p99_s, p.requests_count))


def observed(target: str, before: ServerSample, after: ServerSample) -> Interval:
    """The interval between two good scrapes, without its joules.

    Its length is of the monotonic clock, so a clock step adds no time.
    """
    gauges = after.values
    return Interval(
        target=target,
        start_s=after.t_wall_s - (after.t_mono_s - before.t_mono_s),
        end_s=after.t_wall_s,
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
    return Interval(
        target=target, start_s=sample.t_wall_s - length, end_s=sample.t_wall_s, observed=False, reason=sample.error
    )


@dataclass(slots=True, kw_only=True)
class Totals:
    """Sums of a target's intervals since ``since_s``; none ever falls."""

    facts: TargetFacts
    since_s: float
    unobserved_s: float = 0.0
    latest: Interval | None = None
    tokens: dict[TokenKind, float] = field(default_factory=dict)
    energy_j: dict[tuple[str, str, str], float] = field(default_factory=dict)
    metered_tok: dict[tuple[str, str, str], float] = field(default_factory=dict)

    def restore(self, stored: StoredTotals) -> None:
        """Go on from what an earlier monitor kept."""
        self.since_s, self.unobserved_s = stored.since_s, stored.unobserved_s
        self.tokens = {k: v for k, v in stored.tokens.items() if math.isfinite(v)}
        self.energy_j = {k: v for k, v in stored.energy_j.items() if math.isfinite(v)}
        self.metered_tok = {k: v for k, v in stored.metered_tok.items() if math.isfinite(v)}

    def stored(self, now_s: float) -> StoredTotals:
        """The sums as they would stand in a history."""
        return StoredTotals(
            self.since_s, now_s, self.unobserved_s, dict(self.tokens), dict(self.energy_j), dict(self.metered_tok)
        )

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
            if (made_tok := interval.tokens.get(TokenKind.OUTPUT)) is not None:
                self.metered_tok[key] = self.metered_tok.get(key, 0.0) + energy.covered_ratio * made_tok

    def state(self, site: SiteFacts, *, up: bool, reason: str | None) -> TargetState:
        """The target now. Carbon and cost are of its joules at the site: node times PUE, where both are known."""
        state = TargetState(
            facts=self.facts,
            up=up,
            reason=reason,
            latest=self.latest,
            since_s=self.since_s,
            unobserved_s=self.unobserved_s,
            tokens=dict(self.tokens),
            energy_j=dict(self.energy_j),
            metered_tok=dict(self.metered_tok),
        )
        joules = [j for (scope, _, _), j in self.energy_j.items() if scope == "site"]
        if not joules:
            return state
        kwh = sum(joules) / JOULE_PER_KWH
        carbon = None if site.carbon_g_kwh is None else kwh * site.carbon_g_kwh
        return replace(
            state,
            carbon_g=carbon,
            cost=None if site.price_kwh is None else kwh * site.price_kwh,
            currency=site.currency,
        )
