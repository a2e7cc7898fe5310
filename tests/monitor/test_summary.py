from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from joulemill.monitor.snapshot import TargetState
from joulemill.monitor.summary import _target


@pytest.mark.parametrize(
    ("phi_reason", "says"),
    [
        ("the server's page has no counter of output tokens", "the server's page has no counter of output tokens"),
        (None, "its page has shown no count yet"),
    ],
)
def test_why_there_are_no_tokens_is_said(phi_reason: str | None, says: str) -> None:
    latest = SimpleNamespace(reason=None, phi_reason=phi_reason, tokens={}, duration_s=1.0, findings=(), observed=True)
    target = SimpleNamespace(up=True, reason=None, tokens={}, energy_j={}, latest=latest)
    assert f"output unknown: {says}" in list(_target(cast(TargetState, target)))
