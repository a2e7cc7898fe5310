"""The history against clocks, rows that cannot be, a second monitor, other programs' files, its own thread's end."""

from __future__ import annotations

import math
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from joulemill.errors import InputError
from joulemill.figure import unknown
from joulemill.monitor.accounting.totals import MOST_AWAY_S, Totals, away_s, believable
from joulemill.monitor.advice.alerts import alerts
from joulemill.monitor.history import owner as history_owner
from joulemill.monitor.history.owner import HistoryTakenOverError, Owner
from joulemill.monitor.history.reader import Reader
from joulemill.monitor.history.rows import split
from joulemill.monitor.history.store import DAY_S, History
from joulemill.monitor.history.writer import HistoryWriter
from joulemill.monitor.snapshot import (
    HistogramPercentiles,
    Interval,
    ScopeEnergy,
    SiteStretch,
    Snapshot,
    StoredTotals,
    TargetFacts,
    TokenKind,
)
from joulemill.monitor.web import metrics as exposition
from tests.support.intervals import FACTS, T0, interval

pytestmark = pytest.mark.apart


def at(stamp_s: float, *, length_s: float = 10.0, target: str = "one") -> Interval:
    return replace(interval(target, 0), start_s=stamp_s, end_s=stamp_s + length_s)


def counted(history: History, table: str, where: str = "1") -> int:
    return int(history._db.execute(f"SELECT count(*) FROM {table} WHERE {where}").fetchone()[0])


# --- clocks -----------------------------------------------------------------------------------------------------
@pytest.mark.finding("F10")
@pytest.mark.parametrize("step_s", [500 * DAY_S, 3600.0, -7200.0, 86_400.0 - T0, 40 * 365 * DAY_S])
def test_a_clock_that_stepped_makes_nothing_old(tmp_path: Path, step_s: float) -> None:
    kept = History.open(tmp_path / "h.db")
    kept.append([interval("one", n) for n in range(1000)], FACTS)
    before = counted(kept, "interval"), counted(kept, "bucket")
    kept.append([at(T0 + 10_000 + step_s + 10 * n) for n in range(5)], FACTS)
    kept.append([interval("one", 1005)], FACTS)  # and it is right again
    kept.prune()
    assert counted(kept, "interval") == before[0] + 6 and counted(kept, "bucket") >= before[1]
    assert kept.totals()["one"].tokens[TokenKind.OUTPUT] == 100_600.0
    assert kept.totals()["one"].last_end_s == T0 + 10_060.0, "a clock that was ahead once does not stay so"


@pytest.mark.finding("F10")
def test_after_days_with_a_clock_that_is_years_ahead_the_present_is_still_kept(tmp_path: Path) -> None:
    kept = History.open(tmp_path / "h.db", raw_days=0.02)
    ahead = [at(T0 + 500 * DAY_S + 300.0 * n, length_s=300.0) for n in range(20)]
    now = [at(T0 + 300.0 * n, length_s=300.0) for n in range(20)]
    for one in (*ahead, *now):
        kept.append([one], FACTS)
    kept.prune()
    assert counted(kept, "interval", f"end_s < {T0 + DAY_S}") >= 5
    assert counted(kept, "interval", f"end_s > {T0 + DAY_S}") == 0, "what was written first goes first"


@pytest.mark.finding("F10")
def test_where_room_is_short_the_first_written_goes_first_whatever_its_stamp(tmp_path: Path) -> None:
    kept = History.open(tmp_path / "h.db", max_bytes=300_000, raw_days=30)
    kept.append([at(T0 + 500 * DAY_S)], FACTS)
    for n in range(0, 3000, 500):
        kept.append([interval("one", i) for i in range(n, n + 500)], FACTS)
        kept.prune()
    assert counted(kept, "interval", f"end_s > {T0 + 29_000}") > 50 and kept.size_byte() <= 300_000


@pytest.mark.finding("F22")
@pytest.mark.finding("F6")
def test_a_gap_of_years_is_a_bounded_number_of_sums(tmp_path: Path) -> None:
    for length_s in (56 * 365 * DAY_S, 1e10):
        assert sum(1 for _ in split(1e6, 1e6 + length_s, 300)) <= 14 * 288 + 1
        assert sum(1 for _ in split(1e6, 1e6 + length_s, 3600)) <= 400 * 24 + 1
    kept = History.open(tmp_path / "h.db")
    started_s = time.thread_time()
    kept.append([Interval(target="one", start_s=86_400.0, end_s=T0, observed=False, reason="clock")], FACTS)
    assert time.thread_time() - started_s < 5.0 and counted(kept, "bucket") < 30_000
    assert kept.totals()["one"].unobserved_s == pytest.approx(T0 - 86_400.0)


