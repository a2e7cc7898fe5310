"""A snapshot as the JSON that the page draws from: figures with their basis, unknown as null. Pure."""

from __future__ import annotations

from typing import Any

from joulemill.monitor.accounting.pue import power_of, pue_now, used_pue
from joulemill.monitor.advice.alerts import alerts, power_w
from joulemill.monitor.snapshot import SiteFacts, SiteState, Snapshot, TargetState, TokenKind, rate_tok_s

#: Scopes from the widest to the parts of a machine.
SCOPES = ("site", "node", "device", "cpu", "memory")


def document(now: Snapshot) -> dict[str, Any]:
    """All that the page shows of ``now``."""
    return {
        "at_s": now.at_s,
        "targets": [target(t) for t in now.targets],
        "meters": [
            {
                "meter": m.meter,
                "target": m.target,
                "site": m.site,
                "scope": m.scope,
                "state": m.state,
                "age_s": m.age_s,
                "detail": m.detail,
            }
            for m in now.meters
        ],
        "sites": [site(s, now.site_state(s.site)) | {"it_now": it_now(now, s.site)} for s in now.sites],
        "alerts": [
            {"severity": a.severity, "kind": a.kind, "subject": a.subject, "text": a.text, "since_s": a.since_s}
            for a in alerts(now)
        ],
        "config_error": now.config_error,
    }


def it_now(now: Snapshot, name: str) -> dict[str, Any]:
    """IT power of a site's targets now: their sum, how many are known, and of which scopes and basis."""
    its = [t for t in now.targets if t.facts.site == name]
    known = [(scope, w, t) for t in its for scope, w in [widest(t)] if scope is not None]
    bases = {str(t.latest.energy[scope].basis) for scope, _, t in known if t.latest is not None}
    return {
        "w": sum(w for _, w, _ in known) if known else None,
        "known": len(known),
        "of": len(its),
        "scopes": sorted({scope for scope, _, _ in known}),
        "basis": sorted(bases),
    }


def widest(t: TargetState) -> tuple[str | None, float]:
    """The widest scope below the site whose power is known, and that power; (None, 0) where none is."""
    for scope in ("node", "device", "cpu"):
        watts = power_w(t, scope)
        if watts is not None:
            return scope, watts
    return None, 0.0


def site(s: SiteFacts, metered: SiteState | None) -> dict[str, Any]:
    """One site: its PUE as it is used (measured before declared), and what its own meters say of the latest stretch."""
    pue, latest = used_pue(s, pue_now(metered)), None if metered is None else metered.latest
    power = {}
    for e in latest.energy.values() if latest is not None else ():
        watts, half = power_of(e, latest.duration_s if latest else 0.0)
        power[e.scope] = {"w": watts, "half_w": half, "basis": e.basis, "covered": e.covered_ratio}
    it = None if latest is None or latest.it is None else power_of(latest.it, latest.duration_s)[0]
    return {
        "site": s.site,
        "pue": pue.value,
        "pue_low": pue.low,
        "pue_high": pue.high,
        "pue_basis": None if pue.basis is None else pue.basis.value,
        "pue_reason": pue.reason,
        "pue_declared": s.pue_ratio,
        "metered": metered is not None,
        "power": power,
        "it_w": it,
        "end_s": None if latest is None else latest.end_s,
        "energy_j": [] if metered is None else [[*key, joules] for key, joules in metered.energy_j.items()],
        "carbon_g_kwh": s.carbon_g_kwh,
        "price_kwh": s.price_kwh,
        "currency": s.currency,
        "power_limit_w": s.power_limit_w,
    }


def target(t: TargetState) -> dict[str, Any]:
    """One target: its facts, what it does now, and its totals."""
    now = t.latest if t.latest is not None and t.latest.observed else None
    return {
        "name": t.facts.target,
        "model": t.facts.model,
        "site": t.facts.site,
        "node": t.node,
        "device": t.facts.device,
        "devices": t.facts.devices_count,
        "labels": dict(t.facts.labels),
        "up": t.up,
        "reason": t.reason,
        "since_s": t.since_s,
        "unobserved_s": t.unobserved_s,
        "end_s": now.end_s if now else None,
        "tok_s": rate_tok_s(t),
        "prompt_tok_s": rate_tok_s(t, TokenKind.PROMPT),
        "energy": {} if now is None else {s: _energy(t, s) for s in SCOPES if s in now.energy},
        "running": now.running_count if now else None,
        "waiting": now.waiting_count if now else None,
        "kv": now.kv_use_ratio if now else None,
        "ttft_s": now.ttft_s if now else None,
        "tpot_s": now.tpot_s if now else None,
        "latency": {} if now is None else {w: [p.p50_s, p.p90_s, p.p99_s] for w, p in now.latency.items()},
        "idle": now.idle_ratio if now else None,
        "binding": now.binding if now else None,
        "binding_p": now.binding_probability_ratio if now else None,
        "binding_reason": now.binding_reason if now else None,
        "phi": now.phi_ratio if now else None,
        "phi_low": now.phi_low_ratio if now else None,
        "phi_high": now.phi_high_ratio if now else None,
        "phi_reason": now.phi_reason if now else None,
        "findings": [] if now is None else [[f.scope, f.code, f.text, f.refused] for f in now.findings],
        "u": now.utilization_ratio if now else None,
        "ceilings": [] if now is None else [[c.name, c.ceiling_tok_s, c.basis] for c in now.ceilings],
        "routes": dict(now.route_tokens) if now else {},
        "total": {
            "tokens": {k.value: v for k, v in t.tokens.items()},
            "energy_j": [[*key, joules] for key, joules in t.energy_j.items()],
            "carbon_g": t.carbon_g,
            "cost": t.cost,
            "currency": t.currency,
        },
    }


def _energy(t: TargetState, scope: str) -> dict[str, Any]:
    """Watts and J/token of a scope, with the half width of the 95 % interval and the basis."""
    watts, rate = power_w(t, scope), rate_tok_s(t)
    energy = None if t.latest is None else t.latest.energy.get(scope)
    if energy is None or watts is None:
        return {"w": None, "j_tok": None, "half": None, "basis": None}
    share = None if energy.half_width_j is None or not energy.energy_j else energy.half_width_j / energy.energy_j
    return {"w": watts, "j_tok": watts / rate if rate else None, "half": share, "basis": energy.basis}
