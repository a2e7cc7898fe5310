"""Values as JSON types: dataclasses as objects, enums as their values, what is not finite as null. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """``value`` as JSON types. NaN and infinities become null: JSON has neither, and unknown is null."""
    from pydantic_core import to_jsonable_python  # loaded when something is written: most starts write nothing

    return to_jsonable_python(value, inf_nan_mode="null", fallback=_other)


def _other(value: Any) -> Any:
    """Mappings that are no dict, arrays and their numbers; of anything else its text."""
    if isinstance(value, Mapping):
        return dict(value)
    return value.tolist() if hasattr(value, "tolist") else str(value)
