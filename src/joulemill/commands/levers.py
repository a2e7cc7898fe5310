"""``joulemill levers``: what would lower the joules of a token, on a deployment or a measured run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from joulemill.errors import InputError, MachineError
from joulemill.streams import print_json, results_console
from joulemill.suggestions import meant

if TYPE_CHECKING:
    from joulemill.decisions.levers.case import Settings

#: Tokens drafted a round; more are never accepted in a row.
MOST_DRAFTED = 64
#: Shares that levers are set to: option → (field of Settings, what it is).
SHARES = {
    "acceptance": ("acceptance_ratio", "acceptance rate of draft tokens (default: 0.7)"),
    "hit": ("cached_ratio", "hit rate of a prefix cache, by prompt tokens (default: 0.5)"),
    "routed": ("route_ratio", "share of requests that a small model serves (default: 0.5)"),
    "accuracy": ("accuracy_ratio", "share of correct answers of the model (for routing and cascades)"),
    "small-accuracy": ("small_accuracy_ratio", "share of correct answers of the small model"),
    "thinking": ("thinking_ratio", "length of answers under a thinking budget, as a share (default: 0.5)"),
    "cap": ("cap_ratio", "power limit over TDP (default: 0.7)"),
    "clock": ("clock_ratio", "locked clock over the highest (default: 0.7)"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    from joulemill.commands.predict import deployment_arguments

    parser.add_argument("run", nargs="?", metavar="RUN", type=Path, help="a run folder: its model, device and load")
    deployment_arguments(parser, required=False)
    add = parser.add_argument
    add("--draft", metavar="MODEL", help="draft model for speculative decoding")
    add("--small", metavar="MODEL", help="model that serves the easy share of requests")
    add("--alternative", metavar="MODEL", help="another model of like size, e.g. a mixture of experts")
    add("--to", metavar="DEVICES", help="devices to compare with, comma-separated (default: h100,h200,b200,mi300x)")
    add("--drafted", type=int, default=3, metavar="N", help="draft tokens per step (default: 3)")
    for name, (_, about) in SHARES.items():
        add(f"--{name}", metavar="SHARE", help=about)
    add(
        "--beyond",
        default="",
        metavar="COSTS",
        help="also combine levers that need: retrain, other model, hardware, facility",
    )
    add("--same-outputs", action="store_true", help="combine only levers that do not change any output")
    add("--html", metavar="FILE", type=Path, help="write one offline HTML page")
    add("--json", action="store_true", help="print one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Study and print; 1 where limits, targets or the offered load are not met as it is."""
    from joulemill.analysis.levers_of_run import question_of_run
    from joulemill.analysis.run import report_of
    from joulemill.bench.preflight import check_page
    from joulemill.commands.predict import question_of, tell_does_not_fit
    from joulemill.physics.serving.batch import MemoryShort
    from joulemill.prediction.levers import levers_answer
    from joulemill.reports.html.levers import page
    from joulemill.reports.text.levers import document, show

    if args.html and args.html.is_dir():
        raise InputError(f"--html {args.html} is a folder; name a file")
    if args.run is None and not (args.model and args.device):
        raise InputError(
            "name what to study: a RUN folder, or --model and --device (real runs: joulemill levers measure)"
        )
    check_page(args.html)
    question, report = question_of(args), None
    if args.run is not None:
        question, run = question_of_run(args.run, question)
        report = report_of(run)
    names = {role: getattr(args, role) for role in ("draft", "small", "alternative", "to")}
    settings, beyond = _settings(args), _beyond(args.beyond)
    try:
        answered = levers_answer(question, names, settings, beyond, same_outputs=args.same_outputs)
    except MemoryShort as fault:
        return tell_does_not_fit(question, fault, as_json=args.json)
    if args.html:
        _write(args.html, page(answered, report))
    if args.json:
        print_json(document(answered, report))
    else:
        show(answered, results_console(), report)
    return 0 if answered.meets else 1


def _settings(args: argparse.Namespace) -> Settings:
    from joulemill.decisions.levers.case import Settings
    from joulemill.units import parse_ratio

    shares: dict[str, float] = {}
    for option, (field, _) in SHARES.items():
        stated = getattr(args, option.replace("-", "_"))
        if stated is None:
            continue
        share = parse_ratio(stated, name=f"--{option}")
        if not 0.0 < share < 1.0:
            raise InputError(f"--{option} is {share:g}; it must lie between 0 and 1")
        shares[field] = share
    if not 1 <= args.drafted <= MOST_DRAFTED:
        raise InputError(f"--drafted is {args.drafted}; it must be at least 1 and at most {MOST_DRAFTED}")
    return Settings(draft_count=args.drafted, **shares)  # type: ignore[arg-type]


def _beyond(text: str) -> frozenset[str]:
    from joulemill.decisions.levers.study import BEYOND_TUNING

    asked = frozenset(w.strip() for w in text.split(",") if w.strip())
    if text and not asked:
        raise InputError(f"--beyond {text}: names nothing; use {', '.join(sorted(BEYOND_TUNING))}")
    unknown = asked - BEYOND_TUNING
    if unknown:
        word = sorted(unknown)[0]
        raise InputError(f"--beyond: {word!r} is not known; {meant(word, sorted(BEYOND_TUNING))}")
    return asked


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as fault:
        raise MachineError(f"{path}: cannot be written ({fault.strerror}); choose another --html FILE") from fault
