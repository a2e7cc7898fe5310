"""The history as ``decisions.advise`` reads it, with what the catalogue predicts for busy deployments."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from joulemill.decisions.advise import DAY_S, Advice, Hour, Seen, consolidate, enough, ranked, shift, unload
from joulemill.errors import JoulemillError
from joulemill.monitor.attribution import J_KWH, Rates
from joulemill.monitor.config import SiteConfig
from joulemill.monitor.explain import Load, load_of
from joulemill.monitor.history_read import Reader
from joulemill.monitor.levers import Better, better_levers
from joulemill.monitor.snapshot import Interval
from joulemill.monitor.spending import HOUR_S, spent

#: Families of levers that a pool can be given while it runs, or by a restart with another setting.
TUNED = ("power", "clock", "batch", "admission")
#: Levers shown for one pool.
SHOWN = 2


def fleet(reader: Reader, start_s: float, end_s: float) -> list[Seen]:
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
    for r in spent(reader, start_s, end_s):
        observed, idle = times.get((r.target, int(r.start_s)), (0.0, 0.0))
        hour = Hour(r.start_s, observed, idle, r.energy_j, r.idle_j, r.output_tok)
        rows.setdefault(r.target, []).append((hour, r.half_width_j))
        facts[r.target] = r
    found = []
    for name, hours in rows.items():
        r, joules = facts[name], math.fsum(h.energy_j for h, _ in hours)
        halves = [w for _, w in hours if w is not None]
        error = math.fsum(halves) / joules if joules and len(halves) == len(hours) else 0.5
        found.append(Seen(name, r.model, r.site, r.basis, r.scope, error, tuple(h for h, _ in hours)))
    return found


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
    reader: Reader, span_s: tuple[float, float], sites: Mapping[str, Rates], described: Sequence[SiteConfig], *,
    reload_s: float, fill_ratio: float, flexible_ratio: float,
) -> tuple[list[Advice], str | None]:  # fmt: skip
    """Everything that the history advises, best first; and why nothing, where that is so."""
    seen = fleet(reader, *span_s)
    if not enough(seen):
        hours = sum(s.observed_s for s in seen) / HOUR_S
        return [], f"the history holds {hours:.1f} metered hours of targets; let the monitor run for some more"
    found = [*unload(seen, reload_s=reload_s, longest_idle_s=longest_idle_s(reader))]
    found += consolidate(seen, fill_ratio=fill_ratio)
    found += _levers(reader, seen)
    found = [_priced(a, seen, sites) for a in found]
    for what, rates_j in (("carbon", _hourly(described, "carbon")), ("cost", _hourly(described, "price"))):
        found += shift(seen, rates_j, what, flexible_ratio=flexible_ratio)
    best = ranked(found, seen)
    return best, None if best else "nothing that would save joules was found in this history"


def _hourly(described: Sequence[SiteConfig], what: str) -> dict[str, list[float]]:
    """Rates per joule by hour of the day, PUE included, of the sites that state them."""
    found = {}
    for site in described:
        hours = site.carbon_by_hour_g_kwh if what == "carbon" else site.price_by_hour_kwh
        if hours is not None and site.pue_ratio is not None:
            found[site.name] = [site.pue_ratio * x / J_KWH for x in hours]
    return found


def _priced(a: Advice, seen: Sequence[Seen], sites: Mapping[str, Rates]) -> Advice:
    site = next((s.site for s in seen if a.subject in (s.target, f"{s.model} at {s.site}")), None)
    at = sites.get(site or "", Rates())
    return replace(
        a,
        carbon_gco2e=None if at.carbon_g_j is None else a.saved_j * at.carbon_g_j,
        cost_currency=None if at.cost_j is None else a.saved_j * at.cost_j,
    )


def _levers(reader: Reader, seen: Sequence[Seen]) -> list[Advice]:
    """Power, clock and batch levers of pools whose device and model the catalogue knows, at their latest busy load."""
    pools: dict[tuple[str, str, str, int], list[Seen]] = {}
    facts = {row["name"]: row for row in reader.targets()}
    for s in seen:
        told = json.loads(facts[s.target]["facts"])
        if told["device"]:
            pools.setdefault((s.model, s.site, told["device"], int(told["devices_count"] or 1)), []).append(s)
    found = []
    for (model, site, device, count), group in pools.items():
        load = _latest_load(reader, [s.target for s in group])
        if load is None:
            continue
        joules_day = math.fsum(
            sum(h.energy_j - h.idle_j for h in s.hours) * DAY_S / max(s.observed_s, 1.0) for s in group
        )
        for lever in _tuned(model, device, count, load):
            saved = [-x * joules_day for x in (lever.change, lever.high, lever.low)]
            found.append(
                Advice(
                    "tune", f"{model} at {site}", f"{lever.label}: {lever.moves}", saved[0], saved[1], saved[2],
                    "modelled",
                    (f"J/token {lever.change:+.1%} ({lever.low:+.1%} to {lever.high:+.1%}) predicted",
                     f"for {count} x {device} at {load.batch_req:.0f} requests at once",
                     f"{joules_day / DAY_S:.0f} W of load on average"),
                    assumed=("the boards' change carries over to the metered scope",),
                )
            )  # fmt: skip
    return found


def _tuned(model: str, device: str, count: int, load: Load) -> list[Better]:
    try:
        return [b for b in better_levers(model, device, count, load) if b.family in TUNED][:SHOWN]
    except JoulemillError:  # a model or device that the catalogue does not know has no prediction
        return []


def _latest_load(reader: Reader, names: Sequence[str]) -> Load | None:
    marks = ", ".join("'" + n.replace("'", "''") + "'" for n in names)
    rows = reader.rows(
        "SELECT running_count FROM interval JOIN target ON target = target.id "
        f"WHERE name IN ({marks}) AND running_count > 0 ORDER BY end_s DESC LIMIT 50"
    )
    if not rows:
        return None
    mean = math.fsum(r[0] for r in rows) / len(rows)
    return load_of(Interval("", 0.0, 1.0, True, running_count=mean), (None, None))
