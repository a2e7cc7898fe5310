"""A calibration on disk: coefficients fitted on a machine's own runs, with standard errors and interval widths."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from joulemill.catalog.serving import coefficients
from joulemill.errors import InputError
from joulemill.physics.serving.coefficients import NAMES

SCHEMA = "joulemill-calibration-1"
#: A coefficient further than this factor from its profile's, or a half-width (in logarithms) above this, is no fit's.
MOST_FACTOR, MOST_WIDTH = 1e6, 20.0


@dataclass(frozen=True, kw_only=True)
class FittedCoefficients:
    """Coefficients by name; standard errors of the fitted ones' logarithms; half-widths (80 %) by quantity;
    what it came from. ``device``: what it is of; "" in files of before. ``notes``: what was assumed of the runs."""

    coefficients: Mapping[str, float]
    stderr: Mapping[str, float]
    widths: Mapping[str, float]
    runs: tuple[str, ...]
    profile: str
    device: str = ""
    model: str = ""
    notes: tuple[str, ...] = ()


def save_calibration(path: Path, calibrated: FittedCoefficients) -> None:
    """Write as JSON."""
    path.write_text(json.dumps({"schema": SCHEMA, **asdict(calibrated)}, indent=2) + "\n", encoding="utf-8")


def load_calibration(path: Path) -> FittedCoefficients:
    """Read; InputError where it is not a calibration or misses a coefficient."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw.get("schema") != SCHEMA:
            raise InputError(f"{path}: not a calibration file; write one with joulemill calibrate RUN… --out FILE")
        return FittedCoefficients(
            coefficients=_coefficients(_numbers(raw["coefficients"], path), str(raw["profile"]), path),
            stderr=_numbers(raw["stderr"], path),
            widths=_numbers(raw["widths"], path, MOST_WIDTH),
            runs=tuple(raw["runs"]),
            profile=str(raw["profile"]),
            device=str(raw.get("device") or ""),
            model=str(raw.get("model") or ""),
            notes=tuple(str(note) for note in raw.get("notes") or ()),
        )
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        why = "is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InputError(f"{path}: cannot be read as a calibration file ({why}); calibrate again") from error


def _numbers(table: Mapping[str, float], path: Path, most: float = math.inf) -> dict[str, float]:
    """Numbers by name, finite and from 0 to ``most``."""
    values = {str(k): float(v) for k, v in table.items()}
    for name, value in values.items():
        if not (0.0 <= value <= most and math.isfinite(value)):
            raise InputError(f"{path}: {name} is {value:g}, which cannot be; calibrate again")
    return values


def _coefficients(values: dict[str, float], profile: str, path: Path) -> dict[str, float]:
    """All of them, each within MOST_FACTOR of the profile that was fitted anew."""
    usual = {c.name: c.value for c in coefficients(profile)}
    missing = [n for n in NAMES if n not in values]
    if missing:
        raise InputError(f"{path}: coefficient {missing[0]!r} is missing; calibrate again")
    far = next((n for n in NAMES if not usual[n] / MOST_FACTOR <= values[n] <= usual[n] * MOST_FACTOR), None)
    if far is not None:
        raise InputError(
            f"{path}: coefficient {far!r} is {values[far]:g}, and usual is about {usual[far]:.2g}: no fit gives that; "
            "is the file damaged? Calibrate again"
        )
    return values
