"""The report document, version 1: what ``--json`` prints and every view renders.

Frozen dataclasses; ``joulemill.analysis.serialization`` turns them into JSON and emits the JSON Schema from them (one
source of truth). Every number a person sees is a ``Figure`` (value, unit, basis, low, high, reason, source), except
plain counts of things counted exactly. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from joulemill.analysis.conditions import Conditions
from joulemill.decisions.diagnosis import Candidate
from joulemill.figure import Figure, unknown
from joulemill.physics.hardware.impact import Impact

SCHEMA_VERSION = "1.0"
#: Metadata of a field that the document leaves out where it is None.
OMITTED = {"omit_none": True}


@dataclass(frozen=True, kw_only=True)
class AttributedEnergy:
    """One rule's joules of requests: their sum, what it gives to no request, and that both close on the window's."""

    requests: int
    total_j: float
    requests_j: float
    unattributed_idle_j: float
    closure_ratio: float
    median_request_j: float | None
    source: str | None


@dataclass(frozen=True)
class AttributionReport:
    """Joules of requests by both rules, at ``scope``: the widest that is metered as a whole.

    ``rule`` and ``closure_error`` stand in documents of before there were two rules.
    """

    scope: str | None = None
    output_token_share: AttributedEnergy | None = field(default=None, metadata=OMITTED)
    work_weighted: AttributedEnergy | None = field(default=None, metadata=OMITTED)
    rule: str | None = field(default=None, metadata=OMITTED)
    closure_error: float | None = field(default=None, metadata=OMITTED)


@dataclass(frozen=True, kw_only=True)
class Energy:
    """Joules. ``*_j_tok`` is Σ J ÷ Σ output tokens in the window; scopes nest and are never added.

    above_idle_j_tok   the part above the idle baseline; node_idle_j the idle part in the window
    prefill_j_tok, decode_j_tok   J per *prompt* token computed and per *output* token, fitted apart (or unknown)
    good_j_tok   node joules per output token of requests that met their latency targets
    answer_j     node joules per correct answer of the quality set
    metering_j   joules in the window that metering itself took
    cpu_j_tok    of the CPU packages
    ``good``, ``request`` and ``answer`` are of the widest scope that is metered as a whole: ``attribution.scope``.
    """

    device_j_tok: Figure
    node_j_tok: Figure
    site_j_tok: Figure
    above_idle_j_tok: Figure
    node_j: Figure
    node_idle_j: Figure
    prefill_j_tok: Figure
    decode_j_tok: Figure
    request_j: Figure
    good_j_tok: Figure
    correct_answer_j: Figure
    carbon_gco2e_tok: Figure
    cost_currency_tok: Figure
    water_l_tok: Figure
    attribution: AttributionReport
    reasons: tuple[str, ...] = ()
    metering_j: Figure = field(default_factory=lambda: unknown("J", "this report does not state it"))
    cpu_j_tok: Figure = field(default_factory=lambda: unknown("J/tok", "this report does not state it"))


@dataclass(frozen=True)
class Power:
    """Mean power over the window [W] by scope; ``site_w`` is PUE-adjusted; idle is the baseline before the load."""

    device_w: Figure
    node_w: Figure
    site_w: Figure
    node_idle_w: Figure
    device_limit_w: Figure
    throttled_ratio: Figure


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """One limit on the token rate: capacity ÷ intensity, in output tok/s.

    name       compute, memory_bandwidth, kv_capacity, interconnect, power, cooling, latency, demand, client
    rate_tok_s the ceiling; unknown where it can't be known (it then never binds)
    capacity, intensity   its two parts as figures with units (e.g. FLOP/s and FLOP/tok), None where it has none
    slack_ratio   ceiling ÷ achieved rate − 1
    elasticity    d ln rate / d ln capacity, where known
    evidence      short text: what was seen that speaks for or against it
    """

    name: str
    rate_tok_s: Figure
    capacity: Figure | None = None
    intensity: Figure | None = None
    slack_ratio: Figure | None = None
    elasticity: Figure | None = None
    evidence: str | None = None


#: What ``Binding.name`` is where nothing is said to bind.
OPEN = ("undecided", "unknown")


@dataclass(frozen=True, kw_only=True)
class Binding:
    """The active constraint. ``name`` is "undecided" where the data do not decide; ``would_decide`` says what would."""

    name: str
    rate_tok_s: Figure
    margin_ratio: Figure
    next_name: str | None
    explanation: str
    unknown: tuple[str, ...] = ()
    would_decide: str | None = None


@dataclass(frozen=True)
class Output:
    """Token rates over the window [tok/s]; ``utilization_adjusted_tok_s`` is the rate at full load times U."""

    rate_tok_s: Figure
    full_load_tok_s: Figure
    utilization_adjusted_tok_s: Figure
    good_tok_s: Figure
    request_rate_req_s: Figure


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Exact counts in the window, by the server's own usage; ``by_metrics`` what its /metrics counters say.

    ``mismatch_ratio`` is |usage − metrics| ÷ usage of output tokens; None where the server has no counters.
    ``cached_unexplained`` are prompt tokens of the load, warm-up included, that the server had in a cache and that
    neither the chat template nor a shared prefix nor earlier turns explain; None if it is not known.
    ``cached_unexplained_ratio`` is their share of the load's prompt tokens.
    """

    output: int
    prompt: int
    prompt_cached: int | None
    prompt_computed: int | None
    reasoning: int | None
    by_metrics: Mapping[str, float | None]
    mismatch_ratio: float | None
    basis: str = "measured"
    note: str | None = None
    cached_unexplained: int | None = None
    cached_unexplained_ratio: float | None = None


