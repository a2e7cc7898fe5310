"""MLPerf's wall power tables: names, what benchmarks ask, how submissions are taken to run."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulemill.catalog.devices import find_device
from joulemill.catalog.models import find_model
from joulemill.errors import InputError
from joulemill.prediction.precision import precision_named
from joulemill.validation.mlperf import is_max_q, replicas_of, task_of, weights_word
from joulemill.validation.scores import validate_table

HEADER = (
    "system,model,node_wall_power_w,output_tok_s,sys_accelerator_model_name,sys_accelerators_per_node,sys_framework\n"
)


@pytest.mark.parametrize(
    ("benchmark", "model", "output_tok"),
    [
        ("llama2-70b-99.9", "Llama-2-70b", 294),
        ("llama2-70b-interactive-99", "Llama-2-70b", 294),
        ("llama3_1-405b", "Llama-3.1-405B", 685),
        ("llama3.1-8b-edge", "Llama-3.1-8B", 73),
        ("mixtral-8x7b", "Mixtral-8x7B", 144),
        ("deepseek-r1", "DeepSeek-R1", 3886),
        ("gptj-99", "gpt-j-6b", 73),
    ],
)
def test_benchmarks_by_name(benchmark: str, model: str, output_tok: float) -> None:
    found = task_of(benchmark)
    assert model in found.model and found.output_tok == output_tok


def test_prompts_are_as_long_as_those_of_the_samples() -> None:
    """OpenOrca's prompts are shorter than its answers; two of Mixtral's three sources have long ones."""
    llama, mixtral = task_of("llama2-70b-99"), task_of("mixtral-8x7b")
    assert llama.input_tok == pytest.approx(212, abs=6) and llama.input_tok < llama.output_tok
    assert mixtral.input_tok == pytest.approx((662 + 414 + 190) / 3, abs=10)


def test_a_benchmark_that_asks_no_language_model_is_refused() -> None:
    with pytest.raises(InputError, match="not known"):
        task_of("stable-diffusion-xl")


def test_replicas_take_as_few_devices_as_hold_them() -> None:
    """Llama-2-70B in 8 bits: 69 GB, one H200 of 141 GB or two H100 of 80 GB; Llama-3.1-405B: four H200."""
    llama, big = find_model("meta-llama/Llama-2-70b-chat-hf"), find_model("meta-llama/Llama-3.1-405B-Instruct")

    def cut(model, device: str) -> tuple[int, int]:
        board = find_device(device)
        precision = precision_named(model.name, model.architecture, model.precision, weights_word(board))
        found = replicas_of(model.architecture, precision, board, 8)
        return found.tensor, found.replicas

    assert cut(llama, "h200") == (1, 8) and cut(llama, "h100") == (2, 4) and cut(big, "h200") == (4, 2)
    assert cut(llama, "b200") == (1, 8) and cut(big, "b200") == (2, 4)


def test_words_for_weights_and_settings() -> None:
    assert weights_word(find_device("b200")) == "fp4" and weights_word(find_device("h200")) == "fp8"
    assert is_max_q({"system": "H200-SXM-141GBx8_TRT_MaxQ"}) and not is_max_q({"system": "B200x8"})


def test_one_row_that_cannot_be_predicted_loses_no_other(tmp_path: Path) -> None:
    """No node, no model: each is listed with why, the rest is compared; without a TDP the rate alone."""
    table = tmp_path / "wall.csv"
    rows = [
        "x,llama2-70b-99,6200,25000,NVIDIA H200-SXM-141GB,8,TensorRT",
        "x,resnet50,6200,25000,NVIDIA H200-SXM-141GB,8,TensorRT",
        "x,llama2-70b-99,6200,25000,no such board,8,TensorRT",
        "x,llama2-70b-99,6200,25000,TPU v6e,8,JAX",
    ]
    table.write_text(HEADER + "\n".join(rows) + "\n")
    found = validate_table(table)
    assert (found.scores["node_power_w"].n, found.scores["rate_tok_s"].n) == (1, 2)
    assert {s["row"] for s in found.skipped} == {3, 4}
    assert all(s["why"] for s in found.skipped)
