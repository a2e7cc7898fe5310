"""Columns of the simulation's values: one dtype, one length, no surprises. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from joulemill.errors import InputError

Whole = NDArray[np.int64]
Flags = NDArray[np.bool_]


def whole(values: ArrayLike, name: str, size: int | None = None, least: int | None = None) -> Whole:
    """``values`` as a column of whole numbers. InputError names the column where they are none, too few or too low."""
    raw = np.asarray(values)
    if raw.ndim != 1 or (raw.size and raw.dtype.kind not in "iu"):
        raise InputError(f"{name}: it must be one row of whole numbers, not {raw.dtype} in {raw.ndim} dimensions")
    column = raw.astype(np.int64, copy=False)
    _check(column, name, size, least)
    return column


def real(values: ArrayLike, name: str, size: int | None = None, least: float | None = None) -> NDArray[np.float64]:
    """``values`` as a column of numbers; NaN passes where ``least`` is not stated."""
    column = np.asarray(values, dtype=np.float64)
    if column.ndim != 1:
        raise InputError(f"{name}: it must be one row of numbers, not {column.ndim} dimensions")
    if least is not None and np.isnan(column).any():
        raise InputError(f"{name}: it holds a value that is not a number")
    _check(column, name, size, least)
    return column


def flags(values: ArrayLike, name: str, size: int | None = None) -> Flags:
    """``values`` as a column of yes and no."""
    column = np.asarray(values)
    if column.ndim != 1 or (column.size and column.dtype != np.bool_):
        raise InputError(f"{name}: it must be one row of booleans")
    column = column.astype(np.bool_, copy=False)
    _check(column, name, size, None)
    return column


def put(value: object, **columns: object) -> None:
    """Set fields of a frozen value that is being made."""
    for name, column in columns.items():
        object.__setattr__(value, name, column)


def _check(column: NDArray[Any], name: str, size: int | None, least: float | None) -> None:
    if size is not None and column.size != size:
        raise InputError(f"{name}: it has {column.size} entries where there are {size}")
    if least is not None and column.size and column.min() < least:
        raise InputError(f"{name}: {column.min()} is below {least}")
