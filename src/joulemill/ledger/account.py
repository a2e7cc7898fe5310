"""The account of a run: everything the ledger knows of it, in one value. A pure function of the record.

The same record gives an equal account, on any machine: the only randomness is the bootstrap's, seeded from the data.
What the record cannot tell is a figure without value and with a reason; a record without readings, without requests
or cut off in the middle is accounted as far as it goes.

From ``record.manifest`` it reads: ``options`` {concurrency | rate | trace, warmup_s, slo_ttft_s, slo_tpot_s} and
``expected`` {scope name: number of things, e.g. {"device": 8, "cpu": 2}}; all may be absent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from joulemill.arrays import Array
from joulemill.errors import InputError
from joulemill.figure import Basis, Figure, unknown, weakest
from joulemill.ledger.attribution import EQUAL_WORK, Attribution, Rule, Weights, attribute
from joulemill.ledger.caching import prefix_tok
from joulemill.ledger.clock_offset import with_offsets
from joulemill.ledger.energy import EnergyResult
from joulemill.ledger.findings import Finding, Reason, distinct
from joulemill.ledger.flow import Flow, flow
from joulemill.ledger.identity import unnamed_findings
from joulemill.ledger.latency import LatencySummary, Targets, latency, met_targets
from joulemill.ledger.phases import PhaseFit, fit_phases, half_width_j_tok, merged_edges_s, refused_fit
from joulemill.ledger.record import Channel, RequestOutcome, RequestRecord, RunRecord, Scope
from joulemill.ledger.request_checks import sound_requests
from joulemill.ledger.scope_account import Doubt, ScopeAccount, energy_per_token, scope_accounts
from joulemill.ledger.scopes import compose
from joulemill.ledger.shared_devices import foreign_use
from joulemill.ledger.summary_account import summary_figures, summary_of
from joulemill.ledger.tokens import TokenCount, count_tokens
from joulemill.ledger.trace import Trace, traces
from joulemill.ledger.unmetered import NodeModel, PackageNodeModel, incomplete
from joulemill.ledger.window import Window, find_window, load_requests, load_shape, steadiness, sub_window_edges_s
from joulemill.statistics.ratio import LEVEL, ratio_interval

#: The scope that requests, phases and prices are accounted at: the widest that meters of one machine know.
MAIN_SCOPES = (Scope.NODE, Scope.DEVICE, Scope.CPU)


@dataclass(frozen=True, slots=True)
class SubWindows:
    """Sub-windows of the window for pictures and later fits: edges [k+1], the rest [k], on the monotonic clock."""

    edges_s: tuple[float, ...]
    output_tok: tuple[float, ...]
    prompt_tok: tuple[float, ...]
    energy_j: Mapping[Scope, tuple[float | None, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A run accounted.

    window        None where no load was sent; then every figure below is unknown
    scopes        joules by scope; ``main`` is the one that requests and phases are accounted at, None if unmetered
    output_rate, good_rate, request_rate   tok/s, tok/s of requests that met their targets, requests ended a second
    good_j_tok    main-scope joules ÷ output tokens of requests that met their targets
    request_j     main-scope joules ÷ requests ended well in the window
    prefill_j_tok, decode_j_tok            above idle, fitted apart
    latency       of the load's requests that were sent in the window; ``load_latency`` of all of them
    attribution   by rule; empty where the joules are unknown
    """

    status: str
    status_reason: str | None
    window: Window | None
    scopes: Mapping[Scope, ScopeAccount]
    main: Scope | None
    tokens: TokenCount | None
    latency: LatencySummary
    load_latency: LatencySummary
    output_rate: Figure
    good_rate: Figure
    request_rate: Figure
    good_j_tok: Figure
    request_j: Figure
    prefill_j_tok: Figure
    decode_j_tok: Figure
    phases: PhaseFit | None
    attribution: Mapping[Rule, Attribution]
    series: SubWindows | None
    requests_in_window: int
    findings: tuple[Finding, ...]


