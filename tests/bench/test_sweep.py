"""Sweeps and probes: the plan's order, the folder, what is left after Ctrl-C, and truths built into a mock server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from joulemill.bench.options import BenchOptions
from joulemill.bench.reading import read_run
from joulemill.bench.run import on_own_loop, run_measure
from joulemill.bench.sweep import Plan, probe_plan, read_sweep, run_plan, runs_of, sweep_plan, there_and_back
from joulemill.errors import InputError
from joulemill.figure import Basis, Figure, unknown
from joulemill.reports.analyse import analyse, diagnosis_of
from joulemill.reports.sweep import Point, SweepResult, sweep_result
from joulemill.reports.sweep_view import cells, render
from tests.mock_server import MockPlan, mock_process

METER = ("declared:idle=60W,busy=180W",)


def options(url: str | None = "http://127.0.0.1:9", **facts: object) -> BenchOptions:
    given: dict[str, object] = {
        "url": url, "warmup_s": 0.6, "idle_s": 0.2, "duration_s": 1.5, "quality": None, "meters": METER,
        "input_tokens": "16", "output_tokens": "24",
    }  # fmt: skip
    return BenchOptions(**{**given, **facts})  # type: ignore[arg-type]


# --- plans ---------------------------------------------------------------------------------------------------------
def test_runs_go_there_and_back() -> None:
    assert there_and_back(3, 1) == (0, 1, 2)
    assert there_and_back(4, 4) == (0, 1, 2, 3, 3, 2, 1, 0) * 2
    # What it is for: under a drift in proportion to time every point has the same mean.
    when: dict[int, list[int]] = {}
    for t, point in enumerate(there_and_back(5, 2)):
        when.setdefault(point, []).append(t)
    assert {sum(ts) / len(ts) for ts in when.values()} == {4.5}


def test_plans_of_each_knob() -> None:
    for knob, field in (("concurrency", "concurrency"), ("rate", "rate_req_s"), ("input", "input_tokens")):
        plan = sweep_plan(options(), f"{knob}=2,8", repeats=3, point_s=7.0)
        assert [float(getattr(s.options, field)) for s in plan.settings] == [2.0, 8.0]
        assert all(s.options.duration_s == 7.0 and s.options.quality is None for s in plan.settings)
        assert plan.order == (0, 1, 1, 0, 0, 1)
    largest = sweep_plan(options(None), "concurrency=1,16", 2).host_options
    assert largest is not None and largest.at_once == 16


@pytest.mark.parametrize(
    "text",
    ["concurrency", "speed=1,2", "concurrency=1", "concurrency=1,1", "concurrency=1.5,2", "rate=0,1", "rate=a,b"],
)
def test_sweeps_that_cannot_be(text: str) -> None:
    with pytest.raises(InputError, match="--sweep"):
        sweep_plan(options(), text)


def test_a_probe_changes_one_thing_at_a_time() -> None:
    plan = probe_plan(options(None, concurrency=3, slots=2, threads=1))
    base = plan.settings[0].options
    for setting in plan.settings[1:]:
        changed = [k for k, v in vars(setting.options).items() if v != getattr(base, k)]
        assert len(changed) == 1
        before, after = getattr(base, changed[0]), getattr(setting.options, changed[0])
        assert after / before == setting.x
    with pytest.raises(InputError, match="embedded"):
        probe_plan(options())


# --- mock servers that are limited by design -------------------------------------------------------------------------
def swept(plan: Plan, folder: Path) -> SweepResult:
    return sweep_result(on_own_loop(run_plan(plan, folder)))


@pytest.mark.slow
def test_the_knee_of_a_server_with_four_slots(tmp_path: Path) -> None:
    with mock_process(MockPlan(slots=4, itl_s=0.01, ttft_s=0.01)) as url:
        found = swept(sweep_plan(options(url), "concurrency=1,2,4,8,16"), tmp_path / "s")
    assert found.status == "complete" and [p.runs for p in found.points] == [2] * 5
    rates = [p.rate_tok_s.value or 0.0 for p in found.points]
    assert rates[2] / rates[0] == pytest.approx(4.0, rel=0.1)
    assert rates[4] / rates[2] == pytest.approx(1.0, rel=0.1)
    assert found.points[4].ttft_s.value > 5 * found.points[0].ttft_s.value  # type: ignore[operator]
    bound = [p.binding if p.valid else None for p in found.points]  # None: the client was late on a crowded machine
    assert bound[0] in ("demand", "undecided", None), "one request alone on unknown hardware shows no answer to load"
    assert bound[1] in ("demand", None) and bound[4] in ("kv_capacity", "undecided", None)
    assert found.knee.value is not None and 2.0 < found.knee.value < 10.0
    assert found.points[0].rate_tok_s.low < rates[0] < found.points[0].rate_tok_s.high  # type: ignore[operator]
    page = render(found)
    assert page.count("<svg") == 4 and "src=" not in page and "<script" not in page


@pytest.mark.parametrize(
    ("plan", "load", "right", "wrong"),
    [
        (MockPlan(itl_s=0.01), {"concurrency": 4}, "demand", ()),
        (MockPlan(itl_s=0.01), {"rate_req_s": 6.0}, "demand", ()),
        (MockPlan(itl_s=0.01, slots=2), {"concurrency": 8}, "kv_capacity", ()),
        (MockPlan(rate_tok_s=100.0, itl_s=0.001), {"concurrency": 8}, None, ("demand", "kv_capacity", "client")),
        (MockPlan(itl_s=0.03), {"concurrency": 4, "slo_tpot_s": 0.01}, "latency", ()),
    ],
    ids=["few requests", "low rate", "two slots", "shared rate", "slow tokens"],
)
def test_diagnosis_of_mock_servers(
    plan: MockPlan, load: dict[str, object], right: str | None, wrong: tuple[str, ...], tmp_path: Path
) -> None:
    with mock_process(plan) as url:
        record = read_run(run_measure(options(url, duration_s=2.5, out=tmp_path / "r", **load)))
    found = diagnosis_of(record)
    if analyse(record).client.valid:  # on a crowded machine the client is late, and the diagnosis says so
        assert found.name in (right, "undecided"), found.explanation
        assert found.candidates[0].name == right or right is None
        assert found.name not in wrong
    else:
        assert found.name == "client"


# --- what is left ----------------------------------------------------------------------------------------------------
def test_ctrl_c_keeps_the_runs_that_were_made(tmp_path: Path) -> None:
    with mock_process(MockPlan(itl_s=0.01)) as url:
        command = [sys.executable, "-m", "joulemill", "bench", "--url", url, "--sweep", "concurrency=1,2,4,8"]
        command += ["--point-duration", "1s", "--warmup", "0.5s", "--idle", "0.2s", "--input-tokens", "16"]
        command += ["--output-tokens", "16", "--meter", METER[0], "--out", str(tmp_path / "s"), "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and not _made(tmp_path / "s"):
                time.sleep(0.1)
            os.kill(process.pid, signal.SIGINT)
            out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert json.loads(out)["status"] == "interrupted"
    told = read_sweep(tmp_path / "s")
    assert runs_of(told, 0) and len(told["runs"]) < 8
    assert (tmp_path / "s" / "sweep.html").exists()


def _made(folder: Path) -> bool:
    try:
        return bool(runs_of(read_sweep(folder), 1))
    except InputError:
        return False


def test_a_folder_that_is_no_sweep_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no sweep"):
        read_sweep(tmp_path)
    (tmp_path / "sweep.json").write_text("[]")
    with pytest.raises(InputError, match="not a sweep"):
        read_sweep(tmp_path)


@pytest.mark.parametrize(
    ("low", "high", "word"), [(0.8, 1.1, ": binds"), (-0.1, 0.3, ": does not bind"), (-2.0, 3.0, ": undecided")]
)
def test_a_probe_says_what_its_intervals_prove(low: float, high: float, word: str) -> None:
    rate = Figure(10.0, "tok/s", Basis.MEASURED, 9.0, 11.0)
    answer = Figure((low + high) / 2, "1", Basis.MEASURED, low, high)
    point = Point("slots 1 to 2", 2.0, 2, rate, rate, rate, rate, rate, "kv_capacity", True, answer)
    found = SweepResult("probe", "setting", "complete", (point,), unknown("1", "none"), {"model": {"name": "<b>"}})
    assert cells(found, point)[-1].endswith(word)
    page = render(found)
    assert word.lstrip(": ") in page and "<b>" not in page and "<svg" not in page
