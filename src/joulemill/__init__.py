"""Joulemill: from joules to tokens.

    import joulemill as jm

    p = jm.predict("Qwen/Qwen3-32B", "h100", devices=2, concurrency=32)
    print(p.energy.node, p.bottleneck)

Importing this package loads nothing heavy: each name is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from joulemill.api.levers import LeverStudy, levers
    from joulemill.api.metering import MeteredWindow, Metering, meter
    from joulemill.api.prediction import PredictedDeployment, predict
    from joulemill.errors import InputError, JoulemillError, MachineError, ServerError
    from joulemill.figure import Basis, Figure
    from joulemill.physics.hardware.device import Device
    from joulemill.physics.hardware.site import Site

__version__ = "0.1.0"

#: Public name → the module that has it.
_HOMES = {
    "Basis": "figure",
    "Device": "physics.hardware.device",
    "Figure": "figure",
    "InputError": "errors",
    "JoulemillError": "errors",
    "LeverStudy": "api.levers",
    "MachineError": "errors",
    "MeteredWindow": "api.metering",
    "Metering": "api.metering",
    "PredictedDeployment": "api.prediction",
    "ServerError": "errors",
    "Site": "physics.hardware.site",
    "levers": "api.levers",
    "meter": "api.metering",
    "predict": "api.prediction",
}

__all__ = [
    "Basis",
    "Device",
    "Figure",
    "InputError",
    "JoulemillError",
    "LeverStudy",
    "MachineError",
    "MeteredWindow",
    "Metering",
    "PredictedDeployment",
    "ServerError",
    "Site",
    "levers",
    "meter",
    "predict",
]


def __getattr__(name: str) -> object:
    """A public name, imported at its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
