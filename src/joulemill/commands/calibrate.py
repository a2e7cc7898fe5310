"""``joulemill calibrate ROWS.csv|RUN…``: what measurements of one's own say of the prediction's errors.

A file named ``.toml`` takes scales of each deployment, from one row on; one named ``.json`` takes a machine's free
coefficients, fitted to its runs, which carry to other loads and levers on it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from joulemill.errors import InputError, MachineError
from joulemill.streams import print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="ROWS.csv|RUN",
        type=Path,
        help="a table of measured rows (its columns: validate --template), or run folders, or reports as JSON",
    )
    parser.add_argument("--model", metavar="NAME", help="of runs: model that was served, or its config.json or GGUF")
    parser.add_argument("--device", metavar="NAME", help="of runs: device of the catalog, or a TOML file")
    parser.add_argument("--devices", type=int, default=1, metavar="N", help="of runs: devices that served (default: 1)")
    parser.add_argument("--precision", metavar="FORMAT", help="of runs: format of the weights (default: as released)")
    parser.add_argument(
        "--models", metavar="DIR", type=Path, help="of a table: folder of Hugging Face configs named Org--Name.json"
    )
    parser.add_argument("--force", action="store_true", help="calibrate though a run names another model or device")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("calibration.toml"),
        metavar="FILE",
        help="where to write: .toml takes scales of each deployment, .json coefficients fitted to runs of a machine",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Calibrate, write the file, print what was found."""
    table = _table(args)
    _refuse(args, table)
    if args.out.suffix.lower() == ".json":
        return _coefficients(args)
    from joulemill.api.validating import fit_scales

    if table is not None:
        scales = fit_scales(table, models=args.models)
    else:
        scales = fit_scales(
            args.runs, args.model, args.device, devices=args.devices, precision=args.precision, force=args.force
        )
    _write(args.out, scales.save)
    if args.json:
        print_json(scales.to_dict() | {"file": str(args.out)})
    else:
        sys.stdout.write(scales.text())
        _say_written(args.out)
    return 0


def _table(args: argparse.Namespace) -> Path | None:
    """The table of rows where one is named. InputError for a table among other things."""
    tables: list[Path] = [p for p in args.runs if p.suffix.lower() == ".csv"]
    if not tables:
        return None
    if len(args.runs) > 1:
        raise InputError(f"{tables[0]} is a table; give it alone: put all rows into one")
    return tables[0]


def _refuse(args: argparse.Namespace, table: Path | None) -> None:
    """What is wrong before any run is read."""
    from joulemill.commands.predict import MOST_DEVICES

    if not 1 <= args.devices <= MOST_DEVICES:
        raise InputError(f"--devices {args.devices}: it must lie between 1 and {MOST_DEVICES:,}")
    places = [p.resolve() for p in args.runs]
    twice = next((p for p, place in zip(args.runs, places, strict=True) if places.count(place) > 1), None)
    if twice is not None:
        raise InputError(f"{twice} is given twice: a run counts once; give several runs, or this one alone")
    if args.out.is_dir():
        raise InputError(f"--out {args.out} is a folder; name a file")
    if args.out.suffix.lower() not in (".toml", ".json"):
        raise InputError(f"--out {args.out}: name a .toml file (scales) or, for runs, a .json file (coefficients)")
    if args.models is not None and not args.models.is_dir():
        raise InputError(f"--models {args.models} is not a folder")
    _refuse_mixture(args, table)


def _refuse_mixture(args: argparse.Namespace, table: Path | None) -> None:
    """Options that do not go with a table, or that runs need."""
    stated = {"--model": args.model, "--device": args.device}
    if table is None:
        missing = next((name for name, value in stated.items() if not value), None)
        if missing:
            raise InputError(f"{missing} is needed: runs do not always name it")
        if args.models is not None:
            raise InputError("--models is for a table; of runs, name the model's config.json with --model")
        return
    stray = next((name for name, value in {**stated, "--precision": args.precision}.items() if value), None)
    if stray or args.devices != 1:
        raise InputError(f"{stray or '--devices'} is for runs; the rows of {table} state it")
    if args.out.suffix.lower() == ".json":
        raise InputError(f"--out {args.out}: a table makes scales, not coefficients; name a .toml file")


def _write(out: Path, save: Callable[[Path], None]) -> None:
    try:
        save(out)
    except OSError as fault:
        raise MachineError(f"{out}: cannot be written ({fault.strerror}); choose another --out FILE") from fault


def _coefficients(args: argparse.Namespace) -> int:
    from joulemill.api.validating import calibrate

    calibration = calibrate(
        args.runs, args.model, args.device, devices=args.devices, precision=args.precision, force=args.force
    )
    _write(args.out, calibration.save)
    if args.json:
        print_json(calibration.to_dict() | {"file": str(args.out)})
        return 0
    sys.stdout.write(calibration.text())
    _say_written(args.out)
    return 0


def _say_written(out: Path) -> None:
    sys.stdout.write(f"written to {out}; use it with joulemill predict --calibration {out}\n")
