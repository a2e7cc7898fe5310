"""The gate's verdict and its plan for people and for machines. Pure."""

from __future__ import annotations

from typing import Any

from joulemill.decisions.gate.gate import Outcome, Verdict
from joulemill.decisions.gate.run_length import LengthPlan
from joulemill.figure import Figure
from joulemill.jsonable import plain
from joulemill.wording import percent, say, signed_percent

SCHEMA_VERSION = "1.0"
EXIT = {Outcome.PASS: 0, Outcome.FAIL: 1, Outcome.UNDECIDED: 3}


def document(verdict: Verdict, plan: LengthPlan | str | None) -> dict[str, Any]:
    """The verdict as one JSON document."""
    change_made = verdict.change
    change = None if change_made is None else {**plain(change_made), "p_real": change_made.real_ratio}
    document_table = plain(verdict) | {
        "schema_version": SCHEMA_VERSION,
        "exit_code": EXIT[verdict.outcome],
        "change": change,
    }
    if plan is not None:
        document_table["plan"] = plan_document(plan)
    return dict(document_table)


def plan_document(plan: LengthPlan | str) -> dict[str, Any]:
    """The plan as JSON; where there is none, why."""
    return {"text": plan, "enough": False} if isinstance(plan, str) else dict(plain(plan))


def text(verdict: Verdict) -> str:
    """The verdict in the terminal: the answer first, then why, then each check."""
    lines = [f"gate: {verdict.outcome.value.upper()}"]
    lines += [f"  {r}" for r in verdict.reasons]
    for check in verdict.checks:
        lines += ["", f"{check.name}: {check.outcome.value} ({check.limit})"]
        lines += [
            f"  base    {_figure_text(check.base)}",
            f"  new     {_figure_text(check.new)}",
            f"  change  {_percent(check.change)}",
        ]
    if verdict.change is not None:
        lines.append(f"  probability that the change is real: {percent(verdict.change.real_ratio, 1)}")
    lines += [f"! {n}" for n in verdict.notes]
    return "\n".join(lines) + "\n"


def _figure_text(figure: Figure) -> str:
    if figure.unit == "1" and figure.value is not None:
        between = (
            f" ({percent(figure.low, 1)}–{percent(figure.high, 1)})"
            if figure.low is not None and figure.high is not None
            else ""
        )
        return percent(figure.value, 1) + between
    return say(figure)


def _percent(figure: Figure) -> str:
    if figure.value is None:
        return f"unknown ({figure.reason})"
    if figure.low is None or figure.high is None:
        return signed_percent(figure.value)
    between = f"{signed_percent(figure.low)} to {signed_percent(figure.high)}"
    return f"{signed_percent(figure.value)} ({between}, {percent(figure.level)})"
