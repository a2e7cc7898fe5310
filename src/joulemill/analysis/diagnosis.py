"""The diagnosis of a measured run: its evidence and ceilings into ``decisions.diagnosis``. Pure."""

from __future__ import annotations

import math
from dataclasses import replace

from joulemill.analysis import report as doc
from joulemill.analysis.ceilings import RunCeilings, capacities
from joulemill.analysis.intensity import Intensity
from joulemill.decisions.diagnosis import Candidate, Diagnosis, diagnose
from joulemill.decisions.evidence import gather
from joulemill.figure import Basis, Figure, unknown
from joulemill.ledger.account import Account
from joulemill.ledger.record import RunRecord
from joulemill.wording import percent


def run_diagnosis(
    record: RunRecord, counted: Account, limits: RunCeilings, cost: Intensity, client: doc.Client
) -> Diagnosis:
    """What bound the run. ``client`` is the report's own verdict, so that the two never differ."""
    evidence = gather(record, counted, limits.ceilings, modelled_elasticity(record, cost), cost.sharing)
    reasons = () if client.valid else client.reasons or ("the client was late",)
    return diagnose(replace(evidence, client_reasons=reasons, client_late=client.late))


def modelled_elasticity(record: RunRecord, cost: Intensity) -> Figure:
    """d ln rate / d ln sequences at once by the architecture: what a token moves with twice as many."""
    twice, byte, flop = cost.twice_byte_tok.value, cost.traffic_byte_tok.value, cost.work_flop_tok.value
    if cost.load is None or not twice or not byte or not flop:
        return unknown("1", "the model's architecture is unknown")
    capacity = capacities(record.manifest, cost)
    speed, bandwidth = capacity["compute"].value, capacity["memory"].value
    if not speed or not bandwidth:
        return unknown("1", capacity["compute"].reason or capacity["memory"].reason or "the hardware is unknown")
    gain = min(speed / flop, bandwidth / twice) / min(speed / flop, bandwidth / byte)
    value = min(max(math.log2(gain), 0.0), 1.0)
    return Figure(
        value,
        "1",
        Basis.MODELLED,
        low=max(value - 0.25, 0.0),
        high=min(value + 0.25, 1.0),
        source="by the architecture",
    )


def binding(diagnosis: Diagnosis, limits: RunCeilings, client: doc.Client) -> doc.Binding:
    """The report's active constraint: the diagnosis' name and words, the ceilings' figures."""
    least = limits.binding
    ceiling = next((c for c in limits.ceilings if c.name == diagnosis.name and c.rate_tok_s.known), None)
    rate = ceiling.rate_tok_s if ceiling else least.rate_tok_s
    if not client.valid:
        why = "The client itself was the bottleneck: " + "; ".join(client.reasons) + "."
        more = "a faster client, or less load from this one"
        return doc.Binding(
            name="client",
            rate_tok_s=least.rate_tok_s,
            margin_ratio=least.margin_ratio,
            next_name=least.name,
            explanation=why,
            unknown=least.unknown,
            would_decide=more,
        )
    text = f"{diagnosis.explanation} {least.explanation}"
    if limits.phi.value is not None and limits.phi.value < 1:
        text += f" The run reached {percent(limits.phi.value)} of the lowest hardware ceiling (Φ)."
    return doc.Binding(
        name=diagnosis.name,
        rate_tok_s=rate,
        margin_ratio=least.margin_ratio,
        next_name=diagnosis.next_name,
        explanation=text,
        unknown=least.unknown,
        would_decide=diagnosis.would_decide,
    )


def evidence_of(name: str, diagnosis: Diagnosis) -> str | None:
    """What was seen for and against one constraint, as one line."""
    candidate = next((c for c in diagnosis.candidates if c.name == name), None)
    return None if candidate is None else evidence_line(candidate)


def evidence_line(candidate: Candidate) -> str | None:
    """Its evidence in words; None where nothing was seen."""
    parts = [*candidate.seen_for, *(f"against it: {t}" for t in candidate.seen_against)]
    return "; ".join(parts) or None
