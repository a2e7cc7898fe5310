"""The gate: has J/token risen by more than is allowed, at no less quality and within the latency targets? Pure.

Three answers. *Fail*: the rise is beyond the allowance with 95 % confidence, or quality or latency are significantly
worse. *Pass*: it is within the allowance with 95 % confidence, and neither is. *Undecided*: the data do not tell, a
figure is missing, or the runs are not comparable. A missing figure is never a pass. The 5 % of false failures is
shared out over all the checks that are made (Bonferroni), so it holds for the gate as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from scipy.special import ndtr

from joulemill.decisions.gate.change import Change, change
from joulemill.decisions.gate.comparable import differences, same_sensor, unstated
from joulemill.decisions.gate.sample import Sample, Share
from joulemill.figure import Basis, Figure
from joulemill.statistics.ratio import wilson
from joulemill.wording import percent, signed_percent

#: Share of false failures that is allowed, of all checks together; and of false passes.
FALSE_RATIO = 0.05


class Outcome(StrEnum):
    """What a check, or the gate, says."""

    PASS = "pass"
    FAIL = "fail"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Terms:
    """What is asked of the new runs.

    max_increase_ratio   allowed rise of J per unit, e.g. 0.05
    min_quality_ratio    q*; None: the accuracy of the base
    min_attained_ratio   share of requests that must meet their targets; None: that of the base
    without_quality      gate on energy and latency alone, though no accuracy is known
    force                compare runs whose conditions differ
    run_spread_ratio     run-to-run standard deviation, as stated; used where there are no repeats
    """

    max_increase_ratio: float
    min_quality_ratio: float | None = None
    min_attained_ratio: float | None = None
    without_quality: bool = False
    force: bool = False
    run_spread_ratio: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at. ``change`` is relative for energy, a difference of shares else."""

    name: str
    outcome: Outcome
    base: Figure
    new: Figure
    change: Figure
    limit: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The gate's answer; ``reasons`` for it; ``differences`` of conditions; ``notes`` that should be read with it."""

    outcome: Outcome
    checks: tuple[Check, ...]
    reasons: tuple[str, ...]
    differences: tuple[str, ...]
    notes: tuple[str, ...]
    comparable: bool
    change: Change | None


def gate(base: Sequence[Sample], new: Sequence[Sample], terms: Terms) -> Verdict:
    """Judge ``new`` against ``base``, each one or several runs. Raises ValueError for a side without runs."""
    if not base or not new:
        raise ValueError("each side needs a run")
    every = (*base, *new)
    apart = tuple(d.text for d in differences(every))
    common = same_sensor(every) and not any(d.startswith(("meters", "basis")) for d in apart)
    energy_change = change(base, new, same_sensor=common, run_spread_ratio=terms.run_spread_ratio)
    quality, attained = _quality_asked(terms), _attained_asked(every, terms)
    share = FALSE_RATIO / (1 + quality + attained)
    checks = [_energy(base, new, energy_change, terms, share)]
    if quality:
        limit = "the base's" if terms.min_quality_ratio is None else f"q* = {terms.min_quality_ratio:g}"
        checks.append(_share_check("accuracy", base, new, terms.min_quality_ratio, limit, share))
    if attained:
        limit = "the base's" if terms.min_attained_ratio is None else percent(terms.min_attained_ratio)
        checks.append(_share_check("latency targets", base, new, terms.min_attained_ratio, limit, share))
    faults = (*_twice(every), *dict.fromkeys(f"{s.name}: {f}" for s in every for f in s.faults))
    blocked = faults if terms.force else (*faults, *(f"not comparable: {d}" for d in apart))
    outcome = Outcome.UNDECIDED if blocked else _worst([c.outcome for c in checks])
    reasons = (*blocked, *(c.text for c in checks if c.outcome is outcome or blocked))
    known = energy_change if isinstance(energy_change, Change) else None
    return Verdict(
        outcome=outcome,
        checks=tuple(checks),
        reasons=reasons,
        differences=apart,
        notes=_notes(base, new, terms, known, common),
        comparable=not apart,
        change=known,
    )


def _twice(every: Sequence[Sample]) -> list[str]:
    """The same run given twice shows nothing: against itself it always passes, beside itself it has no spread."""
    ids = [s.run_id for s in every if s.run_id]
    twice = [f"{s.name}: this run is given more than once" for s in every if ids.count(s.run_id) > 1]
    return list(dict.fromkeys(twice))


