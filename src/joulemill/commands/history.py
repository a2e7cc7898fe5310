"""``joulemill history STORE``: what the monitor kept, by SQL and as Parquet files. It only reads."""

from __future__ import annotations

import argparse
import csv
import datetime
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from joulemill.errors import InputError
from joulemill.streams import csv_cell, print_json

if TYPE_CHECKING:
    from joulemill.api.history import MonitorHistory


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.description = (
        "Reads the history of the monitor, also while it is written. Without an option: its tables and targets. "
        "Columns end in their unit; docs/monitor.md says what the tables hold."
    )
    parser.add_argument("store", metavar="STORE", type=Path, help="history of `joulemill monitor --store`")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--sql", metavar="QUERY", help="print the rows of this query as CSV")
    what.add_argument("--parquet", metavar="DIR", type=Path, help="write each table there as TABLE.parquet")
    parser.add_argument("--table", metavar="NAME", action="append", help="of --parquet: this table alone (may repeat)")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Read and print or write."""
    from joulemill.api.history import open_history

    if args.table and args.parquet is None:
        raise InputError("--table names what --parquet DIR writes; add --parquet DIR, or ask with --sql")
    with open_history(args.store) as history:
        if args.parquet is not None:
            _export(history, args.parquet, args.table, args.json)
        elif args.sql is not None:
            _ask(history, args.sql, args.json)
        else:
            _overview(history, args.json)
    return 0


def _export(history: MonitorHistory, folder: Path, tables: list[str] | None, as_json: bool) -> None:
    counts = history.to_parquet(folder, tables)
    if as_json:
        print_json({"folder": str(folder), "rows": counts})
        return
    for name, count in counts.items():
        sys.stdout.write(f"{folder / name}.parquet: {count} rows\n")


def _ask(history: MonitorHistory, query: str, as_json: bool) -> None:
    from joulemill.api.history import MOST_ROWS

    names, rows = history.sql(query)
    if as_json:
        print_json({"columns": names, "rows": [[v.hex() if isinstance(v, bytes) else v for v in row] for row in rows]})
    else:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(map(csv_cell, names))
        writer.writerows([csv_cell(v.hex() if isinstance(v, bytes) else v) for v in row] for row in rows)
    if len(rows) == MOST_ROWS:
        sys.stderr.write(f"the first {MOST_ROWS} rows; there may be more: use LIMIT and OFFSET, or --parquet\n")


def _overview(history: MonitorHistory, as_json: bool) -> None:
    targets, counts = history.targets(), history.tables()
    if as_json:
        print_json({"tables": counts, "targets": targets})
        return
    for name, count in counts.items():
        sys.stdout.write(f"{name}: {count} rows\n")
    for t in targets:
        since, until = (_date(t[k]) for k in ("since_s", "last_end_s"))
        sys.stdout.write(f"{t['name']}: {t['facts']['model']} at {t['facts']['site']}, from {since} to {until}\n")


def _date(at_s: float | None) -> str:
    if at_s is None:
        return "unknown"
    return datetime.datetime.fromtimestamp(at_s, datetime.UTC).isoformat(" ", "seconds")
