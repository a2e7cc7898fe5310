"""From an exporter's samples to our channels, by its dialect. Pure.

A board that is reported once a slice is one device; a label filter keeps overlapping zones apart; a value that the
dialect says means "unavailable", or that no reading can be (a vendor's blank, watts beyond any board), is unknown,
never 0 and never negative watts.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache

from joulemill.catalog.devices import catalog_device
from joulemill.catalog.exporter_dialects import ExporterDialect, ExporterMetric
from joulemill.errors import InputError
from joulemill.figure import Basis
from joulemill.formats.prometheus_text import TextSample
from joulemill.ledger.findings import Reason
from joulemill.ledger.plausibility import reading_fault
from joulemill.ledger.record import Channel, Quantity, Scope
from joulemill.meters.local.nvidia_sensor import sampled_ratio

#: A device's name that has one of these in it is unique among hosts.
_WORLD_WIDE = re.compile(r"(?i)uuid|serial|hostname")
#: One board's watts or joules, shown twice in one scrape (once a slice, once a pod), are the same but for rounding.
SAME_RATIO = 0.05


@dataclass(frozen=True, slots=True)
class SeriesSample:
    """One sample that a dialect understands, in SI; ``value`` None with the reason in ``error``."""

    dialect: ExporterDialect
    metric: ExporterMetric
    device: str
    sample: TextSample
    value: float | None
    error: str | None = None

    @property
    def channel(self) -> str:
        """The channel's id."""
        return f"{self.dialect.name}:{self.device}:{self.metric.name}"

    def at(self, sample: TextSample) -> SeriesSample:
        """The same channel in another sample of the same series."""
        return _sample_of(self.dialect, self.metric, self.device, sample)


@dataclass(frozen=True, slots=True)
class SeriesChoice:
    """Which samples the user wants.

    where   label → values, any of which a sample must have
    boards  boards by index or UUID; where there are some, nothing but devices is taken
    """

    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    boards: tuple[str, ...] = ()

    def takes(self, sample: TextSample) -> bool:
        """Whether ``sample`` has the labels."""
        return all(sample.labels.get(label, "") in values for label, values in self.where.items())

    def takes_board(self, dialect: ExporterDialect, metric: ExporterMetric, sample: TextSample) -> bool:
        """Whether ``sample`` is of a board that is wanted."""
        return not self.boards or (
            metric.scope == Scope.DEVICE and bool(set(names(dialect, sample)) & set(self.boards))
        )


def names(dialect: ExporterDialect, sample: TextSample) -> tuple[str, ...]:
    """What a user may call the board of ``sample``: its index first."""
    labels = _labels(dialect, sample)
    wanted = [b.lower() for b in dialect.boards] if dialect.any_case else dialect.boards
    return tuple(v for label in wanted if (v := labels.get(label)))


def select(
    dialects: Iterable[ExporterDialect],
    samples: Sequence[TextSample],
    host: str,
    *,
    choice: SeriesChoice | None = None,
    several: bool | None = None,
) -> dict[str, SeriesSample]:
    """What ``dialects`` make of ``samples``, by channel id; of several samples of one channel the first is taken.

    Where samples of one scrape contradict each other about one board, that channel is unknown.
    host    stands in where samples have no ``instance`` label (a page that was scraped directly)
    choice  which of them the user wants
    several whether more than one host answers, so that devices need their host's name; None: look
    """
    wants = choice or SeriesChoice()
    wanted = [s for s in samples if wants.takes(s)]
    series_of_channel: dict[str, SeriesSample] = {}
    for dialect in dialects:
        every = ((m, s) for m in dialect.metrics for s in _ranked(dialect, m, wanted))
        ours = [(m, s) for m, s in every if wants.takes_board(dialect, m, s)]
        hosts = {s.labels.get("instance", host) for _, s in ours}
        for metric, sample in ours:
            device = _device(dialect, metric, sample, host, several=len(hosts) > 1 if several is None else several)
            if device is not None:
                one = _sample_of(dialect, metric, device, sample)
                series_of_channel[one.channel] = (
                    _of_both(series_of_channel[one.channel], one) if one.channel in series_of_channel else one
                )
    return series_of_channel


def _of_both(first: SeriesSample, again: SeriesSample) -> SeriesSample:
    """``first``, unless ``again`` shows that two boards go by one name."""
    a, b = first.sample, again.sample
    one_scrape = a.name == b.name and a.t_wall_s == b.t_wall_s
    one_source = all(a.labels.get(label) == b.labels.get(label) for label in ("job", "instance"))
    energetic = first.metric.quantity in (Quantity.ENERGY, Quantity.POWER)
    if first.value is None or not (one_scrape and one_source and energetic):
        return first
    boards = [" ".join(names(f.dialect, f.sample)) for f in (first, again)]
    least_ratio = 0.0 if a.labels == b.labels else SAME_RATIO
    if boards[0] == boards[1] and abs(a.value - b.value) <= least_ratio * max(abs(a.value), abs(b.value)):
        return first
    why = f"{a.name} of {first.device} is {a.value:.6g} and {b.value:.6g} in one scrape: two boards under one name"
    return replace(first, value=None, error=f"{Reason.CONFLICT.value}: {why}")


