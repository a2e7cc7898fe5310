"""A calibration on disk: coefficients fitted on a machine's own runs, with standard errors and interval widths."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from joulemill.errors import InputError
from joulemill.physics.coefficients import NAMES

SCHEMA = "joulemill-calibration-1"


@dataclass(frozen=True)
class Calibrated:
    """Coefficients by name; standard errors of the fitted ones' logarithms; half-widths (80 %) by quantity;
    what it came from. ``device``: what it is of; "" in files of before."""

    coefficients: Mapping[str, float]
    stderr: Mapping[str, float]
    widths: Mapping[str, float]
    runs: tuple[str, ...]
    profile: str
    device: str = ""
    model: str = ""


def save_calibration(path: Path, found: Calibrated) -> None:
    """Write as JSON."""
    path.write_text(json.dumps({"schema": SCHEMA, **asdict(found)}, indent=2) + "\n", encoding="utf-8")


def load_calibration(path: Path) -> Calibrated:
    """Read; InputError where it is not a calibration or misses a coefficient."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw.get("schema") != SCHEMA:
            raise InputError(f"{path}: not a calibration file; write one with joulemill calibrate RUN… --out FILE")
        coefficients = {str(k): float(v) for k, v in raw["coefficients"].items()}
        missing = [n for n in NAMES if n not in coefficients]
        if missing:
            raise InputError(f"{path}: coefficient {missing[0]!r} is missing; calibrate again")
        return Calibrated(
            coefficients,
            {str(k): float(v) for k, v in raw["stderr"].items()},
            {str(k): float(v) for k, v in raw["widths"].items()},
            tuple(raw["runs"]),
            str(raw["profile"]),
            str(raw.get("device") or ""),
            str(raw.get("model") or ""),
        )
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"{path}: cannot be read as a calibration file ({error})") from error
