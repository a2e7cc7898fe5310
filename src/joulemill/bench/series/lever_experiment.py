"""Real A/B runs on the embedded server: the run as it is, and with one lever at a time.

As it is means plainly: KV cache in 16 bits, a slot for each request in flight, all threads, every prompt
computed anew. What a lever needs beside that (a draft, a smaller quantization, a second model) is a file of its own.
Runs are interleaved there and back, as a sweep's are; the same folder goes on where it was left.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from joulemill.bench.options import BenchOptions
from joulemill.bench.series.plan import Plan, Setting, there_and_back
from joulemill.errors import InputError
from joulemill.recording.sweeps import CASCADE, KIND, LEVER_LABELS
from joulemill.servers.bundled import find_bundled_gguf

#: The load of a run after its warm-up, and runs of each point, unless asked otherwise.
DEFAULT_RUN_S, DEFAULT_REPEATS = 20.0, 3
#: A budget of thinking: share of the answer's length.
BUDGET_RATIO = 0.5
#: Tokens drafted a round: llama.cpp stops earlier where the draft is unsure. Assumed.
DRAFT_TOK = 8
BASE = "as it is"
#: The run as it is with one request at a time: no lever, but a second load to calibrate the prediction on.
ALONE = "one at a time"


@dataclass(frozen=True)
class Files:
    """Models that levers need; None: not named.

    draft   drafts tokens for the model;  small  the same weights in a smaller quantization;  second  another model
    """

    draft: Path | None = None
    small: Path | None = None
    second: Path | None = None


@dataclass(frozen=True)
class ExperimentLever:
    """A lever that can be measured. ``deed``: the run's options changed, or why it does not apply here."""

    name: str
    label: str
    apply: Callable[[BenchOptions, Files], BenchOptions | str]


def _quantized_keys(options: BenchOptions, files: Files) -> BenchOptions | str:
    return replace(options, kv_type="q8_0")


def _twice(options: BenchOptions, files: Files) -> BenchOptions | str:
    return replace(options, slots=2 * (options.slots or 1), concurrency=2 * options.at_once)


def _fewer_threads(options: BenchOptions, files: Files) -> BenchOptions | str:
    threads = options.threads or 1
    return replace(options, threads=threads // 2) if threads > 1 else "the server has one thread only"


def _prefix_cache(options: BenchOptions, files: Files) -> BenchOptions | str:
    if not options.shared_prefix_tok:
        return "the prompts share nothing: give --shared-prefix TOK"
    return replace(options, cache_prompt=True)


def _budget(options: BenchOptions, files: Files) -> BenchOptions | str:
    length = options.output_lengths.bound_tok
    if options.output_tokens != str(length) or length < 2:
        return "a budget is measured on answers of one length: give --output-tokens N"
    return replace(options, output_tokens=str(max(1, int(BUDGET_RATIO * length))), answer_ratio=BUDGET_RATIO)


def _draft(options: BenchOptions, files: Files) -> BenchOptions | str:
    if files.draft is None:
        return "no draft model is named: give --draft-gguf FILE, a smaller model with the same vocabulary"
    return replace(options, draft_gguf=files.draft, draft_tok=DRAFT_TOK)


def _small(options: BenchOptions, files: Files) -> BenchOptions | str:
    if files.small is None:
        return "no smaller quantization of the same weights: give --small-gguf FILE, or install joulemill[levers]"
    return replace(options, gguf=files.small)


def _second(options: BenchOptions, files: Files) -> BenchOptions | str:
    if files.second is None:
        return "no second model is named: give --second-gguf FILE"
    return replace(options, gguf=files.second)


def _cascade(options: BenchOptions, files: Files) -> BenchOptions | str:
    if options.quality is None:
        return "a cascade is measured on questions: leave out --quality none"
    named = _second(options, files)
    return named if isinstance(named, str) else replace(options, second_gguf=named.gguf)


LEVERS = (
    ExperimentLever("kv-q8", LEVER_LABELS["kv-q8"], _quantized_keys),
    ExperimentLever("slots-x2", LEVER_LABELS["slots-x2"], _twice),
    ExperimentLever("threads-half", LEVER_LABELS["threads-half"], _fewer_threads),
    ExperimentLever("prefix-cache", LEVER_LABELS["prefix-cache"], _prefix_cache),
    ExperimentLever("thinking-budget", LEVER_LABELS["thinking-budget"], _budget),
    ExperimentLever("speculation", LEVER_LABELS["speculation"], _draft),
    ExperimentLever("small-weights", LEVER_LABELS["small-weights"], _small),
    ExperimentLever("second-model", LEVER_LABELS["second-model"], _second),
    ExperimentLever(CASCADE, LEVER_LABELS[CASCADE], _cascade),
)


def experiment_plan(
    options: BenchOptions,
    files: Files,
    only: Sequence[str] = (),
    repeats: int = DEFAULT_REPEATS,
    run_s: float | None = None,
) -> Plan:
    """The runs of ``only`` (none: every lever). Raises InputError for a lever that is not known, or if none applies."""
    chosen = _chosen(only)
    if repeats < 1:
        raise InputError(f"`repeats` must be at least 1, not {repeats}")
    base = _base(options, run_s)
    settings = [Setting(BASE, "base", None, base)]
    absent: dict[str, str] = {}
    for lever in chosen:
        changed = lever.apply(base, files)
        if isinstance(changed, str):
            absent[lever.name] = changed
        else:
            settings.append(Setting(lever.name, lever.name, 1.0, changed))
    if len(settings) == 1:
        raise InputError("no lever can be measured here: " + "; ".join(f"{k}: {v}" for k, v in absent.items()))
    settings.append(Setting(ALONE, "calibrate", None, replace(base, concurrency=1, quality=None)))
    return Plan(KIND, "lever", tuple(settings), there_and_back(len(settings), repeats), None, absent)


def _chosen(only: Sequence[str]) -> list[ExperimentLever]:
    by_name: Mapping[str, ExperimentLever] = {lever.name: lever for lever in LEVERS}
    unknown = [name for name in only if name not in by_name]
    if unknown:
        raise InputError(f"`only`: {unknown[0]!r} cannot be measured; use {', '.join(by_name)}")
    return [by_name[name] for name in dict.fromkeys(only)] or list(LEVERS)


def _base(options: BenchOptions, run_s: float | None) -> BenchOptions:
    """The run as it is, with everything said that a lever changes."""
    if options.url is not None:
        raise InputError("levers measure starts the embedded server with other settings: it cannot change one at `url`")
    if not options.closed_loop:
        raise InputError("levers measure needs a closed loop: give `concurrency`")
    return replace(
        options,
        gguf=options.gguf or find_bundled_gguf(),
        concurrency=options.at_once,
        slots=options.slots or options.at_once,
        threads=options.threads or _cpus(),
        kv_type=options.kv_type or "f16",
        cache_prompt=False,
        duration_s=run_s or options.duration_s or DEFAULT_RUN_S,
        out=None,
    )


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
