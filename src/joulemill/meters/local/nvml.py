"""NVML: NVIDIA boards, through nvidia-ml-py.

The board's energy counter comes first; power readings stand beside it (for the shape in time, and where there is no
counter). One physical board is counted once, by UUID, in MIG mode too: NVML gives energy of whole boards only. On a
superchip (Grace Hopper) the counter covers the whole module, CPU included; its channel ids then begin ``module-``
and :mod:`joulemill.meters.opening` refuses CPU rails beside it.

SPEC: ``nvml[:gpus=0+1][,count=8][,scope=gpu|board]``; ``scope=gpu`` takes a superchip's GPU power alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from joulemill.errors import InputError, MachineError
from joulemill.figure import Basis
from joulemill.ledger.record import Channel, Quantity, Reading, Scope
from joulemill.meters.cadence import infer_update_period
from joulemill.meters.local.nvidia_sensor import sampled_ratio
from joulemill.meters.local.nvml_processes import BoardSharing
from joulemill.meters.meter import Meter, MeterContext, Spec
from joulemill.meters.probe import Probe, ProbeMeter

#: Assumed half width at 95 % of the board's power sensor (and so of its counter): docs/measuring.md gives sources.
REL_ERROR = 0.05
#: Limits, clocks, temperature and throttle counters change slowly or accumulate; this keeps metering cheap.
SLOW_S = 1.0
#: How long the counter is watched at opening to learn its update period.
WATCH_S = 0.5
WATCH_STEP_S = 2e-3
_AMPERE = 7  # NVML_DEVICE_ARCH_AMPERE
_GA100 = ("A100", "A30", "A800", "GA100")


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One physical GPU board as NVML shows it; ``module`` when its counter covers a whole superchip."""

    handle: Any
    index: int
    uuid: str
    name: str
    module: bool
    mig: bool
    averaged: bool  # whether nvmlDeviceGetPowerUsage is a one-second average (Ampere and later, but GA100)


def open_meter(spec: Spec, context: MeterContext) -> Meter:
    """NVIDIA boards of this machine. Raises MachineError where there is no driver, board or expected count."""
    spec.without_target().only("gpus", "count", "scope")
    scope = spec.option("scope", "board", ("board", "gpu"))
    library = _library(context)
    try:
        boards = _chosen(find_boards(library), spec, context)
        probes = [p for b in boards for p in _supported(_board_probes(library, b, spec.text, scope, context))]
        powered = {p.channel.device for p in probes if p.channel.quantity in (Quantity.ENERGY, Quantity.POWER)}
        silent = [b for b in boards if b.uuid not in powered]
        if silent:
            raise MachineError(
                f"NVML shows {silent[0].name} ({silent[0].uuid}) but gives neither its energy nor its power "
                "(a vGPU or a passed-through board): meter the host, e.g. --meter prometheus:http://HOST:9400/metrics"
            )
    except BaseException:
        library.nvmlShutdown()
        raise
    period_s = _watched_period(probes, context)
    return ProbeMeter([_with_period(p, period_s) for p in probes], context, library.nvmlShutdown)


def find_boards(library: Any) -> tuple[Board, ...]:
    """Each physical board once, by UUID."""
    boards: dict[str, Board] = {}
    for index in range(library.nvmlDeviceGetCount()):
        handle = library.nvmlDeviceGetHandleByIndex(index)
        uuid, name = _str(library.nvmlDeviceGetUUID(handle)), _str(library.nvmlDeviceGetName(handle))
        c2c = _ask(library.nvmlDeviceGetC2cModeInfoV, handle)
        mig = _ask(library.nvmlDeviceGetMigMode, handle)
        modern = (_ask(library.nvmlDeviceGetArchitecture, handle) or 0) >= _AMPERE
        averaged = modern and not any(chip in name for chip in _GA100)
        module = c2c is not None and bool(c2c.isC2cEnabled)
        boards.setdefault(
            uuid,
            Board(
                handle=handle,
                index=index,
                uuid=uuid,
                name=name,
                module=module,
                mig=mig is not None and mig[0] == 1,
                averaged=averaged,
            ),
        )
    return tuple(boards.values())


def _library(context: MeterContext) -> Any:
    try:
        library = context.library("pynvml")
        library.nvmlInit()
    except Exception as error:  # NVMLError has no fixed class where the library itself did not load
        raise MachineError(
            f"no NVIDIA GPU to meter here ({error}): is the driver loaded? 'nvidia-smi' must work; in a container, "
            "start it with --gpus all; for a GPU elsewhere use --meter prometheus:http://HOST:9400/metrics"
        ) from error
    return library


