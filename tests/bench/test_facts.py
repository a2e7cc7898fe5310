"""What a manifest says of where the run was."""

from __future__ import annotations

import socket

import pytest

from joulemill.bench.facts import serves_here
from joulemill.catalog.stated_device import expected_counts
from joulemill.ledger.manifest import StatedDevice


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://127.8.9.1:8000", True),
        ("http://localhost:8000", True),
        ("http://[::1]:8000/v1", True),
        (f"http://{socket.gethostname()}:1/v1", True),
        ("http://10.1.2.3:8000", False),
        ("https://llm.example.com/v1", False),
        ("", False),
    ],
)
def test_whose_watts_may_be_taken(url: str, here: bool) -> None:
    assert serves_here(url) is here


def test_stated_boards_are_expected_at_the_meters_and_a_cpu_is_not() -> None:
    assert expected_counts(StatedDevice(name="h100", kind="gpu", count=8)) == {"device": 8}
    assert expected_counts(StatedDevice(name="epyc", kind="cpu", count=2)) == {}
    assert expected_counts(None) == {}
