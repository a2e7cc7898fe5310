"""``joulemill validate FILE.csv``: predictions against a table of measured runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from joulemill.commands.output import check_page
from joulemill.errors import InputError
from joulemill.streams import print_json, results_console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "file", nargs="?", metavar="FILE.csv", type=Path, help="measured runs, latency points or node wall power"
    )
    parser.add_argument(
        "--models", metavar="DIR", type=Path, help="folder of Hugging Face configs named Org--Name.json"
    )
    parser.add_argument(
        "--calibrate-with",
        type=int,
        metavar="K",
        help="K random rows of each deployment calibrate, the others are scored",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of --calibrate-with: which rows are drawn (default: 0)")
    parser.add_argument(
        "--rows",
        metavar="OUT.csv",
        type=Path,
        help="write measured and predicted values of each row, with the interval and the error; OUT.parquet too",
    )
    parser.add_argument("--template", action="store_true", help="print the columns of a table of your own, and a row")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Predict each row, compare, print."""
    from joulemill.api.validating import table_template, validate
    from joulemill.reports.text.validation import show

    if args.template and args.json:
        raise InputError("--template is a table; leave --json out")
    if args.template:
        sys.stdout.write(table_template())
        return 0
    if args.seed is not None and args.calibrate_with is None:
        raise InputError("--seed draws the rows of --calibrate-with; give both")
    if args.file is None:
        raise InputError("name the table, FILE.csv, or print its columns with --template")
    check_page(args.rows, "--rows")
    errors = validate(
        args.file, models=args.models, calibrate_with=args.calibrate_with, seed=args.seed or 0, progress=_tell
    )
    if args.rows is not None:
        errors.save_rows(args.rows)
        _tell(f"rows: {args.rows}")
    if args.json:
        print_json(errors.to_dict())
    else:
        show(errors.validation, results_console())
    return 0 if errors.validation.rows else 1


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")
