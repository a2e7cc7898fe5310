"""The catalog of devices: ``devices.csv`` (one fact a row) and ``device_names.csv`` → ``Device``.

Names come as people, drivers and clouds write them ("NVIDIA H100 80GB HBM3", "h100_sxm", "H100-SXM5-80GB"); a
device that is not in the catalog is described by the user in a TOML file of the same facts.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from joulemill.catalog.nearby_files import unreadable
from joulemill.errors import InputError
from joulemill.formats.toml_text import load_toml
from joulemill.physics.hardware.device import KINDS, WIDER, Device
from joulemill.suggestions import nearest
from joulemill.units import parse_quantity

#: parameter of the CSV → (field of Device, SI unit that the value is parsed to)
PARAMETERS: dict[str, tuple[str, str]] = {
    "memory": ("memory_byte", "B"),
    "memory_bandwidth": ("memory_bandwidth_byte_s", "B/s"),
    "link_bandwidth": ("link_bandwidth_byte_s", "B/s"),
    "link_domain": ("link_domain_count", "devices"),
    "scale_out_bandwidth": ("scale_out_bandwidth_byte_s", "B/s"),
    "tdp": ("tdp_w", "W"),
    "max_clock": ("max_clock_hz", "Hz"),
    "idle": ("idle_w", "W"),
    "loaded_idle": ("loaded_idle_w", "W"),
    "rated_power": ("rated_w", "W"),
    "l2": ("l2_byte", "B"),
    "sm": ("sm_count", "count"),
}
#: Unit → (least, most) that a board may have. Beyond them it is a slip of a prefix: 500 kW for 500 W.
BOUNDS: dict[str, tuple[float, float]] = {
    "B": (1e3, 1e15),
    "B/s": (1e6, 1e17),
    "W": (0.1, 20e3),
    "Hz": (1e7, 1e11),
    "flop/s": (1e6, 1e19),
    "devices": (1.0, 1e6),
    "count": (1.0, 1e7),
}
#: Memory of one device [byte], and its highest peak ÷ its memory bandwidth [flop/byte]; beyond them it is a slip of a
#: prefix in one of them. Assumed: from wafers of SRAM (2 to 6) and CPUs (about 60) to boards with FP4 (about 2,000).
MOST_MEMORY_BYTE = 16e12
BALANCE_FLOP_BYTE = (0.5, 10_000.0)
BASES = ("datasheet", "measured", "modelled", "assumed")
#: Digits of a count that are read: more say no other thing than "too many".
_DIGITS = 18
#: Words that tell nothing apart in a device's name.
NOISE = {
    "nvidia",
    "amd",
    "intel",
    "google",
    "aws",
    "apple",
    "geforce",
    "tesla",
    "instinct",
    "quadro",
    "gpu",
    "tensor",
    "core",
    "oam",
    "hbm",
    "hbm2",
    "hbm2e",
    "hbm3",
    "hbm3e",
    "gddr6",
    "processor",
    "r",
    "tm",
    "server",
    "workstation",
    "edition",
    "max",
    "q",
    "generation",
    "accelerator",
    "habana",
    "cloud",
    "ac",
    "platinum",
}


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One row of ``devices.csv``: a number with its unit, how it is known, and from where."""

    device: str
    parameter: str
    value: str
    unit: str
    basis: str
    source: str
    note: str


@cache
def facts() -> tuple[Fact, ...]:
    """All rows of the catalog."""
    with (files("joulemill.catalog") / "data" / "devices.csv").open(encoding="utf-8") as lines:
        return tuple(Fact(**row) for row in csv.DictReader(lines))


@cache
def _names() -> dict[str, dict[str, str]]:
    with (files("joulemill.catalog") / "data" / "device_names.csv").open(encoding="utf-8") as lines:
        return {row["device"]: row for row in csv.DictReader(lines)}


def device_names() -> tuple[str, ...]:
    """Canonical names of all devices, in the catalog's order."""
    return tuple(_names())


