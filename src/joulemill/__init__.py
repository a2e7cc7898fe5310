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
    from joulemill.api.auditing import Audit, audit
    from joulemill.api.benching import bench
    from joulemill.api.comparing import GatePlan, GateVerdict, RunComparison, compare, gate, gate_plan
    from joulemill.api.history import MonitorHistory, open_history
    from joulemill.api.levers import LeverStudy, levers
    from joulemill.api.machine import Examination, doctor
    from joulemill.api.many import predict_many
    from joulemill.api.metering import MeteredWindow, Metering, meter
    from joulemill.api.monitoring import MonitorResult, watch
    from joulemill.api.planning import FleetPlan, plan
    from joulemill.api.prediction import MemoryShort, PredictedDeployment, predict
    from joulemill.api.runs import Baseline, Run, import_run, open_baseline, open_run, save_baseline
    from joulemill.api.series import (
        LeverExperiment,
        RateSearchResult,
        Sweep,
        find_rate,
        measure_levers,
        open_series,
        probe,
        sweep,
    )
    from joulemill.api.simulation import SimulatedDeployment, simulate
    from joulemill.api.validating import Calibration, PredictionErrors, Scales, calibrate, fit_scales, validate
    from joulemill.errors import InputError, JoulemillError, MachineError, ServerError
    from joulemill.figure import Basis, Figure
    from joulemill.physics.hardware.device import Device
    from joulemill.physics.hardware.site import Site
    from joulemill.version import __version__

#: Public name → the module that has it.
_HOMES = {
    "Audit": "api.auditing",
    "Baseline": "api.runs",
    "Basis": "figure",
    "Calibration": "api.validating",
    "Device": "physics.hardware.device",
    "Examination": "api.machine",
    "Figure": "figure",
    "FleetPlan": "api.planning",
    "GatePlan": "api.comparing",
    "GateVerdict": "api.comparing",
    "InputError": "errors",
    "JoulemillError": "errors",
    "MonitorHistory": "api.history",
    "LeverExperiment": "api.series",
    "LeverStudy": "api.levers",
    "MachineError": "errors",
    "MemoryShort": "api.prediction",
    "MeteredWindow": "api.metering",
    "Metering": "api.metering",
    "PredictedDeployment": "api.prediction",
    "PredictionErrors": "api.validating",
    "RateSearchResult": "api.series",
    "Run": "api.runs",
    "RunComparison": "api.comparing",
    "Scales": "api.validating",
    "ServerError": "errors",
    "SimulatedDeployment": "api.simulation",
    "Site": "physics.hardware.site",
    "Sweep": "api.series",
    "MonitorResult": "api.monitoring",
    "__version__": "version",
    "audit": "api.auditing",
    "bench": "api.benching",
    "calibrate": "api.validating",
    "catalog": "api",
    "compare": "api.comparing",
    "doctor": "api.machine",
    "find_rate": "api.series",
    "fit_scales": "api.validating",
    "gate": "api.comparing",
    "gate_plan": "api.comparing",
    "import_run": "api.runs",
    "levers": "api.levers",
    "measure_levers": "api.series",
    "meter": "api.metering",
    "open_baseline": "api.runs",
    "open_history": "api.history",
    "open_run": "api.runs",
    "open_series": "api.series",
    "physics": "api",
    "plan": "api.planning",
    "predict": "api.prediction",
    "predict_many": "api.many",
    "probe": "api.series",
    "save_baseline": "api.runs",
    "simulate": "api.simulation",
    "sweep": "api.series",
    "validate": "api.validating",
    "watch": "api.monitoring",
}

__all__ = [
    "Audit",
    "Baseline",
    "Basis",
    "Calibration",
    "Device",
    "Examination",
    "Figure",
    "FleetPlan",
    "GatePlan",
    "GateVerdict",
    "InputError",
    "JoulemillError",
    "LeverExperiment",
    "LeverStudy",
    "MachineError",
    "MemoryShort",
    "MeteredWindow",
    "Metering",
    "MonitorHistory",
    "MonitorResult",
    "PredictedDeployment",
    "PredictionErrors",
    "RateSearchResult",
    "Run",
    "RunComparison",
    "Scales",
    "ServerError",
    "SimulatedDeployment",
    "Site",
    "Sweep",
    "__version__",
    "audit",
    "bench",
    "calibrate",
    "catalog",
    "compare",
    "doctor",
    "find_rate",
    "fit_scales",
    "gate",
    "gate_plan",
    "import_run",
    "levers",
    "measure_levers",
    "meter",
    "open_baseline",
    "open_history",
    "open_run",
    "open_series",
    "physics",
    "plan",
    "predict",
    "predict_many",
    "probe",
    "save_baseline",
    "simulate",
    "sweep",
    "validate",
    "watch",
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
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=sys.modules[__name__])
    home = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    value: object = getattr(home, name, None) or importlib.import_module(f"{home.__name__}.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


sys.modules[__name__].__class__ = _Package
