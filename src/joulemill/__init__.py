"""Joulemill: from joules to tokens.

    import joulemill as jm

    p = jm.predict("Qwen/Qwen3-32B", "h100", devices=2, concurrency=32)
    print(p.energy.node, p.bottleneck)

Importing this package loads nothing heavy: each name is imported when it is first used.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from joulemill.api import catalog, physics
    from joulemill.api.comparing import GateVerdict, RunComparison, compare, gate
    from joulemill.api.levers import LeverStudy, levers
    from joulemill.api.many import predict_many
    from joulemill.api.metering import MeteredWindow, Metering, meter
    from joulemill.api.prediction import PredictedDeployment, predict
    from joulemill.api.runs import Run, bench, open_run
    from joulemill.api.simulation import SimulatedDeployment, simulate
    from joulemill.api.validating import Calibration, PredictionErrors, calibrate, validate
    from joulemill.errors import InputError, JoulemillError, MachineError, ServerError
    from joulemill.figure import Basis, Figure
    from joulemill.physics.hardware.device import Device
    from joulemill.physics.hardware.site import Site

__version__ = "0.1.0"

#: Public name → the module that has it.
_HOMES = {
    "Basis": "figure",
    "Calibration": "api.validating",
    "Device": "physics.hardware.device",
    "Figure": "figure",
    "GateVerdict": "api.comparing",
    "InputError": "errors",
    "JoulemillError": "errors",
    "LeverStudy": "api.levers",
    "MachineError": "errors",
    "MeteredWindow": "api.metering",
    "Metering": "api.metering",
    "PredictedDeployment": "api.prediction",
    "PredictionErrors": "api.validating",
    "Run": "api.runs",
    "RunComparison": "api.comparing",
    "ServerError": "errors",
    "SimulatedDeployment": "api.simulation",
    "Site": "physics.hardware.site",
    "bench": "api.runs",
    "calibrate": "api.validating",
    "catalog": "api",
    "compare": "api.comparing",
    "gate": "api.comparing",
    "levers": "api.levers",
    "meter": "api.metering",
    "open_run": "api.runs",
    "physics": "api",
    "predict": "api.prediction",
    "predict_many": "api.many",
    "simulate": "api.simulation",
    "validate": "api.validating",
}

__all__ = [
    "Basis",
    "Calibration",
    "Device",
    "Figure",
    "GateVerdict",
    "InputError",
    "JoulemillError",
    "LeverStudy",
    "MachineError",
    "MeteredWindow",
    "Metering",
    "PredictedDeployment",
    "PredictionErrors",
    "Run",
    "RunComparison",
    "ServerError",
    "SimulatedDeployment",
    "Site",
    "bench",
    "calibrate",
    "catalog",
    "compare",
    "gate",
    "levers",
    "meter",
    "open_run",
    "physics",
    "predict",
    "predict_many",
    "simulate",
    "validate",
]


class _Package(ModuleType):
    """The package, whose public names stay what they are.

    ``bench``, ``catalog`` and ``physics`` are public names and packages inside this one. When one of these is imported,
    Python would put it in the public name's place.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType) and value.__name__ == f"{__name__}.{name}"):
            super().__setattr__(name, value)


def __getattr__(name: str) -> object:
    """A public name, imported at its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    value: object = getattr(home, name, None) or importlib.import_module(f"{home.__name__}.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


sys.modules[__name__].__class__ = _Package
