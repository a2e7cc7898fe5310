"""``joulemill levers``: what would lower the joules of a token, on a deployment or a measured run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from joulemill.commands.output import check_page
from joulemill.errors import InputError
from joulemill.files import write_text
from joulemill.streams import print_json, results_console
from joulemill.suggestions import nearest
from joulemill.units import parse_ratio

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
    from joulemill.api.levers import levers
    from joulemill.api.prediction import MemoryShort
    from joulemill.commands.predict import arguments_of, tell_does_not_fit
    from joulemill.reports.text.levers import show

    if args.html and args.html.is_dir():
        raise InputError(f"--html {args.html} is a folder; name a file")
    if args.run is None and not (args.model and args.device):
        raise InputError(
            "name what to study: a RUN folder, or --model and --device (real runs: joulemill levers measure)"
        )
    _refuse_misspelt_measure(args.run)
    check_page(args.html)
    deployment, settings = arguments_of(args), _settings(args)
    try:
        if args.run is None:
            study = levers(deployment, **settings)
        else:
            study = levers(args.run, deployment=deployment, **settings)
    except MemoryShort as fault:
        return tell_does_not_fit(deployment, fault, as_json=args.json, run=args.run)
    if args.html:
        write_text(args.html, study.page())
    if args.json:
        print_json(study.to_dict())
    else:
        show(study.answer, results_console(), study.report)
    return 0 if study.meets else 1


def _refuse_misspelt_measure(run: Path | None) -> None:
    """InputError for a word that is no folder and looks like that of `levers measure`."""
    if run is not None and not run.exists() and nearest(str(run), ["measure"]):
        raise InputError(f"{run}: no such run; did you mean `joulemill levers measure`?")


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """The options as settings of ``joulemill.levers``. InputError names the option that is wrong."""
    settings: dict[str, Any] = {role: getattr(args, role) for role in ("draft", "small", "alternative", "to")}
    for option, (field, _) in SHARES.items():
        stated = getattr(args, option.replace("-", "_"))
        if stated is None:
            continue
        share = parse_ratio(stated, name=f"--{option}")
        if not 0.0 < share < 1.0:
            raise InputError(f"--{option} is {share:g}; it must lie between 0 and 1")
        settings[field] = share
    if not 1 <= args.drafted <= MOST_DRAFTED:
        raise InputError(f"--drafted is {args.drafted}; it must be at least 1 and at most {MOST_DRAFTED}")
    beyond = [w.strip() for w in args.beyond.split(",") if w.strip()]
    if args.beyond and not beyond:
        from joulemill.api.levers import BEYOND

        raise InputError(f"--beyond {args.beyond}: names nothing; use {', '.join(BEYOND)}")
    return settings | {"draft_count": args.drafted, "beyond": beyond, "same_outputs": args.same_outputs}
