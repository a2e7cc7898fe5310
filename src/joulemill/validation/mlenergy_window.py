"""What the measured window of an ML.ENERGY run held: younger answers and other prompts than a steady state has.

The benchmark sends N requests at once to a server that runs B = ``max_num_seqs`` of them. It measures from the B-th
first token until N − B − 1 answers have ended (``mlenergy/llm/benchmark.py``, RequestTracker), so a slot renews N/B − 1
times: once or less at large batches. N is the task's number of prompts, times the repeats that the configuration states
(``mlenergy_requests.csv``: ``256x1 1024x2`` is once up to 256 sequences, twice up to 1,024).

Repeats are the same prompts in the same order. vLLM's prefix cache, on by default but for recurrent layers, serves a
prompt whose earlier copy still runs, or has ended so lately that what was freed since fits the unused part of the cache
(oldest evicted first). With data-parallel attention the copy is on one rank of several.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from joulemill.physics.serving.continuous_batching import kv_request_byte, kv_room_byte
from joulemill.physics.serving.renewal import RefilledSlots, refilled_slots
from joulemill.physics.serving.shard import Shard, shard_table

#: Distinct prompts of a task, and about how long they are [tok]: the latter only decides which of them stay cached.
PROMPTS = {"lm-arena-chat": (1024, 300.0), "gpqa": (198, 270.0), "sourcegraph-fim": (1024, 1800.0)}
#: Share of device memory that vLLM takes unless told otherwise.
MEMORY_USE_RATIO = 0.9
#: Context at which the bytes of a token of KV cache are taken [tok].
USUAL_CONTEXT_TOK = 1000.0
#: Repeated prompts at which hits of the cache are evaluated, evenly over the window.
POINTS = 12
#: Models whose launch sets VLLM_USE_FLASHINFER_MOE_FP8 or …_MXFP4_MXFP8 (configs/vllm/*/monolithic.env.yaml), by GPU.
FLASHINFER = {"B200": ("DeepSeek-V3.1", "DeepSeek-R1-0528", "gpt-oss-20b", "gpt-oss-120b")}
NOTE = (
    "the window of ML.ENERGY's benchmark ends before its batch has renewed often: answers are younger, and repeated "
    "prompts are served from the prefix cache"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery:
    """What was run: ``sequences`` at once at most, ``concurrency`` on average, with answers of these lengths [tok]."""

    task: str
    model: str
    gpu: str
    devices: int
    sequences: int
    concurrency: float
    output_tok: float
    p50_tok: float
    p90_tok: float


@dataclass(frozen=True, slots=True)
class MeasuredWindow:
    """Prompts computed a step over those of a steady state, and mean tokens that a running request has generated."""

    arrivals_ratio: float
    generated_tok: float


def window_of(asked: RunQuery, share: Shard) -> MeasuredWindow | None:
    """What the window held of a run whose devices have ``share`` each; None where the task is not the benchmark's."""
    if asked.task not in PROMPTS or asked.sequences < 1:
        return None
    loop = refilled_slots(asked.output_tok, asked.p50_tok, asked.p90_tok)
    count = requests_count(asked)
    slots = min(asked.concurrency, float(asked.sequences))
    started = max(asked.sequences - slots, 0.0) / slots
    ended = max((count - asked.sequences - 1) / slots, started + 0.05)
    start, end = loop.time_ratio(started), loop.time_ratio(ended)
    age = loop.mean_age_ratio(start, end)
    cached = _cached_ratio(asked, share, loop, (count, age))
    return MeasuredWindow((ended - started) / (end - start) * (1.0 - cached), age * asked.output_tok)


def requests_count(asked: RunQuery) -> int:
    """N of a run. Beyond what the configurations state, the two a sequence that the benchmark itself demands."""
    prompts, _ = PROMPTS[asked.task]
    model = asked.model.split("/")[-1]
    for key in ((model, asked.devices), (model, 0), ("*", 0)):
        for most, repeats in _repeats().get((asked.task, asked.gpu, *key), ()):
            if asked.sequences <= most:
                return prompts * repeats
    return prompts * -(-2 * asked.sequences // prompts)


def runs_flashinfer(model: str, gpu: str) -> bool:
    """Whether the launch asked for FlashInfer's kernels for experts."""
    return model.split("/")[-1] in FLASHINFER.get(gpu, ())


@cache
def _repeats() -> dict[tuple[str, str, str, int], tuple[tuple[int, int], ...]]:
    text = files("joulemill.catalog").joinpath("data", "mlenergy_requests.csv").read_text(encoding="utf-8")
    repeats_of = {}
    for row in csv.DictReader(text.splitlines()):
        steps = [step.split("x") for step in row["sequences"].split()]
        key = (row["task"], row["device"], row["model"], int(row["devices"] or 0))
        repeats_of[key] = tuple((int(most), int(repeats)) for most, repeats in steps)
    return repeats_of


def _cached_ratio(asked: RunQuery, share: Shard, loop: RefilledSlots, window: tuple[int, float]) -> float:
    """Share of the window's prompts that the prefix cache serves. ``window``: N, and the age of its answers [means]."""
    count, age = window
    prompts, prompt_tok = PROMPTS[asked.task]
    first = max(prompts, asked.sequences)
    if count <= first or share.state_byte > 0.0:
        return 0.0
    table = shard_table([share])
    each_byte = float(kv_request_byte(table, np.array([USUAL_CONTEXT_TOK]))[0]) / USUAL_CONTEXT_TOK
    room_tok = float(kv_room_byte(table, np.array([MEMORY_USE_RATIO]))[0]) / each_byte * share.data_count
    slots = asked.concurrency
    unused_tok = room_tok - slots * (prompt_tok + age * asked.output_tok)
    held_tok = prompt_tok + asked.output_tok
    hits = []
    for number in np.linspace(max(prompts, slots), count - 1, POINTS):
        since = min(prompts, number - slots)  # requests that started since the copy did
        began = loop.time_ratio(max(number - prompts - slots, 0.0) / slots)
        running = loop.running_ratio(loop.time_ratio(max(number - slots, 0.0) / slots) - began)
        freed_tok = max(since - slots, 0.5 * since) * held_tok
        hits.append(running + (1.0 - running) * (freed_tok < unused_tok))
    repeated = (count - first) / (count - asked.sequences)
    return float(np.mean(hits)) * repeated / share.data_count
