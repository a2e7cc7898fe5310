"""This machine's compute and memory ceilings, from a micro-benchmark of a few seconds; cached, dated.

What is measured: float32 matrix products (BLAS sgemm) and reads of arrays far larger than the last cache, both with
the thread count that the server uses. What is not: integer dot products. Quantized models run on those, and they can be
several times faster than float32; ``compute_int8_flop_s`` brackets that rate between the measured float32 rate and the
same times the operations that one instruction of this CPU does for int8 against float32. It is labelled modelled.

A busy neighbor lowers what is measured: low and high are the slowest and fastest repetition, value is the median.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from joulemill.errors import InputError, MachineError
from joulemill.figure import Basis

SCHEMA = 1
BUDGET_S = 1.8
#: Load average per CPU up to which a result is worth keeping (assumed).
QUIET_LOAD_RATIO = 0.5
MIB = 2**20
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
#: int8 ÷ float32 operations a cycle, by CPU flag; the best one counts. By the instruction-set manuals: VNNI and SDOT
#: do four products in a 32-bit lane, i8mm eight; AMX does 2048 operations a cycle beside 64 of two AVX-512 FMA units.
#: Without any, widening multiplies do at most two.
INT8_FACTORS = {"amx_int8": 32.0, "i8mm": 8.0, "avx512_vnni": 4.0, "avx_vnni": 4.0, "asimddp": 4.0}
INT8_FACTOR_ELSE = 2.0


def measure_ceilings(threads: int | None = None, *, refresh: bool = False, cache: Path | None = None) -> dict[str, Any]:
    """Compute and memory ceilings of this machine with ``threads`` threads (default: all it may use).

    Returns a JSON-able dict: ``compute_flop_s`` and ``memory_bandwidth_byte_s`` (measured), ``compute_int8_flop_s``
    (modelled bracket), each {value, low, high, unit, basis, when, source}; ``threads``, ``machine``, ``when``,
    ``load1`` (the load average just before) and ``cached``. Takes under 6 s, or a few ms from the cache, which is keyed
    by machine and thread count. Raises InputError for a bad thread count, MachineError where the probe fails.
    """
    threads = usable_threads() if threads is None else threads
    if not 1 <= threads <= 4096:
        raise InputError(f"threads is {threads}; it must be between 1 and 4096")
    machine = machine_identity()
    path = (cache or cache_folder()) / f"{_key(machine, threads)}.json"
    ceilings = None if refresh else _read(path)
    if ceilings is not None and _was_quiet(ceilings):
        return ceilings | {"cached": True}
    result = _measure(machine, threads)
    _write(path, result)
    return result | {"cached": False}


def _was_quiet(result: Mapping[str, Any]) -> bool:
    """Whether a kept result was taken on a quiet machine: else it reads low and is retaken."""
    load1 = result.get("load1")
    return load1 is None or float(load1) <= QUIET_LOAD_RATIO * (os.cpu_count() or 1)


def _measure(machine: dict[str, Any], threads: int) -> dict[str, Any]:
    when = datetime.now(UTC).isoformat(timespec="seconds")
    load1 = os.getloadavg()[0]
    compute = run_probe(["compute", str(BUDGET_S)], threads)
    memory = run_probe(["memory", str(BUDGET_S), str(threads), str(_working_set_byte(machine))], 1)
    plural = "thread" if threads == 1 else "threads"
    flop_s = _part(
        compute["rates"], "flop/s", when, f"float32 matrix product of size {compute['n']}, {threads} {plural}"
    )
    return {
        "schema": SCHEMA,
        "when": when,
        "threads": threads,
        "machine": machine,
        "load1": load1,
        "compute_flop_s": flop_s | {"dtype": "fp32"},
        "compute_int8_flop_s": int8_bracket(flop_s, machine["flags"]) | {"dtype": "int8"},
        "memory_bandwidth_byte_s": _part(
            memory["rates"], "byte/s", when, f"reads of {memory['array_byte'] / MIB:.0f} MiB, {threads} {plural}"
        ),
    }


def _part(rates: Sequence[float], unit: str, when: str, source: str) -> dict[str, Any]:
    return {
        "value": median(rates),
        "low": min(rates),
        "high": max(rates),
        "unit": unit,
        "basis": Basis.MEASURED.value,
        "when": when,
        "source": source,
        "repetitions": len(rates),
    }


def int8_bracket(fp32: Mapping[str, Any], flags: Sequence[str]) -> dict[str, Any]:
    """Rate of int8 products: from the float32 rate to what the instructions allow; value is the geometric middle."""
    factor = max((INT8_FACTORS[f] for f in flags if f in INT8_FACTORS), default=INT8_FACTOR_ELSE)
    return {
        "value": fp32["value"] * math.sqrt(factor),
        "low": fp32["value"],
        "high": fp32["high"] * factor,
        "unit": "flop/s",
        "basis": Basis.MODELLED.value,
        "when": fp32["when"],
        "source": f"float32 rate times 1 to {factor:g}, by the CPU's int8 instructions",
        "reason": "int8 was not measured; it lies between the float32 rate and what the instructions allow",
    }


def run_probe(args: Sequence[str], blas_threads: int) -> dict[str, Any]:
    """Run ``ceiling_probe`` in a process whose BLAS uses ``blas_threads`` threads. Raises MachineError."""
    environment = dict(os.environ) | dict.fromkeys(_THREAD_VARIABLES, str(blas_threads))
    command = [sys.executable, "-m", "joulemill.bench.machine.microbenchmark_process", *args]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
        result: dict[str, Any] = json.loads(done.stdout)
        return result
    except subprocess.CalledProcessError as error:
        tail = (error.stderr or "").strip().splitlines()[-1:] or [f"exit {error.returncode}"]
        raise MachineError(f"the {args[0]} micro-benchmark failed: {tail[0]}; give the ceilings by `device`") from None
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise MachineError(
            f"the {args[0]} micro-benchmark did not finish: {error}; give the ceilings by `device`"
        ) from None


def usable_threads() -> int:
    """CPUs that this process may use: its affinity, cut by a container's CPU quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _text("/sys/fs/cgroup/cpu.max").split()
    if len(quota) == 2 and quota[0].isdigit() and quota[1].isdigit():
        count = min(count, max(1, math.ceil(int(quota[0]) / int(quota[1]))))
    return count


