"""Published runs: names of the catalog, a source and a license each, and figures that agree with one another."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from joulemill.catalog.devices import catalog_device, device_names
from joulemill.catalog.models import find_named_model
from joulemill.catalog.published_runs import PublishedRun, published_runs
from tests.support.paths import ROOT

#: Licenses of publications whose facts may stand here.
LICENSES = ("Apache-2.0", "CC-BY-4.0", "MIT")
MLPERF = ROOT.parent / "shared" / "data" / "mlperf_wall_power.csv"
SERVING = ROOT.parent / "shared" / "data" / "serving_runs.csv"


@pytest.mark.parametrize("run", published_runs(), ids=lambda r: f"{r.model} {r.device} {r.task} {r.concurrency}")
def test_each_is_of_the_catalog_and_says_its_source(run: PublishedRun) -> None:
    assert run.device in device_names() and find_named_model(run.model)
    assert run.source and run.license.split(" (")[0] in LICENSES and run.task
    joules = run.device_j_tok or run.node_j_tok
    assert joules and run.rate_tok_s and run.devices >= 1
    # joules times rate is a power that the boards can draw; a server of eight draws no more than twice as much
    watts = joules * run.rate_tok_s / run.devices
    tdp_w = catalog_device(run.device).tdp_w or 0.0
    assert 0.2 * tdp_w < watts < (1.05 if run.node_j_tok is None else 2.0) * tdp_w
    if run.concurrency and run.tpot_s:  # no more tokens come than sequences in flight give at that pace
        assert run.rate_tok_s < 1.1 * run.concurrency / run.tpot_s


def rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        pytest.skip("the published tables are not here (../shared/data)")
    return list(csv.DictReader(path.read_text("utf-8").splitlines()))


def test_servers_figures_are_the_published_ones() -> None:
    known = {f"{float(r['node_energy_j_tok']):.3g}" for r in rows(MLPERF)}
    shown = {f"{r.node_j_tok:.3g}" for r in published_runs() if r.node_j_tok}
    assert shown == known


def test_boards_figures_are_the_published_ones() -> None:
    known = {(r["model_id"], f"{float(r['energy_per_token_joules']):.3g}") for r in rows(SERVING)}
    assert {(r.model, f"{r.device_j_tok:.3g}") for r in published_runs() if r.device_j_tok} <= known
