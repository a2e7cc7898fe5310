"""What the monitor knows after a scrape: plain values that are kept, exposed, shown and advised on.

One :class:`Interval` is one step of one target: what happened between two successful scrapes. Everything that the
monitor says is made from intervals: totals are their sums, ratios are a sum over a sum. What was not observed is
``None`` or a gap, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from joulemill.figure import Figure
from joulemill.ledger.findings import Reason

#: Why a target is not up before its first scrape.
NOT_YET = "not scraped yet"


class TokenKind(StrEnum):
    """The kinds of tokens that a counter tells apart; ``CACHED`` are prompt tokens too."""

    PROMPT = "prompt"
    CACHED = "cached"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """What is configured or discovered of one model server; ``labels`` holds tenant, pool, route and the like.

    ``devices_count`` and ``device`` (a name of the catalog) are needed for ceilings and idle power; None: unknown.
    """

    target: str
    model: str
    site: str
    device: str | None = None
    devices_count: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScopeEnergy:
    """Joules of one scope in one interval.

    ``half_width_j`` is half of the 95 % interval; ``basis`` a value of ``figure.Basis``; ``covered_ratio`` the share
    of the interval that readings cover: the joules are of the covered part alone, nothing is filled in.
    """

    scope: str
    energy_j: float
    half_width_j: float | None
    basis: str
    covered_ratio: float


@dataclass(frozen=True, slots=True)
class MeterFinding:
    """What the ledger found of one scope's joules: its reason code and a sentence; ``refused``: there are none."""

    scope: str
    code: str
    text: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class CeilingState:
    """One stave of the barrel: output tokens a second that this resource would allow, and how it is known."""

    name: str
    ceiling_tok_s: float | None
    basis: str


