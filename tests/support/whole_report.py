"""A report that states everything."""

from __future__ import annotations

import dataclasses
from typing import Any

from simulated.runs import steady_run

from joulemill.analysis.report import Report
from joulemill.analysis.run import analyze
from joulemill.ledger.manifest import document
from joulemill.ledger.record import QualityAnswer
from tests.support.manifests import manifest_of, members_of


def whole(**manifest: Any) -> Report:
    """A run on a CPU whose manifest states all that it must."""
    record = steady_run()
    told = {
        **members_of(record),
        "options": {**document(record.manifest.asked), "quality": "small"},
        "server": {"slots": 4, "embedded": True, "kind": "llama.cpp", "version": "b1"},
        "model": {"name": "m-Q4_1", "sha256": "ab"},
        "machine": {"cpu": "some CPU"},
        "machine_ceilings": None,
        "site": {"pue": 1.3, "it_power_limit": "500 W"},
        **manifest,
    }
    answers = tuple(
        QualityAnswer(
            request_id=f"q{n}",
            task="t",
            question_id=f"q{n}",
            scorer="exact",
            expected="1",
            answer="1",
            score=float(n % 2),
        )
        for n in range(20)
    )
    return analyze(dataclasses.replace(record, manifest=manifest_of(told), quality=answers))
