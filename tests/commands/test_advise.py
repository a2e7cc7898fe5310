"""`joulemill advise` on a store: what a user sees."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from joulemill.cli import main
from joulemill.monitor.history.store import History
from joulemill.monitor.snapshot import Interval, ScopeEnergy, TargetFacts, TokenKind

pytestmark = pytest.mark.usefixtures("few_combinations")

TOML = """
[[site]]
name = "hall"
pue_ratio = 1.2
carbon_g_kwh = 300
price_kwh = 0.1
currency = "EUR"
carbon_by_hour_g_kwh = [%s]
[[target]]
name = "a"
model = "x"
metrics_url = "http://h/metrics"
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two replicas for a day: one idle all night, one nearly all day."""
    kept = History.open(tmp_path / "h.db", raw_days=30)
    begin = (time.time() - 86_400) // 3600 * 3600
    rows = []
    for n in range(144):
        start = begin + 600 * n
        for name, busy in (("a", n % 144 > 60), ("b", n % 144 > 130)):
            watts, tokens = (700.0, 60_000.0) if busy else (250.0, 0.0)
            node = {"node": ScopeEnergy("node", 600 * watts, 20 * watts, "measured", 1.0)}
            rows.append(
                Interval(
                    target=name,
                    start_s=start,
                    end_s=start + 600,
                    observed=True,
                    reason=None,
                    tokens={TokenKind.OUTPUT: tokens},
                    energy=node,
                    running_count=8.0 if busy else 0.0,
                    idle_ratio=float(not busy),
                )
            )
    facts = TargetFacts("a", "meta-llama/Llama-3.1-8B-Instruct", "hall", "h100", 1)
    kept.append(rows, {n: TargetFacts(n, facts.model, "hall", "h100", 1) for n in ("a", "b")})
    kept.close()
    (tmp_path / "c.toml").write_text(TOML % ", ".join(["100"] * 12 + ["500"] * 12))
    return tmp_path / "h.db"


def test_advice_with_evidence_interval_and_basis(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["advise", str(store), "--config", str(store.parent / "c.toml"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["advice"]
    kinds = [a["kind"] for a in found]
    assert {"unload", "tune"} <= set(kinds)
    for a in found:
        assert a["low_j"] <= a["saved_j"] <= a["high_j"] and a["evidence"] and a["basis"]
    night = next(a for a in found if a["kind"] == "unload" and a["subject"] == "a")
    # Its H100 stays powered: 121.6 − 70 W come back.
    assert night["saved_j"] == pytest.approx(51.6 * 61 * 600 - 90 * 700, rel=0.1)
    assert night["carbon_gco2e"] == pytest.approx(night["saved_j"] * 1.2 * 300 / 3.6e6)
    main(["advise", str(store)])
    shown = capsys.readouterr().out
    assert " kWh (" in shown and "in the 24.0 h that were measured" in shown and "e+0" not in shown
    assert "assumed: a reload takes 90 s" in shown
    claims = [c for a in found for c in a["claims"]]
    assert len(claims) == len(set(claims))  # no joule is saved twice
    assert all(a["currency"] == "EUR" for a in found if a["cost_currency"])


def test_without_a_queue_nothing_is_advised_that_takes_more_requests(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["advise", str(store), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["advice"]
    tuned = [a for a in found if a["kind"] == "tune"]
    assert len(tuned) <= 1 and not any("in flight" in a["text"] or "batch" in a["text"] for a in tuned)


def test_a_share_without_its_sign_is_asked_for(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["advise", str(store), "--fill", "70"]) == 2
    assert "did you mean 70%?" in capsys.readouterr().err


def test_too_short_a_history_and_wrong_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    History.open(tmp_path / "new.db").close()
    assert main(["advise", str(tmp_path / "new.db")]) == 0
    assert "let the monitor run" in capsys.readouterr().out
    for extra in (["--fill", "0"], ["--reload-time", "soon"], ["--days", "0"]):
        assert main(["advise", str(tmp_path / "new.db"), *extra]) == 2
    assert main(["advise", str(tmp_path / "none.db")]) == 2
