"""A figure: a number with its unit, its basis and, where it is an estimate, its interval.

Every number that a report shows is one of these. Pure; imported by every room.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from enum import StrEnum

from joulemill.wording import say


class Basis(StrEnum):
    """How a number is known, best first. The order is the order of trust."""

    MEASURED = "measured"
    CALIBRATED = "calibrated"
    MODELLED = "modelled"
    DATASHEET = "datasheet"
    DECLARED = "declared"


#: ``declared`` and ``datasheet`` inputs make a *modelled* result as soon as anything is computed with them.
_RANK = {Basis.MEASURED: 0, Basis.CALIBRATED: 1, Basis.MODELLED: 2, Basis.DATASHEET: 2, Basis.DECLARED: 2}


def weakest(*bases: Basis | None) -> Basis | None:
    """Basis of a result computed from inputs with ``bases``; ``None`` inputs (unknown) are ignored.

    One basis alone keeps its name; a mixture is as good as its worst part, and a mixture with anything
    weaker than ``calibrated`` is ``modelled``.
    """
    known = [b for b in bases if b is not None]
    if not known:
        return None
    if len(set(known)) == 1:
        return known[0]
    return (Basis.MEASURED, Basis.CALIBRATED, Basis.MODELLED)[max(_RANK[b] for b in known)]


@dataclass(frozen=True, slots=True, repr=False)
class Figure:
    """A number as a report states it.

    value   the number, or None where unknown (then ``reason`` says why)
    unit    SI unit as text, e.g. ``J/tok``, ``W``, ``tok/s``, ``1`` for a ratio
    basis   how it is known; None only where value is None
    low, high   interval (95 % unless ``level`` says otherwise); None where none is claimed
    reason  why it is unknown, or a caveat that must be shown with it
    source  where it comes from: a meter's name, a catalog row, an equation's name
    """

    value: float | None
    unit: str
    basis: Basis | None = None
    _: KW_ONLY
    low: float | None = None
    high: float | None = None
    level: float | None = None
    reason: str | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        if self.value is None:
            return
        if not math.isfinite(self.value):
            raise ValueError(f"a figure must be finite, not {self.value}: state it as unknown with a reason")
        if self.basis is None:
            raise ValueError("a figure with a value needs a basis")

    def __str__(self) -> str:
        """As a person reads it: ``1.09 J/tok (0.79–1.51, modelled)``; or unknown and why."""
        return say(self)

    def __repr__(self) -> str:
        return f"<Figure {self}>"

    @property
    def known(self) -> bool:
        """Whether there is a value."""
        return self.value is not None

    def scaled(self, factor: float, unit: str, basis: Basis | None = None) -> Figure:
        """This figure times an exactly known non-negative ``factor``; ``basis`` of the factor if it has one."""
        return self.mapped(lambda x: x * factor, unit, basis)

    def mapped(self, increasing: Callable[[float], float], unit: str, basis: Basis | None = None) -> Figure:
        """This figure through an increasing function, interval included."""
        if self.value is None:
            return Figure(None, unit, reason=self.reason, source=self.source)
        return Figure(
            increasing(self.value),
            unit,
            weakest(self.basis, basis),
            low=None if self.low is None else increasing(self.low),
            high=None if self.high is None else increasing(self.high),
            level=self.level,
            reason=self.reason,
            source=self.source,
        )


def unknown(unit: str, reason: str) -> Figure:
    """A figure that is not known, and why."""
    return Figure(None, unit, reason=reason)