def _worst(outcomes: Sequence[Outcome]) -> Outcome:
    order = (Outcome.FAIL, Outcome.UNDECIDED, Outcome.PASS)
    return next(o for o in order if o in outcomes)


def _energy(
    base: Sequence[Sample], new: Sequence[Sample], energy_change: Change | str, terms: Terms, false_ratio: float
) -> Check:
    sides = _mean_figure(base), _mean_figure(new)
    if isinstance(energy_change, str):
        nothing = Figure(None, "1", reason=energy_change)
        return _energy_check(sides, Outcome.UNDECIDED, nothing, terms, f"energy: {energy_change}")
    low, high = energy_change.bound_ratio(false_ratio), energy_change.bound_ratio(1.0 - FALSE_RATIO)
    if low > terms.max_increase_ratio:
        outcome, verdict_text = Outcome.FAIL, f"beyond the allowed {_rise(terms)}, and beyond the noise"
    elif high <= terms.max_increase_ratio:
        outcome, verdict_text = Outcome.PASS, f"within the allowed {_rise(terms)}, the noise included"
    else:
        outcome, verdict_text = Outcome.UNDECIDED, f"the noise is too large to tell it from the allowed {_rise(terms)}"
    figure, interval_text = _increase(energy_change, sides[1].basis or Basis.MODELLED, high)
    text = f"energy {signed_percent(energy_change.increase_ratio)} ({interval_text}): {verdict_text}"
    return _energy_check(sides, outcome, figure, terms, text)


def _increase(energy_change: Change, basis: Basis, high: float) -> tuple[Figure, str]:
    """The increase as a figure, and its interval in words."""
    if not energy_change.telling:
        reason = "too few sub-windows or runs for an interval"
        return Figure(energy_change.increase_ratio, "1", basis, reason=reason), reason
    low, level = energy_change.bound_ratio(FALSE_RATIO), 1 - 2 * FALSE_RATIO
    source = "ln(new ÷ base), t-quantile"
    figure = Figure(energy_change.increase_ratio, "1", basis, low=low, high=high, level=level, source=source)
    return figure, f"{signed_percent(figure.low or 0)} to {signed_percent(high)}"


def _energy_check(sides: tuple[Figure, Figure], outcome: Outcome, change: Figure, terms: Terms, text: str) -> Check:
    return Check(
        name=f"energy [{sides[0].unit}]",
        outcome=outcome,
        base=sides[0],
        new=sides[1],
        change=change,
        limit=f"at most {_rise(terms)}",
        text=text,
    )


def _rise(terms: Terms) -> str:
    return f"{100 * terms.max_increase_ratio:+.3g} %"


def _mean_figure(side: Sequence[Sample]) -> Figure:
    """One run's own figure; of several the geometric mean, which is what the difference of logarithms compares."""
    if len(side) == 1:
        return side[0].figure
    first = side[0].figure
    values = [s.figure.value for s in side]
    if any(not v for v in values):
        return Figure(None, first.unit, reason=next(s.figure.reason for s in side if not s.figure.value))
    mean = math.exp(math.fsum(math.log(v) for v in values if v) / len(values))
    return Figure(mean, first.unit, first.basis, source=f"geometric mean of {len(side)} runs")


def _quality_asked(terms: Terms) -> bool:
    return not (terms.without_quality and terms.min_quality_ratio is None)


def _attained_asked(every: Sequence[Sample], terms: Terms) -> bool:
    return terms.min_attained_ratio is not None or any(t is not None for s in every for t in s.targets_s)


def _shares(side: Sequence[Sample], name: str) -> Share | str:
    """The runs of a side taken together, or why they can't be."""
    shares = [s.accuracy if name == "accuracy" else s.attained for s in side]
    gone = next((s for s, f in zip(side, shares, strict=True) if f is None), None)
    if gone is not None:
        reason = gone.accuracy_reason if name == "accuracy" else "no request's attainment is known"
        more = "; --without-quality gates on energy and latency alone" if name == "accuracy" else ""
        return f"{name} of {gone.name} is unknown ({reason or 'not measured'}){more}"
    known = [f for f in shares if f is not None]
    asked = sum(f.asked for f in known)
    return Share(sum(f.met_count for f in known), asked, asked / sum(f.effective_count for f in known), known[0].of)


