"""Operating points from predictions: every deployment that a plan may use, at every concurrency that meets the targets.

The figures are those of ``prediction.predict`` (and of ``joulemill.predict_many``): a deployment is compiled once for a
kind of device, and predicted for each class at a range of concurrencies in one call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from joulemill.arrays import Array
from joulemill.catalog.nodes import find_node
from joulemill.errors import InputError
from joulemill.fleet.classes import ServedClass
from joulemill.fleet.tables import ModelOffer, PlanTables, PoolTable
from joulemill.physics.hardware.node import share_power
from joulemill.physics.production.prediction import check_cap
from joulemill.planning.problem import WAITING, OperatingPoints
from joulemill.prediction.many import OUTPUTS, CompiledDeployment, compiled, predicted
from joulemill.prediction.question import PredictionRequest

#: Concurrencies that are tried: whole numbers, some 8 % apart (assumed: finer than any prediction).
CONCURRENCY = np.unique(np.round(np.geomspace(1, 1024, 96)))
#: Devices in a replica that are tried where the file names none, as far as heads and nodes allow.
TP = (1, 2, 4, 8)
#: Figure of ``prediction.many`` → field of the points.
FIELDS = {
    "rate_tok_s": "rate_tok_s",
    "node_power_w": "power_w",
    "ttft_s": "ttft_s",
    "tpot_s": "tpot_s",
    "rate_tok_s_low": "rate_low_tok_s",
    "node_power_w_high": "power_high_w",
    "ttft_s_high": "ttft_high_s",
    "tpot_s_high": "tpot_high_s",
}
#: Figures that differ by less are the same: far below what predictions tell apart.
SAME_RATIO = 1e-6
#: Seconds until a started replica serves, where nothing is stated: loading weights (assumed; docs/planning.md).
START_S = 100.0


@dataclass(frozen=True, kw_only=True)
class DeploymentOption:
    """A deployment that a pool may run. ``levers``: what it uses of its model's levers."""

    pool: str
    model: str
    device: str
    devices: int
    precision: str
    kv_dtype: str
    power_cap_w: float | None
    engine: str
    cached_ratio: float
    levers: tuple[str, ...]

    @property
    def label(self) -> str:
        """What tables call it: ``tp2 fp8 500 W``."""
        parts = [f"tp{self.devices}", self.precision]
        parts += [f"kv {self.kv_dtype}"] if self.kv_dtype else []
        parts += [f"{self.power_cap_w:.0f} W"] if self.power_cap_w is not None else []
        return " ".join([*parts, *(["prefix cache"] if "prefix_cache" in self.levers else [])])


@dataclass(frozen=True, eq=False, kw_only=True)
class PlanColumns:
    """All points that meet the targets, and the deployments that they are of (by ``points.group``).

    missed    class → target → how the best point misses it, (name, limit, best), where no point of a class meets them
    refused   class → why no deployment of it can be predicted
    """

    points: OperatingPoints
    options: Sequence[DeploymentOption]
    missed: Mapping[str, Mapping[str, tuple[float, float]]]
    refused: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def levers(self) -> Sequence[str]:
        """Names of all levers that some deployment uses, in order of appearance."""
        return list(dict.fromkeys(lever for o in self.options for lever in o.levers))


def plan_columns(
    tables: PlanTables, classes: Sequence[ServedClass], folder: Path, tell: Callable[[float], None] | None = None
) -> PlanColumns:
    """The points of a plan. Raises InputError where no device of the plan holds any of a class's models."""
    options: list[DeploymentOption] = []
    parts: list[dict[str, Array]] = []
    missed: dict[str, dict[str, tuple[float, float]]] = {}
    faults, caps = dict[str, str](), _StatedCaps()
    work = [(p, m) for p in range(len(tables.pool)) for m in range(len(tables.model))]
    for done, (p, m) in enumerate(work, 1):
        pool, model = tables.pool[p], tables.model[m]
        wanted = [c for c in classes if pool.site in c.sites and any(x.name == model.name for x in c.models)]
        uncapped: dict[tuple[int, float], dict[str, Array]] = {}
        for option, plant in _options(pool, model, folder, (faults, caps)) if wanted else ():
            asked = [c for c in wanted if c.accepts(model, option.precision)]
            figures = {c.index: _figures(plant, option, c) for c in asked}
            if option.power_cap_w is None:
                uncapped |= {(i, option.cached_ratio): f for i, f in figures.items()}
            elif not _binds(figures, {i: uncapped[i, option.cached_ratio] for i in figures}):
                continue
            group = len(options)
            options.append(option)
            for c in asked:
                of_class = _meeting(figures[c.index], c, missed.setdefault(c.name, {}))
                parts.append(_rows(of_class, option, (p, c.index, group)))
            parts.append(_rows(_waiting(plant, option), option, (p, WAITING, group)))
        if tell is not None:
            tell(done / len(work))
    notes = caps.notes()
    points = _joined(parts, options)
    served = {classes[d].name for d in np.unique(points.demand) if d != WAITING}
    absent = [c for c in classes if c.name not in served]
    return PlanColumns(
        points=points,
        options=options,
        missed={c.name: missed.get(c.name, {}) for c in absent},
        refused={
            c.name: next((faults[x.name] for x in c.models if x.name in faults), "there is no pool at its sites")
            for c in absent
            if not missed.get(c.name)
        },
        notes=notes,
    )


