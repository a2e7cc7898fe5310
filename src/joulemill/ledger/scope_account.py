"""One scope's account over the window: joules, watts, the idle part, and joules per output token as figures. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from joulemill.arrays import Array
from joulemill.figure import Basis, Figure, unknown
from joulemill.ledger.coverage import FAILED_MOST_RATIO
from joulemill.ledger.energy import EnergyResult, sub_window_energy_j, window_energy
from joulemill.ledger.findings import Finding, Reason, distinct, why
from joulemill.ledger.plausibility import dead_sensor
from joulemill.ledger.record import Phase, Scope
from joulemill.ledger.scopes import Composition, compose, scope_energy
from joulemill.ledger.trace import Trace
from joulemill.ledger.unmetered import NodeModel, completed, incomplete
from joulemill.statistics.ratio import FEWEST, LEVEL, ratio_interval


@dataclass(frozen=True, slots=True)
class Doubt:
    """What J/token is no surer than.

    token_ratio    share of the tokens by which their count may be off
    foreign_ratio  share of the joules that may be others' (a device that other processes use too)
    """

    token_ratio: float = 0.0
    foreign_ratio: float = 0.0


NO_DOUBT = Doubt()
#: A gauge that shows one and the same value at this many reads of the idle phase and of the window each, to the last
#: digit, may be frozen. Assumed.
FROZEN_COUNT = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeAccount:
    """Joules of one scope. Every figure is unknown with its reason where it cannot be known.

    composition      what is summed, and what the scope lacks
    window, idle     the joules of the window and of the idle phase; idle None without a finished idle phase
    energy, power, idle_power, idle_energy   J, W, W, and J of the window at idle power
    j_tok, above_idle_j_tok                  Σ J ÷ Σ output tokens with their intervals
    sub_window_j     joules between the account's edges; None where unknown
    """

    scope: Scope
    composition: Composition
    window: EnergyResult
    idle: EnergyResult | None
    energy: Figure
    power: Figure
    idle_power: Figure
    idle_energy: Figure
    j_tok: Figure
    above_idle_j_tok: Figure
    sub_window_j: tuple[float | None, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Everything that was found about it."""
        return self.window.findings


def scope_accounts(
    all_traces: Mapping[str, Trace],
    expected: Mapping[Scope, int],
    edges_s: Array,
    output_tok: Array,
    idle: Phase | None,
    *,
    holder: NodeModel | None = None,
    doubt: Doubt = NO_DOUBT,
) -> dict[Scope, ScopeAccount]:
    """The account of every scope over [edges_s[0], edges_s[-1]], with ``output_tok`` [k] of its sub-windows.

    holder   what holds the metered parts, where no meter sees the whole node; None: then the node is unknown
    doubt    how far tokens and joules may not be the server's own
    """
    idles = {i: _idle_result(t, idle) for i, t in all_traces.items()}
    start, end = float(edges_s[0]), float(edges_s[-1])
    results = {}
    for i, t in all_traces.items():
        resting = idles[i]
        watts = None if resting is None else resting.power_w
        result = alive(window_energy(t, start, end, idle_power_w=watts), t, float(output_tok.sum()))
        results[i] = replace(
            result, findings=(*result.findings, *_frozen(t, (start, end), float(output_tok.sum()), idle))
        )
    refusals = {i: tuple(f for f in r.findings if f.fatal) for i, r in results.items() if r.energy_j is None}
    composed = compose((t.channel for t in all_traces.values()), refusals, expected)
    setting = _ScopeInputs(all_traces, edges_s, output_tok, holder, doubt)
    return {s: _account(c, setting, results, idles) for s, c in composed.items()}


def alive(result: EnergyResult, trace: Trace, output_tok: float) -> EnergyResult:
    """``result`` of ``trace``'s channel, refused where the sensor is dead: its server made ``output_tok`` with nothing.

    Exactly 0 W, a counter that stands still, less than a hundredth of the board's limit; or 0 W at some of its reads.
    """
    if result.energy_j is None or result.basis is not Basis.MEASURED:
        return result
    step_j = trace.channel.resolution or 0.0
    dead = dead_sensor(
        result.energy_j,
        output_tok,
        result.duration_s,
        scope=trace.channel.scope,
        limit_w=trace.limit_w,
        resolution_j=step_j,
    )
    if not dead and not (output_tok > 0.0 and _off_ratio(trace, result) > FAILED_MOST_RATIO):
        return result
    detail = f"{result.energy_j:.4g} J while its server made {output_tok:.0f} tokens: dead, or its unit is off"
    finding = Finding(Reason.DEAD_SENSOR, result.subject, detail, fatal=True)
    return replace(result, energy_j=None, low_j=None, high_j=None, basis=None, findings=(*result.findings, finding))


