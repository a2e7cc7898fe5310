"""``joulemill advise STORE``: what a kept history says could be saved. It changes nothing."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from joulemill.errors import InputError
from joulemill.streams import print_json
from joulemill.units import JOULE_PER_KWH, parse_quantity

if TYPE_CHECKING:
    from joulemill.api.history import Advice

DAY_S = 86_400.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
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
    parser.add_argument(
        "--flexible", default="20%", metavar="X", help="deferrable share of the load (default: 20%%, assumed)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Advise and print; 0 also where there is nothing to advise."""
    from joulemill.api.history import open_history

    with open_history(args.store) as history:
        proposals = history.advise(
            days=args.days,
            config=args.config,
            reload_s=parse_quantity(args.reload_time, "s", name="--reload-time"),
            fill_ratio=_share(args.fill, "--fill"),
            flexible_ratio=_share(args.flexible, "--flexible"),
        )
    if args.json:
        print_json(proposals.to_dict())
        return 0
    for n, a in enumerate(proposals.advice, start=1):
        sys.stdout.write(f"{n}. {a.kind}: {a.subject}: {a.text}\n   saves {_saved(a)}\n")
        sys.stdout.write(
            "".join(f"   - {e}\n" for e in a.evidence) + "".join(f"   - assumed: {e}\n" for e in a.assumed)
        )
    if proposals.reason:
        sys.stdout.write(f"No advice: {proposals.reason}.\n")
    return 0


def _saved(a: Advice) -> str:
    """The saving over the measured time, and a day's where at least a day was measured."""
    text = f"{_amounts(a)}, in the {_span(a.period_s)} that were measured"
    if a.period_s > 1.5 * DAY_S:
        text += f"; {_amounts(a.over(DAY_S))} per day"
    elif a.period_s < DAY_S / 1.5:
        text += "; too short a time to tell a day's"
    return f"{text} ({a.basis})"


def _amounts(a: Advice) -> str:
    kwh = [_digits(x / JOULE_PER_KWH) for x in (a.saved_j, a.low_j, a.high_j)]
    parts = [f"{kwh[0]} kWh ({kwh[1]} to {kwh[2]})"] if a.saved_j else []
    if a.carbon_gco2e is not None:
        small = a.carbon_gco2e < 1000
        parts.append(f"{_digits(a.carbon_gco2e if small else a.carbon_gco2e / 1000)} {'g' if small else 'kg'} CO2e")
    if a.cost_currency is not None:
        parts.append(f"{_digits(a.cost_currency)} {a.currency or '(the price has no currency)'}")
    return ", ".join(parts)


def _span(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds < 72 * 3600 else f"{seconds / 86_400:.1f} days"


def _digits(value: float) -> str:
    """Three digits without an exponent; of large values the rest is zeros: no saving is known more exactly."""
    if abs(value) >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    places = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{places}f}" if abs(value) >= 0.001 or value == 0 else f"{value:.2g}"


def _share(text: str, name: str) -> float:
    value = parse_quantity(text, "", name=name)
    if not 0 < value <= 1:
        hint = f"did you mean {value:g}%? " if 1 < value <= 100 else ""
        raise InputError(f"{name} {text}: {hint}It must be a share of more than 0 and at most 100%, such as 70% or 0.7")
    return value
