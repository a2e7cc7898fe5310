"""Power exporters by scraping: one exporter's own page, or what a Prometheus server has collected.

A page shows the last value that the exporter took, which may be older than the scrape: where nothing moves while we
watch, the exporter's default collect interval is taken for its update period, and told. A sample that the exporter put
its own time to keeps that time: its clock is compared with ours by the HTTP ``Date``, to half a second, and a sample
that is shown again is no new reading. A Prometheus server gives the
samples with its own times: they are asked for as a range, so each keeps the time at which it was scraped, and the
server's clock is compared with ours.

SPEC: ``prometheus:URL[,dialect=NAME][,via=scrape|api][,where=Hostname:gpu1+job:dcgm][,prefix=P]``
``[,count=8][,ca=FILE][,verify=no]``
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import Any
from urllib.parse import quote

from joulemill.catalog.exporters import ExporterDialect, exporter_dialect, exporter_dialects
from joulemill.errors import InputError, MachineError
from joulemill.ledger.record import Channel, Quantity, Reading, Scope
from joulemill.meters.dialect import Found, channel_of, meter_of, name_pattern, select
from joulemill.meters.exposition import Sample, parse_exposition
from joulemill.meters.http import DATE_HALF_S, Credentials, HttpSource, clock_ahead_s, unreachable
from joulemill.meters.meter import Meter, MeterContext, Spec

#: How long a page is watched at opening, and how often, to see whether it moves.
WATCH_S, WATCH_STEP_S = 2.5, 0.5
#: A Prometheus server is asked no more often, and over at least this range, so that nothing falls between two asks.
ASK_EVERY_S, ASK_RANGE_S = 1.0, 60.0
OPENING_RANGE_S = 300.0
CREDENTIALS = "JOULEMILL_PROMETHEUS_TOKEN, or JOULEMILL_PROMETHEUS_USER and JOULEMILL_PROMETHEUS_PASSWORD"


@dataclass(frozen=True)
class Asked:
    """What the user's SPEC asks for; ``several`` once it is known whether more than one host answers."""

    spec: Spec
    dialects: tuple[ExporterDialect, ...]
    where: Mapping[str, str]
    prefix: str
    host: str
    several: bool | None = None

    def select(self, samples: Sequence[Sample]) -> dict[str, Found]:
        """The channels in ``samples``."""
        return select(self.dialects, self.named(samples), self.host, where=self.where, several=self.several)

    def named(self, samples: Sequence[Sample]) -> list[Sample]:
        """``samples`` without the site's prefix, and without those that lack it."""
        return [replace(s, name=s.name.removeprefix(self.prefix)) for s in samples if s.name.startswith(self.prefix)]


