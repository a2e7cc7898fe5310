"""Completeness: a run that states everything is complete, each thing left out is named, imports name their holes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from joulemill.analysis.completeness import GOOD, POINTS, Status, grade
from joulemill.analysis.report import Report
from joulemill.analysis.run import analyze
from joulemill.figure import Basis, Figure, unknown
from joulemill.importers.opening import import_files
from joulemill.importers.recording import Choice
from tests.support import foreign_results
from tests.support.whole_report import whole


def statuses(report: Report) -> dict[str, Status]:
    return {p.name: p.status for p in grade(report).points}


def test_a_run_that_states_everything_is_complete() -> None:
    found = grade(whole())
    assert found.complete, [p for p in found.points if p.status not in GOOD]
    assert found.counts == (len(POINTS), len(POINTS))


def test_a_machine_without_accelerator_has_no_device_scope() -> None:
    report = whole()
    energy = dataclasses.replace(report.energy, device_j_tok=unknown("J/tok", "nothing metered the device"))
    on_cpu = dataclasses.replace(report, energy=energy)
    assert statuses(on_cpu)["J/token, device"] is Status.NOT_APPLICABLE
    boards = tuple(dataclasses.replace(m, scope="device") for m in report.meters)
    assert statuses(dataclasses.replace(on_cpu, meters=boards))["J/token, device"] is Status.MISSING


def test_an_unknown_pue_is_open_since_its_effect_is_shown() -> None:
    found = statuses(whole(site={"it_power_limit": "500 W"}))
    assert {found[n] for n in ("J/token, site", "PUE-adjusted power", "PUE and its basis")} == {Status.OPEN}


@pytest.mark.parametrize(
    ("manifest", "hole"),
    [
        ({"model": {"sha256": "ab", "precision": "q4_1"}}, "model"),
        ({"model": {"name": "m-Q4_1"}}, "model revision"),
        ({"model": {"name": "m", "sha256": "ab"}}, "precision"),
        ({"server": {"slots": 4, "embedded": True, "version": "b1"}}, "framework and version"),
        ({"machine": {}, "server": {"slots": 4, "kind": "x", "version": "1"}}, "hardware"),
    ],
)
def test_what_is_left_out_is_named_with_a_way_to_fill_it(manifest: dict[str, Any], hole: str) -> None:
    found = grade(whole(**manifest))
    point = next(p for p in found.points if p.name == hole)
    assert point.status is Status.MISSING and point.fill
    assert not found.complete


def test_figures_without_interval_or_without_task_are_partial() -> None:
    report = whole()
    bare = dataclasses.replace(report.energy, node_j_tok=Figure(3.75, "J/tok", Basis.MEASURED))
    found = statuses(dataclasses.replace(report, energy=bare))
    assert found["J/token, node"] is Status.PARTIAL and found["uncertainty"] is Status.MISSING
    no_task = dataclasses.replace(report.quality, task=None)
    assert statuses(dataclasses.replace(report, quality=no_task))["quality"] is Status.PARTIAL


def test_a_constraint_that_the_client_hid_or_nobody_knows_is_not_one() -> None:
    report = whole()
    client = dataclasses.replace(report.binding, name="client")
    assert statuses(dataclasses.replace(report, binding=client))["active constraint"] is Status.PARTIAL
    blind = [dataclasses.replace(c, rate_tok_s=unknown("tok/s", "x")) for c in report.ceilings]
    assert statuses(dataclasses.replace(report, ceilings=tuple(blind)))["active constraint"] is Status.MISSING
    torn = dataclasses.replace(report.binding, name="undecided", would_decide=None)
    assert statuses(dataclasses.replace(report, binding=torn))["active constraint"] is Status.PARTIAL


def test_an_aiperf_export_names_what_is_missing(tmp_path: Path) -> None:
    summary = foreign_results.write_json(tmp_path / "s.json", foreign_results.aiperf_summary())
    found = statuses(analyze(import_files([summary], Choice())))
    assert found["J/token, device"] is Status.PARTIAL, "stated by AIPerf, without interval"
    assert found["throughput"] is Status.PARTIAL
    for name in ("J/token, node", "active constraint", "quality", "hardware", "precision", "model revision", "window"):
        assert found[name] is Status.MISSING, name
    assert found["model"] is Status.STATED and found["batch or load"] is Status.STATED


def test_a_metered_import_fills_energy_and_leaves_the_rest_open(tmp_path: Path) -> None:
    results = foreign_results.write_json(tmp_path / "g.json", foreign_results.guidellm())
    meter = tmp_path / "wall.csv"
    meter.write_text(foreign_results.power_csv())
    found = statuses(analyze(import_files([results], Choice(), f"{meter},value=watts,unit=W")))
    assert found["J/token, node"] is Status.STATED and found["method and scope"] is Status.STATED
    assert found["PUE and its basis"] is Status.OPEN
    assert found["J/token, device"] is Status.MISSING, "a server of unknown hardware may well have an accelerator"
    assert found["latency"] is Status.STATED and found["quality"] is Status.MISSING
