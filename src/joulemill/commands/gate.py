"""``joulemill gate BASE NEW --max-increase 5%``: pass (0), fail (1), undecided (3), for CI."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulemill.errors import InputError
from joulemill.streams import print_json
from joulemill.units import parse_ratio

if TYPE_CHECKING:
    from joulemill.decisions.gate.gate import Terms
    from joulemill.decisions.gate.sample import Sample

#: A rise that is allowed on purpose; more is no gate.
MOST_INCREASE_RATIO = 10.0
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
    parser.add_argument("--min-quality", metavar="X", help="q*: least accuracy (default: the base's)")
    parser.add_argument("--without-quality", action="store_true", help="allow a pass without a known accuracy")
    parser.add_argument("--min-attained", metavar="X", help="least share of requests within targets (default: base's)")
    parser.add_argument(
        "--run-noise", default="0", metavar="X", help="run-to-run deviation, where single runs cannot show it"
    )
    parser.add_argument("--force", action="store_true", help="compare runs although their conditions differ")
    parser.add_argument("--plan", action="store_true", help="print how long, or how many, runs must be to decide")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Load, judge, print."""
    base, new = sides(args)
    terms = _terms(args)
    if args.plan and not new:
        return _plan_alone(_samples(base, args.metric), terms, args)
    from joulemill.decisions.gate.gate import gate
    from joulemill.reports.text import gate as gate_view

    bases, news = _samples(base, args.metric), _samples(new, args.metric)
    verdict = gate(bases, news, terms)
    plan = _plan(bases, terms, len(verdict.checks)) if args.plan else None
    if args.json:
        print_json(gate_view.document(verdict, plan))
    else:
        plan_line = "" if plan is None else f"plan: {plan if isinstance(plan, str) else plan.text}\n"
        sys.stdout.write(gate_view.text(verdict) + plan_line)
    return gate_view.EXIT[verdict.outcome]


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


def _terms(args: argparse.Namespace) -> Terms:
    from joulemill.decisions.gate.gate import Terms

    allowed = parse_ratio(args.max_increase, name="--max-increase", least=-1.0, most=MOST_INCREASE_RATIO)
    if not allowed > 0.0:
        raise InputError(f"--max-increase {args.max_increase}: write a share above 0, such as 5%")
    return Terms(
        allowed,
        _share(args.min_quality, "--min-quality"),
        _share(args.min_attained, "--min-attained"),
        args.without_quality,
        args.force,
        _share(args.run_noise, "--run-noise") or 0.0,
    )


def _share(text: str | None, name: str) -> float | None:
    return None if text is None else parse_ratio(text, name=name)


def _samples(paths: list[Path], metric: str) -> list[Sample]:
    from joulemill.analysis.samples import load_samples

    if not paths:
        raise InputError("no base run is given")
    return [s for p in paths for s in load_samples(p, metric)]


def _plan(base: list[Sample], terms: Terms, checks: int) -> Any:
    from joulemill.decisions.gate.run_length import plan_length

    faults = [f"{s.name}: {f}" for s in base for f in s.faults]
    if faults:
        return f"no plan is made from a base that is not sound: {'; '.join(faults)}"
    return plan_length(base, terms.max_increase_ratio, checks_count=checks)


def _plan_alone(base: list[Sample], terms: Terms, args: argparse.Namespace) -> int:
    """The plan from base runs alone; exit 3 where there is none."""
    from joulemill.reports.text.gate import plan_document

    plan = _plan(base, terms, 1 + (not args.without_quality) + any(t is not None for t in base[0].targets_s))
    if args.json:
        print_json({"plan": plan_document(plan)})
    else:
        sys.stdout.write(f"plan: {plan if isinstance(plan, str) else plan.text}\n")
    return 3 if isinstance(plan, str) else 0
