"""Every parser under mutated inputs: a few of each, repeatable, and what failed in earlier runs of ``make fuzz``."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from joulemill.errors import JoulemillError
from tests.fuzz.feeding import fuzz
from tests.fuzz.targets import CORPUS, TARGETS, seeds_of

KEPT = sorted(p for p in CORPUS.glob("*/*") if p.parent.name in TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_a_seed_is_understood(name: str) -> None:
    TARGETS[name](seeds_of(name)[0])


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_inputs_are_read_or_refused(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tests.fuzz.feeding.CORPUS", tmp_path)
    tally = fuzz(name, seed=1, inputs=60, most_s=30.0)
    assert not tally.uncaught, f"{dict(tally.uncaught)}; the inputs are in {tmp_path}"


@pytest.mark.parametrize("path", KEPT, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_what_failed_before_is_read_or_refused(path: Path) -> None:
    with suppress(JoulemillError):
        TARGETS[path.parent.name](path.read_bytes())
