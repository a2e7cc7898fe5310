"""What a Prometheus server has collected: its raw samples of the last while, with the times at which it scraped them.

Its answers are checked as a whole before anything is made of them: a server may be anything that speaks its API.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import median
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import Field, TypeAdapter, ValidationError

from joulemill.errors import MachineError
from joulemill.formats.prometheus_text import TextSample
from joulemill.formats.timestamps import sensible_s
from joulemill.ledger.record import Channel, Quantity, Reading
from joulemill.meters.meter import MeterContext
from joulemill.meters.network.exporter_series import channel_of, meter_of, name_pattern
from joulemill.meters.network.exporter_spec import ExporterQuery, unknown_devices
from joulemill.meters.network.http import HttpSource

#: A Prometheus server is asked no more often, and over at least this range, so that nothing falls between two asks.
ASK_EVERY_S, ASK_RANGE_S = 1.0, 60.0
OPENING_RANGE_S = 300.0
#: A sample may lie so far outside the range that was asked for (clocks, staleness) and no farther [s].
OUTSIDE_S = 60.0

Finite = Annotated[float, Field(allow_inf_nan=False)]
Value = tuple[Finite, str]


@dataclass(frozen=True, slots=True)
class _SeriesRow:
    metric: dict[str, str] = field(default_factory=dict)
    values: list[Value] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Matrix:
    result: list[_SeriesRow]


@dataclass(frozen=True, slots=True)
class _Scalar:
    result: Value


@dataclass(frozen=True, slots=True)
class _MatrixAnswer:
    status: Literal["success"]
    data: _Matrix


@dataclass(frozen=True, slots=True)
class _ScalarAnswer:
    status: Literal["success"]
    data: _Scalar


_MATRIX, _SCALAR = TypeAdapter(_MatrixAnswer), TypeAdapter(_ScalarAnswer)


def parse_matrix(body: bytes) -> list[list[TextSample]]:
    """The series of a range query's answer, each oldest first; empty ones are left out. Raises ValueError."""
    try:
        rows = _MATRIX.validate_json(body).data.result
    except ValidationError as error:
        raise _not_of_the_api(error) from error
    return [_samples(row) for row in rows if row.values]


def parse_scalar(body: bytes) -> float:
    """The number of a scalar's answer. Raises ValueError."""
    try:
        return float(_SCALAR.validate_json(body).data.result[1])
    except ValidationError as error:
        raise _not_of_the_api(error) from error


def is_api(body: bytes) -> bool:
    """Whether ``body`` is Prometheus's answer to ``time()``."""
    try:
        return math.isfinite(parse_scalar(body))
    except ValueError:
        return False


def _samples(row: _SeriesRow) -> list[TextSample]:
    labels = dict(row.metric)
    name = labels.pop("__name__", "")
    return [TextSample(name, labels, float(value), sensible_s(t)) for t, value in row.values]


def _not_of_the_api(error: ValidationError) -> ValueError:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(p) for p in first["loc"])[:80] or "the whole"
    return ValueError(f"the server's answer is not that of Prometheus's HTTP API: {place}: {first['msg']}")


