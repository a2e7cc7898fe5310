"""A report of a simulated run says that it is one: whatever would be ``measured`` there is of a model. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from joulemill.figure import Basis

Value = TypeVar("Value")


def as_modelled(value: Value) -> Value:
    """``value`` with every basis ``measured`` in it, of figures, percentiles and counts, as ``modelled``."""
    changed: Any = value
    if is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: getattr(value, f.name) for f in fields(value) if f.init}
        changed = replace(value, **{n: _basis(n, part) for n, part in parts.items()})
    elif isinstance(value, Mapping):
        changed = {key: _basis(str(key), part) for key, part in value.items()}
    elif type(value) in (tuple, list):
        changed = type(value)(as_modelled(part) for part in value)  # type: ignore[call-arg,attr-defined]
    return changed  # type: ignore[no-any-return]


def _basis(name: str, part: Any) -> Any:
    if name.endswith("basis") and part == Basis.MEASURED.value:
        return Basis.MODELLED if isinstance(part, Basis) else Basis.MODELLED.value
    return as_modelled(part)
