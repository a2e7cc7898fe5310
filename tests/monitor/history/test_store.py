"""The history: sums that close, a crash, a full disk, a bound, a restart, SQL and Parquet."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemill.errors import InputError
from joulemill.monitor.history.reader import Reader
from joulemill.monitor.history.rows import split
from joulemill.monitor.history.store import DAY_S, History, read_only
from joulemill.monitor.snapshot import Interval, TokenKind
from tests.support.intervals import FACTS, T0, interval
from tests.support.paths import ROOT

pytestmark = pytest.mark.apart


def test_sums_close_over_targets_models_and_steps(tmp_path: Path) -> None:
    kept = History.open(tmp_path / "h.db")
    kept.append([interval(t, n) for n in range(1000) for t in FACTS], FACTS)
    read = Reader(tmp_path / "h.db")
    span = {"start_s": T0, "end_s": T0 + 10_800.0}
    for asked, targets in (({"model": "m"}, 2), ({"target": "one"}, 1), ({}, 3), ({"site": "hall"}, 3)):
        for step_s in (300.0, 900.0, 3600.0):
            found = read.series(**span, step_s=step_s, **asked)
            assert sum(found.sums["output_tok"]) == pytest.approx(targets * 100_000.0)
            assert sum(found.sums["observed_s"]) == pytest.approx(targets * 10_000.0)
            assert sum(j or 0.0 for j in found.energy_j["node", "measured"]) == pytest.approx(targets * 50_000.0)
            assert found.step_s == step_s
    assert read.series(**span, step_s=300.0, model="nobody").start_s == []
    names, rows = read.sql(
        "SELECT binding, sum(bound_s) FROM bucket_binding WHERE length_s = 300 AND of > 0 GROUP BY 1"
    )
    assert names == ["binding", "sum(bound_s)"] and rows[0] == ("compute", pytest.approx(30_000.0))


def test_tokens_that_nobody_metered_do_not_make_the_others_cheap(tmp_path: Path) -> None:
    kept = History.open(tmp_path / "h.db")
    kept.append([i for n in range(30) for i in (interval("one", n), interval("two", n, joules=None))], FACTS)
    found = Reader(tmp_path / "h.db").series(start_s=T0, end_s=T0 + 300, model="m")
    key = ("node", "measured")
    assert found.sums["output_tok"] == [pytest.approx(6000.0)] and found.metered_tok[key] == [pytest.approx(3000.0)]
    assert found.energy_j[key][0] / found.metered_tok[key][0] == pytest.approx(0.5)


def test_a_gap_is_kept_as_a_gap_and_a_step_without_anything_is_absent(tmp_path: Path) -> None:
    kept = History.open(tmp_path / "h.db")
    far = [interval("one", 0), interval("one", 1, gap=True), interval("one", 720)]
    kept.append(far, FACTS)
    found = Reader(tmp_path / "h.db").series(start_s=T0, end_s=T0 + 7300.0, step_s=300.0, target="one")
    assert found.start_s == [T0, T0 + 7200.0] and found.sums["unobserved_s"] == [pytest.approx(10.0), 0.0]
    assert kept.totals()["one"].unobserved_s == pytest.approx(10.0)


@given(st.floats(0, 1e6), st.floats(0, 2e4), st.sampled_from([300, 3600]))
def test_shares_of_buckets_sum_to_one(start_s: float, length_s: float, bucket_s: int) -> None:
    parts = list(split(start_s, start_s + length_s, bucket_s))
    assert sum(share for _, share in parts) == pytest.approx(1.0)
    assert all(b % bucket_s == 0 for b, _ in parts) and len({b for b, _ in parts}) == len(parts)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 5e3), st.floats(0, 1e5), st.booleans()), min_size=1, max_size=20))
def test_totals_are_the_sum_of_what_was_appended_also_after_a_restart(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, float, bool]]
) -> None:
    path, at, energy, tokens, lost = tmp_path_factory.mktemp("h") / "h.db", T0, 0.0, 0.0, 0.0
    for length, joules, gap in rows:
        kept = History.open(path)  # a restart before each
        base = interval("one", 0, joules=joules, gap=gap)
        kept.append(
            [
                Interval(
                    target="one",
                    start_s=at,
                    end_s=at + length,
                    observed=not gap,
                    reason=None,
                    tokens=base.tokens,
                    energy=base.energy,
                )
            ],
            FACTS,
        )
        kept.close()
        at, energy = at + length, energy + (0.0 if gap else joules)
        tokens, lost = tokens + (0.0 if gap else 100.0), lost + (length if gap else 0.0)
    found = History.open(path).totals()["one"]
    assert found.energy_j.get(("node", "", "measured"), 0.0) == pytest.approx(energy)
    assert found.tokens[TokenKind.OUTPUT] == pytest.approx(tokens) and found.unobserved_s == pytest.approx(lost)
    assert (found.since_s, found.last_end_s) == (T0, pytest.approx(at))


def test_kill_minus_nine_in_the_middle_of_writing_loses_at_most_what_was_being_written(tmp_path: Path) -> None:
    code = """
        import sys
        sys.path.insert(0, {root!r})
        from pathlib import Path
        from tests.monitor.history.test_store import FACTS, interval
        from joulemill.monitor.history.store import History
        kept = History.open(Path({path!r}))
        for n in range(1_000_000):
            kept.append([interval(t, n) for t in FACTS], FACTS)
            print(n, flush=True)
    """
    path = tmp_path / "h.db"
    told = textwrap.dedent(code).format(root=str(ROOT), path=str(path))
    with subprocess.Popen([sys.executable, "-c", told], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        last = 0
        until = time.monotonic() + 1.0
        for line in writer.stdout:
            last = int(line)
            if time.monotonic() > until and last > 20:
                break
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read().split()
    last = max([last, *map(int, rest[:-1] if rest else [])])
    kept = History.open(path)
    for name in FACTS:
        count = kept.totals()[name].tokens[TokenKind.OUTPUT] / 100.0
        assert last + 1 <= count <= last + 3
        assert kept.totals()[name].energy_j["node", "", "measured"] == pytest.approx(50.0 * count)
    rows = Reader(path).sql("SELECT count(*) FROM interval")[1][0][0]
    assert rows == 3 * count
    kept.append([interval("one", 2_000_000)], FACTS)  # and it goes on


def test_a_full_disk_is_an_error_that_keeps_the_file_and_counts_nothing_twice(tmp_path: Path) -> None:
    kept = History.open(tmp_path / "h.db")
    kept.append([interval("one", 0)], FACTS)
    pages = kept._db.execute("PRAGMA page_count").fetchone()[0]
    kept._db.execute(f"PRAGMA max_page_count = {pages + 2}")  # what SQLite says where the disk is full
    batch = [interval(t, n) for n in range(1, 500) for t in FACTS]
    with pytest.raises(OSError, match="full"):
        kept.append(batch, FACTS)
    assert kept.totals()["one"].tokens[TokenKind.OUTPUT] == 100.0 and "two" not in kept.totals()
    kept._db.execute("PRAGMA max_page_count = 1000000")
    kept.append(batch, FACTS)
    assert kept.totals()["one"].tokens[TokenKind.OUTPUT] == 50_000.0


def test_the_file_stays_within_its_bound_and_totals_stay_whole(tmp_path: Path) -> None:
    kept = History.open(tmp_path / "h.db", max_bytes=400_000, raw_days=30)
    for n in range(0, 6000, 500):
        kept.append([interval("one", i) for i in range(n, n + 500)], FACTS)
        kept.prune()
        assert kept.size_byte() <= 400_000
    assert kept.totals()["one"].tokens[TokenKind.OUTPUT] == 600_000.0
    oldest = Reader(tmp_path / "h.db").sql("SELECT min(end_s) FROM interval")[1][0][0]
    assert oldest > T0 + 10_000


def test_raw_intervals_go_after_their_time_and_sums_stay(tmp_path: Path) -> None:
    kept = History.open(tmp_path / "h.db", raw_days=0.5)
    kept.append([interval("one", n, every_s=600.0) for n in range(300)], FACTS)
    kept.prune()
    read = Reader(tmp_path / "h.db")
    assert read.sql("SELECT min(end_s) FROM interval")[1][0][0] >= T0 + 300 * 600.0 - 0.5 * DAY_S
    assert sum(read.series(start_s=T0, end_s=T0 + 2e5, step_s=3600.0).sums["output_tok"]) == pytest.approx(30_000.0)


@pytest.mark.parametrize(
    "query",
    [
        "VACUUM INTO '{0}/copy.db'",
        "ATTACH '{0}/new.db' AS n",
        "ATTACH 'file:{0}/new.db?mode=rwc' AS n",
        "CREATE TABLE t(a)",
    ],
)
def test_a_query_makes_and_opens_no_other_file(query: str, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    History.open(tmp_path / "h.db").close()
    with pytest.raises(InputError, match=r"not authorized|authorization denied|readonly"):
        Reader(tmp_path / "h.db").sql(query.format(folder))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["a?mode=rwc", "a#b", "p%41", "x y"])
def test_a_stores_name_is_a_name_and_no_address(name: str, tmp_path: Path) -> None:
    History.open(tmp_path / name).close()
    assert Reader(tmp_path / name).targets() == []


def test_reading_cannot_write_and_says_what_is_wrong(tmp_path: Path) -> None:
    History.open(tmp_path / "h.db").close()
    read = Reader(tmp_path / "h.db")
    for query, says in (("DELETE FROM target", "readonly"), ("SELECT nope FROM target", "no such column")):
        with pytest.raises(InputError, match=says):
            read.sql(query)
    with pytest.raises(InputError, match="there is no history"):
        read_only(tmp_path / "gone.db")
    with pytest.raises(InputError, match="surrogates"):
        read.sql("SELECT '\udcff'")
    (tmp_path / "text").write_text("no database " * 100)
    with pytest.raises(InputError, match="no history of the monitor"):
        read_only(tmp_path / "text")
    with pytest.raises(InputError, match="--store"):
        History.open(tmp_path / "text")


def test_parquet_holds_what_the_table_holds(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    kept = History.open(tmp_path / "h.db")
    kept.append([interval("one", 0, gap=True), *(interval("one", n) for n in range(1, 10))], FACTS)
    read = Reader(tmp_path / "h.db")
    assert read.export_parquet(tmp_path / "i.parquet", "interval") == 10
    table = pq.read_table(tmp_path / "i.parquet").to_pydict()
    assert table["output_tok"] == [None] + [100.0] * 9 and table["reason"][0] == "timed out"
    with pytest.raises(InputError, match="there are bucket"):
        read.export_parquet(tmp_path / "x.parquet", "nope")


def test_two_readers_while_it_writes(tmp_path: Path) -> None:
    kept = History.open(tmp_path / "h.db")
    kept.append([interval("one", 0)], FACTS)
    read = Reader(tmp_path / "h.db")
    kept.append([interval("one", 1)], FACTS)
    assert read.sql("SELECT count(*) FROM interval")[1] == [(2,)]
    assert isinstance(read_only(tmp_path / "h.db"), sqlite3.Connection)
