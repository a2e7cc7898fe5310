"""``joulemill gate BASE NEW --max-increase 5%``: pass (0), fail (1), undecided (3), for CI."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from joulemill.errors import InputError
from joulemill.streams import print_json
from joulemill.units import parse_ratio

#: A rise that is allowed on purpose; more is no gate.
MOST_INCREASE_RATIO = 10.0
EXIT_UNDECIDED = 3
METRICS = ("node", "site", "device", "request")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.usage = (
        "joulemill gate BASE NEW [options]\n       joulemill gate --base RUN … --new RUN … [options]\n"
        "       joulemill gate --plan BASE [options]"
    )
    parser.description = (
        "Judge J/token of NEW against BASE under its quality and latency targets. Exit code 0: pass; 1: fail; "
        "3: undecided (the data do not decide, a figure is missing, or the runs are not comparable); 2: bad input. "
        "A run is a folder that `joulemill bench` wrote, a report as JSON, or a baseline file."
    )
    parser.add_argument("runs", metavar="RUN", nargs="*", type=Path, help="BASE NEW; with --plan also BASE alone")
    parser.add_argument(
        "--base", metavar="RUN", nargs="+", type=Path, action="extend", help="repeated runs of the base"
    )
    parser.add_argument("--new", metavar="RUN", nargs="+", type=Path, action="extend", help="repeated runs of the new")
    parser.add_argument("--max-increase", default="5%", metavar="X", help="allowed rise of J/token (default: 5%%)")
    parser.add_argument("--metric", choices=METRICS, default="node", help="what is judged (default: node J/token)")
    parser.add_argument("--min-quality", metavar="X", help="q*: lowest accuracy (default: the base's)")
    parser.add_argument("--without-quality", action="store_true", help="allow a pass without a known accuracy")
    parser.add_argument("--min-attained", metavar="X", help="lowest share of requests within targets (default: base's)")
    parser.add_argument(
        "--run-noise", default="0", metavar="X", help="run-to-run deviation, where single runs cannot show it"
    )
    parser.add_argument("--force", action="store_true", help="compare runs although their conditions differ")
    parser.add_argument("--plan", action="store_true", help="print how long, or how many, runs must be to decide")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Load, judge, print."""
    from joulemill.api.comparing import gate, gate_plan

    base, new = sides(args)
    terms = _terms(args)
    if args.plan and not new:
        common = {name: terms[name] for name in ("max_increase", "without_quality")}
        plan = gate_plan(base, metric=args.metric, **common)
        if args.json:
            print_json({"plan": plan.to_dict()})
        else:
            sys.stdout.write(f"{plan}\n")
        return 0 if plan.decides else EXIT_UNDECIDED
    verdict = gate(base, new, metric=args.metric, plan=args.plan, **terms)
    if args.json:
        print_json(verdict.to_dict())
    else:
        sys.stdout.write(verdict.text())
    return verdict.exit_code


def sides(args: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    """Base and new runs. Raises InputError where it is not clear which is which."""
    base, new, bare = list(args.base or ()), list(args.new or ()), list(args.runs)
    if not base and not new and len(bare) == 2:
        return bare[:1], bare[1:]
    if args.plan and not base and not new and len(bare) == 1:
        return bare, []
    if bare or not base or not (new or args.plan):
        raise InputError("give BASE NEW, or --base RUN… --new RUN… for repeated runs, or --plan with --base RUN… alone")
    return base, new


def _terms(args: argparse.Namespace) -> dict[str, Any]:
    """The options as arguments of ``joulemill.gate``. InputError names the option that is wrong."""
    allowed = parse_ratio(args.max_increase, name="--max-increase", least=-1.0, most=MOST_INCREASE_RATIO)
    if not allowed > 0.0:
        raise InputError(f"--max-increase {args.max_increase}: write a share above 0, such as 5%")
    return {
        "max_increase": allowed,
        "min_quality": _share(args.min_quality, "--min-quality"),
        "min_attained": _share(args.min_attained, "--min-attained"),
        "without_quality": args.without_quality,
        "force": args.force,
        "run_noise": _share(args.run_noise, "--run-noise") or 0.0,
    }


def _share(text: str | None, name: str) -> float | None:
    return None if text is None else parse_ratio(text, name=name)
