"""An interval as the numbers that the history adds up. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from joulemill.monitor.snapshot import Interval, TokenKind

DAY_S = 86_400.0
#: How long five-minute and hourly sums are kept [s]; a choice, not a fact.
KEPT_S = {300: 14 * DAY_S, 3600: 400 * DAY_S}
#: The year 5138 [s]: a stamp beyond it is no time.
MOST_TIME_S = 1e11


def checked(start_s: float, end_s: float) -> None:
    """Raise ValueError where a span cannot be: such a row would spoil every sum that it is added to."""
    if not 0.0 <= start_s <= end_s <= MOST_TIME_S:  # neither NaN nor infinite
        raise ValueError(f"a span from {start_s:g} to {end_s:g} is no time")


def finite(values: Iterable[object]) -> None:
    """Raise ValueError where a number among ``values`` is NaN or infinite."""
    for value in values:
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{value} is no number that can be kept")


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """What of an interval adds up.

    sums      in the order of ``history_schema.SUMS``
    energy    (scope, basis, J, half width of it or None, seconds that readings cover, output tokens made with it,
              joules and seconds of it without a running request)
    binding   (constraint, seconds) where one was named
    routes    (route, output tokens)
    findings  (scope, code, whether it refuses the joules, text, seconds)
    """

    sums: tuple[float, ...]
    energy: tuple[tuple[str, str, float, float | None, float, float, float, float], ...]
    binding: tuple[str, float] | None
    routes: tuple[tuple[str, float], ...]
    findings: tuple[tuple[str, str, int, str, float], ...] = ()


def rows_of(i: Interval) -> HistoryRow:
    """``i`` as sums. Latencies are weighted by the time they were seen in;"""
    length = i.duration_s
    observed_s = length if i.observed else 0.0
    latency = [(value, observed_s) if value is not None else (0.0, 0.0) for value in (i.ttft_s, i.tpot_s)]
    sums = (
        observed_s,
        length - observed_s,
        (i.idle_ratio or 0.0) * observed_s,
        observed_s if i.idle_ratio is not None else 0.0,
        i.tokens.get(TokenKind.PROMPT, 0.0),
        i.tokens.get(TokenKind.CACHED, 0.0),
        i.tokens.get(TokenKind.OUTPUT, 0.0),
        *(x for value, known in latency for x in (value * known, known)),
    )
    energy = tuple(
        (
            e.scope,
            e.basis,
            e.energy_j,
            e.half_width_j,
            e.covered_ratio * length,
            e.covered_ratio * i.tokens.get(TokenKind.OUTPUT, 0.0),
            (i.idle_ratio or 0.0) * e.energy_j,
            (i.idle_ratio or 0.0) * e.covered_ratio * length,
        )
        for e in i.energy.values()
    )
    findings = tuple((f.scope, f.code, int(f.refused), f.text, length) for f in i.findings)
    return HistoryRow(
        sums, energy, (i.binding, observed_s) if i.binding else None, tuple(i.route_tokens.items()), findings
    )


def split(start_s: float, end_s: float, length_s: int) -> Iterator[tuple[int, float]]:
    """(start of bucket, share of the interval in it); shares sum to 1. A moment without length lies in one bucket.

    Of an interval that is longer than its buckets are kept, the newest part alone has any.
    """
    if not end_s > start_s:
        yield int(end_s // length_s) * length_s, 1.0
        return
    first = int(max(start_s, end_s - KEPT_S.get(length_s, math.inf)) // length_s)
    for n in range(first, max(first + 1, math.ceil(end_s / length_s))):
        inside = min(end_s, (n + 1) * length_s) - max(start_s, n * length_s)
        if inside > 0:
            yield n * length_s, inside / (end_s - start_s)
