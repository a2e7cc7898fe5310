"""A simulated run as a JSON document, by the names of the report of a measured one. Pure; unknown is null."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from joulemill.arrays import Array
from joulemill.figure import Basis, Figure, unknown
from joulemill.simulation.columns import Whole
from joulemill.simulation.latencies import SimulatedLatency, doubts_of_queue, summary
from joulemill.simulation.outcomes import REASONS
from joulemill.simulation.power_statistics import VIOLATION_RATIO, headroom, power_statistics
from joulemill.simulation.run import LEVEL, SCOPES, PlayedTraffic
from joulemill.simulation.timeline import ReplicaState

SCHEMA_VERSION = "1.0"


def document_of(run: PlayedTraffic, *, violation_ratio: float = VIOLATION_RATIO) -> dict[str, Any]:
    """All figures of a run but its series and what ran it."""
    return {
        "schema_version": SCHEMA_VERSION,
        "output": output_part(run),
        "energy": energy_part(run),
        "power": power_part(run, violation_ratio),
        "latency": latency_part(run),
        "requests": requests_part(run),
        "tokens": tokens_part(run),
        "quality": quality_part(run),
        "replicas": replicas_part(run),
        "carbon": carbon_part(run),
        "doubts": list(doubts_of_queue(run.traffic, run.outcomes, run.latencies)),
        "notes": list(run.notes),
    }


def output_part(run: PlayedTraffic) -> dict[str, Any]:
    """Rates over the whole time."""
    full = run.around.limits.full_load_tok_s
    rate = run.output_tok / run.duration_s
    utilization = unknown("1", "the rate at full load is not known") if not full else _use(rate / full, run)
    return {
        "rate_tok_s": run.rate_figure(rate, "tok/s"),
        "good_tok_s": _good(run),
        "request_rate_req_s": run.rate_figure(float(run.outcomes.completed.sum()) / run.duration_s, "req/s"),
        "utilization": utilization,
        "duration_s": run.duration_s,
    }


def _use(value: float, run: PlayedTraffic) -> Figure:
    """Utilization: the rate at full load is as uncertain as the time of a step."""
    factor = math.exp(run.around.widths.time_ratio)
    basis = run.around.basis
    return Figure(value, "1", basis, low=value / factor, high=value * factor, level=LEVEL, source="simulation")


def _good(run: PlayedTraffic) -> Figure:
    """Tokens within the targets. How many miss them hangs on the latencies, which have intervals of their own."""
    rate = run.good_tok / run.duration_s
    if run.around.ttft_limit_s is None and run.around.tpot_limit_s is None:
        return run.rate_figure(rate, "tok/s")
    reason = "without an interval: it depends on which latencies miss the targets, see those"
    return Figure(rate, "tok/s", run.around.basis, reason=reason, source="simulation")


def energy_part(run: PlayedTraffic) -> dict[str, Any]:
    """Joules per token by scope, by stage and by kind of token, per request and per session, and where they went."""
    tokens, parts = run.output_tok, run.parts_j
    device = {f"{stage}_j_tok": _stage(run, parts[stage], tokens) for stage in ("prefill", "decode")}
    return {
        **{f"{scope}_j_tok": run.energy_figure(scope, tokens, "J/tok") for scope in SCOPES},
        **{f"{scope}_j": run.energy_figure(scope, 1.0, "J") for scope in SCOPES},
        "good_j_tok": run.energy_figure(run.widest_scope, run.good_tok, "J/tok", "output token within the targets"),
        **device,
        "by_token": _by_token(run),
        "request_j": run.energy_figure(run.widest_scope, float(run.outcomes.completed.sum()), "J/req", "request"),
        "request_active_j": _shares(run.outcomes.energy_j[run.outcomes.completed]),
        "session_active_j": _sessions(run),
        "scope": run.widest_scope,
        "parts_j": parts,
        "closure_j": run.closure_j,
    }


def _stage(run: PlayedTraffic, energy_j: float, tokens: float) -> Figure:
    if tokens <= 0:
        return unknown("J/tok", "it produced no output token")
    return run.figure(energy_j / tokens, "J/tok", "device")


def _by_token(run: PlayedTraffic) -> dict[str, Figure]:
    """Device joules per token of each kind: computing prompts over prompt tokens computed, decoding over output."""
    computed, cached = float(run.timeline.prefill_tok.sum()), float(run.outcomes.cached_tok.sum())
    parts = run.parts_j
    return {
        "input_j_tok": _stage(run, parts["prefill"], computed)
        if computed
        else unknown("J/tok", "no prompt token was computed"),
        "cached_j_tok": Figure(
            0.0,
            "J/tok",
            run.around.basis,
            reason="no step computes a cached token; its KV cache is read in the steps that attend to it",
        )
        if cached
        else unknown("J/tok", "no prompt token came from the prefix cache"),
        "output_j_tok": _stage(run, parts["decode"], run.output_tok),
    }


def _shares(energies_j: Array | Whole) -> dict[str, float | None]:
    """Distribution of the devices' active energy over requests or sessions."""
    if not len(energies_j):
        return {"mean": None, "p50": None, "p90": None, "p99": None}
    p50, p90, p99 = np.quantile(energies_j, (0.5, 0.9, 0.99)).tolist()
    return {"mean": float(energies_j.mean()), "p50": p50, "p90": p90, "p99": p99}


