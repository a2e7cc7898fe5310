"""Attention of prompts against published tables of kernels, and sparse attention by hand."""

from __future__ import annotations

import numpy as np
import pytest

from joulemill.catalog.devices import find_device
from joulemill.catalog.models import find_model
from joulemill.catalog.serving import rates
from joulemill.physics.serving.counts import StepLoad, counts, decode_load, prompts_load
from joulemill.physics.serving.deployment import Parallelism
from joulemill.physics.serving.prompt_attention import padding_flop, pairs_flop
from joulemill.physics.serving.shard import ShardTable, shard, shard_table
from joulemill.physics.serving.step import times

#: Share of the 16-bit peak that prompts of so many tokens reach: medians of aiconfigurator's table (095f58a5), vLLM
#: 0.22 on H200, heads of 128, KV cache in 8 bits, from 3e11 FLOP a launch.
TABLE = {1024: 0.34, 2048: 0.45, 4096: 0.53, 8192: 0.59, 16384: 0.63}
#: Keys that a token would attend to at the peak in the time that a window of 128 takes (the same table).
WINDOW_128_TOK = 858.0


def table(model: str, device: str = "h200", tensor: int = 1) -> ShardTable:
    entry = find_model(model)
    return shard_table([shard(entry.architecture, entry.precision, find_device(device), Parallelism(tensor, 1, 1))])


def prompts(tok: float, count: float = 1.0) -> StepLoad:
    one = np.ones(1)
    nothing = decode_load(np.zeros(1), one, one)
    return prompts_load(nothing, one * count, one * tok, np.zeros(1))


@pytest.mark.parametrize("tok", list(TABLE))
def test_longer_prompts_reach_the_share_of_the_peak_that_kernels_have(tok: int) -> None:
    t, r = table("meta-llama/Llama-3.1-8B-Instruct"), rates("vllm-0.19").step
    load = prompts(float(tok))
    attention_s = times(counts(t, load), r).prefill_attention_s
    reached = load.prefill_tok * pairs_flop(t, load) / (attention_s * t.peak_0_flop_s)
    assert float(reached[0]) == pytest.approx(TABLE[tok], rel=0.13)


def test_a_narrow_window_takes_as_long_as_its_kernel() -> None:
    r = rates("vllm-0.19").step
    keys_tok = (128.0 + 0.5 * r.prefill_grain_tok) / r.prefill_attention_ratio
    assert keys_tok == pytest.approx(WINDOW_128_TOK, rel=0.25)


def test_single_queries_have_no_tile_to_fill() -> None:
    """Drafts under verification attend as decoding tokens do."""
    t, one = table("meta-llama/Llama-3.1-8B-Instruct"), np.ones(1)
    load = prompts(512.0)
    single = StepLoad(**{name: getattr(load, name) for name in StepLoad.__slots__} | {"prompt_tok": 0.0 * one})
    assert float(padding_flop(t, single, 500.0)[0]) == 0.0
    assert float((padding_flop(t, load, 500.0) / pairs_flop(t, load))[0]) == pytest.approx(500.0 / 256.0)


def test_sparse_attention_is_dense_up_to_its_keys_and_gathers_all_of_them_beyond() -> None:
    """DeepSeek-V3.2: 61 layers, 128 heads, 2,048 keys chosen of any number; latent keys of 576 and values of 512."""
    t = table("deepseek-ai/DeepSeek-V3.2", tensor=8)
    index = float(t.prefill_flop_0[0])  # the indexer scores every key
    short, long = prompts(2000.0), prompts(8192.0)
    dense = float(pairs_flop(t, short)[0])
    assert dense == pytest.approx(1000.0 * (index + 61 * 2.0 * 16 * (192 + 128)))
    sparse = float(pairs_flop(t, long)[0])
    assert sparse == pytest.approx(4096.0 * index + 2048.0 * 61 * 2.0 * 64 * (576 + 512))  # 16 heads fill a tile of 64
    assert float(padding_flop(t, long, 500.0)[0]) == pytest.approx(500.0 * index)
    assert float(padding_flop(t, short, 500.0)[0]) == pytest.approx(0.5 * dense)


def test_ranks_with_few_heads_gather_no_faster() -> None:
    """16 and 64 heads take 0.78 and 0.94 us a token and layer on H200 in the same table; 128 heads 1.66."""
    few, tile, two = (float(table("deepseek-ai/DeepSeek-V3.2", tensor=n).sparse_flop_tok[0]) for n in (8, 2, 1))
    assert few == tile == pytest.approx(two / 2.0)
