"""The model that levers of a run are of: what the run folder keeps, unless another is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import joulemill as jm
from joulemill.analysis.levers_of_run import question_of_run
from joulemill.bench.facts import gguf_facts
from joulemill.cli import main
from joulemill.errors import InputError
from joulemill.ledger.manifest import document
from joulemill.recording.writer import read_run, write_run
from tests.support.gguf_files import FIRST, LLAMA, REST, write
from tests.support.h100_run import on_h100
from tests.support.model_configs import LLAMA_CONFIG
from tests.support.server_counters import DRAFTING

pytestmark = pytest.mark.usefixtures("few_combinations")

WIDE_LLAMA = {**LLAMA_CONFIG, "hidden_size": 1024, "head_dim": 64, "intermediate_size": 4096}


def effects_of(capsys: pytest.CaptureFixture[str], *asked: str) -> dict[str, Any]:
    assert main(["levers", *asked, "--json"]) == 0, capsys.readouterr().err
    found = json.loads(capsys.readouterr().out)
    return {"before": found["before"], "levers": found["levers"]}


def test_a_run_of_an_alias_is_studied_by_the_config_it_keeps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same figures as with the file named again, which the run folder is read without."""
    run = on_h100(tmp_path / "run", model={"name": "my-alias"}, architecture=WIDE_LLAMA)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(WIDE_LLAMA))
    assert effects_of(capsys, str(run)) == effects_of(capsys, str(run), "--model", str(file))


def test_a_run_of_a_gguf_file_is_studied_by_the_header_it_keeps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "small.gguf", LLAMA, FIRST + REST)
    run = on_h100(tmp_path / "run", model={"name": "small", "kv_type": "f16", "gguf": document(gguf_facts(file))})
    kept = effects_of(capsys, str(run))
    file_named = effects_of(capsys, str(run), "--model", str(file))
    assert kept == file_named


def test_a_run_is_studied_in_the_precision_that_it_was_served_in(tmp_path: Path) -> None:
    run = on_h100(tmp_path / "run", precision="fp8")
    question, _ = question_of_run(run, None)
    assert question.released is not None and question.released.precision.name.startswith("fp8")


def test_a_run_of_a_server_that_drafts_is_predicted_as_one(tmp_path: Path) -> None:
    record = read_run(on_h100(tmp_path / "plain", model={"name": "deepseek-ai/DeepSeek-V3"}))
    write_run(tmp_path / "run", replace(record, server=DRAFTING))
    question, _ = question_of_run(tmp_path / "run", None)
    assert question.speculative_tokens == 1 and question.acceptance_rate == pytest.approx(0.75)
    plain, _ = question_of_run(tmp_path / "plain", None)
    assert plain.speculative_tokens == 0 and plain.acceptance_rate is None


def test_another_model_that_is_named_comes_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = on_h100(tmp_path / "run", model={"name": "my-alias"}, architecture=WIDE_LLAMA)
    named = effects_of(capsys, str(run), "--model", "Qwen/Qwen3-8B")
    assert named == effects_of(capsys, str(on_h100(tmp_path / "other")))


def test_what_is_said_more_of_a_run_need_not_name_its_model_again(tmp_path: Path) -> None:
    capped = jm.levers(on_h100(tmp_path / "run"), deployment={"power_cap_w": 400.0}).answer.answer
    assert (capped.question.model, capped.deployment.power_cap_w) == ("Qwen/Qwen3-8B", 400.0)
    with pytest.raises(InputError, match="did you mean power_cap_w"):
        jm.levers(tmp_path / "run", deployment={"powercap_w": 400.0})
    with pytest.raises(InputError, match="`device` is not stated"):
        jm.levers({"model": "Qwen/Qwen3-8B"})


def test_a_name_in_a_run_folder_opens_no_file(tmp_path: Path) -> None:
    """A run folder may come from elsewhere; what it calls its model is a name, never a path."""
    file = tmp_path / "config.json"
    file.write_text(json.dumps(WIDE_LLAMA))
    with pytest.raises(InputError, match=r"the run's model is not known .*not in the catalog.*name it with --model"):
        question_of_run(on_h100(tmp_path / "run", model={"name": str(file)}), None)
