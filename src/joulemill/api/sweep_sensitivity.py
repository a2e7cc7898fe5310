"""Which input of a sweep moves a result most, by SALib: Morris' screening, or Sobol' indices with their intervals.

Both need points of a design of their own, drawn in shares of each input's range: a Morris draw is a path of one more
point than there are inputs, a Sobol' draw a block of two more. Results enter as ln(result), since inputs act by
factors. A draw with a point that has no result is left out whole.

Morris, Technometrics 33 (1991) 161; Saltelli et al., Computer Physics Communications 181 (2010) 259.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from joulemill.arrays import Array
from joulemill.errors import InputError
from joulemill.simulation.design_space import MOST_POINTS

METHODS = ("morris", "sobol")
#: Values of an input that Morris' paths step between.
LEVELS = 4
#: Fewer whole draws than this tell no interval.
LEAST_DRAWS = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class SensitivityDesign:
    """Points in shares of the inputs' ranges, a row a point; ``draws`` paths or blocks of them."""

    method: str
    inputs: tuple[str, ...]
    draws: int
    seed: int
    shares: Array

    @property
    def rows_per_draw(self) -> int:
        """Points of a path or block."""
        return len(self.inputs) + (1 if self.method == "morris" else 2)

    @property
    def problem(self) -> dict[str, Any]:
        """The inputs as SALib takes them."""
        return _problem(self.inputs)


def designed(method: str, inputs: Sequence[str], draws: int, seed: int) -> SensitivityDesign:
    """``draws`` paths or blocks over ``inputs``. InputError for another method, none to vary, or without SALib."""
    if method not in METHODS:
        raise InputError(f"`sensitivity` is {method!r}; use {' or '.join(METHODS)}")
    if len(inputs) < 2:
        raise InputError("`sensitivity` compares inputs: give two or more under [ranges] or [axes]")
    if draws * (len(inputs) + 2) > MOST_POINTS:
        raise InputError(f"{draws:,} draws of {len(inputs)} inputs are more than {MOST_POINTS:,} points; lower `draws`")
    if method == "sobol" and draws & (draws - 1):
        raise InputError(
            f"`draws` is {draws}; Sobol' sequences are even at powers of 2 only, e.g. {_power_of_2(draws)}"
        )
    sample = _salib("sample", method).sample
    options = {"num_levels": LEVELS} if method == "morris" else {"calc_second_order": False}
    shares = sample(_problem(inputs), draws, seed=seed, **options)
    return SensitivityDesign(
        method=method, inputs=tuple(inputs), draws=draws, seed=seed, shares=np.asarray(shares, dtype=np.float64)
    )


def indices(design: SensitivityDesign, results: Array) -> dict[str, Any]:
    """How far each input moves ln(result), by input, with half-widths of 95 %; None where too little is known.

    Morris: ``mu_star``, the mean distance of ln(result) over the input's whole range, and ``sigma``, how that differs
    from place to place. Sobol: ``first``, the input's own share of the variance, ``total`` with its interactions.
    """
    groups = results.reshape(-1, design.rows_per_draw)
    whole = np.flatnonzero((np.isfinite(groups) & (groups > 0)).all(axis=1))
    head = {"method": design.method, "draws": design.draws, "draws_used": len(whole)}
    logs = np.log(groups[whole]).ravel()
    if len(whole) < LEAST_DRAWS or not logs.std() > 0.0:
        return head | {"inputs": dict.fromkeys(design.inputs)}
    shares = design.shares.reshape(-1, design.rows_per_draw, len(design.inputs))[whole].reshape(logs.size, -1)
    analyzed = _morris(design, shares, logs) if design.method == "morris" else _sobol(design, logs)
    return head | {"inputs": dict(zip(design.inputs, analyzed, strict=True))}


def _morris(design: SensitivityDesign, shares: Array, logs: Array) -> list[dict[str, float | None]]:
    analyze = _salib("analyze", "morris").analyze
    analysis = analyze(design.problem, shares, logs, num_levels=LEVELS, seed=design.seed)
    names = {"mu_star": "mu_star", "mu_star_half_width": "mu_star_conf", "sigma": "sigma"}
    return _rows(analysis, names, len(design.inputs))


def _sobol(design: SensitivityDesign, logs: Array) -> list[dict[str, float | None]]:
    analyze = _salib("analyze", "sobol").analyze
    analysis = analyze(design.problem, logs, calc_second_order=False, seed=design.seed)
    names = {"first": "S1", "first_half_width": "S1_conf", "total": "ST", "total_half_width": "ST_conf"}
    return _rows(analysis, names, len(design.inputs))


def _rows(analysis: Any, names: dict[str, str], count: int) -> list[dict[str, float | None]]:
    columns = {ours: [float(v) for v in analysis[theirs]] for ours, theirs in names.items()}
    return [{name: _finite(column[i]) for name, column in columns.items()} for i in range(count)]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _problem(inputs: Sequence[str]) -> dict[str, Any]:
    return {"num_vars": len(inputs), "names": list(inputs), "bounds": [[0.0, 1.0]] * len(inputs)}


def _power_of_2(draws: int) -> int:
    return 1 << max(draws.bit_length(), 1)


def _salib(part: str, method: str) -> Any:
    """A module of SALib, imported when used: it brings pandas and matplotlib."""
    from importlib import import_module

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_module(f"SALib.{part}.{method}")
    except ImportError:
        raise InputError("SALib is not installed: pip install 'joulemill[sensitivity]'") from None
