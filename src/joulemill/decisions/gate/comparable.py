"""May the joules of two runs be compared? What must agree, and what differs. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from joulemill.decisions.gate.sample import Sample

#: Numbers of two runs of the same load (mean lengths, which are drawn) may part by this share. Assumed.
SAME_NUMBER_RATIO = 0.10


@dataclass(frozen=True, slots=True)
class Difference:
    """A condition that is not the same in all runs; ``values`` one a run, "unknown" where it is not known."""

    name: str
    values: tuple[str, ...]

    @property
    def text(self) -> str:
        """One line."""
        return f"{self.name}: {' | '.join(dict.fromkeys(self.values))}"


def differences(samples: Sequence[Sample]) -> tuple[Difference, ...]:
    """Conditions that forbid a comparison of joules: those known in some runs and not the same in all."""
    names = dict.fromkeys(n for s in samples for n in s.conditions)
    differing = [
        Difference(n, tuple(_text(s.conditions.get(n)) for s in samples)) for n in names if not _same(samples, n)
    ]
    every = {
        "latency targets": tuple(_targets(s) for s in samples),
        "basis of the joules": tuple(str(s.figure.basis) for s in samples if s.figure.known),
        "meters": tuple(", ".join(sorted(s.meters)) or "none" for s in samples if s.figure.known),
    }
    return (*differing, *(Difference(n, v) for n, v in every.items() if len(set(v)) > 1))


def unstated(samples: Sequence[Sample]) -> tuple[str, ...]:
    """Conditions that no run states: that they are the same is taken on trust."""
    names = dict.fromkeys(n for s in samples for n in s.conditions)
    return tuple(n for n in names if all(s.conditions.get(n) is None for s in samples))


def same_sensor(samples: Sequence[Sample]) -> bool:
    """Whether all joules come from the same physical sensors, so that their systematic error cancels."""
    return len({s.sensors for s in samples if s.figure.known}) <= 1


def _same(samples: Sequence[Sample], name: str) -> bool:
    values = [s.conditions.get(name) for s in samples]
    numbers = [v for v in values if isinstance(v, (int, float))]
    if len(numbers) == len(values):
        least, most = min(numbers), max(numbers)
        return math.isclose(least, most, rel_tol=SAME_NUMBER_RATIO)
    return len(set(values)) == 1


def _text(value: str | float | None) -> str:
    if value is None:
        return "unknown"
    return value if isinstance(value, str) else f"{value:.6g}"


def _targets(sample: Sample) -> str:
    named = zip(("TTFT", "TPOT"), sample.targets_s, strict=True)
    return ", ".join(f"{n} {t:g} s" for n, t in named if t is not None) or "none"
