"""What the monitor keeps: one SQLite file, safe against a crash, bounded in size, open to SQL.

Every interval is written once, with its sums, in one transaction: after a crash it is there or it is not. Raw intervals
are kept for a while, five-minute sums for longer, hourly ones longest; the totals of a target are never pruned. Where
the file would grow beyond its bound, the oldest and finest goes first (``history_age``). One monitor writes a file at a
time (``history_owner``). Nothing that is not a finite number of a possible time is ever written.
``docs/decisions/monitor-store.md`` says why it is SQLite.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from joulemill.errors import InputError
from joulemill.monitor.history.age import drop_old, drop_oldest
from joulemill.monitor.history.file import file_at, opened
from joulemill.monitor.history.owner import BEAT_S, Owner
from joulemill.monitor.history.rows import DAY_S, HistoryRow, checked, finite, rows_of, split
from joulemill.monitor.history.schema import ADD_FINDING, BUCKETS_S, SUMS, adding
from joulemill.monitor.history.sites import add_stretch, note_time, site_totals
from joulemill.monitor.snapshot import Interval, SiteStretch, StoredSite, StoredTotals, TargetFacts, TokenKind

_LOG = logging.getLogger("joulemill.monitor")
__all__ = ["DAY_S", "History", "StoredTotals", "read_only"]

#: Intervals between two prunings.
PRUNE_EVERY = 20_000

_ENERGY = ("energy_j", "half_width_j", "covered_s", "output_tok", "idle_j", "idle_s")
_BUCKET = ("length_s", "of", "start_s")
_ADD_BUCKET = adding("bucket", _BUCKET, SUMS)
_ADD_ENERGY = adding("bucket_energy", (*_BUCKET, "scope", "basis"), _ENERGY)
_ADD_BINDING = adding("bucket_binding", (*_BUCKET, "binding"), ("bound_s",))
_ADD_ROUTE = adding("bucket_route", (*_BUCKET, "route"), ("output_tok",))
_ADD_TOTAL = adding("total", ("target",), SUMS)
_ADD_TOTAL_ENERGY = adding("total_energy", ("target", "scope", "basis"), _ENERGY)


#: What SQLite raises for a row that cannot be, rather than for the disk.
_OF_ROWS = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError)


class History:
    """One file. Any one thread at a time may ``append``; reading has connections of its own."""

    def __init__(self, path: Path, connection: sqlite3.Connection, max_byte: int, raw_s: float) -> None:
        self._path, self._db, self._max_byte, self._raw_s = path, connection, max_byte, raw_s
        self._lock = threading.Lock()
        self._targets: dict[str, tuple[int, int, str]] = {}
        self._since_pruning = 0
        self._owner = Owner(connection, path)
        self._file = file_at(path)
        self._beat_s = -math.inf

    @classmethod
    def open(
        cls, path: Path, *, max_bytes: int = 2_000_000_000, raw_days: float = 1.0, takeover: bool = False
    ) -> History:
        """Open or begin the file and become its owner. Raises InputError where it cannot be.

        ``takeover``: also where another monitor owns it, which then keeps nothing any more.
        """
        db = opened(path)
        history = cls(path, db, max_bytes, raw_days * DAY_S)
        try:
            history._owner.claim(takeover=takeover)
        except sqlite3.Error as fault:
            db.close()
            raise InputError(f"{path} cannot be the history: {fault}; name another file with --store") from None
        except BaseException:
            db.close()
            raise
        return history

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            with suppress(sqlite3.Error):
                self._owner.release()
            self._db.close()

    def append(
        self, intervals: Sequence[Interval], facts: Mapping[str, TargetFacts], sites: Sequence[SiteStretch] = ()
    ) -> None:
        """Keep ``intervals`` and ``sites``, all or none.

        Raises OSError where the disk does not take them, HistoryTakenOverError where another monitor owns the file
        now, and what else it may where one of them cannot be kept.
        """
        with self._lock, self._transaction():
            for interval in intervals:
                self._add(interval, facts[interval.target])
            for stretch in sites:
                add_stretch(self._db, stretch)
        self._since_pruning += len(intervals)
        if self._since_pruning >= PRUNE_EVERY:
            try:
                self.prune()
            except (OSError, sqlite3.Error) as fault:  # the intervals are kept: it is tried again after as many more
                _LOG.warning("the history cannot be pruned: %s", fault)

    def beat(self) -> None:
        """Say now and then that this owner lives. Raises OSError or HistoryTakenOverError."""
        if time.monotonic() - self._beat_s >= BEAT_S:
            with self._lock, self._transaction():
                pass

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if file_at(self._path) != self._file:  # SQLite would go on writing a file that has no name any more
            raise OSError(errno.ESTALE, f"{self._path} was moved, removed or replaced: put it back, or restart")
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._owner.beat()
            yield
            self._db.execute("COMMIT")
            self._beat_s = time.monotonic()
        except BaseException as fault:
            self._targets.clear()  # numbers that were given in what is now undone
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if not isinstance(fault, sqlite3.Error) or isinstance(fault, _OF_ROWS):
                raise
            full = "full" in str(fault) or "disk" in str(fault)
            raise OSError(errno.ENOSPC if full else errno.EIO, f"{fault}", str(self._path)) from fault

    def _add(self, interval: Interval, facts: TargetFacts) -> None:
        checked(interval.start_s, interval.end_s)
        row = rows_of(interval)
        finite(x for values in (row.sums, *row.energy, *row.routes, row.binding or ()) for x in values)
        target, group = self._numbers(interval, facts)
        self._raw(target, interval, row)
        self._db.execute(_ADD_TOTAL, (target, *row.sums))
        self._db.executemany(_ADD_TOTAL_ENERGY, [(target, *e) for e in row.energy])
        # The newest is the one that was written last: a clock that was ahead once must not stay so.
        self._db.execute("UPDATE target SET last_end_s = ? WHERE id = ?", (interval.end_s, target))
        for length_s in BUCKETS_S:
            for start_s, share in split(interval.start_s, interval.end_s, length_s):
                note_time(self._db, length_s, start_s)
                for of in (target, -group):
                    self._sum((length_s, of, start_s), row, share)
        note_time(
            self._db, BUCKETS_S[0], int(interval.end_s // BUCKETS_S[0]) * BUCKETS_S[0]
        )  # where raw ones are found

    def _sum(self, key: tuple[int, int, int], row: HistoryRow, share: float) -> None:
        self._db.execute(_ADD_BUCKET, (*key, *(share * x for x in row.sums)))
        for scope, basis, *amounts in row.energy:
            self._db.execute(_ADD_ENERGY, (*key, scope, basis, *(None if x is None else share * x for x in amounts)))
        if row.binding is not None:
            self._db.execute(_ADD_BINDING, (*key, row.binding[0], share * row.binding[1]))
        for scope, code, refused, text, found_s in row.findings:
            self._db.execute(ADD_FINDING, (*key, scope, code, refused, text, share * found_s))
        for route, tokens in row.routes:
            self._db.execute(_ADD_ROUTE, (*key, route, share * tokens))

    def _raw(self, target: int, i: Interval, row: HistoryRow) -> None:
        tokens = [i.tokens.get(k) for k in (TokenKind.PROMPT, TokenKind.CACHED, TokenKind.OUTPUT)]
        values = (
            target,
            i.start_s,
            i.end_s,
            int(i.observed),
            i.reason,
            *tokens,
            i.running_count,
            i.waiting_count,
            i.kv_use_ratio,
            i.ttft_s,
            i.tpot_s,
            i.idle_ratio,
            i.binding,
            i.binding_probability_ratio,
            i.phi_ratio,
            i.utilization_ratio,
            json.dumps(dict(row.routes)) if row.routes else None,
        )
        finite(values)
        finite(x for p in i.latency.values() for x in (p.p50_s, p.p90_s, p.p99_s, p.requests_count))
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
        fact_values = {
            "model": facts.model,
            "site": facts.site,
            "device": facts.device,
            "devices_count": facts.devices_count,
        }
        text = json.dumps({**fact_values, "labels": dict(facts.labels)}, sort_keys=True)
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

    def prune(self) -> None:
        """Drop what is older than is kept, then the oldest and finest until the file is within its bound."""
        with self._lock:
            self._since_pruning = 0
            with self._transaction():
                drop_old(self._db, self._raw_s)
            self._db.execute("PRAGMA incremental_vacuum")
            while self.size_byte() > self._max_byte and self._dropped():
                self._db.execute("PRAGMA incremental_vacuum")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _dropped(self) -> bool:
        with self._transaction():
            return drop_oldest(self._db)

    def size_byte(self) -> int:
        """Bytes of the file that hold something."""
        pages = (
            self._db.execute("PRAGMA page_count").fetchone()[0]
            - self._db.execute("PRAGMA freelist_count").fetchone()[0]
        )
        return int(pages * self._db.execute("PRAGMA page_size").fetchone()[0])

    def totals(self) -> dict[str, StoredTotals]:
        """Every target's sums as they stand in the file, by name: where a restarted monitor goes on."""
        with self._lock:
            energy: dict[int, dict[tuple[str, str, str], float]] = {}
            metered: dict[int, dict[tuple[str, str, str], float]] = {}
            for target, scope, basis, joules, made_tok in self._db.execute(
                "SELECT target, scope, basis, energy_j, output_tok FROM total_energy"
            ):
                energy.setdefault(target, {})[scope, "", basis] = joules
                metered.setdefault(target, {})[scope, "", basis] = made_tok
            stored_rows = self._db.execute(
                "SELECT t.name, t.id, t.since_s, t.last_end_s, s.unobserved_s, s.prompt_tok, s.cached_tok, "
                "s.output_tok FROM target t JOIN total s ON s.target = t.id"
            ).fetchall()
        kinds = (TokenKind.PROMPT, TokenKind.CACHED, TokenKind.OUTPUT)
        return {
            name: StoredTotals(
                since,
                last,
                unobserved,
                dict(zip(kinds, tokens, strict=True)),
                energy.get(number, {}),
                metered.get(number, {}),
            )
            for name, number, since, last, unobserved, *tokens in stored_rows
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
    """A connection that writes no file and opens no other one. Raises InputError where ``path`` is no history."""
    if not os.path.isfile(path):
        raise InputError(f"{path}: there is no history; `joulemill monitor CONFIG --store {path}` makes one")
    try:
        db = sqlite3.connect(f"{Path(path).resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False)
        db.set_authorizer(
            lambda action, *_: sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_ATTACH else sqlite3.SQLITE_OK
        )
        db.execute("SELECT count(*) FROM target").fetchone()
    except sqlite3.Error as fault:
        raise InputError(f"{path}: this is no history of the monitor: {fault}") from None
    return db
