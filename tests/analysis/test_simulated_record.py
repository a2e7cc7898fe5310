"""A simulated run read as a measured one: the report says the same figures, and that nothing of it was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import joulemill as jm
from joulemill.analysis.simulated_basis import as_modelled
from joulemill.api.simulation import SimulatedDeployment
from joulemill.figure import Basis, Figure
from joulemill.jsonable import plain
from tests.support.paths import EXAMPLES


@pytest.fixture(scope="module")
def day() -> SimulatedDeployment:
    return jm.simulate(
        "Qwen/Qwen3-8B",
        "h100",
        rate_req_s=5,
        duration_s=100,
        output_tokens=48,
        max_num_seqs=64,
        scenarios=0,
        site=EXAMPLES / "site.toml",
        slo_ttft_s=1.0,
    )


@pytest.fixture(scope="module")
def run(day: SimulatedDeployment, tmp_path_factory: pytest.TempPathFactory) -> jm.Run:
    return day.to_run(tmp_path_factory.mktemp("simulated") / "run")


def test_the_report_has_the_figures_of_the_simulation(day: SimulatedDeployment, run: jm.Run) -> None:
    # The report leaves out the first request's time and the end: a few per cent of a steady load.
    energy, report = day.energy, run.report
    for own, theirs in (
        (energy.device, report.energy.device_j_tok),
        (energy.node, report.energy.node_j_tok),
        (energy.site, report.energy.site_j_tok),
        (day.rate_tok_s, report.output.rate_tok_s),
    ):
        assert theirs.value == pytest.approx(own.value, rel=0.03)
    assert report.latency.ttft_s.p50 == pytest.approx(day.latency["ttft_s"]["p50"], rel=0.02)
    assert report.requests.ok == day.to_dict()["requests"]["completed"]


def test_nothing_in_it_is_measured_and_it_says_so(run: jm.Run) -> None:
    text = json.dumps(plain(run.report))
    assert '"basis": "measured"' not in text
    assert any("simulated" in w for w in run.report.warnings)


def test_two_simulated_runs_are_compared(run: jm.Run, tmp_path: Path) -> None:
    faster = jm.simulate(
        "Qwen/Qwen3-8B", "h100", rate_req_s=10, duration_s=100, output_tokens=48, max_num_seqs=64, scenarios=0
    ).to_run(tmp_path / "b")
    assert faster.report.energy.device_j_tok.value < run.report.energy.device_j_tok.value
    assert jm.compare(run, faster) is not None


def test_a_low_load_is_bound_by_demand_and_not_by_its_queue(run: jm.Run) -> None:
    assert run.report.binding.name != "kv_capacity"


def test_only_what_was_measured_changes_its_basis() -> None:
    figure = Figure(1.0, "W", Basis.MEASURED)
    stated = Figure(2.0, "W", Basis.DECLARED)
    assert as_modelled({"a": (figure, stated), "basis": "measured"}) == {
        "a": (Figure(1.0, "W", Basis.MODELLED), stated),
        "basis": "modelled",
    }


def test_two_seeds_of_one_rate_are_one_load(tmp_path: Path) -> None:
    """The load is what was asked, not how many requests chance brought."""
    runs = [
        jm.simulate(
            "Qwen/Qwen3-8B", "h100", rate_req_s=4, duration_s=60, output_tokens=32, scenarios=0, seed=seed
        ).to_run(tmp_path / str(seed))
        for seed in (0, 1)
    ]
    assert runs[0].report.requests.ok != runs[1].report.requests.ok
    assert jm.compare(*runs).comparable
    assert not any("many serve" in w or "are metered" in w for w in runs[0].report.warnings)
    assert runs[0].report.conditions.started is None
