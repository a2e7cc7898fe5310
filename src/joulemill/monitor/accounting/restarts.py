"""A server's counter series through its restarts: a page in, the same page out with counters that never fall. Pure.

A page may hold several engines, models and label sets, and any of them may begin anew alone; so each series is followed
by itself, and only then are they added up (``servers.metrics.canonical``). Rules:

- A series that falls began anew: what it shows now was counted since. At most what lay between the last scrape and the
  restart is lost; nothing is invented.
- Where the process's start time moved forward, every series began anew, also one that has outrun its old value.
- Where it moved back, the page is of another process (two servers behind one address): nothing is comparable.
- A series that is gone keeps what it had; a new one counts from first sight, or from zero where its process began
  after the scrape before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from joulemill.catalog.server_dialects import Dialect, DialectQuantity
from joulemill.formats.prometheus_text import TextSample
from joulemill.monitor.accounting.histograms import bucket_names
from joulemill.servers.metrics import MetricsPage

PROCESS_START = "process_start_time_seconds"
#: More series than this are not followed (assumed): a page whose labels never come twice must not fill the memory.
MAX_SERIES = 20_000
#: Values of the route label that are told apart; the rest is one (assumed).
MAX_ROUTES = 200
OTHER_ROUTES = "(other)"
#: A process's start time that moved by less is the same one: some exporters compute it anew each time [s] (assumed).
SAME_START_S = 2.0

_Key = tuple[str, frozenset[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class MonotonicPage:
    """``page`` with counters through restarts; ``restarted``: one of them began anew since the page before.

    ``comparable`` is False where differences to the page before say nothing.
    """

    page: MetricsPage
    restarted: bool
    comparable: bool


@dataclass(slots=True)
class _Followed:
    labels: Mapping[str, str]
    shown: float
    offset: float


class CounterSeries:
    """The counters of one server, one page after the other."""

    def __init__(self, dialect: Dialect) -> None:
        self._names = counter_names(dialect)
        self._series: dict[_Key, _Followed] = {}
        self._start_s: float | None = None
        self._last_wall_s: float | None = None

    def take(self, page: MetricsPage, wall_s: float) -> MonotonicPage:
        """The page at ``wall_s`` (UNIX time) with counters that never fall."""
        start_s = _process_start_s(page)
        moved_s = 0.0 if start_s is None or self._start_s is None else start_s - self._start_s
        first, last_s = self._last_wall_s is None, self._last_wall_s
        self._start_s, self._last_wall_s = start_s if start_s is not None else self._start_s, wall_s
        if moved_s < -SAME_START_S or len(self._series) > MAX_SERIES:
            self._series.clear()
            first, moved_s = True, 0.0
            comparable = False
        else:
            comparable = True
        anew = moved_s > SAME_START_S
        fresh = first or anew or (start_s is not None and last_s is not None and start_s > last_s)
        samples, restarted, series_keys = [], anew, set()
        for sample in page.samples:
            if sample.name not in self._names or not (math.isfinite(sample.value) and sample.value >= 0):
                samples.append(sample)
                continue
            key = (sample.name, frozenset(sample.labels.items()))
            series_keys.add(key)
            restarted |= self._follow(key, sample, anew=anew, fresh=fresh)
            samples.append(TextSample(sample.name, sample.labels, self._total(key)))
        gone = [TextSample(k[0], f.labels, self._total(k)) for k, f in self._series.items() if k not in series_keys]
        return MonotonicPage(MetricsPage((*samples, *gone), page.types, page.malformed_count), restarted, comparable)

    def _follow(self, key: _Key, sample: TextSample, *, anew: bool, fresh: bool) -> bool:
        """Take one series' value in; whether it began anew."""
        known = self._series.get(key)
        if known is None:
            self._series[key] = _Followed(sample.labels, sample.value, 0.0 if fresh else -sample.value)
            return False
        fell = anew or sample.value < known.shown
        if fell:
            known.offset += known.shown
        known.shown = sample.value
        return fell

    def _total(self, key: _Key) -> float:
        followed = self._series[key]
        return followed.shown + followed.offset


def _process_start_s(page: MetricsPage) -> float | None:
    """When the page's process began, UNIX time; None where it does not say, or several do."""
    starts = [s.value for s in page.samples if s.name == PROCESS_START and math.isfinite(s.value)]
    return starts[0] if len(starts) == 1 else None


def counter_names(dialect: Dialect) -> frozenset[str]:
    """Every name under which ``dialect``'s counters, and the buckets of its histograms, may stand on a page."""
    series = {t.series for q in dialect.quantities if q.kind == "counter" for w in q.ways for t in w.terms}
    names = {f"{start}{s}{end}" for s in series for start in dialect.starts for end in ("", "_total")}
    return frozenset(names.union(bucket_names(dialect)))


def by_route(page: MetricsPage, dialect: Dialect, label: str) -> dict[str, float]:
    """Output tokens by the values of ``label``; empty where the server's output series do not have it."""
    tokens_of_route: dict[str, float] = {}
    for name in _output_names(dialect):
        for sample in page.samples:
            if sample.name == name and label in sample.labels and math.isfinite(sample.value):
                route = sample.labels[label]
                if route not in tokens_of_route and len(tokens_of_route) >= MAX_ROUTES:
                    route = OTHER_ROUTES
                tokens_of_route[route] = tokens_of_route.get(route, 0.0) + sample.value
        if tokens_of_route:
            break
    return tokens_of_route


def _output_names(dialect: Dialect) -> tuple[str, ...]:
    quantity: DialectQuantity | None = next((q for q in dialect.quantities if q.name == "output_tok_total"), None)
    ways = () if quantity is None else quantity.ways
    series = [w.terms[0].series for w in ways if w.operation == "sum"]
    return tuple(f"{start}{s}{end}" for s in series for end in ("_total", "") for start in dialect.starts)


def route_increases(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Output tokens by route between two pages; a route that was not there before began at nothing."""
    risen = {route: value - before.get(route, 0.0) for route, value in after.items()}
    return {route: value for route, value in risen.items() if value > 0}
