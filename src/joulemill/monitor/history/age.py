"""What of a history is dropped, and in which order: by the time that was observed since, never by stamps.

A clock that was years ahead or at 1970 stamps some rows oddly; it makes no other row old. So age is counted in buckets
that were seen since (``bucket_time``), and what is oldest is what was written first.
"""

from __future__ import annotations

import math
import sqlite3

from joulemill.monitor.history.rows import KEPT_S
from joulemill.monitor.history.schema import BUCKETS_S
from joulemill.monitor.history.sites import SITE_BUCKETS

#: Share of the rows of one kind that goes where the file is too large.
PRUNED_SHARE = 0.2
_RAW = ("interval", "site_stretch")
_BUCKETS = ("bucket", "bucket_energy", "bucket_binding", "bucket_route", "bucket_finding", *SITE_BUCKETS)


def drop_old(db: sqlite3.Connection, raw_s: float) -> None:
    """Drop what is older than is kept, in the transaction that is open."""
    length_s = BUCKETS_S[0]
    raw_count = math.ceil(raw_s / length_s)
    gone = db.execute(
        "SELECT start_s FROM bucket_time WHERE length_s = ? AND raw_gone = 0 AND id <= ?",
        (length_s, _limit(db, length_s, raw_count)),
    ).fetchall()
    for (start_s,) in gone:
        for table in _RAW:
            db.execute(f"DELETE FROM {table} WHERE end_s >= ? AND end_s < ?", (start_s, start_s + length_s))
        db.execute("UPDATE bucket_time SET raw_gone = 1 WHERE length_s = ? AND start_s = ?", (length_s, start_s))
    for length_s, kept_s in KEPT_S.items():
        least = raw_count if length_s == BUCKETS_S[0] else 0
        _drop_buckets(db, length_s, _limit(db, length_s, max(math.ceil(kept_s / length_s), least)))


def drop_oldest(db: sqlite3.Connection) -> bool:
    """Drop a share of the finest kind of rows that there are, oldest first; False where nothing is left to drop."""
    dropped = [_drop_share(db, table) for table in _RAW]
    if any(dropped):
        return True
    for length_s in BUCKETS_S:
        first, last = db.execute("SELECT min(id), max(id) FROM bucket_time WHERE length_s = ?", (length_s,)).fetchone()
        if first is not None and last > first:
            _drop_buckets(db, length_s, first + max(int(PRUNED_SHARE * (last - first)), 0))
            return True
    return False


def _drop_share(db: sqlite3.Connection, table: str) -> bool:
    first, last = db.execute(f"SELECT min(id), max(id) FROM {table}").fetchone()
    if first is None:
        return False
    db.execute(f"DELETE FROM {table} WHERE id <= ?", (first + int(PRUNED_SHARE * (last - first)),))
    return True


def _limit(db: sqlite3.Connection, length_s: int, count: int) -> int:
    """The number of the newest bucket time that is beyond the ``count`` last ones; 0 where there are not so many."""
    query = "SELECT id FROM bucket_time WHERE length_s = ? ORDER BY id DESC LIMIT 1 OFFSET ?"
    row = db.execute(query, (length_s, count)).fetchone()
    return 0 if row is None else int(row[0])


def _drop_buckets(db: sqlite3.Connection, length_s: int, limit: int) -> None:
    """Sums of the bucket times up to number ``limit``, and those times themselves."""
    times = "SELECT start_s FROM bucket_time WHERE length_s = ? AND id <= ?"
    if db.execute(f"{times} LIMIT 1", (length_s, limit)).fetchone() is None:
        return
    for table in _BUCKETS:
        db.execute(f"DELETE FROM {table} WHERE length_s = ? AND start_s IN ({times})", (length_s, length_s, limit))
    db.execute("DELETE FROM bucket_time WHERE length_s = ? AND id <= ?", (length_s, limit))
