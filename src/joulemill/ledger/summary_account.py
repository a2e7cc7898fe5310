"""The account of a run of which a file states only its span and its tokens, with a meter's readings over that span.

A result file without single requests (a summary with wall-clock start and end) says how many tokens were made and
when. Joules over the whole span ÷ tokens of the whole span is the run's J/token, ramp and drain included: no steady
window can be found in it, and the count is the tool's own. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from joulemill.arrays import Array
from joulemill.figure import Basis, Figure
from joulemill.ledger.findings import Finding, Reason
from joulemill.ledger.manifest import SummaryTotals
from joulemill.ledger.record import Phase, RunRecord, Scope
from joulemill.ledger.scope_account import ScopeAccount
from joulemill.ledger.tokens import COUNTERS, TokenCount
from joulemill.ledger.window import Window

RULE = "the whole run, from the start to the end that the file states, ramp and drain included"


@dataclass(frozen=True, slots=True)
class Summary:
    """A run's span and its totals as a file states them.

    load   the phase of the load;  output_tok, prompt_tok   tokens of the whole span;  request_count   finished ones
    """

    load: Phase
    end_s: float
    output_tok: float
    prompt_tok: float | None
    request_count: float | None

    @property
    def edges_s(self) -> Array:
        """Start and end [2]: one window, since nothing says when in it the tokens came."""
        return np.array([self.load.start_mono_s, self.end_s])

    @property
    def duration_s(self) -> float:
        """Length of the span."""
        return self.end_s - self.load.start_mono_s


def summary_of(record: RunRecord) -> Summary | None:
    """What ``record`` states of its load as a whole; None where it has single requests, or no totals, span or meter."""
    load = record.phase("load")
    totals = record.manifest.totals or SummaryTotals()
    output = totals.output_tok
    if record.requests or not record.readings or load is None or load.end_mono_s is None:
        return None
    if output is None or not output > 0.0 or not load.end_mono_s > load.start_mono_s:
        return None
    return Summary(load, load.end_mono_s, float(output), totals.prompt_tok, totals.requests)


def _bounded(account: ScopeAccount, output_tok: float) -> Figure:
    """J/token with the interval of the joules: a single window shows no scatter of its own."""
    figure, energy = account.j_tok, account.energy
    if not figure.known or energy.low is None or energy.high is None:
        return figure
    return replace(figure, low=energy.low / output_tok, high=energy.high / output_tok, level=energy.level)


def summary_figures(summary: Summary, accounts: Callable[[Array, Array], dict[Scope, ScopeAccount]]) -> dict[str, Any]:
    """The fields of an account that a summary can fill; ``accounts`` makes the scopes' of edges [2] and tokens [1]."""
    scopes = accounts(summary.edges_s, np.array([summary.output_tok]))
    scopes = {s: replace(a, j_tok=_bounded(a, summary.output_tok)) for s, a in scopes.items()}
    not_steady = Finding(
        Reason.NOT_STEADY, "window", "only the totals of the run are stated: ramp and drain are in them"
    )
    nothing = dict.fromkeys(COUNTERS.values())
    source = "tokens ÷ duration, both as the file states them"
    requests = summary.request_count
    return {
        "scopes": scopes,
        "window": Window(summary.load.start_mono_s, summary.end_s, RULE, steady=None, findings=(not_steady,)),
        "tokens": TokenCount(
            output_tok=summary.output_tok,
            prompt_tok=summary.prompt_tok or 0.0,
            cached_tok=None,
            computed_tok=None,
            reasoning_tok=None,
            by_usage=nothing,
            by_metrics=nothing,
            mismatch_ratio=None,
            uncounted_chunk_count=0,
        ),
        "output_rate": Figure(summary.output_tok / summary.duration_s, "tok/s", Basis.DECLARED, source=source),
        **(
            {}
            if requests is None
            else {"request_rate": Figure(requests / summary.duration_s, "req/s", Basis.DECLARED, source=source)}
        ),
        "findings": (not_steady, *(f for s in scopes.values() if s.composition.channels for f in s.findings)),
    }