@pytest.mark.finding("F22")
@pytest.mark.parametrize(
    ("last_s", "now_s", "expected_s"),
    [
        (T0, T0 + 100, 100.0),
        (86_400.0 + 8, T0, 0.0),
        (T0, 86_400.0, 0.0),
        (T0 + 3600, T0, 0.0),
        (T0, T0 + 500 * DAY_S, 0.0),
        (T0 + 500 * DAY_S, T0, 0.0),
        (T0, T0 + MOST_AWAY_S, MOST_AWAY_S),
        (math.nan, T0, 0.0),
        (-math.inf, T0, 0.0),
        (1e300, T0, 0.0),
    ],
)
def test_how_long_nobody_watched_is_unknown_where_a_clock_was_wrong(
    last_s: float, now_s: float, expected_s: float
) -> None:
    assert away_s(last_s, now_s) == expected_s


# --- rows that cannot be ----------------------------------------------------------------------------------------
NAN, INF = math.nan, math.inf
POISON: list[Any] = [
    at(1e300),
    at(NAN),
    at(-5.0),
    at(T0, length_s=-1.0),
    at(T0, length_s=INF),
    replace(interval("one", 1), reason="\ud800"),
    replace(interval("one", 1), tokens={TokenKind.OUTPUT: INF}),
    replace(interval("one", 1), tokens={TokenKind.PROMPT: NAN}),
    replace(interval("one", 1), energy={"node": ScopeEnergy("node", INF, None, "measured", 1.0)}),
    replace(interval("one", 1), energy={"node": ScopeEnergy("node", 1.0, NAN, "measured", 1.0)}),
    replace(interval("one", 1), route_tokens={"a": INF}),
    replace(interval("one", 1), route_tokens={"\udfff": 1.0}),
    replace(interval("one", 1), running_count=INF),
    replace(interval("one", 1), ttft_s=NAN),
    replace(interval("one", 1), latency={"ttft": HistogramPercentiles(INF, None, None, 1.0)}),
    replace(interval("one", 1), running_count=10**40),
    replace(interval("one", 1), binding=object()),
]


@pytest.mark.finding("F6")
@pytest.mark.parametrize("poison", POISON, ids=range(len(POISON)))
def test_a_row_that_cannot_be_is_dropped_and_told_and_the_others_are_kept(tmp_path: Path, poison: Interval) -> None:
    history = History.open(tmp_path / "h.db")
    keeper = HistoryWriter(history)
    good = [interval("two", n) for n in range(40)]
    keeper.append([*good[:17], poison, *good[17:]], FACTS)
    keeper.close()
    assert (keeper.refused_count, keeper.lost_count, keeper.error) == (1, 0, None) and keeper.refused
    assert keeper.refused.isprintable()
    totals = history.totals()
    assert totals["two"].tokens[TokenKind.OUTPUT] == 4000.0 and "one" not in totals
    for table in ("total", "bucket", "interval", "bucket_energy", "total_energy"):
        rows = history._db.execute(f"SELECT * FROM {table}").fetchall()
        assert all(math.isfinite(x) for row in rows for x in row if isinstance(x, float))
    history.close()


@pytest.mark.finding("F6")
def test_a_sites_stretch_that_cannot_be_is_dropped_too(tmp_path: Path) -> None:
    history = History.open(tmp_path / "h.db")
    keeper = HistoryWriter(history)
    energy = {"site": ScopeEnergy("site", 10.0, 1.0, "measured", 1.0)}
    good = SiteStretch(
        site="hall", start_s=T0, end_s=T0 + 60, energy=energy, it=None, pue=unknown("1", "no IT"), targets_count=1
    )
    for stretch in (good, replace(good, end_s=1e300), replace(good, site="\ud800"), good):
        keeper.append_site(stretch)
    keeper.close()
    assert keeper.refused_count == 2 and history.site_totals()["hall"].energy_j["site", "measured"] == 20.0
    history.close()


