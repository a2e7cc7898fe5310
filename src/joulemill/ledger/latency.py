"""Latency of requests as the client saw it, by definitions that stand here.

    TTFT   first token − dispatch; "from schedule" starts at the time the plan wanted it sent (no coordinated omission)
    TPOT   (last − first token) ÷ (output tokens − 1), one value per request; none for a single token
    ITL    between consecutive content chunks, one value a gap, all requests together
    E2E    end − dispatch

Percentiles are of requests that ended well. Those that did not are counted beside them and meet no target. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from joulemill.ledger.record import RequestOutcome, RequestRecord


@dataclass(frozen=True, slots=True)
class Distribution:
    """Of ``n`` values; None where there are none. Percentiles interpolate linearly between order statistics."""

    p50_s: float | None
    p90_s: float | None
    p99_s: float | None
    mean_s: float | None
    n: int


@dataclass(frozen=True, slots=True)
class Targets:
    """Latency targets, s*; None where not set. ``ttft_s`` counts from the scheduled time."""

    ttft_s: float | None = None
    tpot_s: float | None = None

    @property
    def stated(self) -> bool:
        """Whether any target is set."""
        return self.ttft_s is not None or self.tpot_s is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySummary:
    """Distributions over requests, and how many met their targets.

    met             ids of requests that met every stated target (all good ones where none is stated)
    attained_ratio  met ÷ all sent, failed ones included; None with no requests or no targets
    by_outcome      all requests, by how they ended
    """

    ttft: Distribution
    ttft_from_schedule: Distribution
    tpot: Distribution
    itl: Distribution
    e2e: Distribution
    targets: Targets
    met: frozenset[str]
    attained_ratio: float | None
    sent: int
    failed: int
    retries: int
    by_outcome: Mapping[str, int]


def latency(requests: Sequence[RequestRecord], targets: Targets) -> LatencySummary:
    """Distributions of ``requests`` that were sent, and which of them met ``targets``."""
    sent = [r for r in requests if r.dispatched_mono_s is not None]
    good = [r for r in sent if r.outcome is RequestOutcome.OK]
    met = frozenset(r.id for r in good if met_targets(r, targets))
    return LatencySummary(
        ttft=_of([ttft_s(r) for r in good]),
        ttft_from_schedule=_of([ttft_s(r, from_schedule=True) for r in good]),
        tpot=_of([tpot_s(r) for r in good]),
        itl=_of([float(x) for r in good for x in np.diff(r.chunk_mono_s)]),
        e2e=_of([e2e_s(r) for r in good]),
        targets=targets,
        met=met,
        attained_ratio=len(met) / len(sent) if sent and targets.stated else None,
        sent=len(sent),
        failed=len(sent) - len(good),
        retries=sum(r.retries for r in requests),
        by_outcome=dict(sorted(Counter(r.outcome.value for r in requests).items())),
    )


def ttft_s(r: RequestRecord, *, from_schedule: bool = False) -> float | None:
    """Time to first token; None where there was none."""
    start = r.scheduled_mono_s if from_schedule else r.dispatched_mono_s
    return None if start is None or r.first_token_mono_s is None else r.first_token_mono_s - start


def tpot_s(r: RequestRecord) -> float | None:
    """Time per output token after the first; None for fewer than two tokens."""
    if r.first_token_mono_s is None or r.last_token_mono_s is None or r.output_tok is None or r.output_tok < 2:
        return None
    return (r.last_token_mono_s - r.first_token_mono_s) / (r.output_tok - 1)


def e2e_s(r: RequestRecord) -> float | None:
    """From dispatch to the end; None where either is missing."""
    return None if r.end_mono_s is None or r.dispatched_mono_s is None else r.end_mono_s - r.dispatched_mono_s


def met_targets(r: RequestRecord, targets: Targets) -> bool:
    """Whether a request ended well and within every stated target. One token has no TPOT and cannot miss it."""
    if r.outcome is not RequestOutcome.OK:
        return False
    first, each = ttft_s(r, from_schedule=True), tpot_s(r)
    if targets.ttft_s is not None and (first is None or first > targets.ttft_s):
        return False
    return targets.tpot_s is None or each is None or each <= targets.tpot_s


def _of(values: Sequence[float | None]) -> Distribution:
    known = np.array([v for v in values if v is not None], dtype=float)
    if not len(known):
        return Distribution(None, None, None, None, 0)
    p50, p90, p99 = (float(x) for x in np.percentile(known, (50, 90, 99)))
    return Distribution(p50, p90, p99, float(known.mean()), len(known))
