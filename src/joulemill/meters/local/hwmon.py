"""Linux hwmon: power and energy sensors that a driver has put under /sys/class/hwmon.

What a sensor covers is known for a few drivers only: an ACPI power meter is the node, on NVIDIA Grace its label says
which part; ``amdgpu`` is the board; ``amd_energy`` a CPU socket. Any other is refused until the user says its scope.

SPEC: ``hwmon[:name=DRIVER][,label=TEXT][,scope=node|device|cpu|memory]``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from joulemill.errors import MachineError
from joulemill.figure import Basis
from joulemill.ledger.record import Channel, Quantity, Scope
from joulemill.meters.meter import Meter, MeterContext, Spec
from joulemill.meters.probe import Probe, ProbeMeter

#: Assumed half width at 95 % where a driver states none.
REL_ERROR = 0.05
#: Driver and label → scope. The first that fits is taken. Labels of Grace as its kernel driver shows them.
_KNOWN = (
    (r"power_meter", r"Module Power.*", Scope.NODE),
    (r"power_meter", r"Grace Power.*", Scope.CPU),
    (r"power_meter", r".+", None),  # a part of a part: inside one of the two above
    (r"power_meter", r"", Scope.NODE),
    (r"amdgpu", r".*", Scope.DEVICE),
    (r"amd_energy", r"Esocket\d+", Scope.CPU),
)


@dataclass(frozen=True, slots=True)
class Sensor:
    """One attribute: its file, its driver's name, its label ("" where it has none), its quantity and device."""

    path: Path
    driver: str
    label: str
    quantity: Quantity
    device: str

    @property
    def scope(self) -> Scope | None:
        """What it covers; None where that is not known."""
        for driver, label, scope in _KNOWN:
            if re.fullmatch(driver, self.driver) and re.fullmatch(label, self.label):
                return scope
        return None


def find_sensors(sysfs: Path) -> tuple[Sensor, ...]:
    """Every power (µW) and energy (µJ) attribute; of one sensor the average before the instant."""
    sensors: list[Sensor] = []
    for chip in sorted((sysfs / "class" / "hwmon").glob("hwmon*")):
        numbers = {m.group(1) for p in chip.glob("power*_*") if (m := re.match(r"power(\d+)_(average|input)$", p.name))}
        files = [(_first(chip, f"power{n}_average", f"power{n}_input"), f"power{n}", Quantity.POWER) for n in numbers]
        files += [(p, p.name.removesuffix("_input"), Quantity.ENERGY) for p in chip.glob("energy*_input")]
        driver = _text(chip / "name")
        device = (chip / "device").resolve().name if (chip / "device").exists() else chip.name
        for path, stem, quantity in sorted(files):
            label = _text(chip / f"{stem}_label") or _text(chip / f"{stem}_oem_info")
            sensors.append(Sensor(path, driver, label, quantity, f"{driver}-{device}"))
    return tuple(sensors)


def open_meter(spec: Spec, context: MeterContext) -> Meter:
    """The sensors that ``spec`` chooses. Raises MachineError where there are none of known scope."""
    spec.without_target().only("name", "label", "scope")
    driver, label = spec.option("name", ""), spec.option("label", "")
    stated = spec.option("scope", "", ("", "node", "device", "cpu", "memory"))
    everything = find_sensors(context.sysfs)
    chosen = [s for s in everything if driver in ("", s.driver) and label in ("", s.label)]
    usable = [(s, Scope(stated) if stated else s.scope) for s in chosen]
    probes = [_probe(s, scope, spec.text) for s, scope in usable if scope is not None]
    if not probes:
        sensor_names = ", ".join(sorted({f"{s.driver} {s.label}".strip() for s in everything})) or "none at all"
        raise MachineError(
            f"`meter` {spec.text}: no power sensor of known scope under /sys/class/hwmon (there are: {sensor_names}); "
            "say what one covers with name=DRIVER,label=TEXT,scope=node"
        )
    for probe in probes:
        _check_readable(probe, spec)
    return ProbeMeter(probes, context)


def _probe(sensor: Sensor, scope: Scope, spec: str) -> Probe:
    device = f"{sensor.device}/{sensor.label}" if sensor.label else sensor.device
    kind = "energy" if sensor.quantity is Quantity.ENERGY else "power"
    interval = _text(sensor.path.with_name(sensor.path.name.split("_")[0] + "_average_interval"))
    average = sensor.path.name.endswith("_average") and interval.isdigit()
    channel = Channel(
        id=f"hwmon:{device}:{kind}",
        meter=spec,
        device=device,
        scope=scope,
        quantity=sensor.quantity,
        basis=Basis.MEASURED,
        resolution=1e-6,
        update_period_s=int(interval) * 1e-3 if average else None,
        rel_error=REL_ERROR,
        includes=(f"hwmon:{device}:power",) if kind == "energy" else (),
        source=f"hwmon {sensor.driver} {sensor.path.name}; error assumed",
    )
    return Probe(channel, lambda: int(sensor.path.read_text()) * 1e-6)


def _check_readable(probe: Probe, spec: Spec) -> None:
    try:
        probe.read()
    except (OSError, ValueError) as error:
        raise MachineError(
            f"`meter` {spec.text}: {probe.channel.id} cannot be read: {error}; it may need root: chmod a+r the file"
        ) from error


def _first(folder: Path, *names: str) -> Path:
    return next(folder / n for n in names if (folder / n).exists())


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