def _chosen(boards: tuple[Board, ...], spec: Spec, context: MeterContext) -> tuple[Board, ...]:
    if not boards:
        raise MachineError("NVML works but shows no GPU: check 'nvidia-smi -L'")
    wanted = spec.several("gpus")
    chosen = tuple(b for b in boards if not wanted or {str(b.index), b.uuid} & set(wanted))
    missing = [w for w in wanted if not any(w in (str(b.index), b.uuid) for b in boards)]
    if missing:
        have = ", ".join(f"{b.index}={b.uuid}" for b in boards)
        raise InputError(f"`meter` {spec.text}: no GPU {', '.join(missing)}; there are {have}")
    count = spec.count()
    if count is not None and count != len(chosen):
        raise MachineError(f"`meter` {spec.text}: {count} GPUs expected, NVML shows {len(chosen)}; see 'nvidia-smi -L'")
    visible = context.environ.get("CUDA_VISIBLE_DEVICES")
    if visible and not wanted and len(visible.split(",")) < len(boards):
        context.notice(
            f"CUDA_VISIBLE_DEVICES={visible}, but all {len(boards)} GPU boards are metered; "
            f"--meter nvml:gpus={visible.replace(',', '+')} counts those alone"
        )
    return chosen


def _board_probes(library: Any, board: Board, spec: str, scope: str, context: MeterContext) -> Iterator[Probe]:
    module = board.module and scope == "board"
    mark = "module-" if module else ""
    what = "module (CPU, GPU and memory)" if module else "whole board" if not board.module else "GPU alone"
    note = f"{board.name}, {what}" + (", MIG mode: all slices together" if board.mig else "")
    known = Channel(
        id="",
        meter=spec,
        device=board.uuid,
        scope=Scope.DEVICE,
        quantity=Quantity.POWER,
        basis=Basis.MEASURED,
        resolution=1e-3,
        rel_error=REL_ERROR,
        source=note,
        sampled_ratio=sampled_ratio(board.name),
    )

    def channel(name: str, quantity: Quantity, source: str, includes: tuple[str, ...] = ()) -> Channel:
        inside = tuple(f"nvml:{board.uuid}:{mark}{i}" for i in includes)
        text = f"{source}; {note}"
        return replace(known, id=f"nvml:{board.uuid}:{mark}{name}", quantity=quantity, includes=inside, source=text)

    h = board.handle
    if module or not board.module:
        energy = channel(
            "energy", Quantity.ENERGY, "nvmlDeviceGetTotalEnergyConsumption", ("power-instant", "power-average")
        )
        yield Probe(energy, lambda: library.nvmlDeviceGetTotalEnergyConsumption(h) * 1e-3)
    power_scope = library.NVML_POWER_SCOPE_MODULE if module else library.NVML_POWER_SCOPE_GPU
    instant = (library.NVML_FI_DEV_POWER_INSTANT, power_scope)
    field = channel("power-instant", Quantity.POWER, "field 186, POWER_INSTANT", ("power-average",))
    yield Probe(field, lambda: _field(library, h, instant) * 1e-3)
    yield Probe(*_average_power(library, board, power_scope, channel))
    shared = ("foreign-use", Quantity.FOREIGN_USE, "nvmlDeviceGetProcessUtilization: share of other processes")
    sharing = BoardSharing(library, h, context)
    for name, quantity, source, read in [*_slow_facts(library, h), (*shared, sharing.foreign_ratio)]:
        fact = replace(channel(name, quantity, source), rel_error=None, resolution=None, sampled_ratio=None)
        yield Probe(fact, read, SLOW_S)
    if others := _ask(sharing.others):
        context.notice(
            f"{board.name} ({board.uuid}): process {', '.join(map(str, others))} also uses it; a board's energy "
            "cannot be split by process, so the interval of J/token includes their share. Stop them for a clean figure"
        )


def _average_power(
    library: Any, board: Board, power_scope: int, channel: Callable[[str, Quantity, str], Channel]
) -> tuple[Channel, Callable[[], float]]:
    h = board.handle
    period_s = 1.0 if board.averaged else None
    if board.module:
        average = (library.NVML_FI_DEV_POWER_AVERAGE, power_scope)
        power_channel = channel("power-average", Quantity.POWER, "field 185, POWER_AVERAGE, one-second average")
        return replace(power_channel, update_period_s=period_s), lambda: _field(library, h, average) * 1e-3
    source = "nvmlDeviceGetPowerUsage, " + ("one-second average" if board.averaged else "instantaneous")
    power_channel = channel("power-average", Quantity.POWER, source)
    return replace(power_channel, update_period_s=period_s), lambda: library.nvmlDeviceGetPowerUsage(h) * 1e-3


