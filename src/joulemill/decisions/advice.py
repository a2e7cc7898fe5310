"""What a fleet's history says could be saved: idle replicas, load in time, and levers of busy deployments. Pure.

Each piece of advice says what it would save a day, between which bounds, how that is known and from what. It is advice:
nothing here changes anything. Where the history is too short, or nothing pays, that is the answer.

    unload     E_saved = P_context · t_idle − n · E_reload         per day; it pays from t* = E_reload / P_context on
    consolidate  replicas that the busiest hour needs at a stated headroom; the others' contexts are closed

Unloading a model closes its context: boards clock down and idle bare. They stay powered, so no more comes back.
    shift      Σ over hours of flexible joules × (rate of the hour − rate of the cheapest hours that have room)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from joulemill.units import JOULE_PER_KWH
from joulemill.wording import percent

DAY_S = 86_400.0
HOUR_S = 3600.0
#: A history under this many observed hours advises nothing (assumed).
FEWEST_HOURS = 6.0
#: A reload: so long at the power of load. Assumed; ``--reload-time`` states it.
RELOAD_S = 90.0
#: Share of idle power that closing the context returns where the boards are not known (assumed; H100 0.41, A100 0.33).
CONTEXT_RATIO = 0.3
#: Share of a replica's best seen rate up to which replicas are filled (assumed).
FILL_RATIO = 0.7
#: Share of the load that may wait some hours (assumed), where shifting it is asked about.
FLEXIBLE_RATIO = 0.2
#: Savings under this share of the fleet's joules are not worth a line.
LEAST_RATIO = 0.002


@dataclass(frozen=True, slots=True)
class Hour:
    """One target in one hour of the history: seconds observed and idle, joules in all and idle, output tokens."""

    start_s: float
    observed_s: float
    idle_s: float
    energy_j: float
    idle_j: float
    output_tok: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetHistory:
    """One target over the history. ``error_ratio`` is the relative half width of its joules; ``basis`` how known.

    context_w   what its boards draw with a model loaded beyond what they draw bare; None where they are not known
    """

    target: str
    model: str
    site: str
    basis: str
    scope: str
    error_ratio: float
    hours: tuple[Hour, ...]
    context_w: float | None = None

    @property
    def returned_w(self) -> float | None:
        """Watts that unloading returns while the boards stay powered; None where it never was idle."""
        if self.idle_w is None:
            return None
        return CONTEXT_RATIO * self.idle_w if self.context_w is None else min(self.context_w, self.idle_w)

    @property
    def observed_s(self) -> float:
        """Observed time."""
        return math.fsum(h.observed_s for h in self.hours)

    @property
    def idle_w(self) -> float | None:
        """Power while no request runs; None where it never was idle."""
        idle_s = math.fsum(h.idle_s for h in self.hours)
        return math.fsum(h.idle_j for h in self.hours) / idle_s if idle_s > 0 else None

    @property
    def busy_w(self) -> float | None:
        """Power while requests run; None where none did."""
        busy_s = math.fsum(h.observed_s - h.idle_s for h in self.hours)
        return math.fsum(h.energy_j - h.idle_j for h in self.hours) / busy_s if busy_s > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One proposal. Savings are of the metered scope; carbon and money with the site's PUE where known.

    They are a day's as the rules find them, and those of ``period_s`` once it is stated (``over``).
    ``claims``: whose joules are saved ("chat-0 idle"); two proposals with one claim would save the same joules.
    """

    kind: str
    subject: str
    text: str
    saved_j: float
    low_j: float
    high_j: float
    basis: str
    evidence: tuple[str, ...]
    carbon_gco2e: float | None = None
    cost_currency: float | None = None
    assumed: tuple[str, ...] = field(default=())
    claims: tuple[str, ...] = ()
    period_s: float = DAY_S
    currency: str | None = None

    def over(self, period_s: float) -> Advice:
        """The same of another length of time."""
        k = period_s / self.period_s
        carbon, cost = (None if x is None else k * x for x in (self.carbon_gco2e, self.cost_currency))
        saved = (k * self.saved_j, k * self.low_j, k * self.high_j)
        return replace(
            self,
            saved_j=saved[0],
            low_j=saved[1],
            high_j=saved[2],
            carbon_gco2e=carbon,
            cost_currency=cost,
            period_s=period_s,
        )


def idle_claim(target: str) -> str:
    """The joules that ``target`` takes while no request runs."""
    return f"{target} idle"


