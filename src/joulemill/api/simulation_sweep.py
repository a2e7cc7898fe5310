"""``joulemill.simulate`` over a design space: points, workers, resumption, the Pareto front and main effects."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from joulemill.api.simulation import simulate
from joulemill.api.sweep_sensitivity import SensitivityDesign, designed, indices
from joulemill.api.worker_pools import finished
from joulemill.arrays import Array
from joulemill.errors import InputError, MachineError
from joulemill.files import read_bytes
from joulemill.formats.toml_text import load_toml
from joulemill.physics.serving.batch import MemoryShort
from joulemill.reports.table_files import write_table
from joulemill.simulation.design_space import (
    DrawnRange,
    Point,
    drawn_points,
    grid_points,
    main_effects,
    pareto_front,
    points_at,
)
from joulemill.suggestions import meant

#: Points of a chunk where none are stated: few enough to lose little, enough that sending them costs nothing.
CHUNK_POINTS = 50
KEYS = ("fixed", "axes", "ranges", "draws", "seed", "pareto", "effect_on", "sensitivity")
#: Arguments of ``simulate`` that a point may set.
ARGUMENTS = tuple(n for n in signature(simulate).parameters if n not in ("progress", "resolution_s"))
FIGURES = (
    *("energy_device_j_tok", "energy_node_j_tok", "energy_site_j_tok", "rate_tok_s", "good_tok_s", "utilization"),
    *("power_mean_w", "power_peak_w", "ttft_mean_s", "ttft_p99_s", "tpot_mean_s", "tpot_p99_s", "e2e_mean_s"),
    *("offered_req", "completed_req", "rejected_req", "attained_ratio", "carbon_gco2e_tok", "cost_currency_tok"),
)
PARETO = ("energy_node_j_tok", "e2e_mean_s")


@dataclass(frozen=True, kw_only=True)
class SweepSpec:
    """Points in order, inputs that vary, goals of the Pareto front (less is better), the result for main effects.

    design   the points are those of a sensitivity analysis; None: a grid, or draws
    """

    points: tuple[Point, ...]
    inputs: tuple[str, ...]
    pareto: tuple[str, ...] = PARETO
    effect_on: str = "energy_node_j_tok"
    design: SensitivityDesign | None = None


@dataclass(frozen=True, kw_only=True)
class SimulationSweep:
    """Rows in the order of the points, each the point's inputs, figures, and why it has none (``error``)."""

    spec: SweepSpec
    rows: tuple[Mapping[str, Any], ...]
    folder: Path
    table: Path

    @property
    def front(self) -> list[int]:
        """Rows that no other beats in all goals."""
        return pareto_front(np.column_stack([self.column(goal) for goal in self.spec.pareto]))

    @property
    def effects(self) -> dict[str, float | None]:
        """Input → its share of the variance of ln(result)."""
        return main_effects(self.rows, self.spec.inputs, self.column(self.spec.effect_on))

    @property
    def sensitivity(self) -> dict[str, Any] | None:
        """How far each input moves the result, see ``sweep_sensitivity.indices``; None without such a design."""
        design = self.spec.design
        return None if design is None else indices(design, self.column(self.spec.effect_on))

    def column(self, name: str) -> Array:
        """A figure of all rows, NaN where it is unknown."""
        return np.array([np.nan if row[name] is None else float(row[name]) for row in self.rows])

    def to_dict(self) -> dict[str, Any]:
        """The document of ``joulemill simulate --sweep --json``."""
        return {
            "schema_version": "1.0",
            "points": len(self.rows),
            "failed": sum(row["error"] is not None for row in self.rows),
            "inputs": list(self.spec.inputs),
            "pareto": {"goals": list(self.spec.pareto), "rows": [dict(self.rows[i]) for i in self.front]},
            "effects": {"of": self.spec.effect_on, "shares": self.effects},
            "sensitivity": self.sensitivity,
            "table": str(self.table),
        }


def load_sweep(path: Path | str, sensitivity: str | None = None) -> SweepSpec:
    """Read a sweep's TOML. Raises InputError naming the key at fault.

    [fixed] arguments of ``simulate`` for all points; [axes] lists, of which every combination is a point; [ranges]
    {low, high, log = true} of which ``draws`` are drawn for each combination; ``seed``; ``pareto``: figures, less is
    better; ``effect_on``: the figure whose main effects are told; ``sensitivity``: morris or sobol, whose points are
    then taken, ``draws`` paths or blocks of them (or as the argument says).
    """
    where = f"sweep {path}"
    try:
        table = load_toml(read_bytes(Path(path)))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: {error}") from None
    return parse_sweep(table if sensitivity is None else {**table, "sensitivity": sensitivity}, where)


