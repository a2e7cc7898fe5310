"""What was never measured is less sure: every group without runs widens the interval, and the answer says so."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from joulemill.catalog.devices import device_names, find_device
from joulemill.catalog.serving import engines, group_cost_ratio
from joulemill.prediction.predict import answer
from joulemill.prediction.question import PredictionRequest
from joulemill.prediction.spread import NEWEST, Kind, half_width_ratio, unmeasured

QUANTITIES = ("energy_j_tok", "power_w", "rate_tok_s", "tpot_s", "ttft_s", "node_energy_j_tok")
FORMATS = ("bf16", "fp8", "fp8_block", "mxfp4", "nvfp4", "int8", "int4", "nf4", "int8_weight_only")


def test_no_unmeasured_group_makes_an_interval_narrower() -> None:
    random = np.random.default_rng(8)
    devices = [find_device(n) for n in device_names()]
    for _ in range(4000):
        quantity = QUANTITIES[random.integers(len(QUANTITIES))]
        device = devices[random.integers(len(devices))]
        formats = tuple(sorted(random.choice(FORMATS, size=random.integers(1, 3), replace=False)))
        kind = Kind(
            engine=engines()[random.integers(4)],
            device=device.name,
            vendor=device.vendor,
            formats=formats,
            is_moe=bool(random.random() < 0.5),
        )
        known = replace(kind, device="h100-sxm", vendor="NVIDIA", formats=("bf16",))
        width, least = half_width_ratio(quantity, kind), half_width_ratio(quantity, known)
        new = [g for g in unmeasured(quantity, kind) if g not in unmeasured(quantity, known)]
        if new:
            name = {"node_energy_j_tok": "energy_j_tok"}.get(quantity, quantity)
            cost = math.hypot(*(group_cost_ratio(name, "device" if g == "vendor" else g) for g in new))
            assert width >= math.hypot(least, cost) * (1 - 1e-12)
        else:  # what was measured often enough may be surer than older silicon in 16 bits
            assert width >= 0.4 * least


def test_devices_with_4_bit_units_are_those_of_the_catalog() -> None:
    assert set(NEWEST) == {n for n in device_names() if "fp4" in find_device(n).peak_flop_s}


@pytest.mark.parametrize(
    ("seen", "unseen"),
    [("h100", "h100-nvl"), ("h100", "h100-pcie"), ("b200", "b300"), ("h100-nvl", "l40s"), ("l40s", "mi300x")],
)
def test_a_board_form_a_generation_and_a_vendor_without_runs_are_less_sure(seen: str, unseen: str) -> None:
    question = PredictionRequest(model="meta-llama/Llama-3.1-8B-Instruct", device=seen, concurrency=16.0)
    figures = [answer(replace(question, device=d)).prediction.device_j_tok for d in (seen, unseen)]
    known, other = (math.log((f.high or 0.0) / (f.low or 1.0)) for f in figures)
    assert other > known * 1.02


def test_amd_does_not_inherit_nvidias_efficiencies_unsaid() -> None:
    notes = " ".join(answer(PredictionRequest(model="Qwen/Qwen3-32B", device="mi300x", concurrency=8.0)).every_note)
    assert "no run of AMD's devices was measured" in notes and "NVIDIA's kernels" in notes


def test_weight_only_formats_carry_their_published_caveat_at_small_batch() -> None:
    question = PredictionRequest(model="Qwen/Qwen3-8B", device="h100", precision="nf4")
    small, large = (" ".join(answer(replace(question, concurrency=c)).every_note) for c in (1.0, 64.0))
    assert "LLM.int8() +17 to +33 %" in small and "no energy was measured in nf4" in small
    assert "LLM.int8()" not in large and "no energy was measured in nf4" in large