def device_aliases(name: str) -> tuple[str, ...]:
    """Other spellings that the catalog lists for the device of this canonical name."""
    return tuple(a for a in _names()[name]["aliases"].split(";") if a)


def device_facts(name: str) -> tuple[Fact, ...]:
    """The rows behind one device; ``name`` as in ``find_device``."""
    canonical = resolve_device_name(name)
    return tuple(f for f in facts() if f.device == canonical)


def find_device(name: str) -> Device:
    """The device called ``name``: a canonical name, an alias, a driver's string, or the path of a TOML file.

    Raises InputError with the nearest names where there is none.
    """
    if name.endswith(".toml"):
        return load_device(Path(name))
    return catalog_device(name)


def catalog_device(name: str) -> Device:
    """The device called ``name`` in the catalog; no file is opened. Raises InputError with the nearest names."""
    return _device(resolve_device_name(name))


def fact_unit(parameter: str) -> str | None:
    """The SI unit of a fact; None where it has none, or nothing is known of it."""
    unit = "flop/s" if parameter.startswith("peak_") else PARAMETERS.get(parameter, ("", ""))[1]
    return None if unit in ("", "count", "devices") else unit


@cache
def _device(canonical: str) -> Device:
    row = _names()[canonical]
    stated = {f.parameter: f"{f.value} {f.unit}" for f in facts() if f.device == canonical}
    return _build(canonical, row["label"], row["vendor"], row["kind"], stated)


def _build(name: str, label: str, vendor: str, kind: str, stated: Mapping[str, str]) -> Device:
    _refuse_unknown(name, stated)
    peaks: dict[str, float] = {}
    values: dict[str, Any] = {}
    for parameter, text in stated.items():
        where = f"device {name}: {parameter}"
        if parameter.startswith("peak_"):
            peaks[parameter.removeprefix("peak_")] = _fact_value(text, "flop/s", where)
        else:
            field, unit = PARAMETERS[parameter]
            values[field] = _fact_value(text, unit, where)
    missing = [p for p in ("memory", "memory_bandwidth") if PARAMETERS[p][0] not in values]
    if missing:
        raise InputError(
            f'device {name}: {" and ".join(missing)} missing; state it with its unit, e.g. memory = "80 GiB"'
        )
    _refuse_slips(name, peaks, values["memory_byte"], values["memory_bandwidth_byte_s"])
    return Device(name=name, label=label, vendor=vendor, kind=kind, peak_flop_s=peaks, **values)


def _refuse_slips(name: str, peaks: Mapping[str, float], memory_byte: float, bandwidth_byte_s: float) -> None:
    """Facts that may each be, but not together, or of no one device."""
    if memory_byte > MOST_MEMORY_BYTE:
        raise InputError(f"device {name}: memory of {memory_byte / 1e12:g} TB cannot be of one device; is it in GB?")
    least, most = BALANCE_FLOP_BYTE
    dtype = max(peaks, key=lambda d: peaks[d], default=None)
    if dtype is not None and not least <= peaks[dtype] / bandwidth_byte_s <= most:
        raise InputError(
            f"device {name}: peak_{dtype} of {peaks[dtype]:.4g} flop/s and memory_bandwidth of {bandwidth_byte_s:.4g} "
            f"byte/s cannot be of one device: {peaks[dtype] / bandwidth_byte_s:.3g} flop per byte, where {least:g} to "
            f"{most:,.0f} are believed; is one of them off by a prefix?"
        )


def _refuse_unknown(name: str, stated: Mapping[str, str]) -> None:
    known = (*PARAMETERS, *(f"peak_{dtype}" for dtype in WIDER))
    for parameter in stated:
        if parameter not in known:
            raise InputError(
                f"device {name}: {parameter} is not a fact of a device"
                f"{_nearest(parameter, known) or '; it knows ' + ', '.join(known)}"
            )


def _fact_value(text: str, unit: str, where: str) -> float:
    least, most = BOUNDS[unit]
    value = parse_quantity(text, unit, name=where)
    if not value > 0.0:
        raise InputError(f"{where}: {text} cannot be; it must be positive")
    return parse_quantity(text, unit, name=where, least=least, most=most)


