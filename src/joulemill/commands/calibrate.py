"""``joulemill calibrate ROWS.csv|RUN…``: what measurements of one's own say of the prediction's errors.

A file named ``.toml`` takes scales of each deployment, from one row on; one named ``.json`` takes a machine's free
coefficients, fitted to its runs, which carry to other loads and levers on it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from joulemill.errors import InputError, MachineError
from joulemill.streams import print_json

if TYPE_CHECKING:
    from joulemill.prediction.scale_file import ScaleFile


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
    from joulemill.analysis.calibration_scales import scales_of_runs, scales_of_table
    from joulemill.prediction.scale_file import save_scales

    if table is not None:
        scale_file = scales_of_table(table, args.models)
    else:
        _match(args)
        scale_file = scales_of_runs(args.runs, args.model, args.device, args.devices, args.precision)
    _write(args.out, lambda: save_scales(args.out, scale_file))
    _say_scales(args, scale_file)
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


def _match(args: argparse.Namespace) -> None:
    from joulemill.analysis.calibration_match import refuse_other_runs

    if not args.force:
        refuse_other_runs(args.runs, args.model, args.device, args.devices)


def _write(out: Path, save: Callable[[], None]) -> None:
    try:
        save()
    except OSError as fault:
        raise MachineError(f"{out}: cannot be written ({fault.strerror}); choose another --out FILE") from fault


def _coefficients(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from joulemill.analysis.calibration import calibrate_runs
    from joulemill.prediction.calibration_file import save_calibration

    _match(args)
    calibration = calibrate_runs(args.runs, args.model, args.device, args.devices, args.precision)
    _write(args.out, lambda: save_calibration(args.out, calibration))
    if args.json:
        print_json(asdict(calibration) | {"file": str(args.out)})
        return 0
    for name, error in calibration.stderr.items():
        sys.stdout.write(f"{name:<20}{calibration.coefficients[name]:>12.4g}  ± {error:.0%}\n")
    for name, width in calibration.widths.items():
        sys.stdout.write(f"{name:<20} 80 % interval ± {width:.0%}\n")
    _say_written(args.out)
    return 0


def _say_scales(args: argparse.Namespace, scale_file: ScaleFile) -> None:
    from joulemill.prediction.scale_file import scale_table

    if args.json:
        cells = [
            cell._asdict() | {"scales": {q: scale_table(s) for q, s in scales.items()}}
            for cell, scales in scale_file.cells.items()
        ]
        print_json({"cells": cells, "made_from": list(scale_file.made_from), "file": str(args.out)})
        return
    for cell, scales in scale_file.cells.items():
        sys.stdout.write(f"{cell}\n")
        for quantity, scale in scales.items():
            table, center = scale_table(scale), scale_table(scale)["batch_req"]
            sys.stdout.write(
                f"  {quantity:<16}× {table['scale']:.3f}  ± {table['stderr_ln']:.1%}, slope {table['slope']:+.3f} "
                f"per ln(batch), 80 % interval ± {scale.half_width_ratio(center):.0%} at batch {center:.3g} "
                f"({table['rows']} row{'s' if table['rows'] > 1 else ''})\n"
            )
    _say_written(args.out)


def _say_written(out: Path) -> None:
    sys.stdout.write(f"written to {out}; use it with joulemill predict --calibration {out}\n")
