"""``joulemill calibrate RUN…``: fit a machine's few free coefficients from its own runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from joulemill.errors import InputError, MachineError
from joulemill.streams import print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("runs", nargs="+", metavar="RUN", type=Path, help="run folders, or reports as JSON")
    parser.add_argument(
        "--model", required=True, metavar="NAME", help="model that was served, or its config.json or GGUF"
    )
    parser.add_argument("--device", required=True, metavar="NAME", help="device of the catalog, or a TOML file")
    parser.add_argument("--devices", type=int, default=1, metavar="N", help="devices that served it (default: 1)")
    parser.add_argument("--precision", metavar="FORMAT", help="format of the weights (default: as released)")
    parser.add_argument("--force", action="store_true", help="fit though a run names another model or device")
    parser.add_argument("--out", type=Path, default=Path("calibration.json"), metavar="FILE", help="where to write it")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def _refuse(args: argparse.Namespace) -> None:
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


def run(args: argparse.Namespace) -> int:
    """Fit, write the file, print what moved."""
    from dataclasses import asdict

    from joulemill.analysis.calibration import calibrate_runs
    from joulemill.analysis.calibration_match import refuse_other_runs
    from joulemill.prediction.calibration_file import save_calibration

    _refuse(args)
    if not args.force:
        refuse_other_runs(args.runs, args.model, args.device, args.devices)
    calibration = calibrate_runs(args.runs, args.model, args.device, args.devices, args.precision)
    try:
        save_calibration(args.out, calibration)
    except OSError as fault:
        raise MachineError(f"{args.out}: cannot be written ({fault.strerror}); choose another --out FILE") from fault
    if args.json:
        print_json(asdict(calibration) | {"file": str(args.out)})
        return 0
    for name, error in calibration.stderr.items():
        sys.stdout.write(f"{name:<20}{calibration.coefficients[name]:>12.4g}  ± {error:.0%}\n")
    for name, width in calibration.widths.items():
        sys.stdout.write(f"{name:<20} 80 % interval ± {width:.0%}\n")
    sys.stdout.write(f"written to {args.out}; use it with joulemill predict --calibration {args.out}\n")
    return 0
