"""Sites in the history: stretches of their own meters, sums by five minutes and by hour, and totals."""

from __future__ import annotations

import sqlite3

from joulemill.monitor.history.rows import checked, finite, split
from joulemill.monitor.history.schema import BUCKETS_S, adding
from joulemill.monitor.snapshot import SiteStretch, StoredSite

#: ``site_pue``: both sides of stretches whose PUE was measured; PUE over any time is the ratio of their sums.
SITE_SCHEMA = """
CREATE TABLE IF NOT EXISTS site_stretch (
    id INTEGER PRIMARY KEY, site TEXT NOT NULL, start_s REAL NOT NULL, end_s REAL NOT NULL, targets_count INTEGER,
    it_j REAL, it_half_width_j REAL, pue_ratio REAL, pue_low_ratio REAL, pue_high_ratio REAL, pue_basis TEXT,
    reason TEXT
);
CREATE INDEX IF NOT EXISTS site_stretch_time ON site_stretch (end_s);
CREATE TABLE IF NOT EXISTS site_stretch_energy (
    stretch INTEGER NOT NULL REFERENCES site_stretch ON DELETE CASCADE, scope TEXT NOT NULL, basis TEXT NOT NULL,
    energy_j REAL NOT NULL, half_width_j REAL, covered_ratio REAL NOT NULL, PRIMARY KEY (stretch, scope)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS site_bucket (
    length_s INTEGER NOT NULL, site TEXT NOT NULL, start_s INTEGER NOT NULL, scope TEXT NOT NULL, basis TEXT NOT NULL,
    energy_j REAL NOT NULL, half_width_j REAL, covered_s REAL NOT NULL,
    PRIMARY KEY (length_s, site, start_s, scope, basis)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS site_pue (
    length_s INTEGER NOT NULL, site TEXT NOT NULL, start_s INTEGER NOT NULL, site_j REAL NOT NULL,
    site_half_width_j REAL, it_j REAL NOT NULL, it_half_width_j REAL, known_s REAL NOT NULL,
    PRIMARY KEY (length_s, site, start_s)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS site_total (
    site TEXT NOT NULL, scope TEXT NOT NULL, basis TEXT NOT NULL, since_s REAL NOT NULL, energy_j REAL NOT NULL,
    PRIMARY KEY (site, scope, basis)
) WITHOUT ROWID;
"""
SITE_BUCKETS = ("site_bucket", "site_pue")

_ENERGY = ("energy_j", "half_width_j", "covered_s")
_PUE = ("site_j", "site_half_width_j", "it_j", "it_half_width_j", "known_s")
_ADD_BUCKET = adding("site_bucket", ("length_s", "site", "start_s", "scope", "basis"), _ENERGY)
_ADD_PUE = adding("site_pue", ("length_s", "site", "start_s"), _PUE)
_ADD_TOTAL = (
    "INSERT INTO site_total VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (site, scope, basis) DO UPDATE SET energy_j = energy_j + excluded.energy_j"
)


def note_time(db: sqlite3.Connection, length_s: int, start_s: int) -> None:
    """Remember that sums of this time were written, and in which order times came."""
    db.execute("INSERT OR IGNORE INTO bucket_time (length_s, start_s) VALUES (?, ?)", (length_s, start_s))


def add_stretch(db: sqlite3.Connection, s: SiteStretch) -> None:
    """Keep one stretch with its sums, in the transaction that is open."""
    it = (None, None) if s.it is None else (s.it.energy_j, s.it.half_width_j)
    basis = None if s.pue.basis is None else s.pue.basis.value
    checked(s.start_s, s.end_s)
    finite(
        x
        for e in (*s.energy.values(), *([s.it] if s.it else ()))
        for x in (e.energy_j, e.half_width_j, e.covered_ratio)
    )
    values = (s.site, s.start_s, s.end_s, s.targets_count, *it, s.pue.value, s.pue.low, s.pue.high, basis, s.pue.reason)
    added = db.execute(f"INSERT INTO site_stretch VALUES (NULL{', ?' * len(values)})", values).lastrowid
    for e in s.energy.values():
        db.execute(
            "INSERT INTO site_stretch_energy VALUES (?, ?, ?, ?, ?, ?)",
            (added, e.scope, e.basis, e.energy_j, e.half_width_j, e.covered_ratio),
        )
        db.execute(_ADD_TOTAL, (s.site, e.scope, e.basis, s.start_s, e.energy_j))
    for length_s in BUCKETS_S:
        for start_s, share in split(s.start_s, s.end_s, length_s):
            note_time(db, length_s, start_s)
            _sum(db, s, (length_s, s.site, start_s), share)


def _sum(db: sqlite3.Connection, s: SiteStretch, key: tuple[int, str, int], share: float) -> None:
    for e in s.energy.values():
        amounts = (e.energy_j, e.half_width_j, e.covered_ratio * s.duration_s)
        db.execute(_ADD_BUCKET, (*key, e.scope, e.basis, *(None if x is None else share * x for x in amounts)))
    if s.pue.known and s.it is not None:
        site = s.energy["site"]
        sides = (site.energy_j, site.half_width_j, s.it.energy_j, s.it.half_width_j, s.duration_s)
        db.execute(_ADD_PUE, (*key, *(None if x is None else share * x for x in sides)))


def site_totals(db: sqlite3.Connection) -> dict[str, StoredSite]:
    """Every site's sums as they stand in the file."""
    since: dict[str, float] = {}
    joules: dict[str, dict[tuple[str, str], float]] = {}
    for site, scope, basis, since_s, energy_j in db.execute("SELECT * FROM site_total"):
        since[site] = min(since.get(site, since_s), since_s)
        joules.setdefault(site, {})[scope, basis] = energy_j
    return {site: StoredSite(since[site], joules[site]) for site in joules}