@dataclass(frozen=True)
class Percentiles:
    """A latency distribution in seconds; None where there is no data."""

    p50: float | None
    p90: float | None
    p99: float | None
    mean: float | None
    n: int
    basis: str = "measured"


@dataclass(frozen=True)
class Slo:
    """Latency targets as asked [s], the share of requests that met all that were asked, and how many they are."""

    ttft_s: float | None = None
    tpot_s: float | None = None
    attained_ratio: float | None = None
    met: int | None = None


@dataclass(frozen=True)
class Latency:
    """Latencies: TTFT from dispatch and from schedule, TPOT, ITL between chunks, end to end.

    TPOT = (last − first token) ÷ (output tokens − 1), per request.
    """

    ttft_s: Percentiles
    ttft_from_schedule_s: Percentiles
    tpot_s: Percentiles
    itl_s: Percentiles
    e2e_s: Percentiles
    slo: Slo


@dataclass(frozen=True, kw_only=True)
class TaskQuality:
    """One task of the quality set; ``stderr`` and ``metric`` where another tool asked it."""

    questions: int | None
    correct: float | None = field(default=None, metadata=OMITTED)
    accuracy: float | None
    stderr: float | None = field(default=None, metadata=OMITTED)
    metric: str | None = field(default=None, metadata=OMITTED)


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Accuracy on a named verifiable set, with a Wilson interval; by task.

    pass_score   q*, the least score (0–1) at which an answer is accepted; None where another tool scored
    accepted_token_ratio   share of the output tokens of the set that belong to accepted answers
    """

    accuracy: Figure
    task: str | None
    questions: int
    correct: float | None
    by_task: Mapping[str, TaskQuality] = field(default_factory=dict)
    pass_score: float | None = None
    accepted_token_ratio: Figure | None = None


@dataclass(frozen=True, kw_only=True)
class Client:
    """Whether the latencies are the server's, whether the client held the rate up, and whether the machine was quiet.

    valid            the rate is the server's; else the client was the bottleneck, and ``reasons`` say why
    late             in what a valid client was late all the same: its latencies hold some of its own time
    lateness_ratio   the share of the rate that its lateness can have cost
    """

    valid: bool
    reasons: tuple[str, ...]
    dispatch_lag_p99_s: float | None
    loop_lag_p99_s: float | None
    cpu_ratio_max: float | None
    machine_quiet: bool | None
    quiet_notes: tuple[str, ...] = ()
    late: tuple[str, ...] = ()
    lateness_ratio: float | None = None


@dataclass(frozen=True)
class WindowReport:
    """The steady-state window that every figure above is computed in; offsets from the start of the load."""

    start_s: float
    end_s: float
    duration_s: float
    rule: str
    steady: bool
    note: str | None = None


@dataclass(frozen=True)
class Requests:
    """All requests of the load phase, and how they ended. Nothing is hidden."""

    sent: int
    ok: int
    in_window: int
    retries: int
    by_outcome: Mapping[str, int]


@dataclass(frozen=True)
class ReferenceSite:
    """The site's figures as they would be at a cited PUE."""

    site_j_tok: Figure
    site_w: Figure
    source: str | None = None


