"""`joulemill gate` on recorded runs: exit codes, JSON, both forms of naming runs, reports instead of folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from joulemill.cli import main
from joulemill.ledger.record import Scope
from tests.support.recorded import recorded


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    made = {
        "base": recorded(folder / "base", seed=1),
        "same": recorded(folder / "same", seed=2),
        "worse": recorded(folder / "worse", seed=3, factor=1.12),
        "worst": recorded(folder / "worst", seed=6, factor=1.13),
        "other": recorded(folder / "other", seed=4, model="another"),
        "unmetered": recorded(folder / "unmetered", seed=5, metered=False),
    }
    return made


@pytest.mark.parametrize(("new", "code"), [("same", 0), ("worse", 1), ("other", 3), ("unmetered", 3)])
def test_exit_codes(runs: dict[str, Path], new: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gate", str(runs["base"]), str(runs[new]), "--max-increase", "5%"]) == code
    shown = capsys.readouterr().out
    assert shown.startswith({0: "gate: PASS", 1: "gate: FAIL", 3: "gate: UNDECIDED"}[code])


def test_json_is_the_only_thing_on_stdout(runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gate", str(runs["base"]), str(runs["worse"]), "--json", "--plan"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["outcome"] == "fail" and found["exit_code"] == 1
    assert found["checks"][0]["change"]["value"] == pytest.approx(0.12, abs=0.01)
    assert found["change"]["p_real"] > 0.99
    assert found["plan"]["enough"] is True


def test_boards_alone_are_judged_as_boards_and_as_a_modelled_node(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = recorded(tmp_path / "base", seed=1, scope=Scope.DEVICE)
    worse = recorded(tmp_path / "worse", seed=3, factor=1.12, scope=Scope.DEVICE)
    assert main(["gate", str(base), str(worse), "--metric", "device", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["checks"][0]["change"]["value"] == pytest.approx(0.12, abs=0.02)
    main(["gate", str(base), str(worse), "--json"])
    node = json.loads(capsys.readouterr().out)["checks"][0]["change"]["value"]
    assert 0.03 < node < 0.11  # the host does not rise with the boards


@pytest.mark.parametrize("metric", ["node", "request"])
def test_every_metric_sees_the_rise(runs: dict[str, Path], metric: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["gate", str(runs["base"]), str(runs["worse"]), "--metric", metric, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["checks"][0]["change"]["value"] == pytest.approx(0.12, abs=0.02)
    # Requests end four at a time, so that a minute of them tells less than its 4800 tokens.
    assert code == (3 if metric == "request" else 1)


def test_site_without_pue_is_undecided(runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gate", str(runs["base"]), str(runs["same"]), "--metric", "site"]) == 3
    assert "PUE is unknown" in capsys.readouterr().out


def test_reports_stand_for_their_folders(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = []
    for name in ("base", "worse"):
        main(["report", str(runs[name]), "--json"])
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(capsys.readouterr().out, encoding="utf-8")
    found = []
    for base, new in ((runs["base"], runs["worse"]), (paths[0], paths[1])):
        assert main(["gate", str(base), str(new), "--json"]) == 1
        found.append(json.loads(capsys.readouterr().out)["change"])
    assert found[1]["log_ratio"] == pytest.approx(found[0]["log_ratio"], rel=1e-9)
    assert found[1]["stderr_ratio"] == pytest.approx(found[0]["stderr_ratio"], rel=0.01)


def test_repeated_runs(runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--base", str(runs["base"]), str(runs["same"]), "--new", str(runs["worse"]), str(runs["worst"])]
    main(["gate", *given, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["change"]["run_spread_ratio"] is not None and found["change"]["freedom_count"] == 2


def test_plan_alone(runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gate", "--plan", str(runs["base"])]) == 0
    assert "steady window of" in capsys.readouterr().out
    assert main(["gate", "--plan", str(runs["unmetered"]), "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["plan"]["enough"] is False


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["only"], "give BASE NEW"),
        (["a", "b", "c"], "give BASE NEW"),
        (["a", "b", "--max-increase=-3%"], "share above 0"),
        (["a", "b", "--max-increase", "0"], "share above 0"),
        (["a", "b", "--max-increase", "5"], "--max-increase: '5' would be 500%; did you mean 5%? Write the % sign"),
        (["a", "b", "--run-noise", "2"], "did you mean 2%"),
        (["a", "b", "--min-quality", "90"], "did you mean 90%"),
        (["no/such/run", "none"], "no such run"),
    ],
)
def test_bad_input_is_one_line(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gate", *words]) == 2
    told = capsys.readouterr().err
    assert says in told and told.count("\n") == 1
