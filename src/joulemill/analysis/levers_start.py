"""Where the levers of a measured run start from: what was measured, beside what is predicted of the same load. Pure.

Effects are ratios of paired predictions, so they hold of the measured figures as far as the prediction holds of the
run. Absolute figures of every view are the measured ones × these ratios; where the two part, the first lines say so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from joulemill.analysis.report import Report
from joulemill.decisions.levers.case import LeverOutcome
from joulemill.wording import digits, quantity, title

#: Prediction and run that differ by more than this factor are of two machines, for all that the levers know. Assumed.
APART_FACTOR = 1.5


@dataclass(frozen=True, slots=True)
class Start:
    """Measured figures of the run at the prediction's scope (None: not known), and what binds by the run."""

    energy_j_tok: float | None
    rate_tok_s: float | None
    tpot_s: float | None
    binding: str
    before: LeverOutcome

    @property
    def energy_ratio(self) -> float:
        """Measured ÷ predicted; 1 where nothing was measured."""
        return self.energy_j_tok / self.before.energy_j_tok if self.energy_j_tok else 1.0

    @property
    def rate_ratio(self) -> float:
        """Measured ÷ predicted; 1 where nothing was measured."""
        return self.rate_tok_s / self.before.rate_tok_s if self.rate_tok_s else 1.0

    @property
    def tpot_ratio(self) -> float:
        """Measured ÷ predicted; 1 where nothing was measured."""
        return self.tpot_s / self.before.tpot_s if self.tpot_s and self.before.tpot_s else 1.0

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "scope": self.before.scope,
            "energy_j_tok": self.energy_j_tok,
            "rate_tok_s": self.rate_tok_s,
            "tpot_s": self.tpot_s,
            "binding": self.binding,
            "energy_measured_over_predicted": self.energy_ratio,
            "rate_measured_over_predicted": self.rate_ratio,
            "tpot_measured_over_predicted": self.tpot_ratio,
        }


def start_of(report: Report | None, before: LeverOutcome) -> Start | None:
    """The start of a study about a run; None where it is about a deployment that was not run."""
    if report is None:
        return None
    energy = {"node": report.energy.node_j_tok, "device": report.energy.device_j_tok}.get(before.scope)
    joules = None if energy is None else energy.value
    return Start(joules, report.output.rate_tok_s.value, report.latency.tpot_s.p50, report.binding.name, before)


def start_lines(start: Start) -> Iterator[str]:
    """The measured start, the prediction, and what follows where they differ."""
    before = start.before
    known = [
        "energy not measured"
        if start.energy_j_tok is None
        else f"{quantity(start.energy_j_tok, 'J/tok')} at the {before.scope}",
        "no rate" if start.rate_tok_s is None else f"{digits(start.rate_tok_s)} tok/s",
        "no TPOT" if start.tpot_s is None else f"TPOT {quantity(start.tpot_s, 's')}",
    ]
    open_question = start.binding in ("undecided", "unknown")
    bound = f"bottleneck {start.binding if open_question else title(start.binding)}"
    yield f"before, as measured: {', '.join(known)}, {bound}"
    yield (
        f"the same load, predicted: {quantity(before.energy_j_tok, 'J/tok')} at the {before.scope}, "
        f"{digits(before.rate_tok_s)} tok/s, TPOT {quantity(before.tpot_s, 's')}, bottleneck {title(before.binding)}"
    )
    apart = {"rate": start.rate_ratio, "J/token": start.energy_ratio}
    far = [
        f"{n} is {_times(r)} the prediction's" for n, r in apart.items() if abs(math.log(r)) > math.log(APART_FACTOR)
    ]
    if far:
        yield (
            f"Warning: the run's {' and '.join(far)}. Rank the levers by their relative changes only; figures after a "
            "change are the measured ones × that change. `joulemill calibrate RUN` fits the prediction to the machine."
        )
    if not open_question and start.binding != before.binding:
        yield (
            f"Warning: the run's bottleneck is {title(start.binding)}, the prediction's {title(before.binding)}: a "
            "lever on the one need not move the other."
        )


def _times(ratio: float) -> str:
    return f"{digits(ratio, 2)} ×"
