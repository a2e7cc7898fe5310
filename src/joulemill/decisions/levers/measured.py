"""What an A/B experiment says of a lever: changes with intervals, and what a cascade of two models would take. Pure.

Changes are new ÷ old − 1. Those of J/token are ``decisions.change``'s: the meter's own error is common to both sides
and cancels. The spread from run to run is pooled over all points of the experiment, so that two or three runs of each
tell it well; an interval is never less than what the runs' own sub-windows or intervals say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from joulemill.decisions.gate.change import Change
from joulemill.figure import Basis, Figure, unknown, weakest
from joulemill.statistics.normal import Z_95

LEVEL = 0.95
#: Draws of the bootstrap over questions.
RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """One question as one model answered it: output tokens, score (None: unanswered), whether it ended by itself."""

    question: str
    output_tok: int
    score_ratio: float | None
    ended: bool


@dataclass(frozen=True, slots=True)
class Cascade:
    """Two models in turn: the first answers all, what the judge refuses goes on to the second.

    passed_ratio       share of the questions that go on
    energy_j           joules of a question;  correct_answer_j  of a correct answer
    accuracy_ratio     share of correct answers;  question_count  questions that both models were asked
    """

    judge: str
    passed_ratio: float
    energy_j: float
    accuracy_ratio: float
    correct_answer_j: float | None
    question_count: int


@dataclass(frozen=True, slots=True)
class RepeatSpread:
    """Standard deviation of a logarithm from run to run, pooled over points, with its degrees of freedom."""

    log_ratio: float
    freedom_count: int

    def half_log_ratio(self, *counts: int) -> float:
        """Half width at LEVEL of the difference of two means of ``counts`` runs each."""
        quantile: float = stdtrit(self.freedom_count, 0.5 + LEVEL / 2)
        return float(quantile) * self.log_ratio * math.sqrt(sum(1.0 / n for n in counts))


def pooled(points: Sequence[Sequence[Figure]]) -> RepeatSpread | None:
    """The spread over all ``points``, each its repeated runs' figures; None without repeats."""
    logs = [np.array([math.log(f.value) for f in runs if f.value is not None and f.value > 0.0]) for runs in points]
    freedom = sum(max(len(x) - 1, 0) for x in logs)
    if not freedom:
        return None
    total = sum(float(((x - x.mean()) ** 2).sum()) for x in logs if len(x))
    return RepeatSpread(math.sqrt(total / freedom), freedom)


def figure_of(
    change: Change | str, basis: Basis | None, spread: RepeatSpread | None, counts: tuple[int, int]
) -> Figure:
    """The change of a ratio of sums as a figure, of ``counts`` runs per side; unknown with its reason."""
    if isinstance(change, str):
        return unknown("1", change)
    source = "J/token of the runs with it ÷ of those without; the meter's own error cancels"
    half = Z_95 * change.within_stderr_ratio
    if spread is None:
        quantile: float = stdtrit(change.freedom_count, 0.5 + LEVEL / 2)
        half = float(quantile) * change.stderr_ratio
    else:
        half = max(half, spread.half_log_ratio(*counts))
    low, high = math.expm1(change.log_ratio - half), math.expm1(change.log_ratio + half)
    return Figure(change.increase_ratio, "1", basis or Basis.MEASURED, low=low, high=high, level=LEVEL, source=source)


def change_of(base: Sequence[Figure], new: Sequence[Figure], spread: RepeatSpread | None = None) -> Figure:
    """new ÷ base − 1 of two sets of repeated runs' figures, with its interval; unknown where a side is.

    spread   from run to run; None: that of the two sides. Without repeats the interval is that of the figures
             themselves; where they have none it says so.
    """
    sides = [[f for f in side if f.value is not None and f.value > 0.0] for side in (base, new)]
    if not all(sides):
        empty = base if not sides[0] else new
        return unknown("1", next((f.reason for f in empty if f.reason), None) or "no run of this kind was completed")
    logs = [np.array([math.log(f.value or 1.0) for f in side]) for side in sides]
    value = float(logs[1].mean() - logs[0].mean())
    basis = weakest(*(f.basis for side in sides for f in side)) or Basis.MEASURED
    half = _half(sides, spread or pooled(sides))
    if half is None:
        return Figure(math.expm1(value), "1", basis, reason="one run a side, without intervals: repeat them")
    return Figure(
        math.expm1(value), "1", basis, low=math.expm1(value - half), high=math.expm1(value + half), level=LEVEL
    )


