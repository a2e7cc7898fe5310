"""A lever experiment's folder: runs whose truth is known, beside a prediction or the reason that there is none."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from simulated.readings import EPOCH_S
from simulated.runs import request, steady_run

from joulemill.analysis.lever_experiment import experiment, is_experiment
from joulemill.cli import main
from joulemill.errors import InputError
from joulemill.ledger.record import MachineSample, Phase, QualityAnswer, RequestOutcome, RunRecord
from joulemill.recording.writer import write_run
from joulemill.reports.lever_experiment import page, show
from tests.support.screen import on_screen


def quality(right: int, asked: int = 20, tokens: int = 10, ended: int = 20) -> dict[str, object]:
    """``asked`` questions, ``right`` of them answered well, of ``tokens`` each."""
    requests, answers = [], []
    for n in range(asked):
        facts = {"phase": "quality", "outcome": RequestOutcome.OK, "finish_reason": "stop" if n < ended else "length"}
        requests.append(replace(request(n, 92.0, 92.1, 92.5, tokens), id=f"quality:q{n}", **facts))
        answers.append(
            QualityAnswer(
                request_id=f"quality:q{n}",
                task="t",
                question_id=f"q{n}",
                scorer="exact",
                expected="x",
                answer="x",
                score=float(n < right),
            )
        )
    return {"asked": requests, "answers": tuple(answers)}


def run(factor: float, seen: dict[str, object]) -> RunRecord:
    made = steady_run(factor=factor)
    asked = Phase("quality", 91.0, EPOCH_S + 91.0, 94.0)  # three seconds at idle power: 240 J × factor
    facts = {"requests": (*made.requests, *seen["asked"]), "quality": seen["answers"], "phases": (*made.phases, asked)}
    return replace(made, **facts)  # type: ignore[misc]


OPTIONS = {"gguf": "m.gguf", "threads": 2, "concurrency": 4, "output_tokens": "20", "shared_prefix_tok": 0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twice as it is, twice with a second model at 1.2 × the joules and better answers, a lever that was not run."""
    points = [
        {"label": "as it is", "knob": "base", "x": None, "options": OPTIONS},
        {"label": "second-model", "knob": "second-model", "x": 1.0, "options": OPTIONS},
        {"label": "one at a time", "knob": "calibrate", "x": None, "options": OPTIONS},
    ]
    factors, seen = [1.0, 1.02, 1.2, 1.22], [quality(10, ended=12)] * 2 + [quality(15)] * 2
    for name, factor, answers in zip("abcd", factors, seen, strict=True):
        write_run(tmp_path / name, run(factor, answers))
    runs = [{"point": p, "folder": n, "status": "complete"} for n, p in zip("abcd", (0, 0, 1, 1), strict=True)]
    told = {
        "schema_version": 1,
        "kind": "levers",
        "knob": "lever",
        "status": "complete",
        "points": points,
        "order": [0, 1, 2, 2, 1, 0],
        "runs": runs,
        "absent": {"speculation": "no draft model is named"},
    }
    (tmp_path / "sweep.json").write_text(json.dumps(told))
    return tmp_path


def test_changes_are_of_the_same_meter_and_answers_count(folder: Path) -> None:
    found = experiment(folder)
    assert is_experiment(folder) and (found.runs, found.planned) == (4, 6)
    second, absent = found.levers
    assert second.energy_change.value == pytest.approx((1.2 * 1.22 / 1.02) ** 0.5 - 1, rel=1e-3)
    assert second.energy_change.low < second.energy_change.value < second.energy_change.high
    assert second.rate_change.value == pytest.approx(0.0, abs=1e-9)
    assert (found.before.accuracy.value, second.after.accuracy.value) == (0.5, 0.75)
    # joules a right answer: 1.2 of the joules a token, 2/3 of the questions for one right answer
    assert 1 + second.answer_change.value == pytest.approx((1 + second.energy_change.value) * 0.5 / 0.75, rel=1e-3)
    # 20 questions in three seconds at 80 W, half of them right
    assert found.before.correct_answer_j.value == pytest.approx(80.0 * 1.02**0.5 * 3 / 20 / 0.5, rel=1e-3)
    assert found.before.correct_answer_j.basis == "measured"
    ended, best = second.cascades
    assert (ended.passed_ratio, ended.accuracy_ratio) == (pytest.approx(0.4), pytest.approx((10 + 3) / 20))
    assert (best.passed_ratio, best.accuracy_ratio) == (pytest.approx(0.5), pytest.approx(0.75))
    assert (absent.name, absent.why_not, absent.after) == ("speculation", "no draft model is named", None)


def test_without_ceilings_nothing_is_predicted_and_it_says_why(folder: Path) -> None:
    second = experiment(folder).levers[0]
    assert second.predicted is None and "ceilings were not measured" in second.unpredicted
    assert "ceilings were not measured" in on_screen(show, experiment(folder))


def test_views(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    html = page(experiment(folder))
    assert (
        html.count("<svg") == 2 and "<script" not in html and "src=" not in html and "no draft model is named" in html
    )
    assert main(["report", str(folder), "--json", "--html", str(folder / "p.html")]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["levers"][0]["name"] == "second-model" and (folder / "p.html").exists()
    assert document["levers"][0]["energy_change"]["level"] == 0.95
    assert main(["report", str(folder)]) == 0
    told = capsys.readouterr().out
    assert "4 of 6 runs" in told and "  speculation  no draft model is named" in told


def test_a_folder_without_the_run_as_it_is(folder: Path) -> None:
    told = json.loads((folder / "sweep.json").read_text())
    (folder / "sweep.json").write_text(json.dumps(told | {"runs": told["runs"][2:], "status": "interrupted"}))
    with pytest.raises(InputError, match="no unchanged run"):
        experiment(folder)
    (folder / "sweep.json").write_text(json.dumps(told | {"kind": "sweep"}))
    with pytest.raises(InputError, match="no lever experiment"):
        experiment(folder)


def test_a_crowded_machine_measures_nothing(folder: Path) -> None:
    """Another process took the machine in one of two runs, then in both."""
    for name, more in (("c", 1), ("d", 0)):
        record = run(1.2, quality(15))
        load = record.phase("load")
        busy = tuple(
            MachineSample(
                t_mono_s=t,
                t_wall_s=EPOCH_S + t,
                load1=8.0,
                cpu_busy_ratio=1.0,
                steal_ratio=0.0,
                own_cpu_ratio=0.2,
                server_cpu_ratio=0.1,
                psi_some_ratio=0.6,
                loop_lag_s=0.0,
                client_cpu_ratio=0.1,
            )
            for t in np.arange(load.start_mono_s, load.end_mono_s, 1.0)
        )
        shutil.rmtree(folder / name)
        write_run(folder / name, replace(record, machine=busy))
        second = experiment(folder).levers[0]
        if more:
            assert second.after.runs == 1 and "c: something else ran" in second.after.left_out[0]
        else:
            assert second.after is None and "not one of its runs" in second.why_not and "d: something" in second.why_not
