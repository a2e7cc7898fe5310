"""The idle ladder of a board (``idle_states.csv`` and the idle watts of ``devices.csv``), from off to loaded."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from joulemill.catalog.devices import device_facts, resolve_device_name
from joulemill.figure import Basis, Figure, unknown

#: From the least to the most; ``loaded``: a model is loaded and no request runs.
STATES = ("off", "bare", "boost-off", "sleep-2", "sleep-1", "context", "loaded")
#: Basis of a fact of the catalog → basis of a figure.
BASES = {
    "assumed": Basis.MODELLED,
    "modelled": Basis.MODELLED,
    "measured": Basis.MEASURED,
    "declared": Basis.DECLARED,
    "datasheet": Basis.DATASHEET,
}
NOT_PUBLISHED = "not published or not found"


@dataclass(frozen=True)
class IdleState:
    """A board at rest: watts, and what it takes to serve from there. Unknown figures say why.

    power_w           board
    wake_s, wake_j    until it serves, and the board's joules on the way
    """

    name: str
    power_w: Figure
    wake_s: Figure
    wake_j: Figure


@dataclass(frozen=True)
class _StateRow:
    value: float | None
    unit: str
    basis: str
    source: str
    note: str

    def figure(self, over: float = 0.0) -> Figure:
        """The fact as a figure, ``over`` watts above it."""
        if self.value is None:
            return unknown(self.unit, self.note)
        return Figure(self.value + over, self.unit, BASES[self.basis], reason=self.note or None, source=self.source)


@cache
def _rows() -> dict[tuple[str, str, str], _StateRow]:
    with (files("joulemill.catalog") / "data" / "idle_states.csv").open(encoding="utf-8") as lines:
        return {
            (r["device"], r["state"], r["parameter"]): _StateRow(
                float(r["value"]) if r["value"] else None, r["unit"], r["basis"], r["source"], r["note"]
            )
            for r in csv.DictReader(lines)
        }


def idle_ladder(name: str) -> tuple[IdleState, ...]:
    """Every state of the catalog's device ``name``. Raises InputError for an unknown name."""
    device = resolve_device_name(name)
    facts = {f.parameter: f for f in device_facts(device)}

    def idle(parameter: str) -> Figure:
        f = facts.get(parameter)
        return unknown("W", NOT_PUBLISHED) if f is None else _fact(f.value, f.basis, f.source, f.note)

    loaded = idle("loaded_idle")
    power = {"bare": idle("idle"), "loaded": loaded}
    for state in STATES:
        row, over = _row(device, state, "power"), _row(device, state, "power_over_loaded")
        if row is not None:
            power[state] = row.figure()
        elif over is not None:
            power[state] = loaded if loaded.value is None else over.figure(loaded.value)
    return tuple(IdleState(s, power[s], _wake(device, s, "wake_time"), _wake(device, s, "wake_energy")) for s in STATES)


def _fact(value: str, basis: str, source: str, note: str) -> Figure:
    return _StateRow(float(value), "W", basis, source, note).figure()


def _row(device: str, state: str, parameter: str) -> _StateRow | None:
    return _rows().get((device, state, parameter)) or _rows().get(("any", state, parameter))


def _wake(device: str, state: str, parameter: str) -> Figure:
    unit = "s" if parameter == "wake_time" else "J"
    if state in ("loaded", "context") and parameter == "wake_time":
        return Figure(0.0, "s", Basis.DECLARED) if state == "loaded" else unknown("s", NOT_PUBLISHED)
    row = _row(device, state, parameter)
    return unknown(unit, NOT_PUBLISHED) if row is None else row.figure()
