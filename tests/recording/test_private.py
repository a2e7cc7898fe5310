"""Who may read a run folder: its owner alone, whatever the umask."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from joulemill.ledger.manifest import Manifest
from joulemill.recording.private import private_folder, write_private
from joulemill.recording.writer import RunWriter


@pytest.mark.finding("F42")
def test_a_run_folder_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        writer = RunWriter(tmp_path / "above" / "run")
        writer.manifest(Manifest())
        writer.event("note", text="x")
        writer.close()
    finally:
        os.umask(before)
    folder = tmp_path / "above" / "run"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in folder.iterdir()} == {0o600}
    assert len(list(folder.iterdir())) == 8


@pytest.mark.finding("F42")
def test_what_is_written_beside_runs_is_too_and_what_was_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(mode=0o755)
    private_folder(tmp_path / "there")
    write_private(tmp_path / "there" / "sweep.json", "{}\n")
    assert stat.S_IMODE((tmp_path / "there").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "there" / "sweep.json").stat().st_mode) == 0o600
