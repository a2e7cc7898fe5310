"""Site files: a TOML of what is known about a facility → ``Site``; and cited reference values.

What is not known is left out or written "unknown"; nothing is guessed in its place.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from joulemill.catalog.nearby_files import unreadable
from joulemill.catalog.site_dialect import canonical, is_unknown
from joulemill.errors import InputError
from joulemill.figure import Basis
from joulemill.formats.toml_text import load_toml
from joulemill.physics.hardware.site import CARBON_KINDS, ReferencePue, Site
from joulemill.suggestions import meant
from joulemill.units import JOULE_PER_KWH

SECOND_PER_HOUR = 3600.0
#: Where the grid's carbon can be had (``joulemill.carbon``).
CARBON_SOURCES = ("file", "electricitymaps", "watttime", "uk")
GRID_KINDS = ("average", "marginal")


@dataclass(frozen=True)
class CarbonSource:
    """Where the carbon of the grid over the run's window is to be had: ``carbon = {source = "…", zone = "…"}``.

    zone   zone of Electricity Maps, region of WattTime, "GB" or a region's number in the UK
    kind   average or marginal, where the source has both, and for a file, which does not say
    file   path from the site file;  emission_factors   lifecycle or direct;  url   another host of the same service
    """

    __pydantic_config__ = {"extra": "forbid", "str_strip_whitespace": True}  # noqa: RUF012 (pydantic reads a dict)

    source: str
    zone: str | None = None
    kind: str | None = None
    file: str | None = None
    emission_factors: str | None = None
    url: str | None = None


CARBON_FIELDS = tuple(f.name for f in fields(CarbonSource))


@dataclass(frozen=True, kw_only=True)
class SiteFile:
    """A site as people write it: per kWh and per hour; powers in W. Converted to SI once, by ``to_site``.

    ``pue_basis`` is "declared" or "measured". ``*_by_hour_*``: 24 values, by hour of the day (UTC). ``meters`` are the
    SPECs of the site's own meters and ``feeds_count`` how many of them are added up: only the monitor uses these.
    """

    name: str | None = None
    pue: float | None = None
    pue_basis: str = "declared"
    it_power_limit: float | None = None
    facility_power_limit: float | None = None
    cooling_limit: float | None = None
    carbon_gco2e_kwh: float | None = None
    carbon_by_hour_gco2e_kwh: tuple[float, ...] | None = None
    carbon_kind: str | None = None
    carbon: CarbonSource | None = None
    embodied_gco2e_h: float | None = None
    embodied_source: str | None = None
    price_currency_kwh: float | None = None
    price_by_hour_currency_kwh: tuple[float, ...] | None = None
    currency: str | None = None
    residual_currency_h: float | None = None
    residual_source: str | None = None
    water_l_kwh: float | None = None
    grid_water_l_kwh: float | None = None
    meters: tuple[str, ...] = ()
    feeds_count: int | None = None


def load_site(path: Path | str) -> Site:
    """Read a site file (TOML; keys as in ``SiteFile``, at the top level or under ``[site]``).

    Raises InputError, naming the file and the key, for a file that cannot be read, an unknown key, a value of the
    wrong kind or one that cannot be (a PUE below 1).
    """
    return to_site(load_site_file(path), f"site file {path}")


def load_site_file(path: Path | str) -> SiteFile:
    """The same as people wrote it, with what only the monitor uses. Raises InputError."""
    where = f"site file {path}"
    table = _inner(_table(Path(path)))
    if not table:
        raise InputError(f'{where} says nothing; write what you know, e.g. pue = 1.3 and it_power_limit = "40 kW"')
    return site_file(table, where=where)


def _table(path: Path) -> dict[str, Any]:
    try:
        return load_toml(path.read_bytes())
    except OSError as error:
        raise InputError(f"site file {path}: {unreadable(path, error)}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"site file {path}: {error}") from None


def _inner(table: Mapping[str, Any]) -> dict[str, Any]:
    inner = table.get("site")
    return dict(inner if isinstance(inner, dict) and len(table) == 1 else table)


def site_file(table: Mapping[str, Any], *, where: str = "site") -> SiteFile:
    """A ``SiteFile`` from a table in the one dialect of sites: of a file, of a run, of ``[[site]]`` of the monitor.

    Raises InputError beginning with ``where``.
    """
    values = canonical(table, where)
    if "carbon" in values and "carbon_gco2e_kwh" in values:
        raise InputError(f"{where}: carbon names a source and carbon_gco2e_kwh a value; keep one of them")
    for key, choices in (("pue_basis", ("declared", "measured")), ("carbon_kind", CARBON_KINDS)):
        if values.get(key, choices[0]) not in choices:
            raise InputError(f"{where}: {key} is {values[key]!r}; {meant(str(values[key]), choices)}")
    if "carbon" in values:
        values["carbon"] = _source(values["carbon"], where)
    return SiteFile(**values)


def site_table(path: Path | str) -> dict[str, Any]:
    """A site file's table as written, for a manifest, after it was found to be a site; a carbon file's path whole.

    Raises InputError as ``load_site`` does.
    """
    load_site(path)
    inner = _inner(_table(Path(path)))
    carbon = inner.get("carbon")
    if isinstance(carbon, dict) and carbon.get("file"):
        inner["carbon"] = {**carbon, "file": str((Path(path).parent / str(carbon["file"])).resolve())}
    return inner


def carbon_source(table: Mapping[str, Any]) -> CarbonSource | None:
    """Where the site of ``table`` has its carbon from; None where it names no source. Raises InputError."""
    stated = _inner(table).get("carbon")
    return None if is_unknown(stated) else _source(stated, "site")


def _source(stated: Any, where: str) -> CarbonSource:
    from pydantic import TypeAdapter, ValidationError  # slow to import, and few sites name a source

    stray = next((k for k in stated if k not in CARBON_FIELDS), None) if isinstance(stated, Mapping) else None
    if stray is not None:
        raise InputError(f"{where}: unknown key carbon.{stray}; {meant(str(stray), CARBON_FIELDS)}")
    try:
        return _checked_source(TypeAdapter(CarbonSource).validate_python(stated))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(("carbon", *map(str, first["loc"])))
        raise InputError(
            f'{where}: {key}: write it like carbon = {{source = "electricitymaps", zone = "DE"}}'
        ) from None
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _checked_source(source: CarbonSource) -> CarbonSource:
    if source.source not in CARBON_SOURCES:
        raise InputError(f"carbon: source is {source.source!r}; {meant(source.source, CARBON_SOURCES)}")
    if source.kind is not None and source.kind not in GRID_KINDS:
        raise InputError(f"carbon: kind is {source.kind!r}; use average or marginal: they answer different questions")
    if source.source == "file" and (not source.file or not source.kind):
        raise InputError('carbon: a file needs file = "PATH" and kind = "average" or "marginal"')
    if source.source in ("electricitymaps", "watttime") and not source.zone:
        raise InputError(f"carbon: {source.source} needs a zone; without one it would guess from your address")
    if source.source in ("electricitymaps", "uk") and source.kind == "marginal":
        raise InputError(f"carbon: {source.source} has average carbon only; WattTime has marginal")
    return source


def parse_site(table: Mapping[str, Any], *, where: str = "site") -> Site:
    """A ``Site`` from the table of a site file. Raises InputError beginning with ``where``."""
    return to_site(site_file(table, where=where), where)


def to_site(stated: SiteFile, where: str = "site") -> Site:
    """Convert to SI: per kWh → per J, per hour → per s. Raises InputError beginning with ``where``."""
    try:
        return Site(
            name=stated.name or "unnamed site",
            pue_ratio=stated.pue,
            pue_basis=Basis(stated.pue_basis),
            it_power_limit_w=stated.it_power_limit,
            facility_power_limit_w=stated.facility_power_limit,
            cooling_limit_w=stated.cooling_limit,
            carbon_gco2e_j=_per(stated.carbon_gco2e_kwh, JOULE_PER_KWH),
            carbon_kind=stated.carbon_kind,
            embodied_gco2e_s=_per(stated.embodied_gco2e_h, SECOND_PER_HOUR),
            embodied_source=stated.embodied_source,
            price_currency_j=_per(stated.price_currency_kwh, JOULE_PER_KWH),
            currency=stated.currency,
            residual_currency_s=_per(stated.residual_currency_h, SECOND_PER_HOUR),
            residual_source=stated.residual_source,
            water_l_j=_per(stated.water_l_kwh, JOULE_PER_KWH),
            grid_water_l_j=_per(stated.grid_water_l_kwh, JOULE_PER_KWH),
        )
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _per(value: float | None, divisor: float) -> float | None:
    return None if value is None else value / divisor


@cache
def reference_pues() -> tuple[ReferencePue, ...]:
    """Cited PUE values, to show what an unknown one could mean."""
    with (files("joulemill.catalog") / "data" / "site_references.csv").open(encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["parameter"] == "pue"]
    return tuple(ReferencePue(r["name"], float(r["value"]), f"{r['source']}; {r['note']}") for r in rows)
