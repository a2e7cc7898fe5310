"""AMD boards through ROCm's Python library ``amdsmi``, where it is installed.

Its energy counter is wrong or missing on some boards and drivers, so it is watched against the board's own power for a
moment at opening and left out where the two differ by more than a factor of ten. Of an MI250's two dies the even one
reports both; the odd one reports nothing and is no channel. Not given to virtual machines.

SPEC: ``amd[:gpus=0+1][,count=8]``.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from typing import Any

from joulemill.errors import InputError, MachineError
from joulemill.figure import Basis
from joulemill.ledger.record import Channel, Quantity, Scope
from joulemill.meters.meter import Meter, MeterContext, Spec
from joulemill.meters.probe import Probe, ProbeMeter

#: Assumed half width at 95 %.
REL_ERROR = 0.05
WATCH_S = 0.5
#: Counter and power may differ by this factor while we watch; beyond it the counter is not believed.
PLAUSIBLE = (0.1, 10.0)
SLOW_S = 1.0


def open_meter(spec: Spec, context: MeterContext) -> Meter:
    """AMD boards of this machine. Raises MachineError where there is no library, board or expected count."""
    spec.without_target().only("gpus", "count")
    library = _library(context)
    try:
        handles = _chosen(library.amdsmi_get_processor_handles(), library, spec)
        probes = [p for h in handles for p in _board(library, h, spec, context)]
        boards = {p.channel.device for p in probes if p.channel.quantity in (Quantity.ENERGY, Quantity.POWER)}
        count = spec.count()
        if not boards:
            raise MachineError("amdsmi shows no board with power or energy; virtual machines are not given them")
        if count is not None and count != len(boards):
            raise MachineError(f"`meter` {spec.text}: {count} boards expected, amdsmi shows {len(boards)} with power")
    except BaseException:
        library.amdsmi_shut_down()
        raise
    return ProbeMeter(probes, context, library.amdsmi_shut_down)


def energy_j(answer: Any) -> float:
    """Joules in the answer of ``amdsmi_get_energy_count``: accumulator × resolution [µJ]. Raises ValueError.

    The accumulator was called ``power`` before ROCm 6.
    """
    ticks = answer.get("energy_accumulator", answer.get("power"))
    return _number(ticks) * _number(answer["counter_resolution"]) * 1e-6


def socket_power_w(answer: Any) -> float:
    """Watts in the answer of ``amdsmi_get_power_info``: the current power, else the average. Raises ValueError."""
    for name in ("current_socket_power", "socket_power", "average_socket_power"):
        value = answer.get(name)
        if isinstance(value, int | float) and 0 < value < 0xFFFF:  # all bits set means "not supported"
            return float(value)
    raise ValueError("no socket power")


def _chosen(handles: Sequence[Any], library: Any, spec: Spec) -> list[Any]:
    """The boards that ``gpus=`` names by index or UUID; all where it names none. Raises InputError."""
    wanted = spec.several("gpus")
    names = [(str(i), str(library.amdsmi_get_gpu_device_uuid(h)), h) for i, h in enumerate(handles)]
    missing = [w for w in wanted if not any(w in (i, uuid) for i, uuid, _ in names)]
    if missing:
        have = ", ".join(f"{i}={uuid}" for i, uuid, _ in names) or "none"
        raise InputError(f"`meter` {spec.text}: no GPU {', '.join(missing)}; there are {have}")
    return [h for i, uuid, h in names if not wanted or {i, uuid} & set(wanted)]


def _board(library: Any, handle: Any, spec: Spec, context: MeterContext) -> list[Probe]:
    uuid = str(library.amdsmi_get_gpu_device_uuid(handle))
    lib = library
    now = lib.AmdSmiTemperatureMetric.CURRENT
    power = Probe(
        _channel(uuid, "power", Quantity.POWER, spec, "amdsmi_get_power_info"),
        lambda: socket_power_w(lib.amdsmi_get_power_info(handle)),
    )
    counter = Probe(
        replace(
            _channel(uuid, "energy", Quantity.ENERGY, spec, "amdsmi_get_energy_count"),
            includes=(power.channel.id,),
            resolution=15.3e-6,
        ),
        lambda: energy_j(lib.amdsmi_get_energy_count(handle)),
    )
    facts = [
        _fact(
            uuid,
            "clock",
            Quantity.CLOCK,
            spec,
            lambda: _number(lib.amdsmi_get_clock_info(handle, lib.AmdSmiClkType.GFX)["clk"]) * 1e6,
        ),
        _fact(
            uuid,
            "temperature",
            Quantity.TEMPERATURE,
            spec,
            lambda: _number(lib.amdsmi_get_temp_metric(handle, lib.AmdSmiTemperatureType.HOTSPOT, now)),
        ),
        _fact(
            uuid,
            "utilization",
            Quantity.UTILIZATION,
            spec,
            lambda: _number(lib.amdsmi_get_gpu_activity(handle)["gfx_activity"]) * 1e-2,
        ),
    ]
    counters = [counter] if _believable(counter, power, context) else []
    return counters + [p for p in (power, *facts) if _answers(p)]


def _believable(counter: Probe, power: Probe, context: MeterContext) -> bool:
    """Whether the counter runs about as fast as the power says."""
    if not _answers(counter):
        return False
    if not _answers(power):
        return True
    before, start_s = counter.read(), context.clock.mono()
    watts = power.read()
    context.clock.sleep(WATCH_S)
    ratio = (counter.read() - before) / (context.clock.mono() - start_s) / watts
    if PLAUSIBLE[0] <= ratio <= PLAUSIBLE[1]:
        return True
    context.notice(
        f"{counter.channel.device}: its energy counter runs at {ratio:.3g} times its power and is not used; "
        "power readings are integrated instead"
    )
    return False


def _channel(uuid: str, name: str, quantity: Quantity, spec: Spec, source: str) -> Channel:
    return Channel(
        id=f"amd:{uuid}:{name}",
        meter=spec.text,
        device=uuid,
        scope=Scope.DEVICE,
        quantity=quantity,
        basis=Basis.MEASURED,
        rel_error=REL_ERROR,
        source=source,
    )


def _fact(uuid: str, name: str, quantity: Quantity, spec: Spec, read: Callable[[], float]) -> Probe:
    return Probe(replace(_channel(uuid, name, quantity, spec, "amdsmi"), rel_error=None), read, SLOW_S)


def _answers(probe: Probe) -> bool:
    try:
        probe.read()
    except Exception:  # the library's own exception classes, or "N/A" in the answer
        return False
    return True


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"amdsmi says {value!r}")
    return float(value)


def _library(context: MeterContext) -> Any:
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):  # it prints what the error says as well
            library = context.library("amdsmi")
            library.amdsmi_init()
    except Exception as error:  # not installed, no driver, no board
        raise MachineError(
            f"no AMD GPU to meter here ({error}): install ROCm's amdsmi for this Python "
            "(pip install /opt/rocm/share/amd_smi), or use AMD's device-metrics-exporter with --meter prometheus:URL"
        ) from error
    return library