def machine_identity() -> dict[str, Any]:
    """What the cached ceilings depend on: CPU model and int8 instructions, CPUs, quota, memory, last cache."""
    about = dict(_pairs(_text("/proc/cpuinfo")))
    flags = set(about.get("flags", about.get("Features", "")).split())
    memory = dict(_pairs(_text("/proc/meminfo"))).get("MemTotal", "").split()
    return {
        "cpu": about.get("model name") or about.get("CPU part") or platform.processor() or platform.machine(),
        "flags": sorted(flags & INT8_FACTORS.keys()),
        "cpus": os.cpu_count(),
        "usable": usable_threads(),
        "memory_byte": int(memory[0]) * 1024 if memory else None,
        "cache_byte": _last_cache_byte(),
    }


def _pairs(text: str) -> list[tuple[str, str]]:
    return [(k.strip(), v.strip()) for k, sep, v in (line.partition(":") for line in text.splitlines()) if sep]


def _last_cache_byte() -> int | None:
    text = _text("/sys/devices/system/cpu/cpu0/cache/index3/size") or _text(
        "/sys/devices/system/cpu/cpu0/cache/index2/size"
    )
    text = text.strip()
    scale = {"K": 1024, "M": MIB}.get(text[-1:], 1)
    digits = text.rstrip("KM")
    return int(digits) * scale if digits.isdigit() else None


def _working_set_byte(machine: Mapping[str, Any]) -> int:
    """Eight times the last cache, at least 256 MiB, at most 1 GiB and an eighth of the memory."""
    wanted = min(1024 * MIB, max(256 * MIB, 8 * (machine["cache_byte"] or 32 * MIB)))
    return int(min(wanted, (machine["memory_byte"] or 8 * wanted) // 8))


def cache_folder() -> Path:
    """Where results are kept: $XDG_CACHE_HOME/joulemill/microbench, or ~/.cache/…"""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "joulemill" / "microbench"


def _key(machine: Mapping[str, Any], threads: int) -> str:
    text = json.dumps({"machine": machine, "threads": threads, "schema": SCHEMA}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) and document.get("schema") == SCHEMA else None


def _write(path: Path, result: Mapping[str, Any]) -> None:
    """Keep the result; a folder that cannot be written only costs the next run its few seconds."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(result, indent=1), encoding="utf-8")
        part.replace(path)
    except OSError:
        return


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
