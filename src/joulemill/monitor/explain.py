"""What an interval says of its target: ceilings by the production function, what binds, Φ and U.

The ceilings are those that ``joulemill predict`` computes for the stated device and model at the interval's load, and
the constraint is named by the same diagnosis as a measured run's. What the configuration does not state stays unknown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from joulemill.decisions.diagnosis import diagnose
from joulemill.decisions.evidence import Evidence
from joulemill.errors import JoulemillError
from joulemill.figure import Basis, Figure
from joulemill.monitor.snapshot import Ceiling, Interval, TargetFacts, TokenKind
from joulemill.physics.ceilings import CeilingValue
from joulemill.reports.predict_view import Question, answer

#: Loads within this factor of each other share a prediction (assumed): ceilings move far less than that.
STEP_RATIO = 1.25
#: Lengths of a request where the server does not tell how many ended. Assumed.
USUAL_TOK = (512.0, 256.0)
#: At most so many predictions are remembered.
REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Load:
    """An interval's load, rounded so that alike ones share a prediction."""

    input_tok: float
    output_tok: float
    batch_req: float


def load_of(interval: Interval, lengths: tuple[float | None, float | None]) -> Load:
    """The load of ``interval`` with its mean input and output ``lengths``; the usual ones where they are unknown."""
    given = [x or usual for x, usual in zip(lengths, USUAL_TOK, strict=True)]
    return Load(_rounded(given[0]), _rounded(given[1]), _rounded(interval.running_count or 1.0))


def _rounded(x: float) -> float:
    return float(STEP_RATIO ** round(math.log(max(x, 1.0)) / math.log(STEP_RATIO)))


@dataclass(frozen=True, slots=True)
class Predicted:
    """Ceilings at a load, and the rate that the deployment would reach with as many requests as fit."""

    ceilings: tuple[CeilingValue, ...]
    full_tok_s: float | None


@lru_cache(REMEMBERED)
def predicted(model: str, device: str, devices: int, load: Load) -> Predicted | None:
    """The production function's answer; None where the catalogue lacks the model or the device."""
    question = Question(
        model, device, devices, input_tok=load.input_tok, output_tok=load.output_tok, batch_req=load.batch_req
    )
    try:
        here = answer(question).prediction
        full = answer(replace(question, batch_req=None)).prediction.rate_tok_s.value
    except JoulemillError:
        return None
    return Predicted(here.ceilings, full)


def explained(
    interval: Interval,
    facts: TargetFacts,
    lengths: tuple[float | None, float | None] = (None, None),
    seen: Mapping[str, float] | None = None,
) -> Interval:
    """``interval`` with what is known of its limits. ``seen``: more that the server showed (``preemptions_total``)."""
    output = interval.tokens.get(TokenKind.OUTPUT)
    if not interval.observed or output is None or interval.duration_s <= 0:
        return interval
    rate = output / interval.duration_s
    found = None
    if facts.device is not None:
        found = predicted(facts.model, facts.device, facts.devices_count or 1, load_of(interval, lengths))
    limits = found.ceilings if found else ()
    told = diagnose(_evidence(interval, rate, limits, seen or {})) if rate > 0 else None
    least = min((c.rate_tok_s.value for c in limits if c.rate_tok_s.value), default=None)
    full = found.full_tok_s if found else None
    return replace(
        interval,
        ceilings=tuple(Ceiling(c.name, c.rate_tok_s.value, str(c.rate_tok_s.basis or Basis.MODELLED)) for c in limits),
        binding="demand" if told is None and interval.idle_ratio == 1.0 else _named(told),
        binding_probability_ratio=_sure(told),
        phi_ratio=min(full / least, 1.0) if full and least else None,
        utilisation_ratio=min(rate / full, 1.0) if full else None,
    )


def _evidence(i: Interval, rate: float, limits: tuple[CeilingValue, ...], seen: Mapping[str, float]) -> Evidence:
    waiting = None if i.waiting_count is None else float(i.waiting_count > 0)
    return Evidence(
        Figure(rate, "tok/s", Basis.MEASURED), limits, closed=False, running_count=i.running_count,
        in_flight_count=i.running_count, waiting_count=i.waiting_count, waiting_ratio=waiting,
        kv_use_ratio=i.kv_use_ratio, preemptions_count=seen.get("preemptions_total"),
    )  # fmt: skip


def _named(told: object) -> str | None:
    name = getattr(told, "name", None)
    return None if name in (None, "undecided") else str(name)


def _sure(told: object) -> float | None:
    candidates = getattr(told, "candidates", ())
    name = _named(told)
    return next((c.probability_ratio for c in candidates if c.name == name), None)