def account(record: RunRecord, holder: NodeModel | None = None, board_w: float | None = None) -> Account:
    """Account ``record``.

    board_w power limit (TDP) of one device by its data sheet: no sensor of it is believed far beyond
    holder what holds the metered parts where no meter sees the whole node; without it that node is unknown
    Raises InputError where the manifest's expectations cannot be read.
    """
    expected = _expected(record, holder)
    sound = sound_requests(record.requests)
    record = replace(record, requests=sound.requests)
    every = _traced(record, board_w)
    used = _used(every, expected)
    load = load_requests(record)
    window = find_window(record, load_shape(record.manifest.asked), _covered(used))
    targets = _targets(record)
    if window is None:
        return _of_totals(record, every, expected, holder, _nothing(record, load, targets))
    every_request = [r for r in record.requests if r.dispatched_mono_s is not None]
    tokens_flow = flow(every_request)  # whoever was served in the window used its joules
    edges = sub_window_edges_s(window, _resolution_s(used))
    output, prompt = tokens_flow.output_per_window_tok(edges), tokens_flow.prompt_per_window_tok(edges)
    window = _steady(window, output, edges)
    count = count_tokens(
        tokens_flow, (window.start_s, window.end_s), record.requests, record.server, prefix_tok(record.manifest)
    )
    foreign_ratio, shared = foreign_use(record, window.start_s, window.end_s)
    doubt = Doubt(max(count.doubt_ratio, sound.uncounted_ratio), foreign_ratio)
    scopes = scope_accounts(every, expected, edges, output, record.phase("idle"), holder=holder, doubt=doubt)
    main = _main(scopes)
    within = [r for r in load if _sent_within(r, window)]
    whole = latency(load, targets)
    ended = [r for r in every_request if _ended_well(r, window)]
    good = flow([r for r in every_request if met_targets(r, targets)]).output_per_window_tok(edges)
    phases = None if main is None else _phases(scopes[main], tokens_flow, edges, _apart_s(used, whole))
    basis = None if main is None else scopes[main].window.basis
    fitted = _fitted(phases, basis)
    findings = [*window.findings, *(f for s in scopes.values() if s.composition.channels for f in s.findings)]
    return Account(
        status=record.status,
        status_reason=record.status_reason,
        window=window,
        scopes=scopes,
        main=main,
        tokens=count,
        latency=latency(within, targets),
        load_latency=whole,
        output_rate=_rate(output, edges, count.uncounted_chunk_count),
        good_rate=_rate(good, edges, count.uncounted_chunk_count),
        request_rate=Figure(len(ended) / window.duration_s, "req/s", Basis.MEASURED),
        good_j_tok=_per_good_token(scopes, main, good, doubt),
        request_j=_per_request(scopes, main, ended, edges, Doubt(0.0, foreign_ratio)),
        prefill_j_tok=fitted[0],
        decode_j_tok=fitted[1],
        phases=phases,
        attribution={} if main is None else _attributions(scopes[main], tokens_flow, edges, phases),
        series=_series(edges, output, prompt, scopes),
        requests_in_window=tokens_flow.active(window.start_s, window.end_s),
        findings=distinct([*findings, *shared, *sound.findings, *count.findings]),
    )


def phase_energy(
    record: RunRecord, name: str, holder: NodeModel | None = None, board_w: float | None = None
) -> EnergyResult | None:
    """Joules of the main scope over the last phase called ``name``, cut to the readings; None where nothing meters it.

    None too where the phase never ended. Raises InputError as ``account`` does.
    """
    phase = record.phase(name)
    if phase is None or phase.end_mono_s is None:
        return None
    expected = _expected(record, holder)
    every = _traced(record, board_w)
    covered = _covered(_used(every, expected))
    if covered is None:
        return None
    edges = np.array([max(phase.start_mono_s, covered[0]), min(phase.end_mono_s, covered[1])])
    if not edges[1] > edges[0]:
        return None
    scopes = scope_accounts(every, expected, edges, np.zeros(1), record.phase("idle"), holder=holder)
    main = _main(scopes)
    return None if main is None else scopes[main].window


