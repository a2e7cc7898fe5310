"""What unloading returns of a target's idle power: the contexts of its boards, known only where the boards are."""

from __future__ import annotations

import pytest

from joulemill.monitor.advice.contexts import open_context_w


def test_contexts_of_known_boards() -> None:
    """An H100 idles at 121.6 W with a context open and at 70 W bare; a GeForce board clocks down with one open."""
    assert open_context_w("NVIDIA H100 80GB HBM3", 2) == pytest.approx(2 * 51.6)
    assert open_context_w("h100", None) == pytest.approx(51.6)
    assert open_context_w("rtx-5090", 1) == 0.0


@pytest.mark.parametrize("device", [None, "", "no such board"])
def test_unknown_boards_are_unknown(device: str | None) -> None:
    assert open_context_w(device, 8) is None
