"""``joulemill report compare A B [C …]``: runs side by side; what differs in conditions comes first."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from joulemill.errors import InputError
from joulemill.streams import print_json, results_console


def run(args: argparse.Namespace) -> int:
    """Load the runs, print the view. ``args.run`` is the word "compare" and the runs."""
    from joulemill.analysis.comparison import compare, document
    from joulemill.analysis.samples import load_run
    from joulemill.reports import comparison as compare_views

    paths = [Path(p) for p in args.run[1:]]
    if len(paths) < 2:
        raise InputError("compare needs two runs or more: joulemill report compare A B [C …]")
    if args.latex or args.latex_row or args.export or args.schema or args.baseline:
        raise InputError("compare prints to the terminal, or --json, --markdown, --html FILE")
    twice = next((p for i, p in enumerate(paths) if p.resolve() in [q.resolve() for q in paths[:i]]), None)
    if twice is not None:
        raise InputError(f"{twice} is given twice: a run compared with itself tells nothing; name another one")
    found = compare([load_run(p) for p in paths])
    if args.html:
        from joulemill.commands.output import write_text

        write_text(compare_views.render(found), args.html)
    if args.json:
        print_json(document(found))
    elif args.markdown:
        sys.stdout.write(compare_views.markdown(found))
    else:
        compare_views.show(found, results_console())
    return 0
