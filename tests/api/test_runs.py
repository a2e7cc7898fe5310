"""Runs by the API: recorded ones with a known J/token, and one that drives a mock server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from simulated.mock_server import MockPlan, mock_process

import joulemill as jm
from joulemill.cli import main
from joulemill.ledger.record import RequestOutcome
from tests.support.h100_run import on_h100
from tests.support.recorded import recorded

pytestmark = pytest.mark.usefixtures("few_combinations")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two runs of 3.75 J/tok, and one of 30 % more."""
    folder = tmp_path_factory.mktemp("runs")
    return {
        "base": recorded(folder / "base", seed=1),
        "again": recorded(folder / "again", seed=2),
        "worse": recorded(folder / "worse", seed=3, factor=1.3),
    }


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    main([*words, "--json"])
    return json.loads(capsys.readouterr().out)


def test_a_run_has_its_figures_and_the_command_s_document(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = jm.open_run(runs["base"])
    node = run.energy.node
    assert node.value == pytest.approx(3.75, rel=0.02) and node.low < 3.75 < node.high  # type: ignore[operator]
    assert run.to_dict() == printed(capsys, "report", str(runs["base"]))
    assert run.diagnosis.name == run.bottleneck and run.status == "complete"
    assert str(node) in repr(run) and "\n" not in repr(run) and "<table>" in run._repr_html_()
    run.to_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


def test_the_requests_of_a_run_are_a_frame(runs: dict[str, Path]) -> None:
    run = jm.open_run(runs["base"])
    pandas = pytest.importorskip("pandas")
    frame = run.to_frame("pandas")
    assert isinstance(frame, pandas.DataFrame) and len(frame) == len(run.record.requests)
    assert frame["output_tok"].sum() == sum(r.output_tok or 0 for r in run.record.requests)


def test_a_report_document_opens_too_but_holds_no_record(runs: dict[str, Path], tmp_path: Path) -> None:
    run = jm.open_run(runs["base"])
    (tmp_path / "report.json").write_text(json.dumps(run.to_dict()))
    document = jm.open_run(tmp_path / "report.json")
    assert document.energy.node == run.energy.node
    with pytest.raises(jm.InputError, match="holds no record"):
        _ = document.record
    with pytest.raises(jm.InputError, match="no such run"):
        jm.open_run(tmp_path / "nothing")


def test_the_gate_passes_what_is_alike_and_fails_what_rose(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert jm.gate(runs["base"], runs["again"], max_increase=0.05).outcome == "pass"
    worse = jm.gate(jm.open_run(runs["base"]), [runs["worse"]], max_increase=0.05)
    assert worse.outcome == "fail" and worse.reasons and worse.checks
    assert worse.checks[0].change.value == pytest.approx(0.3, abs=0.03)
    told = printed(capsys, "gate", str(runs["base"]), str(runs["worse"]), "--max-increase", "5%")
    assert json.loads(json.dumps(worse.to_dict())) == told
    assert repr(worse).startswith("<gate fail: ")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"max_increase": 0}, "`max_increase` is 0"),
        ({"max_increase": 50}, "`max_increase` is 50"),
        ({"metric": "rack"}, "`metric` 'rack'"),
        ({"min_quality": 90}, "`min_quality` is 90"),
    ],
)
def test_terms_of_the_gate_are_checked(runs: dict[str, Path], change: dict[str, Any], named: str) -> None:
    with pytest.raises(jm.InputError, match=named):
        jm.gate(runs["base"], runs["again"], **change)


def test_a_comparison_shows_the_rise(runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    found = jm.compare(runs["base"], jm.open_run(runs["worse"]))
    assert found.comparable
    row = next(r for r in found.comparison.rows if r.name == "energy per output token, node")
    assert row.shifts[0].ratio == pytest.approx(0.3, abs=0.03)
    assert found.to_dict() == printed(capsys, "compare", str(runs["base"]), str(runs["worse"]))
    frame = found.to_frame("pyarrow").to_pydict()
    at = [i for i, n in enumerate(frame["figure"]) if n == row.name]
    assert [frame["change"][i] for i in at] == [None, row.shifts[0].ratio]
    with pytest.raises(jm.InputError, match="given twice"):
        jm.compare(runs["base"], runs["base"])
    with pytest.raises(jm.InputError, match="two runs"):
        jm.compare(runs["base"])


def test_levers_of_a_run_start_from_its_own_load(tmp_path: Path) -> None:
    run = jm.open_run(on_h100(tmp_path / "run"))
    question = run.levers().answer.answer.question
    load = run.measurement.intensity.load  # type: ignore[union-attr]
    assert question.model == "Qwen/Qwen3-8B" and load is not None
    assert (question.input_tokens, question.output_tokens) == (load.prompt_tok, load.output_tok)


@pytest.mark.apart
def test_bench_drives_a_server_and_returns_the_run(tmp_path: Path) -> None:
    with mock_process(MockPlan(ttft_s=0.03, itl_s=0.002)) as url:
        run = jm.bench(
            url=url,
            concurrency=3,
            duration_s=1.5,
            warmup_s=0.4,
            idle_s=0.3,
            input_tokens=32,
            output_tokens=16,
            meters="declared:idle=60W,busy=60W,error=5%",
            sample_period_s=0.05,
            quality=None,
            out=tmp_path / "run",
        )
    assert run.status == "complete" and run.path == tmp_path / "run"
    assert run.record.manifest.asked.concurrency == 3
    good = [r for r in run.record.requests if r.outcome is RequestOutcome.OK]
    assert good and all(r.output_tok == 16 for r in good if r.phase == "load")
    # 60 W whatever the CPU does: joules per token are 60 W over the rate
    assert run.energy.node.value == pytest.approx(60.0 / (run.rate_tok_s.value or 0.0), rel=0.02)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"concurency": 4}, "no argument 'concurency'; did you mean concurrency"),
        ({"concurrency": 0}, "`concurrency` must be at least 1"),
        ({"duration_s": 0.1}, "`duration_s` must be at least 0.5 s"),
        ({"url": "http://127.0.0.1:1", "gguf": "m.gguf"}, "`gguf` is for the embedded server"),
        ({"input_tokens": "many"}, "`input_tokens`: 'many' is not a length"),
    ],
)
def test_bench_names_the_argument_that_is_wrong(given: dict[str, Any], named: str) -> None:
    with pytest.raises(jm.InputError, match=named):
        jm.bench(**given)


def test_the_bench_command_names_the_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--concurrency", "0"]) == 2
    assert "--concurrency must be at least 1" in capsys.readouterr().err
    assert main(["bench", "--turns", "3", "--rate", "2"]) == 2
    assert "--turns needs a closed loop over the chat API: give --concurrency" in capsys.readouterr().err