class _StatedCaps:
    """Power caps that the models state: which of them some device can keep, and why others cannot."""

    def __init__(self) -> None:
        self._kept: set[tuple[str, float]] = set()
        self._refused: dict[tuple[str, float], dict[str, None]] = {}

    def keeps(self, plant: CompiledDeployment, model: ModelOffer, cap: float) -> float | None:
        """The cap in watts of one device; None where the device cannot keep it, or draws no more without it."""
        deployment = plant.deployment
        tdp_w = deployment.device.tdp_w
        cap_w = cap if cap > 0.0 else -cap * (tdp_w or 1.0)
        try:
            check_cap(replace(deployment, power_cap_w=cap_w), plant.rates)
        except InputError as fault:
            self._refused.setdefault((model.name, cap), {})[str(fault)] = None
            return None
        self._kept.add((model.name, cap))
        return cap_w if tdp_w and cap_w < tdp_w else None

    def notes(self) -> tuple[str, ...]:
        """Why caps are left out on some devices. Raises InputError for a cap that no device of a model can keep."""
        for (model, cap), reasons in self._refused.items():
            if (model, cap) not in self._kept:
                raise InputError(f"model {model!r}: power_caps: {next(iter(reasons))}")
        return tuple(
            f"model {model!r}: left out of power_caps on one kind of device: {reason}"
            for (model, _), reasons in self._refused.items()
            for reason in reasons
        )


def _options(
    pool: PoolTable, model: ModelOffer, folder: Path, tried: tuple[dict[str, str], _StatedCaps]
) -> Iterator[tuple[DeploymentOption, CompiledDeployment]]:
    """Every deployment of a model on a pool's devices, those without levers first; ``tried`` learns what cannot be."""
    faults, caps = tried
    name = located(model.name, folder)
    device = located(pool.device, folder)
    for precision in model.precisions or ("",):
        for kv_dtype in model.kv_dtypes or ("",):
            for devices in model.tp or TP:
                try:
                    plant = _compiled(
                        PredictionRequest(
                            model=name,
                            device=device,
                            devices=devices,
                            tp=devices,
                            precision=precision or None,
                            kv_dtype=kv_dtype or None,
                            engine=model.engine,
                            approximate=model.approximate,
                        ),
                        pool.node,
                    )
                except InputError as fault:
                    faults.setdefault(model.name, str(fault))
                    continue
                caps_w = [w for cap in model.power_caps if (w := caps.keeps(plant, model, cap)) is not None]
                yield from _levers((pool, model), plant, (precision, kv_dtype), caps_w)


def _levers(
    offer: tuple[PoolTable, ModelOffer], plant: CompiledDeployment, formats: tuple[str, str], caps_w: Sequence[float]
) -> Iterator[tuple[DeploymentOption, CompiledDeployment]]:
    """The same deployment with each power cap, with and without a prefix cache."""
    (pool, model), (precision, kv_dtype) = offer, formats
    shares = [] if model.prefix_cache_ratio is None else [model.prefix_cache_ratio]
    for cap_w in (None, *caps_w):
        for cached in (0.0, *shares):
            used = [precision] if model.precisions and precision != model.precisions[0] else []
            used += [f"kv_{kv_dtype}"] if model.kv_dtypes and kv_dtype != model.kv_dtypes[0] else []
            used += ["power_cap"] if cap_w is not None else []
            used += ["prefix_cache"] if cached else []
            yield (
                DeploymentOption(
                    pool=pool.name,
                    model=model.name,
                    device=plant.deployment.device.name,
                    devices=plant.deployment.device_count,
                    precision=precision or plant.deployment.precision.name,
                    kv_dtype=kv_dtype,
                    power_cap_w=cap_w,
                    engine=model.engine,
                    cached_ratio=cached,
                    levers=tuple(used),
                ),
                plant,
            )


@lru_cache(maxsize=4096)
def _compiled(question: PredictionRequest, node: str | None) -> CompiledDeployment:
    """A deployment with all that does not depend on its load, one replica of it."""
    plant = compiled(question)
    if node is not None:
        plant = replace(plant, deployment=replace(plant.deployment, node=find_node(node)))
    if plant.deployment.node is None:
        raise InputError(f'the catalog has no node for {question.device}: name one in the pool, e.g. node = "hgx-h100"')
    return plant


