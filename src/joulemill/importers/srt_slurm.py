"""srt-slurm's power packages: ``manifest.json``, ``samples.csv`` and ``windows/`` beside the result of a benchmark.

The package says itself whether it may be published, and by reason codes why not. Its joules count only where it says so
and what its files tell anew agrees: the SHA-256 of the samples, the devices that were expected, and that every board
was seen before, after and all through the window (gaps up to 3 s, 5 % of the samples lost). What speaks against them
is told, and the benchmark's own figures are imported without joules.

Traps: watts are of boards, in ``samples.csv`` without roles; a window may be of any of several concurrencies.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from joulemill.errors import InputError
from joulemill.files import read_bytes
from joulemill.formats.documents import Document, parse_document
from joulemill.formats.untrusted import Part
from joulemill.importers.recording import Choice, chosen_part

PRODUCER, SCHEMA_VERSION = "srt-slurm.dcgm-power", 1
MANIFEST, SAMPLES, WINDOWS = "manifest.json", "samples.csv", "windows"
#: The package's own rules of coverage (srt-slurm docs/power-telemetry.md): gaps [s], and samples that may be missing.
MOST_GAP_S, MOST_LOST_RATIO = 3.0, 0.05
#: No exporter is polled more often [s].
LEAST_INTERVAL_S = 1e-3
#: Folders above the package in which results are looked for: the log folder is the first.
MOST_UP = 3
Board = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class PowerPackage:
    """One window of a package: the benchmark's result, and whether its joules count.

    faults   what speaks against the joules; none: they count
    """

    manifest: Document
    result: Document
    samples: Path
    boards_count: int
    faults: tuple[str, ...]

    @property
    def meter_file(self) -> str | None:
        """The samples as a meter's file; None where they do not count."""
        return None if self.faults else f"{self.samples},format=dcgm-power,count={self.boards_count}"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What must be told."""
        if self.faults:
            return (f"srt-slurm's power does not count, joules are unknown: {'; '.join(self.faults)}",)
        return (
            "power is srt-slurm's package: hash, boards and coverage were checked again and hold; it is of "
            f"{self.boards_count} GPU boards: no host, no fans, no conversion",
        )


def is_manifest(document: Document) -> bool:
    """Whether ``document`` is the manifest of a power package."""
    return document.form == "json" and document.head["producer"].value == PRODUCER


def manifest_in(path: Path) -> Path:
    """The manifest of the package in the folder ``path``; ``path`` itself where it is none."""
    return path / MANIFEST if path.is_dir() and (path / MANIFEST).is_file() else path


def open_package(path: Path, manifest: Document, choice: Choice) -> PowerPackage:
    """The package whose manifest lies at ``path``, and the window that ``choice`` names.

    Raises InputError for another version, and where no window has a result that can be read.
    """
    root, folder = manifest.root, path.parent
    version = root["schema_version"].value
    if version != SCHEMA_VERSION:
        raise InputError(f"{manifest.name}: power package of version {version}; {SCHEMA_VERSION} can be read")
    window = chosen_part(manifest.name, _windows(folder), choice, "windows", _load_text)
    result = _result(folder, window)
    expected = [_board(part) for part in root["expected_devices"].each()]
    faults = [*_stated_faults(root), *_result_faults(window, result)]
    samples = folder / SAMPLES
    if samples.is_file():
        faults += _sample_faults(root, read_bytes(samples), expected, _span(window))
    else:
        faults.append("samples_csv_missing")
    return PowerPackage(
        manifest=manifest,
        result=result,
        samples=samples,
        boards_count=len(expected),
        faults=tuple(dict.fromkeys(faults)),
    )


def _windows(folder: Path) -> list[Part]:
    """Windows that ended, in order of their concurrency."""
    files = sorted((folder / WINDOWS).glob("*.json"))
    parts = [parse_document(f"{WINDOWS}/{f.name}", read_bytes(f)).root for f in files]
    ended = [p for p in parts if p["status"].value == "completed"]
    if not ended:
        raise InputError(f"{folder}: holds no measurement window that was completed; nothing can be imported")
    return sorted(ended, key=lambda p: p["concurrency"].option() or 0.0)


def _load_text(window: Part) -> str:
    return f"{window['benchmark_type'].text() or 'unknown load'} at concurrency {window['concurrency'].text()}"


def _result(folder: Path, window: Part) -> Document:
    """The benchmark's result that the window names, below one of the folders above the package."""
    part = window["result_path"]
    stated = part.text() or ""
    inner = PurePosixPath(stated)
    if not stated or inner.is_absolute() or ".." in inner.parts or "~" in stated[:1]:
        raise part.wrong("a path below the run's log folder")
    roots = [folder, *list(folder.resolve().parents)[:MOST_UP]]
    file = next((root / stated for root in roots if (root / stated).is_file()), None)
    if file is None:
        raise InputError(f"{part.where}: {stated} does not lie next to the package; keep it in the run's log folder")
    return parse_document(file.name, read_bytes(file))


