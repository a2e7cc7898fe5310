"""What could be done about one target now: the levers of its deployment at the load of now, best first."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from joulemill.catalog.levers import QUALITY, evidence_of
from joulemill.decisions.levers.case import Settings
from joulemill.errors import JoulemillError
from joulemill.monitor.advice.ceilings import IntervalLoad, load_of
from joulemill.monitor.snapshot import Snapshot, rate_tok_s
from joulemill.prediction.levers import levers_answer
from joulemill.prediction.question import PredictionRequest
from joulemill.wording import signed

#: As many as anyone reads.
SHOWN = 5
ROLES = ("draft", "small", "alternative", "to")
LeversDocument = dict[str, Any]


def levers_of(now: Snapshot, name: str) -> LeversDocument:
    """``{"levers": [{name, effect, basis, note}], "reason"}`` for the target ``name``; an empty list says why."""
    target = next((t for t in now.targets if t.facts.target == name), None)
    if target is None:
        return _none(f"no target is called {name}")
    facts, latest = target.facts, target.latest
    if facts.device is None:
        return _none(
            "state this target's device (and devices_count) in the configuration, and its levers are predicted"
        )
    if latest is None or not latest.observed:
        return _none("nothing was observed in the last interval")
    load, rate = load_of(latest, (None, None)), rate_tok_s(target)
    queued = latest.waiting_count is None or latest.waiting_count > 0
    demand = None if queued or not rate else rate / load.output_tok
    return _levers(facts.model, facts.device, facts.devices_count or 1, load, demand)


@dataclass(frozen=True, slots=True, kw_only=True)
class BetterLever:
    """A lever that is predicted to lower J/token by ``change`` (−0.1: a tenth less), between ``low`` and ``high``."""

    family: str
    label: str
    moves: str
    change: float
    low: float
    high: float
    effect: str
    quality: str


@lru_cache(256)
def better_levers(
    model: str, device: str, devices: int, load: IntervalLoad, demand_req_s: float | None = None
) -> tuple[BetterLever, ...]:
    """Levers that lower J/token of the deployment at ``load``, best first. Raises JoulemillError as levers do.

    ``demand_req_s``: where nothing waits, the offered rate sets how many requests run at once, not the batch.
    """
    question = PredictionRequest(
        model=model,
        device=device,
        devices=devices,
        input_tokens=load.input_tok,
        output_tokens=load.output_tok,
        concurrency=load.concurrency if demand_req_s is None else None,
        rate_req_s=demand_req_s,
    )
    study = levers_answer(question, dict.fromkeys(ROLES), Settings(), frozenset(), together=False).study
    levers = []
    for e in study.effects:
        change = e.energy_change
        if change is None or change.value is None or change.value >= 0:
            continue
        low, high = (change.value if x is None else x for x in (change.low, change.high))
        effect = f"J/token {signed(change, bounds=True)}, tok/s {signed(e.rate_change)}"
        quality = QUALITY[evidence_of(e.lever.name).quality]
        levers.append(
            BetterLever(
                family=e.lever.family,
                label=e.lever.label,
                moves=e.lever.moves,
                change=change.value,
                low=low,
                high=high,
                effect=effect,
                quality=quality,
            )
        )
    return tuple(sorted(levers, key=lambda b: b.change))


def _levers(model: str, device: str, devices: int, load: IntervalLoad, demand_req_s: float | None) -> LeversDocument:
    demand = None if demand_req_s is None else float(f"{demand_req_s:.2g}")  # alike ones share a prediction
    try:
        better = better_levers(model, device, devices, load, demand)
    except JoulemillError as fault:
        return _none(str(fault))
    shown = [
        {"name": b.label, "effect": b.effect, "basis": "modelled", "note": f"{b.moves}; quality: {b.quality}"}
        for b in better[:SHOWN]
    ]
    at = (
        f"{load.concurrency:.0f} requests at once"
        if demand is None
        else f"{demand:g} requests per second, all that arrive"
    )
    basis_text = f"Predicted for about {at}; the prediction changes nothing on the server."
    return {"levers": shown, "reason": basis_text if shown else "No lever is predicted to lower J/token at this load."}


def _none(reason: str) -> LeversDocument:
    return {"levers": [], "reason": reason}
