"""docs/security.md: every finding has tests, they are there, and they carry its mark."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = re.findall(r"^\| (F\d+) \|[^|]*\|(.*)\|([^|]*)\|$", (ROOT / "docs" / "security.md").read_text("utf-8"), re.M)


def test_findings_are_listed_once_and_all_say_what_holds() -> None:
    names = [name for name, _, _ in ROWS]
    assert len(names) == len(set(names)) >= 44
    assert all(holds.strip() and tests.strip() for _, holds, tests in ROWS)


@pytest.mark.parametrize(("finding", "tests"), [(name, tests) for name, _, tests in ROWS], ids=[r[0] for r in ROWS])
def test_each_finding_has_tests_that_carry_its_mark(finding: str, tests: str) -> None:
    named = re.findall(r"(tests/[\w/]+\.py)::(\w+)", tests)
    assert named, f"{finding} names no test"
    for file, function in named:
        assert re.search(rf"^(async )?def {function}\b", (ROOT / file).read_text("utf-8"), re.M), f"{file}::{function}"
    assert any(f'finding("{finding}")' in (ROOT / file).read_text("utf-8") for file, _ in named), finding