def parse_sweep(table: Mapping[str, Any], where: str = "sweep") -> SweepSpec:
    """The same from a table."""
    _known(table, KEYS, where)
    parts = {name: table.get(name, {}) for name in ("fixed", "axes", "ranges")}
    for name, part in parts.items():
        if not isinstance(part, Mapping):
            raise InputError(f"{where}: {name} must be a table, [{name}]")
        _known(part, ARGUMENTS, f"{where}: [{name}]")
    for name, values in parts["axes"].items():
        if not isinstance(values, list) or not values:
            raise InputError(f"{where}: [axes] {name} takes a list of values, e.g. {name} = [1, 2]")
    ranges = {name: _range(value, f"{where}: [ranges] {name}") for name, value in parts["ranges"].items()}
    points, design = _points(table, parts, ranges, where)
    goals, result = _goals(table.get("pareto", list(PARETO)), where), table.get("effect_on", "energy_node_j_tok")
    _known({result: None}, FIGURES, f"{where}: effect_on")
    return SweepSpec(
        points=tuple(points), inputs=(*parts["axes"], *ranges), pareto=goals, effect_on=result, design=design
    )


def _points(
    table: Mapping[str, Any], parts: Mapping[str, Any], ranges: Mapping[str, DrawnRange], where: str
) -> tuple[list[dict[str, Any]], SensitivityDesign | None]:
    """The points, and the design that they are of."""
    draws, seed = _whole(table, "draws", where, 1), _whole(table, "seed", where, 0)
    if table.get("sensitivity") is not None:
        design = designed(table["sensitivity"], (*parts["axes"], *ranges), draws, seed)
        return points_at(parts["fixed"], parts["axes"], ranges, design.shares), design
    points = grid_points(parts["fixed"], parts["axes"])
    return drawn_points(points, ranges, draws, np.random.default_rng(seed)) if ranges else points, None


def _known(table: Mapping[str, Any], names: Sequence[str], where: str) -> None:
    for name in table:
        if name not in names:
            raise InputError(f"{where}: unknown key {name!r}; {meant(str(name), names)}")


def _goals(stated: Any, where: str) -> tuple[str, ...]:
    if not isinstance(stated, list) or not stated:
        raise InputError(f'{where}: pareto takes a list of figures, e.g. ["energy_node_j_tok", "ttft_p99_s"]')
    _known(dict.fromkeys(stated), FIGURES, f"{where}: pareto")
    return tuple(stated)


def _whole(table: Mapping[str, Any], name: str, where: str, least: int) -> int:
    value = table.get(name, least)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{where}: {name} = {value!r} must be a whole number, {least} or more")
    return value


def _range(value: Any, where: str) -> DrawnRange:
    try:
        low, high, log = float(value["low"]), float(value["high"]), bool(value.get("log", False))
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
        raise InputError(f"{where}: write {{low = 1, high = 50}}, with log = true for equal factors") from None
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError(f"{where}: low and high must be finite")
    if not low < high or (log and low <= 0):
        raise InputError(f"{where}: low must be below high" + (", and above 0" if log else ""))
    return DrawnRange(low, high, log)


def simulate_sweep(
    spec: SweepSpec | str | Path,
    out: Path | str,
    *,
    workers: int | None = None,
    ray: str | None = None,
    chunk_points: int = CHUNK_POINTS,
    form: str = "csv",
    progress: Callable[[int, int], None] | None = None,
) -> SimulationSweep:
    """Simulate every point of ``spec``, into the folder ``out``; an interrupted sweep goes on where it stopped.

    workers   processes; None: as many as cores, here or of the cluster; 1: none but this
    ray       "" for a local Ray, or a cluster's address
    The table holds the same bytes whatever the workers. Raises InputError where ``out`` holds another sweep.
    """
    spec = load_sweep(spec) if isinstance(spec, (str, Path)) else spec
    folder = Path(out)
    chunks = _chunks(spec.points, chunk_points)
    finished_chunks = _opened(folder, spec, chunk_points)
    left = [(number, list(points)) for number, points in enumerate(chunks) if number not in finished_chunks]
    count = len(spec.points) - sum(len(points) for _, points in left)
    for number, text in finished(left, work_on, workers=workers, ray=ray):
        _keep(folder, number, text)
        count += len(chunks[number])
        if progress is not None:
            progress(count, len(spec.points))
    rows = tuple(_rows(folder, len(chunks)))
    table = folder / f"points.{form}"
    write_table(_columns(rows, spec), table)
    return SimulationSweep(spec=spec, rows=rows, folder=folder, table=table)


