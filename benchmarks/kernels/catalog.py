"""The catalogue of kernels: ``kernels.csv`` (one fitted coefficient a row) → rates and energies the physics takes.

Two boards were measured. ``kernel`` picks the measured kernel nearest to what is asked, says in ``stand_in`` how it
differs, and widens its spread for each difference.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from benchmarks.kernels.law import KernelEnergy, KernelRate

from joulemill.errors import InputError

TABLE = Path(__file__).with_name("kernels.csv")
#: Measured boards → their names in the catalog of devices, and the generation whose kernels they stand for.
BOARDS = {"h200": "h200-sxm", "b200": "b200"}
GENERATIONS = {"hopper": "h200", "blackwell": "b200"}
#: Dtypes in the order in which one stands in for another: by how they are stored and multiplied.
_DTYPES = ("bf16", "bf16_kv8", "fp8", "fp8_block", "w4a8", "nvfp4", "mxfp4", "int4")
#: Dtypes that a generation has no unit for: weights are unpacked and multiplied in 16 bits, as int4 ones are.
WEIGHT_ONLY = {"hopper": ("nvfp4", "mxfp4"), "blackwell": ()}
#: Standard deviation of ln(time) that each difference adds. Device: one generation's coefficients on the other's rows
#: miss by 28 % of ln in the middle (docs/kernels.md), so 0.4; the others are assumed.
WIDENING = {"device": 0.4, "dtype": 0.2, "framework": 0.1, "variant": 0.1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A fitted kernel.

    latency_error_ratio, power_error_ratio  median relative errors on shapes left out; None where not scored
    eager_floor_s  host's launch time where it was measured without a CUDA graph; None where it was in one
    stand_in       what differs from what was asked for, in words; empty if nothing
    """

    family: str
    dtype: str
    device: str
    framework: str
    variant: str
    rate: KernelRate
    energy: KernelEnergy | None
    latency_error_ratio: float | None = None
    power_error_ratio: float | None = None
    eager_floor_s: float | None = None
    stand_in: tuple[str, ...] = ()


Key = tuple[str, str, str, str, str]


@cache
def kernels() -> dict[Key, Kernel]:
    """All fitted kernels by (family, dtype, device, framework, variant)."""
    found: dict[Key, dict[str, float]] = {}
    with TABLE.open(encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            key = (row["family"], row["dtype"], row["device"], row["framework"], row["variant"])
            found.setdefault(key, {})[row["parameter"]] = float(row["value"])
    return {key: _kernel(key, values) for key, values in found.items()}


def _series(values: dict[str, float], name: str) -> tuple[float, ...]:
    return tuple(values[f"{name}_{i}"] for i in range(1, 9) if f"{name}_{i}" in values)


def _kernel(key: Key, v: dict[str, float]) -> Kernel:
    rate = KernelRate(
        compute_ratio=v["compute_ratio"],
        memory_ratio=v["memory_ratio"],
        launch_s=v["launch_s"],
        compute_grain_count=_series(v, "compute_grain_count"),
        memory_grain_count=_series(v, "memory_grain_count"),
        sharpness_ratio=v["sharpness_ratio"],
        cache_ratio=v.get("cache_ratio", 1.0),
        pass_ratio=v.get("pass_ratio", 0.7),
        spread_ratio=v["spread_ratio"],
    )
    energy = None
    if "static_w" in v:
        names = ("static_w", "active_w", "energy_j_flop", "energy_j_byte", "energy_cache_ratio", "power_spread_ratio")
        energy = KernelEnergy(*(v[n] for n in names))
    family, dtype, device, framework, variant = key
    return Kernel(
        family=family,
        dtype=dtype,
        device=device,
        framework=framework,
        variant=variant,
        rate=rate,
        energy=energy,
        latency_error_ratio=v.get("latency_error_ratio"),
        power_error_ratio=v.get("power_error_ratio"),
        eager_floor_s=v.get("eager_floor_s"),
    )


def kernel(
    family: str,
    dtype: str,
    *,
    generation: str = "hopper",
    framework: str = "vllm",
    head_dim: int | None = None,
    windowed: bool = False,
    variant: str = "",
) -> Kernel:
    """The measured kernel nearest to the one asked for.

    generation  ``hopper`` or ``blackwell``; other devices pass the one they are most like
    head_dim, windowed  for grouped-query attention; ``variant`` for the others (``gdn``, ``mamba2``, a MoE backend)

    Raises InputError for a family that nobody measured.
    """
    if generation not in GENERATIONS:
        raise InputError(f"generation {generation!r} is not one of {', '.join(GENERATIONS)}")
    pool = [k for k in kernels().values() if k.family == family]
    if not pool:
        known = ", ".join(sorted({k.family for k in kernels().values()}))
        raise InputError(f"no kernel family {family!r} was measured; families: {known}")
    device = GENERATIONS[generation]
    runs_as = "int4" if dtype in WEIGHT_ONLY[generation] else dtype
    wanted = variant or ("" if head_dim is None else f"d{head_dim}" + "w" * windowed)

    def distance(k: Kernel) -> float:
        return (
            8.0 * _dtype_distance(k.dtype, runs_as)
            + 6.0 * (k.device != device)
            + 3.0 * (k.framework != framework)
            + _variant_distance(k.variant, wanted)
        )

    best = min(pool, key=distance)
    return _widened(best, _differences(best, dtype, device, framework, wanted))


def _dtype_distance(a: str, b: str) -> float:
    if a == b:
        return 0.0
    if {a, b} == {"bf16", "int4"}:
        return 0.3
    if a not in _DTYPES or b not in _DTYPES:
        return 2.0
    return 0.6 + 0.2 * abs(_DTYPES.index(a) - _DTYPES.index(b))


def _variant_distance(a: str, b: str) -> float:
    if a == b or not b:
        return 0.0
    if a[:1] == "d" and b[:1] == "d" and a[1:].rstrip("w").isdigit() and b[1:].rstrip("w").isdigit():
        sizes = abs(float(np.log2(int(a[1:].rstrip("w")) / int(b[1:].rstrip("w")))))
        return 4.0 * sizes + 1.0 * (a.endswith("w") != b.endswith("w"))
    return 2.0


def _differences(k: Kernel, dtype: str, device: str, framework: str, variant: str) -> dict[str, str]:
    asked = {"dtype": dtype, "device": device, "framework": framework, "variant": variant or k.variant}
    return {name: f"{name} {getattr(k, name)} for {want}" for name, want in asked.items() if getattr(k, name) != want}


def _widened(k: Kernel, differences: dict[str, str]) -> Kernel:
    if not differences:
        return k
    extra = [WIDENING[name] for name in differences]
    spread = float(np.sqrt(k.rate.spread_ratio**2 + sum(x * x for x in extra)))
    energy = k.energy
    if energy is not None:
        power = float(np.sqrt(energy.spread_ratio**2 + sum(x * x for x in extra) / 2))
        energy = replace(energy, spread_ratio=power)
    return replace(k, rate=replace(k.rate, spread_ratio=spread), energy=energy, stand_in=tuple(differences.values()))
