"""Latency percentiles of an interval, from the increases of a server's histogram buckets. Pure.

The formula is that of Prometheus's ``histogram_quantile``: the rank q·n lies in the first bucket whose cumulative count
reaches it, and inside that bucket requests are taken as evenly spread:

    x = lower + (upper - lower) · (q·n - below) ÷ (reached - below)          the first bucket begins at 0

A percentile in the bucket without an end is not known: it is more than the last bound, and nobody counted how much
more (Prometheus gives the last bound there). How far off x can be is the width of its bucket.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from joulemill.catalog.server_dialects import Dialect
from joulemill.monitor.snapshot import HistogramPercentiles
from joulemill.servers.metrics import MetricsPage

#: What has percentiles, as in a dialect's ``ttft_s_total``.
LATENCIES = ("ttft", "tpot")

#: Requests at or below a bound [s], by bound.
Buckets = Mapping[float, float]


def bucket_series(dialect: Dialect, what: str) -> tuple[str, ...]:
    """Series of ``what``'s buckets without prefix, best first; empty where the server has no histogram of it."""
    ways = [w for q in dialect.quantities if q.name == f"{what}_s_total" for w in q.ways if w.operation == "sum"]
    sums = [w.terms[0].series for w in ways if len(w.terms) == 1]
    return tuple(f"{s.removesuffix('_sum')}_bucket" for s in sums if s.endswith("_sum"))


def bucket_names(dialect: Dialect) -> tuple[str, ...]:
    """Every name under which buckets may stand on a page of ``dialect``."""
    series = dict.fromkeys(s for what in LATENCIES for s in bucket_series(dialect, what))
    return tuple(f"{start}{s}" for s in series for start in dialect.starts)


def buckets(page: MetricsPage, dialect: Dialect, what: str) -> dict[float, float]:
    """Cumulative counts by bound, over all engines and models; empty where the page has no such histogram."""
    for series in bucket_series(dialect, what):
        names = {f"{start}{series}" for start in dialect.starts}
        count_of_bound: dict[float, float] = {}
        for sample in page.samples:
            if sample.name in names and all(sample.labels.get(k, v) == v for k, v in dialect.keep.items()):
                bound = _bound_s(sample.labels.get("le"))
                if bound is not None and math.isfinite(sample.value) and sample.value >= 0:
                    count_of_bound[bound] = count_of_bound.get(bound, 0.0) + sample.value
        if count_of_bound:
            return count_of_bound
    return {}


def _bound_s(text: str | None) -> float | None:
    try:
        bound = float(text or "")
    except ValueError:
        return None
    return None if math.isnan(bound) else bound


def percentiles(before: Buckets, after: Buckets) -> HistogramPercentiles | None:
    """Of the requests that were counted between two pages; None where none was, or there is no histogram."""
    risen = {bound: max(count - before.get(bound, 0.0), 0.0) for bound, count in after.items()}
    count = risen.get(math.inf, 0.0)
    if count <= 0 or len(risen) < 2:
        return None
    return HistogramPercentiles(quantile_s(risen, 0.5), quantile_s(risen, 0.9), quantile_s(risen, 0.99), count)


def quantile_s(cumulative: Buckets, q: float) -> float | None:
    """The ``q``-quantile [s] of cumulative counts by bound. None where it lies beyond the last finite bound."""
    bounds = sorted(cumulative)
    if len(bounds) < 2 or bounds[-1] != math.inf or cumulative[math.inf] <= 0:
        return None
    rank, below, lower = q * cumulative[math.inf], 0.0, 0.0
    for upper in bounds[:-1]:
        reached = max(cumulative[upper], below)  # counts of one moment may be read a little apart
        if reached >= rank:
            if upper <= 0 or reached <= below:
                return max(upper, 0.0)
            return lower + (upper - lower) * (rank - below) / (reached - below)
        below, lower = reached, max(upper, 0.0)
    return None
