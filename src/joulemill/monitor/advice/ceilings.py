"""What an interval says of its target: ceilings by the production function, what binds, Φ and U.

The ceilings are those that ``joulemill predict`` computes for the stated device and model at the interval's load, and
the constraint is named by the same diagnosis as a measured run's. What the configuration does not state stays unknown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from joulemill.decisions.diagnosis import diagnose
from joulemill.decisions.evidence import Evidence
from joulemill.errors import JoulemillError
from joulemill.figure import Basis, Figure
from joulemill.monitor.snapshot import CeilingState, Interval, TargetFacts, TokenKind
from joulemill.physics.production.ceilings import CeilingValue
from joulemill.prediction.predict import answer
from joulemill.prediction.question import PredictionRequest
from joulemill.wording import percent

#: Loads within this factor of each other share a prediction (assumed): ceilings move far less than that.
STEP_RATIO = 1.25
#: Lengths of a request where the server does not tell how many ended. Assumed.
USUAL_TOK = (512.0, 256.0)
#: At most so many predictions are remembered.
REMEMBERED = 4096


#: How far the rounding of lengths may move a ceiling; and the usual lengths, where the real ones are unknown. Assumed.
ROUNDED_RATIO, USUAL_RATIO = 0.06, 0.3
#: Ceilings of the machine, against which Φ is held; latency targets and demand are none of it.
HARDWARE = ("compute", "memory_bandwidth", "kv_capacity", "interconnect", "power", "cooling")
NO_DEVICE = "state this target's device and devices_count in the configuration"


@dataclass(frozen=True, slots=True)
class IntervalLoad:
    """An interval's load, rounded so that alike ones share a prediction."""

    input_tok: float
    output_tok: float
    concurrency: float


@dataclass(frozen=True, slots=True)
class Context:
    """What explains an interval beside itself.

    lengths          mean input and output of a request, None where the server does not tell
    running_before   requests that ran at the scrape before
    counters         more that the server showed (``preemptions_total``)
    slo_s            (TTFT, TPOT) targets that are stated, None where not
    """

    lengths: tuple[float | None, float | None] = (None, None)
    running_before: float | None = None
    counters: Mapping[str, float] = field(default_factory=dict)
    slo_s: tuple[float | None, float | None] = (None, None)


ALONE = Context()


def limits_of(facts: TargetFacts, load: IntervalLoad, concurrency: float, context: Context) -> TargetPrediction:
    """Ceilings at ``concurrency``: between those of the two rounded batches around it, by logarithms."""
    if facts.device is None:
        return TargetPrediction(reason=NO_DEVICE)
    step = math.log(max(concurrency, 1.0)) / math.log(STEP_RATIO)
    low, share = math.floor(step), step - math.floor(step)
    ends = [
        predicted(
            facts.model,
            facts.device,
            facts.devices_count or 1,
            replace(load, concurrency=STEP_RATIO ** (low + n)),
            context.slo_s,
        )
        for n in ((0, 1) if share > 1e-6 else (0,))
    ]
    if len(ends) == 1 or ends[0].reason or ends[1].reason:
        return ends[0]
    above = {c.name: c.rate_tok_s.value for c in ends[1].ceilings}
    between = tuple(_between(c, above.get(c.name), share) for c in ends[0].ceilings)
    return replace(ends[0], ceilings=between)


def _between(c: CeilingValue, above_tok_s: float | None, share: float) -> CeilingValue:
    here = c.rate_tok_s
    if not here.value or not above_tok_s:
        return c
    return replace(c, rate_tok_s=here.scaled((above_tok_s / here.value) ** share, here.unit))


def load_of(interval: Interval, lengths: tuple[float | None, float | None]) -> IntervalLoad:
    """The load of ``interval`` with its mean input and output ``lengths``; the usual ones where they are unknown."""
    known = [x or usual for x, usual in zip(lengths, USUAL_TOK, strict=True)]
    return IntervalLoad(_rounded(known[0]), _rounded(known[1]), _rounded(interval.running_count or 1.0))


def _rounded(x: float) -> float:
    return float(STEP_RATIO ** round(math.log(max(x, 1.0)) / math.log(STEP_RATIO)))


@dataclass(frozen=True, slots=True)
class TargetPrediction:
    """Ceilings at a load, and the rate that the deployment would reach with as many requests as fit; or why not."""

    ceilings: tuple[CeilingValue, ...] = ()
    full_tok_s: float | None = None
    reason: str | None = None


@lru_cache(REMEMBERED)
def predicted(
    model: str, device: str, devices: int, load: IntervalLoad, slo_s: tuple[float | None, float | None] = (None, None)
) -> TargetPrediction:
    """The production function's answer; its reason where the catalog lacks the model or the device."""
    question = PredictionRequest(
        model=model,
        device=device,
        devices=devices,
        input_tokens=load.input_tok,
        output_tokens=load.output_tok,
        concurrency=load.concurrency,
        slo_ttft_s=slo_s[0],
        slo_tpot_s=slo_s[1],
    )
    try:
        here = answer(question).prediction
        full = answer(replace(question, concurrency=None)).prediction.rate_tok_s.value
    except JoulemillError as fault:
        return TargetPrediction(reason=str(fault))
    return TargetPrediction(here.ceilings, full)