def _sessions(run: PlayedTraffic) -> dict[str, float | None] | None:
    session = run.traffic.session
    if session is None or not np.any(session >= 0):
        return None
    named = session >= 0
    sums = np.bincount(session[named], weights=run.outcomes.energy_j[named])
    return _shares(sums[np.bincount(session[named]) > 0]) | {"sessions": len(np.unique(session[named]))}


def power_part(run: PlayedTraffic, violation_ratio: float) -> dict[str, Any]:
    """Power statistics by scope, and room for more under the feed."""
    power = run.power
    part: dict[str, Any] = {}
    for scope in SCOPES:
        watts = power.power_w(scope)
        if watts is None:
            part[f"{scope}_w"] = None
            continue
        s = power_statistics(watts, power.bins.lengths_s, power.bins.width_s)
        down, up = run.bounds(scope)
        part[f"{scope}_w"] = {
            "mean": s.mean_w,
            "peak": s.peak_w,
            "p50": s.p50_w,
            "p95": s.p95_w,
            "p99": s.p99_w,
            "peak_900s": s.peak_900_w,
            "load_factor": s.load_factor_ratio,
            "ramp_up": {f"{tau:g}s": w for tau, w in s.up_w.items()},
            "ramp_down": {f"{tau:g}s": w for tau, w in s.down_w.items()},
            "mean_low": s.mean_w * down,
            "mean_high": s.mean_w * up,
            "level": 0.8,
            "basis": str(run.around.basis),
        }
    widest = power.power_w(run.widest_scope)
    if widest is None:
        return part
    if run.around.nameplate_w is not None:
        room = headroom(widest, power.bins.lengths_s, run.around.nameplate_w, violation_ratio)
        part["headroom"] = asdict(room) | {"scope": run.widest_scope}
    part["duration_w"] = power_statistics(widest, power.bins.lengths_s, power.bins.width_s).duration_w
    return part | {"limits": limits_part(run)}


def limits_part(run: PlayedTraffic) -> dict[str, Any]:
    """How far limits of the site and of the cooling were kept."""
    checked = (("site_w", "site", run.around.site_limit_w), ("cooling_w", "node", run.around.cooling_limit_w))
    kept: dict[str, Any] = {}
    for name, scope, limit in checked:
        watts = run.power.power_w(scope)
        if limit is None or watts is None:
            continue
        over = np.nan_to_num(watts - limit.means(run.power.bins.edges_s), nan=-np.inf)
        broken = over > 0
        kept[name] = {
            "over_time_ratio": float(run.power.bins.lengths_s[broken].sum() / run.duration_s),
            "over_max": float(over.max()) if broken.any() else 0.0,
        }
    return kept


def latency_part(run: PlayedTraffic) -> dict[str, Any]:
    """Latencies over requests."""
    of = run.latencies
    around = run.around
    return {
        **{name: _latency(summary(getattr(of, name)), run) for name in ("ttft_s", "tpot_s", "e2e_s", "queue_s")},
        "slo": {
            "ttft_s": around.ttft_limit_s,
            "tpot_s": around.tpot_limit_s,
            "attained_ratio": float(run.good.sum() / max(run.traffic.requests_count, 1)),
        },
    }


