"""Every reason code, brought about: the figure is refused, or its interval widens, or the joules are exactly right.

One case for each member of the enumeration (a new one without a case fails). No case may lose or invent a joule: what
is not refused holds the truth, 100 W over the window.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from simulated.readings import channel, counted, reading
from simulated.runs import steady_run

from joulemill.figure import Figure
from joulemill.ledger.account import account
from joulemill.ledger.clock_offset import busy_spans, with_offsets
from joulemill.ledger.energy import EnergyResult, window_energy
from joulemill.ledger.findings import Finding, Reason, distinct, refused, why
from joulemill.ledger.phases import fit_phases
from joulemill.ledger.record import Channel, Quantity, Reading, RunRecord, Scope
from joulemill.ledger.scopes import compose, scope_energy
from joulemill.ledger.trace import trace
from joulemill.ledger.unmetered import DeviceNodeModel
from joulemill.physics.hardware.node import Node

WATTS, START, END = 100.0, 20.0, 80.0
TRUTH_J = WATTS * (END - START)
REFUSED, WIDER, EXACT = "refused", "wider", "exact"
Seen = tuple[EnergyResult, EnergyResult | None]


def energy(c: Channel, raw: list[Reading], start: float = START, end: float = END) -> EnergyResult:
    return window_energy(trace(c, raw), start, end)


def gauge(**facts: object) -> Channel:
    return channel("meter:a:power", quantity=Quantity.POWER, **facts)


def constant(every_s: float = 0.5, until_s: float = 100.0, id: str = "meter:a:power") -> list[Reading]:
    return [reading(id, t, WATTS) for t in np.arange(0.0, until_s + 1e-9, every_s)]


def clean_gauge() -> EnergyResult:
    return energy(gauge(), constant())


def clean_counter() -> EnergyResult:
    return energy(channel(), counted("meter:a:energy", WATTS, 100.0))


def with_bad(value: float | None) -> Seen:
    raw = constant()
    return energy(gauge(), [*raw[:80], reading("meter:a:power", 40.1, value, "no"), *raw[80:]]), clean_gauge()


def scope_of(joules: dict[Channel, list[Reading]], scope: Scope, expected: dict[Scope, int] | None = None):
    results = {c.id: energy(c, raw) for c, raw in joules.items()}
    refusals = {i: tuple(f for f in r.findings if f.fatal) for i, r in results.items() if r.energy_j is None}
    return scope_energy(compose(joules, refusals, expected)[scope], results, (START, END))


def board(n: int, **facts: object) -> Channel:
    return channel(f"nvml:GPU-{n}:energy", meter="nvml", device=f"GPU-{n}", **facts)


def boards(n: int, **facts: object) -> dict[Channel, list[Reading]]:
    return {board(i, **facts): counted(board(i).id, WATTS, 100.0) for i in range(n)}


# --- one case each: how it is brought about, and the clean figure beside it --------------------------------------


def gap() -> Seen:
    raw = [r for r in constant() if not 40.0 < r.t_mono_s < 50.0]
    return energy(gauge(), raw), clean_gauge()


def reset() -> Seen:
    raw = counted("meter:a:energy", WATTS, 50.0) + counted("meter:a:energy", WATTS, 49.0, start_s=51.0)
    return energy(channel(), raw), clean_counter()


def jumped() -> Seen:
    raw = counted("meter:a:energy", WATTS, 100.0)
    return energy(channel(), [*raw[:100], *(replace(r, value=(r.value or 0.0) + 3.6e9) for r in raw[100:])]), None


def unnamed() -> Seen:
    nameless = gauge(device="NVIDIA H100 80GB HBM3")
    return scope_of({nameless: constant()}, Scope.DEVICE), None


def wrapped(every_s: float = 0.5) -> Seen:
    top = 3000.0
    raw = [replace(r, value=(r.value or 0.0) % top) for r in counted("meter:a:energy", WATTS, 100.0, every_s=every_s)]
    return energy(channel(max_range=top), raw), clean_counter()


def wrap_ambiguous() -> Seen:
    raw = [r for r in counted("meter:a:energy", WATTS, 100.0) if not 40.0 < r.t_mono_s < 75.0]
    top = 3000.0
    return energy(channel(max_range=top), [replace(r, value=(r.value or 0.0) % top) for r in raw]), clean_counter()


def stale() -> Seen:
    raw = counted("meter:a:energy", WATTS, 100.0)
    dead = raw[80].value
    return energy(channel(), [*raw[:80], *(replace(r, value=dead) for r in raw[80:])]), clean_counter()


def coarse() -> Seen:
    """Power that goes up and down by 20 W with every reading."""

    def restless(every_s: float) -> list[Reading]:
        raw = constant(every_s)
        return [replace(r, value=WATTS + (20.0 if n % 2 else -20.0)) for n, r in enumerate(raw)]

    return energy(gauge(update_period_s=10.0), restless(10.0)), energy(gauge(), restless(0.5))


def repeated() -> Seen:
    raw = constant()
    return energy(gauge(), sorted([*raw, *raw[30:60]], key=lambda r: r.t_mono_s)), clean_gauge()


def conflicting() -> Seen:
    raw = constant()
    other = [replace(r, value=180.0) for r in raw[30:60]]
    return energy(gauge(), sorted([*raw, *other], key=lambda r: r.t_mono_s)), clean_gauge()


def late() -> Seen:
    raw = constant()
    raw[50], raw[55] = raw[55], raw[50]
    return energy(gauge(), raw), clean_gauge()


def clock(
    skew_s: float | None, late_s: float, drawn: list[tuple[float, float]], busy: list[tuple[float, float]]
) -> Seen:
    """A gauge of 100 W in ``drawn``, else of 40 W, with a clock ``late_s`` off and requests in ``busy``; 25–75 s."""
    spans = busy_spans(drawn)
    t = np.arange(-20.0, 130.0, 0.5)
    on = np.any([(t - late_s >= a) & (t - late_s < b) for a, b in spans], axis=0)
    raw = [reading("meter:a:power", x, 100.0 if y else 40.0) for x, y in zip(t, on, strict=True)]
    run = steady_run()
    requests = [replace(run.requests[0], dispatched_mono_s=a, end_mono_s=b) for a, b in busy]
    made = with_offsets({"m": trace(gauge(clock_skew_s=skew_s), raw)}, requests)["m"]
    right = trace(gauge(clock_skew_s=0.0), [replace(r, t_mono_s=r.t_mono_s - late_s) for r in raw])
    return window_energy(made, 25.0, 75.0), window_energy(right, 25.0, 75.0)


def missing_board() -> Seen:
    return scope_of(boards(3), Scope.DEVICE, {Scope.DEVICE: 4}), scope_of(boards(3), Scope.DEVICE)


def ambiguous() -> Seen:
    bmc = channel("redfish:GPU1", meter="redfish", device="GPU1", quantity=Quantity.POWER)
    both = boards(1) | {bmc: constant(id=bmc.id)}
    return scope_of(both, Scope.DEVICE), scope_of(boards(1), Scope.DEVICE)


def one_board_twice() -> Seen:
    again = replace(board(0), id="dcgm:GPU-0:mig-1")
    return scope_of(boards(1) | {again: counted(again.id, WATTS, 100.0)}, Scope.DEVICE), None


def one_inside_the_other() -> Seen:
    core = channel("rapl:core", meter="rapl", device="core", scope=Scope.CPU)
    package = channel("rapl:package", meter="rapl", device="package", scope=Scope.CPU, includes=(core.id,))
    joules = {core: counted(core.id, 60.0, 100.0), package: counted(package.id, WATTS, 100.0)}
    return scope_of(joules, Scope.CPU), None


def one_board_more() -> Seen:
    return scope_of(boards(2), Scope.DEVICE, {Scope.DEVICE: 1}), None


def two_meters_disagree() -> Seen:
    bmc = channel("redfish:GPU1", meter="redfish", device="GPU1", quantity=Quantity.POWER)
    more = [replace(r, value=120.0) for r in constant(id=bmc.id)]
    return scope_of(boards(1) | {bmc: more}, Scope.DEVICE, {Scope.DEVICE: 1}), scope_of(boards(1), Scope.DEVICE)


def stand_in() -> Seen:
    power = replace(board(0), id="nvml:GPU-0:power", quantity=Quantity.POWER, rel_error=0.05)
    dead = {board(0): [reading(board(0).id, t, None, "gone") for t in range(100)], power: constant(id=power.id)}
    return scope_of(dead, Scope.DEVICE), scope_of(boards(1), Scope.DEVICE)


def parts_of_a_node() -> Seen:
    run = steady_run(channels=(channel("nvml:g", meter="nvml", update_period_s=0.01),))
    loss = dict(loss_fixed_ratio=0.0, loss_linear_ratio=0.0, loss_square_ratio=0.0, loss_spread_ratio=0.0)
    fans = dict(fan_max_w=0.0, fan_floor_ratio=0.0, fan_full_ratio=0.0, fan_spread_ratio=0.0)
    host = dict(host_idle_w=50.0, host_share_ratio=0.0, host_spread_ratio=0.4)
    node = Node(name="n", label="n", device_count=1, full_load_w=500.0, supply_w=1000.0, **host, **fans, **loss)
    whole, alone = account(run, holder=DeviceNodeModel(node, 1)), account(run)
    assert alone.scopes[Scope.NODE].energy.value is None  # refused without a model
    made = whole.scopes[Scope.NODE].window
    assert made.energy_j == pytest.approx(350.0 * made.duration_s, rel=1e-3)  # 300 W of boards, 50 W of host
    return made, whole.scopes[Scope.DEVICE].window


EDGES = [(20.0, 45.0), (55.0, 80.0)]
CASES: dict[Reason, tuple[str, Callable[[], Seen]]] = {
    Reason.NO_METER: (REFUSED, lambda: (scope_of({}, Scope.NODE), None)),
    Reason.NO_READINGS: (REFUSED, lambda: (energy(gauge(), []), None)),
    Reason.TOO_FEW_READINGS: (REFUSED, lambda: (energy(gauge(), constant()[:1]), None)),
    Reason.NOT_BRACKETED: (REFUSED, lambda: (energy(gauge(), constant(until_s=60.0)), None)),
    Reason.WINDOW_TOO_SHORT: (REFUSED, lambda: (energy(gauge(update_period_s=40.0), constant()), None)),
    Reason.GAP: (REFUSED, gap),
    Reason.READ_FAILED: (EXACT, lambda: with_bad(None)),
    Reason.NOT_FINITE: (EXACT, lambda: with_bad(math.inf)),
    Reason.NEGATIVE: (EXACT, lambda: with_bad(-5.0)),
    Reason.BLANK: (EXACT, lambda: with_bad(140737488355328.0)),
    Reason.IMPLAUSIBLE: (EXACT, lambda: with_bad(5e6)),
    Reason.RESET: (REFUSED, reset),
    Reason.JUMPED: (REFUSED, jumped),
    Reason.NO_IDENTITY: (REFUSED, unnamed),
    Reason.WRAPPED: (EXACT, wrapped),
    Reason.WRAP_AMBIGUOUS: (REFUSED, wrap_ambiguous),
    Reason.STALE: (REFUSED, stale),
    Reason.COARSE: (WIDER, coarse),
    Reason.DUPLICATE: (EXACT, repeated),
    Reason.CONFLICT: (REFUSED, conflicting),
    Reason.LATE: (EXACT, late),
    Reason.CLOCK_OFFSET: (WIDER, lambda: clock(0.0, 6.0, EDGES, EDGES)),
    Reason.CLOCK_UNKNOWN: (WIDER, lambda: clock(None, 6.0, [(40.0, 300.0)], [(-400.0, 400.0)])),
    Reason.MISSING_DEVICE: (REFUSED, missing_board),
    Reason.UNEXPECTED_DEVICE: (REFUSED, one_board_more),
    Reason.DUPLICATE_CHANNEL: (EXACT, one_board_twice),
    Reason.OVERLAP: (EXACT, one_inside_the_other),
    Reason.AMBIGUOUS_DEVICES: (REFUSED, ambiguous),
    Reason.DISAGREEMENT: (WIDER, two_meters_disagree),
    Reason.PARTIAL: (WIDER, parts_of_a_node),
    Reason.FELL_BACK: (WIDER, stand_in),
}


@pytest.mark.parametrize("reason", CASES, ids=str)
def test_joules_are_refused_or_less_sure_or_right(reason: Reason) -> None:
    kind, made = CASES[reason]
    found, clean = made()
    told = {f.code for f in found.findings}
    assert reason in told, told
    if kind == REFUSED:
        assert (found.energy_j, found.low_j, found.high_j, found.basis) == (None, None, None, None)
        assert any(f.code is reason and f.fatal for f in found.findings)
        return
    assert found.energy_j is not None and found.low_j is not None and found.high_j is not None
    if kind == EXACT:
        assert found.energy_j == pytest.approx(TRUTH_J, rel=1e-6)
        return
    assert clean is not None and clean.half_width_j is not None and clean.energy_j is not None
    assert found.half_width_j > 1.5 * clean.half_width_j and found.half_width_j > 0.001 * TRUTH_J
    if reason is not Reason.PARTIAL:  # there the clean one is the boards' and no node
        assert found.low_j <= clean.energy_j <= found.high_j


def j_tok(run: RunRecord) -> Figure:
    return account(run).scopes[Scope.NODE].j_tok


def ramping() -> RunRecord:
    """The same run, each request with more tokens than the one before: the rate doubles over the window."""
    run = steady_run()
    first, last = run.requests[0].dispatched_mono_s, run.requests[-1].end_mono_s
    more = tuple(
        replace(r, output_tok=round(20 * (1 + (r.dispatched_mono_s - first) / (last - first)))) for r in run.requests
    )
    return replace(run, requests=more, server=())


def fit_of(prompt: np.ndarray, output: np.ndarray, joules: np.ndarray) -> Finding | None:
    fit = fit_phases(joules, prompt, output, np.ones(len(joules)))
    assert fit.prefill_j_tok is None and fit.decode_j_tok is None
    return fit.finding


def without_idle() -> Reason | None:
    run = steady_run()
    found = account(replace(run, phases=tuple(p for p in run.phases if p.name != "idle"))).scopes[Scope.NODE]
    assert found.idle_power.value is None and found.above_idle_j_tok.value is None
    assert found.idle_power.reason is not None and found.idle_power.reason.startswith(Reason.NO_IDLE.value)
    return Reason.NO_IDLE


def without_load() -> Reason | None:
    found = account(replace(steady_run(), requests=()))
    assert found.output_rate.value is None and found.request_j.value is None and not found.scopes
    return found.findings[0].code


def unsteady() -> Reason | None:
    found, clean = j_tok(ramping()), j_tok(steady_run())
    assert account(ramping()).window.steady is False
    assert (found.high - found.low) / found.value > 2 * (clean.high - clean.low) / clean.value
    return Reason.NOT_STEADY


def counters_disagree() -> Reason | None:
    run = steady_run()
    more = tuple(replace(s, values={"output_tok_total": 1.3 * s.values["output_tok_total"]}) for s in run.server)
    found, clean = account(replace(run, server=more)), j_tok(run)
    wide = found.scopes[Scope.NODE].j_tok
    assert found.tokens.mismatch_ratio == pytest.approx(0.3)
    assert wide.low <= clean.value / 1.3 and wide.high - wide.low > 5 * (clean.high - clean.low)
    return next(f.code for f in found.findings if f.code is Reason.TOKENS_DISAGREE)


def uncounted() -> Reason | None:
    run = steady_run()
    some = tuple(replace(r, output_tok=None) if n % 5 == 0 else r for n, r in enumerate(run.requests))
    found, clean = account(replace(run, requests=some, server=())), j_tok(run)
    wide = found.scopes[Scope.NODE].j_tok
    assert wide.low <= clean.value <= wide.high
    return next(f.code for f in found.findings if f.code is Reason.UNCOUNTED_TOKENS)


def shared_board() -> Reason | None:
    """Others had a tenth of the board's work: the joules are as measured, J/token reaches down by a tenth."""
    use = channel("nvml:g:foreign-use", meter="nvml", device="g", quantity=Quantity.FOREIGN_USE)
    run = steady_run()
    times = np.arange(run.readings[0].t_mono_s, run.readings[-1].t_mono_s, 1.0)
    watched = replace(run, channels=(*run.channels, use))
    clean = account(replace(watched, readings=(*run.readings, *(reading(use.id, t, 0.0) for t in times))))
    found = account(replace(watched, readings=(*run.readings, *(reading(use.id, t, 0.1) for t in times))))
    assert not any(f.code is Reason.SHARED_DEVICE for f in clean.findings)
    alone, ours = clean.scopes[Scope.NODE], found.scopes[Scope.NODE]
    assert ours.energy == alone.energy and ours.j_tok.high == alone.j_tok.high
    assert ours.j_tok.low == pytest.approx(alone.j_tok.low - 0.1 * alone.j_tok.value)
    assert found.request_j.low == pytest.approx(clean.request_j.low - 0.1 * clean.request_j.value)
    return next(f.code for f in found.findings if f.code is Reason.SHARED_DEVICE)


