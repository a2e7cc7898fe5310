"""``joulemill chargeback STORE``: whose joules, carbon and money, by day, closing to the metered total."""

from __future__ import annotations

import argparse
import csv
import datetime
import io
import sys
import time
from pathlib import Path
from typing import Any

from joulemill.errors import InputError, MachineError
from joulemill.streams import print_json

COLUMNS = (
    "day_utc", "key", "energy_j", "half_width_j", "energy_kwh", "output_tok", "j_tok", "carbon_g", "cost", "currency",
    "share_ratio", "basis",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("store", metavar="STORE", type=Path, help="history of `joulemill monitor --store`")
    parser.add_argument(
        "--by", default="model", metavar="KEY", help="model, site, target, route, or a label such as tenant"
    )
    parser.add_argument("--days", type=float, default=30.0, metavar="N", help="the last N days (default: 30)")
    parser.add_argument("--config", type=Path, metavar="CONFIG.toml", help="sites' PUE, carbon and price")
    parser.add_argument("--idle-apart", action="store_true", help="idle joules as a line of their own")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write CSV there instead of stdout")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Attribute and print."""
    rows = table(args)
    if args.json:
        print_json({"by": args.by, "rows": rows})
        return 0
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if v is None else v for k, v in row.items()} for row in rows)
    if args.csv is None:
        sys.stdout.write(text.getvalue())
        return 0
    try:
        args.csv.write_text(text.getvalue(), encoding="utf-8")
    except OSError as fault:
        raise MachineError(f"{args.csv}: cannot be written ({fault.strerror}); choose another --csv FILE") from fault
    sys.stderr.write(f"{len(rows)} rows in {args.csv}\n")
    return 0


def table(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows; each day's ``total`` row is what was metered."""
    from joulemill.monitor.attribution import Rates, attributed, rates
    from joulemill.monitor.config import load_config
    from joulemill.monitor.history_read import Reader
    from joulemill.monitor.spending import spent

    if not args.days > 0:
        raise InputError(f"--days {args.days:g}: it must be more than 0")
    reader = Reader(args.store)
    try:
        now_s = time.time()
        found = spent(reader, now_s - args.days * 86_400, now_s + 3600)
    finally:
        reader.close()
    sites = load_config(args.config).sites() if args.config else ()
    at: dict[str, Rates] = {s.site: rates(s.pue_ratio, s.carbon_g_kwh, s.price_kwh) for s in sites}
    currencies = {s.currency for s in sites if s.currency}
    currency = currencies.pop() if len(currencies) == 1 else None
    shares = attributed(found, args.by, at, idle_apart=args.idle_apart)
    totals = attributed(found, "whole", at)
    rows = []
    for day in sorted({d for d, _ in shares}):
        whole = sum(s.energy_j for (d, _), s in totals.items() if d == day)
        parts = sorted(((k, s) for (d, k), s in shares.items() if d == day), key=lambda p: -p[1].energy_j)
        closing = [("total", s) for (d, _), s in totals.items() if d == day]
        rows += [_row(day, key, share, whole, currency) for key, share in [*parts, *closing]]
    return rows


def _row(day: int, key: str, share: Any, whole_j: float, currency: str | None) -> dict[str, Any]:
    date = datetime.datetime.fromtimestamp(day * 86_400, datetime.UTC).date().isoformat()
    joules, tokens = share.energy_j, share.output_tok
    return {
        "day_utc": date,
        "key": key,
        "energy_j": round(joules, 3),
        "half_width_j": None if share.half_width_j is None else round(share.half_width_j, 3),
        "energy_kwh": joules / 3.6e6,
        "output_tok": round(tokens, 1),
        "j_tok": joules / tokens if tokens else None,
        "carbon_g": share.carbon_g,
        "cost": share.cost,
        "currency": currency if share.cost is not None else None,
        "share_ratio": joules / whole_j if whole_j else None,
        "basis": "+".join(sorted(share.bases)),
    }