class ServerMeter:
    """Asks a Prometheus server for the raw samples of the last while and hands out those that are new."""

    def __init__(self, source: HttpSource, asked: ExporterQuery, context: MeterContext, base: str) -> None:
        self._source, self._asked, self._context, self._base = source, asked, context, base
        self._ahead_s, skew_s = self._compare_clocks()
        series = self._ask(OPENING_RANGE_S)
        latest = [samples[-1] for samples in series]
        chosen = asked.select(latest)
        asked.check(latest, chosen)
        if not any(f.metric.quantity in (Quantity.ENERGY, Quantity.POWER) for f in chosen.values()):
            names = ", ".join(d.name for d in asked.dialects)
            raise MachineError(
                f"`meter` {asked.spec.text}: this Prometheus has no power or energy series of the last "
                f"{OPENING_RANGE_S:g} s ({names} known); does it scrape the exporter, and does where= fit?"
            )
        hosts = {f.sample.labels.get("instance", asked.host) for f in chosen.values()}
        self._asked = replace(asked, several=len(hosts) > 1)  # a host that appears later must not rename the others
        if len(hosts) > 1:
            names = ", ".join(sorted(hosts))
            context.notice(f"{len(hosts)} hosts are metered together ({names}); where=instance:HOST chooses one")
        chosen = self._asked.select(latest)
        for text in unknown_devices(chosen.values()):
            context.notice(f"{source.shown}: {text}")
        period_s = _scrape_interval(series)
        self._channels = tuple(
            channel_of(f, meter_of(f, asked.spec.text, chosen.values()), update_period_s=period_s, clock_skew_s=skew_s)
            for f in chosen.values()
        )
        self._latest = dict.fromkeys(chosen, context.clock.wall() + self._ahead_s - ASK_RANGE_S)
        self._due_s = float("-inf")

    def channels(self) -> tuple[Channel, ...]:
        """What the server had at opening."""
        return self._channels

    def read(self) -> tuple[Reading, ...]:
        """Samples that were not seen before, with their own times on our clock."""
        clock = self._context.clock
        if clock.mono() < self._due_s:
            return ()
        self._due_s = clock.mono() + ASK_EVERY_S
        try:
            series = self._ask(ASK_RANGE_S)
        except (OSError, ValueError) as error:
            return tuple(self._context.reading(c.id, None, str(error)) for c in self._channels)
        mono_of_theirs = clock.mono() - clock.wall() - self._ahead_s
        return tuple(sorted(self._fresh(series, mono_of_theirs), key=lambda r: r.t_mono_s))

    def close(self) -> None:
        """End the connection."""
        self._source.close()

    def _fresh(self, series: list[list[TextSample]], mono_of_theirs: float) -> list[Reading]:
        chosen = self._asked.select([samples[-1] for samples in series]).values()
        channel_of_series = {_key(f.sample): f for f in chosen if f.channel in self._latest}
        fresh: list[Reading] = []
        for samples in map(self._asked.named, series):
            live_series = channel_of_series.get(_key(samples[0])) if samples else None
            if live_series is None:
                continue
            for sample in samples:
                t, one = sample.t_wall_s or 0.0, live_series.at(sample)
                if t > self._latest[live_series.channel]:
                    self._latest[live_series.channel] = t
                    fresh.append(
                        Reading(live_series.channel, t + mono_of_theirs, t - self._ahead_s, one.value, one.error)
                    )
        return fresh

    def _ask(self, range_s: float) -> list[list[TextSample]]:
        """Raw samples of the last ``range_s`` seconds, a list for each series, oldest first."""
        names = name_pattern(self._asked.dialects, self._asked.prefix)
        series = parse_matrix(self._query(f'{{__name__=~"{names}"{self._asked.matchers()}}}[{round(range_s)}s]'))
        theirs_s = self._context.clock.wall() + self._ahead_s
        for samples in series:
            for s in (samples[0], samples[-1]):
                if not -range_s - OUTSIDE_S <= (s.t_wall_s or 0.0) - theirs_s <= OUTSIDE_S:
                    raise ValueError(f"{s.name}: its samples are not of the {range_s:g} s that were asked for")
        return series

    def _query(self, text: str) -> bytes:
        return self._source.get(f"{self._base}/api/v1/query?query={quote(text)}").body

    def _compare_clocks(self) -> tuple[float, float]:
        """How far the server's clock is ahead of ours [s], and a bound on the error of that: the best of five asks."""
        clock = self._context.clock
        best = (0.0, float("inf"))
        for _ in range(5):
            began_s, wall = clock.mono(), clock.wall()
            theirs = sensible_s(parse_scalar(self._query("time()")))
            half_s = (clock.mono() - began_s) / 2
            best = min(best, (theirs - wall - half_s, half_s), key=lambda b: b[1])
        return best


def _scrape_interval(series: Sequence[Sequence[TextSample]]) -> float | None:
    gaps = [b.t_wall_s - a.t_wall_s for s in series for a, b in pairwise(s) if a.t_wall_s and b.t_wall_s]
    return median(gaps) if gaps else None


def _key(sample: TextSample) -> tuple[str, frozenset[tuple[str, str]]]:
    """Which series a sample is of."""
    return sample.name, frozenset(sample.labels.items())
