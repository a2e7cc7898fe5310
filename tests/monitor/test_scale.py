"""The scale benchmark in small: it runs, is right, and is not late."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.support.paths import ROOT


def test_forty_targets_every_second() -> None:
    script = ROOT / "benchmarks" / "monitor_scale.py"
    asked = ["--targets", "40", "--period", "1", "--seconds", "4", "--days", "2", "--json"]
    told = subprocess.run(
        [sys.executable, str(script), *asked], capture_output=True, text=True, timeout=300, check=True
    )
    found = json.loads(told.stdout)
    assert found["token_error_ratio"] < 0.05 and found["kept_count"] > 100
    assert found["lag_p50_s"] < 0.5 and found["cores"] < 1.0 and found["rss_byte"] < 500e6
    assert found["kept_byte"] / found["kept_count"] < 5000 and found["query_s"] < 0.2