def meter_of(series: SeriesSample, spec: str, everything: Iterable[SeriesSample]) -> str:
    """The meter's name: two exporters behind one address are two meters, for what they show may overlap."""
    return f"{spec}#{series.dialect.name}" if len({f.dialect.name for f in everything}) > 1 else spec


def channel_of(
    series: SeriesSample, spec: str, *, update_period_s: float | None, clock_skew_s: float | None
) -> Channel:
    """The channel of a sample that was found."""
    metric = series.metric
    energetic = metric.quantity in (Quantity.ENERGY, Quantity.POWER)
    model = series.sample.labels.get("modelName", "") if energetic else ""
    return Channel(
        id=series.channel,
        meter=spec,
        device=series.device,
        scope=Scope(metric.scope),
        quantity=Quantity(metric.quantity),
        basis=Basis.MEASURED,
        resolution=metric.resolution,
        update_period_s=update_period_s,
        rel_error=metric.rel_error,
        clock_skew_s=clock_skew_s,
        includes=tuple(f"{series.dialect.name}:{series.device}:{n}" for n in metric.inside),
        source=f"{series.sample.name}; {series.dialect.source}",
        sampled_ratio=sampled_ratio(model),
        limit_w=_board_w(model),
    )


@lru_cache(64)
def _board_w(model: str) -> float | None:
    """TDP of the board that an exporter calls ``model``; None where the catalog has none of that name."""
    with suppress(InputError):  # a name of a stranger's page: in the catalog alone, never a file
        return catalog_device(model).tdp_w if model else None
    return None


def name_pattern(dialects: Iterable[ExporterDialect], prefix: str = "") -> str:
    """A regular expression over metric names that holds everything the dialects read (for a Prometheus server)."""
    names: list[str] = []
    for dialect in dialects:
        theirs = [prefix + n for m in dialect.metrics for n in m.names]
        names += theirs + ([n.upper() for n in theirs] if dialect.any_case else [])
    return "|".join(dict.fromkeys(names))


def _ranked(dialect: ExporterDialect, metric: ExporterMetric, samples: Sequence[TextSample]) -> list[TextSample]:
    """Samples of ``metric``, the preferred spelling first."""
    ranked = [(r, s) for s in samples if (r := _rank(dialect, metric, s)) is not None]
    return [s for _, s in sorted(ranked, key=lambda pair: pair[0])]


def _rank(dialect: ExporterDialect, metric: ExporterMetric, sample: TextSample) -> int | None:
    name = sample.name.lower() if dialect.any_case else sample.name
    for rank, wanted in enumerate(metric.names):
        if name == wanted:
            labels = _labels(dialect, sample)
            fits = all(re.fullmatch(p, labels.get(k, "")) for k, p in metric.where.items())
            return rank if fits else None
    return None


def _labels(dialect: ExporterDialect, sample: TextSample) -> Mapping[str, str]:
    return {k.lower(): v for k, v in sample.labels.items()} if dialect.any_case else sample.labels


def _device(
    dialect: ExporterDialect, metric: ExporterMetric, sample: TextSample, host: str, *, several: bool
) -> str | None:
    labels = {k: v for k, v in _labels(dialect, sample).items() if v}
    for template in metric.devices:
        needed = {name for _, name, _, _ in string.Formatter().parse(template) if name}
        if needed <= labels.keys():
            device = template.format(**labels)
            home = sample.labels.get("instance", host)
            return f"{home}/{device}" if several and not (dialect.unique and _WORLD_WIDE.search(template)) else device
    return None


def _sample_of(dialect: ExporterDialect, metric: ExporterMetric, device: str, sample: TextSample) -> SeriesSample:
    value = sample.value * metric.factor
    error: str | None = None
    if not math.isfinite(sample.value):
        error = f"{sample.name} is {sample.value}"
    elif metric.negative_unknown and sample.value < 0:
        error = f"{sample.name} is negative, which means unavailable"
    elif metric.zero_unknown and sample.value == 0:
        error = f"{sample.name} is 0, which means unavailable"
    else:
        fault = reading_fault(Quantity(metric.quantity), value, scope=Scope(metric.scope))
        error = None if fault is None else f"{fault.value}: {sample.name} is {sample.value:.6g}"
    return SeriesSample(dialect, metric, device, sample, None if error else value, error)