def dead_sensor() -> Reason | None:
    run = steady_run()
    gauge_of = replace(run.channels[0], quantity=Quantity.POWER)
    for off in (0.0, 1.0):  # dead all along; dead now and then
        values = [0.0 if n % 4 == 0 or not off else 300.0 for n in range(len(run.readings))]
        raw = tuple(replace(r, value=v) for r, v in zip(run.readings, values, strict=True))
        node = account(replace(run, channels=(gauge_of,), readings=raw)).scopes[Scope.NODE]
        assert node.energy.value is None and node.j_tok.value is None
        assert Reason.DEAD_SENSOR in {f.code for f in node.findings}
    return Reason.DEAD_SENSOR


def lying_usage() -> Reason | None:
    """Every tenth answer claims 2^40 tokens: those are not counted, and J/token is less sure by their share."""
    run = steady_run()
    some = tuple(
        replace(r, output_tok=2**40, chunk_mono_s=()) if n % 10 == 0 else r for n, r in enumerate(run.requests)
    )
    lies, clean = account(replace(run, requests=some, server=())), j_tok(run)
    wide = lies.scopes[Scope.NODE].j_tok
    assert wide.low <= clean.value <= wide.high
    return next(f.code for f in lies.findings if f.code is Reason.IMPLAUSIBLE_TOKENS)


