"""Sweeps and probes: the plan's order, the folder, what is left after Ctrl-C, and truths built into a mock server."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from simulated.mock_server import MockPlan, mock_process
from simulated.runs import steady_run

from joulemill.analysis.conditions import Conditions
from joulemill.analysis.run import analyze, diagnosis_of
from joulemill.analysis.sweep import Point, SweepResult, sweep_result
from joulemill.bench.options import BenchOptions
from joulemill.bench.progress import NullProgress
from joulemill.bench.run import on_own_loop, run_measure
from joulemill.bench.series.plan import Plan, probe_plan, sweep_plan, there_and_back
from joulemill.bench.series.runner import run_plan
from joulemill.cli import main
from joulemill.errors import InputError
from joulemill.figure import Basis, Figure, unknown
from joulemill.recording.reader import read_run
from joulemill.recording.sweeps import read_sweep, runs_of
from joulemill.recording.writer import write_run
from joulemill.reports.svg.sweep import panel
from joulemill.reports.sweep import cells, notes, render, sweep_card

pytestmark = pytest.mark.apart

METER = ("declared:idle=60W,busy=180W",)


def options(url: str | None = "http://127.0.0.1:9", **facts: object) -> BenchOptions:
    given: dict[str, object] = {
        "url": url,
        "warmup_s": 0.6,
        "idle_s": 0.2,
        "duration_s": 1.5,
        "quality": None,
        "meters": METER,
        "input_tokens": "16",
        "output_tokens": "24",
    }
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
    for knob, field in (("concurrency", "concurrency"), ("rate", "rate_req_s"), ("input-tokens", "input_tokens")):
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
    with pytest.raises(InputError, match=r"^sweep "):
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
    assert found.status == "complete" and [p.runs + len(p.left_out) for p in found.points] == [2] * 5
    rates = [p.rate_tok_s.value or 0.0 for p in found.points]
    assert rates[2] / rates[0] == pytest.approx(4.0, rel=0.25)
    assert rates[4] / rates[2] == pytest.approx(1.0, rel=0.25)
    assert found.points[4].ttft_s.value > 5 * found.points[0].ttft_s.value  # type: ignore[operator]
    # None: the client was late, or others took the machine's CPUs, on a crowded machine
    bound = [p.binding if p.valid and p.binding != "host_cpu" else None for p in found.points]
    assert bound[0] in ("demand", "undecided", None), "one request alone on unknown hardware shows no answer to load"
    assert bound[1] in ("demand", None) and bound[4] in ("kv_capacity", "undecided", None)
    if sum(b is not None for b in bound) >= 3:  # a knee is of runs without a fault; a crowded machine leaves too few
        assert found.knee.value is not None and 2.0 < found.knee.value < 10.0
    else:
        assert found.knee.value is not None or "three loads" in (found.knee.reason or "")
    if bound[0] is not None and not found.points[0].left_out:  # else a single run may be left, which has no interval
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
    if found.name == "host_cpu" and "other processes" in found.explanation:
        pytest.skip("other processes took the machine, and the diagnosis says so")
    if analyze(record).client.valid:  # on a crowded machine the client is late, and the diagnosis says so
        assert found.name in (right, "undecided"), found.explanation
        first = found.candidates[0]
        disturbed = first.name == "host_cpu" and any("other processes" in text for text in first.seen_for)
        assert right is None or first.name == right or disturbed
        assert found.name not in wrong
    else:
        assert found.name == "client"


# --- what is left ----------------------------------------------------------------------------------------------------
def test_ctrl_c_keeps_the_runs_that_were_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mock_process(MockPlan(itl_s=0.01)) as url:
        command = [sys.executable, "-m", "joulemill", "sweep", "concurrency=1,2,4,8", "--url", url]
        command += ["--duration", "1s", "--warmup", "0.5s", "--idle", "0.2s", "--input-tokens", "16"]
        command += ["--output-tokens", "16", "--meter", METER[0], "--out", str(tmp_path / "s"), "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            deadline = time.monotonic() + 240
            while time.monotonic() < deadline and not _made(tmp_path / "s"):
                time.sleep(0.1)
            os.kill(process.pid, signal.SIGINT)
            out, err = process.communicate(timeout=240)
    assert process.returncode == 130, err
    assert f"rerun with --out {tmp_path / 's'} to resume" in err
    assert json.loads(out)["status"] == "interrupted"
    assert main(["report", str(tmp_path / "s")]) == 0 and "not run" in capsys.readouterr().out
    told = read_sweep(tmp_path / "s")
    assert runs_of(told, 0) and len(told["runs"]) < 8
    assert (tmp_path / "s" / "sweep.html").exists()


def _made(folder: Path) -> bool:
    try:
        return bool(runs_of(read_sweep(folder), 1))
    except InputError:
        return False


def test_a_folder_that_is_no_sweep_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no series"):
        read_sweep(tmp_path)
    (tmp_path / "sweep.json").write_text("[]")
    with pytest.raises(InputError, match="not a sweep"):
        read_sweep(tmp_path)


@pytest.mark.parametrize(
    ("low", "high", "word"), [(0.8, 1.1, ": binds"), (-0.1, 0.3, ": does not bind"), (-2.0, 3.0, ": undecided")]
)
def test_a_probe_says_what_its_intervals_prove(low: float, high: float, word: str) -> None:
    rate = Figure(10.0, "tok/s", Basis.MEASURED, low=9.0, high=11.0)
    answer = Figure((low + high) / 2, "1", Basis.MEASURED, low=low, high=high)
    point = Point(
        label="slots 1 to 2",
        x=2.0,
        runs=2,
        rate_tok_s=rate,
        node_j_tok=rate,
        ttft_s=rate,
        tpot_s=rate,
        request_rate_req_s=rate,
        binding="kv_capacity",
        valid=True,
        elasticity=answer,
    )
    named = Conditions(model={"name": "<b>"})
    found = SweepResult("probe", "setting", "complete", (point,), unknown("1", "none"), named)
    assert cells(found, point)[-2].endswith(word)
    page = render(found)
    assert word.lstrip(": ") in page and "&lt;b&gt;" in page and "<b>" not in page
    assert page.count("<svg") == 1 and f">{answer.value:.2f}</text>" in page


# --- going on, and pages ---------------------------------------------------------------------------------------------
class Interrupts(NullProgress):
    """Ctrl-C as the user sees it: in the load of the run whose place is ``at``."""

    def __init__(self, at: int) -> None:
        self.at, self.notes = at, []

    def phase(self, name: str, total_s: float | None) -> None:
        if name.startswith(f"{self.at}/") and name.endswith("load"):
            signal.raise_signal(signal.SIGINT)

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_an_interrupted_sweep_is_gone_on_with(tmp_path: Path) -> None:
    with mock_process(MockPlan(itl_s=0.005)) as url:
        given = options(url, idle_s=0.1, warmup_s=0.2, input_tokens="8", output_tokens="8")
        plan = sweep_plan(given, "concurrency=1,2", point_s=0.8)
        on_own_loop(run_plan(plan, tmp_path / "s", Interrupts(2)))
        first = read_sweep(tmp_path / "s")
        assert first["status"] == "interrupted"
        assert [(r["point"], r["status"]) for r in first["runs"]] == [(0, "complete"), (1, "interrupted")]
        with pytest.raises(InputError, match="other points or options"):
            on_own_loop(run_plan(sweep_plan(given, "concurrency=1,4", point_s=0.8), tmp_path / "s"))
        display, ended = Interrupts(0), []
        on_own_loop(run_plan(plan, tmp_path / "s", display, after=ended.append))
    whole = read_sweep(tmp_path / "s")
    assert whole["status"] == "complete" and "after 1 of 4 runs" in display.notes[0]
    assert [r["point"] for r in whole["runs"] if r["status"] == "complete"] == [0, 1, 1, 0]
    names = [r["folder"] for r in whole["runs"]]
    assert names[0] == "01-concurrency-1" and names[2] == "02-concurrency-2-2" and len(set(names)) == 5
    assert [p.name for p in ended] == names[2:]
    with pytest.raises(InputError, match="there already"):
        on_own_loop(run_plan(plan, tmp_path / "s"))
    (card,) = sweep_card(tmp_path / "s" / names[0])
    assert card["title"] == "Sweep of concurrency: 4 runs, complete" and card["body"].count("<svg") == 4
    assert "ringed point" in card["body"] and card["body"].count('class="ring"') == 4
    assert sweep_card(tmp_path / "s") == [], "a folder that is in no sweep has no card"
    assert main(["report", str(tmp_path / "s"), "--html", str(tmp_path / "s.html"), "--json"]) == 0
    assert (tmp_path / "s.html").read_text().count("<svg") == 4
    assert main(["report", str(tmp_path / "s"), "--markdown"]) == 2, "of one run only"
    page = tmp_path / "run.html"
    assert main(["report", str(tmp_path / "s" / names[0]), "--html", str(page)]) == 0
    assert "Sweep of concurrency" in page.read_text()


def test_a_file_of_that_name_that_is_no_sweep_costs_no_page(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text("{}")
    assert sweep_card(tmp_path / "01-a") == []


def made(label: str, x: float, rate: Figure, **facts: object) -> Point:
    ttft = Figure(0.05, "s", Basis.MEASURED, low=0.04, high=0.06)
    energy = Figure(0.5, "J/tok", Basis.MODELLED, low=0.4, high=0.6)
    given: dict[str, object] = {"binding": "demand", "valid": True, **facts}
    return Point(
        label=label,
        x=x,
        runs=2,
        rate_tok_s=rate,
        node_j_tok=energy,
        ttft_s=ttft,
        tpot_s=ttft,
        request_rate_req_s=rate,
        **given,
    )  # type: ignore[arg-type]


def test_a_panel_says_each_value_and_the_knee(tmp_path: Path) -> None:
    rates = [Figure(v, "tok/s", Basis.MEASURED, low=v * 0.9, high=v * 1.1) for v in (100.0, 180.0, 300.0)]
    points = tuple(made(f"concurrency={c}", c, f) for c, f in zip((1.0, 2.0, 4.0), rates, strict=True))
    at = Figure(3.0, "sequences", Basis.CALIBRATED, low=2.5, high=3.6)
    found = SweepResult("sweep", "concurrency", "complete", points, at, Conditions())
    picture = panel(found, "output rate", lambda p: p.rate_tok_s)
    for text in (">100<", ">180<", ">300<", "knee 3.00 (2.50–3.60)", "output rate [tok/s]", "requests at once"):
        assert text in picture, text
    assert "[ms]" in panel(found, "time to first token", lambda p: p.ttft_s)
    # Twice the load is as far as twice again, on an axis that says it is logarithmic.
    xs = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', picture)]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.11)
    late = SweepResult(
        "sweep", "concurrency", "complete", (made("c", 1.0, rates[0], valid=False),), found.knee, Conditions()
    )
    assert "Hollow dots" in render(late) and "Hollow dots" not in render(found)


def test_runs_with_a_fault_are_left_out_where_there_are_others(tmp_path: Path) -> None:
    """One run of a point stood still for half of its window: it is told, and is in no figure."""
    (tmp_path / "s").mkdir()
    steady, broken = steady_run(), steady_run()
    late = [replace(r, end_mono_s=r.end_mono_s + 9.0) if 40 < r.scheduled_mono_s < 44 else r for r in broken.requests]
    stalled = [r for r in late if not 50 < r.scheduled_mono_s < 70]
    for name, record in (("01", steady), ("02", replace(broken, requests=tuple(stalled))), ("03", steady)):
        write_run(tmp_path / "s" / name, record)
    runs = [{"point": int(n == "03"), "folder": n, "status": "complete"} for n in ("01", "02", "03")]
    points = [{"label": f"concurrency={c}", "knob": "concurrency", "x": c} for c in (1.0, 2.0)]
    told = {"schema_version": 1, "kind": "sweep", "knob": "concurrency", "status": "complete", "points": points}
    (tmp_path / "s" / "sweep.json").write_text(json.dumps({**told, "order": [0, 0, 1], "runs": runs}))
    found = sweep_result(tmp_path / "s")
    assert found.points[0].left_out == ("02: its window was not steady",) and found.points[0].runs == 1
    assert found.points[0].rate_tok_s.value == pytest.approx(found.points[1].rate_tok_s.value)
    assert "Left out: 02: its window was not steady." in notes(found)