def explained(interval: Interval, facts: TargetFacts, context: Context = ALONE) -> Interval:
    """``interval`` with what is known of its limits, and the reason where something is not."""
    output = interval.tokens.get(TokenKind.OUTPUT)
    if not interval.observed or interval.duration_s <= 0:
        return interval
    if output is None:
        reason = "the server's page has no counter of output tokens"
        return replace(interval, binding_reason=reason, phi_reason=reason)
    rate = output / interval.duration_s
    load = load_of(interval, context.lengths)
    batches = [b for b in (interval.running_count, context.running_before) if b] or [1.0]
    limits = limits_of(facts, load, math.fsum(batches) / len(batches), context)
    ends = [limits_of(facts, load, batch, context) for batch in sorted(set(batches))]
    phi, phi_reason = _phi(interval, rate, (limits, *ends), context)
    return replace(
        interval,
        ceilings=tuple(
            CeilingState(c.name, c.rate_tok_s.value, str(c.rate_tok_s.basis or Basis.MODELLED)) for c in limits.ceilings
        ),
        **_binds(interval, rate, limits, context),
        phi_ratio=phi[0],
        phi_low_ratio=phi[1],
        phi_high_ratio=phi[2],
        phi_reason=phi_reason,
        utilization_ratio=rate / limits.full_tok_s if limits.full_tok_s else None,
    )


def prepared(interval: Interval, facts: TargetFacts, context: Context) -> None:
    """Make the predictions that ``explained`` will ask for, so that it finds them made. Any fault is told there."""
    with suppress(Exception):
        explained(interval, facts, context)


def _phi(
    i: Interval, rate: float, limits: Sequence[TargetPrediction], context: Context
) -> tuple[tuple[float | None, float | None, float | None], str | None]:
    """Φ with its bounds: the measured rate ÷ the lowest hardware ceiling at this load; and why it is not known.

    ``limits``: at the interval's mean load, then at the loads of its two ends, which bound it.
    """
    nothing = (None, None, None)
    if rate <= 0 or i.idle_ratio == 1.0:
        return nothing, "idle: no token was made in the interval"
    least = [x for x in (_least(limit) for limit in limits) if x is not None]
    if not least:
        return nothing, limits[0].reason or "no ceiling of the hardware is known"
    if i.running_count is None:
        return nothing, "the server does not say how many requests it runs, so its load is not known"
    if i.running_count <= 0 or context.running_before == 0:
        return nothing, "requests did not run all of the interval"
    value, doubt = rate / least[0], USUAL_RATIO if None in context.lengths else ROUNDED_RATIO
    low, high = rate / max(least) / (1 + doubt), rate / min(least) * (1 + doubt)
    above = "above 1: what is stated of device, model or its precision is not what serves" if low > 1.0 else None
    return (value, low, high), above


def _least(limits: TargetPrediction) -> float | None:
    known = [c.rate_tok_s.value for c in limits.ceilings if c.name in HARDWARE and c.rate_tok_s.value]
    return min(known, default=None)


def _binds(i: Interval, rate: float, limits: TargetPrediction, context: Context) -> dict[str, Any]:
    """What binds and how surely, or why that is not known."""
    if rate <= 0:
        idle = i.idle_ratio == 1.0
        return {"binding": "demand" if idle else None, "binding_reason": None if idle else "no token was made"}
    diagnosis = diagnose(_evidence(i, rate, limits.ceilings, context))
    if diagnosis.name != "undecided":
        sure = next((c.probability_ratio for c in diagnosis.candidates if c.name == diagnosis.name), None)
        return {"binding": diagnosis.name, "binding_probability_ratio": sure, "binding_reason": None}
    likely = [
        f"{c.name} {percent(c.probability_ratio)}" for c in diagnosis.candidates[:2] if c.probability_ratio >= 0.01
    ]
    why = f"undecided between {', '.join(likely)}" if likely else "the server's gauges do not tell"
    return {"binding": None, "binding_reason": f"{why}; {limits.reason}" if limits.reason else why}


def _evidence(i: Interval, rate: float, limits: tuple[CeilingValue, ...], context: Context) -> Evidence:
    waiting = None if i.waiting_count is None else float(i.waiting_count > 0)
    return Evidence(
        achieved_tok_s=Figure(rate, "tok/s", Basis.MEASURED),
        ceilings=limits,
        closed=False,
        running_count=i.running_count,
        in_flight_count=i.running_count,
        waiting_count=i.waiting_count,
        waiting_ratio=waiting,
        served_ratio=1.0 if waiting == 0.0 else None,  # whatever came is being served: nothing waits
        kv_use_ratio=i.kv_use_ratio,
        preemptions_count=context.counters.get("preemptions_total"),
    )
