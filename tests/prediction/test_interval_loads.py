"""Widths differ by the class of load and by whether a replica has one board: as left-out errors do."""

from __future__ import annotations

import numpy as np
import pytest

from joulemill.catalog.serving import load_ratios
from joulemill.prediction.spread import LOADS, PROMPTS_RATIO, Kind, half_width_ratio, load_class, load_classes

KIND = Kind(engine="vllm-0.11", device="b200", formats=("bf16",))


def test_classes_end_where_they_are_said_to() -> None:
    assert [load_class(b, 0.1) for b in (1.0, 64.0, 65.0, 256.0, 257.0, 4096.0)] == [0, 0, 1, 1, 2, 2]
    assert [load_class(1.0, r) for r in (0.0, PROMPTS_RATIO[0], 1.0, PROMPTS_RATIO[1], 2.1)] == [0, 0, 3, 3, 6]
    assert load_classes([8.0, 512.0], [1.0, 30.0]).tolist() == [load_class(8.0), LOADS - 1]
    assert all(len(ratios) == LOADS for ratios in load_ratios().values())


@pytest.mark.parametrize("quantity", ["rate_tok_s", "itl_s", "tpot_s", "ttft_s"])
def test_large_batches_are_less_sure(quantity: str) -> None:
    small, medium, large = (half_width_ratio(quantity, KIND, load) for load in range(3))
    assert small < medium < 1.05 * large  # of time to first token both are as sure


def test_a_factor_scales_what_was_measured_and_no_more() -> None:
    """What an unmeasured device adds to the least sure of those that were measured stays, whatever the load."""
    kinds = [Kind(engine="vllm-0.11", device=d, formats=("bf16",)) for d in ("b200", "h100-sxm", "b300")]
    widths = np.array([[half_width_ratio("rate_tok_s", kind, load) for load in range(LOADS)] for kind in kinds])
    added = widths[2] ** 2 - np.max(widths[:2], axis=0) ** 2
    assert added == pytest.approx(np.full(LOADS, added[0]))


def test_one_newest_board_is_less_sure_than_several() -> None:
    alone = Kind(engine="vllm-0.11", device="b200", formats=("bf16",), single=True)
    assert half_width_ratio("rate_tok_s", alone, 0) > 2.0 * half_width_ratio("rate_tok_s", KIND, 0)
    older = Kind(engine="vllm-0.11", device="h100-sxm", formats=("bf16",))
    one = Kind(engine="vllm-0.11", device="h100-sxm", formats=("bf16",), single=True)
    assert half_width_ratio("rate_tok_s", one, 0) == half_width_ratio("rate_tok_s", older, 0)