def _frozen(trace: Trace, window: tuple[float, float], output_tok: float, idle: Phase | None) -> list[Finding]:
    """A measured gauge that shows under load what it showed idle: told, for a coarse one may be right in that."""
    if trace.kind == "counter" or trace.channel.basis is not Basis.MEASURED or output_tok <= 0.0 or not trace.usable:
        return []
    if idle is None or idle.end_mono_s is None:
        return []
    calm, loaded = (
        trace.level[(trace.t_s >= start) & (trace.t_s <= end)]
        for start, end in ((idle.start_mono_s, idle.end_mono_s), window)
    )
    few = min(len(calm), len(loaded)) < FROZEN_COUNT
    if few or np.ptp(np.concatenate((calm, loaded))) > 0.0:
        return []
    detail = (
        f"{loaded[0]:.6g} W at each of {len(calm)} reads idle and of {len(loaded)} under load: it may be frozen, or "
        "coarser than the load; a second sensor would tell"
    )
    return [Finding(Reason.DEAD_SENSOR, trace.channel.id, detail)]


def _off_ratio(trace: Trace, result: EnergyResult) -> float:
    """Share of a gauge's reads in the window that show exactly nothing."""
    inside = (trace.t_s >= result.start_s) & (trace.t_s <= result.end_s)
    return float(np.mean(trace.level[inside] == 0.0)) if trace.kind != "counter" and inside.any() else 0.0


@dataclass(frozen=True, eq=False, slots=True)
class _ScopeInputs:
    """What every scope's account starts from."""

    traces: Mapping[str, Trace]
    edges_s: Array
    output_tok: Array
    holder: NodeModel | None
    doubt: Doubt


def _idle_result(trace: Trace, idle: Phase | None) -> EnergyResult | None:
    """Joules of the idle phase, cut to the reads that lie in it."""
    if idle is None or idle.end_mono_s is None or not trace.usable:
        return None
    start = max(idle.start_mono_s, float(trace.read_s[0]))
    end = min(idle.end_mono_s, float(trace.read_s[-1]))
    return window_energy(trace, start, end) if end > start else None


def _account(
    composition: Composition,
    setting: _ScopeInputs,
    results: Mapping[str, EnergyResult],
    idles: Mapping[str, EnergyResult | None],
) -> ScopeAccount:
    edges_s = setting.edges_s
    span = (float(edges_s[0]), float(edges_s[-1]))
    window = scope_energy(composition, results, span)
    idle = _scope_idle(composition, idles, span)
    joules = np.full(len(edges_s) - 1, np.nan)
    if window.energy_j is not None:
        parts = (sub_window_energy_j(setting.traces[i], edges_s) for i in composition.channels)
        joules = sum(parts, np.zeros_like(joules))
    if incomplete(composition):
        metered_j = window.energy_j
        window = _whole(window, composition, setting, results)
        idle = None if idle is None else _whole(idle, composition, setting, idles)
        joules = (
            joules * (window.energy_j / metered_j) if window.energy_j and metered_j else np.full_like(joules, np.nan)
        )
    idle_power = _idle_power(idle)
    figures = _token_figures(window, idle, joules, setting)
    return ScopeAccount(
        scope=composition.scope,
        composition=composition,
        window=window,
        idle=idle,
        energy=_energy_figure(window),
        power=_energy_figure(window).scaled(1.0 / window.duration_s, "W"),
        idle_power=idle_power,
        idle_energy=idle_power.scaled(window.duration_s, "J"),
        j_tok=figures[0],
        above_idle_j_tok=figures[1],
        sub_window_j=tuple(float(x) if math.isfinite(x) else None for x in joules),
    )


def _whole(
    total: EnergyResult,
    composition: Composition,
    setting: _ScopeInputs,
    results: Mapping[str, EnergyResult | None],
) -> EnergyResult:
    """The node of which ``total`` are the metered parts."""
    shares: dict[Scope, float] = {}
    for i in composition.channels:
        part = results.get(i)
        if part is not None and part.power_w is not None:
            scope = setting.traces[i].channel.scope
            shares[scope] = shares.get(scope, 0.0) + part.power_w * total.duration_s
    return completed(total, shares, composition.coverage, setting.holder)