def load_device(path: Path) -> Device:
    """A user's device from TOML: name, kind, optional vendor and label, and the facts of ``devices.csv``.

    Values are text with a unit: ``memory = "80 GiB"``, ``peak_bf16 = "989 Tflop/s"``; "unknown" leaves one out.
    Raises InputError for a file that cannot be read or a fact that is missing, unknown or impossible.
    """
    try:
        table = load_toml(path.read_bytes())
    except OSError as error:
        raise InputError(f"device file {path}: {unreadable(path, error)}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"device file {path}: {error}") from None
    return device_of_facts({"name": path.stem, **table}, f"device file {path}")


def device_of_facts(facts: Mapping[str, Any], where: str) -> Device:
    """A user's device from its table (see ``load_device``); ``where`` names the table in messages."""
    table = dict(facts)
    about = {
        k: str(table.pop(k, default))
        for k, default in (("name", "device"), ("label", ""), ("vendor", "unknown"), ("kind", ""))
    }
    if about["kind"] not in KINDS:
        stated = "is missing" if not about["kind"] else f"is {about['kind']!r}"
        raise InputError(f'{where}: kind {stated}; write kind = "gpu" (or {", ".join(k for k in KINDS if k != "gpu")})')
    stated_facts = {str(k): str(v) for k, v in table.items() if str(v).strip().lower() != "unknown"}
    return _build(about["name"], about["label"] or about["name"], about["vendor"], about["kind"], stated_facts)


@lru_cache(maxsize=4096)
def resolve_device_name(name: str) -> str:
    """Canonical name for ``name``. Raises InputError with suggestions."""
    index = _index()
    words = _words(name)
    without_size = [w for w in words if not re.fullmatch(r"\d+(gb|gib|g)", w)]
    for candidate in (name, " ".join(words), " ".join(without_size)):
        canonical = index.get(_compact(candidate))
        if canonical is not None:
            return canonical
    head, count = name_and_count(name)
    if count is not None and _compact(head) in index:
        raise InputError(
            f"device {name[:80]!r} states a count with the name; here, give them separately: {head}, {count}"
        )
    near = _nearest(name, (*_names(), *index))
    own = f"{' A' if near else '; a'} TOML file with its facts works too (`device=my.toml`)"
    raise InputError(f"device {name[:80]!r} is not in the catalog{near}{own}")


def name_and_count(text: str) -> tuple[str, int | None]:
    """``NAME[:COUNT]`` as name and count; None where none is stated.

    >>> name_and_count("h100:4"), name_and_count("c:/my.toml")
    (('h100', 4), ('c:/my.toml', None))
    """
    head, _, tail = text.rpartition(":")
    return (head, int(tail[:_DIGITS])) if head and tail.isascii() and tail.isdigit() else (text, None)


@cache
def _index() -> dict[str, str]:
    index: dict[str, str] = {}
    for device, row in _names().items():
        for alias in (device, row["label"], *row["aliases"].split(";")):
            index[_compact(alias)] = device
            index[_compact(" ".join(_words(alias)))] = device
    return index


def _words(name: str) -> list[str]:
    text = re.sub(
        r"\(r\)|\(tm\)|\d+-core|sxm\d", lambda m: "sxm" if m[0].lower().startswith("sxm") else " ", name, flags=re.I
    )
    return [w for w in re.split(r"[^a-z0-9+]+", text.lower()) if w and w not in NOISE]


def _compact(name: str) -> str:
    return re.sub(r"[^a-z0-9+]", "", name.lower())


def _nearest(word: str, known: tuple[str, ...]) -> str:
    names = list(dict.fromkeys(_index().get(c, c) for c in nearest(word, known, most=6)))[:4]
    return f"; did you mean {', '.join(names)}?" if names else ""


#: Fields of Device that come from facts, so that a new field without a parameter is noticed by a test.
FACT_FIELDS = tuple(f.name for f in fields(Device) if f.name not in ("name", "label", "vendor", "kind", "peak_flop_s"))
