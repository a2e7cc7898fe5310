"""``joulemill plan``: exit codes, one JSON document, tables, and a page that fetches nothing."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet
import pytest

from joulemill.cli import main
from tests.support.plan_files import plan_file


def test_text_json_tables_and_page(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = plan_file(tmp_path, ('rate = "unlimited"', f'rate = "3 ktok/s"\nby_hour_ratio = {[0.5, 1.5] * 12}'))
    page, tables = tmp_path / "page.html", tmp_path / "out"
    assert main(["plan", str(path), "--json", "--html", str(page), "--csv", str(tables), "--parquet", str(tables)]) == 0
    out, err = capfd.readouterr()  # what the solver's own code prints, too
    document = json.loads(out)
    assert document["status"] == "optimal" and document["hours"] == 24 and err == ""
    with (tables / "hours.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert [float(r["it_w"]) for r in rows] == pytest.approx(document["power"][0]["it_by_hour_w"])
    assert pyarrow.parquet.read_table(tables / "constraints.parquet").num_rows == len(document["constraints"])
    html = page.read_text("utf-8")
    assert "<script" not in html and "http" not in html.replace("http-equiv", "")
    for title in (
        "From feed to tokens",
        "Tokens against power",
        "What one more is worth",
        "IT power by hour",
        "Levers",
    ):
        assert title in html
    assert main(["plan", str(path), "--quick"]) == 0
    text = capfd.readouterr().out
    assert "what one more is worth" in text and "IT power at lab" in text and "levers in the order" not in text


def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = plan_file(tmp_path)
    short = ["--quick", "--set", "demand.chat.rate=90 ktok/s", "--set", "objective.goal=least_energy"]
    assert main(["plan", str(path), *short]) == 1
    assert "short of:" in capsys.readouterr().out
    assert main(["plan", str(path), "--json", "--set", "site.lab.pue=0.9"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["error"]["exit_code"] == 2 and "at least 1" in document["error"]["message"]
    assert main(["plan", str(tmp_path / "none.toml")]) == 2
    assert main(["plan", str(path), "--html", str(tmp_path)]) == 2


def test_tables_that_were_not_asked_for_are_not_written(tmp_path: Path) -> None:
    assert main(["plan", str(plan_file(tmp_path)), "--quick", "--csv", str(tmp_path / "out")]) == 0
    assert not (tmp_path / "out" / "frontier.csv").exists() and (tmp_path / "out" / "replicas.csv").exists()
