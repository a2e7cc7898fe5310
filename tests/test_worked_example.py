"""The worked example of docs/model.md: redone by hand, compared with Joulemill, and as the page shows it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def example() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("worked_example", ROOT / "docs" / "worked_example.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_the_hand_calculation_and_joulemill_agree(example: ModuleType) -> None:
    """Plain arithmetic on the data sheet, the model's shape and the fitted coefficients gives what predict reports."""
    hand, computed = example.by_hand(), example.by_joulemill()
    assert {"rate", "power", "device_j_tok", "c_tok", "b_tok", "phi", "plain"} <= set(hand) & set(computed)
    for key in set(hand) & set(computed):
        assert hand[key] == pytest.approx(computed[key], rel=1e-3), key


def test_the_example_keeps_littles_law(example: ModuleType) -> None:
    """B·O/X = TTFT + (O − 1)·TPOT."""
    document = example.document()
    stay_s = example.CONCURRENCY * example.OUTPUT_TOK / document["rate_tok_s"]["value"]
    latency_s = document["ttft_s"]["value"] + (example.OUTPUT_TOK - 1) * document["tpot_s"]["value"]
    assert stay_s == pytest.approx(latency_s, rel=1e-6)


def test_the_page_shows_todays_numbers(example: ModuleType) -> None:
    page = example.PAGE.read_text("utf-8")
    assert example.written(page) == page, "run: python docs/worked_example.py"
    assert example.FIGURE.read_text("utf-8") == example.figure(), "run: python docs/worked_example.py"
    shown = page.split("## Worked example", 1)[1].split(example.START, 1)[0]
    shown = shown.replace("<sub>", "_").replace("</sub>", "")
    c = example.coefficients()
    for text in (
        f"η_mem = {c['memory']:.3f}",
        f"η_att = {c['attention_memory']:.3f}",
        f"η_mat = {c['wide_compute']:.3f}",
        f"η_pre = {c['prefill_attention']:.3f}, δ = {c['prefill_grain']:.0f}",
        f"τ_kernel = {c['kernel'] * 1e6:.2f} µs",
        f"σ = {c['sampling']:.0f} byte",
        f"τ_step = {c['step'] * 1e3:.2f} ms",
        f"τ_seq = {c['sequence'] * 1e6:.1f} µs",
        f"{c['overlap']:.0%} run".replace("%", " %"),
        f"χ = {c['arrival_burst']:.3f}, κ = {c['context']:.3f}, launches outside a graph {c['eager']:.2f} times",
        f"s_floor = {c['wait_power']:.3f}",
        f"s_busy = {c['busy_power']:.3f}",
        f"s_flop = {c['flop_energy']:.2f}",
        f"ε_byte = {c['byte_energy'] * 1e12:.0f} pJ",
    ):
        assert text in " ".join(shown.split()), f"the page states another coefficient than {text}"
