"""Every reason code has a fault test of its own: one that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulemill.ledger.reasons import Finding, Reason, distinct, refused, why

TESTS = Path(__file__).parents[1]
TEXT = "\n".join(p.read_text("utf-8") for p in TESTS.rglob("test_*.py") if p != Path(__file__))


@pytest.mark.parametrize("reason", Reason)
def test_a_fault_test_names_it(reason: Reason) -> None:
    assert f"Reason.{reason.name}" in TEXT


def test_only_a_fatal_finding_refuses() -> None:
    caveat, fatal = Finding(Reason.LATE, "a", "x"), Finding(Reason.GAP, "a", "y", fatal=True)
    assert not refused([caveat]) and refused([caveat, fatal])
    assert why([caveat, fatal, fatal]) == "gap_exceeded: a: y"
    assert distinct([caveat, fatal, caveat]) == (caveat, fatal)
