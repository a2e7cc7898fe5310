"""``joulemill chargeback STORE``: whose joules, carbon and money, by day, closing to the metered total."""

from __future__ import annotations

import argparse
import csv
import datetime
import io
import math
import sys
import time
from pathlib import Path
from typing import Any

from joulemill.errors import InputError, MachineError
from joulemill.streams import csv_cell, print_json, results_console
from joulemill.suggestions import meant

#: What a bill may be by, beside the targets' labels.
KEYS = ("model", "site", "target", "route")
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
    parser.add_argument("--idle-apart", action="store_true", help="idle joules as a line of their own")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write CSV there instead of a table (-: stdout)")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Attribute and print."""
    rows, missing = table(args)
    if args.json:
        print_json({"by": args.by, "rows": rows, "not_billed": missing})
        return 0
    if args.csv is None:
        from joulemill.reports.text.chargeback import show

        show(rows, args.by, results_console())
    else:
        _write(rows, args.csv)
    for m in missing:
        sys.stderr.write(f"not billed: {m['target']}, {m['refused_s'] / 3600:.2g} h of its {m['scope']}: {m['text']}\n")
    return 0


def _write(rows: list[dict[str, Any]], path: Path) -> None:
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


def table(args: argparse.Namespace) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows, each day's ``total`` row what was metered; and what is not billed since its joules were refused."""
    from joulemill.monitor.config import load_config
    from joulemill.monitor.history.chargeback import SiteRates, attributed, rates
    from joulemill.monitor.history.reader import reading
    from joulemill.monitor.history.spending import label_names, refusals, spent

    if not 0 < args.days < math.inf:
        raise InputError(f"--days {args.days:g}: it must be a number of days, more than 0")
    with reading(args.store) as reader:
        now_s = time.time()
        span_s = (now_s - args.days * 86_400, now_s + 3600)
        _check_key(args.by, label_names(reader), any_target=bool(reader.targets()))
        spending, missing = spent(reader, *span_s), refusals(reader, *span_s)
    sites = load_config(args.config).sites() if args.config else ()
    at: dict[str, SiteRates] = {s.site: rates(s.pue_ratio, s.carbon_g_kwh, s.price_kwh, s.currency) for s in sites}
    currencies = {s.currency for s in sites if s.currency}
    currency = currencies.pop() if len(currencies) == 1 else None
    shares = attributed(spending, args.by, at, idle_apart=args.idle_apart)
    totals = attributed(spending, "whole", at)
    rows = []
    for day in sorted({d for d, _ in shares}):
        whole = sum(s.energy_j for (d, _), s in totals.items() if d == day)
        parts = sorted(((k, s) for (d, k), s in shares.items() if d == day), key=lambda p: -p[1].energy_j)
        closing = [("total", s) for (d, _), s in totals.items() if d == day]
        rows += [_row(day, key, share, whole, currency) for key, share in [*parts, *closing]]
    return rows, missing


def _check_key(by: str, labels: set[str], *, any_target: bool) -> None:
    """Raises InputError for a key that no target has, with the nearest one."""
    known = [*KEYS, *sorted(labels)]
    if by in known or not any_target:
        return
    hint = meant(by, known) or f"there are {', '.join(known)}"
    raise InputError(f"--by {by}: no target of this history has such a label; {hint}")


def _row(day: int, key: str, share: Any, whole_j: float, currency: str | None) -> dict[str, Any]:
    date = datetime.datetime.fromtimestamp(day * 86_400, datetime.UTC).date().isoformat()
    joules, tokens = share.energy_j, share.output_tok
    return {
        "day_utc": date,
        "key": key,
        "energy_j": round(joules, 3),
        "half_width_j": None if share.half_width_j is None else round(share.half_width_j, 3),
        "energy_kwh": _rounded(joules / 3.6e6),
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