class PageMeter:
    """Scrapes one exporter's page."""

    def __init__(self, source: HttpSource, asked: Asked, context: MeterContext) -> None:
        self._source, self._asked, self._context = source, asked, context
        path = source.path if source.path not in ("", "/") else "/metrics"
        self._path = path
        self._latest: dict[str, float] = {}
        self._ahead_s: float | None = None
        first, took_s = self._scrape()
        if not first:
            names = ", ".join(d.name for d in asked.dialects)
            raise MachineError(
                f"--meter {asked.spec.text}: {source.host}{path} shows no power or energy ({names} known)"
            )
        period_s = self._watched(first)
        self._channels = tuple(
            channel_of(
                f,
                meter_of(f, asked.spec.text, first.values()),
                update_period_s=_of_power(f, period_s),
                clock_skew_s=self._skew_s(f, took_s),
            )
            for f in first.values()
        )

    def channels(self) -> tuple[Channel, ...]:
        """What the page showed at opening."""
        return self._channels

    def read(self) -> tuple[Reading, ...]:
        """One scrape, stamped with its middle; a channel that the page no longer shows is an error reading.

        A sample with a time of its own is stamped with that, once.
        """
        clock = self._context.clock
        began_s = clock.mono()
        try:
            found, took_s = self._scrape()
        except (OSError, ValueError) as error:
            return tuple(self._context.reading(c.id, None, str(error)) for c in self._channels)
        mono, wall = began_s + took_s / 2, clock.wall() - took_s / 2
        each = [(c, f, self._stamped(f, mono, wall)) for c in self._channels for f in [found.get(c.id)]]
        return tuple(_reading(c, f, *when) for c, f, when in each if when is not None)

    def close(self) -> None:
        """End the connection."""
        self._source.close()

    def _scrape(self) -> tuple[dict[str, Found], float]:
        clock = self._context.clock
        began_s = clock.mono()
        answer = self._source.get(self._path)
        took_s = clock.mono() - began_s
        if self._ahead_s is None:
            self._ahead_s = clock_ahead_s(answer, clock.wall() - took_s / 2)
        return self._asked.select(parse_exposition(answer.body.decode("utf-8", "replace"))), took_s

    def _skew_s(self, found: Found, took_s: float) -> float | None:
        """Bound on the error of a sample's time: of our own clock's, or of the exporter's, which its Date tells."""
        if found.sample.t_wall_s is None:
            return took_s / 2
        return None if self._ahead_s is None else DATE_HALF_S + took_s / 2

    def _stamped(self, found: Found | None, mono: float, wall: float) -> tuple[float, float] | None:
        """The times of a sample on our clocks; None for one that was read already."""
        if found is None or found.sample.t_wall_s is None:
            return mono, wall
        t = found.sample.t_wall_s
        if t <= self._latest.get(found.channel, -math.inf):
            return None
        self._latest[found.channel] = t
        ours = t - (self._ahead_s or 0.0)
        return mono + ours - wall, ours

    def _watched(self, first: Mapping[str, Found]) -> float | None:
        """The exporter's default collect interval where its values stand still while we watch, else None."""
        slow = max((f.dialect.collect_interval_s or 0.0 for f in first.values()), default=0.0)
        if slow <= WATCH_S:
            return None
        before = {i: f.value for i, f in first.items()}
        for _ in range(round(WATCH_S / WATCH_STEP_S)):
            self._context.clock.sleep(WATCH_STEP_S)
            if any(f.value != before.get(i) for i, f in self._scrape()[0].items()):
                return None
        self._context.notice(
            f"{self._source.host}: no value moved in {WATCH_S:g} s, so its collect interval is taken to be the default "
            f"of {slow:g} s; windows of less than some minutes will be refused or very wide. "
            "Start the exporter with a shorter one (dcgm-exporter: --collect-interval 100, in ms)"
        )
        return slow


class ServerMeter:
    """Asks a Prometheus server for the raw samples of the last while and hands out those that are new."""

    def __init__(self, source: HttpSource, asked: Asked, context: MeterContext, base: str) -> None:
        self._source, self._asked, self._context, self._base = source, asked, context, base
        self._ahead_s, skew_s = self._compare_clocks()
        series = self._ask(OPENING_RANGE_S)
        found = asked.select([samples[-1] for samples in series])
        if not found:
            names = ", ".join(d.name for d in asked.dialects)
            raise MachineError(
                f"--meter {asked.spec.text}: this Prometheus has no power or energy series of the last "
                f"{OPENING_RANGE_S:g} s ({names} known); does it scrape the exporter, and does where= fit?"
            )
        hosts = {f.sample.labels.get("instance", asked.host) for f in found.values()}
        self._asked = replace(asked, several=len(hosts) > 1)  # a host that appears later must not rename the others
        if len(hosts) > 1:
            names = ", ".join(sorted(hosts))
            context.notice(f"{len(hosts)} hosts are metered together ({names}); where=instance:HOST chooses one")
        found = self._asked.select([samples[-1] for samples in series])
        period_s = _scrape_interval(series)
        self._channels = tuple(
            channel_of(f, meter_of(f, asked.spec.text, found.values()), update_period_s=period_s, clock_skew_s=skew_s)
            for f in found.values()
        )
        self._latest = dict.fromkeys(found, context.clock.wall() + self._ahead_s - ASK_RANGE_S)
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

    def _fresh(self, series: list[list[Sample]], mono_of_theirs: float) -> list[Reading]:
        chosen = self._asked.select([samples[-1] for samples in series]).values()
        channel_of_series = {_key(f.sample): f for f in chosen if f.channel in self._latest}
        fresh: list[Reading] = []
        for samples in map(self._asked.named, series):
            found = channel_of_series.get(_key(samples[0])) if samples else None
            if found is None:
                continue
            for sample in samples:
                t, one = sample.t_wall_s or 0.0, found.at(sample)
                if t > self._latest[found.channel]:
                    self._latest[found.channel] = t
                    fresh.append(Reading(found.channel, t + mono_of_theirs, t - self._ahead_s, one.value, one.error))
        return fresh

    def _ask(self, range_s: float) -> list[list[Sample]]:
        """Raw samples of the last ``range_s`` seconds, a list for each series, oldest first."""
        names = name_pattern(self._asked.dialects, self._asked.prefix)
        also = "".join(f',{k}="{v}"' for k, v in self._asked.where.items())
        result = self._query(f'{{__name__=~"{names}"{also}}}[{round(range_s)}s]')
        return [_samples(row) for row in result if row.get("values")]

    def _query(self, text: str) -> Any:
        answer = self._source.get(f"{self._base}/api/v1/query?query={quote(text)}").json()
        if not isinstance(answer, dict) or answer.get("status") != "success":
            raise ValueError("the server's answer is not that of Prometheus's HTTP API")
        return answer["data"]["result"]

    def _compare_clocks(self) -> tuple[float, float]:
        """How far the server's clock is ahead of ours [s], and a bound on the error of that: the best of five asks."""
        clock = self._context.clock
        best = (0.0, float("inf"))
        for _ in range(5):
            began_s, wall = clock.mono(), clock.wall()
            theirs = float(self._query("time()")[0])
            half_s = (clock.mono() - began_s) / 2
            best = min(best, (theirs - wall - half_s, half_s), key=lambda b: b[1])
        return best