@dataclass(frozen=True, slots=True)
class HistogramPercentiles:
    """Of the requests of an interval, from histogram buckets; None where one lies beyond the last finite bound."""

    p50_s: float | None
    p90_s: float | None
    p99_s: float | None
    requests_count: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """What one target did between two scrapes; a gap has ``observed=False`` and nothing but its span and reason.

    ``tokens`` are increases of counters (a reset adds what the counter shows since, never a negative); latency
    values are of the requests that ended in the interval, from histograms; ``binding`` is the diagnosis's answer
    with its probability, or ``binding_reason`` why there is none; ``phi_ratio`` is the measured rate ÷ the lowest
    hardware ceiling at the interval's load, with its bounds, or ``phi_reason``; it is not cut at 1.
    ``utilization_ratio`` is the rate ÷ rate at full load; ``idle_ratio`` the share of the interval with no request
    running. ``findings``: what the ledger says of the joules, refusals included.
    ``latency`` has percentiles of ``ttft`` and ``tpot`` where the server has histograms of them.
    ``route_tokens`` splits output tokens by a label that the server itself exposes (tenant, route, adapter).
    """

    target: str
    start_s: float
    end_s: float
    observed: bool
    reason: str | None = None
    tokens: Mapping[TokenKind, float] = field(default_factory=dict)
    energy: Mapping[str, ScopeEnergy] = field(default_factory=dict)
    running_count: float | None = None
    waiting_count: float | None = None
    kv_use_ratio: float | None = None
    ttft_s: float | None = None
    tpot_s: float | None = None
    idle_ratio: float | None = None
    ceilings: tuple[CeilingState, ...] = ()
    binding: str | None = None
    binding_probability_ratio: float | None = None
    phi_ratio: float | None = None
    utilization_ratio: float | None = None
    route_tokens: Mapping[str, float] = field(default_factory=dict)
    latency: Mapping[str, HistogramPercentiles] = field(default_factory=dict)
    binding_reason: str | None = None
    phi_low_ratio: float | None = None
    phi_high_ratio: float | None = None
    phi_reason: str | None = None
    findings: tuple[MeterFinding, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length [s]."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterHealth:
    """One meter of one target or site: ``state`` is ``ok``, a reason code of the ledger (``stale_counter`` …) or
    ``not_open``; ``detail`` says more where there is more.
    """

    meter: str
    target: str | None
    site: str
    scope: str
    state: str
    age_s: float | None
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """One target now: its facts, its latest interval, and its totals since the monitor first saw it.

    ``energy_j`` and ``tokens`` never fall; ``unobserved_s`` is the time that no scrape covers. Keys of ``energy_j``
    are (scope, device id or "", basis), as of ``metered_tok``: output tokens that were made with those joules.
    ``node``: what tells the server that holds its boards apart; None where nothing does.
    """

    facts: TargetFacts
    up: bool
    reason: str | None
    latest: Interval | None
    since_s: float
    unobserved_s: float = 0.0
    tokens: Mapping[TokenKind, float] = field(default_factory=dict)
    energy_j: Mapping[tuple[str, str, str], float] = field(default_factory=dict)
    carbon_g: float | None = None
    cost: float | None = None
    currency: str | None = None
    scrape_s: float | None = None
    lag_s: float | None = None
    metered_tok: Mapping[tuple[str, str, str], float] = field(default_factory=dict)
    node: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteFacts:
    """What a site states: PUE with its basis, carbon and price; None where unknown."""

    site: str
    pue_ratio: float | None = None
    pue_basis: str = "declared"
    carbon_g_kwh: float | None = None
    price_kwh: float | None = None
    currency: str | None = None
    power_limit_w: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteStretch:
    """What a site's own meters say of one stretch of time, and its PUE over it.

    ``energy`` by scope: ``site`` and ``rack``; ``it`` the node joules of its targets, None where they are not all
    measured; ``pue`` is facility ÷ IT, unknown with a reason where either side is not measured or not complete.
    """

    site: str
    start_s: float
    end_s: float
    energy: Mapping[str, ScopeEnergy]
    it: ScopeEnergy | None
    pue: Figure
    targets_count: int

    @property
    def duration_s(self) -> float:
        """Length [s]."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class SiteState:
    """A metered site now: its latest stretch and its joules by (scope, basis) since ``since_s``; these never fall."""

    site: str
    since_s: float
    latest: SiteStretch | None
    energy_j: Mapping[tuple[str, str], float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HistoryState:
    """How the history is kept: ``error`` what keeps it from taking intervals, None while it takes them.

    ``lost_count``  pushed out while it took none;  ``refused_count``  that could not be kept, of which ``refused`` is
    the newest's reason;  ``restarts_count``  how often what writes it had to be begun again
    """

    error: str | None = None
    lost_count: int = 0
    refused_count: int = 0
    refused: str | None = None
    restarts_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything the monitor knows at one moment ``at_s`` (UNIX time). ``metered``: sites that have meters.

    ``alert_since_s``: when the alerts that stand were first seen, by kind and subject.
    """

    at_s: float
    targets: tuple[TargetState, ...]
    meters: tuple[MeterHealth, ...]
    sites: tuple[SiteFacts, ...]
    config_error: str | None = None
    history_error: str | None = None
    metered: tuple[SiteState, ...] = ()
    kept: HistoryState | None = None
    alert_since_s: Mapping[tuple[str, str], float] = field(default_factory=dict)

    def site_state(self, site: str) -> SiteState | None:
        """What is metered of ``site``; None for a site without meters."""
        return next((s for s in self.metered if s.site == site), None)


@dataclass(frozen=True, slots=True)
class StoredTotals:
    """A target's sums since the first interval; keys of ``energy_j`` as in ``TargetState``."""

    since_s: float
    last_end_s: float
    unobserved_s: float
    tokens: Mapping[TokenKind, float] = field(default_factory=dict)
    energy_j: Mapping[tuple[str, str, str], float] = field(default_factory=dict)
    metered_tok: Mapping[tuple[str, str, str], float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredSite:
    """A site's joules by (scope, basis) since its first stretch."""

    since_s: float
    energy_j: Mapping[tuple[str, str], float] = field(default_factory=dict)


def rate_tok_s(t: TargetState, kind: TokenKind = TokenKind.OUTPUT) -> float | None:
    """Tokens a second in the latest interval; None where they are not counted."""
    if t.latest is None or not t.latest.observed or t.latest.duration_s <= 0 or kind not in t.latest.tokens:
        return None
    return t.latest.tokens[kind] / t.latest.duration_s


#: Refusals that are no fault: parts that are no node, an interval before a meter's first readings.
ROUTINE = frozenset(r.value for r in (Reason.PARTIAL, Reason.NOT_BRACKETED, Reason.TOO_FEW_READINGS))