def _scope_idle(
    composition: Composition, idles: Mapping[str, EnergyResult | None], span: tuple[float, float]
) -> EnergyResult | None:
    parts = {i: r for i in composition.channels if (r := idles.get(i)) is not None}
    if not parts or len(parts) < len(composition.channels):
        return None
    spans = [(r.start_s, r.end_s) for r in parts.values()]
    common = (max(a for a, _ in spans), min(b for _, b in spans))
    if not common[1] > common[0]:
        common = span
    # Parts may have been read over slightly different stretches: bring each to the common one at its own power.
    scaled = {i: _stretched(r, common) for i, r in parts.items()}
    return scope_energy(replace(composition, findings=(), alternatives=(), rivals=()), scaled, common)


def _stretched(r: EnergyResult, span: tuple[float, float]) -> EnergyResult:
    if r.energy_j is None or r.low_j is None or r.high_j is None:
        return r
    k = (span[1] - span[0]) / r.duration_s
    return replace(r, start_s=span[0], end_s=span[1], energy_j=k * r.energy_j, low_j=k * r.low_j, high_j=k * r.high_j)


def _energy_figure(e: EnergyResult) -> Figure:
    if e.energy_j is None:
        return unknown("J", why(e.findings))
    caveats = "; ".join(f.text for f in distinct(e.findings)) or None
    return Figure(e.energy_j, "J", e.basis, low=e.low_j, high=e.high_j, level=LEVEL, reason=caveats, source=e.kind)


def _idle_power(idle: EnergyResult | None) -> Figure:
    if idle is None:
        return unknown("W", f"{Reason.NO_IDLE.value}: no finished idle phase that was metered")
    return _energy_figure(idle).scaled(1.0 / idle.duration_s, "W")


def _token_figures(
    window: EnergyResult, idle: EnergyResult | None, joules: Array, setting: _ScopeInputs
) -> tuple[Figure, Figure]:
    """J/tok, and J/tok above idle."""
    output_tok, doubt = setting.output_tok, setting.doubt
    whole = energy_per_token(window, joules, output_tok, doubt)
    if window.energy_j is None or idle is None or idle.power_w is None:
        missing = _idle_power(idle).reason if window.energy_j is not None else why(window.findings)
        return whole, unknown("J/tok", missing or "")
    half = _above_idle_half_j(window, _stretched(idle, (window.start_s, window.end_s)))
    low, high = window.energy_j - half, window.energy_j + half
    widened = replace(window, low_j=low, high_j=high)
    return whole, energy_per_token(widened, joules - idle.power_w * np.diff(setting.edges_s), output_tok, doubt)


def _above_idle_half_j(window: EnergyResult, idle: EnergyResult) -> float:
    """Half width of window − idle, both by the same meters.

    A meter's gain error is common to both, so it scales their difference and does not add: the part of it that is
    common is at most the lesser of the two relative half widths. What is left of each is independent.
    """
    parts = [(r.energy_j or 0.0, r.half_width_j or 0.0) for r in (window, idle)]
    gain = min((half / energy if energy > 0 else 0.0) for energy, half in parts)
    rest = [math.sqrt(max(half**2 - (gain * energy) ** 2, 0.0)) for energy, half in parts]
    return math.hypot(gain * (parts[0][0] - parts[1][0]), *rest)


def energy_per_token(window: EnergyResult, joules: Array, tokens_tok: Array, doubt: Doubt = NO_DOUBT) -> Figure:
    """Σ joules [k] ÷ Σ tokens [k] with the interval of ``ratio_interval``; the meter's part from ``window``.

    doubt   what J/token is no surer than; joules that may be others' let it reach down only
    """
    if window.energy_j is None:
        return unknown("J/tok", why(window.findings))
    half_j = math.hypot(window.half_width_j or 0.0, doubt.token_ratio * window.energy_j)
    interval = ratio_interval(joules, tokens_tok, half_j)
    if interval is None:
        return unknown("J/tok", f"{Reason.NO_TOKENS.value}: no token that counts in the window")
    few = f"{Reason.TOO_FEW_WINDOWS.value}: {interval.n} sub-windows, {FEWEST} needed for an interval; run longer"
    reason = few if interval.low is None else None
    low = None if interval.low is None else interval.low - doubt.foreign_ratio * max(interval.value, 0.0)
    if low is not None and not (joules < 0.0).any():  # few windows reach far: what is never negative ends at 0
        low = max(low, 0.0)
    return Figure(
        interval.value,
        "J/tok",
        window.basis,
        low=low,
        high=interval.high,
        level=LEVEL,
        reason=reason,
        source="Σ J ÷ Σ output tok",
    )
