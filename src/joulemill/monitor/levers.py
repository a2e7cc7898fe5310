"""What could be done about one target now: the levers of its deployment at the load of now, best first."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from joulemill.catalog.levers import evidence_of
from joulemill.decisions.lever_case import Settings
from joulemill.errors import JoulemillError
from joulemill.monitor.explain import Load, load_of
from joulemill.monitor.snapshot import Snapshot
from joulemill.reports.levers_question import levers_answer
from joulemill.reports.levers_view import QUALITY, signed
from joulemill.reports.predict_view import Question

#: As many as anyone reads.
SHOWN = 5
ROLES = ("draft", "small", "alternative", "to")
Found = dict[str, Any]


def levers_of(now: Snapshot, name: str) -> Found:
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
    return _levers(facts.model, facts.device, facts.devices_count or 1, load_of(latest, (None, None)))


@lru_cache(256)
def _levers(model: str, device: str, devices: int, load: Load) -> Found:
    question = Question(
        model, device, devices, input_tok=load.input_tok, output_tok=load.output_tok, batch_req=load.batch_req
    )
    try:
        study = levers_answer(question, dict.fromkeys(ROLES), Settings(), frozenset()).study
    except JoulemillError as fault:
        return _none(str(fault))
    changes = [(e.energy_change.value, e) for e in study.effects if e.energy_change and e.energy_change.value]
    better = [e for value, e in sorted(changes, key=lambda pair: pair[0]) if value < 0]
    shown = [
        {
            "name": e.lever.label,
            "effect": f"J/token {signed(e.energy_change, bounds=True)}, tok/s {signed(e.rate_change)}",
            "basis": "modelled",
            "note": f"{e.lever.moves}; quality: {QUALITY[evidence_of(e.lever.name).quality]}",
        }
        for e in better[:SHOWN]
    ]
    said = f"Predicted for about {load.batch_req:.0f} requests at once; nothing is changed by looking."
    return {"levers": shown, "reason": said if shown else "No lever is predicted to lower J/token at this load."}


def _none(reason: str) -> Found:
    return {"levers": [], "reason": reason}
