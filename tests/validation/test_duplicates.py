"""Tables of latency points: copies of one measurement, drafts that no column states, loads and launch scripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulemill.physics.serving.deployment import Parallelism
from joulemill.validation.inferencex_loads import load_of
from joulemill.validation.inferencex_parallelism import first_parallelism
from joulemill.validation.inferencex_settings import LaunchKey, kv_cache_is_8bit, pool_recipe_of, recipe_of
from tests.support.latency_rows import AGGREGATED, APART, POOLS, dumped, listed, read


def test_a_copy_that_states_its_pools_tells_the_one_that_does_not(tmp_path: Path) -> None:
    rows = read(tmp_path, [dumped("2026-02-14", **APART), listed("2026-02-14", **APART, **POOLS)])
    assert [r.copies_count for r in rows] == [2, 2]
    assert [r.pools_stated for r in rows] == [True, True]
    assert rows[0].prefill_servers == rows[1].prefill_servers == 3.0
    assert rows[0].concurrency == rows[1].concurrency == 16.0
    assert [r.is_representative for r in rows] == [False, True]


def test_another_measurement_of_the_same_deployment_is_no_copy(tmp_path: Path) -> None:
    other = dumped("2026-02-14", **APART) | {"silicon_ttft_ms": "812.26"}
    rows = read(tmp_path, [other, listed("2026-02-14", **APART, **POOLS)])
    assert [r.copies_count for r in rows] == [1, 1]
    assert [r.pools_stated for r in rows] == [False, True]


def test_one_number_that_agrees_makes_no_copy(tmp_path: Path) -> None:
    half = {"silicon_tpot_ms": ""}
    rows = read(tmp_path, [dumped("2026-02-14", **AGGREGATED) | half, listed("2026-02-14", **AGGREGATED) | half])
    assert [r.copies_count for r in rows] == [1, 1]


def test_points_that_the_numbered_dump_leaves_out_ran_drafts(tmp_path: Path) -> None:
    fast = {"silicon_tpot_ms": "8.5"}
    rows = read(tmp_path, [dumped("2026-02-14", **APART) | fast, listed("2026-02-14", **APART, **POOLS)])
    assert [r.draft_count for r in rows] == [3, 0]
    assert rows[0].stratum == "drafted" and rows[0].groups["drafts"] == "read as drafted"
    assert any("inference" in note for note in rows[0].notes) and not any("inference" in n for n in rows[1].notes)
    assert rows[1].stratum == "disaggregated"


def test_an_aggregated_campaign_is_judged_as_a_whole(tmp_path: Path) -> None:
    """Drafts: a campaign of which nothing is listed, after one that is; not one within days of it, nor before it."""
    plain = listed("2025-12-15", **AGGREGATED)
    days = ["2025-12-15", "2025-12-17", "2026-01-14", "2025-11-01"]
    rows = read(tmp_path, [plain] + [dumped(d, **AGGREGATED, silicon_tpot_ms=str(9 + i)) for i, d in enumerate(days)])
    assert [r.draft_count for r in rows] == [0, 0, 0, 3, 0]


@pytest.mark.parametrize(
    "change",
    [
        {"model_path": "meta-llama/Llama-3.1-70B", "gemm_quant_mode": "fp8"},  # has no drafting layer
        {"system": "h100_sxm"},  # the numbered dump holds nothing of this device
        {"silicon_data_source": "somebody's own table"},
    ],
)
def test_nothing_else_is_read_as_drafted(tmp_path: Path, change: dict[str, str]) -> None:
    rows = read(tmp_path, [listed("2025-12-15", **AGGREGATED), dumped("2026-01-14", **AGGREGATED) | change])
    assert [r.draft_count for r in rows] == [0, 0]


def test_data_parallel_attention_drafts_one(tmp_path: Path) -> None:
    ranks = AGGREGATED | {"tp_size": "1", "attention_dp_size": "8", "moe_tp_size": "1", "moe_ep_size": "8"}
    rows = read(tmp_path, [listed("2025-12-15", **ranks), dumped("2026-01-14", **ranks, silicon_tpot_ms="9")])
    assert [r.draft_count for r in rows] == [0, 1]


def test_lengths_of_a_table_are_what_its_load_generator_made_of_them(tmp_path: Path) -> None:
    """InferenceX draws evenly from 0.8 to 1 of what it states; a table of unknown source is taken at its word."""
    rows = read(tmp_path, [dumped("2026-01-14", **AGGREGATED), dumped("", **AGGREGATED, silicon_data_source="mine")])
    assert rows[0].input_tok == pytest.approx(921.6)
    assert rows[0].spread_ratio == pytest.approx(0.0642, abs=1e-4)
    assert (rows[1].input_tok, rows[1].spread_ratio, rows[1].lockstep) == (1024.0, 0.0, False)
    assert load_of("source_file=/x/aic-auto-gap-analysis/data/h100_sxm/vllm/0.12.0/a.csv").lockstep


def launched(**change: object) -> LaunchKey:
    base: dict[str, object] = {
        "engine": "sglang",
        "model": "deepseek-ai/DeepSeek-R1",
        "device": "b200",
        "precision": "fp8",
        "version": "",
        "prompt_tok": 1024.0,
        "answer_tok": 1024.0,
        "in_flight_req": 64.0,
        "tensor_count": 8,
        "data_count": 1,
    }
    return LaunchKey(**(base | change))  # type: ignore[arg-type]


LLAMA, GPT, MINIMAX = "meta-llama/Llama-3.1-70B", "openai/gpt-oss-120b", "MiniMaxAI/MiniMax-M2.5"


@pytest.mark.parametrize(
    ("change", "settings"),
    [
        ({}, (32768, 30, 0, 0)),
        ({"in_flight_req": 8.0}, (32768, 10, 0, 0)),
        ({"tensor_count": 4}, (8192, 10, 0, 0)),
        ({"precision": "fp4"}, (16384, 30, 0, 0)),
        ({"device": "h200-sxm"}, (32768, 0, 0, 0)),
        ({"device": "h200-sxm", "model": "Qwen/Qwen3.5-397B-A17B"}, (16384, 0, 0, 0)),
        ({"model": "zhipuai/GLM-5"}, (32768, 0, 0, 0)),
        ({"engine": "trtllm"}, (64 + 1024 + 64, 0, 0, 0)),  # one prompt a step
        ({"engine": "trtllm", "version": "1.2.0rc6.post2"}, (8192, 0, 40, 0)),
        ({"engine": "trtllm", "data_count": 8}, (64 + 1024 + 64, 0, 60, 0)),
        ({"engine": "trtllm", "model": GPT}, (20000, 0, 0, 0)),
        ({"engine": "trtllm", "model": LLAMA, "tensor_count": 4}, (16384, 0, 20, 0)),
        ({"engine": "trtllm", "model": LLAMA}, (16384, 0, 0, 0)),
        ({"engine": "vllm-0.19", "model": LLAMA}, (8192, 0, 0, 0)),
        ({"engine": "vllm-0.19", "model": GPT}, (8192, 0, 0, 2048)),
        ({"engine": "vllm-0.19", "model": MINIMAX, "version": "0.17.0"}, (8192, 0, 0, 0)),
        ({"engine": "vllm-0.19", "model": MINIMAX, "version": "0.19.0"}, (2048, 0, 0, 2048)),
    ],
)
def test_settings_are_those_of_the_published_scripts(change: dict[str, object], settings: tuple[float, ...]) -> None:
    found = recipe_of(launched(**change))
    assert (found.max_batched_tok, found.scheduler_interval_count, found.hold_count, found.captured_tok) == settings


@pytest.mark.parametrize(
    ("change", "ranks", "max_batched_tok"),
    [
        ({}, 1, 32768),
        ({}, 8, 4096),  # SGLang divides by the ranks of data-parallel attention
        ({"engine": "trtllm", "version": "0.8.1.post2"}, 8, 16384),
        ({"engine": "trtllm", "version": "0.5.1-rc0.pre3"}, 8, 4608),
        ({"engine": "trtllm", "prompt_tok": 8192.0}, 1, 8448),
        ({"engine": "trtllm", "model": GPT}, 1, 8192),
    ],
)
def test_prefill_pools_hold_what_their_recipes_say(
    change: dict[str, object], ranks: int, max_batched_tok: float
) -> None:
    assert pool_recipe_of(launched(**change), ranks).max_batched_tok == max_batched_tok


@pytest.mark.parametrize(
    ("change", "devices", "cut"),
    [
        ({"precision": "fp4"}, 8, (8, 1, 8)),
        ({"precision": "fp4", "in_flight_req": 8.0}, 8, (8, 1, 1)),
        ({"precision": "fp4", "in_flight_req": 32.0}, 4, (4, 1, 1)),
        ({"precision": "fp4", "in_flight_req": 256.0}, 8, (1, 8, 8)),
        ({"precision": "fp4", "prompt_tok": 8192.0}, 4, (1, 4, 4)),
        ({"precision": "fp4", "prompt_tok": 8192.0, "in_flight_req": 32.0}, 8, (8, 1, 1)),
        ({}, 8, (1, 8, 8)),
        ({"answer_tok": 8192.0}, 8, (8, 1, 8)),
        ({"device": "h200-sxm"}, 8, (8, 1, 8)),
        ({"device": "h200-sxm", "prompt_tok": 8192.0}, 8, (1, 8, 8)),
        ({"version": "1.1.0rc2.post2"}, 8, (8, 1, 1)),
        ({"engine": "sglang"}, 8, (8, 1, 1)),
        ({"model": GPT}, 8, (8, 1, 1)),
    ],
)
def test_first_campaigns_were_cut_as_their_configuration_says(
    change: dict[str, object], devices: int, cut: tuple[int, int, int]
) -> None:
    found = first_parallelism(launched(**({"engine": "trtllm"} | change)), Parallelism(devices))
    assert (found.tensor, found.data, found.expert) == cut


@pytest.mark.parametrize(
    ("change", "quantized", "scripted", "narrow"),
    [
        ({}, True, True, True),
        ({}, True, False, False),
        ({"device": "h200-sxm"}, True, True, False),
        ({"device": "h200-sxm", "model": "Qwen/Qwen3.5-397B-A17B"}, True, True, True),
        ({"engine": "trtllm", "device": "h100-sxm", "model": "Qwen/Qwen3-32B"}, True, False, True),
        ({"engine": "trtllm", "model": "Qwen/Qwen3-32B"}, False, False, False),
        ({"engine": "trtllm", "device": "h200-sxm", "model": "openai/gpt-oss-120b"}, True, True, False),
        ({"engine": "vllm-0.19", "model": "meta-llama/Llama-3.1-70B"}, True, True, True),
        ({"engine": "vllm-0.19", "model": MINIMAX, "version": "0.17.0"}, True, True, False),
        ({"engine": "vllm-0.19", "model": MINIMAX, "version": "0.19.0"}, True, True, True),
    ],
)
def test_keys_are_in_8_bits_where_scripts_or_checkpoints_say_so(
    change: dict[str, object], quantized: bool, scripted: bool, narrow: bool
) -> None:
    assert kv_cache_is_8bit(launched(**change), quantized=quantized, scripted=scripted) is narrow


def at(in_flight: int, **more: str) -> dict[str, str]:
    return {
        "silicon_data_source": f"source_file=2026-04-06.csv; silicon_concurrency={in_flight}; measured=2026-02-09",
        **APART,
        **more,
    }


def test_pools_are_those_of_the_configuration_that_a_point_was_launched_with(tmp_path: Path) -> None:
    """TensorRT-LLM on H100, 4,916 in flight: two prefill workers and one decode worker of 16 ranks, no drafts."""
    wide = {"system": "h100_sxm", "decode_tp_size": "16", "prefill_tp_size": "16"}
    row = read(tmp_path, [dumped("2026-02-09", **at(4916, **wide))])[0]
    assert (row.parallelism.data, row.parallelism.expert, row.prefill_servers, row.concurrency) == (
        16,
        16,
        32.0,
        4916.0,
    )
    assert row.pools_known and row.pools_stated and row.draft_count == 0 and row.stratum == "disaggregated"


def test_a_configuration_that_only_drafts_needs_no_dump(tmp_path: Path) -> None:
    """615 in flight: only multi-token prediction of two tokens is listed; that is stated, not inferred."""
    wide = {"system": "h100_sxm", "decode_tp_size": "16", "prefill_tp_size": "16"}
    row = read(tmp_path, [dumped("2026-02-09", **at(615, **wide))])[0]
    assert (row.draft_count, row.parallelism.data, row.stratum) == (2, 16, "drafted")
    assert not any("inference" in note for note in row.notes)


def test_a_deployment_of_which_no_configuration_drafts_never_does(tmp_path: Path) -> None:
    """SGLang on GB200: the dump leaves the point out, and still nothing drafted."""
    wide = {"system": "gb200", "backend": "sglang", "decode_tp_size": "48", "prefill_tp_size": "8"}
    other = listed("2026-02-09", **APART, **POOLS) | wide | {"silicon_ttft_ms": "900", "silicon_tpot_ms": "20"}
    rows = read(tmp_path, [dumped("2026-02-09", **at(1024, **wide)), other])
    assert rows[0].draft_count == 0 and rows[0].parallelism.data == 48 and rows[0].prefill_servers == 24.0


def test_pools_in_columns_stand_before_those_of_a_configuration(tmp_path: Path) -> None:
    row = read(tmp_path, [dumped("2026-02-09", **at(64), **POOLS)])[0]
    assert (row.parallelism.tensor, row.prefill_servers, row.launches) == (8, 3.0, ())