def _traced(record: RunRecord, board_w: float | None) -> dict[str, Trace]:
    """Every meter's trace on the record's clock.

    Boards that a meter does not tell apart may be several, unless the user said that there is one: a number that was
    assumed (``--device NAME`` alone) says nothing.
    """
    every = with_offsets(traces(record.channels, record.readings, board_w), record.requests)
    if record.manifest.device is None or not record.manifest.device.count_assumed:
        return every
    return {i: replace(t, findings=(*t.findings, *_unnamed(t.channel))) for i, t in every.items()}


def _unnamed(channel: Channel) -> list[Finding]:
    sensor = channel.scope is Scope.DEVICE and channel.basis is Basis.MEASURED
    return unnamed_findings(channel.id, [channel.device], None) if sensor else []


def _main(scopes: Mapping[Scope, ScopeAccount]) -> Scope | None:
    """The widest scope that is metered as a whole; else the widest that is known at all."""
    known = [s for s in MAIN_SCOPES if scopes[s].energy.known]
    return next((s for s in known if not incomplete(scopes[s].composition)), known[0] if known else None)


def expectations(record: RunRecord) -> dict[Scope, int]:
    """The manifest's expectations as counts by scope. Raises InputError for an unknown scope or a count below 0."""
    counts: dict[Scope, int] = {}
    for name, count in (record.manifest.expected or {}).items():
        if name not in set(Scope) or not isinstance(count, int) or count < 0:
            raise InputError(f"expected {name!r}: {count!r}; write a count by scope, one of {', '.join(Scope)}")
        counts[Scope(name)] = count
    return counts


def _expected(record: RunRecord, holder: NodeModel | None) -> dict[Scope, int]:
    """What the manifest expects; where nothing but CPUs computes, no board, unless the user named one's meter."""
    expected = expectations(record)
    named = {re.split("[:,]", str(m))[0] for m in record.manifest.asked.meters or ()}
    boards = (c for c in record.channels if c.scope is Scope.DEVICE)
    if isinstance(holder, PackageNodeModel) and not any(re.split("[:,]", c.meter)[0] in named for c in boards):
        expected.setdefault(Scope.DEVICE, 0)
    return expected


def _targets(record: RunRecord) -> Targets:
    options = record.manifest.asked
    return Targets(options.slo_ttft_s, options.slo_tpot_s)


def _used(every: Mapping[str, Trace], expected: Mapping[Scope, int]) -> list[Trace]:
    """The usable channels that the main scope is made of; a slow meter beside them does not coarsen the window."""
    refusals = {i: t.findings for i, t in every.items() if not t.usable}
    composed = compose((t.channel for t in every.values()), refusals, expected)
    ids = next((composed[s].channels for s in MAIN_SCOPES if composed[s].channels), ())
    return [every[i] for i in ids if every[i].usable]


def _covered(used: Sequence[Trace]) -> tuple[float, float] | None:
    """The span that all used channels share; None without any."""
    spans = [(float(t.read_s[0]), float(t.read_s[-1])) for t in used]
    return (max(a for a, _ in spans), min(b for _, b in spans)) if spans else None


def _resolution_s(used: Sequence[Trace]) -> float:
    """The slowest used channel's time between updates or reads."""
    steps = [max(t.period_s, float(np.median(np.diff(t.read_s)))) for t in used]
    return max(steps, default=0.0)


def _steady(window: Window, output: Array, edges: Array) -> Window:
    steady, reason = steadiness(output, edges)
    steady = steady and not any(f.code is Reason.NOT_STEADY for f in window.findings)
    findings = window.findings if steady else (*window.findings, Finding(Reason.NOT_STEADY, "window", reason))
    return Window(window.start_s, window.end_s, window.rule, steady, reason, distinct(findings))


def _sent_within(r: RequestRecord, window: Window) -> bool:
    return r.dispatched_mono_s is not None and window.start_s <= r.dispatched_mono_s < window.end_s