def _latency(of: SimulatedLatency, run: PlayedTraffic) -> dict[str, Any]:
    return {
        "mean": _number(of.mean_s),
        "p50": _number(of.p50_s),
        "p90": _number(of.p90_s),
        "p99": _number(of.p99_s),
        "n": of.requests,
        "mean_half_width": _number(of.mean_half_s),
        "basis": str(run.around.basis),
        "reason": None if of.requests else "no request came to it",
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def requests_part(run: PlayedTraffic) -> dict[str, Any]:
    """What became of the requests."""
    o = run.outcomes
    counts = np.bincount(o.rejected_for[o.rejected], minlength=len(REASONS))
    return {
        "offered": run.traffic.requests_count,
        "completed": int(o.completed.sum()),
        "rejected": int(o.rejected.sum()),
        "rejected_for": {reason: int(n) for reason, n in zip(REASONS, counts, strict=False) if n},
        "unfinished": int((~o.completed & ~o.rejected).sum()),
        "preempted": int((o.preemptions_count > 0).sum()),
        "preemptions": int(o.preemptions_count.sum()),
        "good": int(run.good.sum()),
    }


def tokens_part(run: PlayedTraffic) -> dict[str, int]:
    """Tokens that were asked, served and computed."""
    return {
        "input": int(run.traffic.input_tok[run.outcomes.admitted_ns >= 0].sum()),
        "cached": int(run.outcomes.cached_tok.sum()),
        "computed": int(run.timeline.prefill_tok.sum()),
        "output": run.output_tok,
    }


def quality_part(run: PlayedTraffic) -> dict[str, Any]:
    """Declared accuracy of the answers, joules of a correct one, and what a thinking budget and a cascade did."""
    q = run.quality
    completed = float(run.outcomes.completed.sum())
    if q.accuracy_ratio is None:
        why = "accuracy is not declared; give accuracy, and of a cascade that of both models"
        correct, joules = unknown("1", why), unknown("J/req", why)
    else:
        correct = Figure(q.accuracy_ratio, "1", Basis.DECLARED, source="declared")
        joules = run.energy_figure(run.widest_scope, q.accuracy_ratio * completed, "J/req", "correct answer")
    return {
        "accuracy": correct,
        "correct_j": joules,
        "thinking": q.thinking and asdict(q.thinking),
        "cascade": q.cascade and asdict(q.cascade),
    }


def replicas_part(run: PlayedTraffic) -> dict[str, float | int]:
    """How many replicas served on average, and what loading and waking them took."""
    line = run.timeline
    moving = line.state == ReplicaState.TRANSITION
    serving = (line.state == ReplicaState.LOADED_IDLE) | (line.state == ReplicaState.ACTIVE)
    return {
        "serving_mean": float(line.duration_s[serving].sum() / run.duration_s),
        "transitions": int(moving.sum()),
        "transition_s": float(line.duration_s[moving].sum()),
        "transition_j": float(line.transition_j.sum()),
    }


def carbon_part(run: PlayedTraffic) -> dict[str, Any]:
    """Carbon and money of the site's energy over the whole time, and per output token."""
    part: dict[str, Any] = {}
    stated = (
        ("gco2e", "gCO2e", run.around.carbon_gco2e, "grid carbon is not stated in the site or events file"),
        (
            "cost_currency",
            run.around.currency or "currency",
            run.around.price_currency,
            "electricity price is not stated in the site or events file",
        ),
    )
    for name, unit, schedule, reason in stated:
        total = run.priced(schedule)
        if total is None:
            why = reason if schedule is None else (run.around.why_no_site or "it is not stated for all of the time")
            part[name], part[f"{name}_tok"] = unknown(unit, why), unknown(f"{unit}/tok", why)
            continue
        part[name] = run.figure(total, unit, "site")
        part[f"{name}_tok"] = (
            run.figure(total / run.output_tok, f"{unit}/tok", "site")
            if run.output_tok
            else unknown(f"{unit}/tok", "it produced no output token")
        )
    return part
