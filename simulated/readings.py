"""Readings of known power, for the tests of the ledger."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from joulemill.figure import Basis
from joulemill.ledger.record import Channel, Quantity, Reading, Scope

EPOCH_S = 1.7e9


def channel(id: str = "meter:a:energy", **facts: object) -> Channel:
    given = {
        "meter": "meter",
        "device": "a",
        "scope": Scope.DEVICE,
        "quantity": Quantity.ENERGY,
        "basis": Basis.MEASURED,
    }
    return Channel(id=id, **{**given, **facts})  # type: ignore[arg-type]


def reading(id: str, t_s: float, value: float | None, error: str | None = None) -> Reading:
    return Reading(id, float(t_s), EPOCH_S + float(t_s), None if value is None else float(value), error)


def readings(id: str, times: np.ndarray, of: Callable[[np.ndarray], np.ndarray]) -> list[Reading]:
    return [reading(id, t, v) for t, v in zip(times, of(times), strict=True)]


def counted(id: str, power_w: float, duration_s: float, every_s: float = 0.5, start_s: float = 0.0) -> list[Reading]:
    t = start_s + np.arange(0.0, duration_s + 1e-9, every_s)
    return readings(id, t, lambda x: power_w * (x - start_s))
