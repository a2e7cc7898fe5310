"""`joulemill calibrate ROWS.csv`: scales in a TOML file, used by `predict`; and `validate --calibrate-with`."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from joulemill.cli import main
from joulemill.prediction.precision import resolver
from joulemill.prediction.scale_file import load_scales
from joulemill.validation.scores import predict_rows
from joulemill.validation.tables import read_table
from tests.support.command_lines import one_line
from tests.support.recorded import recorded

HEAD = (
    "model_id,gpu_model,num_gpus,weight_precision,avg_batch_size,avg_input_len,avg_output_len,"
    "output_throughput_tokens_per_sec,avg_power_watts,energy_per_token_joules,median_itl_ms"
)
WHAT = ["--model", "Qwen/Qwen3-8B", "--device", "h100", "--concurrency", "60"]
POINTS = "model_path,system,backend,precision,isl,osl,batch_size,tp_size,silicon_ttft_ms,silicon_tpot_ms"


def table(
    path: Path, rate_ratio: float = 0.8, energy_ratio: float = 1.25, batches: tuple[float, ...] = (60.0,)
) -> Path:
    """Rows whose rate and J/token are so many times what is predicted of them."""
    bare = [f"Qwen/Qwen3-8B,H100,1,bfloat16,{b},512,512" for b in batches]
    path.write_text("\n".join([HEAD, *(f"{row},1,,1," for row in bare)]) + "\n")
    values, _ = predict_rows(read_table(path, resolver()).rows)
    made = zip(bare, values["rate_tok_s"] * rate_ratio, values["energy_j_tok"] * energy_ratio, strict=True)
    path.write_text("\n".join([HEAD, *(f"{row},{rate},,{energy}," for row, rate, energy in made)]) + "\n")
    return path


def predicted(capsys: pytest.CaptureFixture[str], *flags: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["predict", *WHAT, *flags, "--json"]) == 0
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    return said


def test_one_row_scales_a_prediction_part_of_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "cal.toml"
    assert main(["calibrate", str(table(tmp_path / "rows.csv")), "--out", str(out)]) == 0
    assert re.search(r"rate_tok_s +× 0\.\d{3} .* 1$", capsys.readouterr().out, re.MULTILINE)
    before, after = predicted(capsys), predicted(capsys, "--calibration", str(out))
    for name, told in (("rate_tok_s", 0.8), ("device_j_tok", 1.25)):
        ratio = after[name]["value"] / before[name]["value"]
        assert 0.2 < math.log(ratio) / math.log(told) < 1.0
        assert after[name]["basis"] == "calibrated" and before[name]["basis"] == "modelled"
        width_before, width_after = (math.log(a[name]["high"] / a[name]["low"]) for a in (before, after))
        assert width_after < width_before
    assert after["ttft_s"] == before["ttft_s"]


def test_figures_of_a_scaled_prediction_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """W = J/token × tok/s, also where all three were measured and shrink by different shares."""
    out = tmp_path / "cal.toml"
    main(["calibrate", str(table(tmp_path / "rows.csv")), "--out", str(out)])
    assert set(next(iter(load_scales(out).cells.values()))) == {"rate_tok_s", "energy_j_tok", "power_w"}
    said = predicted(capsys, "--calibration", str(out))
    product = said["device_j_tok"]["value"] * said["rate_tok_s"]["value"]
    assert said["device_power_w"]["value"] == pytest.approx(product, rel=1e-9)


def test_many_rows_scale_all_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = table(tmp_path / "rows.csv", batches=tuple(range(20, 220)))
    assert main(["calibrate", str(rows), "--out", str(tmp_path / "c.toml"), "--json"]) == 0
    cell = json.loads(capsys.readouterr().out)["cells"][0]
    assert cell["scales"]["energy_j_tok"]["scale"] == pytest.approx(1.25, rel=0.01)
    assert cell["scales"]["energy_j_tok"]["slope"] == pytest.approx(0.0, abs=0.01)
    assert cell["scales"]["energy_j_tok"]["rows"] == 200 and cell["engine"] == "vllm-0.11"


def test_three_rows_tell_a_slope(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = table(tmp_path / "rows.csv", batches=(8.0, 32.0, 128.0))
    lines = path.read_text().splitlines()
    steep = []
    for line, batch in zip(lines[1:], (8.0, 32.0, 128.0), strict=True):
        cells = line.split(",")
        cells[9] = str(float(cells[9]) * (batch / 32.0) ** 0.2)
        steep.append(",".join(cells))
    path.write_text("\n".join([lines[0], *steep]) + "\n")
    assert main(["calibrate", str(path), "--out", str(tmp_path / "c.toml"), "--json"]) == 0
    slope = json.loads(capsys.readouterr().out)["cells"][0]["scales"]["energy_j_tok"]["slope"]
    assert 0.1 < slope < 0.2


def test_rows_of_any_engine_and_cut_calibrate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "points.csv"
    path.write_text(f"{POINTS}\nQwen/Qwen3-32B,h200_sxm,trtllm,fp8,1024,1024,32,4,300,12\n")
    assert main(["calibrate", str(path), "--out", str(tmp_path / "c.toml"), "--json"]) == 0
    cell = json.loads(capsys.readouterr().out)["cells"][0]
    assert (cell["engine"], cell["devices"], set(cell["scales"])) == ("trtllm", 4, {"tpot_s", "ttft_s"})
    asked = ["predict", "--model", "Qwen/Qwen3-32B", "--device", "h200", "--devices", "4", "--precision", "fp8"]
    flags = ["--concurrency", "32", "--engine", "trtllm", "--calibration", str(tmp_path / "c.toml"), "--json"]
    assert main([*asked, *flags]) == 0
    assert json.loads(capsys.readouterr().out)["tpot_s"]["basis"] == "calibrated"


def test_a_run_makes_a_scale_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = recorded(tmp_path / "run", model="qwen3-8b"), tmp_path / "c.toml"
    told = ["--model", "Qwen/Qwen3-8B", "--device", "h100", "--out", str(out), "--force"]
    code = main(["calibrate", str(run), *told])
    said = capsys.readouterr()
    # The little recording is no H100's: it is refused as a slip of a unit, or scaled, never silently taken as it is.
    assert (code == 0 and load_scales(out).made_from == (str(run),)) or (code == 2 and "another unit" in said.err)


WRONG = [
    (["--devices", "2"], "has no rows of Qwen/Qwen3-8B on 2 × h100-sxm"),
    (["--precision", "fp8"], "has no rows of Qwen/Qwen3-8B on 1 × h100-sxm, fp8"),
    (["--engine", "sglang"], "sglang, aggregated; it has those of Qwen/Qwen3-8B on 1 × h100-sxm, bf16, vllm-0.11"),
]


@pytest.mark.parametrize(("flags", "says"), WRONG)
def test_a_scale_of_another_deployment_is_refused(
    flags: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "cal.toml"
    main(["calibrate", str(table(tmp_path / "rows.csv")), "--out", str(out)])
    capsys.readouterr()
    one_line(["predict", *WHAT, *flags, "--calibration", str(out)], says, capsys)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("devices = 1", 'devices = "1"', "'devices' of a cell is '1'; it must be a whole number"),
        ('kind = "aggregated"', 'kind = "aggregated"\nsort = 1', "unknown key 'sort'"),
        ('engine = "vllm-0.11"', "", "'engine' is missing"),
        ("schema = ", "schem = ", "not a file of scales"),
        ("made_from = [", "extra = 1\nmade_from = [", "unknown key 'extra'"),
        ("notes = [", "notes = [1, ", "'notes' must be a list of texts"),
        ("[cell.rate_tok_s]", "[cell.rate]", "unknown key 'rate'"),
        ("[cell.rate_tok_s]", "[cell.rate_tok_s]\nx = 1", "unknown key 'x'"),
        ("stderr_ln = ", "stderr_ln = -", "'stderr_ln' of rate_tok_s is -"),
        ("slope = 0.0", "slope = nan", "'slope' of rate_tok_s is nan; it must lie between -20 and 20"),
        ("slope = 0.0", "slope = true", "'slope' of rate_tok_s is True"),
        ("[[cell]]", "[[cell", "cannot be read as TOML"),
    ],
)
def test_a_file_that_no_calibration_wrote(
    old: str, new: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "cal.toml"
    main(["calibrate", str(table(tmp_path / "rows.csv")), "--out", str(out)])
    whole = out.read_text()
    assert old in whole
    out.write_text(whole.replace(old, new, 1))
    capsys.readouterr()
    one_line(["predict", *WHAT, "--calibration", str(out)], says, capsys)


def test_wrong_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = str(table(tmp_path / "rows.csv"))
    out = ["--out", str(tmp_path / "c.toml")]
    for words, says in (
        (["calibrate", rows, "run", *out], "is a table; give it alone"),
        (["calibrate", rows, "--model", "x", *out], "--model is for runs"),
        (["calibrate", rows, "--devices", "2", *out], "--devices is for runs"),
        (["calibrate", rows, "--out", str(tmp_path / "c.json")], "a table makes scales"),
        (["calibrate", rows, "--out", str(tmp_path / "c.txt")], "name a .toml file"),
        (["calibrate", rows, "--models", "nowhere", *out], "nowhere is not a folder"),
        (["calibrate", "run", *out], "--model is needed"),
        (["calibrate", str(tmp_path / "none.csv"), *out], "cannot be read as CSV"),
        (["validate", rows, "--calibrate-with", "0"], "--calibrate-with is 0; it must be a whole number, between 1"),
        (["validate", rows, "--seed", "1"], "--seed draws the rows of --calibrate-with"),
        (["validate", rows, "--calibrate-with", "1", "--seed", "-1"], "--seed is -1; it must be a whole number"),
    ):
        one_line(words, says, capsys)
    assert not (tmp_path / "c.toml").exists()


def test_a_slip_of_a_unit_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = table(tmp_path / "rows.csv", energy_ratio=1000.0)
    says = "row 2: energy_j_tok is 1e+03 times what is predicted; is it in another unit?"
    one_line(["calibrate", str(rows), "--out", str(tmp_path / "c.toml")], says, capsys)


def test_a_row_that_cannot_be_predicted_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = table(tmp_path / "rows.csv", batches=(8.0, 16.0))
    rows.write_text(rows.read_text().replace("H100,1,bfloat16,16.0", "H1000,1,bfloat16,16.0"))
    one_line(["calibrate", str(rows), "--out", str(tmp_path / "c.toml")], "row 3 cannot be predicted", capsys)


def test_validate_scores_rows_that_did_not_calibrate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = table(tmp_path / "rows.csv", batches=tuple(float(b) for b in np.geomspace(4, 200, 12)))
    said = {}
    for count in (None, 1, 3, 11):
        flags = [] if count is None else ["--calibrate-with", str(count), "--seed", "7"]
        assert main(["validate", str(rows), *flags, "--json"]) == 0
        said[count] = json.loads(capsys.readouterr().out)
    assert [said[k]["energy_j_tok"]["n"] for k in (None, 1, 3, 11)] == [12, 11, 9, 1]
    medians = [said[k]["energy_j_tok"]["median"] for k in (None, 1, 3, 11)]
    assert medians == sorted(medians, reverse=True) and medians[0] == pytest.approx(0.2) and medians[-1] < 0.02
    assert said[3]["calibrating"] == {"count": 3, "seed": 7, "cells": 1, "rows": 3, "not_scored": 3}
    assert set(said[3]) - set(said[None]) == {"calibrating"}


def test_a_seed_draws_the_same_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = table(tmp_path / "rows.csv", batches=(4.0, 8.0, 16.0, 32.0))
    lines = rows.read_text().splitlines()
    lines[1] = lines[1].replace("512,512", "700,512")
    rows.write_text("\n".join(lines) + "\n")
    made = []
    for seed in ("1", "1", *(str(s) for s in range(2, 8))):
        main(["validate", str(rows), "--calibrate-with", "1", "--seed", seed, "--json"])
        made.append(json.loads(capsys.readouterr().out)["energy_j_tok"]["median"])
    assert made[0] == made[1] and len(set(made)) > 1


def test_cells_too_small_to_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = table(tmp_path / "rows.csv", batches=(4.0, 8.0))
    one_line(["validate", str(rows), "--calibrate-with", "2"], "no cell has more than 2 rows", capsys)
