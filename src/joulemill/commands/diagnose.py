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
    """Options of the command."""
    parser.add_argument("run", metavar="RUN", help="a run folder")
    parser.add_argument("--json", action="store_true", help="print the diagnosis as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    """Print the candidates. 0 decided, 3 undecided."""
    from joulemill.analysis.run import diagnosis_of
    from joulemill.analysis.serialization import plain
    from joulemill.recording.reader import read_run

    diagnosis = diagnosis_of(read_run(Path(args.run)))
    if args.json:
        print_json(plain(diagnosis))
    else:
        show(diagnosis)
    return EXIT_UNDECIDED if diagnosis.name == "undecided" else 0


def show(diagnosis: Diagnosis) -> None:
    """The candidates on stdout; those without evidence in one line."""
    from joulemill.analysis.diagnosis import evidence_line
    from joulemill.wording import percent, title

    console = results_console()
    console.print(diagnosis.explanation, markup=False)
    if diagnosis.would_decide:
        console.print(f"What would decide: {diagnosis.would_decide}", markup=False)
    for candidate in (c for c in diagnosis.candidates if c.probability_ratio >= 0.005):
        use = "ceiling unknown" if candidate.use.value is None else f"{percent(candidate.use.value)} of its ceiling"
        console.print(f"\n{title(candidate.name)}: {percent(candidate.probability_ratio)}, {use}", style="bold")
        console.print(f"  evidence: {evidence_line(candidate) or 'none'}", markup=False)
        console.print(f"  would be overturned by: {candidate.overturned_by}", markup=False)
    rest = ", ".join(title(c.name) for c in diagnosis.candidates if c.probability_ratio < 0.005)
    if rest:
        console.print(f"\nNo evidence for: {rest}", markup=False)
