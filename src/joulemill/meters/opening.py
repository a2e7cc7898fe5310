"""Opens the meters that the user asked for, and refuses those that would count a joule twice.

``auto`` takes what this machine has: GPU boards by NVML, the CPU by RAPL; where nothing can be measured it takes a
declared power model and says so. No sensor is never 0 J.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from joulemill.errors import InputError, JoulemillError, MachineError
from joulemill.formats.toml_text import load_toml
from joulemill.ledger.record import Channel, Quantity, Scope
from joulemill.meters.meter import Meter, MeterContext, Spec, parse_spec
from joulemill.meters.side_by_side import OPENING_S, JobTimeoutError, folded, together
from joulemill.suggestions import meant, nearest

#: Each family's module; it has ``open_meter(spec, context)`` and is imported when used.
FAMILIES = {
    "nvml": "joulemill.meters.local.nvml",
    "rapl": "joulemill.meters.local.rapl",
    "declared": "joulemill.meters.local.declared",
    "file": "joulemill.meters.files.logs",
    "replay": "joulemill.meters.replay",
    "prometheus": "joulemill.meters.network.prometheus",
    "trtllm": "joulemill.meters.network.trtllm",
    "redfish": "joulemill.meters.network.redfish",
    "ipmi": "joulemill.meters.network.ipmi",
    "snmp": "joulemill.meters.network.snmp",
    "amd": "joulemill.meters.local.amd",
    "hwmon": "joulemill.meters.local.hwmon",
    "zeus": "joulemill.meters.local.zeus",
}
_PCI_VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD"}


def open_meters(specs: Sequence[str], context: MeterContext, *, bound_s: float = OPENING_S) -> list[Meter]:
    """Every meter of ``specs``, side by side, or none: what was opened is closed again when one fails.

    A meter that is not open after ``bound_s`` has failed. What there is to say is said at the end, in the order of
    ``specs``, sentences that differ only in their source as one.
    """
    openings = [_Opening(parse_spec(text), context) for spec in specs for text in _expanded(spec)]
    outcomes = together({o: o.open for o in openings}, bound_s=bound_s, too_late=_close)
    for text in folded(t for o in openings for t in o.drain()):
        context.notice(text)
    meters = [m for outcome in outcomes.values() if not isinstance(outcome, Exception) for m in outcome]
    try:
        for opening, outcome in outcomes.items():
            if isinstance(outcome, JoulemillError):
                raise outcome
            if isinstance(outcome, Exception):
                raise _failure(opening.spec, outcome, bound_s) from outcome
        check_overlap([m.channels() for m in meters])
    except JoulemillError:
        _close(meters)
        raise
    return meters


def known_meter(text: str) -> None:
    """Raises InputError where ``text`` is no meter's SPEC by its name and form; nothing is opened."""
    for spec in map(parse_spec, _expanded(text)):
        if spec.name != "auto":
            _family(spec)


class _Opening:
    """One SPEC, to be opened in a thread. What it has to say meanwhile is kept; what its meters say later goes on."""

    def __init__(self, spec: Spec, context: MeterContext) -> None:
        self.spec, self._say = spec, context.notice
        self._kept: list[str] | None = []
        self._lock = threading.Lock()
        self._context = replace(context, notice=self._notice)

    def open(self) -> list[Meter]:
        """Its meters."""
        return _automatic(self.spec, self._context) if self.spec.name == "auto" else [_open(self.spec, self._context)]

    def drain(self) -> list[str]:
        """What was said until now; from here on nothing is kept."""
        with self._lock:
            kept, self._kept = self._kept or [], None
        return kept

    def _notice(self, text: str) -> None:
        with self._lock:
            if self._kept is not None:
                self._kept.append(text)
                return
        self._say(text)


def _failure(spec: Spec, error: Exception, bound_s: float) -> MachineError:
    if isinstance(error, JobTimeoutError):
        return MachineError(
            f"`meter` {spec.text} did not open within {bound_s:g} s; is it there, and can it be reached?"
        )
    logging.getLogger("joulemill.meters").debug("%s", spec.text, exc_info=error)
    return MachineError(f"`meter` {spec.text}: {type(error).__name__}: {str(error)[:200]}; please report this as a bug")


def _close(meters: Sequence[Meter]) -> None:
    for meter in meters:
        with suppress(Exception):  # another one must still be let go
            meter.close()


