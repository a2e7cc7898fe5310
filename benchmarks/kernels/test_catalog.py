"""The fitted kernels: complete, physical, and near to what was measured where the measurements are at hand."""

from __future__ import annotations

import csv
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from benchmarks.kernels.catalog import BOARDS, TABLE, kernel, kernels
from benchmarks.kernels.law import busy_s
from benchmarks.kernels.work import decode_attention, gemm

from joulemill.catalog.devices import find_device
from joulemill.errors import InputError

OPS = Path(__file__).parents[2].parent / "shared" / "data" / "ops"


def facts() -> list[dict[str, str]]:
    with TABLE.open(encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_every_row_has_unit_basis_source() -> None:
    for row in facts():
        assert row["unit"] and row["source"], row
        assert row["basis"] in ("calibrated", "measured", "assumed"), row
        assert row["stderr"] == "" or float(row["stderr"]) >= 0, row


def test_no_fact_twice() -> None:
    keys = [
        tuple(row[k] for k in ("family", "dtype", "device", "framework", "variant", "parameter")) for row in facts()
    ]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("key", list(kernels()), ids=" ".join)
def test_coefficients_are_physical(key: tuple[str, str, str, str, str]) -> None:
    k = kernels()[key]
    assert 0 < k.rate.compute_ratio <= 1 and 0 < k.rate.memory_ratio <= 1
    assert 0 < k.rate.launch_s < 1e-3
    assert all(g >= 0 for g in (*k.rate.compute_grain_count, *k.rate.memory_grain_count))
    if k.energy is not None:
        assert 50 < k.energy.static_w < 300
        assert min(k.energy.active_w, k.energy.energy_j_flop, k.energy.energy_j_byte) >= 0
        assert 20e-12 < k.energy.energy_j_byte < 200e-12
        assert k.energy.energy_j_flop < 20e-12


def test_narrower_arithmetic_costs_less_a_flop() -> None:
    wide, narrow = kernel("gemm", "bf16", generation="blackwell"), kernel("gemm", "nvfp4", generation="blackwell")
    assert wide.energy is not None and narrow.energy is not None
    assert narrow.energy.energy_j_flop < wide.energy.energy_j_flop


def test_kernels_that_serving_leans_on_meet_their_bounds() -> None:
    for family, dtype, bound in (("gemm", "bf16", 0.12), ("moe", "bf16", 0.12), ("moe", "fp8", 0.12)):
        for generation in ("hopper", "blackwell"):
            k = kernel(family, dtype, generation=generation)
            assert not k.stand_in
            assert k.latency_error_ratio is not None and k.latency_error_ratio <= bound
            assert k.power_error_ratio is not None and k.power_error_ratio <= 0.13


def test_watts_of_the_middle_kernel_are_within_a_tenth_on_shapes_left_out() -> None:
    errors = [k.power_error_ratio for k in kernels().values() if k.power_error_ratio]
    assert len(errors) > 60 and median(errors) <= 0.10


def test_a_stand_in_says_so_and_is_less_sure() -> None:
    same = kernel("gemm", "bf16")
    other = kernel("gemm", "bf16", framework="trtllm")
    assert other.stand_in == ("framework vllm for trtllm",)
    assert other.rate.spread_ratio > same.rate.spread_ratio
    four_bit = kernel("gemm", "nvfp4", generation="hopper")
    assert four_bit.device == "h200" and four_bit.dtype == "bf16"


def test_nearest_head_size_and_window() -> None:
    assert kernel("decode_attention", "bf16", head_dim=96).variant in ("d64", "d128")
    assert kernel("decode_attention", "bf16", head_dim=64, windowed=True).variant == "d64w"


def test_unknown_asks_are_refused() -> None:
    with pytest.raises(InputError, match="families"):
        kernel("convolution", "bf16")
    with pytest.raises(InputError, match="hopper"):
        kernel("gemm", "bf16", generation="volta")


def peaks(name: str) -> tuple[float, float]:
    board = find_device(BOARDS[name])
    return board.peak_flop_s["bf16"], board.memory_bandwidth_byte_s


def measured(name: str, **where: object) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow reads the measured kernels")
    path = OPS / name
    if not path.exists():
        pytest.skip(f"measured kernels are not beside the project: {path.name}")
    table = pq.read_table(path)
    columns = {c: table[c].to_numpy(zero_copy_only=False) for c in table.column_names}
    keep = np.all([columns[c] == v for c, v in where.items()], axis=0)
    return columns["latency"][keep] * 1e-3, {c: v[keep] for c, v in columns.items()}


@pytest.mark.parametrize(
    ("name", "file"), [("h200", "h200_sxm__gemm__vllm-0.22.0"), ("b200", "b200_sxm__gemm__vllm-0.22.0")]
)
def test_products_agree_with_the_measured_ones(name: str, file: str) -> None:
    time_s, t = measured(f"{file}__gemm_perf.parquet", gemm_dtype="bfloat16")
    rate = kernels()["gemm", "bf16", name, "vllm", ""].rate
    predicted = rate.launch_s + busy_s(gemm(t["m"], t["n"], t["k"], 2.0, 2.0), rate, *peaks(name))
    error = np.abs(predicted / time_s - 1)
    assert np.median(error[time_s > 50e-6]) < 0.08
    assert np.median(error) < 0.12


def test_decode_attention_agrees_with_the_measured_ones() -> None:
    time_s, t = measured(
        "h200_sxm__attention__vllm-0.22.0__generation_attention_perf.parquet",
        head_dim=128,
        kv_cache_dtype="bfloat16",
        window_size=0,
    )
    k = kernel("decode_attention", "bf16", head_dim=128)
    work = decode_attention(t["batch_size"], t["step"] + 1.0, t["num_heads"], t["num_key_value_heads"], 128.0, 2.0)
    predicted = k.rate.launch_s + busy_s(work, k.rate, *peaks("h200"))
    long = (time_s > 50e-6) & (t["step"] >= 511)
    assert np.median(np.abs(predicted / time_s - 1)[long]) < 0.06
