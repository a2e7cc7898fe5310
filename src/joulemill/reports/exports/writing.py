"""Exports by name, for the command line."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from joulemill.analysis.report import Report
from joulemill.errors import InputError
from joulemill.reports.exports.croissant import PublishedFile, croissant
from joulemill.reports.exports.cyclonedx import cyclonedx
from joulemill.reports.exports.huggingface import model_card
from joulemill.reports.exports.llmd import llmd
from joulemill.reports.exports.prometheus import prometheus
from joulemill.reports.exports.sci import sci

OF_A_REPORT: Mapping[str, Callable[[Report], str]] = {
    "hf": model_card,
    "cyclonedx": cyclonedx,
    "sci": sci,
    "llm-d": llmd,
    "prometheus": prometheus,
}
NAMES = (*OF_A_REPORT, "croissant")


def export(name: str, report: Report) -> str:
    """``report`` in the format ``name``."""
    return OF_A_REPORT[name](report)


def export_folder(path: Path, about: Sequence[str] = ()) -> str:
    """The folder of a run, or of several, as Croissant describes files. Raises InputError where there is none."""
    entries = dict(entry.partition("=")[::2] for entry in about)
    files = published_files(path)
    newest_s = max((path / f.path).stat().st_mtime for f in files)
    entries.setdefault("name", path.resolve().name)
    entries.setdefault(
        "description", "Runs of LLM servers with energy, recorded by Joulemill: requests, readings, events."
    )
    entries.setdefault("datePublished", time.strftime("%Y-%m-%d", time.gmtime(newest_s)))
    return croissant(entries, files)


def published_files(path: Path) -> list[PublishedFile]:
    """The files of a run folder, or of every run folder in it. Raises InputError where there is no run."""
    runs = [path] if (path / "run.json").is_file() else sorted(p.parent for p in path.glob("*/run.json"))
    if not runs:
        raise InputError(f"{path}: holds no run folder; Croissant describes a run folder, or a folder of them")
    files = []
    for file in (f for run in runs for f in sorted(run.iterdir()) if f.suffix in (".json", ".jsonl")):
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        files.append(PublishedFile(file.relative_to(path).as_posix(), file.stat().st_size, digest))
    return files
