"""Every export against its published shape, with figures worked out by hand; hostile names stay text."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
from simulated.runs import steady_run

from joulemill.analysis.conditions import Conditions
from joulemill.analysis.report import Report
from joulemill.cli import main
from joulemill.errors import InputError
from joulemill.figure import Basis, Figure, unknown
from joulemill.formats.documents import parse_document
from joulemill.formats.prometheus_text import parse_exposition
from joulemill.importers.opening import parse_documents
from joulemill.importers.recording import Choice
from joulemill.recording.writer import write_run
from joulemill.reports.exports.cyclonedx import cyclonedx
from joulemill.reports.exports.facts import widest_energy
from joulemill.reports.exports.huggingface import model_card
from joulemill.reports.exports.llmd import llmd
from joulemill.reports.exports.prometheus import prometheus
from joulemill.reports.exports.sci import sci
from tests.reports.exports import shapes
from tests.support.example_report import HOSTILE, example


def known() -> Report:
    """A run of 1 000 tokens at 3.6 J/tok at the site, 500 gCO2e/kWh: 0.001 kWh, 0.5 g in all."""
    report = example()
    energy = dataclasses.replace(
        report.energy,
        site_j_tok=Figure(3.6, "J/tok", Basis.MODELLED, low=3.4, high=3.8, level=0.95),
        carbon_gco2e_tok=Figure(5e-4, "gCO2e/tok", Basis.MODELLED),
    )
    site = dataclasses.replace(report.site, carbon_gco2e_kwh=Figure(500.0, "gCO2e/kWh", Basis.DECLARED))
    tokens = dataclasses.replace(report.tokens, output=1000)
    return dataclasses.replace(report, energy=energy, site=site, tokens=tokens)


def blind() -> Report:
    report = example()
    nothing = {n: unknown("J/tok", "no meter") for n in ("device_j_tok", "node_j_tok", "site_j_tok")}
    return dataclasses.replace(report, energy=dataclasses.replace(report.energy, **nothing))


def test_cyclonedx_totals_in_its_units() -> None:
    bom = shapes.Bom.model_validate_json(cyclonedx(known()))
    (consumption,) = bom.components[0].modelCard.considerations.environmentalConsiderations.energyConsumptions
    assert consumption.activityEnergyCost.value == pytest.approx(0.001)
    assert consumption.co2CostEquivalent is not None
    assert consumption.co2CostEquivalent.value == pytest.approx(0.5e-6)
    said = {p.name: p.value for p in consumption.properties}
    assert said["joulemill:output_tokens"] == "1000" and said["joulemill:scope"] == "site"
    assert cyclonedx(known()) == cyclonedx(known()), "the same run gives the same bytes"


def test_sci_per_token_is_null_without_the_embodied_share() -> None:
    document = json.loads(sci(known()))
    assert document["functional_unit"] == "output token"
    assert document["E"]["value"] == pytest.approx(1e-6)
    assert document["O"]["value"] == pytest.approx(5e-4)
    assert document["O"]["low"] == pytest.approx(3.4 / 3.6 * 5e-4)
    assert document["sci"]["value"] is None and document["M"]["value"] is None and document["sci"]["reason"]


def test_llmd_report_and_its_way_back_through_the_importer() -> None:
    text = llmd(known())
    shapes.LlmdReport.model_validate_json(text)
    extension = json.loads(text)["results"]["observability"]["joulemill_energy"]
    assert extension["site_joules_per_output_token"]["value"] == 3.6
    assert extension["device_joules_per_output_token"]["value"] is None
    stated = {s.name: s.value for s in parse_documents([parse_document("f", text.encode())], Choice()).stated}
    report = known()
    assert stated["latency.ttft_s.p99"] == report.latency.ttft_s.p99
    assert stated["output.rate_tok_s"] == report.output.rate_tok_s.value
    assert stated["llmd.power_w.server"] == report.power.node_w.value


def test_prometheus_text_parses_and_leaves_unknowns_out() -> None:
    samples = parse_exposition(prometheus(known()))
    assert samples
    energy = {
        (s.labels["scope"], s.labels["end"]): s.value
        for s in samples
        if s.name == "joulemill_energy_joules_per_output_token"
    }
    assert energy[("site", "value")] == 3.6 and energy[("site", "low")] == 3.4
    assert not any(scope == "device" for scope, _ in energy)


def test_model_card_section_says_unknown_and_escapes() -> None:
    text = model_card(known())
    assert text.startswith("## Energy of inference") and "unknown:" in text
    assert "<script" not in text and "co2_eq_emissions" not in text
    assert all(line.count("|") - line.count(r"\|") in (5, 3) for line in text.splitlines() if line.startswith("| "))


def test_hostile_names_stay_inside_their_place() -> None:
    report = dataclasses.replace(
        known(), conditions=Conditions(model={"name": HOSTILE + '"\n'}, hardware={"device": HOSTILE})
    )
    assert shapes.Bom.model_validate_json(cyclonedx(report)).components[0].name.startswith("<script>")
    labels = parse_exposition(prometheus(report))[0].labels
    assert labels["hardware"] == HOSTILE
    assert "<script" not in model_card(report)


@pytest.mark.parametrize("export", [cyclonedx, sci])
def test_a_run_without_joules_has_nothing_to_export(export: object) -> None:
    with pytest.raises(InputError, match=r"no joules per token \(no meter\)"):
        export(blind())  # type: ignore[operator]


def test_the_widest_known_scope_is_taken() -> None:
    report = known()
    assert widest_energy(report).scope == "site"
    energy = dataclasses.replace(report.energy, site_j_tok=unknown("J/tok", "no PUE"))
    assert widest_energy(dataclasses.replace(report, energy=energy)).scope == "node"


def test_croissant_of_a_set_of_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        write_run(tmp_path / "set" / name, steady_run())
    about = ["--about", "license=https://creativecommons.org/licenses/by/4.0/", "--about", "creator=us"]
    assert main(["report", str(tmp_path / "set"), "--export", "croissant", *about]) == 2
    assert "Croissant needs url" in capsys.readouterr().err
    about += ["--about", "url=https://example.org/set"]
    assert main(["report", str(tmp_path / "set"), "--export", "croissant", *about]) == 0
    dataset = shapes.Dataset.model_validate_json(capsys.readouterr().out)
    files = {f.id: f for f in dataset.distribution}
    data = (tmp_path / "set" / "a" / "requests.jsonl").read_bytes()
    assert files["a/requests.jsonl"].sha256 == hashlib.sha256(data).hexdigest()
    assert {r.id for r in dataset.recordSet} == {f"{run}/{t}" for run in "ab" for t in ("requests", "readings")}
    first = json.loads(data.splitlines()[0])
    (requests,) = [r for r in dataset.recordSet if r.id == "a/requests"]
    assert {f.source.extract.column for f in requests.field} <= first.keys()


@pytest.mark.parametrize("name", ["hf", "cyclonedx", "sci", "llm-d", "prometheus"])
def test_each_export_of_a_run_folder(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "run", steady_run())
    assert main(["report", str(tmp_path / "run"), "--export", name]) == 0
    assert capsys.readouterr().out.strip()
