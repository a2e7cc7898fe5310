"""Tables of measured serving runs → rows that can be predicted: what ran, what was asked, what was measured.

Three dialects are recognized by their columns: steady-state runs with energy (ML.ENERGY), latency points
(aiconfigurator),
node wall power (MLPerf). Missing optional columns take stated defaults; a row that lacks what it cannot do without is
skipped with the reason.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from joulemill.catalog.devices import find_device
from joulemill.catalog.nodes import node_of
from joulemill.catalog.serving import tasks
from joulemill.errors import InputError
from joulemill.files import text_of
from joulemill.physics.serving.deployment import Parallelism
from joulemill.physics.serving.shard import shard
from joulemill.physics.serving.workload import spread_from_percentiles_ratio
from joulemill.prediction.precision import Resolver
from joulemill.prediction.question import BOUNDS, COUNTS
from joulemill.validation.columns import (
    Row,
    batch_class,
    engine_profile,
    measured_in,
    needed,
    number_in,
    refuse_misspelt,
    whole,
)
from joulemill.validation.duplicates import merge_duplicates
from joulemill.validation.inferencex_launches import matching
from joulemill.validation.inferencex_loads import DRAWN_NOTE, load_of
from joulemill.validation.inferencex_parallelism import first_parallelism
from joulemill.validation.inferencex_pools import Launch, LaunchQuery
from joulemill.validation.inferencex_settings import LaunchKey, Recipe, kv_cache_is_8bit, pool_recipe_of, recipe_of
from joulemill.validation.inferencex_speculation import mark_speculative, origin_of
from joulemill.validation.mlenergy_window import NOTE as WINDOW_NOTE
from joulemill.validation.mlenergy_window import RunQuery, runs_flashinfer, window_of
from joulemill.validation.mlperf import (
    MAX_Q_NOTE,
    MAX_Q_RATIO,
    NOTE,
    SPREAD_RATIO,
    cooling_note,
    is_max_q,
    replicas_of,
    task_of,
    weights_word,
)
from joulemill.validation.parallelism import ParallelismReading, read_parallelism, run_parallelism
from joulemill.validation.row import MeasuredRow

#: Tokens of a prompt or an answer beyond which it is a slip of a unit.
MOST_TOK = BOUNDS["input_tokens"][1]


@dataclass
class MeasuredTable:
    """A table's rows that can be predicted, and those that cannot, with why."""

    dialect: str
    rows: list[MeasuredRow] = field(default_factory=list)
    skipped: list[dict[str, object]] = field(default_factory=list)


def read_table(path: Path, resolve: Resolver) -> MeasuredTable:
    """Read ``path``. InputError where it is no CSV of a known dialect; a bad row is skipped and says why."""
    try:
        text = text_of(path.read_bytes())
        rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=_delimiter(text)))
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV ({getattr(error, 'strerror', None) or error})") from error
    if not rows:
        raise InputError(f"{path}: holds no rows")
    dialect = dialect_of(rows[0])
    if dialect is None:
        raise InputError(
            f"{path}: columns are not known; needed are those of serving runs (model_id, gpu_model, num_gpus, "
            "avg_batch_size …), latency points (model_path, system, isl, osl …) or node wall power (system, model, "
            "node_wall_power_w …)"
        )
    if dialect == "runs":
        refuse_misspelt([name for name in rows[0] if name])
    table = MeasuredTable(dialect)
    reader = READERS[dialect]
    for number, row in enumerate(rows, start=2):
        try:
            table.rows.append(reader(number, row, resolve))
        except (InputError, ValueError, KeyError) as error:
            table.skipped.append({"row": number, "why": f"{error}"})
    table.rows = mark_speculative(merge_duplicates(table.rows))
    return table


def _delimiter(text: str) -> str:
    """What divides the header's names: spreadsheets of many countries write semicolons."""
    return max(",;\t", key=text.partition("\n")[0].count)


