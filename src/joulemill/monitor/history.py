"""What the monitor keeps: one SQLite file, safe against a crash, bounded in size, open to SQL.

Every interval is written once, with its sums, in one transaction: after a crash it is there or it is not. Raw intervals
are kept for a while, five-minute sums for longer, hourly ones longest; the totals of a target are never pruned. Where
the file would grow beyond its bound, the oldest and finest goes first. ``docs/decisions/monitor-store.md`` says why it
is SQLite.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from joulemill.errors import InputError
from joulemill.monitor.history_rows import Row, rows_of, split
from joulemill.monitor.history_schema import ADD_FINDING, BUCKETS_S, SCHEMA, SUMS, adding
from joulemill.monitor.history_sites import SITE_BUCKETS, SITE_SCHEMA, StoredSite, add_stretch, site_totals
from joulemill.monitor.snapshot import Interval, SiteStretch, TargetFacts, TokenKind

DAY_S = 86_400.0
#: How long five-minute and hourly sums are kept [s]; a choice, not a fact.
KEPT_S = {300: 14 * DAY_S, 3600: 400 * DAY_S}
#: Intervals between two prunings.
PRUNE_EVERY = 20_000
#: Share of the rows of one kind that goes where the file is too large.
PRUNED_SHARE = 0.2

_ENERGY = ("energy_j", "half_width_j", "covered_s", "output_tok", "idle_j", "idle_s")
_BUCKET = ("length_s", "of", "start_s")
_ADD_BUCKET = adding("bucket", _BUCKET, SUMS)
_ADD_ENERGY = adding("bucket_energy", (*_BUCKET, "scope", "basis"), _ENERGY)
_ADD_BINDING = adding("bucket_binding", (*_BUCKET, "binding"), ("bound_s",))
_ADD_ROUTE = adding("bucket_route", (*_BUCKET, "route"), ("output_tok",))
_ADD_TOTAL = adding("total", ("target",), SUMS)
_ADD_TOTAL_ENERGY = adding("total_energy", ("target", "scope", "basis"), _ENERGY)


@dataclass(frozen=True, slots=True)
class StoredTotals:
    """A target's sums since the first interval; keys of ``energy_j`` as in ``TargetState``."""

    since_s: float
    last_end_s: float
    unobserved_s: float
    tokens: Mapping[TokenKind, float] = field(default_factory=dict)
    energy_j: Mapping[tuple[str, str, str], float] = field(default_factory=dict)


