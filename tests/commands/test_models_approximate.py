"""Models that are not understood: refused with their fields, or predicted wide and said in every view."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from joulemill.cli import main
from joulemill.decisions.levers.case import Settings
from joulemill.prediction.levers import levers_answer
from joulemill.prediction.question import PredictionRequest
from joulemill.reports.html.levers import page
from joulemill.reports.text import levers as levers_view
from tests.support.screen import on_screen

pytestmark = pytest.mark.usefixtures("few_combinations")

CONFIG = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
}
ODD = {**CONFIG, "memory_setting": {"num_heads": 4}, "block_pattern": "AAB"}


def write(folder: Path, config: dict[str, Any], name: str = "some-8B") -> str:
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "config.json").write_text(json.dumps(config))
    return str(folder / name)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("verb", [("predict", "--device", "h100", "--model"), ("show", "model")])
def test_refused_with_the_fields_that_nothing_read(
    verb: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, *verb, write(tmp_path, ODD))
    assert (code, out) == (2, "")
    assert "block_pattern, memory_setting" in err
    assert "--approximate" in err
    code, _, err = run(capsys, *verb, write(tmp_path, {**CONFIG, "model_type": "brand_new"}))
    assert code == 2
    assert "model type 'brand_new' is not known" in err


def document(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    code, out, _ = run(capsys, *words, "--json")
    assert code == 0
    found: dict[str, Any] = json.loads(out)
    return found


def spread_ln(figure: dict[str, Any]) -> float:
    return math.log(figure["high"] / figure["low"]) / 2.0


def test_predict_approximately_is_wide_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask = ("predict", "--device", "h100", "--concurrency", "8", "--model")
    sure = document(capsys, *ask, write(tmp_path, CONFIG))
    wide = document(capsys, *ask, write(tmp_path, ODD, "odd-8B"), "--approximate")
    assert sure["architecture"] | {"name": ""} == {
        "name": "",
        "parameters_count": 8_030_261_248,
        "active_parameters_count": 8_030_261_248,
        "multiplied_parameters_count": sure["architecture"]["multiplied_parameters_count"],
        "mtp_parameters_count": 0,
        "kv_byte_tok": 131_072.0,
        "state_byte_req": 0.0,
        "layers_count": 32,
        "layer_kinds": {"full_attention": 32, "dense": 32},
        "max_context_tok": None,
        "fields_not_read": [],
        "approximate": False,
        "doubts": [],
    }
    assert wide["architecture"]["approximate"] is True
    assert wide["architecture"]["fields_not_read"] == ["block_pattern", "memory_setting"]
    for name in ("rate_tok_s", "device_j_tok", "node_j_tok", "ttft_s", "tpot_s"):
        expected = math.hypot(spread_ln(sure[name]), math.log(3.0))
        assert spread_ln(wide[name]) == pytest.approx(expected, rel=0.02), name
    _, told, _ = run(capsys, *ask, write(tmp_path, ODD, "odd-8B"), "--approximate")
    assert told.splitlines()[1].startswith("APPROXIMATE: the model is not understood")
    assert "8.03 B parameters; KV cache 131,072 B/token; layers: 32 full attention, 32 dense" in told


def test_levers_approximately_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path, ODD)
    question = PredictionRequest(model=folder, device="h100", concurrency=8.0, approximate=True)
    found = levers_answer(question, {"to": "h200"}, Settings(), frozenset(), same_outputs=True)
    assert on_screen(levers_view.show, found).startswith("APPROXIMATE (the model is not understood): ")
    assert levers_view.document(found)["architecture"]["approximate"] is True
    assert "APPROXIMATE (the model is not understood)" in page(found)
    code, _, err = run(capsys, "levers", "--device", "h100", "--concurrency", "8", "--model", folder)
    assert code == 2
    assert "--approximate" in err


def test_show_model_states_the_architecture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "show", "model", write(tmp_path, ODD), "--approximate")
    assert found["architecture"]["parameters_count"] == 8_030_261_248
    assert found["architecture"]["kv_byte_tok"] == 131_072.0
    assert found["architecture"]["fields_not_read"] == ["block_pattern", "memory_setting"]
    facts = {f["parameter"]: f["value"] for f in found["facts"]}
    assert facts["kv"] == 131_072.0
    assert facts["layers_full_attention"] == 32
    assert any(n.startswith("APPROXIMATE") for n in found["notes"])


def test_a_name_that_does_not_fit_warns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in (("predict", "--device", "h100", "--model"), ("show", "model")):
        assert "do not fit the name" not in str(document(capsys, *verb, write(tmp_path, CONFIG, "other-8B"))["notes"])
        notes = document(capsys, *verb, write(tmp_path, CONFIG, "other-30B-A3B"))["notes"]
        assert any("8.03 B parameters as read do not fit the name" in n for n in notes)
        assert any("active parameters as read do not fit" in n for n in notes)
