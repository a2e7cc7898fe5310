"""How columns of latency points are read: every case is a way that real tables write one deployment."""

from __future__ import annotations

import pytest

from joulemill.catalog.models import find_model
from joulemill.physics.model.architecture import Architecture
from joulemill.physics.serving.deployment import Parallelism
from joulemill.validation.parallelism import ParallelismReading, read_parallelism

B200_BYTE, DEEPSEEK_BYTE = 180e9, 690e9


@pytest.fixture(scope="module")
def deepseek() -> Architecture:
    return find_model("deepseek-ai/DeepSeek-R1").architecture


def agg(
    a: Architecture, columns: tuple[str, str, str, str], batch: str = "", loop: float | None = 64
) -> ParallelismReading:
    tp, dp, wide, spread = columns
    row = {
        "mode": "agg",
        "tp_size": tp,
        "attention_dp_size": dp,
        "moe_tp_size": wide,
        "moe_ep_size": spread,
        "batch_size": batch,
    }
    return read_parallelism(row, a, B200_BYTE, DEEPSEEK_BYTE, loop)


@pytest.mark.parametrize(
    ("columns", "parallelism"),
    [
        (("8", "1", "8", "1"), Parallelism(8, 1, 1)),
        (("8", "1", "1", "8"), Parallelism(8, 1, 8)),
        (("64", "1", "8", "8"), Parallelism(8, 1, 8)),  # the same eight devices, twice
        (("1", "64", "8", "8"), Parallelism(1, 8, 8)),
        (("4", "4", "1", "16"), Parallelism(1, 4, 4)),
        (("4", "1", "2", "2"), Parallelism(2, 1, 2)),
        (("4", "", "2", "2"), Parallelism(4, 1, 2)),  # ranks not stated: nothing is counted twice
        (("1", "", "4", "1"), Parallelism(1, 4, 1)),  # experts lie on more devices than a tensor group has
    ],
)
def test_aggregated_points(
    deepseek: Architecture, columns: tuple[str, str, str, str], parallelism: Parallelism
) -> None:
    assert agg(deepseek, columns) == ParallelismReading(parallelism)


def test_a_batch_a_rank_tells_ranks_that_are_not_stated(deepseek: Architecture) -> None:
    assert agg(deepseek, ("4", "", "1", "4"), batch="56", loop=224).parallelism == Parallelism(1, 4, 4)
    assert agg(deepseek, ("4", "", "1", "4"), batch="224", loop=224).parallelism == Parallelism(4, 1, 4)


@pytest.mark.parametrize(("devices", "decode", "prompts"), [(72, 32, 40), (48, 32, 16), (36, 32, 4), (20, 16, 4)])
def test_heads_that_cannot_be_cut_are_all_devices_of_both_pools(
    deepseek: Architecture, devices: int, decode: int, prompts: int
) -> None:
    """128 heads do not divide by 72: rows that state their pools have 40 prefill and 32 decode devices there."""
    found = agg(deepseek, (str(devices), "1", str(devices), "1"))
    assert found.parallelism == Parallelism(1, decode, decode)
    assert found.prefill is not None and found.prefill_servers == prompts


def pools(a: Architecture, tp: str, loop: float, prompt_tok: str = "8192") -> ParallelismReading:
    row = {
        "mode": "disagg",
        "isl": prompt_tok,
        "osl": "1024",
        "prefill_tp_size": tp,
        "decode_tp_size": tp,
        "decode_moe_tp_size": "1",
        "decode_moe_ep_size": tp,
    }
    return read_parallelism(row, a, B200_BYTE, DEEPSEEK_BYTE, loop)


def test_much_latent_context_is_served_by_ranks(deepseek: Architecture) -> None:
    """16 requests of 9,216 tokens fit a tensor group; 512 do not, since each device would hold all of their cache."""
    assert pools(deepseek, "8", 16).parallelism == Parallelism(8, 1, 8)
    assert pools(deepseek, "8", 512).parallelism == Parallelism(1, 8, 8)


def test_one_device_that_cannot_hold_the_weights_is_read_as_ranks_that_do(deepseek: Architecture) -> None:
    """690 GB on devices of 180 GB take five, so eight."""
    assert pools(deepseek, "1", 16).parallelism == Parallelism(1, 8, 8)


def test_pools_that_are_stated_are_taken_as_they_are(deepseek: Architecture) -> None:
    row = {
        "mode": "disagg",
        "isl": "8192",
        "osl": "1024",
        "prefill_num_workers": "2",
        "prefill_tp_size": "1",
        "prefill_attention_dp_size": "8",
        "prefill_moe_ep_size": "8",
        "decode_batch_size": "8",
        "decode_num_workers": "3",
        "decode_tp_size": "1",
        "decode_attention_dp_size": "8",
        "decode_moe_ep_size": "8",
    }
    found = read_parallelism(row, deepseek, B200_BYTE, DEEPSEEK_BYTE, 192.0)
    assert found == ParallelismReading(Parallelism(1, 8, 8), Parallelism(1, 8, 8), 3, 16)
