"""`baseline set`/`show`, `compare`, `report --baseline`, `gate BASELINE NEW`: as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from joulemill.cli import main
from tests.support.recorded import recorded


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return recorded(folder / "old", seed=1), recorded(folder / "new", seed=2, factor=1.12)


def test_baseline_is_kept_shown_and_gated_against(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, page = tmp_path / "base.json", tmp_path / "page.html"
    assert main(["baseline", "set", str(runs[0]), "--file", str(file), "--name", "spring"]) == 0
    assert capsys.readouterr().out.startswith("baseline spring")
    assert main(["baseline", "show", "--file", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "spring"
    assert main(["gate", str(file), str(runs[1])]) == 1
    assert main(["gate", str(file), str(recorded(tmp_path / "same", seed=9))]) == 0
    assert main(["report", str(runs[1]), "--baseline", str(file), "--html", str(page)]) == 0
    assert "against the baseline spring" in capsys.readouterr().out
    assert "Against the baseline spring" in page.read_text(encoding="utf-8")


def test_compare(runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    names = [str(r) for r in runs]
    assert main(["compare", *names, "--json", "--html", str(page)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["comparable"] is True
    shift = found["figures"][0]["shifts"][0]
    assert shift["ratio"] == pytest.approx(0.12, abs=0.01) and shift["real"] > 0.999
    assert page.read_text(encoding="utf-8").count("<svg") == 2
    assert main(["compare", *names, "--markdown"]) == 0
    assert "B against A" in capsys.readouterr().out
    assert main(["compare", *names, "--latex"]) == 0
    assert r"\begin{tabular}{lrrr}" in capsys.readouterr().out
    assert main(["compare", *names]) == 0
    assert "latency, p50" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["compare", "a"], "two runs or more"),
        (["report", "a", "b"], "joulemill compare a b"),
        (["compare", "a", "b", "--latex-row"], "unrecognized arguments: --latex-row"),
        (["compare", "a", "b", "--latex", "--json"], "not allowed with argument"),
        (["baseline", "set"], "give the run"),
        (["baseline", "show", "--file", "no/such.json"], "baseline set RUN"),
        (["baseline", "show", "a"], "takes no run"),
    ],
)
def test_bad_input(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert says in capsys.readouterr().err


def test_a_broken_run_is_no_baseline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = recorded(tmp_path / "cut", seed=1)
    events = (run / "events.jsonl").read_text(encoding="utf-8").replace('"complete"', '"interrupted"')
    (run / "events.jsonl").write_text(events, encoding="utf-8")
    assert main(["baseline", "set", str(run), "--file", str(tmp_path / "b.json")]) == 2
    assert "did not complete" in capsys.readouterr().err
