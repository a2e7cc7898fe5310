"""``joulemill validate FILE.csv``: predictions against a table of measured runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from joulemill.errors import InputError
from joulemill.streams import print_json

if TYPE_CHECKING:
    from joulemill.validation.scores import Validation

MOST_CALIBRATING = 1_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
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
    parser.add_argument("--seed", type=int, metavar="S", help="of --calibrate-with: which rows are drawn (default 0)")
    parser.add_argument("--template", action="store_true", help="print the columns of a table of your own, and a row")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Predict each row, compare, print."""
    from joulemill.validation.scores import TEMPLATE, document, text, validate_table

    if args.template:
        sys.stdout.write(TEMPLATE)
        return 0
    _refuse_draw(args.calibrate_with, args.seed)
    if args.file is None:
        raise InputError("name the table, FILE.csv, or print its columns with --template")

    if args.models is not None and not args.models.is_dir():
        raise InputError(f"--models {args.models} is not a folder")
    if not args.file.exists():
        raise InputError(f"{args.file}: no such file; name a CSV file")
    if args.file.is_dir():
        raise InputError(f"{args.file} is a folder; name a CSV file")
    found = _validated(args) if args.calibrate_with is not None else validate_table(args.file, args.models, _tell)
    if args.json:
        print_json(document(found))
    else:
        sys.stdout.write(text(found))
    return 0 if found.rows else 1


def _refuse_draw(count: int | None, seed: int | None) -> None:
    if count is not None and not 1 <= count <= MOST_CALIBRATING:
        raise InputError(f"--calibrate-with {count}: it must lie between 1 and {MOST_CALIBRATING:,}")
    if seed is not None and count is None:
        raise InputError("--seed draws the rows of --calibrate-with; give both")
    if seed is not None and seed < 0:
        raise InputError(f"--seed {seed}: it must be 0 or more")


def _validated(args: argparse.Namespace) -> Validation:
    from joulemill.validation.calibrated_scores import validate_calibrated

    return validate_calibrated(args.file, args.calibrate_with, args.seed or 0, args.models, _tell)


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")
