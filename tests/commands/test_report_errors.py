"""What cannot be reported, compared or graded is said in one line with the file's name, and exits with 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulemill.cli import main
from tests.support.recorded import recorded


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    recorded(folder / "a")
    for name, text in (
        ("empty.json", ""),
        ("bad.json", "{"),
        ("other.json", "{}"),
        ("list.json", "[1]"),
        ("null.json", "null"),
    ):
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["report", "empty.json"], "empty.json: is empty"),
        (["report", "bad.json"], "bad.json: not a report"),
        (["report", "other.json"], "other.json: not a report (it has no schema_version)"),
        (["report", "list.json"], "list.json: not a report"),
        (["report", "null.json"], "null.json: not a report"),
        (["report", "nowhere"], "nowhere: no such run"),
        (["compare", "a"], "compare needs two runs or more"),
        (["compare", "a", "a"], "a is given twice"),
        (["audit", "a", "--part", "7"], "--part 7 is for a tool's file"),
        (["levers", "nowhere"], "nowhere: no such run"),
    ],
)
def test_one_line_that_names_the_file(
    runs: Path, command: list[str], says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs)
    assert main(command) == 2
    err = capsys.readouterr().err.strip()
    assert says in err and len(err.splitlines()) == 1


def test_a_file_called_sweep_beside_a_run_is_not_its_sweep(runs: Path, tmp_path: Path) -> None:
    folder = recorded(tmp_path / "mine")
    (tmp_path / "sweep.json").write_text('{"something": "else"}')
    page = tmp_path / "page.html"
    assert main(["report", str(folder), "--html", str(page)]) == 0
    assert "sweep cannot be shown" not in page.read_text()


def test_questions_that_were_to_be_asked_are_not_called_unasked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = recorded(tmp_path / "half", options={"concurrency": 4, "quality": "small"})
    (folder / "quality.jsonl").unlink()
    main(["report", str(folder)])
    shown = capsys.readouterr()
    assert "no quality set was asked" not in shown.out + shown.err
