"""Evidence about levers: every lever has it, with source and what it takes; paired errors say of how many pairs."""

from __future__ import annotations

from joulemill.catalog.devices import find_device
from joulemill.catalog.levers import QUALITIES, evidence, evidence_of, paired_errors
from joulemill.decisions.levers.case import Settings
from joulemill.decisions.levers.study import all_levers


def test_every_lever_has_evidence_and_every_evidence_a_lever() -> None:
    names = [x.name for x in all_levers(Settings(devices=((find_device("h200"), None),)))]
    assert len(set(names)) == len(names)
    used = {id(evidence_of(name)) for name in names}
    assert used == {id(e) for e in evidence().values()}


def test_evidence_states_source_quality_and_what_it_takes() -> None:
    for name, row in evidence().items():
        assert row.effect and row.source and row.quality_text and row.cost_text, name
        assert row.quality in QUALITIES, name


def test_paired_errors_belong_to_kinds_of_levers() -> None:
    kinds = {x.kind for x in all_levers(Settings(devices=((find_device("h200"), None),)))}
    for kind, error in paired_errors().items():
        assert kind in kinds and 0.0 < error.half_width_ratio < 1.0 and error.n > 0
