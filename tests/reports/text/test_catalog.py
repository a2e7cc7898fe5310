"""`show`: every fact with unit, basis and source; unknown said to be unknown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from joulemill.catalog.devices import device_names
from joulemill.catalog.model_entry import ModelEntry
from joulemill.errors import InputError
from joulemill.physics.model.architecture import Architecture
from joulemill.physics.model.precision import uniform
from joulemill.reports.text.catalog import device_document, model_document, show, site_document
from tests.support.paths import ROOT
from tests.support.screen import on_screen

EXAMPLE = ROOT / "examples" / "site.toml"


@pytest.mark.parametrize("name", device_names())
def test_every_fact_of_every_device_is_accounted_for(name: str) -> None:
    document = device_document(name)
    for fact in document["facts"]:
        assert fact["unit"]
        assert (fact["source"] and fact["basis"]) if fact["value"] is not None else fact["note"]
    assert json.loads(json.dumps(document)) == document
    assert document["name"] == name and on_screen(show, document, 200).startswith(f"{name}: ")


def test_h200_reads_as_its_sheet() -> None:
    text = on_screen(show, device_document("h200"), 200)
    line = next(x for x in text.splitlines() if "memory_bandwidth" in x)
    assert line.split()[:4] == ["memory_bandwidth", "4800", "GB/s", "datasheet"]
    node = next(f for f in device_document("h200")["facts"] if f["parameter"] == "node_idle")
    assert 8 * node["value"] == pytest.approx(2400, rel=0.03), "MLPerf's floor for eight of them"


def test_a_tpu_has_no_published_tdp() -> None:
    tdp = next(f for f in device_document("tpu-v6e")["facts"] if f["parameter"] == "tdp")
    assert tdp["value"] is None and tdp["basis"] is None
    assert any(
        line.split()[:2] == ["tdp", "unknown"] for line in on_screen(show, device_document("tpu-v6e"), 200).splitlines()
    )


def test_a_users_device_is_declared(tmp_path: Path) -> None:
    path = tmp_path / "d.toml"
    path.write_text('kind = "gpu"\nmemory = "1 GiB"\nmemory_bandwidth = "1 GB/s"\npeak_fp32 = "1 Gflop/s"\n')
    facts = {f["parameter"]: f for f in device_document(str(path))["facts"]}
    assert facts["memory_bandwidth"]["value"] == 1e9 and facts["memory_bandwidth"]["unit"] == "byte/s"
    assert facts["memory"]["basis"] == "declared" and facts["balance_fp32"]["value"] == 1.0


def test_a_site_in_the_units_it_was_written_in(tmp_path: Path) -> None:
    facts = {f["parameter"]: f for f in site_document(EXAMPLE)["facts"]}
    assert facts["price"]["value"] == pytest.approx(0.12) and facts["price"]["unit"] == "EUR/kWh"
    assert facts["it_limit_effective"]["value"] == 40e3 and facts["embodied"]["value"] is None
    empty = tmp_path / "s.toml"
    empty.write_text('pue = "unknown"\n')
    document = site_document(empty)
    assert document["facts"][0]["value"] is None and any("1.54" in n for n in document["notes"])
    assert "survey mean" in on_screen(show, document, 200)


def test_a_model_counts_its_parameters() -> None:
    """Embedding and head of 10 × 4 each, one norm of 4, no layers: 84 parameters."""
    toy = Architecture(name="toy", hidden=4, vocabulary=10, groups=())
    document = model_document(ModelEntry(name="toy", architecture=toy, precision=uniform("bf16")))
    facts = {f["parameter"]: f["value"] for f in document["facts"]}
    assert facts["parameters"] == 84 and facts["parameters_multiplied"] == 40 and facts["max_context"] is None
    assert "unknown" in on_screen(show, document, 200)


def test_an_unknown_device() -> None:
    with pytest.raises(InputError, match="did you mean"):
        device_document("h2000")


def test_the_list_of_devices_has_memory_and_power_with_their_sources(capsys: pytest.CaptureFixture[str]) -> None:
    from joulemill.cli import main

    assert main(["show", "device", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    rows = {r["name"]: r for r in told["devices"]}
    assert list(rows) == told["names"] == list(device_names())
    for row in rows.values():
        for fact in (row["memory"], row["tdp"]):
            assert (fact["source"] and fact["basis"]) if fact["value"] is not None else fact["note"]
    assert (rows["h100-sxm"]["memory"]["value"], rows["h100-sxm"]["memory"]["unit"]) == (81559, "MiB")
    assert main(["show", "device"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert next(x for x in lines if x.startswith("h100-sxm ")).split()[1:6] == ["gpu", "79.6", "GiB", "700", "W"]
    assert next(x for x in lines if x.startswith("tpu-v6e ")).count("unknown") == 1


def test_a_device_names_its_aliases() -> None:
    document = device_document("h100-sxm")
    assert (
        "h100" in document["aliases"]
        and "also read as: " in on_screen(show, document, 200)
        and "h100" in on_screen(show, document, 200)
    )
