"""Deployments a second of ``joulemill.predict_many``, energy and intervals included, on one core.

    python benchmarks/predict_speed.py

A million rows of one deployment, each with its own concurrency and lengths; the same with 18 deployments mixed. Time is
that of the process on its core, so that a neighbour who waits for the core does not count. Prints the rates, and the
ratio to a plain numpy pass over arrays of the same size, which does not depend on how fast the machine is.
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


def measure(rows: int = 1_000_000, laps: int = 3, *, mixed: bool = False, bottleneck: bool = False) -> float:
    """Deployments a second of the best lap."""
    draw = np.random.default_rng(0)
    names: dict[str, Any] = {"model": MODELS[1], "device": "h100", "devices": 2}
    if mixed:
        names = {
            "model": draw.choice(MODELS, rows),
            "device": draw.choice(DEVICES, rows),
            "devices": draw.choice([2, 8], rows),
        }
    table = names | workloads(rows, draw)
    return rows / min(_timed(lambda: jm.predict_many(table, bottleneck=bottleneck)) for _ in range(laps))


def _timed(work: Any) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    one = measure()
    numbers = np.random.default_rng(0).uniform(1, 2, 1_000_000)
    plain = min(_timed(lambda: np.cbrt(numbers)) for _ in range(5))
    print(f"{one:,.0f} deployments/s, energy and intervals included; {1e6 / one / plain:.0f} × one numpy cube root")
    print(f"{measure(bottleneck=True):,.0f} deployments/s with the bottleneck")
    print(f"{measure(mixed=True):,.0f} deployments/s of {len(MODELS) * len(DEVICES) * 2} deployments mixed")
