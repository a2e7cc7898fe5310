"""A steady run whose manifest names its hardware and model, as a folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from simulated.runs import steady_run

from joulemill.recording.writer import write_run
from tests.support.manifests import manifest_of, members_of


def on_h100(folder: Path, **more: object) -> Path:
    """Write the run, of Qwen3-8B on one H100, into ``folder``; ``more`` joins its manifest."""
    record = steady_run()
    known = {"device": {"name": "NVIDIA H100 80GB HBM3", "count": 1}, "model": {"name": "Qwen/Qwen3-8B"}}
    write_run(folder, replace(record, manifest=manifest_of({**members_of(record), **known, **more})))
    return folder
