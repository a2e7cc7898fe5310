"""Speculative decoding: what a step yields, and the acceptance rate that a yield tells of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.physics.serving.speculation import accepted_tok, yield_acceptance_ratio


def test_a_yield_by_hand() -> None:
    """Of three drafted tokens, each accepted with 0.8 after those before it: 1 + 0.8 + 0.64 + 0.512."""
    assert float(accepted_tok(3, 0.8)) == pytest.approx(2.952)
    assert yield_acceptance_ratio(2.952, 3) == pytest.approx(0.8)


@given(count=st.integers(1, 16), ratio=st.floats(0.0, 1.0))
def test_the_acceptance_is_that_of_the_yield(count: int, ratio: float) -> None:
    yielded = float(accepted_tok(count, ratio))
    assert float(accepted_tok(count, yield_acceptance_ratio(yielded, count))) == pytest.approx(yielded, abs=1e-9)


def test_a_yield_that_cannot_be_is_all_or_nothing() -> None:
    assert yield_acceptance_ratio(0.5, 2) == 0.0
    assert yield_acceptance_ratio(3.5, 2) == 1.0