def _ended_well(r: RequestRecord, window: Window) -> bool:
    return r.outcome is RequestOutcome.OK and r.end_mono_s is not None and window.start_s <= r.end_mono_s < window.end_s


def _rate(tokens: Array, edges: Array, uncounted_chunk_count: int) -> Figure:
    """Tokens a second; unknown where chunks came and none of their tokens was counted, for that is no rate of 0."""
    if uncounted_chunk_count and not tokens.sum() > 0.0:
        reason = (
            f"no request of the window was counted, and {uncounted_chunk_count} chunks came of others without usage"
        )
        return unknown("tok/s", reason)
    interval = ratio_interval(tokens, np.diff(edges))
    if interval is None:
        return unknown("tok/s", "no time in the window")
    low = None if interval.low is None else max(interval.low, 0.0)
    return Figure(interval.value, "tok/s", Basis.MEASURED, low=low, high=interval.high, level=LEVEL)


def _known_j(scope: ScopeAccount) -> Array:
    return np.array([np.nan if x is None else x for x in scope.sub_window_j])


def _per_good_token(scopes: Mapping[Scope, ScopeAccount], main: Scope | None, good: Array, doubt: Doubt) -> Figure:
    if main is None:
        return unknown("J/tok", _unmetered(scopes))
    return energy_per_token(scopes[main].window, _known_j(scopes[main]), good, doubt)


def _per_request(
    scopes: Mapping[Scope, ScopeAccount],
    main: Scope | None,
    ended: Sequence[RequestRecord],
    edges: Array,
    doubt: Doubt,
) -> Figure:
    """Joules ÷ requests that ended well, with the interval of their ratio over the sub-windows."""
    if main is None:
        return unknown("J/req", _unmetered(scopes))
    if not ended:
        return unknown("J/req", "no request ended well in the window; run longer")
    counts, _ = np.histogram([r.end_mono_s for r in ended if r.end_mono_s is not None], bins=edges)
    figure = energy_per_token(scopes[main].window, _known_j(scopes[main]), counts.astype(np.float64), doubt)
    return replace(figure, unit="J/req", source="Σ J ÷ Σ requests ended well")


def _unmetered(scopes: Mapping[Scope, ScopeAccount]) -> str:
    metered = [s for s in MAIN_SCOPES if scopes[s].composition.channels]
    return scopes[metered[0] if metered else Scope.NODE].energy.reason or "not metered"


def _phases(scope: ScopeAccount, tokens: Flow, edges: Array, apart_s: float) -> PhaseFit:
    """The fit over sub-windows merged until work and its joules, ``apart_s`` from each other, fall into the same."""
    idle_w = scope.idle_power.value
    if idle_w is None:
        return refused_fit(0, Reason.NO_IDLE, scope.idle_power.reason or "no idle baseline")
    merged = merged_edges_s(edges, apart_s)
    if merged is None:
        detail = f"joules and tokens may be {apart_s:.3g} s apart, too much for this window; run longer"
        return refused_fit(0, Reason.TOO_FEW_WINDOWS, detail)
    cumulative = np.concatenate(([0.0], np.cumsum(_known_j(scope))))
    joules = np.diff(cumulative[np.searchsorted(edges, merged)])
    duration = np.diff(merged)
    prompt, output = tokens.prompt_per_window_tok(merged), tokens.output_per_window_tok(merged)
    return fit_phases(joules - idle_w * duration, prompt, output, duration)


def _apart_s(used: Sequence[Trace], load: LatencySummary) -> float:
    """How far a token's work and its joules may be apart: a first token's time, and the meter's."""
    return (load.ttft.p50_s or 0.0) + max((t.lag_s for t in used), default=0.0)


