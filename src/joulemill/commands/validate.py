"""``joulemill validate FILE.csv``: predictions against a table of measured runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from joulemill.streams import print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "file", nargs="?", metavar="FILE.csv", type=Path, help="measured runs, latency points or node wall power"
    )
    parser.add_argument(
        "--models", metavar="DIR", type=Path, help="folder of Hugging Face configs named Org--Name.json"
    )
    parser.add_argument("--template", action="store_true", help="print the columns of a table of your own, and a row")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Predict each row, compare, print."""

    from joulemill.errors import InputError
    from joulemill.validation.scores import TEMPLATE, document, text, validate_table

    if args.template:
        sys.stdout.write(TEMPLATE)
        return 0
    if args.file is None:
        raise InputError("name the table, FILE.csv, or print its columns with --template")

    if args.models is not None and not args.models.is_dir():
        raise InputError(f"--models {args.models} is not a folder")
    if not args.file.exists():
        raise InputError(f"{args.file}: no such file; name a CSV file")
    if args.file.is_dir():
        raise InputError(f"{args.file} is a folder; name a CSV file")
    validation = validate_table(args.file, args.models, _tell)
    if args.json:
        print_json(document(validation))
    else:
        sys.stdout.write(text(validation))
    return 0 if validation.rows else 1


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")
