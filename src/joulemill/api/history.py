"""``joulemill.open_history``: what a monitor kept: whose joules they were, what could be saved, rows by SQL."""

from __future__ import annotations

import datetime
import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulemill.api.frames import frame_of
from joulemill.api.results import Result
from joulemill.errors import InputError, MachineError
from joulemill.monitor.config import MonitorConfig, load_config
from joulemill.monitor.history.chargeback import SiteRates, SpendingShare, attributed, rates
from joulemill.monitor.history.reader import MOST_ROWS, Reader, reading
from joulemill.monitor.history.spending import label_names, refusals, spent
from joulemill.suggestions import meant
from joulemill.units import JOULE_PER_KWH

if TYPE_CHECKING:
    from joulemill.decisions.advice import Advice as Advice

__all__ = ["KEYS", "MOST_ROWS", "Bill", "MonitorHistory", "Proposals", "open_history"]

DAY_S, HOUR_S = 86_400.0, 3600.0
#: What a bill may be by, beside the targets' labels.
KEYS = ("model", "site", "target", "route")


@dataclass(frozen=True, repr=False)
class Bill(Result):
    """Joules, carbon and money by day and key. Each day's ``total`` row is what was metered.

    not_billed   targets and times whose joules were refused, and why
    """

    by: str
    rows: Sequence[Mapping[str, Any]]
    not_billed: Sequence[Mapping[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """The document of ``joulemill chargeback --json``."""
        return {"by": self.by, "rows": list(self.rows), "not_billed": list(self.not_billed)}

    def to_frame(self, backend: str | None = None) -> Any:
        """One row per day and key."""
        names = list(self.rows[0]) if self.rows else []
        return frame_of({name: [row[name] for row in self.rows] for name in names}, backend)

    def _line(self) -> str:
        refused = f", {len(self.not_billed)} not billed" if self.not_billed else ""
        return f"bill by {self.by}: {len(self.rows)} rows{refused}"

    def _rows(self) -> Iterable[tuple[str, str]]:
        for row in self.rows:
            day, key, *others = row.items()
            yield f"{day[1]} {key[1]}", ", ".join(f"{name} {value}" for name, value in others if value is not None)


@dataclass(frozen=True, repr=False)
class Proposals(Result):
    """What could be saved, best first; ``reason`` says why there is nothing."""

    advice: Sequence[Advice]
    reason: str | None

    def to_dict(self) -> dict[str, Any]:
        """The document of ``joulemill advise --json``."""
        return {"advice": [asdict(a) for a in self.advice], "reason": self.reason}

    def _line(self) -> str:
        return f"{len(self.advice)} savings" if self.advice else f"no savings: {self.reason}"

    def _rows(self) -> Iterable[tuple[str, str]]:
        return ((f"{a.kind}, {a.subject}", a.text) for a in self.advice)


class MonitorHistory:
    """A monitor's history, open for reading, also while it is written. Not to be shared between threads."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def tables(self) -> dict[str, int]:
        """Tables and how many rows each has; docs/monitor.md says what they hold."""
        return self._reader.tables()

    def targets(self) -> list[dict[str, Any]]:
        """Targets with their facts and times."""
        return [{**t, "facts": json.loads(t["facts"])} for t in self._reader.targets()]

    def sql(self, query: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Column names and rows of a query, ``MOST_ROWS`` at most. Raises InputError where it writes or is no SQL."""
        return self._reader.sql(query)

    def to_parquet(self, folder: str | Path, tables: Sequence[str] | None = None) -> dict[str, int]:
        """Write tables (default: all) as they were at one moment, each as TABLE.parquet; how many rows each has."""
        place = Path(folder)
        try:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)  # as private as the store is
            with self._reader.one_moment():
                names = list(dict.fromkeys(tables or self._reader.tables()))
                return {n: self._reader.export_parquet(place / f"{n}.parquet", n) for n in names}
        except OSError as fault:
            raise MachineError(f"{place}: cannot be written ({fault.strerror or fault}); choose another DIR") from fault

    def chargeback(
        self, by: str = "model", *, days: float = 30.0, config: str | Path | None = None, idle_apart: bool = False
    ) -> Bill:
        """Whose joules the last ``days`` days were, by ``KEYS`` or a label of the targets, closing to what was metered.

        config   the monitor's configuration: PUE, carbon and price of its sites;  idle_apart   idle joules as a line
        """
        span_s = _span(days)
        _check_key(by, label_names(self._reader), any_target=bool(self._reader.targets()))
        spending, missing = spent(self._reader, *span_s), refusals(self._reader, *span_s)
        sites = () if config is None else load_config(Path(config)).sites()
        at: dict[str, SiteRates] = {s.site: rates(s.pue_ratio, s.carbon_g_kwh, s.price_kwh, s.currency) for s in sites}
        currencies = {s.currency for s in sites if s.currency}
        currency = currencies.pop() if len(currencies) == 1 else None
        shares = attributed(spending, by, at, idle_apart=idle_apart)
        totals = attributed(spending, "whole", at)
        rows = []
        for day in sorted({d for d, _ in shares}):
            whole = sum(s.energy_j for (d, _), s in totals.items() if d == day)
            parts = sorted(((k, s) for (d, k), s in shares.items() if d == day), key=lambda p: -p[1].energy_j)
            closing = [("total", s) for (d, _), s in totals.items() if d == day]
            rows += [_row(day, key, share, whole, currency) for key, share in [*parts, *closing]]
        return Bill(by, rows, missing)

    def advise(
        self,
        *,
        days: float = 7.0,
        config: str | Path | None = None,
        reload_s: float = 90.0,
        fill_ratio: float = 0.7,
        flexible_ratio: float = 0.2,
    ) -> Proposals:
        """What could be saved, by the last ``days`` days: idle replicas, caps and clocks of busy pools, hours of load.

        reload_s         to load a model again;  fill_ratio   how full replicas may be;  flexible_ratio   share of the
                         load that may wait: all assumed
        """
        from joulemill.monitor.advice.advice import advice  # loads the catalog and the prediction

        span_s = _span(days)
        monitored: MonitorConfig | None = None if config is None else load_config(Path(config))
        sites = {
            s.site: rates(s.pue_ratio, s.carbon_g_kwh, s.price_kwh, s.currency)
            for s in (() if monitored is None else monitored.sites())
        }
        proposals, why = advice(
            self._reader,
            span_s,
            sites,
            () if monitored is None else monitored.site,
            reload_s=reload_s,
            fill_ratio=fill_ratio,
            flexible_ratio=flexible_ratio,
        )
        return Proposals(proposals, why)


@contextmanager
def open_history(store: str | Path) -> Iterator[MonitorHistory]:
    """The history that a monitor kept in ``store``, for as long as the block lasts. Raises InputError for none."""
    with reading(Path(store)) as reader:
        yield MonitorHistory(reader)


def _span(days: float) -> tuple[float, float]:
    if not 0 < days < math.inf:
        raise InputError(f"`days` {days:g}: it must be a number of days, more than 0")
    now_s = time.time()
    return now_s - days * DAY_S, now_s + HOUR_S


def _check_key(by: str, labels: set[str], *, any_target: bool) -> None:
    """Raises InputError for a key that no target has, with the nearest one."""
    known = [*KEYS, *sorted(labels)]
    if by in known or not any_target:
        return
    hint = meant(by, known)
    raise InputError(f"`by` {by}: no target of this history has such a label; {hint}")


def _row(day: int, key: str, share: SpendingShare, whole_j: float, currency: str | None) -> dict[str, Any]:
    date = datetime.datetime.fromtimestamp(day * DAY_S, datetime.UTC).date().isoformat()
    joules, tokens = share.energy_j, share.output_tok
    return {
        "day_utc": date,
        "key": key,
        "energy_j": round(joules, 3),
        "half_width_j": None if share.half_width_j is None else round(share.half_width_j, 3),
        "energy_kwh": _rounded(joules / JOULE_PER_KWH),
        "output_tok": round(tokens, 1),
        "j_tok": _rounded(joules / tokens) if tokens else None,
        "carbon_g": _rounded(share.carbon_g),
        "cost": _rounded(share.cost),
        "currency": currency if share.cost is not None else None,
        "share_ratio": _rounded(joules / whole_j) if whole_j else None,
        "scope": "+".join(sorted(share.scopes)),
        "basis": "+".join(sorted(share.bases)),
    }


def _rounded(value: float | None) -> float | None:
    """To six digits: more than any meter tells."""
    return None if value is None else float(f"{value:.6g}")