def _chunks(points: Sequence[Point], size: int) -> list[Sequence[Point]]:
    if size < 1:
        raise InputError(f"`chunk_points` is {size}; it must be 1 or more")
    return [points[i : i + size] for i in range(0, len(points), size)]


def _opened(folder: Path, spec: SweepSpec, chunk_points: int) -> set[int]:
    """Chunks that are finished. Raises InputError where the folder is another sweep's, MachineError if not writable."""
    identity = json.dumps({"points": spec.points, "chunk_points": chunk_points}, default=str, sort_keys=True)
    try:
        (folder / "chunks").mkdir(parents=True, exist_ok=True)
        mark = folder / "sweep.json"
        if mark.exists() and mark.read_text("utf-8") != identity:
            raise InputError(f"{folder}: holds another sweep; name a new folder")
        mark.write_text(identity, encoding="utf-8")
    except OSError as fault:
        raise MachineError(f"{folder}: cannot be written ({fault.strerror}); choose another folder") from fault
    return {int(p.stem) for p in (folder / "chunks").glob("*.jsonl") if p.stem.isdigit()}


def _keep(folder: Path, number: int, text: str) -> None:
    """A chunk's rows under its name, whole or not at all."""
    path = folder / "chunks" / f"{number:06d}.jsonl"
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _rows(folder: Path, chunks: int) -> Iterator[dict[str, Any]]:
    for number in range(chunks):
        for line in (folder / "chunks" / f"{number:06d}.jsonl").read_text("utf-8").splitlines():
            yield json.loads(line)


def _columns(rows: Sequence[Mapping[str, Any]], spec: SweepSpec) -> dict[str, Any]:
    """Columns of the table: number of the point, inputs, figures, error."""
    texts = {name: [_cell(row.get(name)) for row in rows] for name in spec.inputs}
    numbers = {name: np.array([np.nan if row[name] is None else row[name] for row in rows]) for name in FIGURES}
    return {"point": np.arange(len(rows)), **texts, **numbers, "error": [row["error"] or "" for row in rows]}


def _cell(value: Any) -> Any:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def work_on(points: Sequence[Point]) -> str:
    """Rows of ``points`` as JSON Lines; what a worker does."""
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in map(row_of, points))


def row_of(point: Point) -> dict[str, Any]:
    """The point with its figures; all are None, and ``error`` says why, where it cannot be simulated."""
    try:
        document = simulate(**{"scenarios": 0, **point}).to_dict()
    except (InputError, MemoryShort) as fault:
        return {**point, **dict.fromkeys(FIGURES), "error": str(fault)}
    return {**point, **_figures(document), "error": None}


def _figures(d: Mapping[str, Any]) -> dict[str, Any]:
    energy, latency, carbon = d["energy"], d["latency"], d["carbon"]
    power = d["power"][f"{energy['scope']}_w"]
    value = partial(_value, d)
    figures = {f"energy_{s}_j_tok": energy[f"{s}_j_tok"]["value"] for s in ("device", "node", "site")}
    figures |= {name: value("output", name) for name in ("rate_tok_s", "good_tok_s", "utilization")}
    figures |= {"power_mean_w": power["mean"], "power_peak_w": power["peak"]}
    for name in ("ttft", "tpot"):
        figures |= {f"{name}_{p}_s": latency[f"{name}_s"][p] for p in ("mean", "p99")}
    figures["e2e_mean_s"] = latency["e2e_s"]["mean"]
    figures |= {f"{name}_req": d["requests"][name] for name in ("offered", "completed", "rejected")}
    figures["attained_ratio"] = latency["slo"]["attained_ratio"]
    return figures | {
        "carbon_gco2e_tok": carbon["gco2e_tok"]["value"],
        "cost_currency_tok": carbon["cost_currency_tok"]["value"],
    }


def _value(document: Mapping[str, Any], part: str, name: str) -> Any:
    return document[part][name]["value"]