def _share_check(
    name: str, base: Sequence[Sample], new: Sequence[Sample], least_ratio: float | None, limit: str, false_ratio: float
) -> Check:
    """Is a share significantly below that of the base, or below ``least_ratio``?"""
    now, before = _shares(new, name), _shares(base, name)
    sides = _share_figure(before), _share_figure(now)
    reference = least_ratio if least_ratio is not None else before if isinstance(before, str) else before.value_ratio
    if isinstance(now, Share) and isinstance(before, Share) and least_ratio is None and now.of != before.of:
        reference = f"{name}: base and new answered different sets ({before.of} | {now.of}); state --min-quality"
    gone = now if isinstance(now, str) else reference if isinstance(reference, str) else None
    if isinstance(now, str) or isinstance(reference, str):
        return Check(
            name=name,
            outcome=Outcome.UNDECIDED,
            base=sides[0],
            new=sides[1],
            change=Figure(None, "1", reason=gone),
            limit=limit,
            text=str(gone),
        )
    against = before if isinstance(before, Share) and least_ratio is None else None
    p_value = _below_p(now, reference) if against is None else _lower_p(against, now)
    worse = p_value < false_ratio
    difference = Figure(now.value_ratio - reference, "1", Basis.MEASURED)
    relation = "significantly below" if worse else "not significantly below"
    text = f"{name} {percent(now.value_ratio, 1)} of {now.asked}: {relation} {limit} ({percent(reference, 1)})"
    return Check(
        name=name,
        outcome=Outcome.FAIL if worse else Outcome.PASS,
        base=sides[0],
        new=sides[1],
        change=difference,
        limit=limit,
        text=text,
    )


def _share_figure(share: Share | str) -> Figure:
    if isinstance(share, str):
        return Figure(None, "1", reason=share)
    n = share.effective_count
    low, high = wilson(min(share.value_ratio * n, n), round(n)) or (None, None) if n >= 1 else (None, None)
    return Figure(share.value_ratio, "1", Basis.MEASURED, low=low, high=high, level=0.95, source="Wilson interval")


def _below_p(share: Share, reference: float) -> float:
    """One-sided p-value of "the true share is at least ``reference``": the score test, whose interval is Wilson's."""
    error = math.sqrt(reference * (1.0 - reference) / share.effective_count)
    if error == 0.0:
        return 0.0 if share.value_ratio < reference else 1.0
    return float(ndtr((share.value_ratio - reference) / error))


def _lower_p(base: Share, new: Share) -> float:
    """One-sided p-value of "the share has not fallen": pooled two-proportion test."""
    n, m = base.effective_count, new.effective_count
    pooled = (base.value_ratio * n + new.value_ratio * m) / (n + m)
    error = math.sqrt(pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m))
    return 1.0 if error == 0.0 else float(ndtr((new.value_ratio - base.value_ratio) / error))


def _notes(
    base: Sequence[Sample], new: Sequence[Sample], terms: Terms, energy_change: Change | None, common: bool
) -> tuple[str, ...]:
    every = (*base, *new)
    notes = [f"{s.name}: {n}" for s in every for n in s.notes]
    apart = differences(every)
    if apart and terms.force:
        notes.insert(0, f"NOT COMPARABLE, forced: {len(apart)} conditions differ; the change may be theirs")
    notes += [f"no run states its {n}: it is assumed to be the same" for n in unstated(every)]
    if terms.without_quality:
        notes.append("quality was not looked at (--without-quality): fewer joules may be worse answers")
    if energy_change is None:
        return tuple(dict.fromkeys(notes))
    if energy_change.run_spread_ratio is None and not terms.run_spread_ratio:
        notes.append("one run per side: run-to-run variation is not seen; repeat runs, or state --run-noise")
    notes.append(_meter_note(every, energy_change, common))
    if (
        energy_change.exceeds_p_ratio() < FALSE_RATIO
        and energy_change.bound_ratio(1.0 - FALSE_RATIO) <= terms.max_increase_ratio
    ):
        notes.append(f"the rise of {percent(energy_change.increase_ratio, 1)} is real, though allowed")
    return tuple(dict.fromkeys(notes))


def _meter_note(every: Sequence[Sample], energy_change: Change, common: bool) -> str:
    if not common:
        error = percent(energy_change.meter_stderr_ratio, 1)
        return f"the runs' sensors are not the same: their own errors ({error}) are in the noise"
    bases = {s.figure.basis for s in every}
    if bases <= {Basis.MEASURED, Basis.CALIBRATED}:
        return "one sensor for all runs: its systematic error cancels in the change, not in the figures"
    return (
        "no sensor: one power model for all runs. Its error cancels as far as it is a factor; what it omits is unseen"
    )
