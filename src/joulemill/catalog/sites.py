"""Site files: a TOML of what is known about a facility → ``Site``; and cited reference values.

What is not known is left out or written "unknown"; nothing is guessed in its place.
"""

from __future__ import annotations

import csv
import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from joulemill.errors import InputError
from joulemill.figure import Basis
from joulemill.physics.site import ReferencePue, Site
from joulemill.units import parse_quantity

JOULE_PER_KWH = 3.6e6
SECOND_PER_HOUR = 3600.0
Power = float | str | None
#: Where the grid's carbon can be had (``joulemill.grid``).
CARBON_SOURCES = ("file", "electricitymaps", "watttime", "uk")
GRID_KINDS = ("average", "marginal")


@dataclass(frozen=True)
class CarbonSource:
    """Where the carbon of the grid over the run's window is to be had: ``carbon = {source = "…", zone = "…"}``.

    zone   zone of Electricity Maps, region of WattTime, "GB" or a region's number in the UK
    kind   average or marginal, where the source has both, and for a file, which does not say
    file   path from the site file;  emission_factors   lifecycle or direct;  url   another host of the same service
    """

    __pydantic_config__ = ConfigDict(extra="forbid", str_strip_whitespace=True)

    source: str
    zone: str | None = None
    kind: str | None = None
    file: str | None = None
    emission_factors: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class SiteFile:
    """A site as people write it: per kWh and per hour. Powers are watts, or text with a unit such as "40 kW".

    Converted to SI once, by ``to_site``. ``pue_basis`` is "declared" or "measured".
    """

    __pydantic_config__ = ConfigDict(extra="forbid", str_strip_whitespace=True)

    name: str | None = None
    pue: float | None = None
    pue_basis: str = "declared"
    it_power_limit: Power = None
    facility_power_limit: Power = None
    cooling_limit: Power = None
    carbon_gco2e_kwh: float | None = None
    carbon_kind: str | None = None
    carbon: CarbonSource | None = None
    embodied_gco2e_h: float | None = None
    embodied_source: str | None = None
    price_currency_kwh: float | None = None
    currency: str | None = None
    residual_currency_h: float | None = None
    residual_source: str | None = None
    water_l_kwh: float | None = None
    grid_water_l_kwh: float | None = None


KEYS = tuple(f.name for f in fields(SiteFile))


