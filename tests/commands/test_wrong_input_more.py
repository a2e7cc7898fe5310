"""More wrong input to predict, levers, gate, calibrate, validate and show: files that are none, digits, emptiness."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from joulemill.catalog.serving import coefficients
from joulemill.cli import main
from joulemill.physics.serving.coefficients import NAMES
from tests.support.command_lines import LEVERS, PREDICT, one_line
from tests.support.recorded import recorded

SIMULATE = ["simulate", "--model", "Qwen/Qwen3-8B", "--device", "h100", "--rate", "1", "--duration", "10s"]
CALIBRATE = ["--model", "Qwen/Qwen3-8B", "--device", "h100"]
FLAGS = [
    ([*PREDICT, "--devices", "２"], "--devices: invalid int value: '２'"),
    ([*PREDICT, "--devices", "1_000"], "--devices: invalid int value: '1_000'"),
    ([*PREDICT, "--tp", "1_0"], "--tp: invalid int value"),
    ([*PREDICT, "--concurrency", "１６"], "--concurrency: '１６' is not a number"),
    ([*PREDICT, "--concurrency", "1600%"], "--concurrency: '1600%' is not a whole number"),
    ([*PREDICT, "--slo-tpot", "٥٠ms"], "is not a number with a unit; write it like 20ms, 20s or 20min"),
    ([*PREDICT, "--concurrency", "64", "--max-num-seqs", "1"], "--concurrency 64 is above --max-num-seqs 1"),
    ([*PREDICT, "--rate", "10%"], "--rate: '10%' has unit '%'; it needs req/s, or none"),
    ([*PREDICT, "--rate", "5 req/min"], "it needs req/s, or none"),
    ([*PREDICT, "--input-tokens", "50%"], "--input-tokens: '50%' has unit '%'; it needs tok, or none"),
    ([*PREDICT, "--input-tokens", "1,000"], "has a mark inside its digits"),
    ([*PREDICT, "--power-cap", "300 w"], "did you mean W?"),
    ([*PREDICT, "--slo-tpot", "30 MS"], "did you mean ms?"),
    ([*PREDICT, "--site", ""], "--site: is empty; give a value, or leave it out"),
    ([*PREDICT, "--precision", ""], "--precision: is empty"),
    ([*PREDICT, "--calibration", ""], "--calibration: is empty"),
    ([*PREDICT, "--slo-tpot="], "--slo-tpot: is empty"),
    (["predict", "--model", "", "--device", "h100"], "--model: is empty"),
    ([*LEVERS, "--to", ""], "--to: is empty"),
    ([*LEVERS, "--to", "h100,,"], "device '' is not in the catalog"),
    ([*LEVERS, "--drafted", "1000000"], "at least 1 and at most 64"),
    ([*LEVERS, "--beyond", ","], "names nothing; use facility, hardware"),
    (["gate", "a", "b", "--max-increase", "５%"], "is not a number; write it like 5% or 0.05"),
    (["calibrate", "a", "a", *CALIBRATE], "a is given twice: a run counts once"),
    (["calibrate", "a", *CALIBRATE, "--devices", "0"], "--devices 0: it must lie between 1 and 1,000,000"),
    (["calibrate", "a", *CALIBRATE, "--devices", "999999999999", "--force"], "--devices 999999999999"),
    (["validate", ""], "is empty"),
    (["show", "device", ""], "is empty"),
    (["bench", "--url", "http://127.0.0.1:9", "--model", "m", "--rate", "10%"], "it needs req/s, or none"),
    ([*PREDICT, "--kv-dtype", "fp9"], "--kv-dtype: number format 'fp9' is not known; did you mean fp8"),
    ([*PREDICT, "--precision", "fp9"], "--precision: number format 'fp9' is not known; did you mean fp8"),
    (["plan", "p.toml", "--export", "vllm"], "p.toml: cannot be read"),
    (["levers", "mesure"], "did you mean `joulemill levers measure`?"),
    (["explore", "--device", "h100"], "--device is of the atlas; give --export DIR too"),
    ([*SIMULATE, "--router", "pwer-aware"], "--router 'pwer-aware' is not known; did you mean power-aware?"),
    ([*SIMULATE, "--rest", "loded"], "--rest 'loded' is not known; did you mean loaded?"),
    ([*SIMULATE, "--device", "h100:2", "--devices", "3"], "--device h100:2: states 2 devices, --devices 3"),
    (["simulate", "--sweep", "s.toml", "--out", "o", "--site", "x"], "leave --site out"),
    (["simulate", "--sweep", "s.toml", "--out", "o", "--devices", "2"], "leave --devices out"),
]


@pytest.mark.parametrize(("words", "says"), FLAGS, ids=lambda x: " ".join(x)[:60] if isinstance(x, list) else "")
def test_a_flag(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    one_line(words, says, capsys)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["validate"], "is a folder; name a CSV file"),
        ([*LEVERS, "--html"], "is a folder; name a file"),
        (["calibrate", "a", *CALIBRATE, "--out"], "is a folder; name a file"),
        ([*PREDICT, "--calibration"], "cannot be read (Is a directory)"),
        ([*PREDICT, "--site"], "Is a directory"),
        (["show", "site"], "Is a directory"),
        (["gate", "a"], "no such run"),
    ],
)
def test_a_folder_for_a_file(words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one_line([*words, str(tmp_path)], says, capsys)


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"\xff\xfea\x00", b'"unclosed\n1,2', b"a,b\n1,2\n"])
def test_a_table_that_is_none(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    one_line(["validate", str(tmp_path / "t.csv")], "t.csv", capsys)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"coefficients": {"memory": float("nan")}}, "memory is nan, which cannot be"),
        ({"coefficients": {"memory": -3.0}}, "memory is -3, which cannot be"),
        ({"coefficients": {"memory": 1e300}}, "'memory' is 1e+300, and usual is about"),
        ({"coefficients": {"memory": None}}, "cannot be read as a calibration file"),
        ({"coefficients": [1]}, "cannot be read as a calibration file"),
        ({"widths": {"rate_tok_s": float("inf")}}, "rate_tok_s is inf"),
        ({"widths": {"rate_tok_s": -4}}, "rate_tok_s is -4"),
        ({"runs": 5}, "cannot be read as a calibration file"),
        ({"profile": "zzz"}, "engine 'zzz' has no fitted profile"),
    ],
)
def test_a_calibration_that_no_fit_wrote(
    change: dict[str, Any], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = {c.name: c.value for c in coefficients("vllm-0.11") if c.name in NAMES}
    whole: dict[str, Any] = {
        "schema": "joulemill-calibration-1",
        "coefficients": usual,
        "stderr": {},
        "widths": {},
        "runs": ["a"],
        "profile": "vllm-0.11",
    }
    path = tmp_path / "c.json"
    path.write_text(json.dumps(whole))
    assert main([*PREDICT, "--calibration", str(path), "--concurrency", "4"]) == 0
    capsys.readouterr()
    merged = {
        k: {**whole[k], **v} if isinstance(whole[k], dict) and isinstance(v, dict) else v for k, v in change.items()
    }
    path.write_text(json.dumps({**whole, **merged}))
    one_line([*PREDICT, "--calibration", str(path)], says, capsys)


def test_a_calibration_nested_without_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.json").write_text("[" * 100_000)
    one_line([*PREDICT, "--calibration", str(tmp_path / "c.json")], "is nested too deeply", capsys)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("site = {site = {site = {pue = 1.2}}}", "unknown key 'site'"),
        ("[[site]]\npue = 1.2", "unknown key 'site'"),
        ('pue = "１.２"', "pue = '１.２' is not a number"),
        ('pue = "1_2"', "is not a number"),
        ("pue = inf", "cannot be"),
        ("pue = true", "is not a number"),
        ("pue = 2020-01-01", "is not a number"),
        ("pue = 1.2\npue = 1.3", "Cannot overwrite a value"),
        ('it_power_limit = "４０ kW"', "is not a number with a unit"),
        ('it_power_limit = "40 kw"', "did you mean kW?"),
        ('carbon = "s.toml"', 'write it like carbon = {source = "electricitymaps"'),
        ("a = " + "[" * 5000, "site file"),
    ],
)
def test_a_site_file_of_nonsense(line: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.toml").write_text(line + "\n")
    one_line([*PREDICT, "--site", str(tmp_path / "s.toml")], says, capsys)


def test_a_long_name_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "device", "x" * 5000]) == 2
    assert len(capsys.readouterr().err) < 300


def test_a_manifest_is_told_from_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = recorded(tmp_path / "run")
    one_line(["gate", str(run / "run.json"), str(run)], "the run.json of a run? Give its folder", capsys)


def test_a_rate_beyond_any_fleet_names_no_count_of_devices(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*PREDICT, "--rate", "1e9"]) == 1
    assert "would suffice" not in capsys.readouterr().out
    assert main([*PREDICT, "--rate", "100 req/s"]) == 1
    assert "devices would suffice" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["validate", "--template"], ["plan", "p.toml", "--export", "vllm"]])
def test_what_prints_no_json_is_refused_beside_it(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["message"].endswith("leave --json out")