def busy_claim(target: str) -> str:
    """The joules that ``target`` takes while requests run."""
    return f"{target} busy"


def enough(fleet: Sequence[TargetHistory]) -> bool:
    """Whether there is a history to advise on."""
    return sum(s.observed_s for s in fleet) >= FEWEST_HOURS * HOUR_S


def unload(
    fleet: Sequence[TargetHistory], *, reload_s: float = RELOAD_S, longest_idle_s: Mapping[str, float]
) -> list[Advice]:
    """Replicas that would better be unloaded while nobody asks. ``longest_idle_s``: longest idle stretch by target."""
    advice_list = []
    for target in fleet:
        idle_w, back_w, stretch_s = target.idle_w, target.returned_w, longest_idle_s.get(target.target, 0.0)
        if not idle_w or not back_w or target.observed_s <= 0:
            continue
        reload_j = (target.busy_w or idle_w) * reload_s
        pays_s = reload_j / back_w
        idle_s_day = math.fsum(h.idle_s for h in target.hours) / target.observed_s * DAY_S
        reloads_day = idle_s_day / stretch_s if stretch_s > 0 else math.inf
        saved = back_w * idle_s_day - reloads_day * reload_j
        if stretch_s < 2.0 * pays_s or saved <= 0:
            continue
        half = target.error_ratio * back_w * idle_s_day + 0.5 * reloads_day * reload_j
        advice_list.append(
            Advice(
                kind="unload",
                subject=target.target,
                text=f"unload it after {_minutes(pays_s)} without a request; from then on keeping it "
                "loaded costs more than loading it again",
                saved_j=saved,
                low_j=saved - half,
                high_j=saved + half,
                basis=target.basis,
                evidence=(
                    f"{idle_w:.0f} W idle ({target.scope}), idle {percent(idle_s_day / DAY_S)} of the time",
                    f"unloading returns {back_w:.0f} W of them: its boards stay powered",
                    f"longest idle stretch {_minutes(stretch_s)}",
                ),
                assumed=(f"a reload takes {reload_s:g} s at the power of load", *_context_assumed([target])),
                claims=(idle_claim(target.target),),
            )
        )
    return advice_list


def _context_assumed(fleet: Sequence[TargetHistory]) -> tuple[str, ...]:
    """What is assumed of the watts that unloading returns."""
    known = all(s.context_w is not None for s in fleet)
    return () if known else (f"an open context takes {percent(CONTEXT_RATIO)} of the idle power",)


def consolidate(fleet: Sequence[TargetHistory], *, fill_ratio: float = FILL_RATIO) -> list[Advice]:
    """Models at a site that fewer replicas would serve, also in their busiest hour."""
    groups: dict[tuple[str, str], list[TargetHistory]] = {}
    for target in fleet:
        groups.setdefault((target.model, target.site), []).append(target)
    return [a for (model, site), group in sorted(groups.items()) if (a := _fewer(model, site, group, fill_ratio))]


def _fewer(model: str, site: str, group: Sequence[TargetHistory], fill_ratio: float) -> Advice | None:
    if len(group) < 2:
        return None
    best = max((h.output_tok / h.observed_s for s in group for h in s.hours if h.observed_s > 0), default=0.0)
    by_hour: dict[float, float] = {}
    for s in group:
        for h in s.hours:
            if h.observed_s > 0:
                by_hour[h.start_s] = by_hour.get(h.start_s, 0.0) + h.output_tok / h.observed_s
    busiest = max(by_hour.values(), default=0.0)
    if best <= 0:
        return None
    needed = max(math.ceil(busiest / (fill_ratio * best)), 1)
    spare = sorted((s for s in group if s.returned_w), key=lambda s: -(s.returned_w or 0.0))[: len(group) - needed]
    if needed >= len(group) or not spare:
        return None
    saved = math.fsum((s.returned_w or 0.0) * DAY_S for s in spare)
    half = math.fsum(s.error_ratio * (s.returned_w or 0.0) * DAY_S for s in spare)
    names = ", ".join(s.target for s in spare)
    return Advice(
        kind="consolidate",
        subject=f"{model} at {site}",
        text=f"{needed} of {len(group)} replicas carry the busiest hour; take {names} out of service",
        saved_j=saved,
        low_j=saved - half,
        high_j=saved + half,
        basis=spare[0].basis,
        evidence=(
            f"busiest hour {busiest:.0f} tok/s, best seen of one replica {best:.0f} tok/s",
            f"unloading them returns {saved / DAY_S:.0f} W of their idle power; work costs what it costs elsewhere",
        ),
        assumed=(f"replicas are filled to {percent(fill_ratio)} of the best rate seen", *_context_assumed(spare)),
        claims=tuple(idle_claim(s.target) for s in spare),
    )


