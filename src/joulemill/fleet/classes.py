"""Classes of demand as a plan serves them: models that may serve, where, at which lengths, targets and hourly rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from joulemill.arrays import Array
from joulemill.errors import InputError
from joulemill.files import read_bytes, text_of
from joulemill.fleet.tables import DemandTable, ModelOffer, PlanTables
from joulemill.formats.traces.table import parse_trace

HOUR_S = 3600.0
#: Keys of a site that are hourly.
SITE_SERIES = (
    *("power_by_hour_ratio", "cooling_by_hour_ratio", "pue_by_hour"),
    *("carbon_by_hour_gco2e_kwh", "price_by_hour_currency_kwh"),
)
#: Requests that come at random are in flight in a Poisson number; an engine has room for this many of its standard
#: deviations above the mean (assumed).
BURST_SD = 6.0
#: Hours that a trace is reduced to.
TRACE_HOURS = 24


@dataclass(frozen=True, eq=False, kw_only=True)
class ServedClass:
    """A class. ``rate_tok_s`` [hours]; infinite: unlimited. ``ttft_s``, ``tpot_s``: its targets; None: none.

    ``notes``: what of its trace was left out.
    """

    index: int
    name: str
    models: Sequence[ModelOffer]
    sites: frozenset[str]
    input_tok: float
    output_tok: float
    output_spread_ratio: float
    cached_ratio: float
    ttft_s: float | None
    tpot_s: float | None
    quality_target: float | None
    rate_tok_s: Array
    notes: tuple[str, ...] = ()

    def accepts(self, model: ModelOffer, precision: str) -> bool:
        """Whether a model in a format is good enough for the class."""
        if not any(m.name == model.name for m in self.models):
            return False
        if self.quality_target is None:
            return True
        score = model.quality.get(precision) if isinstance(model.quality, dict) else model.quality
        return score is not None and score >= self.quality_target

    @property
    def is_backlog(self) -> bool:
        """Whether its requests wait until somebody takes them: it takes all there is, or states no latency target."""
        return not np.isfinite(self.rate_tok_s).all() or (self.ttft_s is None and self.tpot_s is None)

    def most_in_flight(self, concurrency: float) -> int:
        """Requests that an engine may run at once where a plan counts on ``concurrency``: bursts need room."""
        room = 0.0 if self.is_backlog else BURST_SD * np.sqrt(concurrency)
        return int(np.ceil(concurrency + room))

    def concurrency(self, model: str) -> tuple[int, ...]:
        """Concurrencies that the model's table names; empty: all are tried."""
        return next(m.concurrency for m in self.models if m.name == model)


def served_classes(tables: PlanTables, folder: Path, hours: int) -> Sequence[ServedClass]:
    """The classes of a plan of ``hours``."""
    return [_class(i, d, tables, folder, hours) for i, d in enumerate(tables.demand)]


def hour_count(tables: PlanTables) -> int:
    """Hours of a plan: 1, or as many as its hourly values have. InputError where these differ."""
    series = [
        *((f"site {s.name!r}: {key}", getattr(s, key)) for s in tables.site for key in SITE_SERIES),
        *((f"demand {d.name!r}: by_hour_ratio", d.by_hour_ratio) for d in tables.demand),
        *((f"demand {d.name!r}: rate", d.rate) for d in tables.demand if d.rate is None or len(d.rate) > 1),
    ]
    lengths = {name: len(values) for name, values in series if values is not None}
    lengths |= {f"demand {d.name!r}: trace": TRACE_HOURS for d in tables.demand if d.trace is not None}
    if len(set(lengths.values())) > 1:
        raise InputError(f"hourly values differ in length: {', '.join(f'{k} has {n}' for k, n in lengths.items())}")
    return next(iter(lengths.values()), 1)


def _class(index: int, d: DemandTable, tables: PlanTables, folder: Path, hours: int) -> ServedClass:
    names = [d.model] if d.model else list(d.models)
    models = [m for m in tables.model if m.name in names or not names]
    lengths = (d.input_tokens, d.output_tokens)
    notes: tuple[str, ...] = ()
    if d.trace is not None:
        rate, lengths, notes = _of_trace(folder / d.trace)
    else:
        stated = d.rate or ()
        each = [np.inf if v is None else v * (d.output_tokens if unit == "req/s" else 1.0) for v, unit in stated]
        rate = np.broadcast_to(np.array(each, float), (hours,))
    if d.by_hour_ratio is not None:
        rate = rate * np.array(d.by_hour_ratio)
    return ServedClass(
        index=index,
        name=d.name,
        models=models,
        sites=frozenset(d.sites or [s.name for s in tables.site]),
        input_tok=lengths[0],
        output_tok=lengths[1],
        output_spread_ratio=d.output_spread_ratio,
        cached_ratio=d.cached_ratio,
        ttft_s=d.slo_ttft,
        tpot_s=d.slo_tpot,
        quality_target=d.quality_target,
        rate_tok_s=np.array(rate, float),
        notes=notes,
    )


def _of_trace(path: Path) -> tuple[Array, tuple[float, float], tuple[str, ...]]:
    """Mean output tokens per second by hour of the trace's day, its mean lengths, and what of it was left out.

    A trace longer than a day is folded: each hour is the mean over its days. A shorter one has its rate throughout.
    """
    data = read_bytes(path)
    try:
        text = text_of(data)
    except ValueError as fault:
        raise InputError(f"{path}: is {fault}") from None
    table = parse_trace(path.name, text)
    output = np.asarray(table.output_tok, float)
    lengths, notes = (float(np.mean(table.input_tok)), float(output.mean())), tuple(filter(None, (table.cut,)))
    span_s = float(table.at_s[-1] - table.at_s[0]) if table.at_s.size > 1 else HOUR_S
    if span_s < 24 * HOUR_S:
        return np.full(TRACE_HOURS, float(output.sum()) / max(span_s, 1.0)), lengths, notes
    hour = ((table.at_s - table.at_s[0]) // HOUR_S).astype(int) % TRACE_HOURS
    observed_s = np.zeros(TRACE_HOURS)  # of each hour of the day; the trace ends a mean gap after its last request
    whole, rest_s = divmod(span_s, HOUR_S)
    rest_s = min(rest_s + span_s / (table.at_s.size - 1), HOUR_S)
    np.add.at(observed_s, np.arange(int(whole)) % TRACE_HOURS, HOUR_S)
    observed_s[int(whole) % TRACE_HOURS] += rest_s
    return np.bincount(hour, weights=output, minlength=TRACE_HOURS) / observed_s, lengths, notes