@pytest.mark.finding("F6")
def test_the_writers_end_is_told_everywhere_and_it_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("joulemill.monitor.history.writer.AGAIN_S", 0.0)
    monkeypatch.setattr("joulemill.monitor.history.writer.EVERY_S", 0.01)
    history = History.open(tmp_path / "h.db")
    keeper = HistoryWriter(history)

    def ends() -> None:
        raise SystemExit("out of luck")

    monkeypatch.setattr(history, "beat", ends)
    keeper._thread.join(10)
    assert not keeper._thread.is_alive()
    monkeypatch.setattr(history, "beat", lambda: None)
    keeper.append([interval("one", n) for n in range(3)], FACTS)
    state = keeper.state()
    assert state.restarts_count == 1 and "out of luck" in caplog.text and "restarted" in caplog.text
    now = Snapshot(at_s=0.0, targets=(), meters=(), sites=(), kept=state)
    assert b"joulemill_history_restarts_total 1.0" in exposition.page(now)
    assert any("restarted" in a.text for a in alerts(now))
    keeper.close()
    assert history.totals()["one"].tokens[TokenKind.OUTPUT] == 300.0
    history.close()


def test_what_cannot_be_kept_is_on_page_and_metrics() -> None:
    from joulemill.monitor.snapshot import HistoryState

    now = Snapshot(
        at_s=0.0,
        targets=(),
        meters=(),
        sites=(),
        history_error="full",
        kept=HistoryState("full", 2, 3, "'a': no time", 0),
    )
    text = exposition.page(now).decode()
    for line in ("history_up 0.0", "history_lost_intervals_total 2.0", "history_refused_intervals_total 3.0"):
        assert f"joulemill_{line}" in text
    assert any("no time" in a.text for a in alerts(now)) and any("full" in a.text for a in alerts(now))


# --- what can be --------------------------------------------------------------------------------------------------
@pytest.mark.finding("F5")
@pytest.mark.parametrize("count", [INF, NAN, -1.0, 1.7e308, 1e15])
def test_tokens_that_no_server_makes_are_left_out_of_every_total(count: float) -> None:
    totals = Totals(facts=FACTS["one"], since_s=T0)
    odd = replace(
        interval("one", 0), tokens={TokenKind.OUTPUT: count, TokenKind.PROMPT: 400.0}, route_tokens={"a": count}
    )
    for one in (interval("one", 0), odd, odd, interval("one", 1)):
        totals.add(believable(one))
    assert totals.tokens == {TokenKind.OUTPUT: 200.0, TokenKind.PROMPT: 1600.0}
    told = believable(odd)
    assert "output tokens are left out" in (told.reason or "") and told.route_tokens == {}


@pytest.mark.finding("F5")
@pytest.mark.parametrize("joules", [INF, NAN, -1.0, 1e300, 3.6e9])
def test_joules_that_nothing_takes_are_left_out_and_told(joules: float) -> None:
    energy = {
        "node": ScopeEnergy("node", joules, None, "measured", 1.0),
        "device": ScopeEnergy("device", 9.0, 1.0, "measured", 1.0),
    }
    told = believable(replace(interval("one", 0), energy=energy))
    assert set(told.energy) == {"device"} and [f.scope for f in told.findings if f.refused] == ["node"]


def test_a_store_that_was_spoiled_before_goes_on_finite(tmp_path: Path) -> None:
    history = History.open(tmp_path / "h.db")
    history.append([interval("one", 0)], FACTS)
    for statement in (
        "UPDATE total SET output_tok = 9e999",
        "UPDATE total_energy SET energy_j = 9e999",
        "PRAGMA user_version = 0",
        "PRAGMA application_id = 0",
    ):
        history._db.execute(statement)
    history.close()
    again = History.open(tmp_path / "h.db").totals()["one"]
    assert again.tokens[TokenKind.OUTPUT] == 0.0 and again.tokens[TokenKind.PROMPT] == 400.0
    totals = Totals(facts=FACTS["one"], since_s=T0)
    totals.restore(StoredTotals(T0, T0, 0.0, {TokenKind.OUTPUT: INF, TokenKind.PROMPT: 1.0}, {("node", "", "x"): NAN}))
    assert totals.tokens == {TokenKind.PROMPT: 1.0} and totals.energy_j == {}


