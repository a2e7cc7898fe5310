"""What a trial of the search for a rate says: a rate that is not served is not met."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from simulated.runs import request, steady_run

from joulemill.bench.series.find_rate import _trial_text, judged
from joulemill.recording.writer import write_run
from joulemill.reports.text.find_rate import sentence
from tests.support.manifests import manifest_of


def trial_run(folder: Path, served_s: float) -> Path:
    """A request due each second for 60 s, one served after another, each in ``served_s``; tokens come fast."""
    rows, free_s = [], 25.0
    for n in range(60):
        due = 25.0 + n
        start = max(due, free_s)
        free_s = start + served_s
        rows.append(request(n, due, start + 0.1 * served_s, free_s))
    run = steady_run()
    phase = replace(run.phase("load"), end_mono_s=85.0)  # type: ignore[type-var]
    options = {"rate_req_s": 1.0, "input_tokens": "100", "output_tokens": "20", "slo_tpot_s": 1.0}
    manifest = manifest_of({"options": options})
    write_run(folder, replace(run, requests=tuple(rows), manifest=manifest, phases=(*run.phases[:2], phase), server=()))
    return folder


@pytest.mark.parametrize(("served_s", "met"), [(0.5, True), (2.0, False)])
def test_a_queue_that_grows_is_not_met_whatever_the_tokens_do(served_s: float, met: bool, tmp_path: Path) -> None:
    """TPOT alone sees no queue: once a request has its turn, its tokens come as fast as ever."""
    trial = judged(trial_run(tmp_path / "run", served_s), 1.0, 0.9)
    assert trial.attained_ratio == 1.0 and trial.met is met
    assert (trial.served_req_s is None) is met
    assert _trial_text(trial).endswith("within the targets: met" if met else "req/s were served: missed")


def test_the_sentence_says_that_the_queue_grew() -> None:
    said = sentence(2.0, 4.0, {2.0: 1.0, 4.0: 1.0}, {4.0: 3.1})
    assert said == (
        "highest rate that meets the targets: 2 req/s (100 % within the targets); "
        "4 req/s (of which 3.1 were served: the queue grew) misses them"
    )
