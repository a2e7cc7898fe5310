"""``joulemill report compare A B [C …]``: runs side by side; what differs in conditions comes first."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from joulemill.errors import InputError


def run(args: argparse.Namespace) -> int:
    """Load the runs, print the view. ``args.run`` is the word "compare" and the runs."""
    from joulemill.reports import compare_views
    from joulemill.reports.compare import compare, document
    from joulemill.reports.samples import load_run

    paths = [Path(p) for p in args.run[1:]]
    if len(paths) < 2:
        raise InputError("compare needs two runs or more: joulemill report compare A B [C …]")
    if args.latex or args.latex_row or args.export or args.schema or args.baseline:
        raise InputError("compare prints to the terminal, or --json, --markdown, --html FILE")
    found = compare([load_run(p) for p in paths])
    if args.html:
        from joulemill.verbs.report import write_text

        write_text(compare_views.render(found), args.html)
    if args.json:
        sys.stdout.write(json.dumps(document(found), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    elif args.markdown:
        sys.stdout.write(compare_views.markdown(found))
    else:
        from rich.console import Console

        compare_views.show(found, Console(stderr=True))
    return 0
