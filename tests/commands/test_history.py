"""`joulemill history` on a store: SQL, Parquet, and what a wrong question is told."""

from __future__ import annotations

import csv
import json
import sqlite3
import sys
from pathlib import Path

import pytest

from joulemill.cli import main
from joulemill.monitor.history.store import History
from tests.support.intervals import FACTS, T0, interval


@pytest.fixture
def store(tmp_path: Path) -> Path:
    kept = History.open(tmp_path / "h.db", raw_days=30)
    kept.append([interval(t, n, gap=n == 3) for n in range(50) for t in FACTS], FACTS)
    kept.close()
    return tmp_path / "h.db"


def test_parquet_files_hold_the_joules_that_were_kept(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    out = store.parent / "new" / "out"
    assert main(["history", str(store), "--parquet", str(out)]) == 0
    told = capsys.readouterr().out
    assert f"{out / 'interval.parquet'}: 150 rows" in told
    files = {p.stem: pq.read_table(p).to_pydict() for p in out.iterdir()}
    assert set(files) >= {"target", "interval", "interval_energy", "bucket", "bucket_energy", "total_energy"}
    assert sorted(files["target"]["name"]) == sorted(FACTS)
    assert sum(files["interval_energy"]["energy_j"]) == sum(files["total_energy"]["energy_j"]) == 3 * 49 * 50.0
    hourly = [
        j
        for j, n, of in zip(*(files["bucket_energy"][k] for k in ("energy_j", "length_s", "of")), strict=True)
        if n == 3600 and of > 0
    ]
    assert sum(hourly) == pytest.approx(3 * 49 * 50.0)
    gaps = [r for r, o in zip(files["interval"]["reason"], files["interval"]["observed"], strict=True) if not o]
    assert gaps == ["timed out"] * 3


def test_one_table_alone(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow")
    out = store.parent / "one"
    assert main(["history", str(store), "--parquet", str(out), "--table", "bucket", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["rows"]) == ["bucket"]
    assert [p.name for p in out.iterdir()] == ["bucket.parquet"]


def test_without_pyarrow_the_extra_is_named(
    store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["history", str(store), "--parquet", str(store.parent / "o")]) == 2
    assert "pip install 'joulemill[parquet]'" in capsys.readouterr().err
    assert main(["history", str(store)]) == 0  # and everything else goes without it


def test_sql_answers_as_csv_and_json(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = "SELECT name, count(*) AS n FROM interval JOIN target ON target = target.id WHERE observed GROUP BY 1"
    assert main(["history", str(store), "--sql", query]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert {r["name"]: int(r["n"]) for r in rows} == dict.fromkeys(FACTS, 49)
    assert main(["history", str(store), "--sql", query, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["columns"] == ["name", "n"]


def test_bytes_are_hex_and_formulas_are_texts(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = "SELECT x'00ff' AS b, '=1+1' AS t, -1.5 AS n"
    assert main(["history", str(store), "--sql", query, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == [["00ff", "=1+1", -1.5]]
    assert main(["history", str(store), "--sql", query]) == 0
    assert capsys.readouterr().out == "b,t,n\n00ff,'=1+1,-1.5\n"


def test_the_overview_names_tables_and_targets(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", str(store)]) == 0
    shown = capsys.readouterr().out
    assert "interval: 150 rows\n" in shown and "one: m at hall, from 2023-11-14 22:00:00+00:00" in shown
    assert main(["history", str(store), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tables"]["interval"] == 150 and found["targets"][0]["since_s"] == T0


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        (["--sql", "DELETE FROM target"], "readonly"),
        (["--sql", "SELECT nope"], "no such column"),
        (["--table", "bucket"], "--parquet DIR"),
        (["--parquet", "out", "--table", "nope"], "there is no table 'nope'"),
    ],
)
def test_a_wrong_question_is_one_line(
    store: Path, extra: list[str], told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(store.parent)
    assert main(["history", str(store), *extra]) == 2
    assert told in capsys.readouterr().err
    assert main(["history", "gone.db"]) == 2 and "there is no history" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_told(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow")
    (store.parent / "file").write_text("")
    assert main(["history", str(store), "--parquet", str(store.parent / "file")]) != 0
    assert "choose another DIR" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE target SET facts = 'x'",
        "UPDATE target SET facts = '[1]'",
        "UPDATE target SET facts = '{}'",
        "UPDATE target SET since_s = 1e300",
        "UPDATE target SET since_s = 'soon'",
        "UPDATE target SET name = x'ff00'",
        'UPDATE target SET facts = \'{"labels": 5, "model": 1, "site": null}\'',
        'CREATE TABLE "a; b" (c)',
    ],
)
@pytest.mark.parametrize(
    "asked", [["history"], ["history", "--json"], ["chargeback", "--days", "9999", "--by", "team"]]
)
def test_a_store_of_somebody_elses_making_is_read_or_refused_in_one_line(
    change: str, asked: list[str], store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(store) as db:
        db.execute(change if "WHERE" in change or "CREATE" in change else f"{change} WHERE id = 1")
    assert main([asked[0], str(store), *asked[1:]]) in (0, 2)
    shown = capsys.readouterr()
    assert "internal error" not in shown.err + shown.out and "Traceback" not in shown.err