def _stated_faults(root: Part) -> Iterator[str]:
    """What the package itself says against its joules."""
    status = root["status"].text()
    if status != "complete":
        yield f"its status is {status}"
    reasons = [part.text() or "?" for part in root["reason_codes"].each()]
    if root["publication_valid"].value is not True:
        yield "srt-slurm marks it as not publishable" + (f" ({', '.join(reasons)})" if reasons else "")
    elif reasons:
        yield ", ".join(reasons)
    unsynchronized = [part.text() or "?" for part in root["clock_sync_failures"].each()]
    if unsynchronized:
        yield f"clock_sync_unverified ({', '.join(unsynchronized[:5])})"


def _result_faults(window: Part, result: Document) -> Iterator[str]:
    """Whether the result is the one that the window brackets."""
    for key in ("benchmark_start_time_unix", "benchmark_end_time_unix", "duration"):
        if window[key].number() != result.head[key].number():
            yield f"measurement_window_result_mismatch ({key})"


def _span(window: Part) -> tuple[float, float]:
    start, end = window["benchmark_start_time_unix"].unix_s(), window["benchmark_end_time_unix"].unix_s()
    if start is None or end is None or not end > start:
        raise InputError(f"{window.where}: the window has no start and end; is the package damaged?")
    return start, end


def _board(part: Part) -> Board:
    name, index = part["hostname"].text(), part["gpu_index"].count()
    if name is None or index is None:
        raise part.wrong("a board with hostname and gpu_index")
    return name, index


def _sample_faults(root: Part, data: bytes, expected: Sequence[Board], span: tuple[float, float]) -> list[str]:
    """What the samples themselves say: other bytes, other boards, holes."""
    stated = root["samples_sha256"].text()
    if stated != hashlib.sha256(data).hexdigest():
        return ["samples.csv is not the file whose SHA-256 the manifest holds"]
    try:
        times, identities = _sampled(data)
    except (KeyError, TypeError, ValueError, csv.Error) as fault:
        return [f"samples_csv_malformed ({fault})"]
    faults = [] if set(times) == set(expected) and expected else ["expected_device_missing"]
    if any(len(i) != 1 for i in identities.values()) or len(set().union(*identities.values())) != len(identities):
        faults.append("gpu_uuid_changed")
    interval_s = root["sample_interval_seconds"].option()
    return faults + [f for moments in times.values() for f in _coverage(sorted(moments), span, interval_s)]


def _sampled(data: bytes) -> tuple[Mapping[Board, set[float]], Mapping[Board, set[str]]]:
    """Moments and identities of each board."""
    times: dict[Board, set[float]] = {}
    identities: dict[Board, set[str]] = {}
    for row in csv.DictReader(io.StringIO(data.decode("utf-8"), newline=""), strict=True):
        board = row["hostname"], int(row["gpu_index"])
        moment, watts = float(row["timestamp_unix"]), float(row["power_w"])
        if not (math.isfinite(moment) and math.isfinite(watts) and watts >= 0.0):
            raise ValueError(f"a sample of {watts:g} W at {moment:g}")
        times.setdefault(board, set()).add(moment)
        identities.setdefault(board, set()).add(row["gpu_uuid"])
    return times, identities


def _coverage(moments: Sequence[float], span: tuple[float, float], interval_s: float | None) -> Iterator[str]:
    """Faults of one board's samples over the window."""
    at = np.array(moments)
    first, last = int(np.searchsorted(at, span[0], side="right")) - 1, int(np.searchsorted(at, span[1], side="left"))
    if first < 0 or last >= at.size:
        yield "measurement_window_not_bracketed"
        return
    inside = at[first : last + 1]
    if np.diff(inside).max(initial=0.0) > MOST_GAP_S:
        yield "sample_gap_exceeded"
    expected = math.floor((inside[-1] - inside[0]) / interval_s) if interval_s and interval_s > LEAST_INTERVAL_S else 0
    if not expected or expected - (inside.size - 1) > MOST_LOST_RATIO * expected:
        yield "sample_loss_exceeded"
