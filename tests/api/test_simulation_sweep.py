"""A design space: the same bytes whoever works, nothing lost when a worker dies, and going on after an interruption."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from joulemill.api import worker_pools
from joulemill.api.simulation_sweep import SimulationSweep, load_sweep, parse_sweep, simulate_sweep
from joulemill.api.worker_pools import finished
from joulemill.cli import main
from joulemill.errors import InputError, MachineError
from tests.support.dying_work import always_dying, dying
from tests.support.paths import EXAMPLES

SPEC: dict[str, Any] = {
    "fixed": {"model": "Qwen/Qwen3-8B", "device": "h100", "requests": 12, "output_tokens": 8},
    "axes": {"max_num_seqs": [4, 16], "rate_req_s": [2, 20, 200]},
    "pareto": ["energy_node_j_tok", "ttft_p99_s"],
}


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> SimulationSweep:
    return simulate_sweep(parse_sweep(SPEC), tmp_path_factory.mktemp("serial"), workers=1, chunk_points=2)


def test_rows_are_in_the_order_of_the_points(serial: SimulationSweep) -> None:
    assert [(r["max_num_seqs"], r["rate_req_s"]) for r in serial.rows] == [
        (n, r) for n in (4, 16) for r in (2, 20, 200)
    ]
    assert all(r["completed_req"] == 12 and r["error"] is None for r in serial.rows)
    assert len(serial.table.read_text().splitlines()) == 7
    document = serial.to_dict()
    assert (document["points"], document["failed"]) == (6, 0)
    assert set(document["effects"]["shares"]) == {"max_num_seqs", "rate_req_s"}
    energies = serial.column("energy_node_j_tok")
    assert int(energies.argmin()) in serial.front


def test_processes_give_the_same_bytes(serial: SimulationSweep, tmp_path: Path) -> None:
    other = simulate_sweep(parse_sweep(SPEC), tmp_path, workers=2, chunk_points=2)
    assert other.table.read_bytes() == serial.table.read_bytes()


def test_an_interrupted_sweep_goes_on_where_it_stopped(serial: SimulationSweep, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(done: int, _: int) -> None:
        if done >= 2:
            raise Stopped

    with pytest.raises(Stopped):
        simulate_sweep(parse_sweep(SPEC), tmp_path, workers=1, chunk_points=2, progress=stop)
    first = tmp_path / "chunks" / "000000.jsonl"
    first.write_text(first.read_text())
    kept = first.stat().st_mtime_ns
    told: list[tuple[int, int]] = []
    again = simulate_sweep(
        parse_sweep(SPEC), tmp_path, workers=1, chunk_points=2, progress=lambda a, b: told.append((a, b))
    )
    assert told == [(4, 6), (6, 6)]
    assert first.stat().st_mtime_ns == kept
    assert again.table.read_bytes() == serial.table.read_bytes()
    with pytest.raises(InputError, match="another sweep"):
        simulate_sweep(parse_sweep(SPEC | {"axes": {"rate_req_s": [1]}}), tmp_path, workers=1)


def test_a_workers_death_loses_nothing(tmp_path: Path) -> None:
    tasks = [(n, [{"n": n, "dies_once": str(tmp_path / "mark") if n == 3 else ""}]) for n in range(8)]
    results = dict(finished(tasks, dying, workers=2))
    assert results == {n: f"{n}\n" for n in range(8)}
    assert (tmp_path / "mark").exists()


def test_every_task_is_done_by_the_first_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """No task is lost between one that ends and the next: a lost one would be made up for by another pool."""
    pools: list[int] = []
    whole = worker_pools._one_pool
    monkeypatch.setattr(worker_pools, "_one_pool", lambda *a: pools.append(1) or whole(*a))
    tasks = [(n, [{"n": n, "dies_once": ""}]) for n in range(12)]
    assert dict(finished(tasks, dying, workers=2)) == {n: f"{n}\n" for n in range(12)}
    assert pools == [1]


class LocalRay(ModuleType):
    """As much of Ray as the sweep uses, in this process: what ends first is what was asked last."""

    def __init__(self) -> None:
        super().__init__("ray")
        self.started = False
        self.most_retries = self.most_running = 0

    def is_initialized(self) -> bool:
        return self.started

    def init(self, **_: Any) -> None:
        self.started = True

    def shutdown(self) -> None:
        self.started = False

    def remote(self, max_retries: int) -> Any:
        self.most_retries = max_retries
        return lambda work: SimpleNamespace(remote=lambda content: (object(), work(content)))

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 3.0, "memory": 1e9}

    def wait(self, running: list[Any]) -> tuple[list[Any], list[Any]]:
        self.most_running = max(self.most_running, len(running))
        return running[-1:], running[:-1]

    def get(self, task: Any) -> str:
        return str(task[1])


@pytest.mark.parametrize(("workers", "address", "running"), [(2, "", 4), (None, "head:6379", 6)])
def test_rays_tasks_are_all_done_and_ray_is_ended(
    workers: int | None, address: str, running: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster is kept busy by its own cores, not by those of the machine that asks."""
    ray = LocalRay()
    monkeypatch.setitem(sys.modules, "ray", ray)
    tasks = [(n, [{"n": n, "dies_once": ""}]) for n in range(12)]
    assert dict(finished(tasks, dying, workers=workers, ray=address)) == {n: f"{n}\n" for n in range(12)}
    assert ray.most_running == running
    assert not ray.started and ray.most_retries == worker_pools.MOST_DEATHS