def _slow_facts(library: Any, h: Any) -> list[tuple[str, Quantity, str, Callable[[], float]]]:
    lib = library
    policy = lib.nvmlDeviceGetViolationStatus

    def field_ns(number: int) -> Callable[[], float]:
        return lambda: _field(lib, h, (number, lib.NVML_POWER_SCOPE_GPU)) * 1e-9

    return [
        (
            "power-limit",
            Quantity.POWER_LIMIT,
            "nvmlDeviceGetEnforcedPowerLimit",
            lambda: lib.nvmlDeviceGetEnforcedPowerLimit(h) * 1e-3,
        ),
        (
            "clock-sm",
            Quantity.CLOCK,
            "nvmlDeviceGetClockInfo",
            lambda: lib.nvmlDeviceGetClockInfo(h, lib.NVML_CLOCK_SM) * 1e6,
        ),
        (
            "temperature",
            Quantity.TEMPERATURE,
            "nvmlDeviceGetTemperature",
            lambda: lib.nvmlDeviceGetTemperature(h, lib.NVML_TEMPERATURE_GPU),
        ),
        (
            "utilization",
            Quantity.UTILIZATION,
            "nvmlDeviceGetUtilizationRates: share of time with a kernel running",
            lambda: lib.nvmlDeviceGetUtilizationRates(h).gpu * 1e-2,
        ),
        (
            "throttle-power",
            Quantity.THROTTLE_POWER,
            "nvmlDeviceGetViolationStatus POWER",
            lambda: policy(h, lib.NVML_PERF_POLICY_POWER).violationTime * 1e-9,
        ),
        (
            "throttle-thermal",
            Quantity.THROTTLE_THERMAL,
            "nvmlDeviceGetViolationStatus THERMAL",
            lambda: policy(h, lib.NVML_PERF_POLICY_THERMAL).violationTime * 1e-9,
        ),
        (
            "throttle-power-cap",
            Quantity.THROTTLE_POWER,
            "clocks event reason SW_POWER_CAP",
            field_ns(lib.NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_POWER_CAP),
        ),
        (
            "throttle-power-brake",
            Quantity.THROTTLE_POWER,
            "clocks event reason HW_POWER_BRAKE_SLOWDOWN",
            field_ns(lib.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN),
        ),
        (
            "throttle-thermal-sw",
            Quantity.THROTTLE_THERMAL,
            "clocks event reason SW_THERM_SLOWDOWN",
            field_ns(lib.NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN),
        ),
        (
            "throttle-thermal-hw",
            Quantity.THROTTLE_THERMAL,
            "clocks event reason HW_THERM_SLOWDOWN",
            field_ns(lib.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN),
        ),
    ]


def _field(library: Any, handle: Any, wanted: tuple[int, int]) -> float:
    """One field value; NVML reports the failure of one field inside the answer."""
    answer = library.nvmlDeviceGetFieldValues(handle, [wanted])[0]
    if answer.nvmlReturn != library.NVML_SUCCESS:
        raise library.NVMLError(answer.nvmlReturn)
    member = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")[answer.valueType]
    return float(getattr(answer.value, member))


def _supported(probes: Iterator[Probe]) -> Iterator[Probe]:
    """The probes that answer now; what a board does not support is no channel rather than an endless error."""
    for probe in probes:
        if _ask(probe.read) is not None:
            yield probe


def _watched_period(probes: list[Probe], context: MeterContext) -> float | None:
    """Poll one energy counter for a moment to learn how often it updates; None where it did not say."""
    counter = next((p for p in probes if p.channel.quantity is Quantity.ENERGY), None)
    if counter is None:
        return None
    clock = context.clock
    end = clock.mono() + WATCH_S
    readings: list[Reading] = []
    while clock.mono() < end:
        value = _ask(counter.read)
        readings.append(Reading(counter.channel.id, clock.mono(), clock.wall(), value))
        clock.sleep(WATCH_STEP_S)
    return infer_update_period(readings)


def _with_period(probe: Probe, period_s: float | None) -> Probe:
    if probe.channel.quantity is not Quantity.ENERGY or period_s is None:
        return probe
    return replace(probe, channel=replace(probe.channel, update_period_s=period_s))


def _ask(read: Callable[..., Any], *args: Any) -> Any:
    """The answer, or None where this board or driver does not support the question."""
    try:
        return read(*args)
    except Exception:  # the vendor's own exception class, and AttributeError of an older library
        return None


def _str(text: str | bytes) -> str:
    return text.decode() if isinstance(text, bytes) else text