def load_site(path: Path | str) -> Site:
    """Read a site file (TOML; keys as in ``SiteFile``, at the top level or under ``[site]``).

    Raises InputError, naming the file and the key, for a file that cannot be read, an unknown key, a value of the
    wrong kind or one that cannot be (a PUE below 1).
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"site file {path}: {error}") from None
    inner = table.get("site")
    return parse_site(inner if isinstance(inner, dict) and len(table) == 1 else table, where=f"site file {path}")


def site_table(path: Path | str) -> dict[str, Any]:
    """A site file's table as written, for a manifest, after it was found to be a site; a carbon file's path whole.

    Raises InputError as ``load_site`` does.
    """
    load_site(path)
    table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    inner = table["site"] if isinstance(table.get("site"), dict) and len(table) == 1 else table
    carbon = inner.get("carbon")
    if isinstance(carbon, dict) and carbon.get("file"):
        inner = {**inner, "carbon": {**carbon, "file": str((Path(path).parent / str(carbon["file"])).resolve())}}
    return dict(inner)


def carbon_source(table: Mapping[str, Any]) -> CarbonSource | None:
    """Where the site of ``table`` has its carbon from; None where it names no source. Raises InputError."""
    inner = table["site"] if isinstance(table.get("site"), dict) and len(table) == 1 else table
    given = inner.get("carbon")
    if given is None or (isinstance(given, str) and given.strip().lower() in ("unknown", "")):
        return None
    try:
        return _checked_source(TypeAdapter(CarbonSource).validate_python(given))
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"carbon: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None


def _checked_source(found: CarbonSource) -> CarbonSource:
    if found.source not in CARBON_SOURCES:
        raise InputError(f"carbon: source is {found.source!r}; use one of {', '.join(CARBON_SOURCES)}")
    if found.kind is not None and found.kind not in GRID_KINDS:
        raise InputError(f"carbon: kind is {found.kind!r}; use average or marginal: they answer different questions")
    if found.source == "file" and (not found.file or not found.kind):
        raise InputError('carbon: a file needs file = "PATH" and kind = "average" or "marginal"')
    if found.source in ("electricitymaps", "watttime") and not found.zone:
        raise InputError(f"carbon: {found.source} needs a zone; without one it would guess from your address")
    if found.source in ("electricitymaps", "uk") and found.kind == "marginal":
        raise InputError(f"carbon: {found.source} has average carbon only; WattTime has marginal")
    return found


def parse_site(table: dict[str, Any], *, where: str = "site") -> Site:
    """A ``Site`` from the table of a site file. Raises InputError beginning with ``where``."""
    for key in table:
        if key not in KEYS:
            close = difflib.get_close_matches(key, KEYS, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]}?" if close else f"it knows {', '.join(KEYS)}"
            raise InputError(f"{where}: unknown key {key!r}; {hint}")
    known = {k: v for k, v in table.items() if not (isinstance(v, str) and v.strip().lower() in ("unknown", ""))}
    try:
        return to_site(TypeAdapter(SiteFile).validate_python(known), where)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else "?"
        raise InputError(
            f'{where}: {key} = {first["input"]!r}: {first["msg"].lower()}; write "unknown" where you do not know it'
        ) from None
    except InputError as error:
        raise InputError(str(error) if str(error).startswith(where) else f"{where}: {error}") from None


def to_site(given: SiteFile, where: str = "site") -> Site:
    """Convert to SI: per kWh → per J, per hour → per s, powers with units → W. Raises InputError."""
    if given.pue_basis not in (Basis.DECLARED, Basis.MEASURED):
        raise InputError(f'{where}: pue_basis is {given.pue_basis!r}; use "declared" or "measured"')
    if given.carbon is not None and given.carbon_gco2e_kwh is not None:
        raise InputError(f"{where}: carbon names a source and carbon_gco2e_kwh a value; keep one of them")
    if given.carbon is not None:
        _checked_source(given.carbon)
    return Site(
        name=given.name or "unnamed site",
        pue_ratio=given.pue,
        pue_basis=Basis(given.pue_basis),
        it_power_limit_w=_watt(given.it_power_limit, f"{where}: it_power_limit"),
        facility_power_limit_w=_watt(given.facility_power_limit, f"{where}: facility_power_limit"),
        cooling_limit_w=_watt(given.cooling_limit, f"{where}: cooling_limit"),
        carbon_gco2e_j=_per(given.carbon_gco2e_kwh, JOULE_PER_KWH),
        carbon_kind=given.carbon_kind,
        embodied_gco2e_s=_per(given.embodied_gco2e_h, SECOND_PER_HOUR),
        embodied_source=given.embodied_source,
        price_currency_j=_per(given.price_currency_kwh, JOULE_PER_KWH),
        currency=given.currency,
        residual_currency_s=_per(given.residual_currency_h, SECOND_PER_HOUR),
        residual_source=given.residual_source,
        water_l_j=_per(given.water_l_kwh, JOULE_PER_KWH),
        grid_water_l_j=_per(given.grid_water_l_kwh, JOULE_PER_KWH),
    )


def _watt(given: Power, name: str) -> float | None:
    return None if given is None else parse_quantity(str(given), "W", name=name)


def _per(value: float | None, divisor: float) -> float | None:
    return None if value is None else value / divisor


@cache
def reference_pues() -> tuple[ReferencePue, ...]:
    """Cited PUE values, to show what an unknown one could mean."""
    with (files(__package__) / "site_references.csv").open(encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["parameter"] == "pue"]
    return tuple(ReferencePue(r["name"], float(r["value"]), f"{r['source']}; {r['note']}") for r in rows)
