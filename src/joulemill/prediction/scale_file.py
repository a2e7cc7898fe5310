"""Scales on disk: a TOML file, one table a cell, one a quantity. Whatever it does not know is an error."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joulemill.errors import InputError
from joulemill.files import text_of
from joulemill.prediction.scales import QUANTITIES, Cell, Scale, Scales
from joulemill.statistics.shrinkage import CellPosterior
from joulemill.suggestions import meant

SCHEMA = "joulemill-scales-1"
SUFFIX = ".toml"
#: Keys of a quantity → the least and most that a fit gives.
BOUNDS = {
    "rows": (1.0, 1e9), "concurrency": (1e-3, 1e9), "scale": (1e-3, 1e3), "stderr_ln": (0.0, 20.0),
    "slope": (-20.0, 20.0), "slope_stderr": (0.0, 20.0), "within_ln": (0.0, 20.0), "z_80": (0.1, 20.0),
}  # fmt: skip
CELL_KEYS = Cell._fields


@dataclass(frozen=True)
class ScaleFile:
    """Scales by cell, the files that they were made from, and what was assumed of those."""

    cells: Mapping[Cell, Scales]
    made_from: tuple[str, ...]
    notes: tuple[str, ...] = ()


def is_scale_file(path: Path) -> bool:
    """Whether a calibration of this name holds scales, and not coefficients."""
    return path.suffix.lower() == SUFFIX


def save_scales(path: Path, scale_file: ScaleFile) -> None:
    """Write as TOML."""
    path.write_text("\n".join(_lines(scale_file)) + "\n", encoding="utf-8")


def scale_table(scale: Scale) -> dict[str, float]:
    """A quantity's scale as it is written: measured ÷ predicted at ``concurrency``, standard errors of logarithms."""
    p = scale.posterior
    return {
        "rows": p.count,
        "concurrency": math.exp(p.center),
        "scale": math.exp(p.mean),
        "stderr_ln": math.sqrt(p.mean_variance),
        "slope": p.slope,
        "slope_stderr": math.sqrt(p.slope_variance),
        "within_ln": math.sqrt(p.within_variance),
        "z_80": scale.z_80,
    }


def _lines(scale_file: ScaleFile) -> Iterable[str]:
    yield f'schema = "{SCHEMA}"'
    yield f"made_from = {json.dumps(list(scale_file.made_from))}"
    yield f"notes = {json.dumps(list(scale_file.notes))}"
    for cell, scales in scale_file.cells.items():
        yield "\n[[cell]]"
        yield from (f"{name} = {json.dumps(value)}" for name, value in cell._asdict().items())
        for quantity, scale in scales.items():
            yield f"\n[cell.{quantity}]"
            yield from (f"{name} = {value!r}" for name, value in scale_table(scale).items())


def load_scales(path: Path) -> ScaleFile:
    """Read; InputError naming the first key that is unknown, missing or out of bounds."""
    try:
        raw = tomllib.loads(text_of(path.read_bytes()))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        why = "is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InputError(f"{path}: cannot be read as TOML ({why}); calibrate again") from error
    if raw.get("schema") != SCHEMA:
        raise InputError(f"{path}: not a file of scales; write one with joulemill calibrate ROWS.csv --out FILE.toml")
    raw.setdefault("notes", [])  # files of before state none
    _check_keys(raw, {"schema", "made_from", "notes", "cell"}, path)
    cells = raw["cell"]
    if not (isinstance(cells, list) and all(isinstance(c, dict) for c in cells) and cells):
        raise InputError(f"{path}: 'cell' must be a list of tables, [[cell]]")
    for name in ("made_from", "notes"):
        if not (isinstance(raw[name], list) and all(isinstance(n, str) for n in raw[name])):
            raise InputError(f"{path}: {name!r} must be a list of texts")
    return ScaleFile(dict(_cell(c, path) for c in cells), tuple(raw["made_from"]), tuple(raw["notes"]))


def _cell(raw: dict[str, Any], path: Path) -> tuple[Cell, Scales]:
    scales = {q: raw[q] for q in raw if q in QUANTITIES}
    _check_keys({k: v for k, v in raw.items() if k not in scales}, set(CELL_KEYS), path, beside=tuple(QUANTITIES))
    for name in CELL_KEYS:
        kind = int if name == "devices" else str
        if type(raw[name]) is not kind:
            raise InputError(f"{path}: {name!r} of a cell is {raw[name]!r}; it must be {_kind_name(kind)}")
    if not scales:
        raise InputError(f"{path}: a cell of {raw['model']} has no quantity; known are {', '.join(QUANTITIES)}")
    return Cell(**{n: raw[n] for n in CELL_KEYS}), {q: _scale(v, q, path) for q, v in scales.items()}


def _kind_name(kind: type) -> str:
    return "a whole number" if kind is int else "text"


def _scale(raw: object, quantity: str, path: Path) -> Scale:
    if not isinstance(raw, dict):
        raise InputError(f"{path}: {quantity!r} must be a table, [cell.{quantity}]")
    _check_keys(raw, set(BOUNDS), path)
    for name, (least, most) in BOUNDS.items():
        value = raw[name]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
            raise InputError(f"{path}: {name!r} of {quantity} is {value!r}; it must lie between {least:g} and {most:g}")
    posterior = CellPosterior(
        count=int(raw["rows"]),
        center=math.log(raw["concurrency"]),
        mean=math.log(raw["scale"]),
        mean_variance=raw["stderr_ln"] ** 2,
        slope=float(raw["slope"]),
        slope_variance=raw["slope_stderr"] ** 2,
        within_variance=raw["within_ln"] ** 2,
    )
    return Scale(posterior, float(raw["z_80"]))


def _check_keys(raw: Mapping[str, Any], known: set[str], path: Path, beside: Iterable[str] = ()) -> None:
    """InputError for a key that is not among ``known``, or one of these that is missing; ``beside`` are optional."""
    unknown = sorted(raw.keys() - known)
    if unknown:
        raise InputError(f"{path}: unknown key {unknown[0]!r}; {meant(unknown[0], (*sorted(known), *beside))}")
    missing = sorted(known - raw.keys())
    if missing:
        raise InputError(f"{path}: {missing[0]!r} is missing; calibrate again")
