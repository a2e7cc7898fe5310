"""Deployments a second of ``joulemill.predict_many``, energy and intervals included, on one core.

    python benchmarks/predict_speed.py

A million rows of one deployment, each with its own concurrency and lengths; the same with 18 deployments mixed. Rates
are by the process's own time on its core (one thread), so that a neighbor who waits for the core does not count, and
by the clock on the wall. The ratio to a plain numpy pass over arrays of the same size depends less on the machine.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import joulemill as jm

MODELS = ("meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen3-32B", "openai/gpt-oss-120b")
DEVICES = ("h100", "h200", "b200")


def workloads(rows: int, draw: np.random.Generator) -> dict[str, Any]:
    return {
        "concurrency": np.round(draw.uniform(1, 512, rows)),
        "input_tokens": draw.uniform(100, 4000, rows),
        "output_tokens": draw.uniform(50, 2000, rows),
    }


def measure(
    rows: int = 1_000_000, laps: int = 3, *, mixed: bool = False, bottleneck: bool = False
) -> tuple[float, float]:
    """Deployments a second of the best lap: of CPU time, and of the wall's."""
    draw = np.random.default_rng(0)
    names: dict[str, Any] = {"model": MODELS[1], "device": "h100", "devices": 2}
    if mixed:
        names = {
            "model": draw.choice(MODELS, rows),
            "device": draw.choice(DEVICES, rows),
            "devices": draw.choice([2, 8], rows),
        }
    table = names | workloads(rows, draw)
    timed = [_timed(lambda: jm.predict_many(table, bottleneck=bottleneck)) for _ in range(laps)]
    return rows / min(cpu_s for cpu_s, _ in timed), rows / min(wall_s for _, wall_s in timed)


def _timed(work: Any) -> tuple[float, float]:
    """CPU and wall time of ``work`` [s]."""
    start_s, wall_s = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - start_s, time.perf_counter() - wall_s


def _line(rates: tuple[float, float], what: str) -> str:
    return f"{rates[0]:,.0f} deployments/s of CPU time ({rates[1]:,.0f} by the wall) {what}"


if __name__ == "__main__":
    one = measure()
    numbers = np.random.default_rng(0).uniform(1, 2, 1_000_000)
    plain_s = min(_timed(lambda: np.cbrt(numbers))[0] for _ in range(5))
    print(_line(one, f"with energy and intervals; {1e6 / one[0] / plain_s:.0f} × one numpy cube root"))
    print(_line(measure(bottleneck=True), "with the bottleneck as well"))
    print(_line(measure(mixed=True), f"where {len(MODELS) * len(DEVICES) * 2} deployments are mixed"))