@dataclass(frozen=True, kw_only=True)
class SiteReport:
    """Facility, as the user states it. Unknown stays so; ``at_reference`` shows the effect at a cited PUE."""

    name: str | None
    pue: Figure
    carbon_gco2e_kwh: Figure
    price_currency_kwh: Figure
    currency: str | None
    water_l_kwh: Figure
    it_power_limit_w: Figure
    cooling_limit_w: Figure
    at_reference: Mapping[str, ReferenceSite] = field(default_factory=dict)
    carbon_kind: str | None = None


@dataclass(frozen=True)
class WaterfallPart:
    """Some of the joules: ``kind`` is whole, loss, part or good; ``of`` the name of what it is a part of."""

    name: str
    energy_j: Figure
    kind: str = "part"
    of: str | None = None


@dataclass(frozen=True)
class Waterfall:
    """Where the joules of the window went, from site down to tokens that met their targets."""

    parts: tuple[WaterfallPart, ...]


@dataclass(frozen=True)
class PhaseSpan:
    """A phase of the run, in seconds from the start of the load; ``end_s`` None: interrupted."""

    name: str
    start_s: float
    end_s: float | None = None


@dataclass(frozen=True)
class Histograms:
    """Latencies [s] of the load's requests, of many a grid of quantiles."""

    ttft_s: tuple[float, ...] = ()
    tpot_s: tuple[float, ...] = ()
    e2e_s: tuple[float, ...] = ()


@dataclass(frozen=True)
class Series:
    """Small time series for the pictures: times are seconds from the start of the load."""

    t_s: tuple[float, ...]
    power_w: tuple[float | None, ...]
    rate_tok_s: tuple[float | None, ...]
    power_basis: str | None
    phases: tuple[PhaseSpan, ...]
    histograms: Histograms = Histograms()


@dataclass(frozen=True, kw_only=True)
class Production:
    """The two-ceiling view of the source: c_tok, e_tok, K_eff, θ, P_IT, and which of the two is the lower."""

    c_tok: Figure | None = None
    b_tok: Figure | None = None
    e_tok: Figure | None = None
    k_eff: Figure | None = None
    p_it: Figure | None = None
    theta: Figure | float | None = None
    phi: Figure | None = None
    u: Figure | None = None
    shorter_stave: str | None = None
    equation: str | None = None


@dataclass(frozen=True, kw_only=True)
class MeterReport:
    """A channel that was read (``ledger.record.Channel``), and how many of its readings were good and failed."""

    id: str | None = None
    meter: str
    device: str
    scope: str
    quantity: str
    basis: str
    resolution: float | None = None
    update_period_s: float | None = None
    max_range: float | None = None
    rel_error: float | None = None
    clock_skew_s: float | None = None
    includes: tuple[str, ...] = ()
    source: str | None = None
    sampled_ratio: float | None = None
    limit_w: float | None = None
    readings: int | None = None
    failed: int | None = None


@dataclass(frozen=True)
class ImportedFigure:
    """A figure that an imported file states, as it states it; Joulemill neither measured nor computed it.

    name   this document's own path where the meaning is the same (``latency.ttft_s.p50``), else the tool's name
    """

    name: str
    figure: Figure


@dataclass(frozen=True, kw_only=True)
class Report:
    """One run, analyzed. ``run_id`` is a hash of the record, so the same run gives the same bytes.

    candidates   every constraint that may have bound it, the likeliest first: its probability, achieved ÷ its ceiling,
                 what was seen for and against it, what would overturn it; empty in documents older than this member
    """

    schema_version: str
    run_id: str
    status: str
    status_reason: str | None
    energy: Energy
    power: Power
    binding: Binding
    ceilings: tuple[Ceiling, ...]
    phi: Figure
    utilization: Figure
    production: Production
    output: Output
    tokens: Tokens
    latency: Latency
    quality: Quality
    client: Client
    requests: Requests
    window: WindowReport
    site: SiteReport
    waterfall: Waterfall
    series: Series
    conditions: Conditions
    meters: tuple[MeterReport, ...]
    warnings: tuple[str, ...] = ()
    stated: tuple[ImportedFigure, ...] = ()
    impacts: tuple[Impact, ...] = ()
    candidates: tuple[Candidate, ...] = ()
