"""Dataframes by whichever library is there: pandas, polars or pyarrow."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from joulemill.errors import InputError, MachineError

Backend = Literal["pandas", "polars", "pyarrow"]
BACKENDS: tuple[Backend, ...] = ("pandas", "polars", "pyarrow")


def frame_of(columns: Mapping[str, Sequence[Any]], backend: str | None = None) -> Any:
    """``columns`` as a dataframe of ``backend``; None: the first of ``BACKENDS`` that is installed.

    Raises MachineError where it is not installed.
    """
    import narwhals as nw

    wanted = [name for name in BACKENDS if backend in (None, name)]
    if not wanted:
        raise InputError(f"`backend` {backend!r} is not known; use one of {', '.join(BACKENDS)}")
    chosen = next((name for name in wanted if importlib.util.find_spec(name) is not None), None)
    if chosen is None:
        raise MachineError(f"a dataframe needs {' or '.join(wanted)}: pip install {wanted[0]}; or use to_dict()")
    return nw.from_dict({k: list(v) for k, v in columns.items()}, backend=chosen).to_native()
