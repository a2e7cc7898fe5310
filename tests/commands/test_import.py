"""``joulemill import``: files in, run folder and report out; nothing hostile gets through."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from joulemill.cli import main
from tests.support import foreign_results


def test_run_folder_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = foreign_results.write_json(tmp_path / "g.json", foreign_results.guidellm())
    assert main(["import", str(results), "--out", str(tmp_path / "run"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"].startswith("1.")
    assert document["energy"]["node_j_tok"]["value"] is None
    assert main(["report", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == document, "the folder tells the same again"


def test_a_script_in_a_model_name_is_only_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = foreign_results.guidellm()
    document["benchmarks"][0]["config"]["backend"]["model"] = "<script>alert('x')</script>[red]"
    results = foreign_results.write_json(tmp_path / "g.json", document)
    page = tmp_path / "page.html"
    assert main(["import", str(results), "--out", str(tmp_path / "run"), "--html", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "<script" not in text and "&lt;script&gt;alert" in text
    assert "[red]" in capsys.readouterr().out


def test_one_line_for_what_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = tmp_path / "x.json"
    odd.write_text('{"a": 1}')
    assert main(["import", str(odd), "--out", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "not a result file that is known" in told
    assert not (tmp_path / "run").exists()


def test_a_site_applies_its_pue_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = foreign_results.write_json(tmp_path / "g.json", foreign_results.guidellm())
    meter, site = tmp_path / "wall.csv", tmp_path / "site.toml"
    meter.write_text(foreign_results.power_csv(watts=100.0))
    site.write_text("pue = 1.25\n")
    words = ["import", str(results), "--out", str(tmp_path / "run"), "--meter-file", f"{meter},value=watts,unit=W"]
    assert main([*words, "--site", str(site), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["power"]["node_w"]["value"] == pytest.approx(100.0, rel=1e-3)
    assert document["power"]["site_w"]["value"] == pytest.approx(125.0, rel=1e-3)


def test_a_named_device_must_be_in_the_catalogue(tmp_path: Path) -> None:
    results = foreign_results.write_json(tmp_path / "g.json", foreign_results.guidellm())
    assert main(["import", str(results), "--out", str(tmp_path / "r"), "--device", "nothing-like-it"]) == 2
    assert main(["import", str(results), "--out", str(tmp_path / "r"), "--device", "h100-sxm:8", "--json"]) == 0
