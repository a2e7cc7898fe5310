"""Power exporters by scraping: one exporter's own page, or what a Prometheus server has collected.

A page shows the last value that the exporter took, which may be older than the scrape: where nothing moves while we
watch, the exporter's default collect interval is taken for its update period, and told. A sample that the exporter put
its own time to keeps that time: its clock is compared with ours by the HTTP ``Date``, to half a second, and a sample
that is shown again is no new reading. A Prometheus server gives the
samples with its own times: they are asked for as a range, so each keeps the time at which it was scraped, and the
server's clock is compared with ours.

SPEC: ``prometheus:URL[,dialect=NAME][,via=scrape|api][,where=Hostname:gpu1+gpu:0+gpu:1][,gpus=0+1][,prefix=P]``
``[,count=8][,ca=FILE][,verify=no]``
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from joulemill.errors import InputError, MachineError
from joulemill.formats.prometheus_text import TextSample, parse_exposition
from joulemill.ledger.record import Channel, Quantity, Reading
from joulemill.meters.meter import Meter, MeterContext, Spec
from joulemill.meters.network.exporter_series import SeriesSample, channel_of, meter_of
from joulemill.meters.network.exporter_spec import ExporterQuery, unknown_devices
from joulemill.meters.network.http import DATE_HALF_S, Credentials, HttpSource, clock_ahead_s, date_half_s, unreachable
from joulemill.meters.network.prometheus_server import ServerMeter, is_api

#: How long a page is watched at opening, and how often, to see whether it moves.
WATCH_S, WATCH_STEP_S = 2.5, 0.5
#: An exporter's own times are within this of ours, or say nothing [s].
FAR_S = 3600.0
CREDENTIALS = "JOULEMILL_PROMETHEUS_TOKEN, or JOULEMILL_PROMETHEUS_USER and JOULEMILL_PROMETHEUS_PASSWORD"


class PageMeter:
    """Scrapes one exporter's page."""

    def __init__(self, source: HttpSource, asked: ExporterQuery, context: MeterContext) -> None:
        self._source, self._asked, self._context = source, asked, context
        path = source.path if source.path not in ("", "/") else "/metrics"
        self._path, self._wanted = path, asked.wanted()
        self._latest: dict[str, float] = {}
        self._ahead_s: float | None = None
        self._half_s = DATE_HALF_S
        samples, took_s = self._samples()
        first = asked.select(samples)
        asked.check(samples, first)
        if not any(f.metric.quantity in (Quantity.ENERGY, Quantity.POWER) for f in first.values()):
            names = ", ".join(d.name for d in asked.dialects)
            raise MachineError(
                f"`meter` {asked.spec.text}: {source.shown}{path} shows no power or energy ({names} known)"
            )
        for text in unknown_devices(first.values()):
            context.notice(f"{source.shown}: {text}")
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
            page, took_s = self._scrape()
        except (OSError, ValueError) as error:
            return tuple(self._context.reading(c.id, None, str(error)) for c in self._channels)
        mono, wall = began_s + took_s / 2, clock.wall() - took_s / 2
        each = (self._reading(c, page.get(c.id), mono, wall) for c in self._channels)
        return tuple(r for r in each if r is not None)

    def close(self) -> None:
        """End the connection."""
        self._source.close()

    def _scrape(self) -> tuple[dict[str, SeriesSample], float]:
        samples, took_s = self._samples()
        return self._asked.select(samples), took_s

    def _samples(self) -> tuple[list[TextSample], float]:
        clock = self._context.clock
        began_s = clock.mono()
        answer = self._source.get(self._path)
        took_s = clock.mono() - began_s
        if not answer.sized and answer.body and not answer.body.endswith(b"\n"):
            raise OSError(f"{self._source.shown}{self._path}: the page was cut off: its last line has no end")
        if self._ahead_s is None:
            self._ahead_s = clock_ahead_s(answer, clock.wall() - took_s / 2)
            self._half_s = date_half_s(answer)
        return parse_exposition(answer.body.decode("utf-8", "replace"), self._wanted), took_s

    def _skew_s(self, page: SeriesSample, took_s: float) -> float | None:
        """Bound on the error of a sample's time: of our own clock's, or of the exporter's, which its Date tells."""
        if page.sample.t_wall_s is None:
            return took_s / 2
        return None if self._ahead_s is None else self._half_s + took_s / 2

    def _reading(self, channel: Channel, series: SeriesSample | None, mono: float, wall: float) -> Reading | None:
        """A sample as a reading on our clocks; None for one that was read already."""
        if series is None:
            return Reading(channel.id, mono, wall, None, "the page no longer shows it")
        t = series.sample.t_wall_s
        if t is None:
            return Reading(channel.id, mono, wall, series.value, series.error)
        ours = t - (self._ahead_s or 0.0)
        if not abs(ours - wall) <= FAR_S:
            return Reading(channel.id, mono, wall, None, f"its exporter dates it {ours - wall:+.3g} s from now")
        if t <= self._latest.get(series.channel, -math.inf):
            return None
        self._latest[series.channel] = t
        return Reading(channel.id, mono + ours - wall, ours, series.value, series.error)

    def _watched(self, first: Mapping[str, SeriesSample]) -> float | None:
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
            f"{self._source.shown}: no value moved in {WATCH_S:g} s, so its collect interval is taken to be the "
            f"default of {slow:g} s; windows of less than some minutes will be refused or very wide. "
            "Start the exporter with a shorter one (dcgm-exporter: --collect-interval 100, in ms)"
        )
        return slow


def open_meter(spec: Spec, context: MeterContext) -> Meter:
    """The exporter or server of ``spec``. Raises MachineError where it cannot be reached or shows no power."""
    spec.only("dialect", "via", "where", "gpus", "prefix", "count", "ca", "verify")
    if not spec.target:
        raise InputError(f"`meter` {spec.text}: say where, as in prometheus:http://host:9400/metrics")
    verify = spec.option("verify", "yes", ("yes", "no")) == "yes"
    headers = Credentials.of(context.environ, "prometheus").headers()
    source = HttpSource(spec.target, headers, ca=spec.option("ca", ""), verify=verify)
    try:
        asked = ExporterQuery.of(spec, source.host)
        base = _api_base(source, spec)
        return PageMeter(source, asked, context) if base is None else ServerMeter(source, asked, context, base)
    except (OSError, ValueError) as error:
        source.close()
        hint = f"is it running there? Credentials come from {CREDENTIALS}"
        raise unreachable(f"`meter` {spec.text}", error, hint) from error
    except BaseException:
        source.close()
        raise


def _api_base(source: HttpSource, spec: Spec) -> str | None:
    """The path before ``/api/v1`` where a Prometheus server answers; None for an exporter's page."""
    via = spec.option("via", "", ("", "scrape", "api"))
    base = source.path.rstrip("/")
    if via == "scrape" or (not via and base.endswith("metrics")):
        return None
    if via == "api":
        return base
    try:
        return base if is_api(source.get(f"{base}/api/v1/query?query=time()").body) else None
    except (OSError, ValueError):
        return None


def _of_power(series: SeriesSample, period_s: float | None) -> float | None:
    return period_s if series.metric.quantity in (Quantity.ENERGY, Quantity.POWER) else None
