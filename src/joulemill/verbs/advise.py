"""``joulemill advise STORE``: what a kept history says could be saved. It changes nothing."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict
from pathlib import Path

from joulemill.errors import InputError
from joulemill.streams import print_json
from joulemill.units import parse_quantity


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.description = (
        "Proposes from the history: unload or consolidate idle replicas (with the break-even time), power caps, clocks "
        "and batch for busy pools, load moved to hours of low carbon or price. Every saving has its interval, basis "
        "and evidence."
    )
    parser.add_argument("store", metavar="STORE", type=Path, help="history of `joulemill monitor --store`")
    parser.add_argument("--days", type=float, default=7.0, metavar="N", help="look at the last N days (default: 7)")
    parser.add_argument("--config", type=Path, metavar="CONFIG.toml", help="sites' PUE, carbon and price, also by hour")
    parser.add_argument(
        "--reload-time", default="90s", metavar="TIME", help="to load a model again (default: 90s, assumed)"
    )
    parser.add_argument("--fill", default="70%", metavar="X", help="how full replicas may be (default: 70%%, assumed)")
    parser.add_argument("--flexible", default="20%", metavar="X", help="load that may wait (default: 20%%, assumed)")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Advise and print; 0 also where there is nothing to advise."""
    from joulemill.monitor.advising import advice
    from joulemill.monitor.attribution import rates
    from joulemill.monitor.config import load_config
    from joulemill.monitor.history_read import Reader

    if not args.days > 0:
        raise InputError(f"--days {args.days:g}: it must be more than 0")
    config = load_config(args.config) if args.config else None
    sites = {s.site: rates(s.pue_ratio, s.carbon_g_kwh, s.price_kwh) for s in (config.sites() if config else ())}
    reader, now_s = Reader(args.store), time.time()
    try:
        found, why = advice(
            reader, (now_s - args.days * 86_400, now_s + 3600), sites, config.site if config else (),
            reload_s=parse_quantity(args.reload_time, "s", name="--reload-time"),
            fill_ratio=_share(args.fill, "--fill"), flexible_ratio=_share(args.flexible, "--flexible"),
        )  # fmt: skip
    finally:
        reader.close()
    if args.json:
        print_json({"advice": [asdict(a) for a in found], "reason": why})
        return 0
    for n, a in enumerate(found, start=1):
        kwh = [x / 3.6e6 for x in (a.saved_j, a.low_j, a.high_j)]
        saved = f"{kwh[0]:.3g} kWh a day ({kwh[1]:.3g} to {kwh[2]:.3g}), {a.basis}"
        more = [f"{a.carbon_gco2e:.3g} gCO2e a day"] if a.carbon_gco2e is not None else []
        more += [f"{a.cost_currency:.3g} a day in money"] if a.cost_currency is not None else []
        told = ", ".join(([saved] if a.saved_j else []) + more)
        sys.stdout.write(f"{n}. {a.kind}: {a.subject}: {a.text}\n   saves {told}\n")
        sys.stdout.write(
            "".join(f"   - {e}\n" for e in a.evidence) + "".join(f"   - assumed: {e}\n" for e in a.assumed)
        )
    if why:
        sys.stdout.write(f"No advice: {why}.\n")
    return 0


def _share(text: str, name: str) -> float:
    value = parse_quantity(text, "", name=name)
    if not 0 < value <= 1:
        raise InputError(f"{name} {text}: it must lie between 0 and 100 %")
    return value