def dialect_of(row: Row) -> str | None:
    """Name of the dialect whose columns ``row`` has, or None."""
    if {"model_id", "gpu_model"} <= row.keys():
        return "runs"
    if {"model_path", "system", "isl", "osl"} <= row.keys():
        return "latency"
    if {"node_wall_power_w", "model"} <= row.keys():
        return "wall"
    return None


def _runs_row(number: int, row: Row, resolve: Resolver) -> MeasuredRow:
    model = row["model_id"].strip()
    architecture, precision, notes = resolve(model, row.get("weight_precision") or "", "")
    device = find_device(row["gpu_model"])
    devices = whole(row, "num_gpus", COUNTS["devices"])
    output = needed(row, "avg_output_len", "output_len", "outlen_p50", most=MOST_TOK)
    known = tasks()
    task = known.get(row.get("task") or "")
    stated_tok = number_in(row, "avg_input_len", "input_len", "avg_prompt_len", "input_tok", most=MOST_TOK)
    if stated_tok is None and task is None:
        notes += ("input length is not stated and the task is not known: that of chat is assumed",)
    typical = task or known["lm-arena-chat"]
    rate = measured_in(row, "output_throughput_tokens_per_sec")
    watts, joules = measured_in(row, "avg_power_watts"), measured_in(row, "energy_per_token_joules")
    itl = measured_in(row, "median_itl_ms")
    measured = {"energy_j_tok": joules, "rate_tok_s": rate, "power_w": watts, "itl_s": itl and itl / 1e3}
    batch = number_in(row, "avg_batch_size", most=COUNTS["concurrency"])
    alone = devices == 1 and device.name.startswith("b200")
    parallelism = run_parallelism(row, devices, architecture)
    gpu = row["gpu_model"].strip().upper()
    asked = RunQuery(
        task=row.get("task") or "",
        model=model,
        gpu=gpu,
        devices=devices,
        sequences=int(number_in(row, "max_num_seqs") or 0) if batch else 0,
        concurrency=batch or 0.0,
        output_tok=output,
        p50_tok=number_in(row, "outlen_p50") or 0.0,
        p90_tok=number_in(row, "outlen_p90") or 0.0,
    )
    window = window_of(asked, shard(architecture, precision, device, parallelism))
    return MeasuredRow(
        number=number,
        model=model,
        architecture=architecture,
        precision=precision,
        device=device,
        parallelism=parallelism,
        engine="vllm-0.11",
        concurrency=batch or whole(row, "max_num_seqs", COUNTS["max_num_seqs"]),
        input_tok=stated_tok or typical.input_tok,
        output_tok=output,
        spread_ratio=spread_from_percentiles_ratio(output, number_in(row, "outlen_p50"), number_in(row, "outlen_p90")),
        domain_evenness_ratio=typical.domain_evenness_ratio,
        running=batch is not None,
        max_batched_tok=number_in(row, "cfg_max_num_batched_tokens") or 8192.0,
        measured={k: v for k, v in measured.items() if v is not None},
        groups={
            "model": model,
            "device": device.label,
            "precision": row.get("weight_precision") or precision.name,
            "batch": batch_class(batch or 0.0),
            "kind": "moe" if architecture.is_moe else "dense",
            "task": row.get("task") or "not stated",
        },
        shared_host=alone,
        arrivals_ratio=window.arrivals_ratio if window else 1.0,
        generated_tok=window.generated_tok if window else math.nan,
        fused_experts=runs_flashinfer(model, gpu),
        notes=(*notes, WINDOW_NOTE) if window else notes,
    )


