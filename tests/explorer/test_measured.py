"""Measured points on the page: tables, run folders, reports and published runs, in SI units; no file is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

import joulemill as jm
from joulemill.explorer.measured import RUN_FILES, points_of_file, points_of_run, points_of_text, published
from tests.support.explorer import PLAIN, RUNS


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder, of a short simulation: it is read as one of a measured run is."""
    folder = tmp_path_factory.mktemp("runs") / "a-run"
    jm.simulate(
        PLAIN["model"], PLAIN["device"], devices=2, rate_req_s=2, requests=60, output_tokens=64, scenarios=0
    ).to_run(folder)
    return folder


def test_rows_are_points_in_si_units_and_bad_ones_say_why() -> None:
    table = points_of_text(RUNS, "mine.csv")
    assert table["name"] == "mine.csv" and table["skipped_count"] == 1 and table["skipped"][0]["row"] == 3
    (point,) = table["points"]
    assert (point["device_j_tok"], point["rate_tok_s"], point["concurrency"]) == (0.207, 2950.0, 60.5)
    assert point["tpot_s"] == pytest.approx(0.0198) and point["node_j_tok"] is None
    with pytest.raises(jm.InputError, match=r"^mine\.csv: columns are not known"):
        points_of_text("a,b\n1,2\n", "mine.csv")


@pytest.mark.parametrize("name", ["/etc/own.toml", "own.toml", "../config.json"])
def test_a_table_opens_no_file(name: str) -> None:
    for column in ("nobody/no-model", "H100,1,bfloat16,64,60.5,512,512,2950,610,0.207,19.8\nn"):
        with pytest.raises(jm.InputError, match="names a file"):
            points_of_text(RUNS.replace(column, column.replace("nobody/no-model", name).replace("H100", name)), "m.csv")


def test_a_run_folder_is_a_point_with_its_reports_figures(run: Path) -> None:
    files = {f.name: f.read_text() for f in run.iterdir()}
    (point,) = points_of_run(files | {"notes.txt": "not read"}, "a-run")["points"]
    report = jm.open_run(run).report
    assert point["model"] == PLAIN["model"] and point["rate_tok_s"] == report.output.rate_tok_s.value
    assert point["node_j_tok"] == report.energy.node_j_tok.value
    assert point["node_j_tok_low"] == report.energy.node_j_tok.low
    assert point["tpot_s"] == report.latency.tpot_s.p50
    assert point["basis"] == str(report.energy.node_j_tok.basis)
    assert points_of_file(run)["points"] == [point]
    assert set(files) <= set(RUN_FILES)


def test_a_report_document_is_the_same_point(run: Path, tmp_path: Path) -> None:
    import json

    text = json.dumps(jm.open_run(run).to_dict())
    (tmp_path / "report.json").write_text(text)
    assert points_of_text(text, "report.json") == points_of_file(tmp_path / "report.json")


@pytest.mark.parametrize("files", [{}, {"run.json": "{}"}, {"run.json": "["}, {"../run.json": "{}"}])
def test_what_is_no_run_is_said_by_its_name(files: dict[str, str]) -> None:
    with pytest.raises(jm.InputError) as caught:
        points_of_run(files, "a-run")
    assert "a-run" in str(caught.value) and "/tmp" not in str(caught.value)


def test_published_runs_say_where_they_are_from() -> None:
    points = published()
    assert all(p["basis"] == "measured" and p["source"] and p["license"] for p in points)
    assert {p["model"] for p in points} >= {"Qwen/Qwen3-32B"}
