"""What a lever saves, in joules and money: over what a run measured, else per million tokens. Pure.

The tokens stay the same, so a saving is never more than the demand has: J/token before − after, times those tokens.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from joulemill.analysis.levers_start import Start, start_of
from joulemill.analysis.report import Report
from joulemill.decisions.levers.study import Effect, first_of_each_idea
from joulemill.prediction.levers import LeversAnswer
from joulemill.wording import quantity

MOST_SHOWN = 3
TOK_MILLION = 1e6
#: Families whose levers save neither joules nor the same tokens.
APART = ("carbon", "price", "length")


@dataclass(frozen=True)
class Saving:
    """What one lever saves over ``period``; ``cost_currency`` None where the site states no price."""

    lever: str
    period: str
    energy_j: float
    cost_currency: float | None
    currency: str

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def savings(levers_answer: LeversAnswer, report: Report | None = None) -> tuple[Saving, ...]:
    """The strongest levers that apply, with what each saves on its own."""
    tokens, period = _tokens(report)
    helping = first_of_each_idea([e for e in levers_answer.study.effects if _saves(e)])[:MOST_SHOWN]
    start = start_of(report, levers_answer.study.before)
    each = (_saving(levers_answer, e, start, (tokens, period)) for e in helping)
    return tuple(s for s in each if s is not None)


def _saves(e: Effect) -> bool:
    change = None if e.energy_change is None else e.energy_change.value
    return e.lever.family not in APART and change is not None and change < 0.0


def _tokens(report: Report | None) -> tuple[float, str]:
    if report is None or not report.tokens.output or not report.window.duration_s:
        return TOK_MILLION, "per million output tokens"
    measured = f"over the measured {quantity(report.window.duration_s, 's')} ({report.tokens.output:,} tokens)"
    return float(report.tokens.output), measured


def _saving(levers_answer: LeversAnswer, e: Effect, start: Start | None, over: tuple[float, str]) -> Saving | None:
    before, after, (tokens, period) = levers_answer.study.before, e.after, over
    if after is None:
        return None
    tokens *= 1.0 if start is None else start.energy_ratio  # measured joules × the change that is predicted
    site = levers_answer.answer.question.place()
    money = None
    if before.cost_currency_tok is not None and after.cost_currency_tok is not None:
        money = (before.cost_currency_tok - after.cost_currency_tok) * tokens
    energy = (before.energy_j_tok - after.energy_j_tok) * tokens
    currency = (site.currency if site else None) or "currency"
    return Saving(e.lever.name, period, energy, money, currency)