def shift(
    fleet: Sequence[TargetHistory],
    rates_j: Mapping[str, Sequence[float]],
    what: str,
    *,
    flexible_ratio: float = FLEXIBLE_RATIO,
) -> list[Advice]:
    """Load that may wait, moved to the cheapest hours. ``rates_j``: by site, 24 rates per joule (UTC), PUE included."""
    advice_list = []
    for site, rate in sorted(rates_j.items()):
        mine = [s for s in fleet if s.site == site]
        days = max((s.observed_s for s in mine), default=0.0) / DAY_S
        if not mine or days <= 0 or max(rate) <= min(rate):
            continue
        by_hour = [0.0] * 24
        for s in mine:
            for h in s.hours:
                by_hour[int(h.start_s // HOUR_S) % 24] += (h.energy_j - h.idle_j) / days
        moved = [flexible_ratio * j for j in by_hour]
        top = max(by_hour)  # no hour is filled beyond the busiest that was seen
        saved, joules = _moved(moved, by_hour, rate, top)
        if joules <= 0 or saved <= 0:
            continue
        whole = math.fsum(j * r for j, r in zip(by_hour, rate, strict=True))
        error = max(s.error_ratio for s in mine)
        cheap = min(range(24), key=lambda i: rate[i])
        advice_list.append(
            Advice(
                kind=f"shift by {what}",
                subject=site,
                text=f"let {percent(flexible_ratio)} of the load wait for cheap hours (cheapest: {cheap:02d}:00 UTC): "
                f"{percent(saved / whole, 1)} less {what}",
                saved_j=0.0,
                low_j=0.0,
                high_j=0.0,
                basis=mine[0].basis,
                evidence=(
                    f"{_kwh(joules)} kWh per day moved, no hour beyond the busiest seen",
                    f"joules ± {percent(error)}",
                ),
                carbon_gco2e=saved if what == "carbon" else None,
                cost_currency=saved if what == "cost" else None,
                assumed=(f"{percent(flexible_ratio)} of the load may wait up to a day",),
            )
        )
    return advice_list


def _moved(moved: Sequence[float], by_hour: Sequence[float], rate: Sequence[float], top: float) -> tuple[float, float]:
    """(what moving saves, joules moved): dearest hours first, into the cheapest with room."""
    room = [max(top - j, 0.0) for j in by_hour]
    left = list(moved)
    saved = joules = 0.0
    for source in sorted(range(24), key=lambda i: -rate[i]):
        for target in sorted(range(24), key=lambda i: rate[i]):
            if rate[target] >= rate[source]:
                break
            taken = min(left[source], room[target])
            left[source], room[target] = left[source] - taken, room[target] - taken
            saved, joules = saved + taken * (rate[source] - rate[target]), joules + taken
    return saved, joules


def ranked(advice_list: Sequence[Advice], fleet: Sequence[TargetHistory]) -> list[Advice]:
    """Worth a line, largest saving first; what saves carbon or money alone comes last. No joule is saved twice."""
    whole = math.fsum(h.energy_j for s in fleet for h in s.hours)
    days = max((s.observed_s for s in fleet), default=0.0) / DAY_S
    least = LEAST_RATIO * whole / days if days > 0 else 0.0
    worthwhile = [a for a in advice_list if a.saved_j > least or a.carbon_gco2e or a.cost_currency]
    return _apart(sorted(worthwhile, key=lambda a: -a.saved_j))


def _apart(best_first: Sequence[Advice]) -> list[Advice]:
    """Those whose joules no better one saves already; a better one says what it stands instead of."""
    chosen: list[Advice] = []
    for a in best_first:
        rival = next((i for i, c in enumerate(chosen) if set(c.claims) & set(a.claims)), None)
        if rival is None:
            chosen.append(a)
        else:
            instead = f"instead of {a.kind} {a.subject} ({a.text}), which would save of the same joules"
            chosen[rival] = replace(chosen[rival], evidence=(*chosen[rival].evidence, instead))
    return chosen


def _minutes(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )


def _kwh(joules: float) -> str:
    """Three digits, never an exponent."""
    return f"{float(f'{joules / JOULE_PER_KWH:.3g}'):,.10g}"
