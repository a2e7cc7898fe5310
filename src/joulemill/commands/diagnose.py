"""``joulemill diagnose RUN``: every constraint that may have bound a run, with evidence and what would overturn it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from joulemill.streams import print_json, results_console

if TYPE_CHECKING:
    from joulemill.decisions.diagnosis import Diagnosis

EXIT_UNDECIDED = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("run", metavar="RUN", help="a run folder")
    parser.add_argument("--json", action="store_true", help="print the diagnosis as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    """Print the candidates. 0 decided, 3 undecided."""
    from joulemill.analysis.run import diagnosis_of
    from joulemill.analysis.serialization import plain
    from joulemill.recording.reader import read_run

    found = diagnosis_of(read_run(Path(args.run)))
    if args.json:
        print_json(plain(found))
    else:
        show(found)
    return EXIT_UNDECIDED if found.name == "undecided" else 0


def show(found: Diagnosis) -> None:
    """The candidates on stdout; those that nothing speaks for in one line."""
    from joulemill.analysis.diagnosis import evidence_line
    from joulemill.wording import percent, title

    console = results_console()
    console.print(found.explanation, markup=False)
    if found.would_decide:
        console.print(f"What would decide: {found.would_decide}", markup=False)
    for candidate in (c for c in found.candidates if c.probability_ratio >= 0.005):
        use = "ceiling unknown" if candidate.use.value is None else f"{percent(candidate.use.value)} of its ceiling"
        console.print(f"\n{title(candidate.name)}: {percent(candidate.probability_ratio)}, {use}", style="bold")
        console.print(f"  seen: {evidence_line(candidate) or 'nothing'}", markup=False)
        console.print(f"  overturned by: {candidate.overturned_by}", markup=False)
    rest = ", ".join(title(c.name) for c in found.candidates if c.probability_ratio < 0.005)
    if rest:
        console.print(f"\nNothing speaks for: {rest}", markup=False)
