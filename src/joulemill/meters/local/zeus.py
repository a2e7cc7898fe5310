"""What Zeus's device layer reads and we do not: Apple silicon and Jetson boards, and what only its daemon may read.

``zeus`` or ``zeus:part=soc`` is this machine's system on chip; ``zeus:part=gpu`` and ``zeus:part=cpu`` are the boards
and packages that Zeus sees, with ``zeusd`` between where ``ZEUSD_SOCK_PATH`` is set (an unprivileged process then needs
no permission of its own). Its counters are in mJ. The extra ``joulemill[zeus]`` installs it.

Names and units: zeus 0.16, ``zeus.device`` (``get_soc``, ``get_gpus``, ``get_cpus``). SPEC:
``zeus[:part=soc|gpu|cpu]``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from joulemill.errors import MachineError
from joulemill.figure import Basis
from joulemill.ledger.record import Channel, Quantity, Scope
from joulemill.meters.meter import Meter, MeterContext, Spec
from joulemill.meters.probe import Probe, ProbeMeter

RESOLUTION_J = 1e-3
#: Assumed half width at 95 %: Apple publishes none for its power rails; a Jetson's INA3221 monitors are of this order.
SOC_REL_ERROR = 0.10
BOARD_REL_ERROR = 0.05

#: Field of a measurement → where it counts. Apple's are rails side by side; a Jetson's total holds its two others.
SOC_FIELDS = {
    "cpu_total_mj": Scope.CPU,
    "dram_mj": Scope.MEMORY,
    "gpu_mj": Scope.DEVICE,
    "gpu_sram_mj": Scope.DEVICE,
    "ane_mj": Scope.DEVICE,
    "cpu_energy_mj": Scope.CPU,
    "gpu_energy_mj": Scope.DEVICE,
    "total_energy_mj": Scope.NODE,
}
TOTAL = "total_energy_mj"


def open_meter(spec: Spec, context: MeterContext) -> Meter:
    """Zeus's sensors of one part. Raises MachineError where Zeus is not installed or sees none, with what to do."""
    spec.without_target().only("part")
    part = spec.option("part", "soc", ("soc", "gpu", "cpu"))
    try:
        probes = {"soc": _soc, "gpu": _gpus, "cpu": _cpus}[part](context.library("zeus.device"), spec)
    except ImportError as error:
        raise MachineError("Zeus is not installed: pip install 'joulemill[zeus]'") from error
    except Exception as error:  # Zeus's own classes, one for each thing that a machine may lack
        raise MachineError(
            f"`meter` {spec.text}: Zeus sees no {part} to meter here ({error}); boards and CPUs that "
            "nvml, amd and rapl read need no Zeus"
        ) from error
    if not probes:
        raise MachineError(f"`meter` {spec.text}: Zeus sees no {part} with an energy counter here")
    return ProbeMeter(probes, context)


def joules(answer: Any, field: str) -> float:
    """Field ``field`` [mJ] of a measurement as joules. Raises ValueError where it is absent (a lost sensor)."""
    value = getattr(answer, field, None)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{field} is {value!r}")
    return float(value) * 1e-3


def _soc(library: Any, spec: Spec) -> list[Probe]:
    soc = library.get_soc()
    first = soc.get_total_energy_consumption()
    fields = [f for f in SOC_FIELDS if getattr(first, f, None) is not None]
    inside = tuple(_id(f) for f in fields if f != TOTAL)
    return [
        Probe(
            _channel(
                _id(f),
                "soc" if f == TOTAL else f.removesuffix("_mj"),
                SOC_FIELDS[f],
                spec,
                includes=inside if f == TOTAL else (),
                rel_error=SOC_REL_ERROR,
            ),
            _reader(soc.get_total_energy_consumption, f),
        )
        for f in fields
    ]


def _gpus(library: Any, spec: Spec) -> list[Probe]:
    gpus = library.get_gpus()
    return [
        Probe(_channel(_id(f"gpu-{i}"), f"gpu-{i}", Scope.DEVICE, spec), _board_reader(gpus, i))
        for i in range(len(gpus))
        if gpus.supports_get_total_energy_consumption(i)
    ]


def _cpus(library: Any, spec: Spec) -> list[Probe]:
    cpus = library.get_cpus()
    probes: list[Probe] = []
    for i in range(len(cpus)):
        fields = {"cpu_mj": Scope.CPU}
        if cpus.supports_get_dram_energy_consumption(i):
            fields["dram_mj"] = Scope.MEMORY
        for field, scope in fields.items():
            name = f"package-{i}" if scope is Scope.CPU else f"package-{i}/dram"
            probes.append(Probe(_channel(_id(name), name, scope, spec), _package_reader(cpus, i, field)))
    return probes


def _reader(ask: Callable[[], Any], field: str) -> Callable[[], float]:
    return lambda: joules(ask(), field)


def _board_reader(gpus: Any, index: int) -> Callable[[], float]:
    return lambda: float(gpus.get_total_energy_consumption(index)) * 1e-3


def _package_reader(cpus: Any, index: int, field: str) -> Callable[[], float]:
    return lambda: joules(cpus.get_total_energy_consumption(index), field)


def _id(name: str) -> str:
    return f"zeus:{name}"


def _channel(
    channel: str,
    device: str,
    scope: Scope,
    spec: Spec,
    *,
    includes: tuple[str, ...] = (),
    rel_error: float = BOARD_REL_ERROR,
) -> Channel:
    return Channel(
        id=channel,
        meter=spec.text,
        device=device,
        scope=scope,
        quantity=Quantity.ENERGY,
        basis=Basis.MEASURED,
        resolution=RESOLUTION_J,
        rel_error=rel_error,
        includes=includes,
        source="zeus.device",
    )
