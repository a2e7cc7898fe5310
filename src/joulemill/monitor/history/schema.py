"""Tables of the history: raw intervals, their sums by five minutes and by hour, and totals that nothing prunes.

Sums are brought up to date in the transaction that adds an interval, so that no crash leaves them apart. ``of`` in a
sum's key is a target's number, or minus a group's number: a group is one model at one site, so that ninety days of a
model are some thousand rows however many targets serve it.
"""

from __future__ import annotations

#: Lengths of the sums' buckets [s].
BUCKETS_S = (300, 3600)
#: A bucket's columns that add up, and the unit of each.
SUMS = (
    *("observed_s", "unobserved_s", "idle_s", "known_idle_s", "prompt_tok", "cached_tok", "output_tok"),
    *("waited_ttft_s", "ttft_known_s", "waited_tpot_s", "tpot_known_s"),
)

_ADDING = ", ".join(f"{c} REAL NOT NULL DEFAULT 0" for c in SUMS)
#: ``output_tok``: made where these joules are known; J/token is their ratio, whatever else was made unmetered.
#: Half widths add up: what is wrong with a meter is wrong all day.
#: ``idle_j``, ``idle_s``: of it while no request ran.
_ENERGY = "energy_j REAL NOT NULL, half_width_j REAL, covered_s REAL NOT NULL, output_tok REAL NOT NULL, "
_ENERGY += "idle_j REAL NOT NULL, idle_s REAL NOT NULL"

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS target (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, facts TEXT NOT NULL, since_s REAL NOT NULL, last_end_s REAL
);
CREATE TABLE IF NOT EXISTS model_group (
    id INTEGER PRIMARY KEY, model TEXT NOT NULL, site TEXT NOT NULL, UNIQUE (model, site)
);
CREATE TABLE IF NOT EXISTS interval (
    id INTEGER PRIMARY KEY, target INTEGER NOT NULL REFERENCES target, start_s REAL NOT NULL, end_s REAL NOT NULL,
    observed INTEGER NOT NULL, reason TEXT, prompt_tok REAL, cached_tok REAL, output_tok REAL,
    running_count REAL, waiting_count REAL, kv_use_ratio REAL, ttft_s REAL, tpot_s REAL, idle_ratio REAL,
    binding TEXT, binding_probability_ratio REAL, phi_ratio REAL, utilization_ratio REAL, routes TEXT
);
CREATE INDEX IF NOT EXISTS interval_time ON interval (end_s);
CREATE INDEX IF NOT EXISTS interval_target ON interval (target, end_s);
CREATE TABLE IF NOT EXISTS interval_energy (
    interval INTEGER NOT NULL REFERENCES interval ON DELETE CASCADE, scope TEXT NOT NULL, basis TEXT NOT NULL,
    energy_j REAL NOT NULL, half_width_j REAL, covered_ratio REAL NOT NULL, PRIMARY KEY (interval, scope)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS interval_latency (
    interval INTEGER NOT NULL REFERENCES interval ON DELETE CASCADE, what TEXT NOT NULL, p50_s REAL, p90_s REAL,
    p99_s REAL, requests_count REAL NOT NULL, PRIMARY KEY (interval, what)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bucket (
    length_s INTEGER NOT NULL, of INTEGER NOT NULL, start_s INTEGER NOT NULL, {_ADDING},
    PRIMARY KEY (length_s, of, start_s)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bucket_energy (
    length_s INTEGER NOT NULL, of INTEGER NOT NULL, start_s INTEGER NOT NULL, scope TEXT NOT NULL, basis TEXT NOT NULL,
    {_ENERGY}, PRIMARY KEY (length_s, of, start_s, scope, basis)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bucket_binding (
    length_s INTEGER NOT NULL, of INTEGER NOT NULL, start_s INTEGER NOT NULL, binding TEXT NOT NULL,
    bound_s REAL NOT NULL, PRIMARY KEY (length_s, of, start_s, binding)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bucket_route (
    length_s INTEGER NOT NULL, of INTEGER NOT NULL, start_s INTEGER NOT NULL, route TEXT NOT NULL,
    output_tok REAL NOT NULL, PRIMARY KEY (length_s, of, start_s, route)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bucket_finding (
    length_s INTEGER NOT NULL, of INTEGER NOT NULL, start_s INTEGER NOT NULL, scope TEXT NOT NULL, code TEXT NOT NULL,
    refused INTEGER NOT NULL, text TEXT NOT NULL, found_s REAL NOT NULL,
    PRIMARY KEY (length_s, of, start_s, scope, code, refused)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS total (target INTEGER PRIMARY KEY REFERENCES target, {_ADDING});
CREATE TABLE IF NOT EXISTS total_energy (
    target INTEGER NOT NULL REFERENCES target, scope TEXT NOT NULL, basis TEXT NOT NULL, {_ENERGY},
    PRIMARY KEY (target, scope, basis)
) WITHOUT ROWID;
"""


#: Adds the time of a finding and keeps its newest text.
ADD_FINDING = (
    "INSERT INTO bucket_finding VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (length_s, of, start_s, scope, code, refused) "
    "DO UPDATE SET found_s = found_s + excluded.found_s, text = excluded.text"
)


def adding(table: str, key: tuple[str, ...], columns: tuple[str, ...]) -> str:
    """An INSERT that adds ``columns`` to the row of ``key`` where there is one."""
    names = (*key, *columns)
    sums = ", ".join(f"{c} = {c} + excluded.{c}" for c in columns)
    return (
        f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))}) "
        f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {sums}"
    )
