"""A run that is told to stop keeps and reports what it has, whichever signal it is. How fast is no test's to say on a
machine that does other work: 2 s were measured, 3 s are promised."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from simulated.mock_server import MockPlan, mock_process

from joulemill.errors import EXIT_INTERRUPTED
from joulemill.recording.writer import read_run

pytestmark = pytest.mark.apart


#: The command with all the time after SIGTERM that a crowded machine may need for its report.
PATIENT = """
import sys
from joulemill.cli import main
from joulemill.commands import ending
ending.TERMINATION_S = 200.0
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_bench_reports_what_it_measured(number: signal.Signals, tmp_path: Path) -> None:
    words = ["--quality", "none", "--idle", "0.1s", "--warmup", "0.5s", "--meter", "declared:idle=60W,busy=180W"]
    with mock_process(MockPlan(ttft_s=0.02, itl_s=0.005)) as url:
        command = [sys.executable, "-c", PATIENT, "bench", "--url", url, "--out", str(tmp_path / "run"), *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ))
        try:
            end_s = time.monotonic() + 240.0
            while not _load_has_answers(tmp_path / "run") and time.monotonic() < end_s:
                time.sleep(0.2)
            process.send_signal(number)
            said, told = (stream.decode() for stream in process.communicate(timeout=240))
        finally:
            process.kill()
    assert process.returncode == EXIT_INTERRUPTED
    assert "utilization-adjusted output" in said.lower() and "Traceback" not in told
    assert f"interrupted: stopped by {number.name} in phase load; what was measured is kept" in told
    record = read_run(tmp_path / "run")
    assert record.status == "interrupted" and any(r.phase == "load" for r in record.requests)


#: A report that takes for ever, as one of hundreds of meters nearly does.
SLOW_REPORT = """
import sys, time
import joulemill.commands.bench as bench
from joulemill.cli import main
bench._reported = lambda *_: time.sleep(3600)
sys.exit(main(sys.argv[1:]))
"""


def test_a_report_that_takes_too_long_after_sigterm_is_not_waited_for(tmp_path: Path) -> None:
    words = ["--quality", "none", "--idle", "0.1s", "--warmup", "0.5s", "--meter", "declared:idle=60W,busy=180W"]
    with mock_process(MockPlan(ttft_s=0.02, itl_s=0.005)) as url:
        command = [sys.executable, "-c", SLOW_REPORT, "bench", "--url", url, "--out", str(tmp_path / "run"), *words]
        process = subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            end_s = time.monotonic() + 240.0
            while not _load_has_answers(tmp_path / "run") and time.monotonic() < end_s:
                time.sleep(0.2)
            process.send_signal(signal.SIGTERM)
            document, told = (stream.decode() for stream in process.communicate(timeout=240))
        finally:
            process.kill()
    assert process.returncode == EXIT_INTERRUPTED
    assert f"kept in {tmp_path / 'run'}: joulemill report" in told and "Traceback" not in told
    assert json.loads(document)["error"]["kind"] == "interrupted"
    assert read_run(tmp_path / "run").status == "interrupted"


def _load_has_answers(folder: Path) -> bool:
    file = folder / "requests.jsonl"
    return file.exists() and b'"phase": "load"' in file.read_bytes()
