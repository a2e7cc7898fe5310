"""``joulemill.plan``: what to buy, what to run where, and what one more unit of each limit is worth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from joulemill.api.frames import frame_of
from joulemill.api.inventory import inventory_at
from joulemill.api.playing_plans import played, played_document
from joulemill.api.results import Result
from joulemill.errors import InputError
from joulemill.files import write_text
from joulemill.fleet.document import constraint_rows, plan_document, power_rows, replica_rows, site_hours
from joulemill.fleet.plan_file import load_plan, plan_of
from joulemill.fleet.played import PlayedPlan
from joulemill.fleet.study import PlanStudy, Shortage, Tell, changed_study, study, with_extras
from joulemill.planning.prices import LimitPrice, active
from joulemill.reports.exports.plan import PLAN_EXPORTS
from joulemill.reports.html.plan import page
from joulemill.reports.plan_wording import currency, headline, prefixed, price_sentence, shortage_sentence
from joulemill.suggestions import meant

Table = Literal["replicas", "power", "constraints", "hours", "frontier", "played"]
TABLES = ("replicas", "power", "constraints", "hours", "frontier", "played")


@dataclass(frozen=True, repr=False)
class FleetPlan(Result):
    """A plan. ``study`` holds all of it, as the library's own values; ``played`` what ``simulate=True`` found."""

    study: PlanStudy
    source: Path | Mapping[str, Any]
    played: PlayedPlan | None = None

    @property
    def feasible(self) -> bool:
        """Whether there is a plan that meets every limit and serves what must be served."""
        return self.study.use is not None and not self.study.shortages

    @property
    def status(self) -> str:
        """optimal, shortage or stopped."""
        return self.study.status

    @property
    def value(self) -> float | None:
        """Of the first goal, in ``unit``."""
        return self.study.value

    @property
    def unit(self) -> str:
        """Unit of ``value``."""
        return self.study.goals[0].unit

    @property
    def rate_tok_s(self) -> float | None:
        """Tokens per second, mean over the plan's hours."""
        return None if self.study.use is None else self.study.use.rate_tok_s

    @property
    def constraints(self) -> tuple[LimitPrice, ...]:
        """Every stated limit: what is left of it, its shadow price, and the range in which that holds."""
        return tuple(self.study.prices)

    @property
    def active(self) -> tuple[LimitPrice, ...]:
        """Limits of which nothing is left, the dearest first."""
        return active(self.study.prices)

    @property
    def shortages(self) -> tuple[Shortage, ...]:
        """What is short where there is no plan, each in its own unit."""
        return tuple(self.study.shortages)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed, and what must be read with the figures."""
        return tuple(self.study.notes)

    def what_if(self, *changes: str) -> FleetPlan:
        """The same with changes such as ``"site.oslo.it_power_limit=30MW"``; predictions are kept where they can."""
        file = _file(self.source, (*self.study.file.set_texts, *changes))
        return FleetPlan(changed_study(self.study, file), self.source)

    def to_dict(self) -> dict[str, Any]:
        """The document of ``joulemill plan --json``."""
        return plan_document(self.study) | {"simulation": None if self.played is None else played_document(self.played)}

    def to_frame(  # type: ignore[override]
        self, table: Table = "replicas", backend: str | None = None
    ) -> Any:
        """A table of the plan as a dataframe: replicas, power, constraints, hours (a site and hour a row), frontier.

        ``played`` is what ``simulate=True`` played, an operating point a row.
        ``backend``: pandas, polars or pyarrow; None: the first of these that is installed.
        """
        return frame_of(columns_of(self.rows(table)), backend)

    def rows(self, table: Table = "replicas") -> Sequence[Mapping[str, Any]]:
        """The rows of a table, numbers and texts only."""
        of: dict[str, Callable[[PlanStudy], list[dict[str, Any]]]] = {
            "replicas": replica_rows,
            "power": power_rows,
            "constraints": constraint_rows,
            "hours": site_hours,
            "frontier": lambda study: [vars(p) for p in study.frontier],
            "played": lambda _: [] if self.played is None else played_document(self.played)["points"],
        }
        if table not in of:
            raise InputError(f"`table` is {table!r}; use one of {', '.join(TABLES)}")
        return [{k: v for k, v in row.items() if not isinstance(v, (list, dict))} for row in of[table](self.study)]

    def export(self, name: Literal["dynamo", "vllm", "pypsa"]) -> str:
        """The plan as NVIDIA Dynamo's graphs (JSON), vLLM's command lines, or the loads of a PyPSA network (CSV)."""
        if name not in PLAN_EXPORTS:
            raise InputError(f"`name` is {name!r}; {meant(name, PLAN_EXPORTS)}")
        return PLAN_EXPORTS[name](self.study)

    def to_html(self, path: str | Path) -> None:
        """Write one offline page."""
        write_text(path, page(self.study, self.played))

    def _line(self) -> str:
        return headline(self.study)

    def _rows(self) -> Iterable[tuple[str, str]]:
        for row in replica_rows(self.study):
            yield (
                f"{row['count']:,.4g} × {row['model']} {row['deployment']}",
                (f"{row['pool']}, {prefixed(row['rate_tok_s'], 'tok/s')}, {prefixed(row['power_w'], 'W')}"),
            )
        yield from (("worth", price_sentence(p, self.unit, currency(self.study))) for p in self.active)
        yield from (("short", shortage_sentence(s)) for s in self.shortages)


def plan(
    fleet: str | Path | Mapping[str, Any],
    *,
    changes: Sequence[str] = (),
    extras: bool = True,
    simulate: bool = False,
    tell: Tell | None = None,
) -> FleetPlan:
    """Plan a fleet under its limits on power, cooling, carbon, devices, money and latency.

    fleet    path of a plan's file (docs/planning.md), or its tables as a mapping of lists: ``site``, ``pool``,
             ``model``, ``demand`` and ``objective``. A table may be a dataframe, one row an entry
    changes  such as ``"site.oslo.it_power_limit=30MW"``
    extras   also the frontier, the levers' order, worse cases and what looser latency targets bring
    simulate also play the plan's fullest hours, and correct it until it holds
    tell     called with a phase's name and the share that is done

    Raises InputError, naming table, key and line, for what cannot be.
    """
    source = Path(fleet) if isinstance(fleet, (str, Path)) else fleet
    first = study(_file(source, tuple(changes)), extras=extras and not simulate, tell=tell)
    if not simulate or first.use is None:
        return FleetPlan(first, source)
    corrected, result = played(first, tell)
    return FleetPlan(with_extras(corrected, tell) if extras else corrected, source, result)


def _file(source: Path | Mapping[str, Any], changes: Sequence[str]) -> Any:
    if isinstance(source, Path):
        return load_plan(source, changes, inventory_at)
    tables = {k: v if isinstance(v, (str, Mapping, list, tuple)) else _entries(k, v) for k, v in source.items()}
    return plan_of(tables, folder=Path.cwd(), changes=changes, inventory=inventory_at)


def _entries(kind: str, frame: Any) -> list[dict[str, Any]]:
    """The rows of a dataframe as entries; nulls are left out."""
    import narwhals as nw

    try:
        rows = nw.from_native(frame, eager_only=True).rows(named=True)
    except TypeError as fault:
        raise InputError(f"{kind}: give a list of entries or a dataframe, not {type(frame).__name__}") from fault
    return [{k: v for k, v in row.items() if v is not None and v == v} for row in rows]


def columns_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Rows as columns."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}