def open_meter(spec: Spec, context: MeterContext) -> Meter:
    """The exporter or server of ``spec``. Raises MachineError where it cannot be reached or shows no power."""
    spec.only("dialect", "via", "where", "prefix", "count", "ca", "verify")
    if not spec.target:
        raise InputError(f"--meter {spec.text}: say where, as in prometheus:http://host:9400/metrics")
    verify = spec.option("verify", "yes", ("yes", "no")) == "yes"
    headers = Credentials.of(context.environ, "prometheus").headers()
    source = HttpSource(spec.target, headers, ca=spec.option("ca", ""), verify=verify)
    wanted = spec.option("dialect", "")
    dialects = (exporter_dialect(wanted),) if wanted else exporter_dialects()
    asked = Asked(spec, dialects, _where(spec), spec.option("prefix", ""), source.host)
    try:
        base = _api_base(source, spec)
        meter = PageMeter(source, asked, context) if base is None else ServerMeter(source, asked, context, base)
    except (OSError, ValueError) as error:
        source.close()
        hint = f"is it running there? Credentials come from {CREDENTIALS}"
        raise unreachable(f"--meter {spec.text}", error, hint) from error
    boards = {c.device for c in meter.channels() if c.scope is Scope.DEVICE}
    count = spec.option("count", "")
    if count and count != str(len(boards)):
        meter.close()
        raise MachineError(
            f"--meter {spec.text}: {count} devices expected, {len(boards)} shown; is one lost or hidden?"
        )
    return meter


def _api_base(source: HttpSource, spec: Spec) -> str | None:
    """The path before ``/api/v1`` where a Prometheus server answers; None for an exporter's page."""
    via = spec.option("via", "", ("", "scrape", "api"))
    base = source.path.rstrip("/")
    if via == "scrape" or (not via and base.endswith("metrics")):
        return None
    if via == "api":
        return base
    try:
        answer = source.get(f"{base}/api/v1/query?query=time()").json()
    except (OSError, ValueError):
        return None
    return base if isinstance(answer, dict) and answer.get("status") == "success" else None


def _where(spec: Spec) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in [p for p in spec.option("where", "").split("+") if p]:
        label, colon, value = part.partition(":")
        if not colon or not label:
            raise InputError(f"--meter {spec.text}: where={part} must be LABEL:VALUE, several joined by +")
        found[label] = value
    return found


def _samples(row: Mapping[str, Any]) -> list[Sample]:
    labels = dict(row["metric"])
    name = labels.pop("__name__", "")
    return [Sample(name, labels, float(value), float(t)) for t, value in row["values"]]


def _scrape_interval(series: list[list[Sample]]) -> float | None:
    gaps = [b.t_wall_s - a.t_wall_s for s in series for a, b in pairwise(s) if a.t_wall_s and b.t_wall_s]
    return median(gaps) if gaps else None


def _key(sample: Sample) -> tuple[str, frozenset[tuple[str, str]]]:
    """Which series a sample is of."""
    return sample.name, frozenset(sample.labels.items())


def _of_power(found: Found, period_s: float | None) -> float | None:
    return period_s if found.metric.quantity in (Quantity.ENERGY, Quantity.POWER) else None


def _reading(channel: Channel, found: Found | None, mono: float, wall: float) -> Reading:
    if found is None:
        return Reading(channel.id, mono, wall, None, "the page no longer shows it")
    return Reading(channel.id, mono, wall, found.value, found.error)
