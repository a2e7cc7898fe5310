"""Summaries of InferenceX, llm-d, ML.ENERGY and CodeCarbon: units, scopes and traps, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from joulemill.analysis.report import Report
from joulemill.analysis.run import analyze
from joulemill.errors import InputError
from joulemill.importers.opening import import_files
from joulemill.importers.recording import Choice
from tests.support import foreign_results
from tests.support.foreign_results import CODECARBON, inferencex, llmd, mlenergy


def imported(tmp_path: Path, document: dict[str, Any]) -> tuple[Report, dict[str, float | None]]:
    report = analyze(import_files([foreign_results.write_json(tmp_path / "x", document)], Choice()))
    assert report.energy.node_j_tok.value is None and report.energy.device_j_tok.value is None
    return report, {s.name: s.figure.value for s in report.stated}


def test_inferencex_joules_only_where_it_calls_them_valid(tmp_path: Path) -> None:
    report, stated = imported(tmp_path, inferencex())
    assert stated["energy.device_j_tok"] == 9.6 == 288000.0 / 30000
    assert stated["latency.ttft_s.mean"] == 0.25 and stated["latency.tpot_s.p99"] == 0.03
    assert report.conditions.model["precision"] == "fp8"
    report, stated = imported(tmp_path, inferencex(power_valid=0))
    assert "energy.device_j_tok" not in stated
    assert any("not valid" in w for w in report.warnings)


def test_llmd_values_by_the_unit_beside_them(tmp_path: Path) -> None:
    report, stated = imported(tmp_path, llmd())
    assert stated["latency.ttft_s.p50"] == pytest.approx(0.1)
    assert stated["latency.tpot_s.mean"] == pytest.approx(0.02)
    assert stated["output.rate_tok_s"] == 42.0 and stated["llmd.power_w.vllm"] == 900.0
    assert report.conditions.server["version"] == "0.11"
    odd = llmd()
    odd["results"]["request_performance"]["aggregate"]["latency"]["time_to_first_token"]["units"] = "weeks"
    with pytest.raises(InputError, match=r"time_to_first_token\.units: must be one of"):
        imported(tmp_path, odd)
    with pytest.raises(InputError, match=r"llm-d report version 0\.1"):
        imported(tmp_path, llmd(version="0.1"))


def test_mlenergy_joules_of_boards(tmp_path: Path) -> None:
    report, stated = imported(tmp_path, mlenergy())
    assert stated["energy.device_j_tok"] == 0.1 and stated["power.device_w"] == pytest.approx(500.0)
    assert stated["latency.itl_s.p50"] == pytest.approx(0.012)
    assert any("GPU boards" in w for w in report.warnings)


def test_codecarbon_pue_is_divided_out_and_its_constants_are_told(tmp_path: Path) -> None:
    """0.012 kWh with PUE 1.2 is 36 kJ at the node, in 100 s 360 W; 40 % of it is RAM."""
    path = tmp_path / "emissions.csv"
    path.write_text(CODECARBON.format(pue="1.2"))
    report = analyze(import_files([path], Choice()))
    stated = {s.name: s.figure for s in report.stated}
    assert stated["energy.node_j"].value == pytest.approx(0.012 * 3.6e6 / 1.2)
    assert stated["power.node_w"].value == pytest.approx(360.0)
    assert stated["power.site_w"].value == pytest.approx(432.0)
    assert stated["energy.device_j"].value == pytest.approx(0.006 * 3.6e6 / 1.2)
    assert stated["energy.carbon_gco2e"].value == pytest.approx(3.0)
    assert "constant" in (stated["energy.node_j"].reason or "")
    told = " ".join(report.warnings)
    assert "40 % of its energy is RAM" in told and "PUE of 1.2" in told and "tells no tokens" in told
    assert report.energy.node_j_tok.value is None


def test_codecarbon_rows_are_chosen_and_a_pue_below_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "emissions.csv"
    text = CODECARBON.format(pue="1.0")
    path.write_text(text + text.splitlines()[1] + "\n")
    with pytest.raises(InputError, match="holds 2 runs; choose a row with `part`"):
        import_files([path], Choice())
    assert import_files([path], Choice(part=2)).manifest.stated
    path.write_text(CODECARBON.format(pue="0.5"))
    with pytest.raises(InputError, match="a PUE is at least 1"):
        import_files([path], Choice())