def _figures(plant: CompiledDeployment, option: DeploymentOption, c: ServedClass) -> dict[str, Array]:
    """One deployment predicted for a class at each concurrency, which is among the columns."""
    concurrency = np.array(c.concurrency(option.model), float) if c.concurrency(option.model) else CONCURRENCY
    numbers = {
        "concurrency": concurrency,
        "input_tokens": np.array([c.input_tok]),
        "output_tokens": np.array([c.output_tok]),
        "output_spread_ratio": np.array([c.output_spread_ratio]),
        "cached_ratio": np.array([max(c.cached_ratio, option.cached_ratio)]),
        "max_num_batched_tokens": np.array([8192.0]),
        "gpu_memory_utilization": np.array([0.9]),
        "power_cap_w": np.array([np.nan if option.power_cap_w is None else option.power_cap_w]),
    }
    figures = {name: np.empty(concurrency.size) for name in OUTPUTS}
    for _ in predicted(plant, numbers, figures, bottleneck=False):
        pass
    return {field: figures[name] for name, field in FIELDS.items()} | {"concurrency": concurrency}


def _binds(figures: Mapping[int, dict[str, Array]], uncapped: Mapping[int, Mapping[str, Array]]) -> bool:
    """Whether a power cap changes any point. Where it does not, the figures are set to those without it, bit by bit."""
    changed = False
    for index, columns in figures.items():
        free = uncapped[index]
        same = np.all(
            [np.isclose(columns[n], free[n], rtol=SAME_RATIO, atol=0.0, equal_nan=True) for n in columns], axis=0
        )
        columns |= {n: np.where(same, free[n], columns[n]) for n in columns}
        changed |= not same.all()
    return changed


def _meeting(columns: dict[str, Array], c: ServedClass, missed: dict[str, tuple[float, float]]) -> dict[str, Array]:
    """The points that meet the class's targets; ``missed`` learns the best of each target."""
    concurrency = columns["concurrency"]
    known = np.isfinite(columns["rate_tok_s"]) & np.isfinite(columns["power_w"])
    # Beyond what the memory holds, more requests only wait: the rate stays where it is.
    known[1:] &= np.diff(columns["rate_tok_s"]) > 0.0
    good = known.copy()
    for name, limit_s, values in (("slo_ttft", c.ttft_s, columns["ttft_s"]), ("slo_tpot", c.tpot_s, columns["tpot_s"])):
        if limit_s is None:
            continue
        good &= values <= limit_s
        if known.any():
            best = float(values[known].min())
            missed[name] = (limit_s, min(best, missed.get(name, (0.0, np.inf))[1]))
    late = np.zeros(concurrency.size, dtype=bool)
    for limit_s, values in ((c.ttft_s, columns["ttft_high_s"]), (c.tpot_s, columns["tpot_high_s"])):
        late |= False if limit_s is None else values > limit_s
    in_time = columns | {"rate_low_tok_s": np.where(late, 0.0, columns["rate_low_tok_s"])}  # late tokens are no good
    return {n: v[good] for n, v in in_time.items()}


def _waiting(plant: CompiledDeployment, option: DeploymentOption) -> dict[str, Array]:
    """The replica loaded, without requests."""
    device, node = plant.deployment.device, plant.deployment.node
    board_w = device.loaded_idle_w or device.bare_w
    if board_w is None or node is None:
        return {name: np.empty(0) for name in (*FIELDS.values(), "concurrency")}
    power = share_power(np.array([board_w * option.devices]), option.devices, node)
    nothing = np.zeros(1)
    columns = {name: nothing for name in (*FIELDS.values(), "concurrency")}
    return columns | {"power_w": power.node_w, "power_high_w": power.high_w}


def _rows(columns: Mapping[str, Array], option: DeploymentOption, at: tuple[int, int, int]) -> dict[str, Array]:
    """The columns with their indices: pool, class, deployment."""
    pool, demand, group = at
    size = columns["concurrency"].size
    return {
        **columns,
        "pool": np.full(size, pool),
        "demand": np.full(size, demand),
        "group": np.full(size, group),
        "device_count": np.full(size, float(option.devices)),
    }


def _joined(parts: Sequence[Mapping[str, Array]], options: Sequence[DeploymentOption]) -> OperatingPoints:
    names = (*FIELDS.values(), "concurrency", "device_count")
    indices = ("pool", "demand", "group")
    empty = np.empty(0)
    columns: dict[str, Any] = {n: np.concatenate([empty, *(p[n] for p in parts)]) for n in (*names, *indices)}
    columns |= {n: columns[n].astype(np.intp) for n in indices}
    return OperatingPoints(**columns, start_s=np.full(len(options), START_S), start_j=np.zeros(len(options)))


def located(name: str, folder: Path) -> str:
    """A catalog's name as it is; a file of one's own from the plan's folder."""
    return str(folder / name) if name.endswith((".json", ".gguf", ".toml")) else name
