"""Today's fleet from a monitor's history: who answered last, matched to the plan's deployments."""

from __future__ import annotations

from pathlib import Path

import pytest

import joulemill as jm
from joulemill.errors import InputError
from joulemill.monitor.history.store import History
from joulemill.monitor.snapshot import Interval, TargetFacts
from tests.support.plan_files import plan_file

NOON_S = 1_790_000_000.0
OBJECTIVE = '[objective]\ninventory = "kept.sqlite"\ngoal = "least_energy"\nstart_energy_kwh = 5.0\n\n[[demand]]'
DEMAND = ('"unlimited"', '"1 ktok/s"')


def kept(folder: Path, *servers: tuple[str, str, int, str, bool, dict[str, str]]) -> Path:
    """A history of servers: name, model, boards, site, whether it answers today, and labels."""
    path = folder / "kept.sqlite"
    history = History.open(path)
    for name, model, boards, site, today, labels in servers:
        facts = {name: TargetFacts(name, model, site, "H100 SXM", boards, labels)}
        old_s = NOON_S - 7200.0
        history.append([Interval(target=name, start_s=old_s, end_s=old_s + 60.0, observed=True)], facts)
        history.append([Interval(target=name, start_s=NOON_S, end_s=NOON_S + 60.0, observed=today)], facts)
    history.close()
    return path


def test_servers_that_answered_last_run_today_and_keep_serving(tmp_path: Path) -> None:
    """One that is labeled runs; one that no longer answers, and one of another model, do not count.

    A start costs 5 kWh, more than a format saves, so the replica that runs serves, though FP8 would draw less.
    """
    kept(
        tmp_path,
        ("a", "Qwen/Qwen3-32B", 2, "lab", True, {"deployment": "tp2 bf16"}),
        ("b", "Qwen/Qwen3-32B", 2, "lab", True, {"deployment": "tp2 bf16"}),
        ("gone", "Qwen/Qwen3-32B", 2, "lab", False, {}),
        ("other", "Qwen/Qwen3-8B", 1, "lab", True, {}),
    )
    plan = jm.plan(plan_file(tmp_path, DEMAND, ("[[demand]]", OBJECTIVE)), extras=False)
    assert plan.study.problem.start_count.sum() == 2.0
    assert {r["precision"] for r in plan.rows()} == {"bf16"}
    free = jm.plan(plan_file(tmp_path, DEMAND, ("[[demand]]", OBJECTIVE.replace('inventory = "kept.sqlite"\n', ""))))
    assert {r["precision"] for r in free.rows()} == {"fp8"}
    text = "\n".join(plan.notes)
    assert "3 of 4 servers of kept.sqlite" in text and "other (Qwen/Qwen3-8B at lab" in text


def test_what_the_history_does_not_tell_is_said(tmp_path: Path) -> None:
    kept(tmp_path, ("a", "qwen3-32b", 2, "default", True, {}))  # one site in the plan: it stands there
    plan = jm.plan(plan_file(tmp_path, DEMAND, ("[[demand]]", OBJECTIVE)), extras=False)
    assert plan.study.problem.start_count.sum() == 1.0
    assert any("tells neither format nor cap; they are taken as h100 tp2 bf16" in note for note in plan.notes)


def test_a_cap_is_set_without_a_start(tmp_path: Path) -> None:
    """Power for one uncapped replica does for two capped ones: the second's cap changes, and nothing starts."""
    inventory = "pool,model,deployment,count\nh100,Qwen/Qwen3-32B,tp2 fp8,4\n"
    (tmp_path / "today.csv").write_text(inventory, encoding="utf-8")
    objective = OBJECTIVE.replace("kept.sqlite", "today.csv").replace('goal = "least_energy"\n', "")
    plan = jm.plan(plan_file(tmp_path, ("[[demand]]", objective), ('"6 kW"', '"4 kW"')), extras=False)
    assert any(r["power_cap_w"] == 500.0 for r in plan.rows())
    started = plan.study.optimum.plan.values[plan.study.fleet.at.started]
    assert started.sum() == pytest.approx(0.0, abs=1e-9)


def test_another_programs_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kept.sqlite").write_bytes(b"SQLite format 3\x00" + b"\x00" * 200)
    with pytest.raises(InputError, match=r"kept\.sqlite"):
        jm.plan(plan_file(tmp_path, DEMAND, ("[[demand]]", OBJECTIVE)), extras=False)
