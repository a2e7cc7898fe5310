"""What the monitor knows at its end, as text: a line for each target and metered site; or one JSON document. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass

from joulemill.monitor.accounting.pue import power_of, pue_now
from joulemill.monitor.advice.alerts import power_w
from joulemill.monitor.snapshot import SiteState, Snapshot, TargetState, TokenKind, rate_tok_s
from joulemill.wording import amount


def lines(now: Snapshot) -> Iterator[str]:
    """A line for each target and metered site, and each meter that is not open."""
    yield from (f"{t.facts.target}: {'; '.join(_target(t))}" for t in now.targets)
    yield from (f"{s.site}: {_site(s)}" for s in now.metered)
    dead = (m for m in now.meters if m.state == "not_open")
    yield from (f"meter {m.meter} ({m.target or m.site}): not open: {m.detail}" for m in dead)


def document(now: object) -> object:
    """``now`` as JSON types; keys of several parts are joined by a slash."""
    if is_dataclass(now):
        return {f.name: document(getattr(now, f.name)) for f in fields(now)}
    if isinstance(now, Mapping):
        return {"/".join(k) if isinstance(k, tuple) else str(k): document(v) for k, v in now.items()}
    return [document(v) for v in now] if isinstance(now, (tuple, list)) else now


def _target(t: TargetState) -> Iterator[str]:

    output = t.tokens.get(TokenKind.OUTPUT)
    yield "up" if t.up else f"down: {t.reason}"
    yield f"output unknown{_why_unknown(t)}" if output is None else f"{output:.0f} output tokens"
    joules = ", ".join(f"{amount(j, 'J')} {scope} ({basis})" for (scope, _, basis), j in t.energy_j.items())
    yield joules or "no joules known"
    yield from _now(t)
    latest = t.latest
    yield from dict.fromkeys(f.text for f in (latest.findings if latest is not None else ()) if f.refused)


def _why_unknown(t: TargetState) -> str:
    """Why a target that answers has no count of output tokens."""
    latest = t.latest if t.up else None
    if latest is None:
        return ""
    return f": {latest.reason or latest.phi_reason or 'its page has shown no count yet'}"


def _now(t: TargetState) -> Iterator[str]:
    """Rate, power and J/token of the latest interval."""

    rate = rate_tok_s(t)
    if rate is None:
        return
    shown = [f"now {rate:.4g} tok/s"]
    for scope in ("node", "device", "cpu"):
        watts = power_w(t, scope)
        if watts is not None:
            shown.append(f"{watts:.4g} W {scope}" + (f", {watts / rate:.3g} J/tok" if rate else ""))
            break
    yield ", ".join(shown)


def _site(s: SiteState) -> str:
    """A metered site in one line."""

    parts = []
    for e in s.latest.energy.values() if s.latest is not None else ():
        watts, half = power_of(e, s.latest.duration_s if s.latest else 0.0)
        if watts is not None:
            parts.append(f"{watts:.1f} W {e.scope} ({e.basis}{'' if half is None else f', ± {half:.1f} W'})")
    pue = pue_now(s)
    if pue is None or pue.value is None:
        return "; ".join([*parts, f"PUE unknown: {'not metered' if pue is None else pue.reason}"])
    bounds = "" if pue.low is None or pue.high is None else f", {pue.low:.3f} to {pue.high:.3f}"
    return "; ".join([*parts, f"PUE {pue.value:.3f} ({pue.basis}{bounds})"])
