"""An accuracy that another tool found: declared, with its own standard error, and good enough for the gate."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulated.runs import steady_run

from joulemill.analysis import facts as run_facts
from joulemill.analysis.samples import load_samples
from joulemill.figure import Basis
from joulemill.importers.lm_eval import parse_lm_eval
from joulemill.ledger.manifest import document
from joulemill.ledger.record import RunRecord
from tests.support.foreign_results import RESULTS
from tests.support.manifests import manifest_of, members_of


def with_stated() -> RunRecord:
    run = steady_run()
    options = {
        **document(run.manifest.asked),
        "quality": "lm-eval:r.json",
        "quality_stated": parse_lm_eval(RESULTS, "r.json"),
    }
    return steady_run(manifest=manifest_of({**members_of(run), "options": options}))


def test_stated_accuracy_is_declared_and_names_its_model() -> None:
    found = run_facts.quality(with_stated())
    accuracy = found.accuracy
    assert accuracy.basis is Basis.DECLARED and accuracy.value == pytest.approx(550 / 900)
    assert accuracy.high - accuracy.value == pytest.approx(1.96 * 0.015754, rel=1e-3)
    assert found.questions == 900 and found.task == "gsm8k, mmlu_law, mmlu_logic"
    assert "org/model" in accuracy.reason and "the user states" in accuracy.reason
    tokens = run_facts.tokens_per_correct(with_stated(), found)
    assert tokens.value is None and "tokens the answers took" in tokens.reason


def test_the_gate_takes_it(tmp_path: Path) -> None:
    from joulemill.recording.writer import write_run

    write_run(tmp_path / "run", with_stated())
    share = load_samples(tmp_path / "run", "node")[0].accuracy
    assert share.asked == 900 and share.value_ratio == pytest.approx(550 / 900)