def _expanded(text: str) -> list[str]:
    """The SPECs of a TOML file (``meters = ["nvml", "redfish:https://bmc"]``), or ``text`` itself."""
    if not text.endswith(".toml"):
        return [text]
    try:
        table = load_toml(Path(text).read_bytes())
    except OSError as error:
        raise InputError(f"`meter` {text}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"`meter` {text}: {str(error)[:200]}") from error
    meters = table.get("meters")
    other = next((k for k in table if k != "meters"), None)
    if other is not None and nearest(other, ("meters",)):
        raise InputError(f"`meter` {text}: unknown key {other!r}; did you mean meters?")
    if other is not None or not isinstance(meters, list) or not all(isinstance(s, str) for s in meters):
        raise InputError(f'`meter` {text}: it must hold one line such as meters = ["nvml", "rapl"]')
    return meters


def _open(spec: Spec, context: MeterContext) -> Meter:
    meter: Meter = import_module(_family(spec)).open_meter(spec, context)
    return meter


def _family(spec: Spec) -> str:
    """The module of a SPEC's family."""
    module = FAMILIES.get(spec.name)
    if module is None:
        raise InputError(
            f"`meter` {spec.text}: no meter is called {spec.name!r}; {meant(spec.name, ('auto', *FAMILIES))}"
        )
    return module


def _automatic(spec: Spec, context: MeterContext) -> list[Meter]:
    spec.without_target().only()
    if not context.server_here:
        # Another machine's watts cannot be seen from here, and this one's are not the server's.
        context.notice(
            "the server runs on another machine, whose power this one cannot see, so joules stay unknown: name its "
            "meter, e.g. --meter prometheus:http://HOST:9400/metrics or --meter redfish:https://BMC"
        )
        return []
    meters: list[Meter] = []
    reasons: dict[str, str] = {}
    for text in candidates(context):
        if text == "rapl" and any(_covers_host(c) for m in meters for c in m.channels()):
            context.notice("RAPL is left out: the GPU module's counter holds the CPU's energy already")
            continue
        try:
            meters.append(_open(parse_spec(text), context))
        except MachineError as error:
            reasons[text] = str(error)
    _tell_missing(reasons, context, measured=bool(meters))
    if not meters and context.server_pid is not None and context.server_embedded:
        meters.append(_open(parse_spec("declared"), context))
    return meters


def candidates(context: MeterContext) -> tuple[str, ...]:
    """What ``auto`` tries here, in order: boards, the CPU, and the node's power meter where the kernel has one."""
    amd = ("amd",) if "AMD" in pci_gpus(context) else ()
    chips = (context.sysfs / "class" / "hwmon").glob("hwmon*/name")
    acpi = any(_first_line(p) == "power_meter" for p in chips)
    return ("nvml", *amd, "rapl", *(("hwmon:name=power_meter",) if acpi else ()))


def _first_line(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _tell_missing(reasons: dict[str, str], context: MeterContext, *, measured: bool) -> None:
    gpus = pci_gpus(context)
    for maker, name in (("NVIDIA", "nvml"), ("AMD", "amd")):
        if maker in gpus and name in reasons:
            context.notice(f"{gpus} on the PCI bus, but not metered: {reasons[name]}")
    if "rapl" in reasons and measured:
        context.notice(f"the host's CPU is not measured: {reasons['rapl']}")
    if not measured:
        context.notice(
            f"no energy sensor can be read here ({reasons.get('rapl', 'no RAPL')}), {_without_sensor(context)}; "
            "'joulemill doctor' says how to get a sensor"
        )


def _without_sensor(context: MeterContext) -> str:
    if context.server_pid is not None and context.server_embedded:
        return "so joules come from a power model with a wide interval and are labelled modelled"
    # What accelerators another server uses is not known: a model of this CPU would be a guess.
    return "so joules stay unknown; state a power model with --meter declared:idle=…W,busy=…W if an estimate suffices"


def pci_gpus(context: MeterContext) -> str:
    """What graphics or accelerator boards the PCI bus shows, as text ("2 NVIDIA GPUs"); "" for none."""
    counts: dict[str, int] = {}
    for device in (context.sysfs / "bus" / "pci" / "devices").glob("*"):
        try:
            maker = _PCI_VENDORS.get((device / "vendor").read_text().strip())
            kind = (device / "class").read_text().strip()
        except OSError:
            continue
        if maker and kind.startswith(("0x03", "0x12")):
            counts[maker] = counts.get(maker, 0) + 1
    return " and ".join(f"{n} {maker} GPU{'s' if n > 1 else ''}" for maker, n in counts.items())


def check_overlap(meters: Sequence[Sequence[Channel]]) -> None:
    """Raise InputError where two meters would count the same energy and nothing says which part is inside which."""
    channels = [c for group in meters for c in group]
    ids = [c.id for c in channels]
    twice = sorted({i for i in ids if ids.count(i) > 1})
    if twice:
        raise InputError(f"two meters read the same thing ({twice[0]}); give each `meter` once")
    powered = [c for c in channels if c.quantity in (Quantity.ENERGY, Quantity.POWER)]
    if any(_covers_host(c) for c in powered):
        host = next((c for c in powered if c.scope in (Scope.CPU, Scope.MEMORY)), None)
        if host is not None:
            raise InputError(
                f"{host.id} is already inside the GPU module's counter (a superchip's covers CPU and memory): "
                f"leave out `meter={host.meter}`, or meter the GPU alone with `meter=nvml:scope=gpu`"
            )
    model = next((c for c in powered if c.meter.startswith("declared") and c.scope is Scope.NODE), None)
    device = next((c for c in powered if c.scope is Scope.DEVICE), None)
    if model is not None and device is not None:
        raise InputError(
            f"`meter` {model.meter} models the whole node from CPU time, and {device.id} is measured inside it: "
            "say scope=cpu in the declared meter to model the host beside its devices"
        )


def _covers_host(channel: Channel) -> bool:
    """Whether the channel is a superchip's module counter, CPU included."""
    return ":module-" in channel.id
