"""``joulemill levers``: table, JSON, page, refusals; a run that cannot be predicted says what would help."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from simulated.runs import steady_run

from joulemill.cli import main
from joulemill.recording.writer import write_run
from tests.support.manifests import manifest_of, members_of

pytestmark = pytest.mark.usefixtures("few_combinations")

ASKED = ["levers", "--model", "Qwen/Qwen3-8B", "--device", "h100", "--concurrency", "16"]


def test_table_names_changes_and_what_does_not_apply(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(ASKED) == 0
    told = capsys.readouterr().out
    assert "batch-x4" in told and "Do not apply here" in told and "no FP4 units" in told and "80 %" in told


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ASKED, "--json", "--to", "b200", "--draft", "Qwen/Qwen3-0.6B"]) == 0
    document = json.loads(capsys.readouterr().out)
    levers = {x["name"]: x for x in document["levers"]}
    assert levers["speculation"]["applies"] and levers["fp4-weights"]["why_not"]
    change = levers["batch-x2"]["energy_change"]
    assert change["low"] < change["value"] < change["high"] and change["level"] == 0.8
    assert "device-b200-sxm" in levers or "device-b200" in levers
    assert document["front"] and document["combinations"][0]["after"]["energy_j_tok"] > 0


def test_page_is_offline_and_has_its_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert main([*ASKED, "--html", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == 2 and "Tornado" in text and "<script" not in text and "src=" not in text
    assert "arXiv:2504.17674" not in text, "evidence of a lever that does not apply stands nowhere"
    assert "no draft model is named" in text


def test_a_route_with_stated_accuracies_says_joules_per_correct_answer(capsys: pytest.CaptureFixture[str]) -> None:
    routed = [*ASKED, "--small", "Qwen/Qwen3-0.6B", "--accuracy", "80%", "--small-accuracy", "0.5"]
    assert main(routed) == 0
    assert "routing: 65 % correct answers (declared); J per correct answer" in capsys.readouterr().out
    assert main([*routed, "--json"]) == 0
    levers = {x["name"]: x for x in json.loads(capsys.readouterr().out)["levers"]}
    assert levers["cascade"]["accuracy"]["high"] == pytest.approx(0.9) and levers["batch-x2"]["accuracy"] is None


def test_same_outputs_combines_no_lever_that_changes_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ASKED, "--json", "--same-outputs"]) == 0
    used = {n for c in json.loads(capsys.readouterr().out)["combinations"] for n in c["levers"]}
    assert used and not used & {"fp8-weights", "int4-weights", "int8-weights", "fp8-kv"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["levers"], "name what to study"),
        ([*ASKED, "--hit", "1.5"], "between 0 and 1"),
        ([*ASKED, "--beyond", "magic"], "not known"),
        ([*ASKED, "--drafted", "0"], "at least 1"),
        ([*ASKED, "--small", "no-such-model"], "not in the catalog"),
        (["levers", "--model", "Qwen/Qwen3-8B", "--device", "tpu-v6e", "--concurrency", "4"], "TDP of Google TPU v6e"),
    ],
)
def test_refusals(more: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(more) == 2
    assert words in capsys.readouterr().err


def test_a_run_on_a_machine_without_accelerator_says_what_would_help(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = steady_run()
    members = {**members_of(record), "device": None}
    write_run(tmp_path / "run", replace(record, manifest=manifest_of(members)))
    assert main(["levers", str(tmp_path / "run")]) == 2
    assert "joulemill calibrate" in capsys.readouterr().err


def test_a_run_on_a_known_device_is_studied_at_its_own_load(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = steady_run()
    members = {
        **members_of(record),
        "device": {"name": "NVIDIA H100 80GB HBM3", "count": 1},
        "model": {"name": "Qwen/Qwen3-8B"},
    }
    write_run(tmp_path / "run", replace(record, manifest=manifest_of(members)))
    assert main(["levers", str(tmp_path / "run"), "--html", str(tmp_path / "p.html"), "--json"]) == 0
    asked = json.loads(capsys.readouterr().out)["deployment"]
    assert asked["device"].startswith("NVIDIA H100") and asked["concurrency"] >= 1 and asked["output_tokens"] >= 1
    assert "Tornado" in (tmp_path / "p.html").read_text(encoding="utf-8")