class History:
    """One file. Any one thread at a time may ``append``; reading has connections of its own."""

    def __init__(self, path: Path, connection: sqlite3.Connection, max_byte: int, raw_s: float) -> None:
        self._path, self._db, self._max_byte, self._raw_s = path, connection, max_byte, raw_s
        self._lock = threading.Lock()
        self._targets: dict[str, tuple[int, int, str]] = {}
        self._since_pruning = 0

    @classmethod
    def open(cls, path: Path, *, max_bytes: int = 2_000_000_000, raw_days: float = 1.0) -> History:
        """Open or begin the file. Raises InputError where it cannot be one."""
        try:
            db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA foreign_keys = ON")
            db.executescript(SCHEMA + SITE_SCHEMA)
        except sqlite3.Error as fault:
            raise InputError(f"{path} cannot be the history: {fault}; name another file with --store") from None
        return cls(path, db, max_bytes, raw_days * DAY_S)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    def append(
        self, intervals: Sequence[Interval], facts: Mapping[str, TargetFacts], sites: Sequence[SiteStretch] = ()
    ) -> None:
        """Keep ``intervals`` and ``sites``, all or none. Raises OSError where the disk does not take them."""
        with self._lock, self._transaction():
            for interval in intervals:
                self._add(interval, facts[interval.target])
            for stretch in sites:
                add_stretch(self._db, stretch)
        self._since_pruning += len(intervals)
        if self._since_pruning >= PRUNE_EVERY:
            self.prune()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except sqlite3.Error as fault:
            self._targets.clear()  # numbers that were given in what is now undone
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            full = "full" in str(fault) or "disk" in str(fault)
            raise OSError(errno.ENOSPC if full else errno.EIO, f"{fault}", str(self._path)) from fault

    def _add(self, interval: Interval, facts: TargetFacts) -> None:
        target, group = self._numbers(interval, facts)
        row = rows_of(interval)
        self._raw(target, interval, row)
        self._db.execute(_ADD_TOTAL, (target, *row.sums))
        self._db.executemany(_ADD_TOTAL_ENERGY, [(target, *e) for e in row.energy])
        self._db.execute("UPDATE target SET last_end_s = max(coalesce(last_end_s, 0), ?) WHERE id = ?",
                         (interval.end_s, target))  # fmt: skip
        for length_s in BUCKETS_S:
            for start_s, share in split(interval.start_s, interval.end_s, length_s):
                for of in (target, -group):
                    self._sum((length_s, of, start_s), row, share)

    def _sum(self, key: tuple[int, int, int], row: Row, share: float) -> None:
        self._db.execute(_ADD_BUCKET, (*key, *(share * x for x in row.sums)))
        for scope, basis, *amounts in row.energy:
            self._db.execute(_ADD_ENERGY, (*key, scope, basis, *(None if x is None else share * x for x in amounts)))
        if row.binding is not None:
            self._db.execute(_ADD_BINDING, (*key, row.binding[0], share * row.binding[1]))
        for scope, code, refused, text, found_s in row.findings:
            self._db.execute(ADD_FINDING, (*key, scope, code, refused, text, share * found_s))
        for route, tokens in row.routes:
            self._db.execute(_ADD_ROUTE, (*key, route, share * tokens))

    def _raw(self, target: int, i: Interval, row: Row) -> None:
        tokens = [i.tokens.get(k) for k in (TokenKind.PROMPT, TokenKind.CACHED, TokenKind.OUTPUT)]
        values = (
            target, i.start_s, i.end_s, int(i.observed), i.reason, *tokens, i.running_count, i.waiting_count,
            i.kv_use_ratio, i.ttft_s, i.tpot_s, i.idle_ratio, i.binding, i.binding_probability_ratio, i.phi_ratio,
            i.utilisation_ratio, json.dumps(dict(row.routes)) if row.routes else None,
        )  # fmt: skip
        added = self._db.execute(f"INSERT INTO interval VALUES (NULL{', ?' * len(values)})", values)
        for e in i.energy.values():
            self._db.execute(
                "INSERT INTO interval_energy VALUES (?, ?, ?, ?, ?, ?)",
                (added.lastrowid, e.scope, e.basis, e.energy_j, e.half_width_j, e.covered_ratio),
            )

        for what, p in i.latency.items():
            self._db.execute(
                "INSERT INTO interval_latency VALUES (?, ?, ?, ?, ?, ?)",
                (added.lastrowid, what, p.p50_s, p.p90_s, p.p99_s, p.requests_count),
            )

    def _numbers(self, interval: Interval, facts: TargetFacts) -> tuple[int, int]:
        """The target's number and its group's; both are made where they are new, facts brought up to date."""
        told = {"model": facts.model, "site": facts.site, "device": facts.device, "devices_count": facts.devices_count}
        text = json.dumps({**told, "labels": dict(facts.labels)}, sort_keys=True)
        known = self._targets.get(facts.target)
        if known is not None and known[2] == text:
            return known[0], known[1]
        self._db.execute(
            "INSERT INTO target (name, facts, since_s) VALUES (?, ?, ?) "
            "ON CONFLICT (name) DO UPDATE SET facts = excluded.facts",
            (facts.target, text, interval.start_s),
        )
        self._db.execute("INSERT OR IGNORE INTO model_group (model, site) VALUES (?, ?)", (facts.model, facts.site))
        target = self._one("SELECT id FROM target WHERE name = ?", facts.target)
        group = self._one("SELECT id FROM model_group WHERE model = ? AND site = ?", facts.model, facts.site)
        self._targets[facts.target] = (target, group, text)
        return target, group

    def _one(self, query: str, *values: str) -> int:
        return int(self._db.execute(query, values).fetchone()[0])

    def prune(self, now_s: float | None = None) -> None:
        """Drop what is older than is kept, then the oldest and finest until the file is within its bound."""
        with self._lock:
            self._since_pruning = 0
            latest = self._db.execute("SELECT max(last_end_s) FROM target").fetchone()[0]
            now = now_s if now_s is not None else latest
            if now is None:
                return
            with self._transaction():
                for table in ("interval", "site_stretch"):
                    self._db.execute(f"DELETE FROM {table} WHERE end_s < ?", (now - self._raw_s,))
                for length_s, kept_s in KEPT_S.items():
                    self._drop_buckets(length_s, now - kept_s)
            self._db.execute("PRAGMA incremental_vacuum")
            while self.size_byte() > self._max_byte and self._drop_oldest():
                self._db.execute("PRAGMA incremental_vacuum")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _drop_buckets(self, length_s: int, before_s: float) -> None:
        for table in ("bucket", "bucket_energy", "bucket_binding", "bucket_route", "bucket_finding", *SITE_BUCKETS):
            self._db.execute(f"DELETE FROM {table} WHERE length_s = ? AND start_s < ?", (length_s, before_s))

    def _drop_oldest(self) -> bool:
        """Drop a share of the finest kind of rows that there are; False where nothing is left to drop."""
        oldest, newest = self._db.execute("SELECT min(end_s), max(end_s) FROM interval").fetchone()
        if oldest is not None:
            with self._transaction():
                limit = oldest + max(PRUNED_SHARE * (newest - oldest), 1e-3)
                for table in ("interval", "site_stretch"):
                    self._db.execute(f"DELETE FROM {table} WHERE end_s <= ?", (limit,))
            return True
        for length_s in BUCKETS_S:
            span = self._db.execute("SELECT min(start_s), max(start_s) FROM bucket WHERE length_s = ?", (length_s,))
            first, last = span.fetchone()
            if first is not None and last > first:
                with self._transaction():
                    self._drop_buckets(length_s, first + max(PRUNED_SHARE * (last - first), length_s))
                return True
        return False

    def size_byte(self) -> int:
        """Bytes of the file that hold something."""
        pages = self._db.execute("PRAGMA page_count").fetchone()[0] - self._db.execute(
            "PRAGMA freelist_count").fetchone()[0]  # fmt: skip
        return int(pages * self._db.execute("PRAGMA page_size").fetchone()[0])

    def totals(self) -> dict[str, StoredTotals]:
        """Every target's sums as they stand in the file, by name: where a restarted monitor goes on."""
        with self._lock:
            energy: dict[int, dict[tuple[str, str, str], float]] = {}
            for target, scope, basis, joules in self._db.execute(
                "SELECT target, scope, basis, energy_j FROM total_energy"
            ):
                energy.setdefault(target, {})[scope, "", basis] = joules
            found = self._db.execute(
                "SELECT t.name, t.id, t.since_s, t.last_end_s, s.unobserved_s, s.prompt_tok, s.cached_tok, "
                "s.output_tok FROM target t JOIN total s ON s.target = t.id"
            ).fetchall()
        kinds = (TokenKind.PROMPT, TokenKind.CACHED, TokenKind.OUTPUT)
        return {
            name: StoredTotals(since, last, unobserved, dict(zip(kinds, tokens, strict=True)), energy.get(number, {}))
            for name, number, since, last, unobserved, *tokens in found
        }

    def site_totals(self) -> dict[str, StoredSite]:
        """Every metered site's sums as they stand in the file, by name."""
        with self._lock:
            return site_totals(self._db)

    @property
    def path(self) -> Path:
        """The file."""
        return self._path


def read_only(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. Raises InputError where there is no history at ``path``."""
    if not os.path.isfile(path):
        raise InputError(f"{path}: there is no history; `joulemill monitor CONFIG --store {path}` makes one")
    try:
        db = sqlite3.connect(f"file:{Path(path).resolve()}?mode=ro", uri=True, check_same_thread=False)
        db.execute("SELECT count(*) FROM target").fetchone()
    except sqlite3.Error as fault:
        raise InputError(f"{path}: this is no history of the monitor: {fault}") from None
    return db
