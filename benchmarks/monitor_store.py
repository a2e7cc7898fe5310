"""SQLite against DuckDB as the monitor's store: the same intervals in, the same questions out.

    pip install duckdb; python benchmarks/monitor_store.py [--targets 1000] [--minutes 30] [--days 90]

Writes ``--minutes`` of ``--targets`` targets every 10 s in batches of one second, as the monitor does, each batch
durable when it returns; then asks for one model's J/token by hour over ``--days`` of hourly rows.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from joulemill.monitor.history.reader import Reader
from joulemill.monitor.history.store import History
from joulemill.monitor.snapshot import Interval, ScopeEnergy, TargetFacts, TokenKind

TABLE = "(target INTEGER, model INTEGER, start_s DOUBLE, end_s DOUBLE, output_tok DOUBLE, energy_j DOUBLE)"
ASK = (
    "SELECT start_s, sum(energy_j) / sum(output_tok) FROM hourly WHERE model = 7 AND start_s >= ? GROUP BY 1 ORDER BY 1"
)
MODELS = 20


def batches(targets: int, minutes: int) -> Any:
    for second in range(minutes * 60):
        yield [(n, float(second)) for n in range(second % 10, targets, 10)]


def sqlite(folder: Path, targets: int, minutes: int, days: int) -> dict[str, float]:
    kept = History.open(folder / "h.db", raw_days=9999)
    facts = {f"t{n}": TargetFacts(f"t{n}", f"m{n % MODELS}", "hall") for n in range(targets)}
    node = {"node": ScopeEnergy("node", 5e3, 50.0, "measured", 1.0)}
    count, began = 0, time.perf_counter()
    for batch in batches(targets, minutes):
        rows = [
            Interval(
                target=f"t{n}",
                start_s=t - 10,
                end_s=t,
                observed=True,
                reason=None,
                tokens={TokenKind.OUTPUT: 5e3},
                energy=node,
            )
            for n, t in batch
        ]
        kept.append(rows, facts)
        count += len(rows)
    wrote_s, size = time.perf_counter() - began, kept.size_byte()
    for hour in range(days * 24):
        at = 1e6 + hour * 3600.0
        rows = [
            Interval(
                target=f"t{n}",
                start_s=at,
                end_s=at + 3600,
                observed=True,
                reason=None,
                tokens={TokenKind.OUTPUT: 1e6},
                energy=node,
            )
            for n in range(0, targets, 10)
        ]
        kept.append(rows, facts)
    kept.close()
    reader = Reader(folder / "h.db")
    asked = timed(lambda: reader.series(model="m10", start_s=1e6, end_s=1e6 + days * 86_400, step_s=3600.0))
    return {"written_1_s": count / wrote_s, "byte_each": size / count, "query_s": asked}


def duck(folder: Path, targets: int, minutes: int, days: int) -> dict[str, float]:
    import duckdb

    db = duckdb.connect(str(folder / "h.duck"))
    db.execute(f"CREATE TABLE interval {TABLE}")
    db.execute(f"CREATE TABLE hourly {TABLE}")
    count, began = 0, time.perf_counter()
    for batch in batches(targets, minutes):
        rows = [(n, n % MODELS, t - 10, t, 5e3, 5e3) for n, t in batch]
        db.executemany("INSERT INTO interval VALUES (?, ?, ?, ?, ?, ?)", rows)
        count += len(rows)
    wrote_s = time.perf_counter() - began
    db.execute("CHECKPOINT")
    size = (folder / "h.duck").stat().st_size
    db.execute(
        "INSERT INTO hourly SELECT 10 * t, (10 * t) % 20, 1e6 + 3600.0 * h, 0, 1e6, 5e3 "
        f"FROM range({targets // 10}) a(t), range({days * 24}) b(h)"
    )
    asked = timed(lambda: db.execute(ASK.replace("7", "10", 1), [0.0]).fetchall())
    return {"written_1_s": count / wrote_s, "byte_each": size / count, "query_s": asked}


def timed(ask: Any) -> float:
    took = []
    for _ in range(7):
        began = time.perf_counter()
        ask()
        took.append(time.perf_counter() - began)
    return float(np.median(took))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("targets", 1000), ("minutes", 5), ("days", 90)):
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    print(f"{args.targets} targets every 10 s for {args.minutes} min in batches of a second; {args.days} days of hours")
    for name, run in (("SQLite, sums kept with each interval", sqlite), ("DuckDB, bare rows, no sums", duck)):
        with tempfile.TemporaryDirectory() as folder:
            found = run(Path(folder), args.targets, args.minutes, args.days)
        print(
            f"{name:<38}{found['written_1_s']:>9,.0f} intervals/s{found['byte_each']:>7.0f} byte each"
            f"{1e3 * found['query_s']:>8.1f} ms for one model's J/token"
        )


if __name__ == "__main__":
    main()
