"""srt-slurm's power packages, by hand: two boards of 300 and 500 W for 60 s, 24,000 output tokens, so 2 J a token."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from joulemill.analysis.report import Report
from joulemill.analysis.run import analyze
from joulemill.catalog.stated_device import stated_device
from joulemill.errors import InputError
from joulemill.importers.joining import AddedFacts
from joulemill.importers.opening import import_files
from joulemill.importers.recording import Choice
from tests.support.foreign_results import write_json

START_S, LENGTH_S = 1_800_000_000.0, 60.0
HEADER = "schema_version,timestamp_unix,scrape_seq,hostname,gpu_index,gpu_uuid,power_w"
BOARDS = (("node-a", 0, "GPU-a", 300.0), ("node-b", 0, "GPU-b", 500.0))


@dataclass
class Package:
    """A run's log folder with a package in it."""

    logs: Path

    @property
    def folder(self) -> Path:
        return self.logs / "power"

    def write(self, concurrencies: tuple[int, ...] = (4,), drop: Callable[[int], bool] = lambda n: False) -> None:
        """Sample every second, two seconds more at either end; ``drop`` leaves polls out."""
        (self.folder / "windows").mkdir(parents=True)
        rows = [HEADER]
        for n in range(-2, int(LENGTH_S) + 3):
            if not drop(n):
                rows += [f"1,{START_S + n:.3f},{n + 2},{host},{i},{uuid},{watts}" for host, i, uuid, watts in BOARDS]
        (self.folder / "samples.csv").write_text("\n".join(rows) + "\n")
        for concurrency in concurrencies:
            self._window(concurrency)
        self.manifest()

    def _window(self, concurrency: int) -> None:
        moments = {
            "benchmark_start_time_unix": START_S,
            "benchmark_end_time_unix": START_S + LENGTH_S,
            "duration": LENGTH_S,
        }
        (self.logs / "results").mkdir(exist_ok=True)
        name = f"c{concurrency}.json"
        totals = {"completed": 40, "total_output_tokens": 24_000, "total_input_tokens": 4_000}
        speed = {"output_throughput": 400.0, "max_concurrency": concurrency, "model_id": "Qwen/Qwen3-8B"}
        write_json(self.logs / "results" / name, {**moments, **totals, **speed})
        window = {"schema_version": 1, "benchmark_type": "sa-bench", "status": "completed", "concurrency": concurrency}
        path = self.folder / "windows" / name
        write_json(path, {**moments, **window, "result_path": f"results/{name}"})

    def manifest(self, **more: Any) -> None:
        digest = hashlib.sha256((self.folder / "samples.csv").read_bytes()).hexdigest()
        boards = [{"hostname": host, "gpu_index": i, "assignments": []} for host, i, *_ in BOARDS]
        stated = {"producer": "srt-slurm.dcgm-power", "schema_version": 1, "status": "complete"}
        checked = {"publication_valid": True, "reason_codes": [], "clock_sync_failures": []}
        evidence = {"samples_sha256": digest, "sample_interval_seconds": 1.0, "expected_devices": boards}
        write_json(self.folder / "manifest.json", {**stated, **checked, **evidence, **more})


@pytest.fixture
def package(tmp_path: Path) -> Package:
    return Package(tmp_path / "logs")


def imported(path: Path, part: int | None = None) -> Report:
    return analyze(import_files([path], Choice(part=part), None, AddedFacts(device=stated_device("h100:2"))))


def refused(report: Report, reason: str) -> bool:
    """Whether joules are unknown, and the reason is told."""
    return report.energy.device_j_tok.value is None and any(reason in w for w in report.warnings)


@pytest.mark.parametrize("named", ["", "manifest.json"])
def test_a_sound_package_gives_joules_of_its_boards(package: Package, named: str) -> None:
    package.write()
    report = imported(package.folder / named)
    assert report.energy.device_j_tok.value == pytest.approx(800.0 * LENGTH_S / 24_000, rel=0.01)
    assert report.power.device_w.value == pytest.approx(800.0, rel=0.01)
    assert any("were checked again and hold" in w and "2 GPU boards" in w for w in report.warnings)


def test_other_bytes_than_the_manifest_hashed_do_not_count(package: Package) -> None:
    package.write()
    samples = package.folder / "samples.csv"
    samples.write_text(samples.read_text().replace(",300.0", ",100.0"))
    assert refused(imported(package.folder), "SHA-256")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"publication_valid": False, "reason_codes": ["exporter_exited"]}, "not publishable (exporter_exited)"),
        ({"publication_valid": None}, "not publishable"),
        ({"reason_codes": ["endpoint_timeout"]}, "endpoint_timeout"),
        ({"status": "incomplete"}, "status is incomplete"),
        ({"clock_sync_failures": ["node-b"]}, "clock_sync_unverified (node-b)"),
        ({"expected_devices": [{"hostname": "node-a", "gpu_index": 0}]}, "expected_device_missing"),
        ({"sample_interval_seconds": 0.5}, "sample_loss_exceeded"),
    ],
)
def test_what_the_package_says_against_itself_is_honoured(package: Package, more: dict[str, Any], says: str) -> None:
    package.write()
    package.manifest(**more)
    report = imported(package.folder)
    assert refused(report, says)
    assert report.output.rate_tok_s.value or any(s.name == "output.rate_tok_s" for s in report.stated)


@pytest.mark.parametrize(
    ("drop", "says"),
    [
        (lambda n: 20 <= n <= 23, "sample_gap_exceeded"),
        (lambda n: n % 2 == 0, "sample_loss_exceeded"),
        (lambda n: n > LENGTH_S - 1, "not_bracketed"),
    ],
)
def test_coverage_is_computed_again(package: Package, drop: Callable[[int], bool], says: str) -> None:
    package.write(drop=drop)
    assert refused(imported(package.folder), says)


def test_a_window_of_another_result_does_not_count(package: Package) -> None:
    package.write()
    path = package.logs / "results" / "c4.json"
    write_json(path, json.loads(path.read_text()) | {"duration": 61.0})
    assert refused(imported(package.folder), "measurement_window_result_mismatch (duration)")


def test_of_several_windows_one_is_chosen(package: Package) -> None:
    package.write(concurrencies=(4, 16))
    with pytest.raises(InputError, match=r"2 windows; choose one with `part`.*concurrency 16"):
        imported(package.folder)
    assert imported(package.folder, part=2).energy.device_j_tok.known


@pytest.mark.parametrize("stated", ["../secret.json", "/etc/passwd", "~/x.json"])
def test_a_result_outside_the_log_folder_is_refused(package: Package, stated: str) -> None:
    package.write()
    path = package.folder / "windows" / "c4.json"
    write_json(path, json.loads(path.read_text()) | {"result_path": stated})
    with pytest.raises(InputError, match="a path below the run's log folder"):
        imported(package.folder)


def test_a_package_stands_alone(package: Package) -> None:
    package.write()
    with pytest.raises(InputError, match="leave `meter_file` out"):
        import_files([package.folder], Choice(), "smi.csv")
    with pytest.raises(InputError, match="give its folder alone"):
        import_files([package.folder, package.logs / "results" / "c4.json"], Choice())


def test_another_version_and_a_package_without_windows_are_refused(package: Package) -> None:
    package.write()
    package.manifest(schema_version=2)
    with pytest.raises(InputError, match="version 2"):
        imported(package.folder)
    package.manifest()
    (package.folder / "windows" / "c4.json").unlink()
    with pytest.raises(InputError, match="no measurement window"):
        imported(package.folder)