def _fitted(fit: PhaseFit | None, basis: Basis | None) -> tuple[Figure, Figure]:
    """Prefill and decode as figures. Joules that were modelled do not become better by being fitted to."""
    if fit is None:
        nothing = unknown("J/tok", "joules of the window are not known")
        return nothing, nothing
    prefill = _fitted_figure(fit, fit.prefill_j_tok, fit.prefill_stderr_j_tok, basis)
    return prefill, _fitted_figure(fit, fit.decode_j_tok, fit.decode_stderr_j_tok, basis)


def _fitted_figure(fit: PhaseFit, value: float | None, stderr: float | None, basis: Basis | None) -> Figure:
    if value is None or stderr is None:
        return unknown("J/tok", fit.finding.text if fit.finding else "not fitted")
    half = half_width_j_tok(stderr, fit.freedom_count)
    known = weakest(Basis.CALIBRATED, basis)
    source = f"least squares over {fit.window_count} sub-windows"
    return Figure(value, "J/tok", known, low=value - half, high=value + half, level=LEVEL, reason=None, source=source)


def _attributions(scope: ScopeAccount, tokens: Flow, edges: Array, fit: PhaseFit | None) -> dict[Rule, Attribution]:
    weights = EQUAL_WORK  # where the phases cannot be fitted
    if fit is not None and fit.prefill_j_tok is not None and fit.decode_j_tok is not None:
        weights = Weights(fit.prefill_j_tok, fit.decode_j_tok, "fitted J per prompt and per output token of this run")
    joules, idle_w = _known_j(scope), scope.idle_power.value
    return {rule: attribute(rule, tokens, edges, joules, idle_w, weights) for rule in Rule}


def _series(edges: Array, output: Array, prompt: Array, scopes: Mapping[Scope, ScopeAccount]) -> SubWindows:
    joules = {s: a.sub_window_j for s, a in scopes.items() if a.composition.channels}
    return SubWindows(_floats(edges), _floats(output), _floats(prompt), joules)


def _floats(x: Array) -> tuple[float, ...]:
    return tuple(float(v) for v in x)


def _of_totals(
    record: RunRecord,
    every: Mapping[str, Trace],
    expected: Mapping[Scope, int],
    holder: NodeModel | None,
    nothing: Account,
) -> Account:
    """``nothing``, with what the stated totals of a run without single requests and its meters tell."""
    summary = summary_of(record)
    if summary is None:
        return _without_totals(record, nothing)
    filled = summary_figures(
        summary, lambda edges, tok: scope_accounts(every, expected, edges, tok, record.phase("idle"), holder=holder)
    )
    return replace(nothing, **{**filled, "main": _main(filled["scopes"]), "findings": distinct(filled["findings"])})


def _without_totals(record: RunRecord, nothing: Account) -> Account:
    """``nothing``, with why: meters were read, but the file states no tokens that their joules could be of."""
    if record.requests or not record.readings or record.manifest.imported is None:
        return nothing
    detail = "meters were read, but the file states no output tokens of the run"
    return replace(nothing, findings=(Finding(Reason.NO_TOKENS, "totals", detail, fatal=True), *nothing.findings))


def _nothing(record: RunRecord, load: tuple[RequestRecord, ...], targets: Targets) -> Account:
    """The account of a run whose load was never sent: latencies of nothing, every figure unknown."""
    finding = Finding(Reason.NO_LOAD, "run", "no request of a load phase was sent", fatal=True)
    none = latency(load, targets)
    per_tok, rate = unknown("J/tok", finding.text), unknown("tok/s", finding.text)
    request_rate, request_j = unknown("req/s", finding.text), unknown("J/req", finding.text)
    return Account(
        status=record.status,
        status_reason=record.status_reason,
        window=None,
        scopes={},
        main=None,
        tokens=None,
        latency=none,
        load_latency=none,
        output_rate=rate,
        good_rate=rate,
        request_rate=request_rate,
        good_j_tok=per_tok,
        request_j=request_j,
        prefill_j_tok=per_tok,
        decode_j_tok=per_tok,
        phases=None,
        attribution={},
        series=None,
        requests_in_window=0,
        findings=(finding,),
    )
