"""Ten thousand small points by one process, and by a local Ray of two workers, of which one is killed half-way.

    python benchmarks/simulate_sweep.py [--points 10000] [--chunk 50] [--keep DIR]

Prints the time of either, the efficiency (serial time over workers × Ray's), and whether both tables hold the same
bytes. Exit code 0: Ray's sweep is complete, and equal to the serial one; 1: not. Needs the extra ``ray``. A point is 20
requests to an engine, so that the tables of step costs are most of its work, as in a sweep over deployments.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from joulemill.api.simulation_sweep import SimulationSweep, SweepSpec, parse_sweep, simulate_sweep

WORKERS = 2
#: Combinations of the axes.
COMBINATIONS = 40


def spec_of(points: int) -> SweepSpec:
    """``points`` points: boards, parallelism and caps, each with draws of rate and lengths."""
    return parse_sweep(
        {
            "fixed": {"model": "Qwen/Qwen3-8B", "requests": 20, "max_num_seqs": 32},
            "axes": {"device": ["h100", "h200"], "devices": [1, 2], "power_cap_w": [300, 400, 500, 600, 700],
                     "max_num_batched_tokens": [2048, 8192]},
            "ranges": {
                "rate_req_s": {"low": 1.0, "high": 50.0, "log": True},
                "input_tokens": {"low": 64.0, "high": 1024.0, "log": True},
                "output_tokens": {"low": 4.0, "high": 64.0, "log": True},
            },
            "draws": max(points // COMBINATIONS, 1),
            "seed": 1,
        }
    )  # fmt: skip


def busy_worker() -> int:
    """A process of Ray that works on a chunk, started by this one or by what it started; 0 where there is none."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            parents[int(folder.name)] = (int(stat[1]), (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except (OSError, IndexError, ValueError):
            continue
    ours = {pid for pid in parents if descends(pid, {p: up for p, (up, _) in parents.items()})}
    return next((pid for pid in sorted(ours) if parents[pid][1].startswith("ray::work_on")), 0)


def descends(pid: int, parents: dict[int, int]) -> bool:
    """Whether ``pid`` is a descendant of this process."""
    while pid in parents and pid != os.getpid():
        pid = parents[pid]
    return pid == os.getpid()


class Killer:
    """Kills one worker once half of the points are done."""

    def __init__(self) -> None:
        self.killed = 0

    def __call__(self, done: int, count: int) -> None:
        if not self.killed and 2 * done >= count:
            self.killed = busy_worker()
            if self.killed:
                os.kill(self.killed, signal.SIGKILL)
                print(f"killed worker {self.killed} at {done:,} of {count:,} points", flush=True)


def timed(
    name: str, spec: SweepSpec, out: Path, chunk: int, ray: str | None, progress: Callable[[int, int], None] | None
) -> tuple[float, SimulationSweep]:
    began = time.perf_counter()
    swept = simulate_sweep(
        spec, out, workers=1 if ray is None else WORKERS, ray=ray, chunk_points=chunk, progress=progress
    )
    took_s = time.perf_counter() - began
    count = len(swept.rows)
    print(f"{name}: {count:,} points in {took_s:.1f} s, {took_s / count * 1e3:.1f} ms a point", flush=True)
    return took_s, swept


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--chunk", type=int, default=50)
    parser.add_argument("--keep", type=Path, help="keep the sweeps in this folder; an interrupted one goes on there")
    arguments = parser.parse_args()
    spec, killer = spec_of(arguments.points), Killer()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.keep or Path(scratch)
        serial_s, serial = timed("serial", spec, folder / "serial", arguments.chunk, None, None)
        ray_s, parallel = timed("two workers of Ray, one killed", spec, folder / "ray", arguments.chunk, "", killer)
        same = serial.table.read_bytes() == parallel.table.read_bytes()
        failed = sum(row["error"] is not None for row in parallel.rows)
    print(f"efficiency {serial_s / (WORKERS * ray_s):.0%}; {failed:,} points could not be simulated")
    print(f"complete: {len(parallel.rows) == len(spec.points)}; the same bytes: {same}; killed: {bool(killer.killed)}")
    return 0 if same and killer.killed and len(parallel.rows) == len(spec.points) else 1


if __name__ == "__main__":
    sys.exit(main())
