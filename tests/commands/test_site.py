"""A run at a site whose carbon comes from a file: kept with the run, and again for a run that is over."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import pytest
from simulated.mock_server import MockPlan, mock_process
from simulated.runs import steady_run

from joulemill.analysis.run import analyze
from joulemill.api.inputs import keep_grid, site_of
from joulemill.cli import main
from joulemill.recording.writer import read_run, write_run
from joulemill.reports.html.run import render
from tests.support.manifests import manifest_of, members_of

LM_EVAL = {
    "results": {"arc": {"alias": "arc", "acc,none": 0.75, "acc_stderr,none": 0.02}},
    "n-samples": {"arc": {"original": 400, "effective": 400}},
    "model_name": "m",
}


def site_file(folder: Path, start_s: float, kind: str = "marginal") -> Path:
    (folder / "grid.csv").write_text(f"time,end,carbon_gco2e_kwh\n{start_s - 3600:.0f},{start_s + 3600:.0f},360\n")
    path = folder / "site.toml"
    path.write_text(
        f'pue = 1.25\ncarbon = {{source = "file", file = "grid.csv", kind = "{kind}"}}\n'
        'embodied_gco2e_h = 3.6\nembodied_source = "sheet of the maker"\nprice_currency_kwh = 0.36\ncurrency = "EUR"\n'
    )
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_run(tmp_path / "run", steady_run())
    return tmp_path / "run"


def load_start(run: Path) -> float:
    load = read_run(run).phase("load")
    assert load is not None
    return load.start_wall_s


def test_a_run_is_shown_at_a_site_after_it_was_made(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """3.75 J/tok × PUE 1.25 at 360 g/kWh = 1e-4 g/J; 1e-3 g/s over 80 tok/s; 1e-7 EUR/J."""
    assert main(["report", str(run), "--site", str(site_file(run.parent, load_start(run))), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    effects = {i["name"]: i for i in said["impacts"]}
    assert said["energy"]["carbon_gco2e_tok"]["value"] == pytest.approx(3.75 * 1.25 * 1e-4, rel=0.02)
    assert said["site"]["carbon_gco2e_kwh"]["value"] == pytest.approx(360.0)
    assert said["site"]["carbon_kind"] == "marginal" and "marginal" in said["site"]["carbon_gco2e_kwh"]["source"]
    embodied = effects["embodied carbon"]["per_token"]
    assert embodied["value"] == pytest.approx(1e-3 / 80.0, rel=0.02) and "sheet of the maker" in embodied["source"]
    assert effects["cost of energy"]["per_million_tokens"]["value"] == pytest.approx(3.75 * 1.25 * 0.1, rel=0.02)


def test_what_the_grid_was_is_kept_with_the_run(tmp_path: Path) -> None:
    record = steady_run()
    load = record.phase("load")
    assert load is not None
    site = site_of(site_file(tmp_path, load.start_wall_s, "average"))
    folder = tmp_path / "kept"
    write_run(folder, dataclasses.replace(record, manifest=manifest_of({**members_of(record), "site": site})))
    keep_grid(folder)
    (tmp_path / "grid.csv").unlink()
    report = analyze(read_run(folder))
    assert report.site.carbon_gco2e_kwh.value == pytest.approx(360.0) and report.site.carbon_kind == "location"
    assert "Environment and money" in render(report)


def test_a_grid_without_values_for_the_run_leaves_carbon_unknown(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = site_file(run.parent, load_start(run) - 86400.0)
    assert main(["report", str(run), "--site", str(path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["site"]["carbon_gco2e_kwh"]["value"] is None
    assert "no values for the time of the run" in said["site"]["carbon_gco2e_kwh"]["reason"]


def test_the_sci_score_needs_the_embodied_share(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = site_file(run.parent, load_start(run))
    assert main(["report", str(run), "--site", str(path), "--export", "sci"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["sci"]["value"] == pytest.approx(said["O"]["value"] + said["M"]["value"])
    assert said["M"]["value"] > 0 and "sheet of the maker" in said["M"]["source"]


def test_accuracy_of_another_tool_after_the_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run.parent / "results.json"
    found.write_text(json.dumps(LM_EVAL))
    assert main(["report", str(run), "--quality", f"lm-eval:{found}", "--json"]) == 0
    quality = json.loads(capsys.readouterr().out)["quality"]
    assert quality["accuracy"]["value"] == 0.75 and quality["accuracy"]["basis"] == "declared"
    assert main(["report", str(run), "--quality", "small"]) == 2
    assert "the run is over" in capsys.readouterr().err


def test_each_run_of_a_sweep_keeps_what_the_grid_was(tmp_path: Path) -> None:
    site = site_file(tmp_path, time.time(), kind="average")
    with mock_process(MockPlan(itl_s=0.005)) as url:
        told = ["sweep", "concurrency=1,2", "--url", url, "--site", str(site), "--repeats", "1", "--json"]
        told += ["--duration", "0.8s", "--warmup", "0.2s", "--idle", "0.1s", "--input-tokens", "8"]
        told += ["--output-tokens", "8", "--meter", "declared:idle=60W,busy=180W", "--out", str(tmp_path / "s")]
        assert main(told) == 0
    for name in ("01-concurrency-1", "02-concurrency-2"):
        (event,) = (e for e in read_run(tmp_path / "s" / name).events if e.get("kind") == "grid")
        assert event["points"][0][2] == pytest.approx(1e-4)
