"""`joulemill calibrate` on recorded runs: refuses those of another model or device, and those that are not sound."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from joulemill.analysis.calibration import row_of_run
from joulemill.cli import main
from joulemill.prediction.calibration_file import load_calibration
from joulemill.prediction.scale_file import load_scales
from joulemill.recording.writer import read_run, write_run
from joulemill.validation.row import MeasuredRow
from tests.support.recorded import recorded
from tests.support.server_counters import DRAFTING


def calibrate(run: Path, *flags: str, model: str = "Qwen/Qwen3-8B", device: str = "h100") -> int:
    out = str(run.parent / "c.json")
    return main(["calibrate", str(run), "--model", model, "--device", device, "--out", out, *flags])


def test_a_run_of_the_same_model_and_device_is_taken(tmp_path: Path) -> None:
    run = recorded(tmp_path / "run", model="qwen3-8b")
    assert calibrate(run) == 0
    kept = json.loads((tmp_path / "c.json").read_text())
    assert kept["device"] == "h100-sxm" and kept["model"] == "Qwen/Qwen3-8B"


LLAMA = {
    **{"model_type": "llama", "hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 4},
    **{"num_attention_heads": 8, "num_key_value_heads": 8, "vocab_size": 1000},
}


def test_a_run_under_an_alias_is_known_by_the_config_that_was_stated_to_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = recorded(tmp_path / "run", model="smol", architecture=LLAMA)
    (tmp_path / "same.json").write_text(json.dumps(LLAMA))
    (tmp_path / "other.json").write_text(json.dumps({**LLAMA, "num_hidden_layers": 8}))
    assert calibrate(run, model=str(tmp_path / "same.json")) == 0
    assert calibrate(run, model=str(tmp_path / "other.json")) == 2
    assert "the run served smol, not" in capsys.readouterr().err


def test_a_run_faster_than_its_hardware_can_be_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its 37.5 tok/s of one 405B in bf16 would be 30 TB/s; an H100 reads 3.35."""
    run = recorded(tmp_path / "run", model="meta-llama/Llama-3.1-405B")
    assert calibrate(run, model="meta-llama/Llama-3.1-405B") == 2
    assert "times the ceiling of memory bandwidth, which is impossible" in capsys.readouterr().err
    assert calibrate(run, "--force", model="meta-llama/Llama-3.1-405B") == 0


def test_a_run_of_a_server_that_drafts_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = read_run(recorded(tmp_path / "plain", model="Qwen/Qwen3-8B"))
    write_run(tmp_path / "run", replace(plain, server=DRAFTING))
    assert calibrate(tmp_path / "run") == 2
    assert "its server drafts tokens" in capsys.readouterr().err
    assert calibrate(tmp_path / "run", "--force") == 0


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        ({"model": "HuggingFaceTB/SmolLM2-135M-Instruct"}, "the run served HuggingFaceTB/SmolLM2-135M"),
        ({"model": "house-model"}, "the run served house-model, not Qwen/Qwen3-8B"),
        ({"device": {"name": "h200", "count": 1}}, "the run was on 1 x h200, not on h100"),
        ({"device": {"name": "h100", "count": 4}}, "the run was on 4 x h100, not on 1"),
        ({"device": None, "server": {"embedded": True}}, "this machine's processor"),
    ],
)
def test_a_run_of_another_is_refused(
    tmp_path: Path, manifest: dict[str, object], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = recorded(tmp_path / "run", **{"model": "Qwen/Qwen3-8B", **manifest})  # type: ignore[arg-type]
    assert calibrate(run) == 2
    told = capsys.readouterr().err
    assert says in told and told.count("\n") == 1 and not (tmp_path / "c.json").exists()
    assert calibrate(run, "--force") == 0


def test_means_of_latency_stand_beside_means_of_lengths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A few late requests raise a mean TTFT alone; where a report states none, the median is used, and that is said."""
    main(["report", str(recorded(tmp_path / "run", model="Qwen/Qwen3-8B")), "--json"])
    stated = json.loads(capsys.readouterr().out)
    ttft = stated["latency"]["ttft_s"]
    row = row_of_report(
        tmp_path, stated | {"latency": stated["latency"] | {"ttft_s": ttft | {"mean": 3 * ttft["p50"]}}}
    )
    assert row.measured["ttft_s"] == pytest.approx(3 * ttft["p50"]) and not row.notes
    stated["latency"]["ttft_s"] = ttft | {"mean": None}
    assert row_of_report(tmp_path, stated).measured["ttft_s"] == pytest.approx(ttft["p50"])
    for out in ("c.toml", "c.json"):
        assert calibrate(tmp_path / "report.json", "--out", str(tmp_path / out)) == 0
        assert "note: " in (told := capsys.readouterr().out) and "no mean TTFT: its median is used" in told
    kept = load_scales(tmp_path / "c.toml").notes, load_calibration(tmp_path / "c.json").notes
    assert all("no mean TTFT" in notes[0] for notes in kept)
    text = (tmp_path / "c.toml").read_text()
    (tmp_path / "c.toml").write_text("".join(x for x in text.splitlines(True) if not x.startswith("notes = ")))
    assert load_scales(tmp_path / "c.toml").notes == ()  # files of before state none


def row_of_report(folder: Path, document: dict[str, Any]) -> MeasuredRow:
    (folder / "report.json").write_text(json.dumps(document))
    return row_of_run(folder / "report.json", "Qwen/Qwen3-8B", "h100", 1, None)
