"""What the documents name must be there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMED = re.findall(r"`([a-z_/]+\.py)::(\w+)`", (ROOT / "docs" / "measuring.md").read_text())


def test_every_trap_names_a_test() -> None:
    table = (
        (ROOT / "docs" / "measuring.md")
        .read_text()
        .split("## Traps, and what Joulemill does", 1)[1]
        .split("\n## ", 1)[0]
    )
    rows = [line for line in table.splitlines() if line.startswith("| ") and "---" not in line][1:]
    assert len(rows) >= 25 and len(rows) == len(NAMED)


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_a_named_test_is_there(file: str, test: str) -> None:
    assert f"\ndef {test}(" in (ROOT / "tests" / file).read_text()