def _latency_row(number: int, row: Row, resolve: Resolver) -> MeasuredRow:
    model = row["model_path"].strip()
    kind = row.get("gemm_quant_mode") or ""
    architecture, precision, notes = resolve(model, row.get("precision") or kind, kind)
    device = find_device(row["system"])
    weight_byte = shard(architecture, precision, device, Parallelism(1)).weight_byte
    concurrency = _concurrency(row)
    reading = read_parallelism(row, architecture, device.memory_byte, weight_byte, concurrency)
    disaggregated = reading.prefill is not None
    batch, in_flight = _closed_loop(row, reading, concurrency)
    load = load_of(row.get("silicon_data_source") or "")
    engine = engine_profile(row.get("backend") or "")
    launched = LaunchKey(
        engine=engine,
        model=model,
        device=device.name,
        precision=row.get("precision") or "",
        version=(row.get("backend_version") or "").strip(),
        prompt_tok=needed(row, "isl", most=MOST_TOK),
        answer_tok=needed(row, "osl", most=MOST_TOK),
        in_flight_req=in_flight,
        tensor_count=reading.parallelism.tensor,
        data_count=reading.parallelism.data,
    )
    parallelism = (
        first_parallelism(launched, reading.parallelism) if load.scripted and not disaggregated else reading.parallelism
    )
    launched = replace(launched, tensor_count=parallelism.tensor, data_count=parallelism.data)
    recipe = Recipe()
    if load.scripted:
        recipe = recipe_of(launched) if reading.prefill is None else pool_recipe_of(launched, reading.prefill.data)
    quantized = precision.dense.element_byte < 2.0 or precision.experts.element_byte < 2.0
    if kv_cache_is_8bit(launched, quantized=quantized, scripted=load.scripted):
        precision = precision.with_kv("fp8")
    ttft, tpot = measured_in(row, "silicon_ttft_ms", "ttft_ms"), measured_in(row, "silicon_tpot_ms", "tpot_ms")
    measured = {"ttft_s": ttft and ttft / 1e3, "tpot_s": tpot and tpot / 1e3}
    return MeasuredRow(
        number=number,
        model=model,
        architecture=architecture,
        precision=precision,
        device=device,
        parallelism=parallelism,
        engine=engine,
        concurrency=batch,
        input_tok=needed(row, "isl") * load.length_ratio,
        output_tok=needed(row, "osl") * load.length_ratio,
        spread_ratio=load.spread_ratio,
        domain_evenness_ratio=1.0,
        running=False,
        max_batched_tok=recipe.max_batched_tok,
        scheduler_interval_count=recipe.scheduler_interval_count,
        hold_count=recipe.hold_count,
        captured_tok=recipe.captured_tok,
        measured={k: v for k, v in measured.items() if v is not None},
        groups={
            "model": model,
            "device": device.label,
            "precision": row.get("precision") or "not stated",
            "batch": batch_class(batch),
            "kind": "moe" if architecture.is_moe else "dense",
            "backend": row.get("backend") or "not stated",
            "mode": "disaggregated" if disaggregated else "aggregated",
        },
        prefill=reading.prefill,
        prefill_servers=reading.prefill_servers or 1.0,
        in_flight_req=in_flight,
        pools_known=not disaggregated or reading.workers is not None,
        pools_stated=not disaggregated or reading.stated,
        lockstep=load.lockstep,
        gateway=load.gateway,
        origin=origin_of(row.get("silicon_data_source") or "", row.get("backend_version") or ""),
        launches=_launches(row, engine, device.name, in_flight)
        if load.scripted and disaggregated and not reading.stated
        else (),
        stated_count=sum(bool((row.get(name) or "").strip()) for name in PARALLELISM_COLUMNS),
        notes=(*notes, DRAWN_NOTE) if load.scripted else notes,
    )


def _launches(row: Row, engine: str, device: str, in_flight_req: float) -> tuple[Launch, ...]:
    asked = LaunchQuery(
        engine=engine,
        device=device,
        model="",
        precision=(row.get("precision") or "").lower(),
        input_tok=round(needed(row, "isl")),
        output_tok=round(needed(row, "osl")),
        in_flight_req=round(in_flight_req),
    )
    devices = tuple(round(number_in(row, name) or 0.0) for name in ("decode_tp_size", "decode_moe_ep_size"))
    return matching(asked, row["model_path"], (devices[0], devices[1]))


