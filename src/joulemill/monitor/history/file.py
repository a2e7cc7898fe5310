"""The history's file: made for its owner alone, known by its marks, brought up to date, refused where it is another's.

``application_id`` says that a SQLite file is ours, ``user_version`` which version of the tables it has.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from joulemill.errors import InputError
from joulemill.monitor.history.owner import OWNER_SCHEMA
from joulemill.monitor.history.schema import BUCKETS_S, SCHEMA, SUMS
from joulemill.monitor.history.sites import SITE_SCHEMA

_LOG = logging.getLogger("joulemill.monitor")
APPLICATION_ID = 0x4A6F756C  # "Joul"
SCHEMA_VERSION = 2
#: Tables by which a file from before the marks is known.
_OLD_TABLES = {"target", "interval", "bucket", "total"}
#: Beyond this no sum can be: what an earlier version took from a hostile page.
_MOST_SUM = 1e18

#: Times that have sums, in the order in which they were first seen: what is oldest is known by this order, whatever
#: clock stamped them. ``raw_gone``: single intervals of that time have been dropped.
AGE_SCHEMA = """
CREATE TABLE IF NOT EXISTS bucket_time (
    id INTEGER PRIMARY KEY, length_s INTEGER NOT NULL, start_s INTEGER NOT NULL, raw_gone INTEGER NOT NULL DEFAULT 0,
    UNIQUE (length_s, start_s)
);
"""


def opened(path: Path) -> sqlite3.Connection:
    """The file as it is now kept, begun where there is none. Raises InputError where it cannot be the history."""
    try:
        _begun(path)
        db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            version = _version(db, path)
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA foreign_keys = ON")
            db.executescript(SCHEMA + SITE_SCHEMA + OWNER_SCHEMA + AGE_SCHEMA)
            if version < SCHEMA_VERSION:
                _brought_up(db)
        except BaseException:
            db.close()
            raise
        return db
    except (sqlite3.Error, OSError) as fault:
        why = fault.strerror if isinstance(fault, OSError) else str(fault)
        raise InputError(f"{path} cannot be the history: {why}; name another file with --store") from None


def file_at(path: Path) -> tuple[int, int] | None:
    """Which file ``path`` is, whatever it is called later; None where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _begun(path: Path) -> None:
    """An empty file that its owner alone may read: it tells what runs where. Those beside it get the same mode."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _version(db: sqlite3.Connection, path: Path) -> int:
    """The version of the tables, 0 for a new file or one from before versions. Raises InputError for another's file."""
    mark = int(db.execute("PRAGMA application_id").fetchone()[0])
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    names = {r[0] for r in db.execute("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite%'")}
    old = mark == 0 and version == 0 and (not names or names >= _OLD_TABLES)
    if mark != APPLICATION_ID and not old:
        raise InputError(f"{path} is another program's SQLite file, not a history; name another file with --store")
    if version > SCHEMA_VERSION:
        raise InputError(
            f"{path} was written by a newer Joulemill (tables of version {version}, this one knows {SCHEMA_VERSION}); "
            "use that one, or name another file with --store"
        )
    return version if mark == APPLICATION_ID else 0


def _brought_up(db: sqlite3.Connection) -> None:
    """Marks, and what older versions did not keep; sums that cannot be begin anew, since they would stay for ever."""
    db.execute("BEGIN IMMEDIATE")
    for length_s in BUCKETS_S:
        db.execute(
            "INSERT OR IGNORE INTO bucket_time (length_s, start_s) "
            "SELECT DISTINCT length_s, start_s FROM bucket WHERE length_s = ? ORDER BY start_s",
            (length_s,),
        )
    repaired = 0
    for table, columns in (
        *((t, SUMS) for t in ("total", "bucket")),
        *((t, ("energy_j", "output_tok", "idle_j")) for t in ("total_energy", "bucket_energy")),
        ("site_total", ("energy_j",)),
    ):
        for column in columns:
            repaired += db.execute(f"UPDATE {table} SET {column} = 0 WHERE abs({column}) > {_MOST_SUM}").rowcount
    if repaired:
        _LOG.warning("%d sums of the history could not be restored and restart at 0", repaired)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    db.execute("COMMIT")