# --- one owner ----------------------------------------------------------------------------------------------------
@pytest.mark.finding("F11")
def test_a_second_monitor_is_refused_and_takes_over_only_where_it_is_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "h.db"
    first = History.open(path)
    first.append([interval("one", 0)], FACTS)
    monkeypatch.setattr("joulemill.monitor.history.owner.LOOK_S", 0.01)
    stop = threading.Event()

    def beats() -> None:
        while not stop.wait(0.02):
            first._beat_s = -math.inf
            first.beat()

    beating = threading.Thread(target=beats)
    beating.start()
    try:
        with pytest.raises(InputError, match=rf"process {os.getpid()}.*--takeover"):
            History.open(path)
    finally:
        stop.set()
        beating.join()
    first.append([interval("one", 1)], FACTS)
    second = History.open(path, takeover=True)
    with pytest.raises(HistoryTakenOverError):
        first.append([interval("one", 2)], FACTS)
    first._beat_s = -math.inf
    with pytest.raises(HistoryTakenOverError):
        first.beat()
    second.append([interval("one", 2)], FACTS)
    assert second.totals()["one"].tokens[TokenKind.OUTPUT] == 300.0
    first.close()  # and leaves the new owner's row alone
    second.append([interval("one", 3)], FACTS)
    second.close()
    History.open(path).close()  # nobody is waited for: it was let go


@pytest.mark.finding("F11")
def test_who_is_taken_over_says_so_and_keeps_nothing(tmp_path: Path) -> None:
    first = History.open(tmp_path / "h.db")
    keeper = HistoryWriter(first)
    second = History.open(tmp_path / "h.db", takeover=True)
    keeper.append([interval("one", 0)], FACTS)
    keeper.close()
    assert "taken the history over" in (keeper.error or "") and keeper.state().restarts_count == 0
    assert keeper.lost_count == 1 and "one" not in second.totals()


@pytest.mark.finding("F11")
def test_an_owner_that_was_killed_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "h.db"
    code = (
        "from joulemill.monitor.history.store import History; from pathlib import Path; import os\n"
        f"History.open(Path({str(path)!r}))\nos.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert counted(History.open(path), "owner") == 1  # it is ours at once
    monkeypatch.setattr("joulemill.monitor.history.owner._process", lambda pid: "")  # of another machine
    waited: list[float] = []
    db = sqlite3.connect(path, isolation_level=None)
    Owner(db, path, waited.append).claim()  # its beat stands: it is gone
    assert sum(waited) == pytest.approx(history_owner.SILENT_S)


# --- whose file ---------------------------------------------------------------------------------------------------
@pytest.mark.finding("F11")
def test_another_programs_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    db = sqlite3.connect(path)
    db.executescript("CREATE TABLE cookies (a); INSERT INTO cookies VALUES (1)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(InputError, match="another program's"):
        History.open(path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["other.db"]
    newer = tmp_path / "newer.db"
    History.open(newer).close()
    db = sqlite3.connect(newer)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(InputError, match="newer Joulemill"):
        History.open(newer)
    for odd in (tmp_path, tmp_path / "no" / "h.db"):
        with pytest.raises(InputError, match="--store"):
            History.open(odd)


@pytest.mark.finding("F42")
def test_the_store_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        kept = History.open(tmp_path / "h.db")
        kept.append([interval("one", 0)], FACTS)
        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert {"h.db", "h.db-wal"} <= set(modes) and set(modes.values()) == {0o600}


def test_facts_of_another_kind_do_not_stop_the_writer(tmp_path: Path) -> None:
    history = History.open(tmp_path / "h.db")
    keeper = HistoryWriter(history)
    odd = TargetFacts("\ud83d", "m", "s")
    keeper.append([replace(interval("one", 0), target=odd.target)], {odd.target: odd})
    keeper.append([interval("one", 0)], FACTS)
    keeper.close()
    assert keeper.refused_count == 1 and set(history.totals()) == {"one"}


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_store_that_goes_away_under_the_monitor_is_told_and_what_waits_is_kept_once_it_is_back(
    how: str, tmp_path: Path
) -> None:
    path, aside = tmp_path / "h.db", tmp_path / "aside.db"
    history = History.open(path)
    history.append([interval(t, 0) for t in FACTS], FACTS)
    os.link(path, aside)
    path.unlink()
    if how == "replaced":
        path.write_text("another's")
    with pytest.raises(OSError, match=r"was moved, removed or replaced"):
        history.append([interval(t, 1) for t in FACTS], FACTS)
    os.replace(aside, path)
    history.append([interval(t, 1) for t in FACTS], FACTS)
    assert Reader(path).sql("SELECT count(*) FROM interval")[1] == [(2 * len(FACTS),)]
    history.close()
