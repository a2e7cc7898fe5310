"""An energy gate in any pytest suite, without a plugin. Copy it beside your tests.

Measure first (`joulemill bench --out runs/new-1` and so on, repeats are better than one long run), keep a baseline
(`joulemill baseline set RUN…`), then run pytest. An undecided gate fails, since nothing was shown; set
ENERGY_UNDECIDED=skip to skip it instead.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BASELINE = Path(os.environ.get("ENERGY_BASELINE", "joulemill-baseline.json"))
RUNS = Path(os.environ.get("ENERGY_RUNS", "runs"))
MAX_INCREASE = os.environ.get("ENERGY_MAX_INCREASE", "5%")


def test_energy_per_token_has_not_risen() -> None:
    """J/token of the new runs is within MAX_INCREASE of the baseline, at no less quality and within the targets."""
    new = sorted(str(p.parent) for p in RUNS.glob("*/run.json"))
    if not new:
        pytest.fail(f"no run in {RUNS}: measure one with `joulemill bench --out {RUNS}/new-1`")
    command = [sys.executable, "-m", "joulemill", "gate", "--base", str(BASELINE), "--new", *new]
    done = subprocess.run([*command, "--max-increase", MAX_INCREASE, "--json"], capture_output=True, text=True)
    if done.returncode not in (0, 1, 3):
        pytest.fail(done.stderr)
    verdict = json.loads(done.stdout)
    said = f"energy gate: {verdict['outcome']}: " + "; ".join(verdict["reasons"])
    if verdict["outcome"] == "undecided" and os.environ.get("ENERGY_UNDECIDED") == "skip":
        pytest.skip(said)
    if verdict["outcome"] != "pass":
        pytest.fail(said)