def _half(sides: Sequence[Sequence[Figure]], spread: RepeatSpread | None) -> float | None:
    """Half width of the logarithm's interval: the runs' spread, never less than what their own intervals say."""
    within = [_within(side) for side in sides]
    known = None if None in within else Z_95 * math.hypot(*(w or 0.0 for w in within))
    if spread is None:
        return known
    return max(spread.half_log_ratio(*(len(side) for side in sides)), known or 0.0)


def _within(side: Sequence[Figure]) -> float | None:
    """Standard error of a side's mean logarithm by the runs' own intervals; None where one has none."""
    halves = []
    for f in side:
        if f.low is None or f.high is None or f.low <= 0.0:
            return None
        halves.append((math.log(f.high) - math.log(f.low)) / 2 / Z_95)
    return math.hypot(*halves) / len(halves)


def answer_change(
    base: Sequence[ScoredAnswer], new: Sequence[ScoredAnswer], energy: Figure, draws: np.random.Generator
) -> Figure:
    """Change of joules per correct answer: joules of the question set ÷ correct answers, over questions asked of both.

    energy   change of the joules that the question set took, with its interval
    draws    for the bootstrap over questions: a question is drawn with both of its answers, since an easy one is easy
             for both; its spread and that of ``energy`` are independent
    """
    ours, theirs = _scores(base), _scores(new)
    both = [q for q in ours if q in theirs]
    if energy.value is None or not both:
        return unknown("1", energy.reason or "no question was asked of both")
    right = np.array([[ours[q], theirs[q]] for q in both])
    value = _fewer(right.sum(axis=0))
    if not math.isfinite(value):
        return unknown("1", "no answer was right on one side")
    drawn = right[draws.integers(0, len(both), (RESAMPLES, len(both)))].sum(axis=1)
    spread = np.array([_fewer(row) for row in drawn])
    low, high = np.quantile(spread - value, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], method="nearest")
    log = math.log1p(energy.value)
    down = math.hypot(low, 0.0 if energy.low is None else log - math.log1p(max(energy.low, -0.999)))
    up = math.hypot(high, 0.0 if energy.high is None else math.log1p(energy.high) - log)
    source = f"joules of the question set ÷ correct answers; {len(both)} questions, resampled {RESAMPLES} times"
    low, high = math.expm1(log + value - down), math.expm1(log + value + up)
    return Figure(
        math.expm1(log + value), "1", energy.basis, low=low, high=high, level=LEVEL, reason=None, source=source
    )


def _scores(answers: Sequence[ScoredAnswer]) -> dict[str, float]:
    """Score of each question, the mean over its repeats."""
    scores_of_question: dict[str, list[float]] = {}
    for a in answers:
        scores_of_question.setdefault(a.question, []).append(a.score_ratio or 0.0)
    return {q: sum(scores) / len(scores) for q, scores in scores_of_question.items()}


def _fewer(right: np.ndarray) -> float:
    """ln of correct answers without ÷ with the lever; infinite where a side has none."""
    before, after = (float(x) for x in right)
    if not after:
        return math.inf
    return -math.inf if not before else math.log(before / after)


def cascades(
    first: Sequence[ScoredAnswer], second: Sequence[ScoredAnswer], first_j_tok: float, second_j_tok: float
) -> tuple[Cascade, ...]:
    """What two cascades of the same two models take: a judge that can be built, and one that cannot be beaten.

    The first lets pass what ended by itself, the second knows the correct answer: no cascade of the two takes less.
    Joules of an answer are its output tokens at the load's J/token. Empty where no question was asked of both.
    """
    others = {a.question: a for a in second}
    pairs = [(a, others[a.question]) for a in first if a.question in others]
    if not pairs:
        return ()
    judges = {
        "an answer that ended by itself passes": [a.ended for a, _ in pairs],
        "a correct answer passes (the best that any judge could do)": [(a.score_ratio or 0.0) >= 1.0 for a, _ in pairs],
    }
    return tuple(_cascade(judge, kept, pairs, first_j_tok, second_j_tok) for judge, kept in judges.items())


def _cascade(
    judge: str,
    kept: Sequence[bool],
    pairs: Sequence[tuple[ScoredAnswer, ScoredAnswer]],
    first_j_tok: float,
    second_j_tok: float,
) -> Cascade:
    joules = right = 0.0
    for keeps, (a, b) in zip(kept, pairs, strict=True):
        joules += a.output_tok * first_j_tok + (0.0 if keeps else b.output_tok * second_j_tok)
        right += (a if keeps else b).score_ratio or 0.0
    n = len(pairs)
    return Cascade(judge, 1.0 - sum(kept) / n, joules / n, right / n, joules / right if right else None, n)