#: Columns that say parallelism and sizes of pools.
PARALLELISM_COLUMNS = (
    "attention_dp_size",
    "prefill_num_workers",
    "prefill_attention_dp_size",
    "decode_num_workers",
    "decode_batch_size",
    "decode_attention_dp_size",
)


def _concurrency(row: Row) -> float | None:
    """Requests in flight in the whole loop, where the row or its name states them."""
    stated = re.search(r"concurrency=(\d+)", row.get("silicon_data_source") or "")
    match = stated or re.search(r"_c(\d+)_", row.get("id") or "")
    return number_in(row, "concurrency") or (float(match.group(1)) if match else None)


def _closed_loop(row: Row, reading: ParallelismReading, concurrency: float | None) -> tuple[float, float]:
    """Requests in flight per replica, and in the whole loop. What the whole loop holds decides where it is stated: a
    batch a rank is written for different numbers of ranks."""
    disaggregated = reading.prefill is not None
    rank_batch = number_in(row, "decode_batch_size") if disaggregated else number_in(row, "batch_size")
    if rank_batch is None and concurrency is None:
        raise InputError("neither a batch size nor a concurrency is stated")
    workers = reading.workers or 1.0
    if concurrency is None:
        batch = (rank_batch or 1.0) * reading.parallelism.data
        return batch, batch * workers
    if disaggregated and rank_batch is not None:
        return min(rank_batch * reading.parallelism.data, max(concurrency / workers, 1.0)), concurrency
    return max(concurrency / workers, 1.0), concurrency


def _wall_row(number: int, row: Row, resolve: Resolver) -> MeasuredRow:
    """A whole node of MLPerf, see ``measured_wall``."""
    model = row["model"].strip()
    asked = task_of(model)
    device = find_device(row.get("sys_accelerator_model_name") or row["system"])
    node_of(device.name)  # refuses a device whose node is not cataloged
    word = weights_word(device)
    architecture, precision, notes = resolve(asked.model, word, word)
    precision = precision.with_kv("fp8")
    parallelism = replicas_of(architecture, precision, device, int(needed(row, "sys_accelerators_per_node")))
    quiet = is_max_q(row)
    measured = {
        "node_power_w": measured_in(row, "node_wall_power_w"),
        "rate_tok_s": measured_in(row, "output_tok_s"),
        "node_energy_j_tok": measured_in(row, "node_energy_j_tok"),
    }
    return MeasuredRow(
        number=number,
        model=model,
        architecture=architecture,
        precision=precision,
        device=device,
        parallelism=parallelism,
        engine=engine_profile(row.get("sys_framework") or "TensorRT"),
        concurrency=asked.concurrency * parallelism.tensor,
        input_tok=asked.input_tok,
        output_tok=asked.output_tok,
        spread_ratio=SPREAD_RATIO,
        domain_evenness_ratio=1.0,
        running=False,
        max_batched_tok=8192.0,
        measured={k: v for k, v in measured.items() if v is not None},
        groups={"model": model, "device": device.label, "precision": word, "batch": "not stated", "kind": "node"},
        limit_ratio=MAX_Q_RATIO if quiet else 1.0,
        notes=(*notes, NOTE, *((MAX_Q_NOTE,) if quiet else ()), cooling_note(row)),
    )


READERS: dict[str, Callable[[int, Row, Resolver], MeasuredRow]] = {
    "runs": _runs_row,
    "latency": _latency_row,
    "wall": _wall_row,
}


def iter_notes(rows: list[MeasuredRow]) -> Iterator[str]:
    """Distinct notes of all rows, in order."""
    yield from dict.fromkeys(note for row in rows for note in row.notes)
