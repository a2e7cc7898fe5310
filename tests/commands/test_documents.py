"""Members of the JSON documents that commands print: those that were there once stay, so that readers keep working."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from simulated.mock_server import MockPlan, mock_process

from joulemill.cli import main
from joulemill.recording.writer import write_run
from tests.support import foreign_results
from tests.support.run_folders import run_of_everything

GOLDEN = Path(__file__).parent / "golden" / "document_members.json"


def paths(value: Any, at: str = "") -> Iterator[str]:
    """Where something stands in a document: ``energy.node_j_tok.value``, ``meters[].id``."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from paths(part, f"{at}.{name}" if at else str(name))
    elif isinstance(value, list):
        for part in value:
            yield from paths(part, f"{at}[]")
    if at:
        yield at


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files to give to the commands."""
    path = tmp_path_factory.mktemp("documents")
    write_run(path / "run", run_of_everything())
    foreign_results.write_json(path / "guidellm.json", foreign_results.guidellm())
    foreign_results.write_json(path / "summary.json", foreign_results.inferencex())
    (path / "power.csv").write_text(foreign_results.power_csv())
    return path


def words(command: str, folder: Path) -> list[str]:
    return {
        "report": ["report", str(folder / "run")],
        "import": [
            *("import", str(folder / "guidellm.json"), "--out", str(folder / "imported"), "--device", "h100:1"),
            *("--meter-file", f"{folder / 'power.csv'},value=watts,unit=W"),
        ],
        "import summary": ["import", str(folder / "summary.json"), "--out", str(folder / "stated")],
        "validate": ["validate", str(folder / "rows.csv")],
        "predict": ["predict", "--model", "Qwen/Qwen3-8B", "--device", "h100", "--concurrency", "8"],
    }[command]


@pytest.mark.parametrize("command", ["report", "import", "import summary", "validate", "predict"])
def test_documents_keep_their_members(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if command == "validate":
        assert main(["validate", "--template"]) == 0
        (folder / "rows.csv").write_text(capsys.readouterr().out)
    assert main([*words(command, folder), "--json"]) == 0
    lost = set(json.loads(GOLDEN.read_text("utf-8"))[command]) - set(paths(json.loads(capsys.readouterr().out)))
    assert not lost, f"{command} --json lost {sorted(lost)}"


def test_the_document_of_a_run_keeps_its_members(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Members that stand only where a steady window is long enough, as on a quiet machine, are held by `report` above.
    load = ["--requests", "24", "--concurrency", "4", "--warmup", "0s", "--idle", "0s", "--quality", "none"]
    with mock_process(MockPlan()) as url:
        address = ["bench", "--url", url, "--model", "mock-model", "--out", str(tmp_path / "run")]
        assert main([*address, *load, "--meter", "declared:idle=10W,busy=60W", "--json"]) == 0
    lost = set(json.loads(GOLDEN.read_text("utf-8"))["bench"]) - set(paths(json.loads(capsys.readouterr().out)))
    assert not lost, f"bench --json lost {sorted(lost)}"
