"""What a decision needs of one run: its energy figure, the sub-windows behind it, quality, latency, conditions. Pure.

Built from a report by ``joulemill.analysis.samples``; a simulation builds it by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from joulemill.figure import Figure


@dataclass(frozen=True, slots=True)
class Share:
    """``met`` of ``asked`` things: answers that were right, requests within their targets.

    together_count   things that share their fate, as requests in flight at the same time do: so many count as one
    of               the name of the question set, where it is answers
    """

    met_count: float
    asked: int
    together_count: float = 1.0
    of: str = ""

    @property
    def value_ratio(self) -> float:
        """The share itself."""
        return self.met_count / self.asked

    @property
    def effective_count(self) -> float:
        """How many independent things it is worth."""
        return max(self.asked / max(self.together_count, 1.0), 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One run.

    name        the path that it came from;  ``run_id`` a hash of its content, "" where there is none
    figure      joules per token (or per request), Σ/Σ over the window; unknown with its reason
    energy_j, amount_count   the sub-windows [k] that it is the ratio of; empty where they are not known
    window_s    length of the steady window
    accuracy, attained   shares of correct answers and of requests within targets; None where unknown
    targets_s   (TTFT, TPOT), None each where not stated
    conditions  what must agree for joules to be comparable: texts and numbers; None: not known
    meters      kinds of meter that the joules come from, with the formula where it is no sensor
    sensors     the physical things that were read: the same sensor has the same systematic error
    faults      why nothing can be decided on this run;  ``notes`` what should be known about it
    """

    name: str
    figure: Figure
    energy_j: tuple[float, ...] = ()
    amount_count: tuple[float, ...] = ()
    window_s: float = 0.0
    accuracy: Share | None = None
    accuracy_reason: str | None = None
    attained: Share | None = None
    targets_s: tuple[float | None, float | None] = (None, None)
    conditions: Mapping[str, str | float | None] = field(default_factory=dict)
    meters: frozenset[str] = frozenset()
    sensors: frozenset[str] = frozenset()
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    run_id: str = ""
