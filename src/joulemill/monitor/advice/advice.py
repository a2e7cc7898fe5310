"""The history as ``decisions.advise`` reads it, with what the catalog predicts for busy deployments."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from joulemill.decisions.advice import (
    DAY_S,
    Advice,
    Hour,
    TargetHistory,
    busy_claim,
    consolidate,
    enough,
    ranked,
    shift,
    unload,
)
from joulemill.errors import JoulemillError
from joulemill.monitor.advice.ceilings import IntervalLoad, load_of
from joulemill.monitor.advice.contexts import open_context_w
from joulemill.monitor.advice.levers import BetterLever, better_levers
from joulemill.monitor.config import SiteConfig
from joulemill.monitor.history.chargeback import SiteRates
from joulemill.monitor.history.reader import Reader
from joulemill.monitor.history.spending import HOUR_S, spent
from joulemill.monitor.snapshot import Interval
from joulemill.units import JOULE_PER_KWH
from joulemill.wording import signed_percent

#: Families of levers that a pool can be given while it runs, or by a restart with another setting.
TUNED = ("power", "clock", "batch", "admission")
#: Of these, what takes requests that wait: without a queue there are no more to run at once.
NEED_QUEUE = ("batch", "admission")
#: Requests waited, where they did in this share of the latest busy intervals (assumed).
QUEUED_RATIO = 0.5
#: Levers weighed for one pool: the best is advised, the next stands beside it.
SHOWN = 2


def fleet(reader: Reader, start_s: float, end_s: float) -> list[TargetHistory]:
    """Every target whose joules are known, hour by hour."""
    inside = f"length_s = {HOUR_S} AND of > 0 AND start_s >= {float(start_s)} AND start_s < {float(end_s)}"
    times = {
        (name, at): (observed, idle)
        for name, at, observed, idle in reader.rows(
            f"SELECT name, bucket.start_s, observed_s, idle_s FROM bucket JOIN target ON of = target.id WHERE {inside}"
        )
    }
    rows: dict[str, list[tuple[Hour, float | None]]] = {}
    facts = {}
    contexts = _contexts_w(reader)
    for r in spent(reader, start_s, end_s):
        observed, idle = times.get((r.target, int(r.start_s)), (0.0, 0.0))
        hour = Hour(r.start_s, observed, idle, r.energy_j, r.idle_j, r.output_tok)
        rows.setdefault(r.target, []).append((hour, r.half_width_j))
        facts[r.target] = r
    targets = []
    for name, hours in rows.items():
        r, joules = facts[name], math.fsum(h.energy_j for h, _ in hours)
        halves = [w for _, w in hours if w is not None]
        error = math.fsum(halves) / joules if joules and len(halves) == len(hours) else 0.5
        targets.append(
            TargetHistory(
                target=name,
                model=r.model,
                site=r.site,
                basis=r.basis,
                scope=r.scope,
                error_ratio=error,
                hours=tuple(h for h, _ in hours),
                context_w=contexts.get(name),
            )
        )
    return targets


def _contexts_w(reader: Reader) -> dict[str, float]:
    """By target whose boards the catalog knows: what they draw with a model loaded beyond bare idle."""
    watts_of_target = {}
    for name, text in reader.rows("SELECT name, facts FROM target"):
        facts_table = json.loads(text)
        context_w = open_context_w(facts_table["device"], facts_table["devices_count"])
        if context_w is not None:
            watts_of_target[name] = context_w
    return watts_of_target


def longest_idle_s(reader: Reader) -> dict[str, float]:
    """By target, its longest stretch without a running request among the intervals that are kept."""
    longest: dict[str, float] = {}
    began: dict[str, float] = {}
    query = "SELECT name, start_s, end_s, idle_ratio FROM interval JOIN target ON target = target.id ORDER BY end_s"
    for name, start_s, end_s, idle in reader.rows(query.replace("start_s", "interval.start_s", 1)):
        if idle is None or idle < 1.0:
            began.pop(name, None)
            continue
        first = began.setdefault(name, start_s)
        longest[name] = max(longest.get(name, 0.0), end_s - first)
    return longest


def advice(
    reader: Reader,
    span_s: tuple[float, float],
    sites: Mapping[str, SiteRates],
    described: Sequence[SiteConfig],
    *,
    reload_s: float,
    fill_ratio: float,
    flexible_ratio: float,
) -> tuple[list[Advice], str | None]:
    """Everything that the history advises, best first; and why nothing, where that is so."""
    targets = fleet(reader, *span_s)
    if not enough(targets):
        hours = sum(s.observed_s for s in targets) / HOUR_S
        return [], f"the history holds {hours:.1f} metered hours of targets; let the monitor run for some more"
    advice_list = [*unload(targets, reload_s=reload_s, longest_idle_s=longest_idle_s(reader))]
    advice_list += consolidate(targets, fill_ratio=fill_ratio)
    advice_list += _levers(reader, targets)
    advice_list = [_priced(a, targets, sites) for a in advice_list]
    nodes = [s for s in targets if s.scope == "node"]
    currencies = {s.name: s.currency for s in described}
    for what, rates_j in (("carbon", _hourly(described, "carbon")), ("cost", _hourly(described, "price"))):
        moved = shift(nodes, rates_j, what, flexible_ratio=flexible_ratio)
        advice_list += [replace(a, currency=currencies.get(a.subject)) for a in moved]
    period_s = max(s.observed_s for s in targets)
    best = [a.over(period_s) for a in ranked(advice_list, targets)]
    return best, None if best else "nothing that would save joules was found in this history"


def _hourly(described: Sequence[SiteConfig], what: str) -> dict[str, list[float]]:
    """Rates per joule by hour of the day, PUE included, of the sites that state them."""
    cost_of_site = {}
    for site in described:
        hours = site.carbon_by_hour_g_kwh if what == "carbon" else site.price_by_hour_kwh
        if hours is not None and site.pue_ratio is not None:
            cost_of_site[site.name] = [site.pue_ratio * x / JOULE_PER_KWH for x in hours]
    return cost_of_site


def _priced(a: Advice, targets: Sequence[TargetHistory], sites: Mapping[str, SiteRates]) -> Advice:
    site = next((s.site for s in targets if a.subject in (s.target, f"{s.model} at {s.site}")), None)
    at = sites.get(site or "", SiteRates())
    own = [s for s in targets if a.subject in (s.target, f"{s.model} at {s.site}")]
    if any(s.scope != "node" for s in own):  # boards alone are no node: what their joules cost is not known
        return a
    return replace(
        a,
        currency=at.currency,
        carbon_gco2e=None if at.carbon_g_j is None else a.saved_j * at.carbon_g_j,
        cost_currency=None if at.cost_j is None else a.saved_j * at.cost_j,
    )


def _levers(reader: Reader, targets: Sequence[TargetHistory]) -> list[Advice]:
    """Power, clock and batch levers of pools whose device and model the catalog knows, at their latest busy load."""
    pools: dict[tuple[str, str, str, int], list[TargetHistory]] = {}
    facts = {row["name"]: row for row in reader.targets()}
    for s in targets:
        facts_table = json.loads(facts[s.target]["facts"])
        if facts_table["device"]:
            pools.setdefault(
                (s.model, s.site, facts_table["device"], int(facts_table["devices_count"] or 1)), []
            ).append(s)
    advice_list = []
    for (model, site, device, count), group in pools.items():
        load = _latest_load(reader, [s.target for s in group])
        if load is None:
            continue
        joules_day = math.fsum(
            sum(h.energy_j - h.idle_j for h in s.hours) * DAY_S / max(s.observed_s, 1.0) for s in group
        )
        demand = _demand(group, load) if not load.queued else None
        for lever in _tuned(model, device, count, load, demand):
            saved = [-x * joules_day for x in (lever.change, lever.high, lever.low)]
            asked = "the demand that was seen" if demand else "a queue, so that more requests at once are there"
            advice_list.append(
                Advice(
                    kind="tune",
                    subject=f"{model} at {site}",
                    text=f"{lever.label}: {lever.moves}",
                    saved_j=saved[0],
                    low_j=saved[1],
                    high_j=saved[2],
                    basis="modelled",
                    evidence=(
                        f"J/token {signed_percent(lever.change)} ({signed_percent(lever.low)} to "
                        f"{signed_percent(lever.high)}) predicted at {asked}",
                        f"for {count} x {device} at {load.load.concurrency:.0f} requests at once",
                        f"{joules_day / DAY_S:.0f} W of load on average",
                    ),
                    assumed=("the boards' change carries over to the metered scope",),
                    claims=tuple(busy_claim(s.target) for s in group),
                )
            )
    return advice_list


def _demand(group: Sequence[TargetHistory], load: _Latest) -> float | None:
    """Requests a second of one replica while it is busy: what is asked for, however many could run at once."""
    busy_s = math.fsum(h.observed_s - h.idle_s for s in group for h in s.hours)
    tokens = math.fsum(h.output_tok for s in group for h in s.hours)
    return tokens / busy_s / load.load.output_tok if busy_s > 0 and tokens > 0 else None


def _tuned(model: str, device: str, count: int, latest: _Latest, demand_req_s: float | None) -> list[BetterLever]:
    """Levers at the load. Where nothing waits, they are judged at the demand: no more requests at once exist."""
    try:
        better = better_levers(model, device, count, latest.load, demand_req_s)
    except JoulemillError:  # a model or device that the catalog does not know has no prediction
        return []
    families = TUNED if latest.queued else tuple(f for f in TUNED if f not in NEED_QUEUE)
    return [b for b in better if b.family in families][:SHOWN]


@dataclass(frozen=True, slots=True)
class _Latest:
    """The latest busy load, and whether requests waited in it."""

    load: IntervalLoad
    queued: bool


def _latest_load(reader: Reader, names: Sequence[str]) -> _Latest | None:
    marks = ", ".join("'" + n.replace("'", "''") + "'" for n in names)
    rows = reader.rows(
        "SELECT running_count, waiting_count FROM interval JOIN target ON target = target.id "
        f"WHERE name IN ({marks}) AND running_count > 0 ORDER BY end_s DESC LIMIT 50"
    )
    if not rows:
        return None
    mean = math.fsum(r[0] for r in rows) / len(rows)
    queued = sum(1 for r in rows if (r[1] or 0) > 0) > QUEUED_RATIO * len(rows)
    return _Latest(
        load_of(Interval(target="", start_s=0.0, end_s=1.0, observed=True, running_count=mean), (None, None)), queued
    )