def cached_above_prompt() -> Reason | None:
    run = steady_run()
    lies = account(replace(run, requests=tuple(replace(r, cached_tok=500) for r in run.requests)))
    assert lies.tokens.cached_tok is None and lies.tokens.computed_tok is None
    assert min(lies.series.prompt_tok) >= 0.0 and lies.tokens.by_usage["prompt_computed_tok"] is None
    return next(f.code for f in lies.findings if f.code is Reason.CACHED_ABOVE_PROMPT)


PROMPT, OUTPUT = np.array([3.0, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]), np.array([5.0, 1, 4, 2, 8, 5, 7, 1, 4, 2, 8, 5])
RUN_CASES: dict[Reason, Callable[[], Reason | None]] = {
    Reason.NO_IDLE: without_idle,
    Reason.NO_LOAD: without_load,
    Reason.NOT_STEADY: unsteady,
    Reason.TOKENS_DISAGREE: counters_disagree,
    Reason.UNCOUNTED_TOKENS: uncounted,
    Reason.SHARED_DEVICE: shared_board,
    Reason.DEAD_SENSOR: dead_sensor,
    Reason.IMPLAUSIBLE_TOKENS: lying_usage,
    Reason.CACHED_ABOVE_PROMPT: cached_above_prompt,
    Reason.NO_TOKENS: lambda: fit_of(0 * PROMPT, OUTPUT, 3 * PROMPT).code,
    Reason.TOO_FEW_WINDOWS: lambda: fit_of(PROMPT[:5], OUTPUT[:5], OUTPUT[:5]).code,
    Reason.COLLINEAR: lambda: fit_of(7 * OUTPUT, OUTPUT, 9 * OUTPUT).code,
    Reason.INSIGNIFICANT: lambda: fit_of(PROMPT, OUTPUT, 1.5 * OUTPUT - 0.1 * PROMPT + 500).code,
}


@pytest.mark.parametrize("reason", RUN_CASES, ids=str)
def test_figures_of_a_run_are_unknown_or_less_sure(reason: Reason) -> None:
    assert RUN_CASES[reason]() is reason


#: Codes whose cases stand with their rule.
ELSEWHERE = {Reason.CACHED_PROMPTS}


def test_every_reason_has_a_case() -> None:
    assert set(CASES) | set(RUN_CASES) | ELSEWHERE == set(Reason) and not set(CASES) & set(RUN_CASES)


def test_only_a_fatal_finding_refuses() -> None:
    caveat, fatal = Finding(Reason.LATE, "a", "x"), Finding(Reason.GAP, "a", "y", fatal=True)
    assert not refused([caveat]) and refused([caveat, fatal])
    assert why([caveat, fatal, fatal]) == "gap_exceeded: a: y"
    assert distinct([caveat, fatal, caveat]) == (caveat, fatal)
