"""Which dtype a device multiplies in, and at what peak."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.catalog.devices import find_device
from joulemill.errors import InputError
from joulemill.physics.hardware.device import WIDER, Device, balance_flop_byte, compute_dtype, peak_flop_s


def device(**peaks: float) -> Device:
    return Device(
        name="d", label="D", vendor="V", kind="gpu", peak_flop_s=peaks, memory_byte=80e9, memory_bandwidth_byte_s=2e12
    )


def test_weights_in_four_bits_run_in_eight_or_sixteen() -> None:
    a100 = device(bf16=312e12, fp16=312e12, int8=624e12)
    assert compute_dtype(a100, "fp8") == "bf16"
    assert compute_dtype(a100, "fp4") == "bf16"
    assert compute_dtype(a100, "int4") == "int8"
    assert compute_dtype(device(bf16=1.0, fp8=2.0), "fp4") == "fp8"


def test_a_card_without_bf16_uses_fp16() -> None:
    assert compute_dtype(device(fp16=65e12), "bf16") == "fp16"


@given(dtype=st.sampled_from(sorted(WIDER)), peak=st.floats(1e9, 1e16))
def test_everything_runs_on_fp32_at_last(dtype: str, peak: float) -> None:
    wide = device(fp32=peak)
    assert peak_flop_s(wide, dtype) == peak
    assert balance_flop_byte(wide, dtype) * wide.memory_bandwidth_byte_s == pytest.approx(peak)


def test_nothing_wide_enough() -> None:
    with pytest.raises(InputError, match="no peak for bf16"):
        compute_dtype(device(fp8=1.0), "bf16")
    with pytest.raises(InputError, match="not known"):
        compute_dtype(device(bf16=1.0), "bf17")


def test_an_impossible_device_is_refused() -> None:
    with pytest.raises(InputError, match="below idle"):
        Device(
            name="d",
            label="D",
            vendor="V",
            kind="gpu",
            peak_flop_s={"bf16": 1.0},
            memory_byte=1.0,
            memory_bandwidth_byte_s=1.0,
            tdp_w=10.0,
            idle_w=20.0,
        )


def test_resting_power_is_the_idle_power_or_a_share_of_tdp_or_unknown() -> None:
    bare = Device(
        name="d",
        label="D",
        vendor="V",
        kind="gpu",
        peak_flop_s={"bf16": 1.0},
        memory_byte=1.0,
        memory_bandwidth_byte_s=1.0,
    )
    assert bare.resting_w is None
    assert replace(bare, tdp_w=100.0).bare_w == pytest.approx(12.0)
    assert replace(bare, tdp_w=100.0, idle_w=7.0).bare_w == 7.0
    # With a model loaded a context is open: 7 % of TDP more where it was not measured (assumed), none on a CPU.
    assert replace(bare, tdp_w=100.0, idle_w=7.0).resting_w == pytest.approx(14.0)
    assert replace(bare, tdp_w=100.0, idle_w=7.0, kind="cpu").resting_w == 7.0
    assert replace(bare, tdp_w=100.0, idle_w=7.0, loaded_idle_w=9.0).resting_w == 9.0
    with pytest.raises(InputError, match="below idle without"):
        replace(bare, idle_w=7.0, loaded_idle_w=5.0)


@pytest.mark.parametrize(
    ("name", "newest"),
    [("b200", True), ("gb300", True), ("mi355x", True), ("h200", False), ("rtx-5090", False), ("rtx-4090", False)],
)
def test_what_was_found_on_b200_holds_for_4_bit_units_with_hbm(name: str, newest: bool) -> None:
    """Memory by data sheet: HBM3e, HBM3e, HBM3E, HBM3e, GDDR7, GDDR6X."""
    assert find_device(name).is_newest == newest
