"""Models by name against what their publishers state: totals, active parameters, cache bytes a token.

A figure is given as printed: "3.3" stands for 3.25 to 3.35, and a count may miss that by 1 %. Publishers count active
parameters by different rules, so each row says whose ends are in: both tables, the head alone, or neither. The cache
bytes are sums by hand from the layers that the reports describe, in bf16.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import numpy as np
import pytest

from joulemill.catalog.models import find_model
from joulemill.physics.model.architecture import parameters_count
from joulemill.physics.model.facts import cache_byte_tok
from joulemill.physics.model.precision import uniform
from joulemill.physics.serving.continuous_batching import kv_request_byte
from joulemill.physics.serving.shard import shard_table, whole_model

Ends = Literal["both", "head", "none"]

#: Name -> total and active as printed [10⁹], which ends the active count holds, where.
ACTIVE: dict[str, tuple[str, str, Ends, str]] = {
    "openai/gpt-oss-120b": ("116.83", "5.13", "head", "gpt-oss model card (arXiv 2508.10925), table 1"),
    "openai/gpt-oss-20b": ("20.91", "3.61", "head", "gpt-oss model card (arXiv 2508.10925), table 1"),
    "deepseek-ai/DeepSeek-V3": ("671", "37", "both", "DeepSeek-V3 report (arXiv 2412.19437)"),
    "deepseek-ai/DeepSeek-V4-Flash": ("284", "13", "none", "DeepSeek-V4 report (arXiv 2606.19348)"),
    "deepseek-ai/DeepSeek-V4-Pro": ("1.6E+3", "49", "head", "DeepSeek-V4 report (arXiv 2606.19348)"),
    "deepseek-ai/DeepSeek-V2": ("236", "21", "both", "DeepSeek-V2 report (arXiv 2405.04434)"),
    "deepseek-ai/DeepSeek-V2-Lite": ("15.7", "2.4", "head", "DeepSeek-V2 report (arXiv 2405.04434)"),
    "deepseek-ai/deepseek-moe-16b": ("16.4", "2.8", "both", "DeepSeekMoE report (arXiv 2401.06066)"),
    "moonshotai/Kimi-K2-Instruct": ("1.04E+3", "32.6", "both", "Kimi K2 report (arXiv 2507.20534), table 2"),
    "mistralai/Mixtral-8x7B-v0.1": ("46.7", "12.9", "both", "Mixtral announcement"),
    "mistralai/Mixtral-8x22B-v0.1": ("141", "39", "both", "Mixtral 8x22B announcement"),
    "mistralai/Mistral-Large-3-675B-Instruct-2512": ("673", "39", "head", "model card, language model"),
    "Qwen/Qwen3-30B-A3B": ("30.5", "3.3", "both", "model card"),
    "Qwen/Qwen3-235B-A22B": ("235", "22", "both", "model card"),
    "Qwen/Qwen3-Coder-480B-A35B": ("480", "35", "both", "model card"),
    "Qwen/Qwen2-57B-A14B": ("57.4", "14", "both", "Qwen2 report (arXiv 2407.10671)"),
    "Qwen/Qwen1.5-MoE-A2.7B": ("14.3", "2.7", "both", "model card"),
    "Qwen/Qwen3-Next-80B-A3B": ("80", "3", "none", "model card"),
    "Qwen/Qwen3.5-397B-A17B": ("397", "17", "both", "the name"),
    "Qwen/Qwen3.5-122B-A10B": ("122", "10", "both", "the name"),
    "Qwen/Qwen3.5-35B-A3B": ("35", "3", "both", "the name"),
    "microsoft/Phi-3.5-MoE": ("42", "6.6", "both", "model card"),
    "allenai/OLMoE-1B-7B-0924": ("6.9", "1.3", "both", "OLMoE report (arXiv 2409.02060)"),
    "databricks/dbrx": ("132", "36", "both", "DBRX announcement"),
    "tencent/Hunyuan-A13B": ("80", "13", "both", "model card"),
    "rednote-hilab/dots.llm1": ("142", "14", "both", "dots.llm1 report (arXiv 2506.05767)"),
    "inclusionAI/Ling-mini-2.0": ("16", "1.4", "both", "model card"),
    "inclusionAI/Ling-flash-2.0": ("103", "6.1", "both", "model card and stored total"),
    "inclusionAI/Ling-1T": ("1000", "51", "both", "Ling 2.0 report (arXiv 2510.22115)"),
    "inclusionAI/Ling-lite": ("16.8", "2.75", "both", "model card"),
    "inclusionAI/Ling-plus": ("290", "28.8", "both", "model card"),
    "MiniMaxAI/MiniMax-Text-01": ("456", "45.9", "none", "MiniMax-01 report (arXiv 2501.08313)"),
    "MiniMaxAI/MiniMax-M2": ("230", "10", "none", "model card"),
    "zai-org/GLM-5": ("744", "40", "none", "model card"),
    "XiaomiMiMo/MiMo-V2-Flash": ("309", "15", "both", "model card"),
    "google/gemma-4-26B-A4B": ("25.2", "3.8", "both", "model card"),
    "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16": ("31.6", "3.6", "both", "Nemotron 3 Nano report"),
    "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16": ("120.6", "12.7", "both", "Nemotron 3 Super report"),
    "ai21labs/AI21-Jamba-Mini-1.5": ("52", "12", "both", "Jamba-1.5 report (arXiv 2408.12570)"),
    "ai21labs/AI21-Jamba-Large-1.5": ("398", "94", "both", "Jamba-1.5 report (arXiv 2408.12570)"),
    "ibm-granite/granite-4.0-h-small": ("32", "9", "both", "model card"),
    "ibm-granite/granite-4.0-h-tiny": ("7", "1", "both", "model card"),
    "LiquidAI/LFM2-8B-A1B": ("8.3", "1.5", "both", "model card"),
    "stepfun-ai/step3": ("316", "38", "both", "Step-3 report (arXiv 2507.19427), language model"),
    "stepfun-ai/Step-3.5-Flash": ("196", "11", "none", "model card"),
}

#: Name -> total and active as printed without the tables for input and output, and whether drafting layers are in.
WITHOUT_ENDS: dict[str, tuple[str, str, bool, str]] = {
    "zai-org/GLM-4.5": ("355", "32", True, "GLM-4.5 report (arXiv 2508.06471), table 1"),
    "zai-org/GLM-4.5-Air": ("106", "12", False, "GLM-4.5 report (arXiv 2508.06471), table 1"),
    "moonshotai/Moonlight-16B-A3B": ("15.29", "2.24", False, "Moonlight report (arXiv 2502.16982), table 4"),
    "moonshotai/Kimi-Linear-48B-A3B": ("48", "3", False, "model card"),
    "baidu/ERNIE-4.5-21B-A3B": ("21", "3", False, "ERNIE 4.5 report"),
    "baidu/ERNIE-4.5-300B-A47B": ("300", "47", False, "ERNIE 4.5 report"),
    "inclusionAI/Ling-mini-2.0": ("16", "0.789", False, "model card"),
    "inclusionAI/Ling-flash-2.0": ("1E+2", "4.8", False, "model card"),
}


def fits(count: float, printed: str) -> bool:
    """Whether a count is within 1 % of what a printed figure stands for."""
    figure = Decimal(printed)
    half = 0.5 * 10.0 ** int(figure.as_tuple().exponent)
    return abs(count / 1e9 - float(figure)) <= half + 0.01 * float(figure)


def test_a_printed_figure_stands_for_its_rounding() -> None:
    assert fits(3.349e9, "3.3") and fits(3.26e9, "3.3")
    assert not fits(3.39e9, "3.3") and not fits(676.0e9 * 1.01, "671")


@pytest.mark.parametrize("name", ACTIVE)
def test_total_and_active_are_the_published_ones(name: str) -> None:
    total, active, ends, _ = ACTIVE[name]
    architecture = find_model(name).architecture
    count = parameters_count(architecture)
    table = architecture.vocabulary * architecture.hidden
    tables = 1 if architecture.tied else 2
    left_out = {"both": 0, "head": tables - 1, "none": tables}[ends]
    assert fits(count.total, total)
    assert fits(count.active - left_out * table, active)


@pytest.mark.parametrize("name", WITHOUT_ENDS)
def test_counts_without_the_tables_are_the_published_ones(name: str) -> None:
    total, active, drafting, _ = WITHOUT_ENDS[name]
    architecture = find_model(name).architecture
    count = parameters_count(architecture)
    ends = architecture.vocabulary * architecture.hidden * (1 if architecture.tied else 2)
    drafts = count.mtp if drafting else 0
    assert fits(count.total - ends + drafts, total)
    assert fits(count.active - ends, active)


#: Name -> cache bytes a token by hand: layers x (key and value) x heads x width x 2 bytes.
CACHE: dict[str, int] = {
    # every head its own keys and values
    "meta-llama/Llama-2-7b": 32 * 2 * 32 * 128 * 2,
    "openai-community/gpt2-xl": 300 * 1024,  # as the "LLM architecture gallery" states
    "allenai/OLMo-2-1124-7B": 512 * 1024,  # likewise
    # heads that share them; one head for all
    "meta-llama/Llama-3.1-8B": 128 * 1024,  # likewise
    "meta-llama/Llama-3.2-1B": 32 * 1024,  # likewise
    "meta-llama/Llama-3.1-405B": 126 * 2 * 8 * 128 * 2,
    "tiiuae/falcon-7b": 32 * 2 * 1 * 64 * 2,
    "stepfun-ai/step3": 61 * 2 * 1 * 256 * 2,
    # layers that attend to images hold none of text
    "meta-llama/Llama-3.2-11B-Vision": 32 * 2 * 8 * 128 * 2,
    "meta-llama/Llama-3.2-90B-Vision": 80 * 2 * 8 * 128 * 2,
    # windows, not yet full
    "google/gemma-3-27b": 62 * 2 * 16 * 128 * 2,
    "openai/gpt-oss-120b": 36 * 2 * 8 * 64 * 2,
    "meta-llama/Llama-4-Scout-17B-16E": 48 * 2 * 8 * 128 * 2,
    "stepfun-ai/Step-3.5-Flash": 45 * 4 * 1024,  # the gallery: 192 KiB with its three drafting layers
    # keys wider than values; heads by kind of layer
    "XiaomiMiMo/MiMo-V2-Flash": (9 * 4 + 39 * 8) * (192 + 128) * 2,
    "google/gemma-4-31B": 50 * 2 * 16 * 256 * 2 + 10 * 2 * 4 * 512 * 2,
    # layers that use the cache of earlier ones
    "google/gemma-3n-E2B": (30 - 10) * 2 * 2 * 256 * 2,
    "google/gemma-3n-E4B": (35 - 15) * 2 * 2 * 256 * 2,
    "google/gemma-4-E2B": 12 * 2 * 1 * 256 * 2 + 3 * 2 * 1 * 512 * 2,
    # one latent vector a layer; with an indexer's key of 128 in FP8 and its scale
    "deepseek-ai/DeepSeek-V3": 61 * (512 + 64) * 2,
    "deepseek-ai/DeepSeek-V3.2": 61 * ((512 + 64) * 2 + 128 + 4),
    # a window of vectors of 512, and entries of 4 tokens (with an indexer's key) or of 128
    "deepseek-ai/DeepSeek-V4-Flash": 43 * 1024 + 21 * (1024 + 132) // 4 + 20 * 1024 // 128,
    "deepseek-ai/DeepSeek-V4-Pro": 61 * 1024 + 30 * (1024 + 132) // 4 + 31 * 1024 // 128,
    # attention in some layers, or beside states, or nowhere
    "ai21labs/AI21-Jamba-Large-1.5": 9 * 2 * 8 * 128 * 2,
    "ibm-granite/granite-4.0-h-small": 4 * 2 * 8 * 128 * 2,
    "ibm-granite/granite-4.0-h-micro": 4 * 2 * 8 * 64 * 2,
    "nvidia/NVIDIA-Nemotron-Nano-9B-v2": 4 * 2 * 8 * 128 * 2,
    "Qwen/Qwen3-Next-80B-A3B": 12 * 2 * 2 * 256 * 2,
    "Qwen/Qwen3.5-9B": 8 * 2 * 4 * 256 * 2,
    "moonshotai/Kimi-Linear-48B-A3B": 7 * (512 + 64) * 2,
    "MiniMaxAI/MiniMax-Text-01": 10 * 2 * 8 * 128 * 2,
    "LiquidAI/LFM2-1.2B": 6 * 2 * 8 * 64 * 2,
    "tiiuae/Falcon-H1-34B": 72 * 2 * 4 * 128 * 2,
    "Zyphra/Zamba2-7B": 13 * 2 * 32 * 224 * 2,
    "state-spaces/mamba2-2.7b": 0,
    "tiiuae/falcon-mamba-7b": 0,
}


@pytest.mark.parametrize("name", CACHE)
def test_cache_bytes_are_the_sum_by_hand(name: str) -> None:
    assert cache_byte_tok(find_model(name).architecture, uniform("bf16")) == CACHE[name]


def test_deepseek_v4_holds_what_its_engine_states_at_a_million_tokens() -> None:
    """vLLM's announcement: 9.62 GiB a sequence in bf16, its indexers' keys (of 128) in bf16 as well; ours are FP8."""
    held = kv_request_byte(
        shard_table([whole_model(find_model("deepseek-ai/DeepSeek-V4-Pro").architecture, uniform("bf16"))]),
        np.array([2.0**20]),
    )
    wider = 30 * 2**18 * (2 * 128 - (128 + 4))
    window = 61 * 128 * 1024
    assert held[0] + wider - window == pytest.approx(9.62 * 2**30, abs=0.005 * 2**30)


def test_layers_for_images_are_stored_beside_the_text_model() -> None:
    """Llama 3.2 Vision is Llama 3.1 with a layer of cross-attention after every fourth."""
    for vision, text, extra, hidden, wide in (
        ("meta-llama/Llama-3.2-11B-Vision", "meta-llama/Llama-3.1-8B", 8, 4096, 14336),
        ("meta-llama/Llama-3.2-90B-Vision", "meta-llama/Llama-3.1-70B", 20, 8192, 28672),
    ):
        heads = hidden // 128
        layer = 2 * hidden * heads * 128 + 2 * hidden * 8 * 128 + 3 * hidden * wide + 2 * hidden + 2 * 128
        ours, plain = (parameters_count(find_model(n).architecture) for n in (vision, text))
        assert ours.total == plain.total + extra * layer
        assert (ours.active, ours.multiplied) == (plain.active, plain.multiplied)
