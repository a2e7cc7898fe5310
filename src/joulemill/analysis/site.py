"""The site of a run: as its manifest states it, with the grid's carbon over the run's window where that was had. Pure.

What was asked of the grid stands in the record as an event ``grid`` (the commands put it there), so the
analysis of a record needs no network and stays the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from joulemill.catalog.site_dialect import as_kept
from joulemill.catalog.sites import carbon_source, parse_site
from joulemill.errors import InputError
from joulemill.ledger.account import Account
from joulemill.ledger.manifest import Table
from joulemill.ledger.record import RunRecord
from joulemill.physics.hardware.carbon import GridPoint, time_weighted
from joulemill.physics.hardware.site import Site
from joulemill.wording import percent

EVENT = "grid"
#: The kind of the site file that a kind of signal answers to: the average of a grid is what counts by location.
_KINDS = {"average": "location", "marginal": "marginal"}


def run_site(record: RunRecord, counted: Account) -> Site | None:
    """The site; None where none is stated. Raises InputError where the manifest's table is no site."""
    site_table = record.manifest.site
    if not site_table:
        return None
    site = _kept_site(site_table)
    if carbon_source(dict(site_table)) is None:
        return site
    asked = next((e for e in reversed(record.events) if e.get("kind") == EVENT), None)
    return _with_grid(site, asked, wall_window(record, counted))


def _kept_site(site_table: Table) -> Site:
    try:
        return parse_site(as_kept(site_table), where="site of the run")
    except InputError as error:  # an older version let through what cannot be
        raise InputError(f"{error}; state the site again: joulemill report RUN --site FILE") from None


def wall_window(record: RunRecord, counted: Account) -> tuple[float, float] | None:
    """The window in Unix seconds, by the clocks of the load phase; None where there is none."""
    load, window = record.phase("load"), counted.window
    if load is None or window is None:
        return None
    offset = load.start_wall_s - load.start_mono_s
    return window.start_s + offset, window.end_s + offset


def _with_grid(site: Site, asked: Mapping[str, Any] | None, window: tuple[float, float] | None) -> Site:
    if asked is None:
        return replace(
            site, carbon_source="the grid service was not queried: joulemill report RUN --site FILE queries it"
        )
    if asked.get("error") or window is None:
        return replace(
            site, carbon_source=f"could not fetch grid carbon intensity: {asked.get('error') or 'no window'}"
        )
    points = [GridPoint(float(a), float(b), float(g)) for a, b, g in asked.get("points") or ()]
    mean = time_weighted(points, *window)
    named = f"{asked.get('source')} {asked.get('place')}"
    if mean is None:
        return replace(site, carbon_source=f"{named} has no values for the time of the run yet; ask again later")
    sources = [named, str(asked.get("signal_kind")), "time-weighted over the window", *asked.get("notes", ())]
    if mean.covered_ratio < 0.999:
        sources.append(f"values for {percent(mean.covered_ratio)} of it")
    kind = _KINDS.get(str(asked.get("signal_kind")))
    return replace(site, carbon_gco2e_j=mean.carbon_gco2e_j, carbon_kind=kind, carbon_source=", ".join(sources))
