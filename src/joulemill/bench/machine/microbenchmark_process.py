"""The part of the micro-benchmark that runs in a process of its own, since BLAS reads its thread count at import.

    python -m joulemill.bench.machine.microbenchmark_process compute 2.0          sgemm, threads from the environment
    python -m joulemill.bench.machine.microbenchmark_process memory 2.0 4 2.7e8   reads by 4 threads, 2.7e8 bytes

Prints one JSON object: the rates of the single repetitions, in flop/s or byte/s. Imports only numpy and the standard
library, so that it starts quickly.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

#: One repetition aims at this long: far above the timer's step, short enough for many repetitions.
REPETITION_S = 0.06
LEAST_REPETITIONS = 5


def compute_rates(budget_s: float) -> dict[str, Any]:
    """Rates of float32 matrix products [flop/s]: 2·n³ flop each, n chosen so that one takes about ``REPETITION_S``."""
    n = _gemm_size()
    a = np.ones((n, n), np.float32)
    b = np.full((n, n), 0.5, np.float32)
    out = np.empty((n, n), np.float32)
    np.matmul(a, b, out=out)
    rates: list[float] = []
    end = time.perf_counter() + budget_s
    while len(rates) < LEAST_REPETITIONS or time.perf_counter() < end:
        start = time.perf_counter()
        np.matmul(a, b, out=out)
        rates.append(2.0 * n**3 / (time.perf_counter() - start))
    return {"rates": rates, "n": n, "dtype": "fp32"}


def _gemm_size() -> int:
    n = 384
    a = np.ones((n, n), np.float32)
    a @ a
    laps = []
    for _ in range(3):
        start = time.perf_counter()
        a @ a
        laps.append(time.perf_counter() - start)
    ideal = n * (REPETITION_S / min(laps)) ** (1 / 3)
    return int(min(4096, max(256, ideal // 64 * 64)))


def memory_rates(budget_s: float, threads: int, total_byte: float) -> dict[str, Any]:
    """Rates of reading main memory [byte/s]: dot products, each thread over two float32 arrays of its own."""
    length = max(1024, int(total_byte / threads / 8))
    with ThreadPoolExecutor(threads) as pool:
        pairs = list(pool.map(lambda _: (np.ones(length, np.float32), np.ones(length, np.float32)), range(threads)))
        rates: list[float] = []
        end = time.perf_counter() + budget_s
        while len(rates) < LEAST_REPETITIONS or time.perf_counter() < end:
            start = time.perf_counter()
            list(pool.map(lambda pair: float(np.dot(pair[0], pair[1])), pairs))
            rates.append(8.0 * length * threads / (time.perf_counter() - start))
    return {"rates": rates[1:], "array_byte": 8 * length * threads}


def main(argv: list[str]) -> None:
    """Run the probe that ``argv`` names and print its JSON."""
    budget_s = float(argv[1])
    result = compute_rates(budget_s) if argv[0] == "compute" else memory_rates(budget_s, int(argv[2]), float(argv[3]))
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
