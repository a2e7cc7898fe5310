"""``joulemill chargeback STORE``: whose joules, carbon and money, by day, closing to the metered total."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from joulemill.errors import MachineError
from joulemill.streams import csv_cell, print_json, results_console

COLUMNS = (
    "day_utc",
    "key",
    "energy_j",
    "half_width_j",
    "energy_kwh",
    "output_tok",
    "j_tok",
    "carbon_g",
    "cost",
    "currency",
    "share_ratio",
    "scope",
    "basis",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("store", metavar="STORE", type=Path, help="history of `joulemill monitor --store`")
    parser.add_argument(
        "--by", default="model", metavar="KEY", help="model, site, target, route, or a label such as tenant"
    )
    parser.add_argument("--days", type=float, default=30.0, metavar="N", help="the last N days (default: 30)")
    parser.add_argument("--config", type=Path, metavar="CONFIG.toml", help="sites' PUE, carbon and price")
    parser.add_argument("--idle-apart", action="store_true", help="report idle joules on a separate line")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write CSV there instead of a table (-: stdout)")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Attribute and print."""
    from joulemill.api.history import open_history

    with open_history(args.store) as history:
        bill = history.chargeback(args.by, days=args.days, config=args.config, idle_apart=args.idle_apart)
    if args.json:
        print_json(bill.to_dict())
        return 0
    if args.csv is None:
        from joulemill.reports.text.chargeback import show

        show(bill.rows, args.by, results_console())
    else:
        _write(bill.rows, args.csv)
    for m in bill.not_billed:
        sys.stderr.write(f"not billed: {m['target']}, {m['refused_s'] / 3600:.2g} h of its {m['scope']}: {m['text']}\n")
    return 0


def _write(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if v is None else csv_cell(v) for k, v in row.items()} for row in rows)
    if str(path) == "-":
        sys.stdout.write(text.getvalue())
        return
    try:
        path.write_text(text.getvalue(), encoding="utf-8")
    except OSError as fault:
        raise MachineError(f"{path}: cannot be written ({fault.strerror}); choose another --csv FILE") from fault
    sys.stderr.write(f"{len(rows)} rows in {path}\n")
