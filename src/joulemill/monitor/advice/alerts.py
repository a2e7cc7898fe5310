"""What of a snapshot someone should look at now. ``rules/`` watches over time; these need no history. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from joulemill.monitor.accounting.pue import pue_now
from joulemill.monitor.advice.contexts import open_context_w
from joulemill.monitor.findings import TELLING
from joulemill.monitor.snapshot import NOT_YET, ROUTINE, Interval, Snapshot, TargetState, TokenKind
from joulemill.wording import percent

#: From this share of an interval without a running request a target counts as idle (assumed).
IDLE_RATIO = 0.95
#: Share of the site's power limit from which headroom is short (assumed).
POWER_RATIO = 0.9


@dataclass(frozen=True, slots=True)
class Alert:
    """``severity`` is ``page``, ``warn`` or ``info``; ``subject`` a target, a meter or a site.

    ``since_s``: when it was first seen (UNIX time); None where nobody has looked before.
    """

    severity: str
    kind: str
    subject: str
    text: str
    since_s: float | None = None


def alerts(now: Snapshot) -> list[Alert]:
    """Every alert of ``now``, the gravest first."""
    order = {"page": 0, "warn": 1, "info": 2}
    alert_list = [*_config(now), *_history(now), *_targets(now), *_meters(now), *_power(now), *_pue(now)]
    since_s = now.alert_since_s
    dated = [replace(a, since_s=since_s.get((a.kind, a.subject))) for a in alert_list]
    return sorted(dated, key=lambda a: (order[a.severity], a.kind, a.subject))


def _config(now: Snapshot) -> Iterator[Alert]:
    if now.config_error is not None:
        yield Alert("warn", "config", "configuration", f"{now.config_error}; the previous configuration stays in use")


def _history(now: Snapshot) -> Iterator[Alert]:
    if now.history_error is not None:
        yield Alert("page", "history", "history", f"intervals are not kept: {now.history_error}")
    kept = now.kept
    if kept is not None and kept.refused_count:
        text = f"{kept.refused_count} intervals could not be kept; the newest: {kept.refused}"
        yield Alert("warn", "history", "history", text)
    if kept is not None and kept.restarts_count:
        yield Alert("warn", "history", "history", f"its writer was restarted {kept.restarts_count} times")


def _targets(now: Snapshot) -> Iterator[Alert]:
    for t in now.targets:
        if t.latest is None and not t.up and t.reason == NOT_YET:
            continue
        if not t.up:
            yield Alert("page", "down", t.facts.target, f"not scraped: {t.reason or 'no reason given'}")
        elif t.latest is not None and t.latest.observed:
            yield from _latest(t)


def _latest(t: TargetState) -> Iterator[Alert]:
    latest = t.latest
    if latest is None or latest.duration_s <= 0:
        return
    yield from _joules(t, latest)
    node = latest.energy.get("node") or latest.energy.get("device")
    if node is not None and latest.idle_ratio is not None and latest.idle_ratio >= IDLE_RATIO:
        watts = node.energy_j / latest.duration_s
        text = f"idle, and draws {watts:.0f} W ({node.scope}, {node.basis})"
        context_w = open_context_w(t.facts.device, t.facts.devices_count)
        if context_w is not None and 0.0 < context_w < watts:
            text += f"; unloading would return about {context_w:.0f} W of them, its boards stay powered"
        yield Alert("info", "idle", t.facts.target, text)


def _joules(t: TargetState, latest: Interval) -> Iterator[Alert]:
    """Tokens without joules, joules that are refused, and what stands beside those that are not."""
    refusals = list(dict.fromkeys(f.text for f in latest.findings if f.refused and f.code not in ROUTINE))
    if latest.tokens.get(TokenKind.OUTPUT, 0.0) > 0 and not latest.energy:
        why = f": {refusals[0]}" if refusals else ""
        yield Alert("warn", "unmetered", t.facts.target, f"serves tokens but has no energy reading{why}")
    elif refusals:
        yield Alert("warn", "refused", t.facts.target, "; ".join(refusals))
    for finding in latest.findings:
        if not finding.refused and finding.code in TELLING:
            yield Alert("warn", finding.code, t.facts.target, finding.text)


def _meters(now: Snapshot) -> Iterator[Alert]:
    for m in now.meters:
        if m.state not in ("ok", "opening"):
            where = ", ".join(x for x in (m.target or m.site, m.scope) if x)
            yield Alert("warn", "meter", m.meter, f"{m.state} ({where}){'' if m.detail is None else f': {m.detail}'}")


def _power(now: Snapshot) -> Iterator[Alert]:
    for s in now.sites:
        if s.power_limit_w is None:
            continue
        drawn = [it_power_w(t) for t in now.targets if t.facts.site == s.site]
        known = [w for w in drawn if w is not None]
        if known and sum(known) > POWER_RATIO * s.power_limit_w:
            share = sum(known) / s.power_limit_w
            missing = f"; {len(drawn) - len(known)} targets are not metered" if len(known) < len(drawn) else ""
            yield Alert(
                "page", "power", s.site, f"{percent(share)} of the power limit of {s.power_limit_w:.0f} W{missing}"
            )


def _pue(now: Snapshot) -> Iterator[Alert]:
    """A metered site whose PUE is not known, or is beyond its interval another than the one declared."""
    for s in now.sites:
        state = now.site_state(s.site)
        measured = pue_now(state)
        if measured is None or state is None or state.latest is None:
            continue
        if measured.value is None:
            yield Alert("info", "pue", s.site, f"its PUE is not measured now: {measured.reason}")
        elif s.pue_ratio is not None and not (measured.low or 0.0) <= s.pue_ratio <= (measured.high or math.inf):
            yield Alert(
                "info", "pue", s.site, f"its PUE is {measured.value:.3f} as measured, {s.pue_ratio:g} as declared"
            )


def it_power_w(t: TargetState) -> float | None:
    """Power of the widest scope below the site that is known: the node, else at least its boards."""
    return next((w for scope in ("node", "device", "cpu") if (w := power_w(t, scope)) is not None), None)


def power_w(t: TargetState, scope: str) -> float | None:
    """Mean power of ``scope`` over the part of the latest interval that was metered; None where unknown."""
    if t.latest is None or not t.latest.observed:
        return None
    energy = t.latest.energy.get(scope)
    covered_s = 0.0 if energy is None else energy.covered_ratio * t.latest.duration_s
    return energy.energy_j / covered_s if energy is not None and covered_s > 0 else None
