"""Seeded mutations of what each parser understands: it reads or refuses, and raises nothing else."""

from __future__ import annotations

import random

import pytest

from tests.support.parsers import PARSERS, SEEDS, mutated, outcome

MUTATIONS = 250


@pytest.mark.parametrize("name", sorted(PARSERS))
def test_seeds_are_understood(name: str) -> None:
    assert SEEDS[name] and {outcome(name, seed)[0] for seed in SEEDS[name]} == {"read"}


@pytest.mark.finding("F31")
@pytest.mark.finding("F32")
@pytest.mark.parametrize("name", sorted(PARSERS))
def test_no_input_raises_anything_else(name: str) -> None:
    dice = random.Random(f"{name} 1")
    outcomes = {outcome(name, mutated(dice.choice(SEEDS[name]), dice))[0] for _ in range(MUTATIONS)}
    assert outcomes <= {"read", "refused"}
