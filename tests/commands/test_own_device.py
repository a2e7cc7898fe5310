"""A run on hardware of the user's own: its facts go into the folder, and every view works without the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from joulemill.api.benching import bench_options
from joulemill.catalog.stated_device import stated_device
from joulemill.cli import main
from joulemill.commands.bench_options import arguments_of
from joulemill.ledger.manifest import document
from tests.support.own_device import OWN
from tests.support.recorded import recorded


@pytest.fixture
def run(tmp_path: Path) -> Path:
    file = tmp_path / "my.toml"
    file.write_text(OWN + 'peak_bf16 = "60 Gflop/s"\ntdp = "40 W"\n')
    folder = recorded(
        tmp_path / "run", model="HuggingFaceTB/SmolLM2-135M-Instruct", device=document(stated_device(str(file)))
    )
    file.unlink()
    return folder


def test_report_has_the_ceilings_of_the_file(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    ceilings = {c["name"]: c for c in document["ceilings"]}
    assert ceilings["memory_bandwidth"]["capacity"]["value"] == 20e9
    assert document["conditions"]["hardware"]["device"] == "1 x milan-1core"


def test_diagnose_compare_and_levers_need_the_file_no_more(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", str(run), "--json"]) in (0, 3)
    other = recorded(run.parent / "other", seed=2, model="HuggingFaceTB/SmolLM2-135M-Instruct")
    assert main(["compare", str(run), str(other), "--json"]) == 0
    assert main(["levers", str(run)]) in (0, 1)
    assert "milan-1core" in capsys.readouterr().out


def test_a_folder_that_kept_no_facts_is_still_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = recorded(tmp_path / "old", device={"name": "milan-1core", "kind": "cpu", "count": 1})
    assert main(["report", str(folder), "--json"]) == 0
    compute = next(c for c in json.loads(capsys.readouterr().out)["ceilings"] if c["name"] == "compute")
    assert compute["rate_tok_s"]["value"] is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--device", "nofile.toml"], "nofile.toml"),
        (["--device", "h1000"], "did you mean"),
        (["--devices", "4"], "name them with --device"),
        (["--device", "h100:4", "--devices", "8"], "give one of them"),
    ],
)
def test_hardware_is_checked_before_the_load(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["bench", "--url", "http://127.0.0.1:9", "--model", "m", *flags, "--out", str(out)]) == 2
    assert message in capsys.readouterr().err and not out.exists()


def test_the_spelling_that_check_advises_is_taken() -> None:
    import argparse

    from joulemill.commands import bench

    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    words = ["--url", "http://127.0.0.1:9", "--device", "epyc-9654:1"]
    options = bench_options(**arguments_of(parser.parse_args(words)))
    assert options.device is not None and options.device.count == 1
