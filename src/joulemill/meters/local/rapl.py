"""RAPL: the CPU's own energy counters, through Linux's powercap files.

Zones overlap, so each says what is already inside it: ``psys`` (the platform) holds every package and DRAM zone, a
package holds its cores and uncore, DRAM stands beside the package. ``rapl`` or ``rapl:scope=package`` counts packages
and DRAM; ``rapl:scope=psys`` counts the platform. The MMIO copies of a zone (``intel-rapl-mmio``) are the same energy.
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

#: Intel SDM vol. 3B, "Package RAPL Domain": counters update about every millisecond, default unit 2^-14 J.
UPDATE_PERIOD_S = 1e-3
RESOLUTION_J = 2.0**-14
#: Assumed half widths at 95 %. Intel has measured on chip since Haswell (Hackenberg et al., HPPAC 2015); AMD's Zen 2
#: counters are a model that misses what operand data does (Schöne et al., CLUSTER 2021, arXiv:2108.00808).
INTEL_REL_ERROR = 0.05
AMD_REL_ERROR = 0.15

PERMISSION_RECIPE = """\
until the next boot:  sudo chmod -R a+r /sys/class/powercap/*/energy_uj
for good, for one group:
  sudo groupadd -f power && sudo usermod -aG power $USER
  echo 'SUBSYSTEM=="powercap", ACTION=="add|change", KERNEL=="*rapl*:*", RUN+="/bin/chgrp power %S%p/energy_uj", \
RUN+="/bin/chmod g+r %S%p/energy_uj"' | sudo tee /etc/udev/rules.d/70-rapl.rules
  sudo udevadm control --reload && sudo udevadm trigger --action=change --subsystem-match=powercap
  (then log in again)
or let a service that runs as root serve it: node_exporter with --collector.rapl, read with --meter prometheus:URL"""

_KINDS = (
    (re.compile(r"^package-\d+(-die-\d+)?$"), Scope.CPU),
    (re.compile(r"^(core|uncore)$"), Scope.CPU),
    (re.compile(r"^dram$"), Scope.MEMORY),
    (re.compile(r"^psys$"), Scope.NODE),
)


@dataclass(frozen=True, slots=True)
class Zone:
    """A powercap zone: its directory, its ``name`` file, and the name of the package that it is a part of."""

    path: Path
    name: str
    parent: str | None

    @property
    def label(self) -> str:
        """Unique in the machine: ``package-0``, ``package-0/dram``, ``psys``."""
        return self.name if self.parent is None else f"{self.parent}/{self.name}"

    @property
    def scope(self) -> Scope | None:
        """None for a zone of a kind that is not counted."""
        return next((scope for pattern, scope in _KINDS if pattern.match(self.name)), None)


def find_zones(sysfs: Path) -> tuple[Zone, ...]:
    """Every zone of a known kind, once: a zone that MMIO shows again is taken from the MSR interface."""
    zones: dict[str, Zone] = {}
    root = sysfs / "class" / "powercap"
    paths = [*root.glob("intel-rapl:*"), *root.glob("intel-rapl:*/intel-rapl:*")]
    paths += [*root.glob("intel-rapl-mmio:*"), *root.glob("intel-rapl-mmio:*/intel-rapl-mmio:*")]
    names = {p.name: _text(p / "name") for p in paths}
    for path in sorted(paths, key=lambda p: (p.name.startswith("intel-rapl-mmio"), p.name)):
        name = names[path.name]
        prefix, *numbers = path.name.split(":")
        parent = names.get(f"{prefix}:{numbers[0]}") if len(numbers) > 1 else None
        zone = Zone(path, name or "", parent)
        if name and zone.scope is not None:
            zones.setdefault(zone.label, zone)
    return tuple(zones.values())


def open_meter(spec: Spec, context: MeterContext) -> Meter:
    """RAPL of this machine. Raises MachineError with what to do where there is none or it may not be read."""
    scope = spec.without_target().only("scope").option("scope", "package", ("package", "psys"))
    zones = find_zones(context.sysfs)
    if not zones:
        raise MachineError(_absent(context))
    _check_readable(zones)
    if scope == "psys" and not any(z.name == "psys" for z in zones):
        raise MachineError("`meter=rapl:scope=psys`: this machine has no psys zone; use rapl:scope=package")
    if scope == "package":
        zones = tuple(z for z in zones if z.name != "psys")
    amd = "AuthenticAMD" in _text(context.proc / "cpuinfo")
    return ProbeMeter([_probe(z, zones, spec.text, amd) for z in zones], context)


def _probe(zone: Zone, zones: tuple[Zone, ...], spec: str, amd: bool) -> Probe:
    limit = _text(zone.path / "max_energy_range_uj")
    channel = Channel(
        id=_id(zone),
        meter=spec,
        device=zone.label,
        scope=zone.scope or Scope.CPU,
        quantity=Quantity.ENERGY,
        basis=Basis.CALIBRATED if amd else Basis.MEASURED,
        resolution=RESOLUTION_J,
        update_period_s=UPDATE_PERIOD_S,
        max_range=int(limit) * 1e-6 if limit.isdigit() else None,
        rel_error=AMD_REL_ERROR if amd else INTEL_REL_ERROR,
        includes=tuple(_id(z) for z in zones if _inside(z, zone)),
        source=f"powercap {zone.path.name} ({zone.name}); "
        + ("AMD's on-chip energy model, error assumed" if amd else "Intel's on-chip meter, error assumed"),
    )
    return Probe(channel, lambda: int((zone.path / "energy_uj").read_text()) * 1e-6)


def _inside(part: Zone, whole: Zone) -> bool:
    """Whether the energy of ``part`` is already in ``whole``."""
    if whole.name == "psys":
        return part.name != "psys"
    return part.parent == whole.label and part.name in ("core", "uncore")


def _id(zone: Zone) -> str:
    return f"rapl:{zone.label}:energy"


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _check_readable(zones: tuple[Zone, ...]) -> None:
    for zone in zones:
        try:
            (zone.path / "energy_uj").read_text()
        except PermissionError as error:
            raise MachineError(
                f"RAPL is there but {zone.path / 'energy_uj'} may be read by root only: give the right to read it:\n"
                + PERMISSION_RECIPE
            ) from error
        except OSError as error:
            raise MachineError(f"RAPL zone {zone.label} cannot be read: {error}") from error


def _absent(context: MeterContext) -> str:
    if " hypervisor" in _text(context.proc / "cpuinfo"):
        return (
            "no RAPL: this is a virtual machine and its hypervisor hides the CPU's energy counters; "
            "meter the host, or state a power model with --meter declared:idle=…W,busy=…W"
        )
    return (
        "no RAPL zones under /sys/class/powercap; try 'sudo modprobe intel_rapl_msr' (Intel, or AMD from Zen), "
        "or state a power model with --meter declared:idle=…W,busy=…W"
    )