def test_work_that_kills_every_worker_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("joulemill.api.worker_pools.MOST_DEATHS", 1)
    with pytest.raises(MachineError, match="workers died 2 times"):
        list(finished([(0, [{}])], always_dying, workers=2))


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed (pip install joulemill[ray])")
@pytest.mark.filterwarnings("ignore")
def test_ray_gives_the_same_bytes(serial: SimulationSweep, tmp_path: Path) -> None:
    other = simulate_sweep(parse_sweep(SPEC), tmp_path, workers=2, ray="", chunk_points=2)
    assert other.table.read_bytes() == serial.table.read_bytes()


def test_a_point_that_cannot_be_simulated_says_why_and_stops_no_other(tmp_path: Path) -> None:
    fixed = {"model": "Qwen/Qwen3-8B", "requests": 12, "output_tokens": 8, "rate_req_s": 5}
    spec = SPEC | {"axes": {"device": ["h100", "nosuch"]}, "fixed": fixed}
    swept = simulate_sweep(parse_sweep(spec), tmp_path, workers=1)
    assert [r["error"] is None for r in swept.rows] == [True, False]
    assert "nosuch" in swept.rows[1]["error"]
    assert swept.rows[1]["energy_node_j_tok"] is None


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"axis": {}}, "did you mean axes"),
        ({"axes": {"rate": [1]}}, "unknown key 'rate'"),
        ({"axes": {"rate_req_s": 1}}, "takes a list"),
        ({"fixed": 1}, "must be a table"),
        ({"ranges": {"rate_req_s": [1, 2]}}, "write {low = 1"),
        ({"ranges": {"rate_req_s": {"low": 0, "high": 2, "log": True}}}, "above 0"),
        ({"pareto": ["energy"]}, "unknown key 'energy'"),
        ({"effect_on": "joules"}, "effect_on"),
        ({"ranges": {"rate_req_s": {"low": 1, "high": 2}}, "draws": 0}, "draws"),
    ],
)
def test_a_spec_that_cannot_be_is_refused_with_its_key(table: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_sweep(table)


def test_the_example_is_read_and_the_command_prints_the_front(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(load_sweep(EXAMPLES / "simulate" / "sweep.toml").points) > 20
    spec = tmp_path / "s.toml"
    fixed = 'model = "Qwen/Qwen3-8B"\ndevice = "h100"\nrequests = 5\noutput_tokens = 4'
    spec.write_text(f"[fixed]\n{fixed}\n[axes]\nrate_req_s = [1, 9]\n")
    assert main(["simulate", "--sweep", str(spec), "--out", str(tmp_path / "o"), "--workers", "1"]) == 0
    shown = capsys.readouterr().out
    assert "2 points" in shown and "what moves energy_node_j_tok" in shown
    assert main(["simulate", "--sweep", str(spec)]) == 2
    assert main(["simulate", "--model", "Qwen/Qwen3-8B", "--device", "h100", "--rate", "1", "--workers", "2"]) == 2
