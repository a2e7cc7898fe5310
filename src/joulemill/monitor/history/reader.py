"""Questions to the history: series by model, site or target; SQL; Parquet."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joulemill.errors import InputError, JoulemillError
from joulemill.monitor.history.schema import BUCKETS_S, SUMS
from joulemill.monitor.history.store import read_only
from joulemill.servers.boundary import reason_of

#: A picture has no use for more points.
MOST_POINTS = 2000
#: Rows of a free query that are handed out at most.
MOST_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class HistoryColumns:
    """Sums by step: ``start_s`` [n]; all else [n] too. A step that nobody observed is absent, not zero.

    energy_j   by (scope, basis); None in a step where that was not known
    metered_tok   output tokens of the targets and times whose joules are in ``energy_j``: J/token is their ratio
    """

    step_s: float
    start_s: list[float] = field(default_factory=list)
    sums: dict[str, list[float]] = field(default_factory=dict)
    energy_j: dict[tuple[str, str], list[float | None]] = field(default_factory=dict)
    metered_tok: dict[tuple[str, str], list[float | None]] = field(default_factory=dict)


@contextmanager
def reading(path: Path) -> Iterator[Reader]:
    """A reader of ``path`` for as long as the block lasts. Raises InputError where the file holds what we never write.

    A file may be damaged or of somebody else's making: whatever reading it raises is the file's fault.
    """
    reader = Reader(path)
    try:
        yield reader
    except (JoulemillError, OSError):
        raise
    except Exception as fault:
        raise InputError(f"{path}: holds what no monitor writes, so it cannot be read ({reason_of(fault)})") from fault
    finally:
        reader.close()


class Reader:
    """Reads one history file, also while the monitor writes it. Not to be shared between threads."""

    def __init__(self, path: Path) -> None:
        self._db = read_only(path)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def series(
        self,
        *,
        start_s: float,
        end_s: float,
        step_s: float = 0.0,
        model: str | None = None,
        site: str | None = None,
        target: str | None = None,
    ) -> HistoryColumns:
        """Sums over ``[start_s, end_s)`` by steps of at least ``step_s``, of a target, a model, a site, or of all."""
        step = max(step_s, (end_s - start_s) / MOST_POINTS)
        length = max((b for b in BUCKETS_S if b <= step), default=BUCKETS_S[0])
        step = max(round(step / length), 1) * length
        members = self._members(model, site, target)
        return self._summed(length, float(step), members, (start_s, end_s))

    def _members(self, model: str | None, site: str | None, target: str | None) -> list[int]:
        if target is not None:
            return [r[0] for r in self._db.execute("SELECT id FROM target WHERE name = ?", (target,))]
        wanted = {"model": model, "site": site}
        where = " AND ".join(f"{k} = :{k}" for k, v in wanted.items() if v is not None) or "1"
        return [-r[0] for r in self._db.execute(f"SELECT id FROM model_group WHERE {where}", wanted)]

    def _summed(self, length: int, step: float, members: Sequence[int], span: tuple[float, float]) -> HistoryColumns:
        columns = HistoryColumns(step, sums={c: [] for c in SUMS})
        if not members:
            return columns
        inside = f"length_s = ? AND of IN ({', '.join('?' * len(members))}) AND start_s >= ? AND start_s < ?"
        parameters = (length, *members, span[0] - span[0] % length, span[1])
        at = f"CAST(start_s / {step} AS INTEGER)"
        query = f"SELECT {at}, {', '.join(f'sum({c})' for c in SUMS)} FROM bucket WHERE {inside} GROUP BY 1 ORDER BY 1"
        index: dict[int, int] = {}
        for n, *sums in self._db.execute(query, parameters):
            index[n] = len(columns.start_s)
            columns.start_s.append(n * step)
            for name, value in zip(SUMS, sums, strict=True):
                columns.sums[name].append(value)
        energy = f"SELECT {at}, scope, basis, sum(energy_j), sum(output_tok) FROM bucket_energy WHERE {inside}"
        for n, scope, basis, joules, tokens in self._db.execute(f"{energy} GROUP BY 1, 2, 3", parameters):
            if n in index:
                for column, value in ((columns.energy_j, joules), (columns.metered_tok, tokens)):
                    column.setdefault((scope, basis), [None] * len(columns.start_s))[index[n]] = value
        return columns

    def sql(self, query: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Column names and rows of ``query``, which can neither write nor open a file. Raises InputError."""
        try:
            cursor = self._db.execute(query)
            rows = cursor.fetchmany(MOST_ROWS)
        except (sqlite3.Error, sqlite3.Warning, UnicodeError) as fault:
            raise InputError(f"the history cannot answer: {fault}") from None
        return [c[0] for c in cursor.description or ()], rows

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """All rows of a query of our own."""
        return self._db.execute(query).fetchall()

    def targets(self) -> list[Mapping[str, Any]]:
        """Every target that was ever kept: its name, facts (JSON), since when, until when."""
        names, rows = self.sql("SELECT id, name, facts, since_s, last_end_s FROM target ORDER BY name")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def tables(self) -> dict[str, int]:
        """Every table and how many rows it has."""
        table_rows = self.rows(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY 1"
        )
        return {name: self.rows(f"SELECT count(*) FROM {name}")[0][0] for (name,) in table_rows}

    @contextmanager
    def one_moment(self) -> Iterator[None]:
        """Whatever is read inside is of one moment, though the file is written meanwhile."""
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("ROLLBACK")

    def export_parquet(self, path: Path, table: str = "bucket") -> int:
        """Write ``table`` as Parquet; how many rows. Raises InputError without pyarrow or for an unknown table."""
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError:
            raise InputError("Parquet needs pyarrow: pip install 'joulemill[parquet]'") from None
        known = self.tables()
        if table not in known:
            raise InputError(f"there is no table {table!r} in the history; there are {', '.join(sorted(known))}")
        kinds = {"INTEGER": pa.int64(), "REAL": pa.float64()}
        table_columns = self._db.execute(f"PRAGMA table_info({table})").fetchall()
        schema = pa.schema([(c[1], kinds.get(c[2].upper(), pa.string())) for c in table_columns])
        cursor, count = self._db.execute(f"SELECT * FROM {table}"), 0
        with pq.ParquetWriter(path, schema) as writer:
            while rows := cursor.fetchmany(50_000):
                columns = zip(schema.names, zip(*rows, strict=True), strict=True)
                writer.write_table(pa.table({name: list(column) for name, column in columns}, schema=schema))
                count += len(rows)
        return count
